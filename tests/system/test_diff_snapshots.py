# SPDX-License-Identifier: Apache-2.0
"""
Diff snapshots: chains of them, merged by us or by others, mapped as they are, and every way in which they do not fit.

The guest need not run: what changes from one snapshot to the next here is what the monitor writes at a resume.
"""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

import pytest

from conftest import BINARY, machine_config, wait_handled
from kills import kill_while, moments
from snapsafe import Monitor
from test_contract import config, process  # noqa: F401 (fixtures)

SIZE = 32 << 20
PAGE = 4096
MONITORS_OWN = range(0xCE000, 0xE0000)  # places of records; VMClock and VM Generation ID, which a load changes
TOOL = pathlib.Path(BINARY).with_name("snapsafe-snapshot")


def runs(path):
    """[(offset, bytes)] of what is no hole."""
    found, at = [], 0
    with open(path, "rb") as f:
        while at < SIZE:
            try:
                start = os.lseek(f.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(f.fileno(), start, os.SEEK_HOLE)
            found.append((start, os.pread(f.fileno(), at - start, start)))
    return found


def merge(base, *diffs):
    """As Firecracker's snapshot-editor does it: in place, knowing nothing but holes."""
    with open(base, "r+b") as f:
        for diff in diffs:
            for offset, data in runs(diff):
                f.seek(offset)
                f.write(data)


def ram(path):
    """Of a whole memory file, less what is the monitor's."""
    data = path.read_bytes()
    assert len(data) == SIZE
    return data[:MONITORS_OWN.start], data[MONITORS_OWN.stop:]


def create(api, directory, name, kind="Diff"):
    api.put("/snapshot/create", {"snapshot_type": kind, "snapshot_path": str(directory / f"{name}.state"),
                                 "mem_file_path": str(directory / f"{name}.mem")})


def load(api, directory, state, mem, layers=None, **more):
    backend = {"backend_type": "File", "backend_path": str(directory / f"{mem}.mem")}
    if layers is not None:
        backend["layers"] = [str(directory / f"{name}.mem") for name in layers]
    return api.raw("PUT", "/snapshot/load", {"snapshot_path": str(directory / f"{state}.state"), "mem_backend": backend, **more})


def sentence(answer):
    status, text = answer
    assert status == 400, answer
    return json.loads(text)["fault_message"]


def end(p):
    p.send_signal(signal.SIGTERM)
    p.wait(20)


@pytest.fixture(params=[True, False], ids=["tracked", "untracked"])
def chain(request, process, config, tmp_path):
    """full, d1, d2, d3, each on the one before, and whole, the memory at the moment of d3; the process with the machine is gone."""
    described = json.loads(config.read_text())
    described["machine-config"]["track_dirty_pages"] = request.param
    config.write_text(json.dumps(described))
    p, api = process("--config-file", config)
    api.pause()
    create(api, tmp_path, "full", "Full")
    for i in (1, 2, 3):
        api.resume()
        api.pause()
        create(api, tmp_path, f"d{i}")
    create(api, tmp_path, "whole", "Full")
    end(p)
    return tmp_path


def test_a_diff_is_sparse_as_long_as_the_memory_and_has_little(chain):
    for i in (1, 2, 3):
        path = chain / f"d{i}.mem"
        assert path.stat().st_size == SIZE
        assert path.stat().st_blocks * 512 < SIZE / 4
        assert any(start <= 0xDF000 < start + len(data) for start, data in runs(path)), "lacks the VM Generation ID"


def test_a_chain_loads_as_it_is(chain, process):
    p, api = process()
    assert load(api, chain, "d3", "d3", ["full", "d1", "d2"])[0] == 204
    create(api, chain, "again", "Full")
    assert ram(chain / "again.mem") == ram(chain / "whole.mem")
    api.resume()  # a diff on a chain that was loaded lies on its topmost layer
    api.pause()
    create(api, chain, "d4")
    create(api, chain, "whole4", "Full")
    end(p)
    _, api = process()
    answer = load(api, chain, "d4", "d4", ["again"])  # the last snapshot, a full one, is what the diff lies on
    assert answer[0] == 204, answer
    create(api, chain, "again4", "Full")
    assert ram(chain / "again4.mem") == ram(chain / "whole4.mem")


def test_what_others_have_merged_loads(chain, process):
    merge(chain / "full.mem", chain / "d1.mem", chain / "d2.mem", chain / "d3.mem")
    _, api = process()
    assert load(api, chain, "d3", "full")[0] == 204
    create(api, chain, "again", "Full")
    assert ram(chain / "again.mem") == ram(chain / "whole.mem")


def test_a_part_that_was_merged_takes_the_rest_as_layers(chain, process):
    merge(chain / "full.mem", chain / "d1.mem")
    _, api = process()
    assert load(api, chain, "d3", "d3", ["full", "d2"])[0] == 204


def test_the_time_that_a_diff_took_is_not_a_full_ones(process, config, tmp_path):
    metrics = tmp_path / "metrics"
    _, api = process("--config-file", config, "--metrics-path", metrics)
    api.pause()
    for kind in ("Full", "Diff"):
        create(api, tmp_path, kind, kind)
        api.put("/actions", {"action_type": "FlushMetrics"})
        took = json.loads(metrics.read_text().splitlines()[-1])["latencies_us"]
        assert took[f"{kind.lower()}_create_snapshot"] > 0 and took[f"vmm_{kind.lower()}_create_snapshot"] > 0
        assert kind == "Diff" or took["diff_create_snapshot"] == 0


def test_a_diff_over_its_base_is_merged_into_it(process, config, tmp_path):
    """As Firecracker does it for a client that gives each snapshot the same names."""
    p, api = process("--config-file", config)
    api.pause()
    create(api, tmp_path, "vm", "Full")
    for _ in range(20):  # more than there are places for records
        api.resume()
        api.pause()
        create(api, tmp_path, "vm")
    create(api, tmp_path, "whole", "Full")
    end(p)
    _, api = process()
    assert load(api, tmp_path, "vm", "vm")[0] == 204
    create(api, tmp_path, "again", "Full")
    assert ram(tmp_path / "again.mem") == ram(tmp_path / "whole.mem")


def test_what_does_not_fit_is_refused_by_name(chain, process):
    d = {name: chain / f"{name}.mem" for name in ("full", "d1", "d2", "d3", "whole")}
    ids = {name: (chain / f"{name}.state").read_bytes()[40:56].hex() for name in d}
    _, api = process()

    def refused(*args):
        return sentence(load(api, chain, *args))

    said = refused("d3", "d3")
    assert str(d["d3"]) in said and ids["full"] in said and "is a diff" in said and "layers" in said and "rebase" in said
    said = refused("d3", "d3", ["full", "d1"])
    assert str(d["d3"]) in said and ids["d2"] in said
    said = refused("d3", "d3", ["full", "d2"])
    assert str(d["d2"]) in said and ids["d1"] in said
    said = refused("d3", "d3", ["d1", "full", "d2"])
    assert str(d["d1"]) in said and ids["full"] in said
    said = refused("d3", "d3", ["whole", "d1", "d2"])
    assert str(d["whole"]) in said and ids["full"] in said and ids["whole"] in said
    said = refused("d3", "d2", ["full", "d1"])
    assert str(d["d2"]) in said
    said = refused("full", "full", ["d1"])
    assert str(d["d1"]) in said
    said = refused("d3", "d3", ["full", "nothing", "d2"])
    assert f'"{chain}/nothing.mem"' in said and "No such file" in said
    os.truncate(d["d1"], SIZE - PAGE)
    said = refused("d3", "d3", ["full", "d1", "d2"])
    assert str(d["d1"]) in said and str(SIZE - PAGE) in said and str(SIZE) in said
    subprocess.run(["cp", "--sparse=never", d["d2"], chain / "dense.mem"], check=True)
    said = refused("d3", "d3", ["full", "d1", "dense"])
    assert str(d["d1"]) in said  # still the first that does not fit
    create_state = json.loads(api.raw("GET", "/")[1])["state"]
    assert create_state == "Not started"


@pytest.mark.parametrize("how", ["fewer", "more"])
def test_a_copy_without_the_same_holes_is_refused(chain, process, how):
    """Pages of a lost hole would hide those of the base, and a hole in place of a page of zeroes show them."""
    diff = chain / "d2.mem"
    subprocess.run(["cp", "--sparse=" + ("never" if how == "fewer" else "auto"), diff, chain / "copy.mem"], check=True)
    if how == "more":
        start, data = runs(diff)[-1]
        subprocess.run(["fallocate", "--punch-hole", "-o", str(start + len(data) - PAGE), "-l", str(PAGE), chain / "copy.mem"], check=True)
    _, api = process()
    said = sentence(load(api, chain, "d3", "d3", ["full", "d1", "copy"]))
    assert f'"{chain}/copy.mem"' in said and "holes" in said
    assert load(api, chain, "d3", "d3", ["full", "d1", "d2"])[0] == 204


def test_layers_are_paths(process, tmp_path):
    _, api = process()
    for layers in ("x", 1, [1], [""], ["x" * 4096], [["x"]], ["x"] * 16):
        status, text = api.raw("PUT", "/snapshot/load", {
            "snapshot_path": str(tmp_path / "s"),
            "mem_backend": {"backend_type": "File", "backend_path": str(tmp_path / "m"), "layers": layers}})
        assert status == 400 and "layers" in text, (layers, text)


def tool(*args):
    done = subprocess.run([TOOL, *map(str, args)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def paths(chain, *names):
    return [chain / f"{name}.mem" for name in names]


def test_the_tool_merges_what_lies_on_each_other_and_nothing_else(chain, process):
    full, d1, d2, d3 = paths(chain, "full", "d1", "d2", "d3")
    before = full.read_bytes()
    status, _, said = tool("rebase", "--memory-path", full, "--diff-path", d2)
    assert status == 1 and str(full) in said and str(d2) in said and "lies on the memory with the id" in said
    status, _, said = tool("rebase", "--memory-path", d1, "--diff-path", full)
    assert status == 1 and "whole memory" in said
    assert full.read_bytes() == before
    with open(full, "rb") as mapped:  # as a machine has it
        for diff in (d1, d2, d3):
            assert tool("rebase", "--memory-path", full, "--diff-path", diff) == (0, "", "")
        assert mapped.read() == before
    assert sorted(p.name for p in chain.glob("*snapsafe-tmp")) == []
    assert tool("check", "--snapshot-path", chain / "d3.state", "--memory-path", full)[0] == 0
    _, api = process()
    assert load(api, chain, "d3", "full")[0] == 204
    create(api, chain, "again", "Full")
    assert ram(chain / "again.mem") == ram(chain / "whole.mem")


def test_the_tool_checks_as_a_load_does(chain):
    full, d1, d2, d3 = paths(chain, "full", "d1", "d2", "d3")
    state = chain / "d3.state"
    status, out, said = tool("check", "--snapshot-path", state, "--memory-path", d3, "--layer", full, "--layer", d1, "--layer", d2)
    assert (status, out, said) == (0, f"fits: {state.read_bytes()[40:56].hex()}\n", "")
    status, _, said = tool("check", "--snapshot-path", state, "--memory-path", d3, "--layer", full, "--layer", d2)
    assert status == 1 and str(d2) in said
    status, _, said = tool("check", "--snapshot-path", state, "--memory-path", d3)
    assert status == 1 and "is a diff" in said


def test_the_tool_describes(chain, tmp_path):
    ids = {name: (chain / f"{name}.state").read_bytes()[40:56].hex() for name in ("full", "d1", "d2")}
    status, out, _ = tool("info", chain / "d2.state")
    assert status == 0 and f"lies on: {ids['full']}\nlies on: {ids['d1']}\nid: {ids['d2']}\n" in out and "kind: state file" in out
    status, out, _ = tool("info", chain / "d2.mem")
    assert status == 0 and "kind: diff\n" in out and f"lies on: {ids['d1']}\n" in out and "holes: as written" in out
    status, out, _ = tool("info", chain / "full.mem")
    assert status == 0 and "kind: memory file\n" in out and f"memory: {SIZE} bytes" in out and f"id: {ids['full']}" in out
    (tmp_path / "other").write_bytes(bytes(8 * PAGE))
    status, _, said = tool("info", tmp_path / "other")
    assert status == 1 and str(tmp_path / "other") in said and "another kind of file" in said
    assert tool("info")[0] == tool("check")[0] == tool("rebase", "--memory-path", "x")[0] == tool("no")[0] == 2


def test_a_rebase_that_is_killed_leaves_the_old_file(chain):
    """Whatever it leaves beside it, and the next one says so."""
    full, d1 = paths(chain, "full", "d1")
    before = full.read_bytes()
    (chain / "full.mem.snapsafe-tmp").write_bytes(b"half of it")
    status, _, said = tool("rebase", "--memory-path", full, "--diff-path", d1)
    assert status == 1 and "full.mem.snapsafe-tmp" in said and "remove it" in said
    assert full.read_bytes() == before


def test_the_chain_on_disk_loads_after_every_kill(chain):
    """Machines of the chain are killed while they write a diff on it over one that is there; the last one has its answer by then."""
    below, times, ids = ["full", "d1", "d2", "d3"], [], []

    def with_machine(act, state, layers):
        with Monitor(binary=BINARY) as m:
            m.wait_api()
            answer = load(m.api, chain, state, state, layers)
            assert answer[0] == 204, answer
            act(m)

    def write(m, seconds=None):
        m.api.resume()
        m.api.pause()
        kill_while(m, lambda: create(m.api, chain, "next"), seconds)

    def timed(m):
        start = time.monotonic()
        create(m.api, chain, "next")
        times.append(time.monotonic() - start)

    with_machine(timed, "d3", below[:-1])
    for seconds in [*moments(*times), None]:
        with_machine(lambda m, seconds=seconds: write(m, seconds), "d3", below[:-1])
        with_machine(lambda m: create(m.api, chain, "again", "Full"), "next", below)
        assert ram(chain / "again.mem")[1] == ram(chain / "whole.mem")[1]
        ids.append((chain / "next.state").read_bytes()[40:56])
    assert ids[-1] != ids[-2], "the last one had its answer before it was killed"
    assert (chain / "next.mem").stat().st_blocks * 512 < SIZE / 4
    names = {f"{name}.{kind}" for name in (*below, "whole", "next", "again") for kind in ("state", "mem")}
    assert names <= {path.name for path in chain.iterdir()}
    assert not list(chain.glob("*snapsafe-tmp"))


WRITE = "head -c 2000000 /dev/urandom >/run/file{0}; md5sum </run/file{0}"
SUMS = "cat /run/file1 | md5sum; cat /run/file2 | md5sum"
DRAW = "head -c 32 /dev/urandom | od -An -tx1 -v | tr -d ' \\n'; echo"


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "untracked"])
def test_clones_of_a_chain_are_the_guest_and_never_draw_the_same(boot, monitor, tmp_path, tracked):
    """With a Linux guest: what it wrote is there, and the leak event has run when it looks for the first time."""
    config = machine_config()
    config["machine-config"]["track_dirty_pages"] = tracked
    m = boot(config)
    m.api.pause()
    create(m.api, tmp_path, "full", "Full")
    sums = []
    for i in (1, 2):
        m.api.resume()
        wait_handled(m, i)
        sums.append(m.console.run(WRITE.format(i)).split()[0])
        m.api.pause()
        create(m.api, tmp_path, f"d{i}")
    full, diff = ((tmp_path / f"{name}.mem").stat().st_blocks for name in ("full", "d2"))
    if tracked:
        assert diff < full / 2
    drawn = set()
    for _ in range(3):
        clone = monitor()
        clone.wait_api()
        assert load(clone.api, tmp_path, "d2", "d2", ["full", "d1"], resume_vm=True)[0] == 204
        assert int(clone.console.run("cat /sys/virtio-rng/virtio_rng.0/generation")) == 3
        wait_handled(clone, 3)
        drawn.add(clone.console.run(DRAW).strip())
        assert [line.split()[0] for line in clone.console.run(SUMS).splitlines()] == sums
        clone.stop()
    m.api.resume()
    wait_handled(m, 3)
    drawn.add(m.console.run(DRAW).strip())
    assert len(drawn) == 4 and all(len(d) == 64 for d in drawn), drawn


@pytest.fixture
def loop_device():
    """loop_device(path) -> a block device with the bytes of the file, or a skip where there are none to be had."""
    made = []

    def make(path):
        done = subprocess.run(["losetup", "--find", "--show", "--read-only", path], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip("no loop devices here: " + done.stderr)
        made.append(done.stdout.strip())
        return made[-1]

    yield make
    for device in made:
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.mark.parametrize("larger", [0, 1 << 20])
def test_memory_on_a_block_device(chain, process, loop_device, larger):
    """Devices have sizes in steps: one may be larger than the memory. A diff on one has lost its holes."""
    with open(chain / "whole.mem", "r+b") as f:
        f.truncate(SIZE + larger)
    os.symlink(loop_device(chain / "whole.mem"), chain / "device.mem")
    os.symlink(loop_device(chain / "d1.mem"), chain / "diff.mem")
    p, api = process()
    said = sentence(load(api, chain, "d3", "device"))
    assert "belongs to another snapshot" in said or "no record" in said
    assert load(api, chain, "whole", "device")[0] == 204
    create(api, chain, "again", "Full")
    with open(chain / "whole.mem", "r+b") as f:
        f.truncate(SIZE)
    assert ram(chain / "again.mem") == ram(chain / "whole.mem")
    answer = api.raw("PUT", "/snapshot/create", {"snapshot_path": str(chain / "s"), "mem_file_path": str(chain / "device.mem")})
    assert "is not a regular file" in sentence(answer)
    end(p)
    _, api = process()
    said = sentence(load(api, chain, "d3", "d3", ["full", "diff", "d2"]))
    assert f'"{chain}/diff.mem"' in said and "holes" in said


@pytest.mark.parametrize("place", ["/dev/shm", "/var/tmp"])
def test_a_chain_over_several_file_systems(chain, process, place):
    """tmpfs, and whatever else there is; the copy keeps the holes."""
    with tempfile.TemporaryDirectory(dir=place) as directory:
        directory = pathlib.Path(directory)
        for name in ("full", "d2"):
            with open(directory / f"{name}.mem", "wb") as f:  # cp would make holes of pages of zeroes
                f.truncate(SIZE)
            merge(directory / f"{name}.mem", chain / f"{name}.mem")
            (chain / f"{name}.mem").unlink()
            os.symlink(directory / f"{name}.mem", chain / f"{name}.mem")
        p, api = process()
        answer = load(api, chain, "d3", "d3", ["full", "d1", "d2"])
        assert answer[0] == 204, answer
        api.resume()
        api.pause()
        for where in (chain, directory):
            create(api, where, "d4")
            create(api, where, "again", "Full")
        assert ram(chain / "again.mem") == ram(directory / "again.mem")
        end(p)
        for name in ("full", "d1", "d2", "d3"):
            assert tool("info", chain / f"{name}.mem")[0] == 0
        assert tool("rebase", "--memory-path", chain / "full.mem", "--diff-path", chain / "d1.mem") == (0, "", "")
        assert (chain / "full.mem").is_symlink(), "a link stays one"
