# SPDX-License-Identifier: Apache-2.0
"""
Snapshot files that are damaged, cut, in the way or full: always a sentence, and the process can still load a good pair. No guest
is needed for that; test_snapshot_guests.py has what takes one.

SNAPSAFE_TEST_MUTATIONS (default 150) is the number of rounds, SNAPSAFE_TEST_SEED (default 1) chooses them; tests/long has the
long form.
"""
import ctypes
import json
import os
import random
import shutil
import socket
import struct
import subprocess

import pytest

import snapshot_file
from conftest import BINARY, Snapshot
from loader import Loader
from snapsafe import Monitor
from test_process import halting_kernel

PLACES = 64


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A machine with some devices, whose guest halts; a part of its memory is in use."""
    directory = tmp_path_factory.mktemp("good")
    halting_kernel(directory / "kernel")
    (directory / "initrd").write_bytes(os.urandom(4 << 20))
    (directory / "disk").write_bytes(bytes(1 << 20))
    (directory / "config").write_text(json.dumps({
        "boot-source": {"kernel_image_path": str(directory / "kernel"), "initrd_path": str(directory / "initrd")},
        "drives": [{"drive_id": "disk", "path_on_host": str(directory / "disk"), "is_root_device": False}],
        "machine-config": {"vcpu_count": 1, "mem_size_mib": 32},
        "balloon": {"amount_mib": 0, "deflate_on_oom": False},
        "entropy": {},
    }))
    with Monitor("--config-file", str(directory / "config"), binary=BINARY) as m:
        m.wait_api()
        m.api.pause()
        snapshot = Snapshot(directory)
        m.api.snapshot(snapshot.state, snapshot.mem)
    return snapshot


def places(length):
    """Lengths from 0 to one byte less than all: the first and last bytes, and evenly between."""
    edges = {0, 1, 7, 8, 9, 63, 64, 65, 79, 80, length - 4097, length - 4096, length - 4095, length - 17, length - 16,
             length - 15, length - 8, length - 1}
    edges = {place for place in edges if 0 <= place < length}
    rest = PLACES - len(edges)
    return sorted(edges | {length * i // (rest + 1) for i in range(1, rest + 1)})


def test_a_state_file_cut_anywhere_is_refused(good, tmp_path):
    data = good.state.read_bytes()
    cut = tmp_path / "cut"
    with Loader() as loader:
        for place in places(len(data)):
            cut.write_bytes(data[:place])
            sentence = loader.try_load(cut, good.mem)
            assert sentence and str(cut) in sentence, (place, sentence)
        assert loader.refused >= PLACES
        loader.check_good(good)


def test_a_state_file_cut_anywhere_with_a_checksum_that_fits_is_refused(good, tmp_path):
    data = good.state.read_bytes()
    cut = tmp_path / "cut"
    with Loader() as loader:
        for place in places(len(data) - 16):
            cut.write_bytes(data[:place] + snapshot_file.checksum(data[:place]))
            sentence = loader.try_load(cut, good.mem)
            assert sentence and str(cut) in sentence, (place, sentence)
        loader.check_good(good)


def test_a_memory_file_cut_anywhere_is_refused(good, copy):
    with Loader() as loader:
        for place in reversed(places(copy.mem.stat().st_size)):
            os.truncate(copy.mem, place)
            sentence = loader.try_load(good.state, copy.mem)
            assert sentence and str(copy.mem) in sentence, (place, sentence)
        assert loader.refused >= PLACES
        loader.check_good(good)


def test_damaged_state_files_are_refused(good, tmp_path):
    data = good.state.read_bytes()
    path = tmp_path / "damaged"
    with Loader() as loader:
        for seed in snapshot_file.rounds(2):
            kind, damaged = snapshot_file.mutation(data, seed, snapshot_file.BROKEN)
            path.write_bytes(damaged)
            assert loader.try_load(path, good.mem), f"seed {seed}, {kind}: was loaded"
        loader.check_good(good)


def test_damaged_records_of_memory_files_are_refused(good, copy):
    at = struct.unpack_from("<Q", good.state.read_bytes(), 56)[0]
    with open(copy.mem, "r+b") as f, Loader() as loader:
        f.seek(at)
        record = f.read(4096)
        assert record[16:32] == good.state.read_bytes()[40:56]
        for seed in snapshot_file.rounds(1):
            rng = random.Random(seed)
            damaged = snapshot_file.flip_bytes(record, rng)
            if rng.random() < 0.5 and damaged[:32] != record[:32]:
                damaged = snapshot_file.sealed(damaged)
            f.seek(at)
            f.write(damaged)
            f.flush()
            sentence = loader.try_load(good.state, copy.mem)
            assert sentence and str(copy.mem) in sentence, f"seed {seed}: was loaded"
        loader.check_good(good)


def with_header(data, offset, form, value):
    out = bytearray(data)
    struct.pack_into(form, out, offset, value)
    return snapshot_file.sealed(bytes(out))


@pytest.mark.parametrize("offset, form, value, text", [
    (8, "<H", 0, "format v0.1.0"),
    (8, "<H", 2, "format v2.1.0"),
    (10, "<H", 2, "format v1.2.0"),
    (14, "<H", 183, "aarch64"),
    (16, "<I", 65, "header of 65 bytes"),
    (20, "<I", 1, "reserved"),
    (24, "<Q", 1 << 63, "claims 9223372036854775808 bytes of state"),
    (32, "<Q", 64 << 20, "67108864 bytes"),
    (32, "<Q", 0, "claims 0 bytes of memory"),
    (32, "<Q", 1 << 62, "claims 4611686018427387904 bytes of memory"),
])
def test_a_wrong_header_is_named(good, tmp_path, offset, form, value, text):
    path = tmp_path / "state"
    path.write_bytes(with_header(good.state.read_bytes(), offset, form, value))
    with Loader() as loader:
        assert text in loader.try_load(path, good.mem)


def test_files_of_different_snapshots_are_refused(good, copy):
    with Monitor(binary=BINARY) as m:
        m.wait_api()
        m.api.load(good.state, good.mem, resume=False)
        m.api.snapshot(copy.state, copy.mem)
    with Loader() as loader:
        assert "belongs to another snapshot" in loader.try_load(good.state, copy.mem)
        assert "belongs to another snapshot" in loader.try_load(copy.state, good.mem)
        assert "snapshot memory file" in loader.try_load(good.state, good.state)
        assert "snapshot state file" in loader.try_load(good.mem, good.mem)
        loader.check_good(copy)


def test_what_is_no_file_is_refused_at_once(good, tmp_path):
    """A directory, a FIFO, a socket, a device, links to them, to nothing and to themselves, in place of either file."""
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "to-nothing").symlink_to(tmp_path / "nothing")
    for name in ("directory", "fifo"):
        (tmp_path / f"to-{name}").symlink_to(tmp_path / name)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        names = [tmp_path / n for n in ("directory", "fifo", "loop", "to-nothing", "to-directory", "to-fifo", "nothing", "socket")]
        names += ["/dev/zero", "/dev/full", "", "relative", tmp_path / ("x" * 300), "/" + "y" * 5000]
        with Loader() as loader:
            for name in names:
                for pair in ((name, good.mem), (good.state, name), (name, name)):
                    assert loader.try_load(*pair), pair
            loader.check_good(good)


def test_links_to_good_files_are_followed(good, tmp_path):
    for name in ("state", "mem"):
        (tmp_path / name).symlink_to(getattr(good, name))
    with Loader() as loader:
        loader.check_good(Snapshot(tmp_path))


def give_up_file_rights():
    """Root is still root, but permission bits count: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH will not survive the exec."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):
        if libc.prctl(24, capability, 0, 0, 0) < 0:  # PR_CAPBSET_DROP
            os._exit(99)


def test_no_permission_is_a_sentence(good, copy):
    with Loader() as loader:
        loader.adopt(Monitor(binary=BINARY, preexec=give_up_file_rights))
        for name in ("state", "mem"):
            path = getattr(copy, name)
            path.chmod(0)
            sentence = loader.try_load(copy.state, copy.mem)
            assert "Permission denied" in sentence and str(path) in sentence
            path.chmod(0o600)
        loader.check_good(copy)


def test_a_snapshot_of_a_machine_whose_file_has_shrunk_is_refused(good, copy, restore, tmp_path):
    m = restore(copy, resume=False)
    os.truncate(copy.mem, 1 << 20)
    status, text = m.api.raw("PUT", "/snapshot/create", {"snapshot_path": str(tmp_path / "s"),
                                                        "mem_file_path": str(tmp_path / "m")})
    assert status == 400 and str(tmp_path / "m") in json.loads(text)["fault_message"]
    assert sorted(os.listdir(tmp_path)) == ["mem", "state"]
    assert m.api.get("/")["state"] == "Paused"


def test_the_pair_on_disk_loads_after_every_full_disk(good, tmp_path):
    """A disk with room for the pair and a part of another one: each time a different part."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(disk)], check=True)
    try:
        pair = Snapshot(disk)
        shutil.copy(good.state, pair.state)
        subprocess.run(["cp", "--sparse=always", str(good.mem), str(pair.mem)], check=True)
        used = shutil.disk_usage(disk).used
        with Monitor(binary=BINARY) as m, Loader() as loader:
            m.wait_api()
            m.api.load(good.state, good.mem, resume=False)
            need = good.mem.stat().st_blocks * 512
            for room in (0, 4096, 65536, need // 3, need - 4096, need + 4096, need + 16384):
                subprocess.run(["mount", "-o", f"remount,size={used + room}", str(disk)], check=True)
                status, text = m.api.raw("PUT", "/snapshot/create", {"snapshot_path": str(pair.state),
                                                                    "mem_file_path": str(pair.mem)})
                if status == 204:
                    assert room > need // 2
                    break
                sentence = json.loads(text)["fault_message"]
                assert status == 400 and "No space left on device" in sentence and str(disk) in sentence
                assert sorted(os.listdir(disk)) == ["mem", "state"]
                # Only tmpfs needs room for what a guest merely reads: so it may not run before there is some.
                assert loader.try_load(pair.state, pair.mem) is None
                loader.end()
                subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
                loader.check_good(pair)
                used = shutil.disk_usage(disk).used
            subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
            m.api.snapshot(pair.state, pair.mem)
            loader.check_good(pair)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
