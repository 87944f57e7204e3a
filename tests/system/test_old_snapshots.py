# SPDX-License-Identifier: Apache-2.0
"""
Snapshots of older formats load for ever. tests/snapshots/README.md says what is in the files and how they were made.

The guest needs no operating system, and most tests no guest: a machine is loaded and stays paused.
"""
import lzma
import re
import runpy
import struct

import pytest

import snapshot_file
from conftest import BINARY, ROOT, Snapshot
from snapsafe import Monitor
from snapsafe.api import ApiError

FILES = ROOT / "tests" / "snapshots"
MAKE = runpy.run_path(str(FILES / "make"), run_name="make")
GUEST = ROOT / "build" / "unit-gcc" / "tests" / "payload" / "guest_state"

# Which of the pairs this host can load: the processor that a snapshot was made on may have more than this one.
LACKING = "lacks features that the snapshot's guest was given"
NOT_HERE = re.compile(LACKING + "|physical addresses of|made on a processor of|KVM cannot convert it")


def unpack(name, directory):
    for part in ("state", "mem"):
        (directory / part).write_bytes(lzma.decompress((FILES / f"{name}.{part}.xz").read_bytes()))
    MAKE["make_disks"](directory)
    return Snapshot(directory)


@pytest.fixture
def loader(tmp_path):
    """loader(state, mem) -> a monitor with the machine, paused, or ApiError; its directory is the snapshot's."""
    monitors = []

    def load(snapshot, **more):
        m = Monitor(binary=BINARY, cwd=tmp_path)
        monitors.append(m)
        m.wait_api()
        m.api.put("/snapshot/load", {"snapshot_path": str(snapshot.state), "mem_file_path": str(snapshot.mem), **more})
        return m

    yield load
    for m in monitors:
        m.stop()


def load_or_skip(loader, snapshot):
    try:
        return loader(snapshot)
    except ApiError as e:
        if not NOT_HERE.search(e.fault_message):
            raise
        pytest.skip(e.fault_message)


@pytest.mark.parametrize("name", ["v1.0-native", pytest.param("v1.0-testbed", marks=pytest.mark.guest)])
def test_a_pair_of_v1_0_loads_and_is_saved_in_todays_format(loader, tmp_path, name):
    m = load_or_skip(loader, unpack(name, tmp_path))
    config = m.api.get("/vm/config")
    assert config["machine-config"]["vcpu_count"] == 2 and config["machine-config"]["mem_size_mib"] == 32
    assert [d["drive_id"] for d in config["drives"]] == ["disk", "disk2"]
    assert config["drives"][0]["rate_limiter"]["bandwidth"]["one_time_burst"] == 4096
    m.api.snapshot(tmp_path / "state2", tmp_path / "mem2")
    m.stop()
    data = (tmp_path / "state2").read_bytes()
    assert struct.unpack_from("<HH", data, 8) == (1, 1)
    # Its guest knows each device at this address and interrupt, and does in today's format, too.
    board = [tuple(value for _, value in place) for place in dict(snapshot_file.tree(data))["board"]]
    assert board == [("drive.disk", 0xC0001000, 5), ("drive.disk2", 0xC0002000, 6), ("entropy", 0xC0003000, 7),
                     ("vmgenid", 0xDF000, 8)]
    again = Snapshot(tmp_path)
    again.state, again.mem = tmp_path / "state2", tmp_path / "mem2"
    assert loader(again).api.get("/vm/config") == config


CAN_RUN = re.search(r"^flags.* (vmx|svm)\b", open("/proc/cpuinfo").read(), re.M)


def answer(m, letter):
    m.console.send(letter)
    return m.console.expect(rf"^{letter}: (.*)\n", timeout=30).group(1)


@pytest.mark.guest
def test_the_guest_of_a_v1_0_pair_runs_on(loader, tmp_path):
    """The one that was made in the testbed: its guest has the entropy device's leak queues in use."""
    m = load_or_skip(loader, unpack("v1.0-testbed", tmp_path))
    m.api.resume()
    assert answer(m, "b") == "leaks 1+ 0- registers ok, disk ok, entropy ok"
    m.api.pause()
    m.api.snapshot(tmp_path / "state2", tmp_path / "mem2")
    m.api.resume()
    assert answer(m, "c").endswith("registers ok, disk ok, entropy ok")
    m.stop()
    again = Snapshot(tmp_path)
    again.state, again.mem = tmp_path / "state2", tmp_path / "mem2"
    clone = loader(again, resume_vm=True)
    assert answer(clone, "d") == "leaks 1+ 1+ registers ok, disk ok, entropy ok"


def take_todays(tmp_path):
    with Monitor("--config-file", "config", "--boot-timer", binary=BINARY, cwd=tmp_path) as m:
        m.wait_api(every=0.0002)
        m.api.pause()
        m.api.snapshot(tmp_path / "state", tmp_path / "mem")
    return Snapshot(tmp_path)


@pytest.fixture
def today(loader, tmp_path):
    """
    A machine with everything, made by the monitor under test and paused at once. Where KVM makes machines but runs no guest,
    the process may be gone before that.
    """
    MAKE["make_disks"](tmp_path)
    (tmp_path / "guest").write_bytes(GUEST.read_bytes())
    (tmp_path / "config").write_text(MAKE["json"].dumps(MAKE["config"]()))
    for _ in range(1 if CAN_RUN else 200):
        try:
            return take_todays(tmp_path)
        except (OSError, AssertionError) as e:
            problem = e
    raise problem


def maps(value, path=()):
    """(path, map) of every map below value"""
    if isinstance(value, snapshot_file.Map):
        yield path, value
        for key, item in value:
            yield from maps(item, path + (key,))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from maps(item, path + (i,))


def refusal(m, snapshot):
    status, text = m.api.raw("PUT", "/snapshot/load",
                             {"snapshot_path": str(snapshot.state), "mem_file_path": str(snapshot.mem)})
    return text if status == 400 else f"status {status}"


def old(tmp_path):
    """The pair that was made on a host like this one."""
    return unpack("v1.0-testbed" if CAN_RUN else "v1.0-native", tmp_path)


@pytest.fixture(params=["today's", "v1.0"])
def any_version(request, loader, tmp_path):
    if request.param == "today's":
        return request.getfixturevalue("today")
    snapshot = old(tmp_path)
    load_or_skip(loader, snapshot).stop()  # else it is refused for its processor, before the rest has been seen
    return snapshot


def each_changed(data, change):
    """
    (path, key, file) with each map of the file changed in turn by change(map, i), for i from 0 while it returns True. Of the
    items of an array the first stands for all: each costs a load.
    """
    for path, original in maps(snapshot_file.tree(data)):
        if any(isinstance(step, int) and step for step in path):
            continue
        for i in range(len(original)):
            root = snapshot_file.tree(data)
            place = next(m for p, m in maps(root) if p == path)
            if not change(place, i):
                break
            yield path, original[i][0], snapshot_file.with_tree(data, root)


def test_an_unknown_key_is_refused_in_every_map(any_version, tmp_path):
    def add(place, i):
        if i:
            return False
        place.append(("snafu", 1))
        return True

    data = any_version.state.read_bytes()
    with Monitor(binary=BINARY, cwd=tmp_path) as m:
        m.wait_api()
        for path, _, changed in each_changed(data, add):
            any_version.state.write_bytes(changed)
            assert 'unknown key \\"snafu\\"' in refusal(m, any_version), path


def test_a_missing_key_is_refused_in_every_map(any_version, tmp_path):
    def remove(place, i):
        del place[i]
        return True

    # What a configuration leaves out has a default, as in a request of the API.
    optional = {"boot-source", "entropy", "drives", "network-interfaces", "initrd_path", "boot_args", "smt", "track_dirty_pages",
                "huge_pages", "bandwidth", "ops", "one_time_burst", "vm_generation_id", "cache_type", "is_read_only",
                "rate_limiter", "io_engine", "leak_reporting", "is_root_device"}
    data = any_version.state.read_bytes()
    with Monitor(binary=BINARY, cwd=tmp_path) as m:
        m.wait_api()
        for path, key, changed in each_changed(data, remove):
            if path[:1] == ("config",) and key in optional:
                continue
            any_version.state.write_bytes(changed)
            sentence = refusal(m, any_version)
            assert "missing" in sentence and key in sentence, (path, key, sentence)


def test_a_v1_0_file_with_a_key_of_v1_1_is_refused(today, tmp_path):
    """And one of v1.1 that has the old text: a version is what it says."""
    data = bytearray(today.state.read_bytes())
    struct.pack_into("<H", data, 10, 0)
    struct.pack_into("<Q", data, 56, 0)  # record_offset, which was reserved
    today.state.write_bytes(snapshot_file.sealed(bytes(data)))
    with Monitor(binary=BINARY, cwd=tmp_path) as m:
        m.wait_api()
        assert "config must be text" in refusal(m, today)


def vcpus(snapshot):
    return [dict(vcpu) for vcpu in dict(snapshot_file.tree(snapshot.state.read_bytes()))["vcpus"]]


def leaves(vcpu):
    """{(function, index): (eax, ebx, ecx, edx)}"""
    return {entry[:2]: entry[3:7] for entry in struct.iter_unpack("<7I12x", vcpu["cpuid"])}


def test_a_register_is_saved_only_with_its_feature(today):
    """ARCH_CAPABILITIES of an AMD processor, which KVM lists and CPUID hides, made snapshots that newer KVMs refuse."""
    for vcpu in vcpus(today):
        saved = {index for index, _, _ in struct.iter_unpack("<IIQ", vcpu["msrs"])}
        given = leaves(vcpu)[7, 0][3] & 1 << 29
        assert not saved & {0x3a, 0x49} and (given or not saved & {0x10a, 0x122}), [hex(i) for i in saved]
        assert {0x10, 0x12, 0x4b564d01, 0x17b} <= saved, [hex(i) for i in saved]


def test_smt_is_in_the_leaves_of_the_snapshot(today):
    """The machine has 2 vCPUs: one core, two threads."""
    for vcpu in vcpus(today):
        assert leaves(vcpu)[0xb, 0][:2] == (1, 2) and leaves(vcpu)[0xb, 1][1] == 2


def with_vcpu(data, key, change):
    """The file with the bytes of a key of every vCPU changed."""
    root = snapshot_file.tree(data)
    for vcpu in next(value for key_, value in root if key_ == "vcpus"):
        for i, (name, value) in enumerate(vcpu):
            if name == key:
                vcpu[i] = (name, change(value))
    return snapshot_file.with_tree(data, root)


def with_bit(function, index, register, bit):
    def change(cpuid):
        entries = [list(entry) for entry in struct.iter_unpack("<10I", cpuid)]
        for entry in entries:
            if entry[:2] == [function, index]:
                entry[3 + register] |= 1 << bit
        return b"".join(struct.pack("<10I", *entry) for entry in entries)
    return change


@pytest.mark.parametrize("key, change, text", [
    ("cpuid", with_bit(1, 0, 2, 5), "the snapshot's guest has vmx: nested guests are not supported"),
    ("cpuid", with_bit(0x80000001, 0, 2, 2), "the snapshot's guest has svm: nested guests are not supported"),
    ("cpuid", with_bit(7, 0, 1, 26), f"{LACKING}: avx512pf; a host that has them can load it"),
    ("cpuid", with_bit(0xd, 0, 0, 31), f"{LACKING}: bit 31 of CPUID 0xd.0 EAX; a host that has them can load it"),
    ("msrs", lambda msrs: struct.pack("<IIQ", 0x3a, 0, 5) + msrs, "MSR 0x3a of vCPU 0 is none that a snapshot"),
])
def test_what_this_host_cannot_give_is_named(today, tmp_path, key, change, text):
    today.state.write_bytes(with_vcpu(today.state.read_bytes(), key, change))
    with Monitor(binary=BINARY, cwd=tmp_path) as m:
        m.wait_api()
        assert text in refusal(m, today)
