# SPDX-License-Identifier: Apache-2.0
"""
Guests whose snapshot files are forged, shrink while they are mapped, or are replaced by a process that is killed.

SNAPSAFE_TEST_MUTATIONS (default 150) and SNAPSAFE_TEST_KILLS (default 8) are the numbers of rounds, SNAPSAFE_TEST_SEED
(default 1) chooses them; tests/long has the long forms.
"""
import contextlib
import functools
import http.client
import os
import shutil
import time

import pytest

import snapshot_file
from conftest import BINARY, BOOT_ARGS, long_form, mapped_counter
from kills import KILLS, kill_while, moments
from loader import GUEST_ENDED, GUEST_FAILED, MEMORY_GONE, OURS, Loader
from snapsafe import Monitor
from snapsafe.console import ConsoleTimeout
from snapsafe.patience import Deadline
from snapsafe.proc import settles


@pytest.fixture
def good(snapshot_of):
    """A guest that zeroes what it frees: its memory file is small, and quick to copy."""
    return snapshot_of(kernel="6.1", boot_args=BOOT_ARGS + " init_on_free=1")


def test_forged_state_files_are_refused_or_make_a_machine_that_ends_well(good, tmp_path):
    """With a checksum that fits, so that every parser sees hostile values. Every second one that loads also runs."""
    data = good.state.read_bytes()
    path = tmp_path / "forged"
    outcomes = {"ran on": 0, "ended": 0, "failed": 0}
    with Loader(answers=True) as loader:
        for seed in snapshot_file.rounds(3):
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
    with Loader(answers=True) as loader:
        assert str(copy.mem) in loader.try_load(copy.state, copy.mem)
        loader.check_good(good)


# The pair on disk loads every time


def is_handled(m):
    told = m.api.get("/entropy")
    return told["handled"] == told["generation"]


@pytest.mark.parametrize("kind", ["Diff", *long_form("Full")])
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
            # A guest that was saved before it was ready for the next event counts this one late.
            assert settles(lambda: is_handled(m), True, 30)
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
