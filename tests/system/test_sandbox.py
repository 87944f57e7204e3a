# SPDX-License-Identifier: Apache-2.0
"""The system call filters of the real monitor, with a guest in it (docs/sandbox.md); the unit test has the single calls."""
import json
import os
import re
import signal
import subprocess
import termios

import pytest

from conftest import BINARY, ROOT, Snapshot, machine_config, wait_handled
from inject import make_syscall, threads
from snapsafe import Monitor
from snapsafe.network import GUEST, HOST, PREFIX
from snapsafe.proc import settles

SYS_SOCKET, SYS_OPENAT, SYS_IOCTL = 41, 257, 16
KVM_CREATE_VM = 0xae01
OWN_PID = 0x7f5a5a5a  # what stands in the list where the monitor puts its own process id
RULES = ROOT / "build" / "host" / "host" / "sandbox" / "sandbox_rules.txt"
LOCAL_FLAGS = 3  # index of c_lflag in what tcgetattr() returns


def status_field(pid, tid, field):
    with open(f"/proc/{pid}/task/{tid}/status") as f:
        return int(re.search(rf"^{field}:\s+(\d+)$", f.read(), re.MULTILINE).group(1))


def filters_of(monitor):
    """Thread name -> number of filters; every thread must be in seccomp's filter mode or in none."""
    pid = monitor.process.pid
    return {name: status_field(pid, tid, "Seccomp_filters") for name, tid in threads(pid).items()}


def come_to_be_filtered(monitor, expected):
    """A thread takes its name and its filter itself, once it gets a processor, and is called as the process before."""
    return settles(lambda: filters_of(monitor), expected)


def test_every_thread_is_under_its_filters(snapshot_of, restore):
    m = restore(snapshot_of(kernel="6.1", vcpus=2))
    expected = {"snapsafe-vmm": 2, "fc_vcpu 0": 2, "fc_vcpu 1": 2, "fc_io rootfs": 2, "fc_files": 2, "fc_console": 2,
                "fc_input": 2, "fc_log": 1}  # the log's thread is older than the first filter
    assert come_to_be_filtered(m, expected), filters_of(m)
    assert status_field(m.process.pid, m.process.pid, "NoNewPrivs") == 1


def test_the_filter_is_there_before_the_api_answers(monitor):
    m = monitor()
    m.wait_api()
    assert status_field(m.process.pid, m.process.pid, "Seccomp_filters") == 1
    assert come_to_be_filtered(m, {"snapsafe-vmm": 1, "fc_log": 1}), filters_of(m)


def test_the_documents_table_counts_the_lists():
    rules = [line.split()[:2] for line in RULES.read_text().splitlines()]
    counted = {name: (len({call for of, call in rules if of == name}), sum(of == name for of, _ in rules)) for name, _ in rules}
    table = re.findall(r"^\| `(\w+)` \|.*\| (\d+) \| (\d+) \|$", (ROOT / "docs" / "sandbox.md").read_text(), re.MULTILINE)
    assert {name: (int(calls), int(count)) for name, calls, count in table} == counted


def test_no_seccomp_turns_filters_off(snapshot_of, restore):
    m = restore(snapshot_of(kernel="6.1"), "--no-seccomp")
    assert set(filters_of(m).values()) == {0}


def is_raw(m):
    return not termios.tcgetattr(m.console.fd)[LOCAL_FLAGS] & termios.ICANON


@pytest.mark.parametrize("thread, call, argument, name", [
    ("snapsafe-vmm", SYS_SOCKET, 1, "41, socket"),
    ("snapsafe-vmm", SYS_IOCTL, KVM_CREATE_VM, "16, ioctl"),
    ("fc_vcpu 0", SYS_OPENAT, 0, "257, openat"),
])
def test_a_forbidden_call_ends_the_process(snapshot_of, restore, tmp_path, thread, call, argument, name):
    m = restore(snapshot_of(kernel="6.1"), "--metrics-path", str(tmp_path / "metrics"))
    wait_handled(m, 1)
    assert is_raw(m)
    m.api.pause()  # each thread waits in a system call
    make_syscall(threads(m.process.pid)[thread], call, argument, argument)
    assert m.wait() == 148
    origin = "main" if thread == "snapsafe-vmm" else thread
    assert f":{origin}] Shutting down VM after intercepting signal 31, code 1.\n" in m.stderr()
    assert f":{origin}] Shutting down VM after intercepting a bad syscall ({name}).\n" in m.stderr()
    assert not is_raw(m)
    last = json.loads((tmp_path / "metrics").read_text().splitlines()[-1])
    assert last["seccomp"]["num_faults"] == 1


@pytest.mark.parametrize("number, status, metric", [
    (signal.SIGBUS, 149, "sigbus"),
    (signal.SIGSEGV, 150, "sigsegv"),
    (signal.SIGXFSZ, 151, "sigxfsz"),
    (signal.SIGXCPU, 154, "sigxcpu"),
    (signal.SIGILL, 157, "sigill"),
])
def test_fatal_signals_leave_a_line_and_the_terminal(snapshot_of, restore, tmp_path, number, status, metric):
    m = restore(snapshot_of(kernel="6.1"), "--metrics-path", str(tmp_path / "metrics"))
    assert is_raw(m)
    m.process.send_signal(number)
    assert m.wait() == status
    assert f"Shutting down VM after intercepting signal {int(number)}, code 0.\n" in m.stderr()
    assert not is_raw(m)
    last = json.loads((tmp_path / "metrics").read_text().splitlines()[-1])
    assert last["signals"][metric] == 1


class Rule:
    """A line of mkfilters' list."""

    def __init__(self, line):
        self.filter, self.call, _, self.why, *conditions = line.rstrip("\n").split("\t")
        self.conditions = []
        for c in conditions:
            argument, mask, value = c.split()
            self.conditions.append((int(argument), int(mask, 0), int(value, 0)))
        self.used = False

    def matches(self, call, args, own_pid):
        return call == self.call and all(args[a] & mask == (own_pid if value == OWN_PID else value)
                                         for a, mask, value in self.conditions)

    def key(self):
        return self.call, tuple(self.conditions)

    def __str__(self):
        conditions = " and ".join(f"argument {a} & {mask:#x} == {value:#x}" for a, mask, value in self.conditions)
        return f"{self.filter}: {self.call}" + (f" with {conditions}" if conditions else "")


def read_rules():
    """Without those of "files": that thread does the loop's work with files, and has the loop's list."""
    return [rule for rule in map(Rule, RULES.read_text().splitlines()) if rule.filter != "files"]


def recorded_calls(path):
    """(process id, filter in force, call, arguments) for each call that strace saw a thread make under a filter."""
    main, in_force = None, {}
    for line in path.read_text(errors="replace").splitlines():
        match = re.match(r"(\d+)<([^>]*)> +(\w+)\(([0-9a-fx, ]*)", line)
        if not match:
            continue
        tid, thread, call = int(match.group(1)), match.group(2), match.group(3)
        args = [int(a, 0) for a in match.group(4).split(",") if a.strip()]
        main = main or tid
        if main in in_force:
            yield main, in_force.get(tid, "setup"), call, args + [0] * (6 - len(args))
        if call == "prctl" and args[:2] == [22, 2]:  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
            if tid != main:
                in_force[tid] = {"fc_vcpu": "vcpu", "fc_io": "io", "fc_vsock": "sockets",
                                "fc_files": "loop", "fc_record": "loop", "fc_read_ahead": "ahead"}.get(thread.split()[0], "stream")
            else:
                in_force[tid] = "loop" if tid in in_force else "setup"


@pytest.fixture
def traced(tmp_path):
    """A program that runs the monitor under strace, and the file that strace writes."""
    trace = tmp_path / "trace"
    wrapper = tmp_path / "traced-vmm"
    # -D: strace is not the parent, so that exit status and terminal are the monitor's.
    wrapper.write_text(f'#!/bin/sh\nexec strace -D -f -qq -Y -e raw=all -e signal=none -o {trace} {BINARY} "$@"\n')
    wrapper.chmod(0o755)
    return str(wrapper), trace


def use_everything_once(wrapper, tmp_path):
    """A machine that is booted, has done all its devices can do, is saved, and resets itself."""
    (tmp_path / "disk").write_bytes(b"\0" * (1 << 20))
    (tmp_path / "mem").touch()
    os.symlink("mem", tmp_path / "link-to-mem")
    limit = {"bandwidth": {"size": 65536, "refill_time": 500}}
    low_limit = {"bandwidth": {"size": 4096, "refill_time": 500}}  # Linux asks for 64 bytes at a time
    config = machine_config(boot_args="panic=1 reboot=k quiet loglevel=1 console=ttyS0 ipv6.disable=1 i8042.noaux "
                            "i8042.nokbd i8042.nopnp virtio_rng.expose_seed=1", entropy={"rate_limiter": low_limit})
    config["machine-config"]["track_dirty_pages"] = True
    config["drives"].append({"drive_id": "data", "path_on_host": "disk", "is_root_device": False,
                             "is_read_only": False, "cache_type": "Writeback", "rate_limiter": limit})
    with Monitor(binary=wrapper, cwd=tmp_path) as m:
        m.wait_api()
        m.api.put("/metrics", {"metrics_path": "metrics"})
        m.api.put("/boot-source", config["boot-source"])
        m.api.put("/machine-config", config["machine-config"])
        for drive in config["drives"]:
            m.api.put(f"/drives/{drive['drive_id']}", drive)
        m.api.put("/entropy", config["entropy"])
        m.api.put("/network-interfaces/eth0", {"iface_id": "eth0", "host_dev_name": "tap0"})
        m.api.put("/actions", {"action_type": "InstanceStart"})
        m.console.login(timeout=300)
        m.console.quiet()
        m.console.run(f"ip addr add {GUEST}/{PREFIX} dev eth0 && ip link set eth0 up && ping -c 1 -W 60 {HOST}", 120)
        m.console.run("dd if=/dev/zero of=/dev/vdb bs=64k count=4 conv=fsync; head -c 6000 /dev/hwrng >/dev/null", 300)
        m.api.patch("/drives/data", {"drive_id": "data", "path_on_host": "disk"})
        m.api.get("/vm/config")
        m.api.pause()
        m.api.snapshot("state", "link-to-mem")
        m.api.resume()
        wait_handled(m, 1, 300)
        m.api.pause()
        m.api.put("/snapshot/create", {"snapshot_type": "Diff", "snapshot_path": "diff-state", "mem_file_path": "diff-mem"})
        m.api.resume()
        m.console.send("reboot -f\n")
        assert m.wait(120) == 0, m.stderr()


def restore_and_record(wrapper, tmp_path):
    """A clone whose working set is recorded."""
    with Monitor("--log-path", "log", binary=wrapper, cwd=tmp_path) as m:
        m.wait_api()
        m.api.put("/snapshot/load", {"snapshot_path": "state", "resume_vm": True,
                                     "mem_backend": {"backend_type": "File", "backend_path": "mem", "working_set": "Record"}})
        wait_handled(m, 1, 300)
        m.api.pause()
        assert settles(lambda: "runs were recorded" in (tmp_path / "log").read_text(), True)


def restore_and_save(wrapper, tmp_path):
    """A clone that has its working set read ahead, of which a snapshot is made in turn, and which a signal ends."""
    with Monitor("--log-path", "log", binary=wrapper, cwd=tmp_path) as m:
        m.wait_api()
        m.api.load("state", "mem", resume=False)
        m.api.resume()  # by now the thread waits for that
        wait_handled(m, 1, 300)
        assert settles(lambda: "were mapped ahead" in (tmp_path / "log").read_text(), True)
        m.api.pause()
        m.api.snapshot("state", "mem")
        assert m.stop(60) == -signal.SIGTERM


@pytest.fixture
def tap0():
    """In the network namespace that the monitor is in: the outer machine's own."""
    for command in (("tunctl", "-t", "tap0"), ("ip", "addr", "add", f"{HOST}/{PREFIX}", "dev", "tap0"), ("ip", "link", "set", "tap0", "up")):
        subprocess.run(["busybox", *command], check=True)
    yield
    subprocess.run(["busybox", "tunctl", "-d", "tap0"], check=True)


@pytest.mark.guest
def test_every_allowed_call_is_used_or_has_a_reason(traced, tap0, tmp_path):
    wrapper, trace = traced
    rules = read_rules()
    strangers = set()
    for run in (use_everything_once, restore_and_record, restore_and_save):
        run(wrapper, tmp_path)
        for main, in_force, call, args in recorded_calls(trace):
            hits = [rule for rule in rules if rule.filter == in_force and rule.matches(call, args, main)]
            for rule in hits:
                rule.used = True
            if not hits:
                strangers.add(f"{in_force}: {call}{tuple(hex(a) for a in args)}")
        trace.unlink()
    # Nobody was stopped, so whatever was recorded must be in the list.
    assert not strangers
    # "setup" is what the others stand on: what it shares with them needs to be used there, not here. "sockets" is "io" and more.
    for base, stands_on in (("setup", lambda name: name != "setup"), ("sockets", lambda name: name == "io")):
        shared = {rule.key() for rule in rules if stands_on(rule.filter)}
        rules = [rule for rule in rules if rule.filter != base or rule.key() not in shared]
    unused = [str(rule) for rule in rules if not rule.used and rule.why == "-"]
    assert not unused, "\n".join(["allowed, but not used:"] + unused)
