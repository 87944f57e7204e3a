# SPDX-License-Identifier: Apache-2.0
"""
How a loaded machine's clocks go on (docs/time.md). A further snapshot of the machine that was loaded holds its clocks. That a
snapshot lay for an hour is what its file says: nobody waits.

No guest has to run. But where the processor has neither VMX nor SVM, KVM shows a guest the host's TSC, whatever is written to it.
"""
import json
import os
import re
import signal
import struct
import time

import pytest

import snapshot_file
from conftest import BINARY
from snapsafe import Monitor
from snapsafe.api import ApiError
from snapsafe.patience import stretch
from snapsafe.proc import settles
from test_process import halting_kernel

OWN_TSC = re.search(r"^flags.* (vmx|svm)\b", open("/proc/cpuinfo").read(), re.M)
needs_own_tsc = pytest.mark.guest
VCPUS = 4
HOUR = 3600
MSR_TSC, MSR_TSC_DEADLINE = 0x10, 0x6e0
LVT_TIMER = 0x320
NEAR = 0.25  # s; between two looks of a save at two clocks, and not more, whatever the host does
SOON = stretch(20)  # s; a load and a snapshot


class Clocks:
    """What a state file says, in seconds."""

    def __init__(self, data):
        root = dict(snapshot_file.tree(data))
        vm = dict(root["vm"])
        self.kvmclock = vm["clock_ns"] / 1e9
        self.realtime = vm["realtime_ns"] / 1e9
        self.has_realtime = vm["has_realtime"]
        vcpus = [dict(vcpu) for vcpu in root["vcpus"]]
        self.khz = vcpus[0]["tsc_khz"]
        self.msrs = [{index: value for index, _, value in struct.iter_unpack("<IIQ", vcpu["msrs"])} for vcpu in vcpus]
        self.tsc = [msrs[MSR_TSC] / self.khz / 1e3 for msrs in self.msrs]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    """The state file's bytes, and a directory with the memory file."""
    directory = tmp_path_factory.mktemp("clocks")
    halting_kernel(directory / "kernel")
    (directory / "config").write_text(json.dumps({
        "boot-source": {"kernel_image_path": str(directory / "kernel")},
        "machine-config": {"vcpu_count": VCPUS, "mem_size_mib": 32},
    }))
    with Monitor("--config-file", str(directory / "config"), binary=BINARY) as m:
        m.wait_api()
        m.api.pause()
        m.api.snapshot(directory / "made", directory / "mem")
    data = (directory / "made").read_bytes()
    assert dict(dict(snapshot_file.tree(data))["vm"])["has_realtime"], "this host's KVM cannot tell the wall clock"
    return data, directory


def edited(data, vm=(), vcpu=lambda i, fields: {}):
    """The file with keys of vm, and what vcpu(number, its keys) returns, replaced."""
    root = snapshot_file.tree(data)

    def replace(fields, new):
        assert set(new) <= set(dict(fields))
        fields[:] = [(key, new.get(key, value)) for key, value in fields]

    for key, value in root:
        if key == "vm":
            replace(value, dict(vm))
        elif key == "vcpus":
            for i, fields in enumerate(value):
                replace(fields, vcpu(i, dict(fields)))
    return snapshot_file.with_tree(data, root)


def lain(data, seconds):
    """As if it had lain for so long before it was made."""
    now = dict(dict(snapshot_file.tree(data))["vm"])["realtime_ns"]
    return edited(data, {"realtime_ns": now - int(seconds * 1e9)})


def with_msr(index, change):
    """For edited(): the register of every processor that change(the processor's MSRs) gives."""
    def vcpu(_, fields):
        entries = [list(entry) for entry in struct.iter_unpack("<IIQ", fields["msrs"])]
        old = {entry[0]: entry[2] for entry in entries}
        for entry in entries:
            if entry[0] == index:
                entry[2] = change(old)
        return {"msrs": b"".join(struct.pack("<IIQ", *entry) for entry in entries)}
    return vcpu


@pytest.fixture
def loaded(snapshot, tmp_path):
    """loaded(the state file's bytes, ...) -> the clocks of the machine that was loaded, at once, and what the monitor said."""
    def load(data, mem=snapshot[1] / "mem", **more):
        (tmp_path / "state").write_bytes(data)
        with Monitor(binary=BINARY) as m:
            m.wait_api()
            m.api.put("/snapshot/load", {"snapshot_path": str(tmp_path / "state"),
                                         "mem_file_path": str(mem), **more})
            m.api.snapshot(tmp_path / "state2", tmp_path / "mem2")
            clocks = Clocks((tmp_path / "state2").read_bytes())
            if more.get("clock_realtime"):
                assert settles(lambda: "clock_realtime: " in m.stderr(), True)
            return clocks, m.stderr()

    return load


def moves(before, after, near=NEAR):
    """How far kvmclock and each processor's TSC went on: the same, and alike."""
    kvmclock = after.kvmclock - before.kvmclock
    for i in range(VCPUS if OWN_TSC else 0):
        assert abs(after.tsc[i] - before.tsc[i] - kvmclock) < near, f"vCPU {i}: {after.tsc} {before.tsc} {kvmclock}"
    # The save looks at one after the other: later ones have more, and nearly the same.
    assert after.tsc == sorted(after.tsc) and after.tsc[-1] - after.tsc[0] < NEAR, after.tsc
    return kvmclock


@needs_own_tsc
def test_without_the_request_no_time_has_passed(snapshot, loaded):
    data = lain(snapshot[0], HOUR)
    after, said = loaded(data)
    assert 0 <= moves(Clocks(data), after) < SOON
    assert "clock_realtime" not in said


@pytest.mark.parametrize("seconds", [0, pytest.param(HOUR, marks=needs_own_tsc), 400 * 24 * HOUR])
def test_clock_realtime_moves_kvmclock_and_every_tsc_by_the_time_that_it_lay(snapshot, loaded, seconds):
    data = lain(snapshot[0], seconds)
    before = Clocks(data)
    after, said = loaded(data, clock_realtime=True)
    moved = moves(before, after)
    assert seconds <= moved < Clocks(snapshot[0]).realtime + HOUR - before.realtime
    # By the wall clock, to the microsecond: no time is lost.
    assert abs(after.kvmclock - after.realtime - (before.kvmclock - before.realtime)) < 0.001
    told = int(re.search(r"kvmclock and TSC, are moved on by the time since the snapshot, (\d+) ms", said).group(1)) / 1000
    assert seconds <= told <= moved


def tracer(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"^TracerPid:\s+(\d+)", f.read(), re.M).group(1))


@needs_own_tsc
def test_processors_keep_step_however_long_a_load_takes(snapshot, tmp_path):
    """KVM takes what differs by a second from what is due for another time: here the last one is set later than that."""
    wrapper = tmp_path / "slow-vmm"
    wrapper.write_text("#!/bin/sh\nexec strace -D -I 1 -f -qq -o /dev/null -e trace=ioctl -e inject=ioctl:delay_exit=30000 "
                       f'{BINARY} "$@"\n')
    wrapper.chmod(0o755)
    data = lain(snapshot[0], HOUR)
    (tmp_path / "state").write_bytes(data)
    with Monitor(binary=str(wrapper)) as m:
        m.wait_api()
        begun = time.monotonic()
        m.api.put("/snapshot/load", {"snapshot_path": str(tmp_path / "state"), "mem_file_path": str(snapshot[1] / "mem"),
                                     "clock_realtime": True})
        assert time.monotonic() - begun > 2.5
        os.kill(tracer(m.process.pid), signal.SIGTERM)  # a save as slow as that would tell nothing
        assert settles(lambda: tracer(m.process.pid), 0)
        m.api.snapshot(tmp_path / "state2", tmp_path / "mem2")
    moves(Clocks(data), Clocks((tmp_path / "state2").read_bytes()), near=1)


@needs_own_tsc
def test_a_clone_of_a_clone_is_still_right(snapshot, loaded, tmp_path):
    """kvmclock loses nothing; each save costs the TSC the time between its looks at the first processor and at kvmclock."""
    data = lain(snapshot[0], HOUR)
    before, mem = Clocks(data), snapshot[1] / "mem"
    for generation in range(1, 4):
        after, _ = loaded(data, mem, clock_realtime=True)
        assert abs(after.kvmclock - after.realtime - (before.kvmclock - before.realtime)) < 0.001 * generation
        moves(before, after, NEAR * generation)
        data, mem = (tmp_path / "state2").read_bytes(), tmp_path / f"mem{generation}"
        (tmp_path / "mem2").rename(mem)


def test_a_host_whose_wall_clock_was_set_back_moves_no_clock_back(snapshot, loaded):
    data = lain(snapshot[0], -HOUR)
    after, said = loaded(data, clock_realtime=True)
    assert 0 <= moves(Clocks(data), after) < SOON
    told = int(re.search(r"the snapshot was made (\d+) s later than it is now by this host's wall clock", said).group(1))
    assert abs(told - (Clocks(data).realtime - time.time())) < SOON


@needs_own_tsc
def test_a_timer_is_due_by_the_clock_that_moved(snapshot, loaded):
    """Armed for in a minute, by TSC deadline."""
    def vcpu(i, fields):
        lapic = bytearray(fields["lapic"])
        struct.pack_into("<I", lapic, LVT_TIMER, 0x40000 | 0x40)
        return {"lapic": bytes(lapic), **with_msr(MSR_TSC_DEADLINE, deadline)(i, fields)}

    def deadline(old):
        return old[MSR_TSC] + 60 * 1000 * khz

    khz = Clocks(snapshot[0]).khz
    data = edited(lain(snapshot[0], HOUR), vcpu=vcpu)
    armed = [msrs[MSR_TSC_DEADLINE] for msrs in Clocks(data).msrs]
    after, _ = loaded(data)
    assert [msrs[MSR_TSC_DEADLINE] for msrs in after.msrs] == armed
    assert all(msrs[MSR_TSC_DEADLINE] > msrs[MSR_TSC] for msrs in after.msrs)
    after, _ = loaded(data, clock_realtime=True)
    assert all(msrs[MSR_TSC_DEADLINE] <= msrs[MSR_TSC] for msrs in after.msrs)


@needs_own_tsc
def test_processors_that_the_guest_set_apart_stay_so(snapshot, loaded):
    """By far more than KVM takes for an attempt to set them alike."""
    def apart(i, fields):
        return with_msr(MSR_TSC, lambda old: old[MSR_TSC] + i * 100 * 1000 * khz)(i, fields)

    khz = Clocks(snapshot[0]).khz
    data = edited(lain(snapshot[0], HOUR), vcpu=apart)
    before = Clocks(data)
    after, _ = loaded(data, clock_realtime=True)
    for i in range(VCPUS):
        assert abs(after.tsc[i] - before.tsc[i] - (after.kvmclock - before.kvmclock)) < NEAR
        assert abs(after.tsc[i] - after.tsc[0] - 100 * i) < NEAR


def test_an_age_that_nobody_has_seen_moves_the_clocks_and_breaks_nothing(snapshot, loaded):
    data = edited(snapshot[0], {"realtime_ns": 0})
    after, _ = loaded(data, clock_realtime=True)
    assert moves(Clocks(data), after) > 50 * 365 * 24 * HOUR


def test_a_tsc_that_would_be_moved_beyond_its_end_is_refused(snapshot, loaded):
    """And goes on, without the request, as a guest that has set it so has it."""
    data = edited(lain(snapshot[0], HOUR), vcpu=with_msr(MSR_TSC, lambda _: 2**64 - 2**40))
    with pytest.raises(ApiError) as e:
        loaded(data, clock_realtime=True)
    assert re.search(r"vcpus\[0\]: the TSC of vCPU 0, 0xffffff0000000000 at \d+ kHz, cannot be moved on by the 36\d\d s since "
                     "the snapshot: it has 64 bits", e.value.fault_message), e.value.fault_message
    after, _ = loaded(data)
    assert not OWN_TSC or all(msrs[MSR_TSC] > 2**63 for msrs in after.msrs)


def test_a_snapshot_without_wall_clock_time_is_refused(snapshot, loaded):
    data = edited(snapshot[0], {"has_realtime": False, "realtime_ns": 0})
    with pytest.raises(ApiError) as e:
        loaded(data, clock_realtime=True)
    assert "vm: clock_realtime was requested, but the snapshot has no wall-clock time" in e.value.fault_message
    loaded(data)
