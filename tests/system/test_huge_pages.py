# SPDX-License-Identifier: Apache-2.0
"""
Memory of hugetlbfs (huge_pages 2M): booted, restored from a file, whose pages are copied when they are touched first, and
from a page-fault handler. For most of it no guest has to run: what changes is what the monitor writes.
"""
import json
import os
import pathlib
import re
import subprocess

import pytest

from conftest import BINARY, wait_handled
from numbered_pages import PAGE, number_pages
from huge_pool import HugePool, huge_pool  # noqa: F401 (fixture)
from page_handler import PageHandler
from snapsafe import Monitor
from snapsafe.proc import settles
from test_beside import DYNAMIC, PROGRAMS, assert_answers, kernel
from test_uffd import CLOCK, GENERATION, OWN, RECORD, Answer, differences, ends_at_once, save, sentence

HUGE = 2 << 20
MIB = 1 << 20  # what is below may change by running
SIZE = 64 << 20
PAGES = SIZE // HUGE
DIFF_RECORDS = set(range(0xCE000, RECORD, PAGE))  # of a diff


def boot(m, directory, huge_pages, **more):
    (directory / "kernel").write_bytes(kernel())
    m.wait_api()
    m.api.put("/boot-source", {"kernel_image_path": str(directory / "kernel")})
    m.api.put("/machine-config", {"vcpu_count": 1, "mem_size_mib": SIZE >> 20, "huge_pages": huge_pages, **more})
    m.api.put("/entropy", {})
    return m.api.raw("PUT", "/actions", {"action_type": "InstanceStart"})


def load_body(directory, huge_pages, name="", layers=None, **more):
    backend = {"backend_type": "File", "backend_path": str(directory / f"{name}mem")}
    if layers:
        backend["layers"] = [str(directory / f"{layer}mem") for layer in layers]
    return {"snapshot_path": str(directory / f"{name}state"), "mem_backend": backend, "huge_pages": huge_pages, **more}


def load(m, *args, **more):
    m.wait_api()
    return m.api.raw("PUT", "/snapshot/load", load_body(*args, **more))


def make_pair(directory, huge_pages):
    """A snapshot of a machine of such pages, with something to see in each page above its guest, which stands at one mebibyte."""
    with Monitor(binary=BINARY) as m:
        assert boot(m, directory, huge_pages) == (204, "")
        m.api.pause()
        m.api.snapshot(directory / "state", directory / "mem")
    number_pages(directory / "mem", 0x101)
    return directory


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return make_pair(tmp_path_factory.mktemp("huge"), "None")


@pytest.fixture
def handle(tmp_path):
    handlers = []

    def start(memory, *options):
        handlers.append(PageHandler(tmp_path, memory, *options, name=f"handler{len(handlers)}"))
        return handlers[-1]

    yield start
    for h in handlers:
        h.__exit__()


def test_a_machine_is_made_of_huge_pages(monitor, huge_pool, tmp_path):
    huge_pool.have(PAGES)
    m = monitor()
    assert boot(m, tmp_path, "2M") == (204, "")
    assert m.api.get("/machine-config")["huge_pages"] == "2M"
    assert huge_pool.left() == 0  # all are reserved
    assert huge_pool.free() == PAGES - 1  # and one is in use
    smaps = pathlib.Path(f"/proc/{m.process.pid}/smaps").read_text()
    assert re.search(rf"^Size: +{SIZE >> 10} kB\nKernelPageSize: +2048 kB$", smaps, re.MULTILINE)
    m.stop()
    assert huge_pool.left() == PAGES


def test_pages_that_are_not_there_are_refused_with_numbers(monitor, huge_pool, pair, handle, tmp_path):
    refusal = f"huge_pages is 2M: {PAGES} pages of 2 MiB are needed, and 5 of the host's [0-9]+ are left "
    for try_it in (lambda m: boot(m, tmp_path, "2M"), lambda m: load(m, pair, "2M"),
                   lambda m: load(m, pair, "2M", mem_backend={"backend_type": "Uffd", "backend_path": handle(pair / "mem").path})):
        huge_pool.have(5)
        m = monitor()
        assert re.search(refusal, sentence(try_it(m)))
        assert m.api.get("/")["state"] == "Not started"
        assert huge_pool.left() == 5
        huge_pool.have(PAGES)
        assert try_it(m)[0] == 204
        m.stop()


def test_memory_that_is_no_multiple_of_a_page_is_refused(monitor, tmp_path):
    with Monitor(binary=BINARY) as m:
        m.wait_api()
        text = sentence(m.api.raw("PUT", "/machine-config", {"vcpu_count": 1, "mem_size_mib": 33, "huge_pages": "2M"}))
        assert 'field "mem_size_mib": 33 is not allowed with huge_pages 2M: expected an even number' in text
        m.api.put("/machine-config", {"vcpu_count": 1, "mem_size_mib": 33})
        (tmp_path / "kernel").write_bytes(kernel())
        m.api.put("/boot-source", {"kernel_image_path": str(tmp_path / "kernel")})
        m.api.put("/actions", {"action_type": "InstanceStart"})
        m.api.pause()
        m.api.snapshot(tmp_path / "state", tmp_path / "mem")
    assert "guest memory of 0x2100000 bytes is no multiple of 2 MiB" in sentence(load(monitor(), tmp_path, "2M"))


@pytest.mark.parametrize("saved, asked, shown", [("None", "2M", "2M"), ("2M", "Snapshot", "2M"), ("2M", "None", "None")])
def test_a_snapshot_is_restored_onto_other_pages(monitor, huge_pool, tmp_path, saved, asked, shown):
    huge_pool.have(PAGES)
    make_pair(tmp_path, saved)
    m = monitor()
    assert load(m, tmp_path, asked) == (204, "")
    assert m.api.get("/machine-config")["huge_pages"] == shown
    assert huge_pool.left() == (0 if shown == "2M" else PAGES)
    # What was not copied yet is in a snapshot all the same, and not copied for it.
    assert set(differences(save(m, tmp_path, "again"), (tmp_path / "mem").read_bytes())) <= OWN
    assert huge_pool.free() == (PAGES - 1 if shown == "2M" else PAGES)
    m.api.resume()
    m.api.pause()
    assert all(at < MIB for at in differences(save(m, tmp_path, "later"), (tmp_path / "mem").read_bytes()))
    m.stop()
    with Monitor(binary=BINARY) as clone:
        clone.wait_api()
        clone.api.load(tmp_path / "later.state", tmp_path / "later.mem", True)


def with_working_set(directory, working_set):
    return {"mem_backend": {"backend_type": "File", "backend_path": str(directory / "mem"), "working_set": working_set}}


def test_there_is_no_working_set_of_huge_pages(monitor, huge_pool, tmp_path):
    """And nobody is left to wait for one: what the snapshot was made of counts as what the request asks for does."""
    huge_pool.have(PAGES)
    make_pair(tmp_path, "2M")
    file = tmp_path / "mem.working-set"
    with Monitor(binary=BINARY) as m:
        text = sentence(load(m, tmp_path, "Snapshot", **with_working_set(tmp_path, "Record")))
        assert "mem_backend: working_set cannot be recorded: huge_pages is 2M: the machine's memory is copied" in text
        assert not file.exists() and huge_pool.left() == PAGES
        assert load(m, tmp_path, "None", **with_working_set(tmp_path, "Record")) == (204, "")
        m.api.resume()
        m.api.pause()
        assert settles(file.exists, True)
    m = monitor()
    assert load(m, tmp_path, "Snapshot", **with_working_set(tmp_path, "Use")) == (204, "")
    assert f'Working set "{file}" is ignored: huge_pages is 2M' in m.stderr()


def test_clones_are_told_of_the_leak_before_they_run(monitor, huge_pool, pair, handle, tmp_path):
    """And what they are told differs."""
    huge_pool.have(PAGES)
    clones = []
    uffd = {"backend_type": "Uffd", "backend_path": handle(pair / "mem").path}
    for name, more in (("one", {}), ("two", {}), ("three", {"mem_backend": uffd})):
        m = monitor()
        assert load(m, pair, "2M", resume_vm=True, **more) == (204, "")
        m.api.pause()
        clones.append(save(m, tmp_path, name))
        m.stop()
    original = (pair / "mem").read_bytes()
    assert len({memory[GENERATION:GENERATION + 16] for memory in (original, *clones)}) == 4
    assert all(memory[CLOCK:CLOCK + PAGE] != original[CLOCK:CLOCK + PAGE] for memory in clones)


@pytest.mark.parametrize("tracked", [True, False])
def test_a_chain_of_diffs_lies_on_huge_pages(monitor, huge_pool, tmp_path, tracked):
    huge_pool.have(PAGES)
    m = monitor()
    assert boot(m, tmp_path, "2M", track_dirty_pages=tracked)[0] == 204
    for name, kind in (("full.", "Full"), ("one.", "Diff"), ("two.", "Diff"), ("whole.", "Full")):
        if name != "whole.":
            m.api.resume()
            m.api.pause()
        m.api.put("/snapshot/create", {"snapshot_type": kind, "snapshot_path": str(tmp_path / f"{name}state"),
                                       "mem_file_path": str(tmp_path / f"{name}mem")})
    m.stop()
    assert os.stat(tmp_path / "two.mem").st_blocks * 512 <= (HUGE if tracked else 2 * HUGE)
    whole = (tmp_path / "whole.mem").read_bytes()
    for pages in ("2M", "None"):
        m = monitor()
        assert load(m, tmp_path, pages, "two.", ["full.", "one."], track_dirty_pages=tracked) == (204, "")
        assert set(differences(save(m, tmp_path, "merged"), whole)) <= OWN | DIFF_RECORDS
        m.api.resume()
        m.api.pause()
        save(m, tmp_path, "three", "Diff")
        later = save(m, tmp_path, "later")
        m.stop()
        m = monitor()
        m.wait_api()
        backend = {"backend_type": "File", "backend_path": str(tmp_path / "three.mem"), "layers": [str(tmp_path / "merged.mem")]}
        m.api.put("/snapshot/load", {"snapshot_path": str(tmp_path / "three.state"), "mem_backend": backend,
                                     "huge_pages": pages})
        assert set(differences(save(m, tmp_path, "again"), later)) <= OWN | DIFF_RECORDS
        m.stop()


def test_a_handler_serves_huge_pages(monitor, huge_pool, pair, handle, tmp_path):
    huge_pool.have(PAGES)
    h = handle(pair / "mem")
    m = monitor()
    assert load(m, pair, "2M", mem_backend={"backend_type": "Uffd", "backend_path": h.path}) == (204, "")
    [message] = h.events("message")
    [mapping] = json.loads(message)
    assert (mapping["page_size"], mapping["page_size_kib"], mapping["size"]) == (HUGE, HUGE, SIZE)
    assert h.events("fault") == [0]
    assert set(differences(save(m, tmp_path, "again"), (pair / "mem").read_bytes())) <= OWN
    assert sorted(h.events("fault")) == list(range(0, SIZE, HUGE))
    h.kill()
    assert m.process.wait(30) == 0 or "has ended" in m.stderr()


@pytest.fixture
def slow_file(tmp_path, huge_pool):
    """A process that reads no file as long as the switch is there."""
    shim, switch = tmp_path / "slow_read.so", tmp_path / "slow"
    subprocess.run(["cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", shim, PROGRAMS / "slow_read.c"], check=True)
    huge_pool.have(PAGES)
    switch.touch()
    with Monitor(binary=DYNAMIC, env=dict(os.environ, LD_PRELOAD=str(shim), SLOW_READ=str(switch))) as m:
        m.wait_api()
        yield m, switch
        switch.unlink(missing_ok=True)


def test_the_api_answers_while_the_memory_file_does_not(slow_file, pair):
    m, switch = slow_file
    request = Answer(m, "PUT", "/snapshot/load", load_body(pair, "2M", resume_vm=True))
    assert_answers(m)
    assert m.api.get("/")["state"] == "Not started"
    switch.unlink()
    assert request.result() == (204, "")
    assert m.api.get("/")["state"] == "Running"


def test_a_memory_file_that_never_answers_fails_the_load_and_holds_up_nobody(slow_file, pair, huge_pool):
    m, switch = slow_file
    text = sentence(m.api.raw("PUT", "/snapshot/load", load_body(pair, "2M")))
    assert re.search('the memory file ".*" could not be read for 10 s', text)
    assert m.api.get("/")["state"] == "Not started"
    assert huge_pool.left() == PAGES  # nobody has them any more
    switch.unlink()
    # Who was in the file finds that the memory has gone; another try is another machine.
    assert m.api.raw("PUT", "/snapshot/load", load_body(pair, "2M")) == (204, "")


def test_the_process_can_be_ended_while_the_memory_file_does_not_answer(slow_file, pair):
    m, _ = slow_file
    request = Answer(m, "PUT", "/snapshot/load", load_body(pair, "2M"))
    assert_answers(m)
    ends_at_once(m)
    with pytest.raises(Exception):  # nobody is left to answer
        request.result()


def test_without_a_userfaultfd_a_file_is_refused_in_a_sentence(huge_pool, pair, tmp_path):
    huge_pool.have(PAGES)
    if int(pathlib.Path("/proc/sys/vm/unprivileged_userfaultfd").read_text()):
        pytest.skip("vm.unprivileged_userfaultfd lets everybody have one")
    hide = "mount --bind /dev/null /dev/userfaultfd && " if os.path.exists("/dev/userfaultfd") else ""
    program = tmp_path / "monitor"
    program.write_text(f"#!/bin/sh\nexec unshare --mount sh -c '{hide}exec setpriv --bounding-set=-sys_ptrace "
                       f"--inh-caps=-sys_ptrace {BINARY} \"$@\"' sh \"$@\"\n")
    program.chmod(0o755)
    with Monitor(binary=str(program)) as m:
        text = sentence(load(m, pair, "2M"))
        assert "huge_pages is 2M, for memory of a file: a userfaultfd is not permitted: it needs access to /dev/userfaultfd" in text
        assert load(m, pair, "None") == (204, "")  # that needs none


def test_two_guests_on_huge_pages_of_a_file_draw_different_bytes(snapshot_of, monitor):
    pool = HugePool()
    snapshot = snapshot_of(kernel="6.1")
    drawn = []
    try:
        pool.have(os.path.getsize(snapshot.mem) // HUGE)
        for _ in range(2):
            m = monitor()
            m.wait_api()
            body = {"snapshot_path": str(snapshot.state), "mem_file_path": str(snapshot.mem), "huge_pages": "2M"}
            m.api.put("/snapshot/load", {**body, "resume_vm": True})
            wait_handled(m, 1)
            drawn.append(m.console.run("od -An -tx1 -N16 /dev/urandom"))
            assert pool.left() == 0
            m.stop()
    finally:
        pool.restore()
    assert drawn[0] != drawn[1]
