# SPDX-License-Identifier: Apache-2.0
"""
A machine that is paused, written to a snapshot and resumed again and again, and each snapshot loaded: the counters are
right in all of them, and nothing grows.

SNAPSAFE_TEST_CYCLES (default 4) is the number of cycles; tests/long has the long form.
"""
import json
import os

from conftest import BOOT_ARGS, Snapshot, machine_config, mapped_counter, start_watching, wait_handled
from snapsafe import proc

CYCLES = int(os.environ.get("SNAPSAFE_TEST_CYCLES", 4))
MEM_MIB = 128

# What a monitor may have more of at the end, whatever the number of cycles: freed memory that was not given back, and up to a
# mebibyte that a device has for a moment (one fresh clone of four had it).
SLACK_KIB = 2048


def changed(old):
    return rf"^VM generation counter changed! Old: {old} New: {old + 1}\n"


def measure(m):
    """Descriptors, threads and own memory in KiB. The connection of the last request may still be open for a moment."""
    pid = m.process.pid
    fds = proc.fds(pid)
    while proc.settles(lambda: proc.fds(pid), fds - 1, 0.3):
        fds -= 1
    return fds, proc.threads(pid), proc.own_kib(pid, MEM_MIB)


def entropy_counters(path):
    total = {}
    for line in path.read_text().splitlines():
        for key, value in json.loads(line)["entropy"].items():
            total[key] = total.get(key, 0) + value
    return total


def cycle(m, restore, snapshot, generation):
    """One event more in the original; and in a clone, which is another future of the same moment."""
    m.api.pause()
    m.api.snapshot(snapshot.state, snapshot.mem)
    m.api.resume()
    m.console.expect(changed(generation))
    clone = restore(snapshot)
    clone.console.expect(changed(generation))
    now = measure(clone) if generation % 4 == 0 else None
    clone.stop()
    return now


def test_cycles_of_pause_snapshot_resume_load(snapshot_of, restore, tmp_path):
    """A program in the guest that has the counter mapped reports each event, in the original and in every clone."""
    metrics = tmp_path / "metrics"
    m = restore(snapshot_of(kernel="6.1", boot_args=BOOT_ARGS + " init_on_free=1"), "--metrics-path", str(metrics),
                "--level", "Warn")
    wait_handled(m, 1)
    start_watching(m, "test_mmap")
    snapshot = Snapshot(tmp_path)
    originals, clones = [], []
    for generation in range(1, CYCLES + 1):
        clones.append(cycle(m, restore, snapshot, generation))
        if generation % 4 == 0:
            originals.append(measure(m))
    m.console.run("kill $watch; wait $watch")
    assert mapped_counter(m) == CYCLES + 1
    wait_handled(m, CYCLES + 1)
    m.api.put("/actions", {"action_type": "FlushMetrics"})
    counters = entropy_counters(metrics)
    events = counters["leak_event_count"]
    assert events == CYCLES + 1
    assert counters["leak_fill_count"] == counters["leak_copy_count"] == events - counters["leak_late_count"]
    assert counters["leak_refused_count"] == 0
    for seen in (originals, [c for c in clones if c]):
        print("descriptors, threads, own memory (KiB), first and last:", seen[0], seen[-1])
        assert len({(fds, threads) for fds, threads, _ in seen}) == 1, seen
        assert seen[-1][2] - seen[0][2] < SLACK_KIB, seen


def test_a_machine_costs_less_than_five_mebibytes_beyond_its_memory(boot, restore, tmp_path):
    """Private memory of the process, after all that a machine does once."""
    m = boot(machine_config())
    m.api.pause()
    snapshot = Snapshot(tmp_path)
    m.api.snapshot(snapshot.state, snapshot.mem)
    m.api.resume()
    clone = restore(snapshot)
    clone.console.run("head -c 100000 /dev/vda | md5sum; head -c 1000 /dev/hwrng >/dev/null")
    for process in (m.process, clone.process):
        assert proc.own_kib(process.pid, MEM_MIB) < 5 << 10
