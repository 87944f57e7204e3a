# SPDX-License-Identifier: Apache-2.0
"""
A snapshot at any moment of a boot, from the first instruction to the login: the original goes on and the clone comes up,
each to its login, and with VM Generation ID each hears of the event as soon as it can.

SNAPSAFE_TEST_MOMENTS is how many random moments are tried beside the fixed ones (default 0: every third fixed one only),
SNAPSAFE_TEST_SEED (default 1) chooses them, SNAPSAFE_TEST_GUESTS (default 2) is how many originals boot at a time; `tests/long boot-moments`
has the long form.
"""
import concurrent.futures
import itertools
import os
import random
import re
import time

import pytest

from conftest import BINARY, IMAGE, Snapshot, machine_config
from snapsafe import Monitor, is_emulated

pytestmark = pytest.mark.guest

GUESTS = int(os.environ.get("SNAPSAFE_TEST_GUESTS", 2))
# Shares of the time that a boot takes. Before an early part of it is over, a guest has no handler for any interrupt; at the
# last of them it waits at its prompt.
FIXED = [0, 0.001, 0.003, 0.01, 0.03, 0.06, 0.1, 0.15, 0.25, 0.4, 0.6, 0.9, 1.3]
MOMENTS_A_BOOT = 4
# Kernel, VM Generation ID, processors: all of them in the long form; the short one has each value once.
KINDS = list(itertools.product(["6.1", "6.12"], [True, False], [1, 2]))
SHORT = [("6.12", True, 2), ("6.1", False, 1)]
# By these a guest tells that it got what it did not expect.
TROUBLE = r"unexpected|Oops|BUG:|general protection|Kernel panic|spurious"
# What two emulated processors die of now and then while Linux changes its own code: before version 8.1 qemu may go on with
# a translation that it made while the other processor wrote (since then it locks the page first). Nobody else's doing, but
# the same snapshot has to come up then.
STALE_CODE = "int3: 0000"
# Nor is this: flags that no processor has (bits that are always 0). qemu's processor leaves with what it had in their place;
# the guest goes on until an IRET refuses them.
FLAGS = re.compile(r"EFLAGS: ([0-9a-f]{8})\b")
FLAGS_ALWAYS_0 = ~0x3f7fd7
ATTEMPTS = 3


def boots():
    """(kernel, VM Generation ID, processors, shares of the boot), as many of each kind as of any other."""
    chosen = random.Random(int(os.environ.get("SNAPSAFE_TEST_SEED", 1)))
    more = int(os.environ.get("SNAPSAFE_TEST_MOMENTS", 0))
    shares = FIXED + [chosen.random() for _ in range(more)] if more else FIXED[::3]
    kinds = KINDS if more else SHORT
    count = max(len(kinds), -(-len(shares) // MOMENTS_A_BOOT))
    # The earliest moments are the hard ones: those with VM Generation ID, which has an interrupt at each event, come first.
    kinds = itertools.cycle(sorted(kinds, key=lambda kind: not kind[1]))
    return [(*kind, sorted(shares[i::count])) for kind, i in zip(kinds, range(count))]


def start(m, kernel, generation_id, vcpus):
    """Returns when the guest has begun to run."""
    config = machine_config(kernel=kernel, vcpus=vcpus)
    config["boot-source"]["kernel_image_path"] = str(IMAGE / f"vmlinuz-{kernel}-cloud")  # it decompresses itself: moments too
    config["machine-config"]["vm_generation_id"] = generation_id
    m.wait_api()
    for drive in config.pop("drives"):
        m.api.put(f"/drives/{drive['drive_id']}", drive)
    for section, body in config.items():
        m.api.put(f"/{section}", body)
    m.api.put("/actions", {"action_type": "InstanceStart"})


def check_booted(m, generation_id, boot_time):
    m.console.login(timeout=300 + 10 * boot_time)
    m.console.quiet()
    assert m.console.run(f"dmesg | grep -iE '{TROUBLE}' || true") == ""
    if not generation_id:
        return
    # A missed event is made up for within a second.
    m.console.run("for i in 1 2 3 4 5; do awk '/ACPI:Ged/ { for (i = 2; i < NF; i++) n += $i } END { exit n < 1 }' "
                  "/proc/interrupts && break; sleep 1; [ $i -lt 5 ]; done")


def snapshots_of_a_boot(original, directory, begin, boot_time, shares):
    """The original runs on after each."""
    for i, share in enumerate(shares):
        time.sleep(max(0, begin + share * boot_time - time.monotonic()))
        snapshot = Snapshot(directory / str(i))
        snapshot.state.parent.mkdir(parents=True)
        original.api.pause()
        original.api.snapshot(snapshot.state, snapshot.mem)
        original.api.resume()
        yield share, snapshot


def emulator_failed(m):
    if not is_emulated():
        return False
    return STALE_CODE in m.console.log or any(int(flags, 16) & FLAGS_ALWAYS_0 for flags in FLAGS.findall(m.console.log))


def try_boot(directory, boot_time, kernel, generation_id, vcpus, shares):
    """What went wrong: a list of sentences."""
    failed = []

    def check(who, m, attempt):
        """Whether that was it."""
        try:
            check_booted(m, generation_id, boot_time)
        except (AssertionError, OSError) as problem:
            if attempt < ATTEMPTS and emulator_failed(m):
                print(f"{who}: the emulator failed; once more", flush=True)
                return False
            failed.append(f"Linux {kernel}, {vcpus} processors, VM Generation ID {generation_id}, {who}: "
                          f"{str(problem)[-500:]}\nThe console's last lines:\n{m.console.log[-2500:]}")
        return True

    def run_original(attempt):
        with Monitor(binary=BINARY) as m:
            start(m, kernel, generation_id, vcpus)
            taken = list(snapshots_of_a_boot(m, directory / str(attempt), time.monotonic(), boot_time, shares))
            return taken if check(f"original of {shares}", m, attempt) else None

    def run_clone(share, snapshot, attempt):
        with Monitor(binary=BINARY) as m:
            m.wait_api()
            m.api.load(snapshot.state, snapshot.mem)
            # A boot that is quicker than the first one was has its last moments behind the prompt, which getty then says again.
            m.console.send("\n")
            return check(f"clone of {share:.3f} of the boot", m, attempt)

    taken = next(filter(None, map(run_original, range(1, ATTEMPTS + 1))))
    for share, snapshot in taken:
        any(run_clone(share, snapshot, attempt) for attempt in range(1, ATTEMPTS + 1))
        snapshot.mem.unlink()
    return failed


@pytest.fixture(scope="session")
def boot_time():
    """Seconds from InstanceStart to the login prompt."""
    with Monitor(binary=BINARY) as m:
        start(m, "6.12", True, 1)
        begin = time.monotonic()
        m.console.expect("login: ", 1000)
        return time.monotonic() - begin


def test_a_snapshot_at_any_moment_of_a_boot_leaves_two_machines_that_come_up(boot_time, tmp_path):
    failed, tried, begin = [], boots(), time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(GUESTS) as pool:
        runs = {pool.submit(try_boot, tmp_path / str(i), boot_time, *boot): boot for i, boot in enumerate(tried)}
        for done, run in enumerate(concurrent.futures.as_completed(runs), 1):
            failed += run.result()
            print(f"{done} of {len(tried)} boots tried, {time.monotonic() - begin:.0f} s, {len(failed)} failures; {runs[run]}: "
                  + ("\n".join(run.result()) or "all came up"), flush=True)
    moments = sum(len(boot[-1]) for boot in tried)
    assert not failed, f"{len(failed)} machines of {moments} moments failed:\n" + "\n".join(failed)


def test_an_event_before_the_first_instruction_is_heard_of(boot_time, tmp_path):
    """SignalEntropyLeak instead of a snapshot, as early as a client can."""
    with Monitor(binary=BINARY) as m:
        start(m, "6.12", True, 1)
        m.api.put("/actions", {"action_type": "SignalEntropyLeak"})
        check_booted(m, True, boot_time)
