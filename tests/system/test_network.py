# SPDX-License-Identifier: Apache-2.0
"""
Network interfaces with Linux in the guest: both directions over a tap, limits, pauses, snapshots under traffic, clones of one
snapshot in network namespaces of their own. Who attaches to a tap needs no privilege but its own network namespace.
"""
import contextlib
import json
import os
import signal
import statistics
import subprocess
import time

import pytest

from conftest import BINARY, long_form, machine_config
from snapsafe import Monitor
from snapsafe.meanwhile import meanwhile
from snapsafe.network import GUEST, HOST, PREFIX, Namespace
from snapsafe.patience import Deadline, stretch, within

pytestmark = pytest.mark.guest

MAC = "06:00:ac:10:00:02"
MEGABYTES = 16
MOMENTS = 10 if "SNAPSAFE_LONG" in os.environ else 5
FRAME = 65562  # the longest

@pytest.fixture
def namespace():
    made = []

    def make(*taps):
        ns = Namespace()
        made.append(ns)
        for tap in taps:
            ns.add_tap(tap)
        return ns

    yield make
    for ns in made:
        ns.close()


def interface(tap="tap0", **fields):
    return {"iface_id": "eth0", "host_dev_name": tap, "guest_mac": MAC, **fields}


def start(ns, monitor, tmp_path, kernel="6.1", nics=None, **kind):
    path = tmp_path / f"config-{os.urandom(4).hex()}.json"
    path.write_text(json.dumps(machine_config(kernel=kernel, **{"network-interfaces": nics or [interface()]}, **kind)))
    m = monitor("--config-file", str(path), preexec=ns.enter)
    m.console.login()
    m.console.quiet()
    return m


def set_up_guest(m):
    """An address, a server of the file /tmp/www/data, and its checksum."""
    m.console.run(f"ip addr add {GUEST}/{PREFIX} dev eth0 && ip link set eth0 up")
    m.console.run(f"mkdir -p /tmp/www && dd if=/dev/urandom of=/tmp/www/data bs=1M count={MEGABYTES} 2>/dev/null && "
                  "httpd -p 80 -h /tmp/www", timeout=120)
    return m.console.run("md5sum /tmp/www/data").split()[0]


def fetch(ns, path, name="data", timeout=120):
    ns.run("wget", "-q", "-O", str(path), f"http://{GUEST}/{name}", timeout=timeout)
    return subprocess.run(["md5sum", str(path)], check=True, capture_output=True, text=True).stdout.split()[0]


@contextlib.contextmanager
def host_server(ns, directory, port=8000):
    directory.mkdir(exist_ok=True)
    server = ns.start("httpd", "-f", "-p", f"{HOST}:{port}", "-h", str(directory))
    try:
        yield directory
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("kernel", ["6.12", *long_form("6.1")])
def test_linux_uses_the_interface_in_both_directions(namespace, monitor, tmp_path, kernel):
    ns = namespace("tap0")
    m = start(ns, monitor, tmp_path, kernel, [interface(mtu=1400)])
    assert m.console.run("cat /sys/class/net/eth0/address").strip() == MAC
    assert m.console.run("cat /sys/class/net/eth0/mtu").strip() == "1400"
    checksum = set_up_guest(m)
    ns.answers(10)
    assert "bytes from" in m.console.run(f"ping -c 2 -s 1372 -W 5 {HOST}")
    assert fetch(ns, tmp_path / "got") == checksum
    with host_server(ns, tmp_path / "www") as directory:
        (directory / "data").write_bytes(os.urandom(MEGABYTES << 20))
        assert m.console.run(f"wget -q -O - http://{HOST}:8000/data | md5sum", timeout=120).split()[0] == subprocess.run(
            ["md5sum", str(directory / "data")], check=True, capture_output=True, text=True).stdout.split()[0]
    # Offloads: what the guest sends is cut into packets by nobody.
    counters = ns.counters("tap0")
    assert counters["from_guest"] / counters["frames_from_guest"] > 2 * 1400


def follow_limit(rate, size, seconds, since, count):
    """
    What has passed of what the limit lets pass: size at once, and rate a second, from `since` on, when it was set and count was
    0. Never more, but for the rest of a frame that began with a token; and all of it whenever the guest has caught up, so the
    best moment counts. That a busy guest falls behind is not the limiter's.
    """
    moved, best, deadline = None, 0, Deadline(4 * seconds)
    while deadline.left() > 0:
        passed, now = count(), time.monotonic()
        assert passed <= size + 1.05 * rate * (now - since) + FRAME, f"{passed} bytes in {now - since:.2f} s"
        if not moved:
            moved = now if passed > 10000 else None  # until then the bucket was full
        elif now - moved >= seconds / 2 and passed > size:
            best = max(best, (passed - size) / (rate * (now - moved)))
        if moved and now - moved >= seconds and best >= 0.95:
            break
        time.sleep(0.02)
    return best


def test_a_limit_holds_and_can_be_changed(namespace, monitor, tmp_path):
    """512 KiB/s within 5 % over ten seconds in each direction; then none."""
    ns = namespace("tap0")
    m = start(ns, monitor, tmp_path)
    set_up_guest(m)
    rate, size = 1 << 19, 1 << 20
    limit = {"bandwidth": {"size": size, "refill_time": 1000 * size // rate}}
    free = {"bandwidth": {"size": 0, "refill_time": 0}, "ops": {"size": 0, "refill_time": 0}}

    def set_limit(direction, to):
        m.api.patch("/network-interfaces/eth0", {"iface_id": "eth0", f"{direction}_rate_limiter": to})

    def measure(direction, command):
        """The command moves a file, and is to take longer with the limit; the first time without, which tells if it can."""
        begin = time.monotonic()
        command(True)
        unlimited = (MEGABYTES << 20) / (time.monotonic() - begin)
        if unlimited < 2 * rate:
            pytest.skip(f"THE GUEST IS TOO SLOW: {direction} {unlimited / 1024:.0f} KiB/s without a limit, "
                        f"{2 * rate // 1024} KiB/s are needed to see one of {rate // 1024}")
        counter = "from_guest" if direction == "tx" else "to_guest"
        before, since = ns.counters("tap0")[counter], time.monotonic()
        set_limit(direction, limit)
        command(False)
        best = follow_limit(rate, size, 10, since, lambda: ns.counters("tap0")[counter] - before)
        set_limit(direction, free)
        assert best >= 0.95

    with contextlib.ExitStack() as stack:
        def download(to_the_end):
            process = ns.start("wget", "-q", "-O", "/dev/null", f"http://{GUEST}/data")
            stack.callback(process.wait)
            stack.callback(process.kill)
            if to_the_end:
                assert process.wait(stretch(120)) == 0

        measure("tx", download)
    with host_server(ns, tmp_path / "www") as directory:
        (directory / "data").write_bytes(bytes(MEGABYTES << 20))
        command = f"wget -q -O /dev/null http://{HOST}:8000/data >/dev/null 2>&1"
        measure("rx", lambda to_the_end: m.console.run(command, 120) if to_the_end else m.console.send(f"({command} &)\n"))


def test_a_paused_machine_goes_on_where_it_was(namespace, monitor, tmp_path):
    ns = namespace("tap0")
    m = start(ns, monitor, tmp_path)
    checksum = set_up_guest(m)
    process = ns.start("wget", "-q", "-O", str(tmp_path / "got"), f"http://{GUEST}/data")
    for _ in range(5):
        time.sleep(0.1)
        m.api.pause()
        assert ns.run("ping", "-c", "1", "-W", "1", GUEST, ok=False)[0] != 0
        m.api.resume()
    process.communicate(timeout=stretch(120))
    assert subprocess.run(["md5sum", str(tmp_path / "got")], check=True, capture_output=True,
                          text=True).stdout.split()[0] == checksum


@contextlib.contextmanager
def traffic(ns, m):
    """Both directions, until it is over; the guest fetches from the host and the host from the guest, which may take its time."""
    def pull():
        with contextlib.suppress(subprocess.TimeoutExpired):
            ns.run("wget", "-q", "-O", "/dev/null", f"http://{GUEST}/data", ok=False)

    m.console.run(f"(while :; do wget -q -O /dev/null http://{HOST}:8000/data || usleep 100000; done) >/dev/null 2>&1 &")
    with meanwhile((0, pull)):
        yield


def load(monitor, ns, directory, tap):
    m = monitor(preexec=ns.enter)
    m.wait_api()
    m.api.request("PUT", "/snapshot/load", {
        "snapshot_path": str(directory / "state"), "mem_backend": {"backend_path": str(directory / "mem"), "backend_type": "File"},
        "network_overrides": [{"iface_id": "eth0", "host_dev_name": tap}], "resume_vm": True})
    return m


@pytest.mark.parametrize("kernel", ["6.12", *long_form("6.1")])
def test_two_clones_of_a_snapshot_under_traffic_answer_within_a_second(namespace, monitor, tmp_path, kernel):
    """Each in a namespace of its own with the same guest address, on a tap of another name."""
    ns = namespace("tap0")
    m = start(ns, monitor, tmp_path, kernel)
    checksum = set_up_guest(m)
    with host_server(ns, tmp_path / "www") as directory:
        (directory / "data").write_bytes(os.urandom(1 << 20))
        with traffic(ns, m):
            time.sleep(1)
            m.api.pause()
            m.api.snapshot(tmp_path / "state", tmp_path / "mem")
            m.api.resume()
            ns.answers(10)
    clones, times = [], []
    for number in (1, 2):
        own = namespace(f"clone{number}")
        clones.append((own, load(monitor, own, tmp_path, f"clone{number}")))
        times.append(own.answers(10))
    # What a clone needs; that one of them had to wait for a processor says nothing about it.
    assert within(min(times), 1), times
    for own, clone in clones:
        assert fetch(own, tmp_path / "got") == checksum
        assert f'"host_dev_name":"clone' in json.dumps(clone.api.get("/vm/config"), separators=(",", ":"))
    ns.answers(10)  # the original goes on


def test_snapshots_at_any_moment_of_traffic_are_restored(namespace, monitor, tmp_path):
    """
    Each clone answers; and within a second half of them do, while the original's traffic goes on beside them: the others may
    have waited for a processor.
    """
    ns = namespace("tap0")
    m = start(ns, monitor, tmp_path)
    set_up_guest(m)
    times = []
    with host_server(ns, tmp_path / "www") as directory:
        (directory / "data").write_bytes(os.urandom(1 << 20))
        with traffic(ns, m):
            for moment in range(MOMENTS):
                time.sleep(0.05 + 0.07 * moment)
                pair = tmp_path / f"pair{moment}"
                pair.mkdir()
                m.api.pause()
                m.api.snapshot(pair / "state", pair / "mem")
                m.api.resume()
                own = namespace("clone0")
                clone = load(monitor, own, pair, "clone0")
                times.append(own.answers(30))
                clone.stop()
                (pair / "mem").unlink()
            assert within(statistics.median(times), 1), times
    print(f"{MOMENTS} clones, the slowest answered after {max(times):.2f} s")


def test_a_tap_is_left_as_it_was(namespace, tmp_path):
    """A monitor that is killed, and one that is refused a tap that another has, leave it; nothing is made."""
    ns = namespace("tap0")
    (tmp_path / "config.json").write_text(json.dumps(machine_config(**{"network-interfaces": [interface()]})))
    with Monitor("--config-file", str(tmp_path / "config.json"), binary=BINARY, preexec=ns.enter) as first:
        first.wait_api()
        with Monitor(binary=BINARY, preexec=ns.enter) as second:
            second.wait_api()
            status, body = second.api.raw("PUT", "/network-interfaces/eth0", interface())
            assert status == 400 and "tap \\\"tap0\\\" is in use by another process" in body
            status, body = second.api.raw("PUT", "/network-interfaces/eth0", interface("tap1"))
            assert status == 400 and "there is no network interface \\\"tap1\\\"" in body
            status, body = second.api.raw("PUT", "/network-interfaces/eth0", interface("lo"))
            assert status == 400 and "it must be a tap" in body
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
    names = ns.run("ip", "link")[1]
    assert "tap0" in names and "tap1" not in names
    with Monitor("--config-file", str(tmp_path / "config.json"), binary=BINARY, preexec=ns.enter) as again:
        again.wait_api()
