# SPDX-License-Identifier: Apache-2.0
"""
The answer waits for the guest's word that it has reseeded. The guest here never says so: any KVM runs what it is, one
jump to itself. Guests that do are in test_leaks.py.
"""
import re
import signal
import time

import pytest

from conftest import BINARY
from snapsafe import Monitor
from snapsafe.api import Api
from test_beside import Request, assert_answers, kernel

WAIT_MS = 3000


def boot(m, directory, entropy):
    (directory / "kernel").write_bytes(kernel())
    m.wait_api()
    m.api.put("/boot-source", {"kernel_image_path": str(directory / "kernel")})
    m.api.put("/machine-config", {"vcpu_count": 1, "mem_size_mib": 32})
    if entropy is not None:
        m.api.put("/entropy", entropy)
    m.api.put("/actions", {"action_type": "InstanceStart"})


def snapshot(directory, entropy):
    with Monitor(binary=BINARY) as m:
        boot(m, directory, entropy)
        m.api.pause()
        m.api.snapshot(directory / "state", directory / "mem")


@pytest.fixture
def clone(tmp_path):
    """A process into which `files` can be loaded: the snapshot of a machine whose guest has no driver."""
    snapshot(tmp_path, {})
    with Monitor(binary=BINARY) as m:
        m.wait_api()
        yield m, tmp_path


def load(api, directory, ms=WAIT_MS):
    return api.raw("PUT", "/snapshot/load", {
        "snapshot_path": str(directory / "state"), "mem_backend": {"backend_type": "File", "backend_path": str(directory / "mem")},
        "resume_vm": True, "reseed_timeout_ms": ms})


def progress(m):
    return m.api.get("/entropy")


SILENT = (r"has not reseeded within {} ms \(it has no driver for the entropy device\) and is paused: "
          r"resume it with another reseed_timeout_ms, or end it")


def test_a_guest_that_says_nothing_is_paused_again_and_the_load_fails(clone):
    m, directory = clone
    answers = []
    start = time.monotonic()
    request = Request(m, lambda api: answers.append(load(api, directory)))
    time.sleep(0.7)
    # Others are answered meanwhile; what changes something has its turn afterwards.
    assert_answers(m)
    assert m.api.get("/")["state"] == "Running"
    assert progress(m) == {"generation": 1, "handled": 0, "late": False, "driver": "None"}
    other = Request(m, lambda api: api.pause())
    time.sleep(0.3)
    assert request.is_alive() and other.is_alive()
    assert_answers(m)
    # Neither has its answer before the guest's time is over. Which thread of this process hears first says nothing.
    assert min(request.result(), other.result()) - start >= WAIT_MS / 1000
    status, text = answers[0]
    assert status == 400 and re.search("Load snapshot error: the guest " + SILENT.format(WAIT_MS), text), text
    assert m.api.get("/")["state"] == "Paused"
    # The machine is there: what to do with it is the client's.
    m.api.snapshot(directory / "state2", directory / "mem2")
    status, text = m.api.raw("PATCH", "/vm", {"state": "Resumed", "reseed_timeout_ms": 50})
    assert status == 400 and re.search("Internal VMM error: the guest " + SILENT.format(50), text), text
    assert m.api.get("/")["state"] == "Paused"
    assert progress(m)["generation"] == 2
    m.api.resume()
    assert m.api.get("/")["state"] == "Running"


def test_a_machine_without_a_leak_has_nothing_to_wait_for(tmp_path):
    with Monitor(binary=BINARY) as m:
        boot(m, tmp_path, {})
        m.api.pause()
        m.api.patch("/vm", {"state": "Resumed", "reseed_timeout_ms": 60000})
        assert m.api.get("/")["state"] == "Running"
        # A running one whose guest owes an answer: the same question, the same end.
        m.api.put("/actions", {"action_type": "SignalEntropyLeak"})
        assert m.api.raw("PATCH", "/vm", {"state": "Resumed", "reseed_timeout_ms": 50})[0] == 400
        assert m.api.get("/")["state"] == "Paused"


@pytest.mark.parametrize("entropy", [None, {"leak_reporting": False}])
def test_a_machine_that_nobody_can_ask_does_not_run(tmp_path, entropy):
    snapshot(tmp_path, entropy)
    with Monitor(binary=BINARY) as m:
        m.wait_api()
        status, text = load(m.api, tmp_path)
        assert status == 400 and "needs an entropy device with leak_reporting: this machine has none" in text
        assert m.api.get("/")["state"] == "Not started"
        m.api.load(tmp_path / "state", tmp_path / "mem")
        status, text = m.api.raw("GET", "/entropy")
        assert status == 400 and re.search('is not configured|"leak_reporting.*is false: the guest is told of no leaks', text)


def test_sigterm_does_not_wait(clone):
    m, directory = clone
    request = Request(m, lambda api: load(api, directory, 60000))
    time.sleep(0.5)
    start = time.monotonic()
    assert m.stop(timeout=10) == -signal.SIGTERM
    assert time.monotonic() - start < 10
    with pytest.raises(OSError):
        request.result()


def test_a_client_that_goes_away_changes_nothing(clone):
    """The machine is paused all the same: nobody may take it for one that has reseeded."""
    m, directory = clone

    def give_up(api):
        api.timeout = 0.3
        with pytest.raises(OSError):
            load(api, directory, 1500)

    Request(m, give_up).result()
    assert m.api.get("/")["state"] == "Running"
    Api(m.api_sock).put("/actions", {"action_type": "FlushMetrics"})  # its turn is afterwards
    assert m.api.get("/")["state"] == "Paused"
