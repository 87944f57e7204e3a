# SPDX-License-Identifier: Apache-2.0
"""Leak events, as the guest and its programs see them."""
import json
import re

import pytest

from conftest import COUNTER, Snapshot, long_form, machine_config, mapped_counter, start_watching, wait_handled

LAST_SEED = "cat /sys/virtio-rng/virtio_rng.0/last_seed"


def test_fifty_rounds_are_fifty_changes_and_poll_reports_each(snapshot_of, restore, tmp_path):
    m = restore(snapshot_of(kernel="6.1"))  # generation 1: the restore itself
    wait_handled(m, 1)
    start_watching(m, "test_poll")
    snapshot = Snapshot(tmp_path)
    for generation in range(2, 51):
        m.api.pause()
        m.api.snapshot(snapshot.state, snapshot.mem)
        m.api.resume()
        m.console.expect(rf"^VM generation counter changed! Old: {generation - 1} New: {generation}\n")
    m.console.run("kill $watch; wait $watch")
    assert mapped_counter(m) == 50


def test_pause_and_resume_without_a_snapshot_change_nothing(snapshot_of, restore):
    m = restore(snapshot_of(kernel="6.1"))
    before = mapped_counter(m)
    for _ in range(3):
        m.api.pause()
        m.api.resume()
    assert mapped_counter(m) == before == 1


def test_two_snapshots_in_one_pause_give_three_machines_three_seeds(boot, restore, tmp_path):
    original = boot(machine_config())
    snapshots = []
    original.api.pause()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        snapshots.append(Snapshot(tmp_path / name))
        original.api.snapshot(snapshots[-1].state, snapshots[-1].mem)
    original.api.resume()
    machines = [original] + [restore(s) for s in snapshots]
    seeds = []
    for m in machines:
        wait_handled(m, 1)
        assert mapped_counter(m) == 1
        seeds.append(m.console.run(LAST_SEED).strip())
    assert all(re.fullmatch(r"(\d+ )?[0-9a-f]{64}", s) for s in seeds), seeds
    assert len(set(seeds)) == 3, seeds


@pytest.mark.parametrize("source", ["/dev/hwrng", *long_form("/dev/urandom", "/dev/random")])
def test_eight_clones_of_a_two_processor_guest_read_different_bytes(snapshot_of, restore, source):
    snapshot = snapshot_of(kernel="6.1", vcpus=2)
    results = []
    for _ in range(8):
        m = restore(snapshot)
        wait_handled(m, 1)
        results.append(m.console.run(f"head -c 16 {source} | od -An -tx1").strip())
        m.stop()
    assert len(set(results)) == 8, results


def test_signal_entropy_leak_runs_an_event(snapshot_of, restore):
    m = restore(snapshot_of(kernel="6.1"))
    wait_handled(m, 1)
    m.api.put("/actions", {"action_type": "SignalEntropyLeak"})
    wait_handled(m, 2)
    assert mapped_counter(m) == 2


def test_without_leak_reporting_the_driver_is_a_plain_entropy_driver(boot, tmp_path):
    m = boot(machine_config(entropy={"leak_reporting": False}))
    assert m.console.run("head -c 16 /dev/hwrng | wc -c").strip() == "16"
    status, _ = m.console.run_status(f"test -e {COUNTER}")
    assert status != 0
    m.api.pause()
    m.api.snapshot(tmp_path / "state", tmp_path / "mem")
    m.api.resume()
    assert m.console.run("head -c 16 /dev/hwrng | wc -c").strip() == "16"


def test_metrics_count_events_and_requests(snapshot_of, restore, tmp_path):
    path = tmp_path / "metrics"
    m = restore(snapshot_of(kernel="6.1"), "--metrics-path", str(path))
    wait_handled(m, 1)
    m.api.put("/actions", {"action_type": "FlushMetrics"})
    entropy = {}
    for line in path.read_text().splitlines():
        for key, value in json.loads(line)["entropy"].items():
            entropy[key] = entropy.get(key, 0) + value
    assert entropy["leak_event_count"] == 1
    assert entropy["leak_late_count"] == 0
    assert entropy["leak_fill_count"] == 1 and entropy["leak_fill_bytes"] == 64 + 16  # seed, identity
    assert entropy["leak_copy_count"] == 1 and entropy["leak_copy_bytes"] == 8
    assert entropy["leak_refused_count"] == 0


def test_a_uevent_tells_of_the_change(snapshot_of, restore):
    m = restore(snapshot_of(kernel="6.1"))
    wait_handled(m, 1)
    m.console.run("(uevent sh -c 'echo $ACTION $VM_GENERATION >>/tmp/uevents' >/dev/null 2>&1 &) ; sleep 1")
    m.api.put("/actions", {"action_type": "SignalEntropyLeak"})
    wait_handled(m, 2)
    assert "change 2" in m.console.run("for i in 1 2 3 4 5 6 7 8 9; do grep change /tmp/uevents && break; sleep 1; done")


def load_and_wait(m, snapshot, ms=60000):
    return m.api.raw("PUT", "/snapshot/load", {
        "snapshot_path": str(snapshot.state), "mem_backend": {"backend_type": "File", "backend_path": str(snapshot.mem)},
        "resume_vm": True, "reseed_timeout_ms": ms})


@pytest.mark.parametrize("kernel", ["6.12", *long_form("6.1")])
def test_a_load_that_waits_is_over_when_the_guest_has_reseeded(snapshot_of, monitor, kernel):
    snapshot = snapshot_of(kernel=kernel)
    m = monitor()
    m.wait_api()
    status, text = load_and_wait(m, snapshot)
    assert status == 204, text
    assert m.api.get("/entropy") == {"generation": 1, "handled": 1, "late": False, "driver": "Confirms"}
    assert m.console.run("cat /sys/virtio-rng/virtio_rng.0/reseed_generation").strip() == "1"
    m.api.put("/actions", {"action_type": "SignalEntropyLeak"})
    m.api.patch("/vm", {"state": "Resumed", "reseed_timeout_ms": 60000})  # it runs: only the question is asked
    assert m.api.get("/entropy")["handled"] == 2


def test_a_guest_whose_driver_is_gone_fails_closed(boot, monitor, tmp_path):
    snapshot = Snapshot(tmp_path)
    original = boot(machine_config())
    original.console.run("for d in /sys/bus/virtio/drivers/virtio_rng/virtio*; do echo ${d##*/} >${d%/*}/unbind; done; sleep 1")
    original.api.pause()
    original.api.snapshot(snapshot.state, snapshot.mem)
    original.stop()
    m = monitor()
    m.wait_api()
    status, text = load_and_wait(m, snapshot, 2000)
    assert status == 400 and "has no driver for the entropy device) and is paused" in text
    assert m.api.get("/")["state"] == "Paused"
    m.api.resume()
    m.console.run("for d in /sys/bus/virtio/devices/virtio*; do echo ${d##*/} >/sys/bus/virtio/drivers/virtio_rng/bind; done 2>/dev/null; sleep 1")
    m.api.patch("/vm", {"state": "Resumed", "reseed_timeout_ms": 60000})  # the driver that came back has reseeded for what it missed
    assert m.api.get("/entropy") == {"generation": 1, "handled": 1, "late": False, "driver": "Confirms"}
