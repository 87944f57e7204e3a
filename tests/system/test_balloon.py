# SPDX-License-Identifier: Apache-2.0
"""
The balloon with Linux' driver: memory that the guest does not need is free on the host, and has nothing of a snapshot when
it comes again.
"""
import json
import os
import pathlib
import struct
import time

import pytest

from conftest import BOOT_ARGS, Snapshot, long_form, machine_config
from snapsafe.api import ApiError
from snapsafe.patience import Deadline

MIB = 1 << 20
PAGE = 4096
MEM_MIB = 256
FILL_MIB = 96
MARK = b"SNAPSAFE" b"BALLOON"  # at the start of a page; what guests are told to look for has it in two pieces
KERNELS = pytest.mark.parametrize("kernel", ["6.12", *long_form("6.1")])
# Without init_on_alloc=0 the guest itself clears each page before it goes into the balloon: then nothing would be shown.
ARGS = BOOT_ARGS + " init_on_alloc=0"
EVERYTHING = {"amount_mib": 0, "deflate_on_oom": True, "stats_polling_interval_s": 1, "free_page_hinting": True}
REPORTING = {"amount_mib": 0, "deflate_on_oom": False, "free_page_reporting": True}  # its queue then has another number


@pytest.fixture
def clone(snapshot_of, restore, tmp_path):
    """clone(kernel) -> a machine from a snapshot that all tests of a kernel share; flushed() counts what it does."""

    def start(kernel, balloon=None):
        snapshot = snapshot_of(kernel=kernel, mem_mib=MEM_MIB, boot_args=ARGS, balloon=balloon or EVERYTHING)
        return restore(snapshot, "--metrics-path", str(tmp_path / f"metrics-{os.urandom(4).hex()}"))

    return start


def until(condition, what, seconds=60):
    deadline = Deadline(seconds)
    while not condition():
        assert deadline.left() > 0, f"not within {seconds} s: {what()}"
        time.sleep(0.1)


def rss_mib(m):
    """Memory that the monitor has, guest included."""
    with open(f"/proc/{m.process.pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) // 1024 for line in f if line.startswith("Rss:"))


def statistics(m):
    return m.api.get("/balloon/statistics")


def inflate_to(m, mib):
    m.api.patch("/balloon", {"amount_mib": mib})
    until(lambda: statistics(m)["actual_mib"] == mib, lambda: statistics(m))


def fill(m):
    """The guest has used memory, and does not need it any more."""
    m.console.run(f"dd if=/dev/zero of=/tmp/fill bs=1M count={FILL_MIB} 2>/dev/null && rm /tmp/fill")


def flushed(m, name):
    m.api.put("/actions", {"action_type": "FlushMetrics"})
    path = pathlib.Path(m.process.args[m.process.args.index("--metrics-path") + 1])
    return sum(json.loads(line)["balloon"][name] for line in path.read_text().splitlines())


def check_that_memory_goes_back_and_comes_again(m):
    until(lambda: "total_memory" in statistics(m), lambda: statistics(m))
    fill(m)
    full = rss_mib(m)
    inflate_to(m, 128)
    small = rss_mib(m)
    assert small < full - FILL_MIB * 2 // 3, (full, small)
    told = statistics(m)
    assert told["target_pages"] == told["actual_pages"] == 128 * 256
    until(lambda: statistics(m)["free_memory"] < 100 * MIB, lambda: statistics(m))
    assert m.api.get("/balloon")["amount_mib"] == 128
    with pytest.raises(ApiError, match=f"amount_mib.*: {MEM_MIB + 1} is not allowed: the machine has {MEM_MIB} MiB"):
        m.api.patch("/balloon", {"amount_mib": MEM_MIB + 1})
    inflate_to(m, 0)
    until(lambda: statistics(m)["free_memory"] > 100 * MIB, lambda: statistics(m))
    fill(m)  # it can be used
    assert rss_mib(m) > small + FILL_MIB * 2 // 3
    assert flushed(m, "inflate_count") > 0
    assert flushed(m, "deflate_count") > 0
    assert flushed(m, "event_fails") == 0


@KERNELS
def test_memory_of_a_clone_goes_back_and_comes_again(clone, kernel):
    check_that_memory_goes_back_and_comes_again(clone(kernel))


def test_memory_of_a_machine_that_was_booted_goes_back_and_comes_again(boot, tmp_path):
    check_that_memory_goes_back_and_comes_again(boot(
        machine_config("6.1", mem_mib=MEM_MIB, boot_args=ARGS, balloon=EVERYTHING), "--metrics-path", str(tmp_path / "metrics")))


@KERNELS
def test_statistics_are_the_guests(clone, kernel):
    m = clone(kernel)
    until(lambda: "total_memory" in statistics(m), lambda: statistics(m))
    told = statistics(m)
    assert int(m.console.run("awk '/^MemTotal/ { print $2 }' /proc/meminfo")) * 1024 == told["total_memory"]
    for name in ("swap_in", "swap_out", "major_faults", "minor_faults", "free_memory", "available_memory", "disk_caches",
                 "hugetlb_allocations", "hugetlb_failures"):
        assert told[name] >= 0
    for name in ("oom_kill", "alloc_stall", "async_scan", "direct_scan", "async_reclaim", "direct_reclaim"):
        assert (name in told) == (kernel == "6.12")  # Linux tells since then

    m.console.run("dd if=/dev/zero of=/tmp/fill bs=1M count=64 2>/dev/null")
    until(lambda: statistics(m)["free_memory"] < told["free_memory"] - 32 * MIB, lambda: statistics(m))
    m.api.patch("/balloon/statistics", {"stats_polling_interval_s": 3600})
    assert m.api.get("/balloon")["stats_polling_interval_s"] == 3600
    time.sleep(2)  # the change itself has asked once more
    before = statistics(m)
    m.console.run("rm /tmp/fill; sleep 2")
    assert statistics(m) == before
    m.api.patch("/balloon/statistics", {"stats_polling_interval_s": 1})
    until(lambda: statistics(m)["free_memory"] > before["free_memory"] + 32 * MIB, lambda: statistics(m))
    with pytest.raises(ApiError, match="Statistics cannot be enabled/disabled after activation"):
        m.api.patch("/balloon/statistics", {"stats_polling_interval_s": 0})


@KERNELS
def test_hinted_memory_goes_back(clone, kernel):
    m = clone(kernel)
    assert m.api.get("/balloon/hinting/status") == {"host_cmd": 1, "guest_cmd": None}
    for run, acknowledge in ((2, True), (3, False), (4, None)):
        fill(m)
        full = rss_mib(m)
        body = None if acknowledge is None else {"acknowledge_on_stop": acknowledge}
        m.api.patch("/balloon/hinting/start", body)
        end = {"host_cmd": run if acknowledge is False else 1, "guest_cmd": 0}
        until(lambda end=end: m.api.get("/balloon/hinting/status") == end, lambda: m.api.get("/balloon/hinting/status"))
        until(lambda full=full: rss_mib(m) < full - FILL_MIB * 2 // 3, lambda full=full: (full, rss_mib(m)))
        if acknowledge is False:
            m.api.patch("/balloon/hinting/stop", None)
            assert m.api.get("/balloon/hinting/status") == {"host_cmd": 1, "guest_cmd": 0}
    fill(m)
    assert flushed(m, "free_page_hint_freed") >= 3 * FILL_MIB * MIB * 2 // 3
    assert flushed(m, "free_page_hint_fails") == 0


@KERNELS
def test_reported_memory_goes_back(clone, kernel):
    m = clone(kernel, REPORTING)
    fill(m)
    full = rss_mib(m)
    until(lambda: rss_mib(m) < full - FILL_MIB // 2, lambda: (full, rss_mib(m)))
    until(lambda: flushed(m, "free_page_report_freed") > FILL_MIB * MIB // 2, lambda: flushed(m, "free_page_report_freed"))
    assert flushed(m, "free_page_report_fails") == 0
    fill(m)


def snapshot_and_stop(m, directory):
    snapshot = Snapshot(directory)
    m.api.pause()
    m.api.snapshot(snapshot.state, snapshot.mem)
    m.stop()
    return snapshot


def marked_pages(path):
    """Which pages of a memory file begin with the mark."""
    marked = set()
    with open(path, "rb") as f:
        for page in range(MEM_MIB * MIB // PAGE):
            if f.read(PAGE).startswith(MARK):
                marked.add(page)
    return marked


def ram_of(m, mem):
    """Where a clone's RAM begins in its monitor, and which of its pages are not the memory file's any more."""
    discarded, base = set(range(MEM_MIB * MIB // PAGE)), None
    with open(f"/proc/{m.process.pid}/maps") as f:
        for line in f:
            if str(mem) not in line:
                continue
            start, end = (int(x, 16) for x in line.split()[0].split("-"))
            offset = int(line.split()[2], 16)
            base = start - offset
            discarded -= set(range(offset // PAGE, (offset + end - start) // PAGE))
    return base, discarded


def runs(pages, most):
    """The longest runs of consecutive pages: (first, number)."""
    found = []
    for page in sorted(pages):
        if found and found[-1][0] + found[-1][1] == page:
            found[-1][1] += 1
        else:
            found.append([page, 1])
    return sorted(found, key=lambda run: -run[1])[:most]


class Kcore:
    """/proc/kcore of a guest: its memory by physical address, free pages, too."""

    def __init__(self, m):
        self.m = m
        text = m.console.run("dd if=/proc/kcore bs=1024 count=1 2>/dev/null | od -An -v -tx1")
        head = bytes.fromhex("".join(text.split()))
        at, number = struct.unpack_from("<Q", head, 32)[0], struct.unpack_from("<H", head, 56)[0]
        self.segments = []
        for i in range(min(number, (len(head) - at) // 56)):
            kind, _, offset, virtual, physical, size = struct.unpack_from("<IIQQQQ", head, at + 56 * i)
            if kind == 1 and virtual >> 32 != 0xffffffff and physical < 1 << 40:  # not the kernel's text
                self.segments.append((physical, size, offset))

    def count(self, first, number):
        """In how many of these pages the mark is."""
        for physical, size, offset in self.segments:
            if physical <= first * PAGE and (first + number) * PAGE <= physical + size:
                skip = (offset + first * PAGE - physical) // PAGE
                out = self.m.console.run(f"dd if=/proc/kcore bs={PAGE} skip={skip} count={number} 2>/dev/null | "
                                         "grep -c 'SNAPSAFE[B]ALLOON' || true")
                return int(out)
        raise AssertionError(f"page {first:#x} is in no segment of {self.segments}")


@KERNELS
def test_a_clone_finds_nothing_of_the_snapshot_in_pages_that_come_back(clone, restore, tmp_path, kernel):
    m = clone(kernel)
    m.console.run("awk 'BEGIN { m = \"SNAPSAFE\" \"BALLOON\"; for (i = 0; i < 4096; i++) printf \"%-4095s\\n\", m }' "
                  ">/tmp/marks && rm /tmp/marks", 120)
    snapshot = snapshot_and_stop(m, tmp_path)
    marked = marked_pages(snapshot.mem)
    assert len(marked) > 3000

    ours, others = restore(snapshot), restore(snapshot)
    until(lambda: "free_memory" in statistics(ours), lambda: statistics(ours))
    most = statistics(ours)["free_memory"] // MIB - 20
    inflate_to(ours, most)
    base, discarded = ram_of(ours, snapshot.mem)
    assert len(discarded) >= most * 256 * 9 // 10
    given = discarded & marked
    assert len(given) > len(marked) // 2, "the balloon has too few of the pages that tell"
    inflate_to(ours, 0)

    # What there is, as the host sees it: no byte of the snapshot's pages.
    with open(f"/proc/{ours.process.pid}/mem", "rb") as f:
        for page in given:
            f.seek(base + page * PAGE)
            assert MARK not in f.read(PAGE), f"page {page:#x}"
    # And as the guest sees it; another clone, whose balloon is empty, finds all but what it has used since.
    found, kept = Kcore(ours), Kcore(others)
    for first, number in runs(given, 6):
        assert kept.count(first, number) > number // 2
        assert found.count(first, number) == 0
    fill(ours)
    # A snapshot of the clone has nothing of it either.
    second = tmp_path / "second"
    second.mkdir()
    assert not given & marked_pages(snapshot_and_stop(ours, second).mem)


@KERNELS
def test_a_balloon_that_is_half_inflated_goes_on_in_a_clone(clone, restore, tmp_path, kernel):
    m = clone(kernel)
    until(lambda: "total_memory" in statistics(m), lambda: statistics(m))
    m.api.patch("/balloon", {"amount_mib": 140})
    until(lambda: statistics(m)["actual_pages"] > 0, lambda: statistics(m))
    m.api.pause()
    half = statistics(m)["actual_pages"]
    snapshot = Snapshot(tmp_path)
    m.api.snapshot(snapshot.state, snapshot.mem)
    m.api.resume()
    clones = [restore(snapshot) for _ in range(2)]
    assert all(statistics(c)["actual_pages"] >= half for c in clones)
    for machine in (m, *clones):
        until(lambda machine=machine: statistics(machine)["actual_mib"] == 140, lambda machine=machine: statistics(machine))
        inflate_to(machine, 8)
        fill(machine)
        assert machine.console.run("echo alive") == "alive\n"


def test_a_guest_out_of_memory_takes_some_back(clone):
    m = clone("6.12")
    until(lambda: "free_memory" in statistics(m), lambda: statistics(m))
    most = statistics(m)["free_memory"] // MIB - 30
    inflate_to(m, most)
    m.console.run(f"dd if=/dev/zero of=/tmp/fill bs=1M count={FILL_MIB} 2>/dev/null", 120)
    assert statistics(m)["actual_mib"] < most
    assert statistics(m)["target_mib"] == most


def test_a_guest_without_a_driver(monitor, tmp_path):
    """Also where no guest runs: this one has nothing to boot from that would look at a balloon."""
    m = monitor()
    m.wait_api()
    config = machine_config()
    m.api.put("/boot-source", config["boot-source"])
    m.api.put("/balloon", {**EVERYTHING, "amount_mib": 128, "free_page_reporting": True})
    m.api.put("/actions", {"action_type": "InstanceStart"})
    m.api.pause()
    for path, body in (("/balloon", {"amount_mib": 1}), ("/balloon/hinting/start", None), ("/balloon/hinting/stop", {})):
        with pytest.raises(ApiError, match="Balloon update error: Balloon: Device not activated yet."):
            m.api.patch(path, body)
    m.api.patch("/balloon/statistics", {"stats_polling_interval_s": 5})
    expected = {"target_pages": 32768, "actual_pages": 0, "target_mib": 128, "actual_mib": 0}
    assert statistics(m) == expected
    assert m.api.get("/balloon/hinting/status") == {"host_cmd": 0, "guest_cmd": None}
    config = m.api.get("/balloon")
    assert config == {**EVERYTHING, "amount_mib": 128, "free_page_reporting": True, "stats_polling_interval_s": 5}
    m.api.snapshot(tmp_path / "state", tmp_path / "mem")
    clone = monitor()
    clone.wait_api()
    clone.api.load(tmp_path / "state", tmp_path / "mem", False)
    assert clone.api.get("/balloon") == config
    assert statistics(clone) == expected
    assert clone.api.get("/vm/config")["balloon"] == config
