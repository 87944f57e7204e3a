# SPDX-License-Identifier: Apache-2.0
"""
The answer waits for the guest's word, and the guest is a driver of the entropy device and nothing else
(tests/payload/guest_confirm.c): an honest one, and those that say anything but what is true.
"""
import json
import time

import pytest

from conftest import ROOT, Snapshot

GUEST = ROOT / "build" / "unit-gcc" / "tests" / "payload" / "guest_confirm"


@pytest.fixture
def clone(monitor, tmp_path):
    """clone(mode) -> an API, and a snapshot of a guest of that mode to be loaded there."""

    def make(mode):
        assert GUEST.exists(), f"{GUEST} is not there: meson setup build/unit-gcc && ninja -C build/unit-gcc"
        config = tmp_path / "config.json"
        config.write_text(json.dumps({
            "boot-source": {"kernel_image_path": str(GUEST), "boot_args": f"mode={mode}"},
            "machine-config": {"vcpu_count": 1, "mem_size_mib": 32},
            "entropy": {},
        }))
        original = monitor("--config-file", str(config))
        original.console.expect(r"^ready\n", 60)
        original.api.pause()
        snapshot = Snapshot(tmp_path)
        original.api.snapshot(snapshot.state, snapshot.mem)
        original.stop()
        m = monitor()
        m.wait_api()
        return m, snapshot

    return make


def load(m, snapshot, ms):
    return m.api.raw("PUT", "/snapshot/load", {
        "snapshot_path": str(snapshot.state), "mem_backend": {"backend_type": "File", "backend_path": str(snapshot.mem)},
        "resume_vm": True, "reseed_timeout_ms": ms})


def test_an_honest_guest_is_waited_for_each_time(clone):
    m, snapshot = clone("h")
    status, text = load(m, snapshot, 60000)
    assert status == 204, text
    m.console.expect(r"^handled\n")
    for generation in range(2, 6):
        m.api.pause()
        m.api.put("/actions", {"action_type": "SignalEntropyLeak"})
        m.api.patch("/vm", {"state": "Resumed", "reseed_timeout_ms": 60000})
        assert m.api.get("/entropy") == {"generation": generation, "handled": generation, "late": False, "driver": "Confirms"}
        m.console.expect(r"^handled\n")


def test_wrong_numbers_are_not_believed(clone):
    m, snapshot = clone("l")
    start = time.monotonic()
    status, text = load(m, snapshot, 1500)
    assert time.monotonic() - start >= 1.5
    assert status == 400 and "its driver is silent) and is paused" in text
    assert m.api.get("/entropy") == {"generation": 1, "handled": 0, "late": False, "driver": "Confirms"}
    assert m.api.get("/")["state"] == "Paused"


def test_a_guest_without_a_seed_cannot_say_that_it_has_one(clone):
    m, snapshot = clone("e")
    status, text = load(m, snapshot, 1500)
    assert status == 400 and "its driver has not made room for the seed) and is paused" in text
    assert m.api.get("/entropy") == {"generation": 1, "handled": 0, "late": True, "driver": "Confirms"}


def test_a_driver_without_the_feature_is_not_let_run(clone):
    m, snapshot = clone("s")
    status, text = load(m, snapshot, 60000)
    assert status == 400 and "VIRTIO_RNG_F_LEAK_HANDLED" in text
    assert m.api.get("/")["state"] == "Not started"
    m.api.load(snapshot.state, snapshot.mem)
    assert m.api.get("/entropy") == {"generation": 1, "handled": 0, "late": False, "driver": "Silent"}
