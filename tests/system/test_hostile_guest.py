# SPDX-License-Identifier: Apache-2.0
"""
A guest that breaks every rule (tests/payload/guest_hostile.c): the monitor lives, a device whose ring is broken says so,
and works again once it is reset.
"""
import json
import time

import pytest

from conftest import ROOT, Snapshot
from snapsafe.patience import Deadline

pytestmark = pytest.mark.guest

GUEST = ROOT / "build" / "unit-gcc" / "tests" / "payload" / "guest_hostile"
VERDICT = r"^hostile: (\d+) rounds, (\d+) resets needed, (\d+) buffers used: (.*)\n"


def hostile_machine(folder, seed, rounds):
    assert GUEST.exists(), f"{GUEST} is not there: meson setup build/unit-gcc && ninja -C build/unit-gcc"
    (folder / "disk").write_bytes(bytes(1 << 20))
    config = folder / "config.json"
    config.write_text(json.dumps({
        "boot-source": {"kernel_image_path": str(GUEST), "boot_args": f"seed={seed} rounds={rounds}"},
        "drives": [{"drive_id": "disk", "path_on_host": str(folder / "disk"), "is_root_device": False,
                    "is_read_only": False, "cache_type": "Writeback"}],
        "machine-config": {"vcpu_count": 1, "mem_size_mib": 32},
        "balloon": {"amount_mib": 8, "deflate_on_oom": False, "stats_polling_interval_s": 1, "free_page_hinting": True,
                    "free_page_reporting": True},
        "entropy": {},
        "metrics": {"metrics_path": str(folder / "metrics")},
    }))
    return str(config)


def counted(folder, group, name):
    """The sum over all lines: counters are differences."""
    lines = (folder / "metrics").read_text().splitlines()
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


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
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
    assert counted(tmp_path, "vcpu", "failures") == 0
    assert counted(tmp_path, "i8042", "reset_count") == 1
    assert all(counted(tmp_path, "signals", name) == 0 for name in ("sigbus", "sigsegv", "sigill"))


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
