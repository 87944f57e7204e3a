# SPDX-License-Identifier: Apache-2.0
"""
A device needs a page that the page-fault handler keeps back: whoever holds its lock waits for nobody, so the API answers, and the
device goes on once the page is there. No driver has to run: its requests are in the snapshot, written there by the test.
"""
import re
import struct
import time

import pytest

from conftest import BINARY
from page_handler import PageHandler
from snapsafe import Monitor, proc
from snapsafe.patience import stretch
from test_reseed import boot
from test_uffd import Answer, body, ends_at_once, sentence
import snapshot_file

MIB = 1 << 20
PAGE = 4096
RING = 16 * MIB  # descriptors, available ring, used ring: in one page
AVAIL, USED = RING + 0x400, RING + 0x800
HELD = 17 * MIB  # the page that is kept back
ROOM = 18 * MIB  # a page of the guest's that is served
GIVEN_BACK = 19 * MIB
SOON = 1.0  # s
DRIVER_OK, VERSION_1 = 15, 1 << 32  # all bits of a driver that has begun
WRITE, NEXT = 2, 1
SECTOR = bytes(range(256)) * 2


def chain(*buffers):
    """Descriptors of (address, length, is written to by the device)."""
    last = len(buffers) - 1
    return b"".join(struct.pack("<QIHH", gpa, length, NEXT * (i < last) | WRITE * written, (i + 1) * (i < last))
                    for i, (gpa, length, written) in enumerate(buffers))


# What of a device is kept back: its name in the state file, the number of its queue, a chain, and what is in that page.
REQUESTS = {
    "balloon": ("balloon", 0, chain((HELD, 8, False)), struct.pack("<2I", GIVEN_BACK // PAGE, GIVEN_BACK // PAGE + 1)),
    "header of a drive's request": ("drive.data", 0, chain((HELD, 16, False), (ROOM, 512, True), (ROOM + 512, 1, True)), bytes(16)),
    "status of a drive's request": ("drive.data", 0, chain((ROOM + 1024, 16, False), (ROOM, 512, True), (HELD, 1, True)), b"\xff"),
}
ENTROPY = ("entropy", 0, chain((HELD, 64, True)), b"")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A snapshot of a machine with devices that no driver has begun with, and its files."""
    directory = tmp_path_factory.mktemp("unserved")
    (directory / "disk").write_bytes(SECTOR * 2048)
    with Monitor(binary=BINARY) as m:
        m.wait_api()
        m.api.put("/balloon", {"amount_mib": 0, "deflate_on_oom": False})
        m.api.put("/drives/data", {"drive_id": "data", "path_on_host": str(directory / "disk"), "is_root_device": False})
        boot(m, directory, {})
        m.api.pause()
        m.api.snapshot(directory / "made", directory / "empty")
    return directory


def replace(fields, **new):
    assert set(new) <= set(dict(fields))
    fields[:] = [(key, new.get(key, value)) for key, value in fields]


def write_request(pair, name, queue, descriptors, content):
    """The pair as it would be if a driver had made a request available, and been stopped then."""
    data = (pair / "made").read_bytes()
    root = snapshot_file.tree(data)
    devices = dict(dict(root)["devices"])
    for device in ("balloon", "drive.data", "entropy"):
        replace(devices[device], status=DRIVER_OK, driver_features=VERSION_1)
    replace(dict(devices[name])["queues"][queue], ready=True, size=8, desc=RING, avail=AVAIL, used=USED)
    (pair / "state").write_bytes(snapshot_file.with_tree(data, root))
    memory = bytearray((pair / "empty").read_bytes())
    for gpa, what in ((RING, descriptors), (AVAIL, struct.pack("<HHH", 0, 1, 0)), (HELD, content)):
        memory[gpa:gpa + len(what)] = what
    (pair / "mem").write_bytes(memory)


@pytest.fixture
def machine(pair, tmp_path, monitor):
    """machine(request) -> a monitor, and the handler that will keep back what the request needs."""
    handlers = []

    def start(request):
        write_request(pair, *request)
        handlers.append(PageHandler(tmp_path, pair / "mem", f"--hold={HELD}"))
        m = monitor("--metrics-path", str(tmp_path / "metrics"))
        m.wait_api()
        return m, handlers[-1]

    yield start
    for h in handlers:
        h.__exit__()


def guest_memory(m, h, gpa, length):
    [message] = h.events("message")
    base = int(re.search(r'"base_host_virt_addr":(\d+)', message)[1])
    with open(f"/proc/{m.process.pid}/mem", "rb", buffering=0) as f:
        f.seek(base + gpa)
        return f.read(length)


def used(m, h):
    return struct.unpack("<H", guest_memory(m, h, USED + 2, 2))[0]


def is_kept_back(h):
    return proc.settles(lambda: HELD in h.events("held"), True, 30)


def answers(m, method, path, request=None):
    start = time.monotonic()
    status, text = m.api.raw(method, path, request)
    assert status in (200, 204), text
    assert time.monotonic() - start < stretch(SOON), (method, path)


def ask_everything(m):
    for path in ("/", "/version", "/vm/config", "/machine-config", "/balloon", "/entropy"):
        answers(m, "GET", path)
    for action in ("FlushMetrics", "SignalEntropyLeak"):
        answers(m, "PUT", "/actions", {"action_type": action})
    limiter = {"bandwidth": {"size": MIB, "refill_time": 100}}
    answers(m, "PATCH", "/drives/data", {"drive_id": "data", "rate_limiter": limiter})
    answers(m, "PATCH", "/balloon", {"amount_mib": 1})
    answers(m, "PATCH", "/vm", {"state": "Paused"})
    answers(m, "PATCH", "/vm", {"state": "Resumed"})


@pytest.mark.parametrize("what", REQUESTS)
def test_the_api_answers_while_a_device_lacks_a_page(pair, machine, what):
    m, h = machine(REQUESTS[what])
    answers(m, "PUT", "/snapshot/load", body(pair, h.path, resume_vm=True))
    assert is_kept_back(h)
    for _ in range(3):
        ask_everything(m)
        time.sleep(0.3)
    assert used(m, h) == 0
    # And what it has waited for is done when the page is there.
    h.release()
    assert proc.settles(lambda: used(m, h), 1, 30)
    assert m.api.get("/")["state"] == "Running"
    if what == "balloon":
        assert [GIVEN_BACK, 2 * PAGE] in h.events("remove")
        assert guest_memory(m, h, GIVEN_BACK, PAGE) == bytes(PAGE)
    else:
        assert guest_memory(m, h, ROOM, 512) == SECTOR


@pytest.mark.parametrize("what", REQUESTS)
def test_a_machine_whose_device_lacks_a_page_can_be_ended(pair, machine, what):
    m, h = machine(REQUESTS[what])
    answers(m, "PUT", "/snapshot/load", body(pair, h.path, resume_vm=True))
    assert is_kept_back(h)
    ends_at_once(m)


def test_a_machine_whose_entropy_request_is_not_there_stays_paused(pair, machine):
    """What the leak event may touch is had before the machine runs; nobody else waits for that, and it can be tried again."""
    m, h = machine(ENTROPY)
    answers(m, "PUT", "/snapshot/load", body(pair, h.path))
    request = Answer(m, "PATCH", "/vm", {"state": "Resumed"})
    assert is_kept_back(h)
    for path in ("/", "/entropy", "/vm/config"):
        answers(m, "GET", path)
    assert "has not served a page for 10 s" in sentence(request.result())
    assert m.api.get("/")["state"] == "Paused"
    assert used(m, h) == 0
    h.release()
    m.api.resume()
    assert proc.settles(lambda: used(m, h), 1, 30)
    assert guest_memory(m, h, HELD, 64) != bytes(64)
