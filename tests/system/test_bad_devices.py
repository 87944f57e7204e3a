# SPDX-License-Identifier: Apache-2.0
"""
What a client gets wrong about devices that have something of the host's: one sentence, and the host and the machine are as
before. No guest has to run. (Values that are wrong by themselves are in api_table.py; a tap of another user's, which root has
not got, in tests/unit/test_net_tap.c.)
"""
import json
import os
import re
import subprocess

import pytest

from conftest import BINARY
from snapsafe import Monitor
from snapsafe.network import Namespace
from test_process import halting_kernel

MAC = "06:00:ac:10:00:02"


def ip(ns, *command):
    return subprocess.run(["ip", *command], check=True, preexec_fn=ns.enter, capture_output=True, text=True).stdout


def names(ns):
    """Of the interfaces that there are; whether one is up changes a moment after whoever had it has gone."""
    return re.findall(r"^[0-9]+: ([^:@]+)", ip(ns, "link"), re.MULTILINE)


@pytest.fixture(scope="module")
def ns():
    """Taps that may be had, and what is none."""
    made = Namespace()
    for tap in ("tap0", "tap1"):
        made.add_tap(tap, None)
    ip(made, "tuntap", "add", "tun0", "mode", "tun")
    ip(made, "tuntap", "add", "many0", "mode", "tap", "multi_queue")
    yield made
    made.close()


def nic(iface_id="eth0", tap="tap0", **more):
    return f"/network-interfaces/{iface_id}", {"iface_id": iface_id, "host_dev_name": tap, **more}


def vsock(cid=3, path="v"):
    return "/vsock", {"guest_cid": cid, "uds_path": path}


# Requests that succeed, one that does not, and what it says.
REFUSED = {
    "a tap that is not there": ([], nic(tap="tap9"), 'there is no network interface "tap9" on the host'),
    "a tun": ([], nic(tap="tun0"), "it must be a tap"),
    "a tap with many queues": ([], nic(tap="many0"), "with one queue"),
    "no tap at all": ([], nic(tap="lo"), "it must be a tap"),
    "a name with a slash": ([], nic(tap="../tap0"), 'field "host_dev_name": "../tap0" is not allowed'),
    "a multicast MAC": ([], nic(guest_mac="01:00:5e:00:00:01"), 'field "guest_mac": "01:00:5e:00:00:01"'),
    "one tap for two interfaces": ([nic()], nic("eth1"), 'tap "tap0" cannot be that of interface "eth1": it is that of "eth0"'),
    "one MAC for two interfaces": ([nic(guest_mac=MAC)], nic("eth1", "tap1", guest_mac=MAC), "The MAC address is already in use"),
    "the tap of another in an interface that is changed": (
        [nic(), nic("eth1", "tap1")], nic("eth1", "tap0"), 'tap "tap0" cannot be that of interface "eth1"'),
    "the host's CID": ([], vsock(2), 'field "guest_cid": 2 is not allowed'),
    "a socket's path that is too long": ([], vsock(path="/" + "v" * 107), 'field "uds_path"'),
    "a socket in a directory that is not there": ([], vsock(path="none/v"), "none"),
    "a balloon that is larger than memory": (
        [("/machine-config", {"vcpu_count": 1, "mem_size_mib": 32})], ("/balloon", {"amount_mib": 33, "deflate_on_oom": False}),
        'field "amount_mib": 33 is not allowed'),
    "metadata that are no object": ([], ("/mmds", [1]), "metadata is a JSON object"),
    "a service on an interface that is not there": ([nic()], ("/mmds/config", {"network_interfaces": ["eth1"]}), "ID"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_request_that_is_refused_leaves_everything_as_it_was(what, ns, monitor, tmp_path):
    before, (path, body), sentence = REFUSED[what]
    m = monitor(cwd=tmp_path, preexec=ns.enter)
    m.wait_api()
    for request in before:
        m.api.put(*request)
    config, interfaces, files = m.api.get("/vm/config"), names(ns), sorted(os.listdir(tmp_path))
    status, text = m.api.raw("PUT", path, body)
    assert status == 400 and sentence in json.loads(text)["fault_message"], text
    assert "\n" not in json.loads(text)["fault_message"]
    assert m.api.get("/vm/config") == config
    assert sorted(os.listdir(tmp_path)) == files
    # The taps are there, and nobody's: another process can have each.
    assert names(ns) == interfaces
    other = monitor(cwd=tmp_path, preexec=ns.enter)
    other.wait_api()
    other.api.put(*nic("a", "tap0"))
    other.api.put(*nic("b", "tap1"))


def machine_with_devices(monitor, ns, directory, taps, start=True):
    """One that halts at once, with two interfaces and a vsock device."""
    halting_kernel(directory / "kernel")
    m = monitor(cwd=directory, preexec=ns.enter)
    m.wait_api()
    m.api.put("/machine-config", {"vcpu_count": 1, "mem_size_mib": 32})
    m.api.put("/boot-source", {"kernel_image_path": "kernel"})
    for i, tap in enumerate(taps):
        m.api.put(*nic(f"eth{i}", tap))
    m.api.put(*vsock())
    if start:
        m.api.put("/actions", {"action_type": "InstanceStart"})
    return m


def test_a_tap_that_somebody_has_taken_meanwhile_refuses_the_start(ns, monitor, tmp_path):
    """PUT looks, and the start attaches: no half of a machine is left when it cannot, and it can when the tap is free again."""
    m = machine_with_devices(monitor, ns, tmp_path, ["tap0", "tap1"], start=False)
    (tmp_path / "other").mkdir()
    thief = machine_with_devices(monitor, ns, tmp_path / "other", ["tap1"])
    status, text = m.api.raw("PUT", "/actions", {"action_type": "InstanceStart"})
    assert status == 400 and 'tap \\"tap1\\" is in use by another process' in text, text
    assert m.api.get("/")["state"] == "Not started"
    assert not (tmp_path / "v").exists()
    third = monitor(preexec=ns.enter)
    third.wait_api()
    third.api.put(*nic(tap="tap0"))  # it has been given back
    third.stop()
    thief.stop()
    m.api.put("/actions", {"action_type": "InstanceStart"})
    assert m.api.get("/")["state"] == "Running"


LOADS = {
    "a tap that is not there": ({"network_overrides": [{"iface_id": "eth1", "host_dev_name": "tap9"}]},
                                'there is no network interface "tap9" on the host'),
    "one tap for two interfaces": ({"network_overrides": [{"iface_id": "eth1", "host_dev_name": "tap0"}]}, "tap0"),
    "an interface that is not there": ({"network_overrides": [{"iface_id": "eth7", "host_dev_name": "tap0"}]}, "eth7"),
    "one interface twice": ({"network_overrides": [{"iface_id": "eth0", "host_dev_name": tap} for tap in ("tap1", "tap0")]},
                            'field "iface_id": "eth0" is not allowed'),
    "a tun": ({"network_overrides": [{"iface_id": "eth0", "host_dev_name": "tun0"}]}, "it must be a tap"),
    "a socket in a directory that is not there": ({"vsock_override": {"uds_path": "none/v"}}, "none"),
    "a socket's path that is too long": ({"vsock_override": {"uds_path": "/" + "v" * 107}}, "uds_path"),
}


@pytest.fixture(scope="module")
def pair(ns, tmp_path_factory):
    directory = tmp_path_factory.mktemp("pair")
    m = machine_with_devices(lambda **kwargs: Monitor(binary=BINARY, **kwargs), ns, directory, ["tap0", "tap1"])
    m.api.pause()
    m.api.snapshot(directory / "state", directory / "mem")
    m.stop()
    return {"snapshot_path": str(directory / "state"),
            "mem_backend": {"backend_type": "File", "backend_path": str(directory / "mem")}}


@pytest.mark.parametrize("what", LOADS)
def test_a_load_that_is_refused_leaves_everything_as_it_was(what, ns, pair, monitor, tmp_path):
    """The same process loads the pair the right way afterwards."""
    overrides, sentence = LOADS[what]
    m = monitor(cwd=tmp_path, preexec=ns.enter)
    m.wait_api()
    interfaces = names(ns)
    status, text = m.api.raw("PUT", "/snapshot/load", {**pair, **overrides})
    assert status == 400 and sentence in json.loads(text)["fault_message"], text
    assert m.api.get("/")["state"] == "Not started"
    assert os.listdir(tmp_path) == []
    assert names(ns) == interfaces
    other = monitor(preexec=ns.enter)
    other.wait_api()
    other.api.put(*nic("a", "tap0"))
    other.api.put(*nic("b", "tap1"))
    other.stop()
    m.api.put("/snapshot/load", {**pair, "resume_vm": True})
    assert m.api.get("/")["state"] == "Running"
    assert (tmp_path / "v").exists()


def test_there_are_eight_interfaces_at_most(ns, monitor, tmp_path):
    """Eight work, in a clone on other taps, too; the ninth is refused."""
    taps, others = [f"e{i}" for i in range(9)], [f"o{i}" for i in range(8)]
    for tap in taps + others:
        ns.add_tap(tap, None)
    m = machine_with_devices(monitor, ns, tmp_path, taps[:8], start=False)
    status, text = m.api.raw("PUT", *nic("eth8", taps[8]))
    assert status == 400 and "at most 8 are allowed" in text, text
    assert len(m.api.get("/vm/config")["network-interfaces"]) == 8
    m.api.put("/actions", {"action_type": "InstanceStart"})
    m.api.pause()
    m.api.snapshot(tmp_path / "state", tmp_path / "mem")
    clone = monitor(cwd=tmp_path, preexec=ns.enter)
    clone.wait_api()
    clone.api.put("/snapshot/load", {
        "snapshot_path": "state", "mem_backend": {"backend_path": "mem", "backend_type": "File"}, "resume_vm": True,
        "vsock_override": {"uds_path": "w"},
        "network_overrides": [{"iface_id": f"eth{i}", "host_dev_name": tap} for i, tap in enumerate(others)]})
    assert [nic["host_dev_name"] for nic in clone.api.get("/vm/config")["network-interfaces"]] == others
    m.api.resume()
    assert m.api.get("/")["state"] == clone.api.get("/")["state"] == "Running"
