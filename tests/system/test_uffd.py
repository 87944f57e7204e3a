# SPDX-License-Identifier: Apache-2.0
"""
Memory that a page-fault handler has (mem_backend Uffd). The handler is a process of its own that does what Firecracker's
documentation says (page_handler.py). No guest has to run for most of it: what changes here is what the monitor writes.
"""
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import time

import pytest

from conftest import BINARY, long_form, wait_handled
from kills import kill_while, moments
from numbered_pages import PAGE, number_pages
from page_handler import PageHandler
from snapsafe import Monitor, proc
from test_beside import Request, assert_answers
from test_reseed import boot

SIZE = 32 << 20
RECORD, CLOCK, GENERATION = 0xDD000, 0xDE000, 0xDF000  # what a load and a leak event change
OWN = {RECORD, CLOCK, GENERATION}
BOUND_S = 10


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A snapshot with something to see in each page above its guest, which stands at one mebibyte, and its files."""
    directory = tmp_path_factory.mktemp("uffd")
    with Monitor(binary=BINARY) as m:
        boot(m, directory, {})
        m.api.pause()
        m.api.snapshot(directory / "state", directory / "mem")
    number_pages(directory / "mem", 0x101)
    return directory


@pytest.fixture
def handle(pair, tmp_path):
    """handle(*options) -> a handler with the snapshot's memory."""
    handlers = []

    def start(*options, memory=pair / "mem"):
        handlers.append(PageHandler(tmp_path, memory, *options, name=f"handler{len(handlers)}"))
        return handlers[-1]

    yield start
    for h in handlers:
        h.__exit__()


@pytest.fixture
def process(monitor):
    m = monitor()
    m.wait_api()
    return m


def body(pair, path, **more):
    return {"snapshot_path": str(pair / "state"), "mem_backend": {"backend_type": "Uffd", "backend_path": str(path)}, **more}


def load(m, pair, path, **more):
    return m.api.raw("PUT", "/snapshot/load", body(pair, path, **more))


class Answer(Request):
    """A request under way; result() is its status and text."""

    def __init__(self, m, *request):
        self.answer = None
        super().__init__(m, lambda api: setattr(self, "answer", api.raw(*request)))

    def result(self):
        super().result()
        return self.answer


def sentence(answer):
    status, text = answer
    assert status == 400, answer
    return json.loads(text)["fault_message"]


def save(m, directory, name, kind="Full"):
    m.api.put("/snapshot/create", {"snapshot_type": kind, "snapshot_path": str(directory / f"{name}.state"),
                                   "mem_file_path": str(directory / f"{name}.mem")})
    return (directory / f"{name}.mem").read_bytes()


def differences(a, b):
    assert len(a) == len(b)
    return [at for at in range(0, len(a), PAGE) if a[at:at + PAGE] != b[at:at + PAGE]]


def test_the_handshake_is_firecrackers(process, pair, handle):
    h = handle()
    assert load(process, pair, h.path)[0] == 204
    [message] = h.events("message")
    [mapping] = json.loads(message)
    assert re.fullmatch(r'\[\{"base_host_virt_addr":\d+,"size":33554432,"offset":0,"page_size":4096,'
                        r'"page_size_kib":4096\}\]', message)
    maps = pathlib.Path(f"/proc/{process.process.pid}/maps").read_text()
    assert f"{mapping['base_host_virt_addr']:x}-" in maps
    assert process.api.get("/")["state"] == "Paused"
    # Only what building it touches has been asked for.
    assert {RECORD, CLOCK, GENERATION} <= set(h.events("fault"))
    assert len(h.events("fault")) < 16


@pytest.mark.parametrize("option", ["--delay-ms=2", "--close-read", "--garbage"])
def test_any_handler_that_serves_will_do(process, pair, handle, option):
    assert load(process, pair, handle(option).path, resume_vm=True)[0] == 204
    process.api.pause()
    process.api.resume()
    assert process.api.get("/")["state"] == "Running"


def test_clones_of_one_handler_are_told_of_the_leak_before_they_run(monitor, pair, handle, tmp_path):
    """And what they are told differs."""
    clones = []
    for name in ("one", "two"):
        m = monitor()
        m.wait_api()
        assert load(m, pair, handle().path, resume_vm=True)[0] == 204
        m.api.pause()
        clones.append(save(m, tmp_path, name))
    original = (pair / "mem").read_bytes()
    identifiers = {memory[GENERATION:GENERATION + 16] for memory in (original, *clones)}
    assert len(identifiers) == 3
    assert clones[0][CLOCK:CLOCK + PAGE] != original[CLOCK:CLOCK + PAGE]


def test_a_snapshot_has_the_pages_that_were_not_served_yet(process, pair, handle, tmp_path):
    h = handle()
    assert load(process, pair, h.path)[0] == 204
    assert len(h.events("fault")) < 16
    assert set(differences(save(process, tmp_path, "again"), (pair / "mem").read_bytes())) <= OWN
    assert len(set(h.events("fault"))) == SIZE // PAGE
    with Monitor(binary=BINARY) as clone:  # and is one like any other
        clone.wait_api()
        clone.api.load(tmp_path / "again.state", tmp_path / "again.mem", True)


@pytest.mark.parametrize("tracked", [True, False])
def test_a_diff_lies_on_what_the_handler_has(monitor, process, pair, handle, tmp_path, tracked):
    assert load(process, pair, handle().path, resume_vm=True, track_dirty_pages=tracked)[0] == 204
    process.api.pause()
    save(process, tmp_path, "diff", "Diff")
    blocks = os.stat(tmp_path / "diff.mem").st_blocks
    assert blocks * 512 < SIZE / 4
    whole = save(process, tmp_path, "whole")
    m = monitor()
    m.wait_api()
    backend = {"backend_type": "File", "backend_path": str(tmp_path / "diff.mem"), "layers": [str(pair / "mem")]}
    m.api.put("/snapshot/load", {"snapshot_path": str(tmp_path / "diff.state"), "mem_backend": backend})
    assert set(differences(save(m, tmp_path, "merged"), whole)) <= OWN | {RECORD - PAGE}


def test_the_pair_on_disk_loads_after_every_kill(pair, tmp_path):
    """Machines that have their pages from a handler are killed while they write over a pair."""
    disk, times, numbers = tmp_path / "disk", [], itertools.count()
    disk.mkdir()

    def write(act):
        with PageHandler(tmp_path, pair / "mem", name=f"handler{next(numbers)}") as h, Monitor(binary=BINARY) as m:
            m.wait_api()
            assert load(m, pair, h.path)[0] == 204
            act(m)

    def loads():
        with Monitor(binary=BINARY) as m:
            m.wait_api()
            m.api.load(disk / "x.state", disk / "x.mem", True)

    def timed(m):
        start = time.monotonic()
        save(m, disk, "x")
        times.append(time.monotonic() - start)

    write(timed)
    for seconds in [*moments(*times), None]:
        write(lambda m, seconds=seconds: kill_while(m, lambda: save(m, disk, "x"), seconds))
        loads()
        assert set(differences((disk / "x.mem").read_bytes(), (pair / "mem").read_bytes())) <= OWN
    assert sorted(os.listdir(disk)) == ["x.mem", "x.state"]


def test_the_api_answers_while_the_handler_thinks(process, pair, handle):
    h = handle("--silent-after=0")
    request = Answer(process, "PUT", "/snapshot/load", body(pair, h.path))
    time.sleep(0.5)
    assert_answers(process)
    assert process.api.get("/")["state"] == "Not started"
    h.kill()
    assert "has ended" in sentence(request.result())
    # Nothing is half made: another handler, another try.
    assert load(process, pair, handle().path, resume_vm=True)[0] == 204


def test_a_handler_that_never_answers_fails_the_load(process, pair, handle):
    start = time.monotonic()
    answer = load(process, pair, handle("--silent-after=1").path)
    assert "has not served a page for 10 s" in sentence(answer)
    assert time.monotonic() - start >= BOUND_S - 1
    assert process.api.get("/")["state"] == "Not started"
    process.api.put("/machine-config", {"vcpu_count": 1, "mem_size_mib": 64})


def refused(monitor, pair, path, pattern, **more):
    m = monitor()
    m.wait_api()
    text = sentence(load(m, pair, path, **more))
    assert re.search(pattern, text), text
    assert m.api.get("/")["state"] == "Not started"
    assert not any("userfaultfd" in file for file in proc.open_files(m.process.pid))
    assert not {"fc_pages", "fc_watch", "fc_files"}.intersection(proc.thread_names(m.process.pid))


def test_what_cannot_be_is_refused_in_a_sentence(monitor, pair, handle, tmp_path):
    nobody = tmp_path / "nobody"
    refused(monitor, pair, nobody, f'page-fault handler at "{nobody}": No such file or directory')
    refused(monitor, pair, "/" + "x" * 108, "backend_path .* has 109 bytes, a socket's has at most 107")
    refused(monitor, pair, pair / "mem", "page-fault handler at .*: Connection refused")
    gone = "page-fault handler at .* (has ended|does not take the message)"
    refused(monitor, pair, handle("--close-unread").path, gone)
    refused(monitor, pair, handle("--die-unread").path, gone)
    refused(monitor, pair, handle("--die-after=2").path, "page-fault handler at .* has ended")


def test_another_memory_is_refused(monitor, pair, handle, tmp_path):
    with Monitor(binary=BINARY) as m:
        boot(m, tmp_path, {})
        m.api.pause()
        m.api.snapshot(tmp_path / "state", tmp_path / "mem")
    refused(monitor, pair, handle(memory=tmp_path / "mem").path, "serves another snapshot's memory: its id is ")
    (tmp_path / "zero").write_bytes(bytes(SIZE))
    refused(monitor, pair, handle(memory=tmp_path / "zero").path, "serves another memory: the page at offset 905216 is no record")


def test_a_memory_with_a_later_diff_in_it_is_refused(monitor, pair, handle, tmp_path):
    """The registers of one moment and the memory of another."""
    for name in ("state", "mem"):
        shutil.copy(pair / name, tmp_path / name)
    m = monitor()
    m.wait_api()
    m.api.load(tmp_path / "state", tmp_path / "mem", False)
    m.api.put("/snapshot/create", {"snapshot_type": "Diff", "snapshot_path": str(tmp_path / "later"), "mem_file_path": str(tmp_path / "mem")})
    refused(monitor, pair, handle(memory=tmp_path / "mem").path,
            "serves another snapshot's memory: the diff [0-9a-f-]+ was merged into the state file's")


def test_the_end_of_the_handler_is_the_machines(process, pair, handle):
    h = handle()
    assert load(process, pair, h.path, resume_vm=True)[0] == 204
    h.kill()
    assert process.process.wait(30) == 1
    assert re.search(r"The page-fault handler at .* has ended, and with it the memory of this machine", process.stderr())


def ends_at_once(m):
    start = time.monotonic()
    m.process.send_signal(signal.SIGTERM)
    assert m.process.wait(30) == -signal.SIGTERM
    assert time.monotonic() - start < 10


def test_a_silent_handler_keeps_nobody_from_ending_the_process(process, pair, handle):
    """What a request needs of the memory is refused after a while."""
    h = handle("--silent-after=5")
    assert load(process, pair, h.path)[0] == 204
    request = Answer(process, "PUT", "/snapshot/create", {"snapshot_path": str(pair / "never.state"),
                                                          "mem_file_path": str(pair / "never.mem")})
    time.sleep(0.5)
    assert_answers(process)
    assert "has not served all of them" in sentence(request.result())
    assert not (pair / "never.state").exists() and not (pair / "never.mem").exists()
    ends_at_once(process)


def test_a_pause_ends_while_a_vcpu_waits_for_a_page(process, pair, handle):
    """It succeeds, or says that the vCPU does not stop: whether it can be interrupted there is the kernel's affair."""
    h = handle("--silent-after=5")
    assert load(process, pair, h.path, resume_vm=True)[0] == 204
    request = Answer(process, "PATCH", "/vm", {"state": "Paused"})
    time.sleep(0.5)
    assert_answers(process)
    status, text = request.result()
    assert status == 204 or "does not stop" in text
    ends_at_once(process)


def test_the_process_can_be_ended_while_a_load_waits(process, pair, handle):
    h = handle("--silent-after=0")
    request = Answer(process, "PUT", "/snapshot/load", body(pair, h.path))
    time.sleep(0.5)
    ends_at_once(process)
    with pytest.raises(Exception):  # nobody is left to answer
        request.result()


KERNEL = "6.1"
MIB = 1 << 20
FILL_MIB = 96


@pytest.fixture
def guests(snapshot_of, monitor, handle):
    """guests(...) -> a clone with Linux in it, and its handler."""

    def start(**kind):
        snapshot = snapshot_of(kernel=KERNEL, **kind)
        h = handle(memory=snapshot.mem)
        m = monitor()
        m.wait_api()
        m.api.put("/snapshot/load", {"snapshot_path": str(snapshot.state), "resume_vm": True,
                                     "mem_backend": {"backend_type": "Uffd", "backend_path": h.path}})
        return m, h

    return start


def test_two_guests_of_one_memory_draw_different_bytes(guests):
    drawn = []
    for _ in range(2):
        m, _ = guests()
        wait_handled(m, 1)
        drawn.append(m.console.run("od -An -tx1 -N16 /dev/urandom"))
        m.stop()
    assert drawn[0] != drawn[1]


@pytest.mark.skipif(not long_form(True), reason="takes minutes: tests/long matrix")
def test_the_handler_is_told_what_the_balloon_gives_back(guests):
    m, h = guests(mem_mib=256, balloon={"amount_mib": 0, "deflate_on_oom": False, "stats_polling_interval_s": 1})
    m.api.patch("/balloon", {"amount_mib": 64})
    assert proc.settles(lambda: m.api.get("/balloon/statistics")["actual_mib"], 64, 60)
    removed = {page for offset, size in h.events("remove") for page in range(offset, offset + size, PAGE)}
    assert len(removed) * PAGE >= 60 * MIB
    faults = len(h.events("fault"))
    # The guest gets them back, uses them, and the handler is not asked.
    m.api.patch("/balloon", {"amount_mib": 0})
    assert proc.settles(lambda: m.api.get("/balloon/statistics")["actual_mib"], 0, 60)
    assert m.console.run(f"dd if=/dev/zero of=/tmp/fill bs=1M count={FILL_MIB} 2>/dev/null; wc -c </tmp/fill") \
        .strip() == str(FILL_MIB * MIB)
    assert not removed & set(h.events("fault")[faults:])
    m.api.pause()
