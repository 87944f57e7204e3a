# SPDX-License-Identifier: Apache-2.0
"""--seccomp-filter: an operator's filters in the real monitor (docs/sandbox.md). Any KVM that makes machines will do."""
import json
import os
import subprocess

import pytest

from conftest import BINARY
from inject import make_syscall, threads
from snapsafe.patience import Deadline
from snapsafe.proc import settles
from test_jailer import jails, probe  # noqa: F401 (fixtures)
from test_process import halting_kernel, run, sentences
from test_sandbox import SYS_SOCKET, filters_of

JAIL = pytest.mark.skipif(os.geteuid() != 0, reason="a jail is made by root")
SYS_ALARM = 37  # of 0 seconds: it returns 0, as what it takes the place of may


@pytest.fixture(scope="session")
def printed():
    """The built-in filters, as an operator gets them."""
    return run("--print-seccomp-filter").stdout


@pytest.fixture
def filters(printed, tmp_path):
    """filters(change) -> the path of a file in which change(filters) has had its way."""

    def write(change=None):
        content = json.loads(printed)
        if change:
            change(content)
        path = tmp_path / "filters.json"
        path.write_text(json.dumps(content))
        return str(path)

    return write


def without(call, *names):
    """A change: no thread that has one of these filters may make this call."""
    def change(content):
        for name in names or content:
            content[name]["filter"] = [rule for rule in content[name]["filter"] if rule["syscall"] != call]
    return change


@pytest.fixture
def machine(monitor, tmp_path):
    """machine(path of a file of filters) -> a monitor whose machine has been started, and is paused."""

    def start(path, **kwargs):
        halting_kernel(tmp_path / "kernel")
        (tmp_path / "disk").write_bytes(bytes(1 << 20))
        m = monitor("--seccomp-filter", path, cwd=tmp_path, **kwargs)
        m.wait_api()
        m.api.put("/boot-source", {"kernel_image_path": "kernel"})
        m.api.put("/machine-config", {"vcpu_count": 2, "mem_size_mib": 32})
        m.api.put("/drives/disk", {"drive_id": "disk", "path_on_host": "disk", "is_root_device": False, "cache_type": "Writeback"})
        m.api.put("/entropy", {})
        m.api.put("/vsock", {"guest_cid": 3, "uds_path": "vsock"})
        m.api.put("/actions", {"action_type": "InstanceStart"})
        m.api.pause()
        settles(lambda: filters_of(m).get("fc_vcpu 0"), 2)  # it takes name and filter when it gets a processor
        return m

    return start


def test_the_printed_filters_serve_a_whole_life(machine, monitor, filters, tmp_path):
    m = machine(filters())
    assert filters_of(m)["snapsafe-vmm"] == 2
    m.api.patch("/drives/disk", {"drive_id": "disk", "path_on_host": "disk"})
    m.api.snapshot("state", "mem")
    m.api.resume()
    m.api.pause()
    m.api.put("/snapshot/create", {"snapshot_type": "Full", "snapshot_path": "state", "mem_file_path": "mem"})
    assert m.stop(30) == -15
    clone = monitor("--seccomp-filter", filters(), cwd=tmp_path)
    clone.wait_api()
    clone.api.load("state", "mem")
    clone.api.pause()
    clone.api.snapshot("state2", "mem2")
    assert clone.stop(30) == -15


def test_a_call_that_a_filter_lacks_ends_the_process(machine, filters):
    m = machine(filters(without("rename", "files")))
    with pytest.raises(OSError):
        m.api.snapshot("state", "mem")
    assert m.wait() == 148
    assert ":fc_files] Shutting down VM after intercepting a bad syscall (82, rename)." in m.stderr()


def test_a_call_that_a_filter_adds_is_allowed(machine, filters):
    def add(content):
        for name in ("setup", "vcpu"):
            content[name]["filter"].append({"syscall": "alarm", "comment": "no thread of ours needs it"})

    m = machine(filters(add))
    make_syscall(threads(m.process.pid)["fc_vcpu 0"], SYS_ALARM)
    m.api.snapshot("state", "mem")
    make_syscall(threads(m.process.pid)["fc_vcpu 0"], SYS_SOCKET, 1)
    assert m.wait() == 148
    assert ":fc_vcpu 0] Shutting down VM after intercepting a bad syscall (41, socket)." in m.stderr()


@pytest.mark.parametrize("content, text", [
    ("{", "invalid JSON at line 1"),
    ("\3\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0api", "seccompiler-bin has compiled: expected the JSON"),
    ('{"vmm": {}, "api": {}, "vcpu": {}}', "categories are Firecracker's"),
])
def test_what_is_no_filter_is_refused_in_a_sentence(tmp_path, content, text):
    (tmp_path / "f").write_text(content)
    result = run("--seccomp-filter", str(tmp_path / "f"), "--api-sock", str(tmp_path / "sock"))
    assert result.returncode == 1
    assert len(sentences(result)) == 1 and text in result.stderr and f'seccomp-filter: "{tmp_path}/f"' in result.stderr
    assert not (tmp_path / "sock").exists()


def test_not_together_with_no_seccomp():
    result = run("--seccomp-filter", "f", "--no-seccomp")
    assert result.returncode == 153
    assert "Argument 'no-seccomp' cannot be used together with argument 'seccomp-filter'." in result.stderr


@JAIL
def test_in_a_jail_the_path_is_one_inside(jails, filters):  # noqa: F811
    jails.exec_file = type(jails.base)(BINARY)
    root = jails.root()
    root.mkdir(parents=True)
    with open(filters()) as given, open(root / "filters.json", "w") as inside:
        inside.write(given.read())
    p = subprocess.Popen(jails.command(behind=("--seccomp-filter", "/filters.json")), stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL)
    try:
        deadline = Deadline(30)
        while not (root / "run" / "firecracker.socket").exists():
            assert p.poll() is None and deadline.left() > 0
    finally:
        p.terminate()
        assert p.wait(30) == -15
