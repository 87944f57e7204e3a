# SPDX-License-Identifier: Apache-2.0
"""
Guests that break every rule (tests/payload/guest_hostile.c, guest_hostile_net.c, guest_hostile_mmds.c): the monitor lives, a
device whose ring is broken says so, and works again once it is reset; the metadata service goes on serving.
"""
import contextlib
import json
import os
import random
import socket
import time

import pytest

from conftest import ROOT, Snapshot, long_form
from snapsafe import proc
from snapsafe.meanwhile import meanwhile
from snapsafe.network import HOST, Namespace
from snapsafe.patience import Deadline, within

pytestmark = pytest.mark.guest

GUESTS = ROOT / "build" / "unit-gcc" / "tests" / "payload"
GUEST = GUESTS / "guest_hostile"
NET_GUEST = GUESTS / "guest_hostile_net"
MMDS_GUEST = GUESTS / "guest_hostile_mmds"
MMDS_ATTACKS = 9
VERDICT = r"^hostile: (\d+) rounds, (\d+) resets needed, (\d+) buffers used: (.*)\n"


def hostile_machine(directory, seed, rounds):
    assert GUEST.exists(), f"{GUEST} is not there: meson setup build/unit-gcc && ninja -C build/unit-gcc"
    (directory / "disk").write_bytes(bytes(1 << 20))
    config = directory / "config.json"
    config.write_text(json.dumps({
        "boot-source": {"kernel_image_path": str(GUEST), "boot_args": f"seed={seed} rounds={rounds}"},
        "drives": [{"drive_id": "disk", "path_on_host": str(directory / "disk"), "is_root_device": False,
                    "is_read_only": False, "cache_type": "Writeback"}],
        "machine-config": {"vcpu_count": 1, "mem_size_mib": 32},
        "balloon": {"amount_mib": 8, "deflate_on_oom": False, "stats_polling_interval_s": 1, "free_page_hinting": True,
                    "free_page_reporting": True},
        "entropy": {},
        "metrics": {"metrics_path": str(directory / "metrics")},
    }))
    return str(config)


def counted(directory, group, name):
    """The sum over all lines: counters are differences."""
    lines = (directory / "metrics").read_text().splitlines()
    return sum(json.loads(line)[group][name] for line in lines)


def end_attack(m):
    """Types until it is heard: the guest may be in the middle of garbling its console."""
    deadline = Deadline(60)
    while m.process.poll() is None and deadline.left() > 0:
        try:
            m.console.send("q")
        except OSError:  # it has just ended
            return
        time.sleep(0.1)


def assert_sound(directory):
    """The monitor has counted no failure of its own."""
    assert counted(directory, "vcpu", "failures") == 0
    assert all(counted(directory, "signals", name) == 0 for name in ("sigbus", "sigsegv", "sigill"))


@pytest.mark.parametrize("seed", [1, 2, *long_form(3, 4)])
def test_the_monitor_lives_and_devices_work_after_a_reset(monitor, tmp_path, seed):
    m = monitor("--no-api", "--boot-timer", "--config-file", hostile_machine(tmp_path, seed, 40))
    verdict = m.console.expect(VERDICT, 120)
    assert verdict.group(4) == "all is well", m.stderr()
    assert m.wait() == 0  # the guest has asked for a reset: nothing else ends the monitor
    assert int(verdict.group(1)) == 40
    assert 0 < int(verdict.group(2)) <= counted(tmp_path, "virtio", "needs_reset_count")
    assert int(verdict.group(3)) > 0
    assert counted(tmp_path, "block", "invalid_reqs_count") > 0
    assert counted(tmp_path, "entropy", "entropy_event_fails") > 0
    assert counted(tmp_path, "balloon", "event_fails") > 0
    assert counted(tmp_path, "balloon", "free_page_report_freed") > 0
    assert counted(tmp_path, "i8042", "reset_count") == 1
    assert_sound(tmp_path)


def test_leaks_pauses_and_snapshots_of_a_hostile_guest(monitor, restore, tmp_path):
    m = monitor("--config-file", hostile_machine(tmp_path, 5, 1000000))
    m.console.expect(r"^hostile: begins\n")
    m.wait_api()
    snapshots = []
    for i in range(20):
        m.api.put("/actions", {"action_type": "SignalEntropyLeak"})
        time.sleep(0.02)
        m.api.pause()
        if i % 10 == 9:
            (tmp_path / str(i)).mkdir()
            snapshots.append(Snapshot(tmp_path / str(i)))
            m.api.snapshot(snapshots[-1].state, snapshots[-1].mem)
        m.api.resume()
    m.stop()
    for clone in [restore(s) for s in snapshots]:
        end_attack(clone)
        assert clone.console.expect(VERDICT, 10).group(4) == "all is well", clone.stderr()
        assert clone.wait() == 0


def hostile_net_machine(directory, seed, rounds):
    assert NET_GUEST.exists(), f"{NET_GUEST} is not there: meson setup build/unit-gcc && ninja -C build/unit-gcc"
    config = directory / "config.json"
    config.write_text(json.dumps({
        "boot-source": {"kernel_image_path": str(NET_GUEST), "boot_args": f"seed={seed} rounds={rounds}"},
        "drives": [],
        "machine-config": {"vcpu_count": 1, "mem_size_mib": 32},
        "network-interfaces": [{"iface_id": "eth0", "host_dev_name": "tap0"}],
        "vsock": {"guest_cid": 3, "uds_path": str(directory / "v")},
        "metrics": {"metrics_path": str(directory / "metrics")},
    }))
    return str(config)


@contextlib.contextmanager
def peers(ns, path):
    """Frames of all lengths for the guest, a server on its port 77, and clients that go as they come; who sees any error there is."""
    frames = ns.socket(socket.AF_INET, socket.SOCK_DGRAM)
    frames.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    server = socket.socket(socket.AF_UNIX)
    server.settimeout(0.2)
    server.bind(f"{path}_77")
    server.listen(64)

    broadcast = HOST.rsplit(".", 1)[0] + ".3"

    def send():
        with contextlib.suppress(OSError):
            frames.sendto(bytes(random.choice((1, 100, 1400, 9000))), (broadcast, 9))

    def serve():
        with contextlib.suppress(OSError):
            s, _ = server.accept()
            with s:
                s.settimeout(0.05)
                s.sendall(os.urandom(random.choice((0, 1, 100000))))
                s.recv(1000)

    def call():
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as s:
            s.settimeout(0.05)
            s.connect(str(path))
            s.sendall(b"CONNECT 52\n" + bytes(random.randrange(5000)))
            s.recv(1000)

    with frames, server, meanwhile((0.002, send), (0, serve), (0.02, call)):
        yield


def footprint(m):
    """Writable private memory in KiB, whether touched or not (so the guest's is all there), and descriptors."""
    with open(f"/proc/{m.process.pid}/status") as f:
        data = next(int(line.split()[1]) for line in f if line.startswith("VmData:"))
    return data, len(os.listdir(f"/proc/{m.process.pid}/fd"))


@pytest.mark.parametrize("seed", [1, *long_form(2)])
def test_a_hostile_driver_of_network_and_sockets(monitor, tmp_path, seed):
    """The monitor neither ends nor hangs nor grows, whatever comes from the guest while the host sends to it."""
    ns = Namespace()
    try:
        ns.add_tap("tap0")
        with peers(ns, tmp_path / "v"): # the guest's first round wants the server
            m = monitor("--config-file", hostile_net_machine(tmp_path, seed, 14), preexec=ns.enter)
            m.wait_api()
            m.console.expect(r"^hostile: half\n", 120)
            half = footprint(m)
            assert m.api.get("/")["state"] == "Running"
            verdict = m.console.expect(VERDICT, 120)
            assert verdict.group(4) == "all is well", m.stderr()
            assert m.api.get("/")["state"] == "Running"
        data, fds = footprint(m)
        end_attack(m)
        assert m.wait() == 0
    finally:
        ns.close()
    assert int(verdict.group(1)) == 14 and int(verdict.group(2)) > 0 and int(verdict.group(3)) > 0
    # Streams of the host's, and 64 KiB each of those that are not read: what docs/vsock.md allows is far more.
    assert data < half[0] + 8192 and fds < half[1] + 64, (half, data, fds)
    assert counted(tmp_path, "net", "tx_malformed_frames") > 0
    assert counted(tmp_path, "net", "tap_write_fails") > 0
    assert counted(tmp_path, "vsock", "tx_queue_event_fails") > 0
    assert_sound(tmp_path)


def hostile_mmds_machine(directory, seed, rounds):
    assert MMDS_GUEST.exists(), f"{MMDS_GUEST} is not there: meson setup build/unit-gcc && ninja -C build/unit-gcc"
    metadata, config = directory / "metadata", directory / "config.json"
    metadata.write_text(json.dumps({"a": "b", "big": "x" * 40000}))
    config.write_text(json.dumps({
        "boot-source": {"kernel_image_path": str(MMDS_GUEST), "boot_args": f"seed={seed} rounds={rounds}"},
        "drives": [],
        "machine-config": {"vcpu_count": 1, "mem_size_mib": 32},
        "network-interfaces": [{"iface_id": "eth0", "host_dev_name": "tap0"}],
        "mmds-config": {"network_interfaces": ["eth0"], "version": "V1"},
        "metrics": {"metrics_path": str(directory / "metrics")},
    }))
    return "--config-file", str(config), "--metadata", str(metadata)


@pytest.mark.parametrize("seed", [1, *long_form(2, 3, 4, 5, 6, 7, 8)])
def test_a_hostile_client_of_the_metadata_service(monitor, tmp_path, seed):
    """
    What is malformed, in pieces, by the hundred or never taken: a client that behaves is served after each attack, the API
    answers all the time, nothing grows. The guest looks at the first, from its second half on (when each attack has been there
    once) this test at the others.
    """
    ns = Namespace()
    times = []
    try:
        ns.add_tap("tap0")
        m = monitor(*hostile_mmds_machine(tmp_path, seed, 2 * MMDS_ATTACKS), preexec=ns.enter)
        m.wait_api()

        def ask():
            begin = time.monotonic()
            m.api.get("/")
            times.append(time.monotonic() - begin)

        with meanwhile((0.02, ask)):
            m.console.expect(r"^hostile: half\n", 120)
            half = footprint(m)
            verdict = m.console.expect(VERDICT, 120)
        assert verdict.group(4) == "all is well", m.stderr()
        assert m.api.get("/")["state"] == "Running"
        proc.settles(lambda: footprint(m)[1] <= half[1], True)  # that request's connection
        data, fds = footprint(m)
        end_attack(m)
        assert m.wait() == 0
    finally:
        ns.close()
    assert int(verdict.group(1)) == 2 * MMDS_ATTACKS and int(verdict.group(3)) > 1000
    assert len(times) > 20, times
    # But for one in a hundred: that the test itself does not get a processor for a second is no news where others build kernels.
    almost_all = sorted(times)[:-1 - len(times) // 100]
    assert within(almost_all[-1], 1) and within(max(times), 5), sorted(times)[-10:]
    print(f"{len(times)} answers of the API, the slowest after {max(times):.3f} s; {half} then {(data, fds)}")
    assert data < half[0] + 2048 and fds <= half[1], (half, data, fds)
    for name in ("rx_bad_eth", "rx_accepted_unusual", "connections_destroyed"):
        assert counted(tmp_path, "mmds", name) > 0, name
    assert counted(tmp_path, "mmds", "connections_created") > 2 * MMDS_ATTACKS
    assert_sound(tmp_path)
