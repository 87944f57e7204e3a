# SPDX-License-Identifier: Apache-2.0
"""
The metadata service, as Linux in a guest sees it: by name of a tap that belongs to nobody else, with busybox's wget and nc.
And what a clone has of its original: the service's address and version, neither the data nor the tokens.
"""
import json
import os
import subprocess

import pytest

from conftest import Snapshot, long_form, machine_config

GUEST = "172.16.0.2"
SERVICE = "169.254.169.254"
DATA = {"latest": {"meta-data": {"id": "original", "net": {"mac": "06:00:ac:10:00:02"}, "n": 7}, "user-data": "a\nb"}}
NETWORK = f"ip link set lo up; ip addr add {GUEST}/24 dev eth0; ip link set eth0 up; ip route add {SERVICE} dev eth0"


@pytest.fixture
def tap():
    """tap() -> the name of a new one."""
    names = []

    def make():
        name = f"mm{os.urandom(4).hex()}"
        subprocess.run(["ip", "tuntap", "add", name, "mode", "tap"], check=True)
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        names.append(name)
        return name

    yield make
    for name in names:
        subprocess.run(["ip", "link", "delete", name], check=False)


def config_with(tap, version, **more):
    return machine_config(**{
        "network-interfaces": [{"iface_id": "eth0", "host_dev_name": tap, "guest_mac": "06:00:ac:10:00:02"}],
        "mmds-config": {"network_interfaces": ["eth0"], "version": version, **more},
    })


@pytest.fixture
def guest(boot, tap, tmp_path):
    """guest(version) -> a machine whose guest has an address, and metadata from a file."""

    def start(version, **more):
        (tmp_path / "metadata").write_text(json.dumps(DATA))
        m = boot(config_with(tap(), version, **more), "--metadata", str(tmp_path / "metadata"))
        m.console.run(NETWORK)
        return m

    return start


def wget(m, path, *headers, service=SERVICE):
    """The body, or wget's complaint (which has the status)."""
    options = " ".join(f"--header '{header}'" for header in headers)
    return m.console.run(f"wget -q -O - {options} http://{service}{path} 2>&1; echo").removesuffix("\n").strip("\n")


def new_token(m, seconds=600):
    """What nc gets: the answer's last line."""
    request = (f"PUT /latest/api/token HTTP/1.1\\r\\nHost: {SERVICE}\\r\\nX-metadata-token-ttl-seconds: {seconds}\\r\\n"
               "Connection: close\\r\\n\\r\\n")
    answer = m.console.run(f"printf '{request}' | nc -w 20 {SERVICE} 80; echo")
    assert "HTTP/1.1 200 OK" in answer, answer
    return answer.strip().splitlines()[-1]


def token_header(token):
    return f"X-metadata-token: {token}"


def clone(restore, snapshot, tap, resume=True):
    m = restore_without_load(restore)
    m.api.put("/snapshot/load", {
        "snapshot_path": str(snapshot.state), "resume_vm": resume,
        "mem_backend": {"backend_type": "File", "backend_path": str(snapshot.mem)},
        "network_overrides": [{"iface_id": "eth0", "host_dev_name": tap}]})
    return m


def restore_without_load(monitor):
    m = monitor()
    m.wait_api()
    return m


def test_version_1_serves_text_and_json(guest):
    m = guest("V1")
    assert wget(m, "/latest/") == "meta-data/\nuser-data"
    assert wget(m, "/latest/meta-data/id") == "original"
    assert wget(m, "/latest/user-data") == "a\nb"
    assert json.loads(wget(m, "/latest", "Accept: application/json")) == DATA["latest"]
    assert "404" in wget(m, "/latest/nothing")
    assert "501" in wget(m, "/latest/meta-data/n")
    m.api.patch("/mmds", {"latest": {"meta-data": {"id": "changed", "n": None}}})
    assert wget(m, "/latest/meta-data") == "id\nnet/"
    assert wget(m, "/latest/meta-data/id") == "changed"
    # What is not for the service goes to the tap, where nobody is.
    assert "100% packet loss" in m.console.run("ping -c 1 -W 1 172.16.0.9; true")
    assert "100% packet loss" in m.console.run(f"ping -c 1 -W 1 {SERVICE}; true")
    metrics = m.console.run("cat /sys/class/net/eth0/statistics/rx_packets")
    assert int(metrics) > 20


def test_version_2_serves_whoever_has_a_token(guest):
    m = guest("V2", ipv4_address="169.254.1.77", imds_compat=True)
    m.console.run(f"ip route del {SERVICE}; ip route add 169.254.1.77 dev eth0")
    assert "401" in wget(m, "/latest/meta-data/id", service="169.254.1.77")
    assert "401" in wget(m, "/latest/meta-data/id", token_header("x" * 48), service="169.254.1.77")
    token = m.console.run("printf 'PUT /latest/api/token HTTP/1.0\\r\\nX-metadata-token-ttl-seconds: 5\\r\\n\\r\\n' "
                          "| nc -w 20 169.254.1.77 80; echo").strip().splitlines()[-1]
    assert len(token) == 48
    assert wget(m, "/latest/meta-data/id", token_header(token), "Accept: application/json",
                service="169.254.1.77") == "original"
    m.console.run("sleep 6")
    assert "401" in wget(m, "/latest/meta-data/id", token_header(token), service="169.254.1.77")


def test_a_clone_has_neither_data_nor_tokens_of_its_original(guest, monitor, tap, tmp_path):
    original = guest("V2")
    token = new_token(original)
    original.console.run(f"token={token}")
    assert wget(original, "/latest/meta-data/id", token_header(token)) == "original"
    original.api.pause()
    snapshot = Snapshot(tmp_path)
    original.api.snapshot(snapshot.state, snapshot.mem)
    original.api.resume()
    clones = [clone(monitor, snapshot, tap()) for _ in range(2)]
    tokens = {token}
    for i, m in enumerate(clones):
        assert m.api.get("/mmds") == {}
        assert m.api.get("/vm/config")["mmds-config"]["version"] == "V2"
        m.api.put("/mmds", {"latest": {"meta-data": {"id": f"clone {i}"}}})
        assert m.console.run("echo $token").strip() == token  # it remembers
        assert "401" in wget(m, "/latest/meta-data/id", token_header(token))  # and it is worth nothing
        own = new_token(m)
        tokens.add(own)
        assert wget(m, "/latest/meta-data/id", token_header(own)) == f"clone {i}"
    assert len(tokens) == 3
    assert "401" in wget(clones[0], "/", token_header(own))  # that of the other clone
    assert wget(original, "/latest/meta-data/id", token_header(token)) == "original"
    assert "401" in wget(original, "/", token_header(own))


def test_snapshots_while_the_guest_asks(guest, monitor, tap, tmp_path):
    """Wherever a snapshot falls into requests, both go on asking and are answered."""
    original = guest("V1")
    original.console.run(f"n=0; (while wget -q -O /dev/null http://{SERVICE}/latest/user-data || true; do n=$((n+1)); "
                         "echo $n >/tmp/next; mv /tmp/next /tmp/n; done) >/dev/null 2>&1 &")  # never read half-written
    original.console.run("until [ -e /tmp/n ]; do usleep 50000; done")
    for i in range(2 + len(long_form(2, 3, 4))):
        original.console.run(f"usleep {i * 7000}; cat /tmp/n")
        original.api.pause()
        snapshot = Snapshot(tmp_path)
        original.api.snapshot(snapshot.state, snapshot.mem)
        original.api.resume()
        m = clone(monitor, snapshot, tap())
        m.api.put("/mmds", {"latest": {"user-data": "clone"}})
        for machine in (m, original):
            before = int(machine.console.run("cat /tmp/n"))
            machine.console.run(f"until [ $(cat /tmp/n) -gt {before + 3} ]; do usleep 50000; done", 60)
        assert wget(m, "/latest/user-data") == "clone"
        m.stop()


def test_no_metadata_over_an_interface_that_is_not_named(boot, tap):
    config = config_with(tap(), "V1")
    config["network-interfaces"].append({"iface_id": "eth1", "host_dev_name": tap()})
    m = boot(config)
    m.api.put("/mmds", {"a": "b"})
    m.console.run(NETWORK)
    assert wget(m, "/a") == "b"
    m.console.run(f"ip route del {SERVICE}; ip addr add 172.16.1.2/24 dev eth1; ip link set eth1 up; "
                  f"ip route add {SERVICE} dev eth1")
    assert m.console.run(f"timeout 3 wget -q -O - http://{SERVICE}/a 2>&1; true").strip() != "b"


def test_a_configuration_that_fits_no_interface_is_refused(monitor, tap, tmp_path):
    m = restore_without_load(monitor)
    name = tap()
    m.api.put("/network-interfaces/eth0", {"iface_id": "eth0", "host_dev_name": name})
    status, text = m.api.raw("PUT", "/mmds/config", {"network_interfaces": ["eth0", "eth1"]})
    assert status == 400 and "does not correspond to any existing network interface" in text and "eth1" in text
    assert m.api.get("/vm/config")["mmds-config"] is None
    m.api.put("/mmds/config", {"network_interfaces": ["eth0"]})
    assert m.api.get("/vm/config")["mmds-config"] == {
        "version": "V1", "network_interfaces": ["eth0"], "ipv4_address": SERVICE, "imds_compat": False}
    status, text = m.api.raw("PUT", "/snapshot/load", {"snapshot_path": "s", "mem_file_path": "m"})
    assert status == 400 and "not allowed after configuring boot-specific resources" in text
