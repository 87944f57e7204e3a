# SPDX-License-Identifier: Apache-2.0
"""
A snapshot at random moments while every device is busy: frames in both directions, vsock connections that come, go and are
open, a balloon on its way, metadata that is asked for, the drive and the entropy device read. Each is restored, and original
and clone answer on network and vsock within a second (ten, if qemu emulates the processor); then everything else of them
does, too.

SNAPSAFE_TEST_LOAD_MOMENTS is how many moments there are (default 2), SNAPSAFE_TEST_SEED (default 1) chooses them;
`tests/long load-moments` has the long form.
"""
import contextlib
import json
import os
import random
import statistics
import threading
import time

import pytest

from conftest import machine_config
from snapsafe import is_emulated
from snapsafe.network import GUEST, HOST, PREFIX, Namespace
from snapsafe.patience import within
from test_network import host_server
from test_vsock import ECHO, connect, connect_when_there, exchange, start_servers
from test_vsock import traffic as vsock_traffic

pytestmark = pytest.mark.guest

MOMENTS = int(os.environ.get("SNAPSAFE_TEST_LOAD_MOMENTS", 2))
KINDS = [("6.1", 1), ("6.12", 2)]  # kernel, processors
LONG = "SNAPSAFE_TEST_LOAD_MOMENTS" in os.environ
BALLOON_MIB = 48
SERVICE = "169.254.169.254"
# A clone has all its memory before it again: some 16,000 page faults, each of them many steps of an emulated processor, which
# took 0.4 to 5 s. An interrupt that is lost is an answer that never comes: the test sees it with either limit.
ANSWER_S = 10 if is_emulated() else 1
# Each for ever, whether there is an answer or not: a clone has no server of the host's beside it. The pauses leave the guest's
# processor to who answers now and then: it may be an emulated one.
LOADS = (
    f"wget -q -O /dev/null http://{HOST}:8000/data; usleep 50000",
    f"wget -q -O /dev/null http://{SERVICE}/colour; usleep 100000",
    "dd if=/dev/vda of=/dev/null bs=64k count=8 iflag=direct; head -c 512 /dev/hwrng >/dev/null; usleep 100000",
)


@contextlib.contextmanager
def namespace(tap):
    ns = Namespace()
    try:
        ns.add_tap(tap)
        yield ns
    finally:
        ns.close()


def start(monitor, ns, tmp_path, kernel, vcpus):
    config = machine_config(kernel, vcpus, mem_mib=192, **{
        "network-interfaces": [{"iface_id": "eth0", "host_dev_name": "tap0", "guest_mac": "06:00:ac:10:00:02"}],
        "mmds-config": {"network_interfaces": ["eth0"], "version": "V1"},
        "vsock": {"guest_cid": 3, "uds_path": str(tmp_path / "v")},
        "balloon": {"amount_mib": 0, "deflate_on_oom": True, "stats_polling_interval_s": 1},
    })
    (tmp_path / "config").write_text(json.dumps(config))
    m = monitor("--config-file", str(tmp_path / "config"), preexec=ns.enter)
    m.console.login()
    m.console.quiet()
    m.api.put("/mmds", {"colour": "green"})
    m.console.run(f"ip addr add {GUEST}/{PREFIX} dev eth0; ip link set eth0 up; ip route add {SERVICE} dev eth0")
    m.console.run("mkdir -p /tmp/www && head -c 1000000 /dev/urandom >/tmp/www/data && httpd -p 80 -h /tmp/www", timeout=120)
    start_servers(m)
    connect_when_there(tmp_path / "v", ECHO).close()
    for load in LOADS:
        m.console.run(f"(while :; do {load}; done) >/dev/null 2>&1 &")
    return m


@contextlib.contextmanager
def from_outside(ns, path):
    """What asks the guest: for a file, and on the vsock device, where a connection stays open besides."""
    over = threading.Event()

    def pull():
        while not over.is_set():
            ns.run("wget", "-q", "-O", "/dev/null", f"http://{GUEST}/data", ok=False, timeout=600)

    threads = [threading.Thread(target=pull), *(threading.Thread(target=vsock_traffic, args=(path, over)) for _ in range(2))]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def time_to_answers(ns, path):
    """Seconds until the guest has answered on both, of which this is the beginning."""
    begin = time.monotonic()
    ns.answers(30)
    on_network = time.monotonic() - begin
    with connect(path, ECHO, 30) as s:
        exchange(s, b"are you there?")
    return on_network, time.monotonic() - begin


def load(monitor, ns, pair, path):
    m = monitor("--level", "Debug", preexec=ns.enter)
    m.wait_api()
    m.api.put("/snapshot/load", {
        "snapshot_path": str(pair[0]), "mem_backend": {"backend_path": str(pair[1]), "backend_type": "File"},
        "network_overrides": [{"iface_id": "eth0", "host_dev_name": "clone0"}], "vsock_override": {"uds_path": str(path)},
        "resume_vm": True})
    return m


def time_to_answers_of_clone(c, ns, path):
    """If it does not answer: with what its guest and its monitor say about that."""
    try:
        return time_to_answers(ns, path)
    except (AssertionError, OSError) as e:
        guest = c.console.run_status("tail -n 20 /tmp/server-*; ps; free; dmesg | tail -n 30")[1]
        raise AssertionError(f"{e}\nThe guest:\n{guest}\nThe log:\n{c.stderr()[-5000:]}") from e


def check_the_rest(m):
    """Metadata, drive, entropy, balloon of a clone; the guest still has its loads."""
    m.api.put("/mmds", {"colour": "blue"})
    m.console.run(f"[ $(wget -q -O - http://{SERVICE}/colour) = blue ]")
    m.console.run("dd if=/dev/vda of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null && head -c 32 /dev/hwrng >/dev/null")
    before = m.api.get("/balloon/statistics")["actual_mib"]
    to = 0 if before else BALLOON_MIB
    m.api.patch("/balloon", {"amount_mib": to})
    deadline = time.monotonic() + 60
    while m.api.get("/balloon/statistics")["actual_mib"] == before:
        assert time.monotonic() < deadline, f"the balloon stays at {before} MiB, and is to have {to}"
        time.sleep(0.05)


def snapshots_of(m, ns, monitor, tmp_path, count, chosen):
    """Times of all clones, and of the original after each."""
    pair, clones, originals = (tmp_path / "state", tmp_path / "mem"), [], []
    for i in range(count):
        m.api.patch("/balloon", {"amount_mib": chosen.randrange(BALLOON_MIB)})
        time.sleep(chosen.random() * 0.4)
        m.api.pause()
        m.api.snapshot(*pair)
        # One machine at a time: what is measured is not how many the processors can serve.
        with namespace("clone0") as own:
            c = load(monitor, own, pair, tmp_path / f"c{i}")
            clones.append(time_to_answers_of_clone(c, own, tmp_path / f"c{i}"))
            check_the_rest(c)
            c.stop()
        m.api.resume()
        originals.append(time_to_answers(ns, tmp_path / "v"))
        print(f"moment {i}: the clone has answered after {clones[-1][0]:.2f} and {clones[-1][1]:.2f} s, the original after "
              f"{originals[-1][0]:.2f} and {originals[-1][1]:.2f} s", flush=True)
    return clones, originals


@pytest.mark.parametrize("kernel, vcpus", KINDS if LONG else KINDS[1:])
def test_machines_answer_soon_whatever_the_snapshot_has_interrupted(kernel, vcpus, monitor, tmp_path):
    chosen = random.Random(int(os.environ.get("SNAPSAFE_TEST_SEED", 1)))
    count = MOMENTS // len(KINDS) if LONG else MOMENTS
    with namespace("tap0") as ns:
        m = start(monitor, ns, tmp_path, kernel, vcpus)
        with host_server(ns, tmp_path / "www") as directory, from_outside(ns, tmp_path / "v"):
            (directory / "data").write_bytes(os.urandom(1 << 20))
            with connect(tmp_path / "v", ECHO) as stays:
                exchange(stays, b"open")
                times = snapshots_of(m, ns, monitor, tmp_path, count, chosen)
        m.stop()
    for who, pairs in zip(("clones", "the original"), times):
        seconds = [both for _, both in pairs]
        print(f"{who}, Linux {kernel}: {count} times, median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s")
        late = [f"{s:.2f}" for s in seconds if not within(s, ANSWER_S)]
        assert not late, f"{who}: {len(late)} of {count} answered after more than {ANSWER_S} s: {', '.join(late)}"
