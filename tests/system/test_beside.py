# SPDX-License-Identifier: Apache-2.0
"""What waits for files runs beside the loop: the API answers meanwhile. Any KVM runs what the guest is: one jump to itself."""
import os
import pathlib
import signal
import struct
import subprocess
import threading
import time

import pytest

from conftest import ROOT
from snapsafe import Monitor
from snapsafe.api import Api

DYNAMIC = str(ROOT / "build" / "unit-gcc" / "host" / "snapsafe-vmm")  # LD_PRELOAD is nothing to a static program
PROGRAMS = pathlib.Path(__file__).parent / "programs"
SLOW = 2  # seconds, of slow_sync.c


def kernel():
    """ELF, 64 bits: one segment at 1 MiB, entered at its start."""
    code, start = b"\xeb\xfe", 1 << 20
    return struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, start, 64, 0, 0, 64, 56, 1, 0, 0, 0) + struct.pack(
        "<IIQQQQQQ", 1, 5, 120, start, start, len(code), len(code), 4096) + code


@pytest.fixture
def slow_machine(tmp_path):
    """A paused machine with a drive that is flushed, and the file that makes its file system slow while it is there."""
    shim, switch = tmp_path / "slow_sync.so", tmp_path / "slow"
    subprocess.run(["cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", shim, PROGRAMS / "slow_sync.c"], check=True)
    for name in ("disk", "other"):
        (tmp_path / name).write_bytes(bytes(1 << 20))
    (tmp_path / "kernel").write_bytes(kernel())
    drive = {"drive_id": "data", "path_on_host": str(tmp_path / "disk"), "is_root_device": False, "cache_type": "Writeback"}
    with Monitor(binary=DYNAMIC, env=dict(os.environ, LD_PRELOAD=str(shim), SLOW_SYNC=str(switch))) as m:
        m.wait_api()
        m.api.put("/boot-source", {"kernel_image_path": str(tmp_path / "kernel")})
        m.api.put("/machine-config", {"vcpu_count": 1, "mem_size_mib": 32})
        m.api.put("/drives/data", drive)
        m.api.put("/actions", {"action_type": "InstanceStart"})
        m.api.pause()
        yield m, switch


class Request(threading.Thread):
    """A request on a connection of its own; what it raised is raised by result(), which says when its answer was read."""

    def __init__(self, m, fn):
        super().__init__()
        self.api, self.fn, self.error, self.ended = Api(m.api_sock), fn, None, None
        self.start()

    def run(self):
        try:
            self.fn(self.api)
        except Exception as e:
            self.error = e
        self.ended = time.monotonic()

    def result(self):
        self.join()
        if self.error:
            raise self.error
        return self.ended


def assert_answers(m):
    """Every GET, while something is under way."""
    for target in ("/", "/version", "/vm/config", "/machine-config"):
        start = time.monotonic()
        assert m.api.get(target)
        assert time.monotonic() - start < SLOW / 2


def test_the_api_answers_while_a_snapshot_is_written(slow_machine, tmp_path):
    m, switch = slow_machine
    switch.touch()
    create = Request(m, lambda api: api.snapshot(tmp_path / "state", tmp_path / "mem"))
    time.sleep(0.5)
    assert create.is_alive()
    assert_answers(m)
    assert m.api.get("/")["state"] == "Paused"
    # What changes something waits for its turn.
    again = Request(m, lambda api: api.snapshot(tmp_path / "state2", tmp_path / "mem2"))
    time.sleep(0.5)
    assert create.is_alive() and again.is_alive()
    assert_answers(m)
    switch.unlink()
    create.result(), again.result()
    written = [(tmp_path / name).stat() for name in ("state", "mem", "state2", "mem2")]
    assert all(file.st_size for file in written)
    assert written[0].st_mtime_ns <= written[2].st_mtime_ns


def test_the_api_answers_while_a_drive_gets_another_file(slow_machine, tmp_path):
    m, switch = slow_machine
    switch.touch()
    patch = Request(m, lambda api: api.patch("/drives/data", {"drive_id": "data", "path_on_host": str(tmp_path / "other")}))
    time.sleep(0.5)
    assert patch.is_alive()
    assert_answers(m)
    assert m.api.get("/vm/config")["drives"][-1]["path_on_host"] == str(tmp_path / "disk")
    switch.unlink()
    patch.result()
    assert m.api.get("/vm/config")["drives"][-1]["path_on_host"] == str(tmp_path / "other")


def test_an_error_beside_the_loop_is_the_requests(slow_machine, tmp_path):
    m, _ = slow_machine
    status, text = m.api.raw("PUT", "/snapshot/create", {"snapshot_path": "/nonexistent/state", "mem_file_path": str(tmp_path / "mem")})
    assert status == 400 and "/nonexistent" in text
    m.api.snapshot(tmp_path / "state", tmp_path / "mem")


def test_a_client_that_goes_away_holds_up_nobody(slow_machine, tmp_path):
    m, switch = slow_machine
    switch.touch()

    def give_up(api):
        api.timeout = 0.3
        with pytest.raises(OSError):
            api.snapshot(tmp_path / "state", tmp_path / "mem")

    Request(m, give_up).result()
    switch.unlink()
    m.api.snapshot(tmp_path / "state2", tmp_path / "mem2")
    assert (tmp_path / "state").exists()


def test_the_end_does_not_wait_for_a_snapshot(slow_machine, tmp_path):
    m, switch = slow_machine
    m.api.snapshot(tmp_path / "state", tmp_path / "mem")
    before = [(tmp_path / name).read_bytes() for name in ("state", "mem")]
    switch.touch()
    create = Request(m, lambda api: api.snapshot(tmp_path / "state", tmp_path / "mem"))
    time.sleep(0.5)
    start = time.monotonic()
    assert m.stop(timeout=10) == -signal.SIGTERM
    assert time.monotonic() - start < 10
    with pytest.raises(OSError):
        create.result()
    # The old pair, untouched.
    assert [(tmp_path / name).read_bytes() for name in ("state", "mem")] == before
