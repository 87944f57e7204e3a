# SPDX-License-Identifier: Apache-2.0
"""
CPU templates on this host's KVM: what a guest is given is in its snapshot. The guest halts at once, or does not run at all where
the host cannot; which processors move to which is in tests/unit/test_cpu_template.c.
"""
import json
import struct
import subprocess

import pytest

import snapshot_file
from conftest import BINARY, ROOT
from snapsafe import Monitor
from snapsafe.api import ApiError
from test_process import halting_kernel

TOOL = ROOT / "bin" / "snapsafe-snapshot"
ENTRY = struct.Struct("<10I")  # struct kvm_cpuid_entry2
VENDOR = next(line.split()[-1] for line in open("/proc/cpuinfo") if line.startswith("vendor_id"))
BASELINE = ROOT / "share" / f"cpu-baseline-{'intel' if VENDOR == 'GenuineIntel' else 'amd'}.json"
SMEP, VMX, SVM = 1 << 7, 1 << 5, 1 << 2


# A KVM without vmx or svm may give its guests other features than it is told: what they are given shows no template.
obeyed = pytest.mark.guest


@pytest.fixture
def machine(tmp_path):
    """machine(sections) -> a monitor whose machine was configured by a file with these sections, and is paused."""
    monitors = []

    def start(**sections):
        halting_kernel(tmp_path / "kernel")
        (tmp_path / "config").write_text(json.dumps({
            "boot-source": {"kernel_image_path": str(tmp_path / "kernel")},
            "machine-config": {"vcpu_count": 2, "mem_size_mib": 32}, **sections}))
        m = Monitor("--config-file", str(tmp_path / "config"), binary=BINARY)
        monitors.append(m)
        m.wait_api()
        m.api.pause()
        return m

    yield start
    for m in monitors:
        m.stop()


def leaves(state):
    """{(leaf, subleaf): (eax, ebx, ecx, edx)} of each vCPU of a state file."""
    for vcpu in dict(snapshot_file.tree(state.read_bytes()))["vcpus"]:
        entries = ENTRY.iter_unpack(dict(vcpu)["cpuid"])
        yield {(e[0], e[1]): e[3:7] for e in entries}


@obeyed
def test_the_baseline_is_what_the_guest_has(tmp_path):
    """On the processors that it is for."""
    halting_kernel(tmp_path / "kernel")
    with Monitor(binary=BINARY) as m:
        m.wait_api()
        m.api.put("/boot-source", {"kernel_image_path": str(tmp_path / "kernel")})
        m.api.put("/machine-config", {"vcpu_count": 2, "mem_size_mib": 32})
        m.api.put("/cpu-config", json.loads(BASELINE.read_text()))
        try:
            m.api.put("/actions", {"action_type": "InstanceStart"})
        except ApiError as error:
            if "lacks features that the CPU template promises" not in error.fault_message:
                raise
            pytest.skip(error.fault_message)
        m.api.pause()
        m.api.snapshot(tmp_path / "state", tmp_path / "mem")
    template = json.loads(BASELINE.read_text())
    for vcpu in leaves(tmp_path / "state"):
        for modifier in template["cpuid_modifiers"]:
            found = vcpu.get((int(modifier["leaf"], 0), int(modifier["subleaf"], 0)), (0, 0, 0, 0))
            for register in modifier["modifiers"]:
                bits = register["bitmap"].removeprefix("0b")
                value = f"{found[('eax', 'ebx', 'ecx', 'edx').index(register['register'])]:032b}"
                at = (modifier["leaf"], modifier["subleaf"], register["register"])
                assert all(b in ("x", v) for b, v in zip(bits, value)), (at, bits, value)


@obeyed
def test_a_bit_is_taken_away(machine, tmp_path):
    api = machine(**{"cpu-config": {"cpuid_modifiers": [{"leaf": "7", "subleaf": "0", "flags": 1, "modifiers": [
        {"register": "ebx", "bitmap": "0b0xxxxxxx"}]}]}}).api
    api.snapshot(tmp_path / "state", tmp_path / "mem")
    assert not any(vcpu[7, 0][1] & SMEP for vcpu in leaves(tmp_path / "state"))


def test_a_template_travels_with_the_snapshot(machine, tmp_path):
    """The section of the config file is a path here."""
    template = {"kvm_capabilities": ["1"], "msr_modifiers": [], "cpuid_modifiers": [
        {"leaf": "7", "subleaf": "0", "flags": 1, "modifiers": [{"register": "ebx", "bitmap": "0b0_xxxxxxx"}]}]}
    (tmp_path / "template").write_text(json.dumps(template))
    machine(**{"cpu-config": str(tmp_path / "template")}).api.snapshot(tmp_path / "state", tmp_path / "mem")
    with Monitor(binary=BINARY) as clone:
        clone.wait_api()
        clone.api.load(tmp_path / "state", tmp_path / "mem", resume=False)
        assert clone.api.get("/vm/config")["cpu-config"] == template
    check = subprocess.run([TOOL, "check", tmp_path / "state"], capture_output=True, text=True)
    assert (check.returncode, check.stdout) == (0, f"{tmp_path / 'state'}: this host can run it\n"), check.stderr


def test_never_vmx_or_svm(machine, tmp_path):
    machine().api.snapshot(tmp_path / "state", tmp_path / "mem")
    for vcpu in leaves(tmp_path / "state"):
        assert not vcpu[1, 0][2] & VMX and not vcpu[0x80000001, 0][2] & SVM


@pytest.mark.parametrize("sections,words", (
    ({"cpu-config": {"kvm_capabilities": ["4000000000"]}}, "KVM of this host lacks capability 4000000000"),
    ({"cpu-config": {"msr_modifiers": [{"addr": "0x480", "bitmap": "0b1"}]}}, "MSR 0x480, which is no part of this guest's"),
    ({"cpu-config": {"msr_modifiers": [{"addr": "0x3a", "bitmap": "0b101"}]}}, "MSR 0x3a, which is no part of this guest's"),
    ({"cpu-config": {"cpuid_modifiers": [{"leaf": "0x7", "subleaf": "0", "flags": 1, "modifiers": [
        {"register": "ecx", "bitmap": "0b1" + "x" * 27}]}]}}, "that the CPU template promises: movdiri;"),
    ({"machine-config": {"vcpu_count": 1, "mem_size_mib": 32, "cpu_template": "T2" if VENDOR != "GenuineIntel" else "T2A"}},
     "CPU vendor mismatched between actual CPU and CPU template"),
    ({"cpu-config": "/nonexistent/template"}, "No such file or directory"),
))
def test_what_the_host_cannot_give_is_refused_at_the_start(tmp_path, sections, words):
    if "movdiri" in words and " movdiri" in open("/proc/cpuinfo").read():
        pytest.skip("this processor has what the others lack")
    halting_kernel(tmp_path / "kernel")
    (tmp_path / "config").write_text(json.dumps({"boot-source": {"kernel_image_path": str(tmp_path / "kernel")}, **sections,
                                                 "machine-config": sections.get("machine-config", {"vcpu_count": 1,
                                                                                                   "mem_size_mib": 32})}))
    run = subprocess.run([BINARY, "--no-api", "--config-file", tmp_path / "config"], capture_output=True, text=True,
                         stdin=subprocess.DEVNULL)
    assert run.returncode == 1 and words in run.stdout + run.stderr


def test_check_names_what_is_missing(machine, tmp_path):
    """A state file whose guest was given more than there is: what check says, a load says."""
    machine().api.snapshot(tmp_path / "state", tmp_path / "mem")
    data = (tmp_path / "state").read_bytes()
    tree = snapshot_file.tree(data)
    for vcpu in dict(tree)["vcpus"]:
        at = [key for key, _ in vcpu].index("cpuid")
        entries = [list(e) for e in ENTRY.iter_unpack(vcpu[at][1])]
        for e in entries:
            if e[:2] == [0x7, 0]:
                e[5] |= 1 << 23  # ECX: key locker
        vcpu[at] = ("cpuid", b"".join(ENTRY.pack(*e) for e in entries))
    (tmp_path / "state").write_bytes(snapshot_file.with_tree(data, tree))
    check = subprocess.run([TOOL, "check", tmp_path / "state"], capture_output=True, text=True)
    assert check.returncode == 1
    assert "lacks features that the snapshot's guest was given: keylocker;" in check.stderr
    with Monitor(binary=BINARY) as clone, pytest.raises(ApiError, match="was given: keylocker;"):
        clone.wait_api()
        clone.api.load(tmp_path / "state", tmp_path / "mem", resume=False)


@pytest.mark.parametrize("data", (b"", b"SNAP", b"\0" * 8192), ids=("empty", "short", "zeros"))
def test_check_of_what_is_no_state_file(tmp_path, data):
    (tmp_path / "state").write_bytes(data)
    check = subprocess.run([TOOL, "check", tmp_path / "state"], capture_output=True, text=True)
    assert check.returncode == 1 and check.stderr.startswith("snapsafe-snapshot: ") and check.stderr.count("\n") == 1
