# SPDX-License-Identifier: Apache-2.0
"""
Working sets (docs/working-sets.md). Where no guest runs, what touches memory is the monitor: a load and a leak event change
three pages that are known, so that what is recorded can be told page by page. What is read ahead is seen in the process's own
page tables.
"""
import ctypes
import os
import struct
import time

import pytest

from conftest import BINARY, machine_config, wait_handled
from kills import kill_while, moments
from numbered_pages import PAGE, number_pages
from snapshot_file import checksum, sealed
from snapsafe import Monitor
from snapsafe.patience import Deadline
from test_reseed import boot as boot_nothing

SIZE = 32 << 20
RECORD, CLOCK, GENERATION = 0xDD000, 0xDE000, 0xDF000  # what a load and a leak event change
HEADER = struct.Struct("<8sIIQ16sQ16x")  # magic, version, header_len, mem_size, id, num_runs
PRESENT, FILE = 1 << 63, 1 << 61


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A snapshot with something to see in each page above its guest, which stands at one mebibyte."""
    directory = tmp_path_factory.mktemp("working-set")
    with Monitor(binary=BINARY) as m:
        boot_nothing(m, directory, {})
        m.api.pause()
        m.api.snapshot(directory / "state", directory / "mem")
    number_pages(directory / "mem", 0x200)
    return directory


@pytest.fixture
def pair(made, tmp_path):
    """The same with a directory of the test's own, in which working sets can lie."""
    for name in ("state", "mem"):
        os.link(made / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def process(monitor):
    m = monitor()
    m.wait_api()
    return m


def load(m, pair, resume=True, **backend):
    body = {"snapshot_path": str(pair / "state"), "resume_vm": resume,
            "mem_backend": {"backend_type": "File", "backend_path": str(pair / "mem"), **backend}}
    return m.api.raw("PUT", "/snapshot/load", body)


def default(pair):
    return pair / "mem.working-set"


def memory_id(pair):
    with open(pair / "state", "rb") as f:
        return f.read(64)[40:56]


def working_set(pair, runs, version=1, mem_size=SIZE, name=None):
    """The file's bytes; runs are (first page, pages)."""
    head = HEADER.pack(b"SNAPWSET", version, HEADER.size, mem_size, name or memory_id(pair), len(runs))
    body = b"".join(struct.pack("<QQ", first * PAGE, pages * PAGE) for first, pages in runs)
    return head + body + checksum(head + body)


def read_runs(path):
    data = path.read_bytes()
    assert sealed(data) == data
    magic, version, header_len, mem_size, name, num = HEADER.unpack(data[:HEADER.size])
    assert (magic, version, header_len, mem_size) == (b"SNAPWSET", 1, HEADER.size, SIZE)
    assert len(data) == HEADER.size + 16 * num + 16
    runs = [struct.unpack_from("<QQ", data, HEADER.size + 16 * i) for i in range(num)]
    assert all(offset % PAGE == 0 and length % PAGE == 0 and length for offset, length in runs)
    return name, [(offset // PAGE, length // PAGE) for offset, length in runs]


def pages_of(runs):
    return {page for first, pages in runs for page in range(first, first + pages)}


def entries(m, pair):
    """Of each page of the guest's memory, what /proc/PID/pagemap says."""
    pid = m.process.pid
    with open(f"/proc/{pid}/maps") as maps:
        spans = [line.split() for line in maps if line.rstrip().endswith("/mem")]
    start = min(int(span[0].split("-")[0], 16) for span in spans)
    with open(f"/proc/{pid}/pagemap", "rb") as f:
        f.seek(start // PAGE * 8)
        return struct.unpack(f"<{SIZE // PAGE}Q", f.read(SIZE // PAGE * 8))


def mapped(m, pair):
    """(pages that are the file's, pages that are the process's own)"""
    found = entries(m, pair)
    return ({n for n, entry in enumerate(found) if entry & PRESENT and entry & FILE},
            {n for n, entry in enumerate(found) if entry & PRESENT and not entry & FILE})


def wait_said(m, text, seconds=10):
    deadline = Deadline(seconds)
    while text not in m.stderr():
        assert deadline.left() > 0, m.stderr()
        time.sleep(0.02)


def drop_cache(pair):
    with open(pair / "mem", "rb") as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def in_cache(path):
    """Pages of a file that are in the page cache (mincore(2)); looking brings none."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    with open(path, "rb") as f:
        at = libc.mmap(None, SIZE, 1, 1, f.fileno(), 0)
        there = (ctypes.c_ubyte * (SIZE // PAGE))()
        assert libc.mincore(ctypes.c_void_p(at), ctypes.c_size_t(SIZE), there) == 0
        libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(SIZE))
    return {n for n in range(SIZE // PAGE) if there[n] & 1}


def test_what_the_machine_touches_is_recorded_and_nothing_else(pair, process):
    assert len(in_cache(pair / "mem")) > 1000  # a warm cache, from which the kernel would map neighbours
    assert load(process, pair, working_set="Record") == (204, "")
    process.api.pause()
    wait_said(process, "runs were recorded")
    name, runs = read_runs(default(pair))
    assert name == memory_id(pair)
    touched = pages_of(runs)
    assert {page * PAGE for page in touched} >= {RECORD, CLOCK, GENERATION}
    assert len(touched) <= 16, runs  # tables of the guest's processor besides, perhaps
    assert sum(pages for _, pages in runs) == len(touched)
    assert default(pair).stat().st_mode & 0o777 == (pair / "state").stat().st_mode & 0o777
    assert not list(pair.glob("*.snapsafe-tmp"))


def test_a_recording_ends_after_its_time_and_the_machine_runs_on(pair, process):
    path = pair / "elsewhere"
    assert load(process, pair, working_set="Record", working_set_ms=200, working_set_path=str(path))[0] == 204
    wait_said(process, "runs were recorded")
    assert read_runs(path)[0] == memory_id(pair)
    assert process.api.get("/")["state"] == "Running"
    assert not default(pair).exists()


def test_a_leak_event_is_no_end_of_a_recording(pair, process):
    assert load(process, pair, working_set="Record")[0] == 204
    process.api.put("/actions", {"action_type": "SignalEntropyLeak"})
    time.sleep(0.2)
    assert not default(pair).exists()
    process.api.pause()
    wait_said(process, "runs were recorded")


def test_a_process_that_ends_writes_nothing(pair, process):
    assert load(process, pair, working_set="Record", resume=False)[0] == 204
    process.api.resume()
    process.stop()
    assert not list(pair.glob("*working-set*"))


def test_the_file_is_whole_after_every_kill(pair):
    def record(act):
        with Monitor(binary=BINARY) as m:
            m.wait_api()
            assert load(m, pair, working_set="Record")[0] == 204
            act(m)

    def write(m):
        m.api.pause()
        while "runs were recorded" not in m.stderr() and m.process.poll() is None:
            time.sleep(0.002)

    def timed(m):
        start = time.monotonic()
        write(m)
        times.append(time.monotonic() - start)

    times = []
    record(timed)
    for seconds in [*moments(*times), None]:
        record(lambda m, seconds=seconds: kill_while(m, lambda: write(m), seconds))
        assert read_runs(default(pair))[0] == memory_id(pair)
    assert sorted(os.listdir(pair)) == ["mem", "mem.working-set", "state"]


def test_a_recording_replaces_a_working_set_and_nothing_else(pair, process, monitor):
    default(pair).write_bytes(working_set(pair, [(0x100, 1)], name=b"of another file!"))
    assert load(process, pair, working_set="Record")[0] == 204
    process.api.pause()
    wait_said(process, "runs were recorded")
    assert read_runs(default(pair))[0] == memory_id(pair)
    m = monitor()
    m.wait_api()
    before = (pair / "state").read_bytes()
    (pair / "empty").touch()
    for path in ("state", "mem", "empty"):
        status, text = load(m, pair, working_set="Record", working_set_path=str(pair / path))
        assert status == 400 and "is there and is no working set: it is not replaced" in text
    assert (pair / "state").read_bytes() == before


RUNS = [(0x800, 64), (0x400, 512), (0x300, 1)]


def test_the_pages_are_mapped_before_anybody_asks(pair, process):
    default(pair).write_bytes(working_set(pair, RUNS))
    drop_cache(pair)
    assert load(process, pair, resume=False)[0] == 204
    wait_said(process, "2308 KiB in 3 runs were mapped ahead")
    of_file, own = mapped(process, pair)
    assert of_file >= pages_of(RUNS)
    # The process's own are those that a load changes: reading ahead made none, and a diff would have none too many.
    assert not own & pages_of(RUNS)
    process.api.resume()
    process.api.pause()
    process.api.put("/snapshot/create", {"snapshot_type": "Diff", "snapshot_path": str(pair / "d.state"),
                                         "mem_file_path": str(pair / "d.mem")})
    assert (pair / "d.mem").stat().st_blocks * 512 <= 64 * PAGE


def test_another_file_and_none(pair, process, monitor):
    other = pair / "other"
    other.write_bytes(working_set(pair, [(0x300, 2)]))
    default(pair).write_bytes(working_set(pair, RUNS))
    assert load(process, pair, working_set_path=str(other))[0] == 204
    wait_said(process, f'Working set "{other}": 8 KiB in 1 runs were mapped ahead')
    m = monitor()
    m.wait_api()
    assert load(m, pair, working_set="Ignore")[0] == 204
    m.api.pause()
    assert "orking set" not in m.stderr()


DAMAGED = {
    "another kind": (lambda p: b"something else", "it is another kind of file"),
    "empty": (lambda p: b"", "it is another kind of file"),
    "cut": (lambda p: working_set(p, RUNS)[:-1], "it is damaged"),
    "one bit": (lambda p: working_set(p, RUNS)[:-40] + b"\1" + working_set(p, RUNS)[-39:], "it is damaged"),
    "another memory": (lambda p: working_set(p, RUNS, name=b"of another file!"), "it belongs to another memory file: its id is"),
    "another version": (lambda p: working_set(p, RUNS, version=2), "it has version 2, this monitor reads 1"),
    "another size": (lambda p: working_set(p, RUNS, mem_size=SIZE * 2), "it is of 67108864 bytes of memory"),
    "beyond the end": (lambda p: working_set(p, [(SIZE // PAGE - 1, 2)]), "run 0, 8192 bytes from 33550336 on, is not whole"),
    "far beyond": (lambda p: working_set(p, [(1 << 51, 1)]), "is not whole pages of a memory"),
    "of nothing": (lambda p: working_set(p, [(5, 0)]), "is not whole pages of a memory"),
    "too much": (lambda p: working_set(p, [(0, SIZE // PAGE)] * 2), "its runs have more than the 33554432 bytes of the memory"),
    "too long": (lambda p: b"SNAPWSET" + b"\0" * (2 << 20), "it has 2097160 bytes, at most"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_file_that_does_not_fit_is_ignored_with_a_line(pair, process, kind):
    make, said = DAMAGED[kind]
    default(pair).write_bytes(make(pair))
    assert load(process, pair) == (204, "")
    wait_said(process, f'Working set "{default(pair)}" is ignored: ')
    wait_said(process, said)
    assert process.api.get("/")["state"] == "Running"


def test_what_is_no_file_is_ignored_and_waits_for_nobody(pair, process, monitor):
    os.mkfifo(default(pair))
    assert load(process, pair) == (204, "")
    wait_said(process, "is ignored: ")
    m = monitor()
    m.wait_api()
    assert load(m, pair, working_set_path=str(pair / "none")) == (204, "")
    wait_said(m, "is ignored: ")


@pytest.mark.parametrize("backend, said", [
    ({"working_set": "Maybe"}, r'mem_backend.working_set\": \"Maybe\" is not allowed'),
    ({"working_set_ms": 5}, r'\"working_set_ms\" of mem_backend: 5 is not allowed with working_set Use'),
    ({"working_set": "Record", "working_set_ms": 0}, "mem_backend.working_set_ms"),
    ({"working_set": "Record", "working_set_ms": 3600001}, "mem_backend.working_set_ms"),
    ({"working_set": "Ignore", "working_set_path": "/x"}, r'\"working_set_path\" of mem_backend is not allowed with working_set Ignore'),
    ({"working_set_path": ""}, "mem_backend.working_set_path"),
    ({"backend_type": "Uffd", "working_set": "Use"}, r'\"working_set\" of mem_backend is not allowed with Uffd'),
    ({"backend_type": "Uffd", "working_set_path": "/x"}, r'\"working_set_path\" of mem_backend is not allowed with Uffd'),
])
def test_fields_that_do_not_go_together(pair, process, backend, said):
    status, text = load(process, pair, **backend)
    assert status == 400 and said in text, text


def test_where_it_cannot_be_recorded_the_load_is_refused(pair, process):
    status, text = load(process, pair, working_set="Record", working_set_path=str(pair))
    assert status == 400 and "mem_backend: working_set cannot be recorded" in text
    assert load(process, pair)[0] == 204  # and the process is as it was


def vcpu_faults(m):
    """(minor, major) faults of the vCPU's thread."""
    for task in os.scandir(f"/proc/{m.process.pid}/task"):
        with open(f"{task.path}/stat") as f:
            name, rest = f.read().rsplit(")", 1)
        if "(fc_vcpu 0" in name:
            fields = rest.split()
            return int(fields[7]), int(fields[9])
    raise AssertionError("no vCPU")


READ = "cat /dev/shm/data | md5sum"


def read_data(m):
    """What the guest makes of its 32 MiB, and the faults that its vCPU has meanwhile."""
    before = sum(vcpu_faults(m))
    said = m.console.run(READ, 300)
    return said, sum(vcpu_faults(m)) - before


def guest_load(m, directory, **backend):
    m.wait_api()
    status, text = load(m, directory, **backend)
    assert status == 204, text
    wait_handled(m, 1)
    m.console.quiet()


@pytest.mark.guest
def test_a_guest_finds_its_pages_and_two_clones_draw_different_bytes(boot, monitor, tmp_path):
    """(The testbed's disk is memory: no page is waited for there, but each fault is counted.)"""
    m = boot(machine_config(mem_mib=256))
    m.console.run("mount -o remount,size=90% /dev/shm; head -c 33554432 /dev/urandom >/dev/shm/data", 300)
    digest = m.console.run(READ, 300)
    m.api.pause()
    m.api.snapshot(tmp_path / "state", tmp_path / "mem")
    m.stop()
    plain = monitor()
    guest_load(plain, tmp_path, working_set="Record")
    said, faults = read_data(plain)
    assert said == digest
    assert faults > 250, "the vCPU's faults are not seen"
    plain.api.pause()
    wait_said(plain, "runs were recorded", 60)
    plain.stop()
    drawn = set()
    for _ in range(2):
        clone = monitor()
        guest_load(clone, tmp_path)
        wait_said(clone, "were mapped ahead", 60)
        said, ahead = read_data(clone)
        assert said == digest
        # What is left are first writes, which copy a page that is there: they wait for no disk.
        assert ahead <= faults / 3, f"{ahead} faults, {faults} without a working set"
        drawn.add(clone.console.run("head -c 32 /dev/urandom | od -An -tx1"))
    assert len(drawn) == 2
