# SPDX-License-Identifier: Apache-2.0
"""
Snapshot files that are damaged, forged, cut, in the way or full: always a sentence, and the process can still load a good one.

SNAPSAFE_TEST_MUTATIONS (default 150) and SNAPSAFE_TEST_KILLS (default 8) are the numbers of rounds, SNAPSAFE_TEST_SEED
(default 1) chooses them; tests/long has the long forms.
"""
import contextlib
import ctypes
import functools
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import time

import pytest

import snapshot_file
from conftest import BINARY, BOOT_ARGS, Snapshot, mapped_counter, wait_handled
from kills import KILLS, SEED, kill_while, moments
from snapsafe import Monitor, proc
from snapsafe.console import ConsoleTimeout
from snapsafe.patience import Deadline

MUTATIONS = int(os.environ.get("SNAPSAFE_TEST_MUTATIONS", 150))
PLACES = 64

# What docs/snapshot-format.md names: the guest ended by itself, KVM could not run it, its memory is gone.
GUEST_ENDED, GUEST_FAILED, MEMORY_GONE = 0, 1, 149
OURS = -signal.SIGTERM  # it ran on until we ended it


@pytest.fixture
def good(snapshot_of):
    """A guest that zeroes what it frees: its memory file is small, and quick to copy."""
    return snapshot_of(kernel="6.1", boot_args=BOOT_ARGS + " init_on_free=1")


@pytest.fixture
def copy(good, tmp_path):
    """The same files, for this test to damage."""
    mine = Snapshot(tmp_path)
    shutil.copy(good.state, mine.state)
    subprocess.run(["cp", "--sparse=always", str(good.mem), str(mine.mem)], check=True)
    return mine


class Loader:
    """Loads one pair after another into one process, as long as it refuses them; then into the next process."""

    def __init__(self):
        self.m = None
        self.refused = self.loaded = 0

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if self.m:
            self.m.stop()

    def adopt(self, m):
        """A process that has not done anything yet. With a listening socket and without connections, once it settles."""
        self.m = m
        m.wait_api()
        self.fds = proc.fds(m.process.pid)
        while proc.settles(lambda: proc.fds(m.process.pid), self.fds - 1, 0.2):
            self.fds -= 1

    def process(self):
        if self.m is None:
            self.adopt(Monitor(binary=BINARY))
        return self.m

    def try_load(self, state, mem, resume=False):
        """The sentence of a refusal, or None; then the process has a machine, or has had one: see end()."""
        m = self.process()
        body = {"snapshot_path": str(state), "mem_file_path": str(mem), "resume_vm": resume}
        try:
            status, text = m.api.raw("PUT", "/snapshot/load", body)
        except (http.client.HTTPException, OSError):
            assert resume, f"the monitor was gone before a guest ran: {self.last_words()}"
            return None
        if status == 204:
            return None
        assert status == 400, (status, text)
        self.refused += 1
        self.check_nothing_left()
        sentence = json.loads(text)["fault_message"]
        assert re.match(r'(Load snapshot error: |field "(snapshot|mem_file)_path": )[^\n]{20,}$', sentence), sentence
        return sentence

    def check_nothing_left(self):
        """No half-started machine: the state, and what a machine would be made of."""
        pid = self.m.process.pid
        assert self.m.api.get("/")["state"] == "Not started"
        assert proc.settles(lambda: proc.threads(pid), 2)  # the loop's, and the one that writes the log
        assert proc.settles(lambda: proc.fds(pid), self.fds), f"{self.fds} descriptors before a refused load, {proc.fds(pid)} now"

    def let_it_run(self):
        try:
            self.m.process.wait(0.1)
        except subprocess.TimeoutExpired:
            pass

    def last_words(self):
        return f"exit status {self.m.process.wait(30)}, log: {self.m.stderr()[-3000:]}"

    def end(self):
        """Ends a process with a machine, which may have ended by itself, in a way that docs name. Its exit status."""
        m, self.m = self.m, None
        self.loaded += 1
        log = m.stderr()
        status = m.stop()
        assert status in (GUEST_ENDED, GUEST_FAILED, OURS), f"exit status {status}, log: {log[-3000:]}"
        return status

    def check_good(self, snapshot):
        """The very process that has refused so much loads a good pair, and its guest runs."""
        assert self.try_load(snapshot.state, snapshot.mem, resume=True) is None
        self.m.console.run("true")
        self.end()


def places(length):
    """Lengths from 0 to one byte less than all: the first and last bytes, and evenly between."""
    edges = {0, 1, 7, 8, 9, 63, 64, 65, 79, 80, length - 4097, length - 4096, length - 4095, length - 17, length - 16,
             length - 15, length - 8, length - 1}
    edges = {place for place in edges if 0 <= place < length}
    rest = PLACES - len(edges)
    return sorted(edges | {length * i // (rest + 1) for i in range(1, rest + 1)})


def test_a_state_file_cut_anywhere_is_refused(good, tmp_path):
    data = good.state.read_bytes()
    cut = tmp_path / "cut"
    with Loader() as loader:
        for place in places(len(data)):
            cut.write_bytes(data[:place])
            sentence = loader.try_load(cut, good.mem)
            assert sentence and str(cut) in sentence, (place, sentence)
        assert loader.refused >= PLACES
        loader.check_good(good)


def test_a_state_file_cut_anywhere_with_a_checksum_that_fits_is_refused(good, tmp_path):
    data = good.state.read_bytes()
    cut = tmp_path / "cut"
    with Loader() as loader:
        for place in places(len(data) - 16):
            cut.write_bytes(data[:place] + snapshot_file.checksum(data[:place]))
            sentence = loader.try_load(cut, good.mem)
            assert sentence and str(cut) in sentence, (place, sentence)
        loader.check_good(good)


def test_a_memory_file_cut_anywhere_is_refused(good, copy):
    with Loader() as loader:
        for place in reversed(places(copy.mem.stat().st_size)):
            os.truncate(copy.mem, place)
            sentence = loader.try_load(good.state, copy.mem)
            assert sentence and str(copy.mem) in sentence, (place, sentence)
        assert loader.refused >= PLACES
        loader.check_good(good)


def rounds(part):
    return range(SEED * 1000000, SEED * 1000000 + MUTATIONS * part // 6)


def test_damaged_state_files_are_refused(good, tmp_path):
    data = good.state.read_bytes()
    path = tmp_path / "damaged"
    with Loader() as loader:
        for seed in rounds(2):
            kind, damaged = snapshot_file.mutation(data, seed, snapshot_file.BROKEN)
            path.write_bytes(damaged)
            assert loader.try_load(path, good.mem), f"seed {seed}, {kind}: was loaded"
        loader.check_good(good)


def test_damaged_records_of_memory_files_are_refused(good, copy):
    at = struct.unpack_from("<Q", good.state.read_bytes(), 56)[0]
    with open(copy.mem, "r+b") as f, Loader() as loader:
        f.seek(at)
        record = f.read(4096)
        assert record[16:32] == good.state.read_bytes()[40:56]
        for seed in rounds(1):
            rng = random.Random(seed)
            damaged = snapshot_file.flip_bytes(record, rng)
            if rng.random() < 0.5 and damaged[:32] != record[:32]:
                damaged = snapshot_file.sealed(damaged)
            f.seek(at)
            f.write(damaged)
            f.flush()
            sentence = loader.try_load(good.state, copy.mem)
            assert sentence and str(copy.mem) in sentence, f"seed {seed}: was loaded"
        loader.check_good(good)


def test_forged_state_files_are_refused_or_make_a_machine_that_ends_well(good, tmp_path):
    """With a checksum that fits, so that every parser sees hostile values. Every second one that loads also runs."""
    data = good.state.read_bytes()
    path = tmp_path / "forged"
    outcomes = {"ran on": 0, "ended": 0, "failed": 0}
    with Loader() as loader:
        for seed in rounds(3):
            kind, forged = snapshot_file.mutation(data, seed, snapshot_file.SEALED)
            path.write_bytes(forged)
            try:
                if loader.try_load(path, good.mem, resume=seed % 2 == 0) is None:
                    if seed % 2 == 0:
                        loader.let_it_run()
                    status = loader.end()
                    outcomes["ran on" if status == OURS else "failed" if status else "ended"] += 1
            except AssertionError as problem:
                keep = os.path.join(os.environ.get("SNAPSAFE_SCRATCH", "/tmp"), f"forged-{seed}")
                shutil.copy(path, keep)
                raise AssertionError(f"seed {seed}, {kind} (kept as {keep}): {problem}") from problem
        loader.check_good(good)
    print(f"{loader.refused} refused, {loader.loaded} loaded: {outcomes}")


def with_header(data, offset, form, value):
    out = bytearray(data)
    struct.pack_into(form, out, offset, value)
    return snapshot_file.sealed(bytes(out))


@pytest.mark.parametrize("offset, form, value, text", [
    (8, "<H", 0, "format v0.1.0"),
    (8, "<H", 2, "format v2.1.0"),
    (10, "<H", 2, "format v1.2.0"),
    (14, "<H", 183, "aarch64"),
    (16, "<I", 65, "header of 65 bytes"),
    (20, "<I", 1, "reserved"),
    (24, "<Q", 1 << 63, "claims 9223372036854775808 bytes of state"),
    (32, "<Q", 64 << 20, "67108864 bytes"),
    (32, "<Q", 0, "claims 0 bytes of memory"),
    (32, "<Q", 1 << 62, "claims 4611686018427387904 bytes of memory"),
])
def test_a_wrong_header_is_named(good, tmp_path, offset, form, value, text):
    path = tmp_path / "state"
    path.write_bytes(with_header(good.state.read_bytes(), offset, form, value))
    with Loader() as loader:
        assert text in loader.try_load(path, good.mem)


def test_files_of_different_snapshots_are_refused(good, copy):
    with Monitor(binary=BINARY) as m:
        m.wait_api()
        m.api.load(good.state, good.mem, resume=False)
        m.api.snapshot(copy.state, copy.mem)
    with Loader() as loader:
        assert "belongs to another snapshot" in loader.try_load(good.state, copy.mem)
        assert "belongs to another snapshot" in loader.try_load(copy.state, good.mem)
        assert "snapshot memory file" in loader.try_load(good.state, good.state)
        assert "snapshot state file" in loader.try_load(good.mem, good.mem)
        loader.check_good(copy)


def test_what_is_no_file_is_refused_at_once(good, tmp_path):
    """A directory, a FIFO, a socket, a device, links to them, to nothing and to themselves, in place of either file."""
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "to-nothing").symlink_to(tmp_path / "nothing")
    for name in ("directory", "fifo"):
        (tmp_path / f"to-{name}").symlink_to(tmp_path / name)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        names = [tmp_path / n for n in ("directory", "fifo", "loop", "to-nothing", "to-directory", "to-fifo", "nothing", "socket")]
        names += ["/dev/zero", "/dev/full", "", "relative", tmp_path / ("x" * 300), "/" + "y" * 5000]
        with Loader() as loader:
            for name in names:
                for pair in ((name, good.mem), (good.state, name), (name, name)):
                    assert loader.try_load(*pair), pair
            loader.check_good(good)


def test_links_to_good_files_are_followed(good, tmp_path):
    for name in ("state", "mem"):
        (tmp_path / name).symlink_to(getattr(good, name))
    with Loader() as loader:
        loader.check_good(Snapshot(tmp_path))


def give_up_file_rights():
    """Root is still root, but permission bits count: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH will not survive the exec."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):
        if libc.prctl(24, capability, 0, 0, 0) < 0:  # PR_CAPBSET_DROP
            os._exit(99)


def test_no_permission_is_a_sentence(good, copy):
    with Loader() as loader:
        loader.adopt(Monitor(binary=BINARY, preexec=give_up_file_rights))
        for name in ("state", "mem"):
            path = getattr(copy, name)
            path.chmod(0)
            sentence = loader.try_load(copy.state, copy.mem)
            assert "Permission denied" in sentence and str(path) in sentence
            path.chmod(0o600)
        loader.check_good(copy)


# A memory file that shrinks while it is mapped


def exit_after_shrink(m):
    """The machine has ended, with a sentence and a status that docs name; or it goes on. None then."""
    deadline = Deadline(10)
    while m.process.poll() is None and deadline.left() > 0:
        try:
            m.api.get("/")
            m.console.send("cat /etc/passwd /bin/* >/dev/null\n")
            m.console.drain(0.2)
        except (OSError, ConsoleTimeout, http.client.HTTPException):
            pass
    status = m.process.poll()
    if status is None:
        assert m.api.get("/")["state"] == "Running"
        return None
    assert status in (GUEST_ENDED, GUEST_FAILED, MEMORY_GONE), (status, m.stderr())
    assert status == GUEST_ENDED or any(text in m.stderr() for text in ("vCPU", "signal 7")), m.stderr()
    return status


@pytest.mark.parametrize("resumed", [True, False], ids=["while it runs", "while it is paused"])
@pytest.mark.parametrize("left", [0, 0.5])
def test_a_memory_file_that_shrinks_ends_its_machines_only(good, copy, restore, left, resumed):
    other = restore(good)
    m = restore(copy, resume=resumed)
    os.truncate(copy.mem, int(copy.mem.stat().st_size * left) // 4096 * 4096)
    if not resumed:
        try:
            m.api.raw("PATCH", "/vm", {"state": "Resumed"})
        except (OSError, http.client.HTTPException):
            pass
    print(f"exit status {exit_after_shrink(m)}: {m.stderr()[-600:]}")
    assert other.console.run("echo alive") == "alive\n"
    with Loader() as loader:
        assert str(copy.mem) in loader.try_load(copy.state, copy.mem)
        loader.check_good(good)


def test_a_snapshot_of_a_machine_whose_file_has_shrunk_is_refused(good, copy, restore, tmp_path):
    m = restore(copy, resume=False)
    os.truncate(copy.mem, 1 << 20)
    status, text = m.api.raw("PUT", "/snapshot/create", {"snapshot_path": str(tmp_path / "s"),
                                                        "mem_file_path": str(tmp_path / "m")})
    assert status == 400 and str(tmp_path / "m") in json.loads(text)["fault_message"]
    assert sorted(os.listdir(tmp_path)) == ["mem", "state"]
    assert m.api.get("/")["state"] == "Paused"


# The pair on disk loads every time


@pytest.mark.parametrize("kind", ["Full", "Diff"])
def test_the_pair_on_disk_loads_after_every_kill(good, copy, kind):
    """
    Each process loads the pair, runs its guest, and is killed while it creates a snapshot over that very pair (a diff is
    merged into it, so a chain grows beyond the places that there are for records); the
    first one is not killed but measured, the last one only looks, and the one before it is killed when it has succeeded.
    Generations tell which pair was loaded.
    """
    generations = [0]  # in the pair on disk

    @contextlib.contextmanager
    def loaded():
        with Monitor(binary=BINARY) as m:
            m.wait_api()
            m.api.load(copy.state, copy.mem)
            wait_handled(m, 1)
            generations.append(mapped_counter(m) - 1)
            assert generations[-1] - generations[-2] in (0, 1), generations
            m.api.pause()
            yield m

    with loaded() as m:
        start = time.monotonic()
        create(m, copy, kind)
        longest = time.monotonic() - start
    for seconds in [*moments(longest), None]:
        with loaded() as m:
            kill_while(m, functools.partial(create, m, copy, kind), seconds)
    with loaded():
        pass
    assert generations[-1] == generations[-2] + 1, "the last process had its answer before it was killed"
    assert sorted(os.listdir(copy.state.parent)) == ["mem", "state"]
    print(f"{KILLS} kills, generations {generations}")


def create(m, snapshot, kind):
    m.api.put("/snapshot/create", {"snapshot_type": kind, "snapshot_path": str(snapshot.state),
                                   "mem_file_path": str(snapshot.mem)})


def test_the_pair_on_disk_loads_after_every_full_disk(good, tmp_path):
    """A disk with room for the pair and a part of another one: each time a different part."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(disk)], check=True)
    try:
        pair = Snapshot(disk)
        shutil.copy(good.state, pair.state)
        subprocess.run(["cp", "--sparse=always", str(good.mem), str(pair.mem)], check=True)
        used = shutil.disk_usage(disk).used
        with Monitor(binary=BINARY) as m, Loader() as loader:
            m.wait_api()
            m.api.load(good.state, good.mem, resume=False)
            need = good.mem.stat().st_blocks * 512
            for room in (0, 4096, 65536, need // 3, need - 4096, need + 4096, need + 16384):
                subprocess.run(["mount", "-o", f"remount,size={used + room}", str(disk)], check=True)
                status, text = m.api.raw("PUT", "/snapshot/create", {"snapshot_path": str(pair.state),
                                                                    "mem_file_path": str(pair.mem)})
                if status == 204:
                    assert room > need // 2
                    break
                sentence = json.loads(text)["fault_message"]
                assert status == 400 and "No space left on device" in sentence and str(disk) in sentence
                assert sorted(os.listdir(disk)) == ["mem", "state"]
                # Only tmpfs needs room for what a guest merely reads: so it may not run before there is some.
                assert loader.try_load(pair.state, pair.mem) is None
                loader.end()
                subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
                loader.check_good(pair)
                used = shutil.disk_usage(disk).used
            subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
            m.api.snapshot(pair.state, pair.mem)
            loader.check_good(pair)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
