# SPDX-License-Identifier: Apache-2.0
"""
What Linux' clocks show after a restore (the table of docs/time.md): for each of its clock sources, with and without
clock_realtime, from snapshots that have lain for 20 s. They lie at the same time.
"""
import time

import pytest

from conftest import BINARY, Snapshot, long_form, wait_handled
from snapsafe import Monitor

KERNELS = ("6.12", *long_form("6.1"))
SOURCES = ("kvm-clock", "tsc")
LAIN = 20  # s
NEAR = 1.0  # s; what a snapshot and a restore may be off by where the processor is emulated

CLOCKSOURCE = "/sys/devices/system/clocksource/clocksource0"
SHOW = ("bash -c 'echo $EPOCHREALTIME'; sed -n '/^now at/{s/[^0-9]//gp;q}' /proc/timer_list; "
        "cut -d' ' -f1 /proc/uptime")


class Look:
    """How far the guest's three clocks are ahead of the host's wall clock: by the quickest of some looks."""

    def __init__(self, m):
        self.error = float("inf")
        for _ in range(4):
            before = time.time()
            words = m.console.run(SHOW).split()
            half = (time.time() - before) / 2
            if half >= self.error:
                continue
            self.error = half
            realtime, monotonic, boottime = float(words[0]), int(words[1]) / 1e9, float(words[2])
            self.ahead = {name: value - before - half for name, value in
                          (("REALTIME", realtime), ("MONOTONIC", monotonic), ("BOOTTIME", boottime))}


@pytest.fixture(scope="module")
def lying(snapshot_of, tmp_path_factory):
    """{(kernel, source): (snapshot, how its clocks were, when it was made)}, all of which have lain for so long."""
    made = {}
    for kernel in KERNELS:
        first = snapshot_of(kernel=kernel)
        with Monitor(binary=BINARY) as m:
            m.wait_api()
            m.api.load(first.state, first.mem)
            wait_handled(m, 1)
            for source in SOURCES:
                snapshot = Snapshot(tmp_path_factory.mktemp("time"))
                m.console.run(f"echo {source} >{CLOCKSOURCE}/current_clocksource")
                assert m.console.run(f"cat {CLOCKSOURCE}/current_clocksource").strip() == source
                look = Look(m)
                m.api.pause()
                begun = time.time()
                m.api.snapshot(snapshot.state, snapshot.mem)
                made[kernel, source] = snapshot, look, (begun, time.time())
                m.api.resume()
                # The original's clocks went on while it was paused.
                again = Look(m)
                for name, ahead in again.ahead.items():
                    assert abs(ahead - look.ahead[name]) < NEAR + look.error + again.error, (kernel, source, name)
    time.sleep(max(0.0, LAIN - (time.time() - max(ended for _, _, (_, ended) in made.values()))))
    return made


@pytest.mark.guest
@pytest.mark.parametrize("clock_realtime", [True, False])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_clocks_after_a_restore(lying, monitor, kernel, source, clock_realtime):
    snapshot, before, made = lying[kernel, source]
    m = monitor()
    m.wait_api()
    asked = time.time()
    m.api.put("/snapshot/load", {"snapshot_path": str(snapshot.state), "mem_file_path": str(snapshot.mem), "resume_vm": True,
                                 "clock_realtime": clock_realtime})
    answered = time.time()
    assert asked - made[1] >= LAIN
    lost = (0, 0) if clock_realtime else (asked - made[1], answered - made[0])
    after = Look(m)
    near = NEAR + before.error + after.error
    for name, ahead in after.ahead.items():
        behind = before.ahead[name] - ahead
        assert lost[0] - near < behind < lost[1] + near, f"CLOCK_{name} lost {behind} s, not {lost}, of {near}"
    # Nobody in the guest thinks that a clock is broken, or that a processor hung.
    assert m.console.run(f"cat {CLOCKSOURCE}/current_clocksource").strip() == source
    complaints = m.console.run("dmesg | grep -E 'unstable|soft lockup|stall|skew' || true").strip()
    assert not complaints, complaints
