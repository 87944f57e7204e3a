# SPDX-License-Identifier: Apache-2.0
"""tools/fork: many clones of one snapshot. The guest of most tests is one jump to itself, which any KVM runs."""
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time

import pytest

from conftest import BINARY, ROOT
from snapsafe import Monitor
from snapsafe.api import Api
from snapsafe.patience import stretch
from test_reseed import boot

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root's rights")
FORK = ROOT / "tools" / "fork"


def command(directory, count, *options):
    return [FORK, str(count), directory / "state", directory / "mem", "--monitor", BINARY, "--directory", directory / "clones",
            *map(str, options)]


@contextlib.contextmanager
def fork(directory, count, *options):
    """The clones, once all are there."""
    p = subprocess.Popen(command(directory, count, *options), stdout=subprocess.PIPE, text=True)
    try:
        yield [json.loads(p.stdout.readline()) for _ in range(count)]
        assert p.poll() is None
    finally:
        p.send_signal(signal.SIGTERM)
        assert p.wait(stretch(60)) == 0


def refused(directory, *arguments):
    """What it says, once nothing of the clones is left."""
    ran = subprocess.run(command(directory, *arguments), capture_output=True, text=True, timeout=stretch(60))
    assert ran.returncode in (1, 2) and not alive(directory)
    return ran.stderr.splitlines()[-1]


def alive(directory):
    """Sockets on which a monitor answers."""
    found = []
    for path in directory.glob("clones/*/api.sock"):
        with socket.socket(socket.AF_UNIX) as s:
            if s.connect_ex(str(path)) == 0:
                found.append(path)
    return found


@pytest.fixture
def snapshot(tmp_path):
    """Of a machine whose guest has no driver; the process is gone."""
    with Monitor(binary=BINARY) as m:
        m.wait_api()
        m.api.put("/vsock", {"guest_cid": 3, "uds_path": str(tmp_path / "vsock.sock")})
        boot(m, tmp_path, {})
        m.api.pause()
        m.api.snapshot(tmp_path / "state", tmp_path / "mem")
    return tmp_path


def test_clones_run_until_the_program_ends(snapshot):
    with fork(snapshot, 8, "--vsock", "--reseed-timeout", 0, "--first", 5) as clones:
        assert sorted(clone["clone"] for clone in clones) == list(range(5, 13))
        assert len({clone["pid"] for clone in clones}) == 8
        for clone in clones:
            assert Api(clone["api"]).get("/")["id"] == f"clone{clone['clone']}"
            assert Api(clone["api"]).get("/")["state"] == "Running"
            assert Api(clone["api"]).get("/vm/config")["vsock"]["uds_path"] == clone["vsock"]
    assert not alive(snapshot)


def test_paused_clones_wait_for_whoever_resumes_them(snapshot):
    with fork(snapshot, 2, "--vsock", "--paused") as clones:
        for clone in clones:
            assert Api(clone["api"]).get("/")["state"] == "Paused"
            Api(clone["api"]).resume()
            assert Api(clone["api"]).get("/")["state"] == "Running"


@pytest.mark.skipif(not shutil.which("nft"), reason="nftables is not installed")
def test_each_has_a_network_of_its_own_and_none_is_left(snapshot):
    def namespaces():
        return {name for name in subprocess.check_output(["ip", "netns", "list"], text=True).split() if name.startswith("snapsafe-")}

    before = namespaces()
    with fork(snapshot, 3, "--vsock", "--network", "--reseed-timeout", 0, "--first", 70) as clones:
        assert {clone["address"] for clone in clones} == {f"198.18.1.{4 * i + 2}" for i in (6, 7, 8)}
        assert namespaces() - before == {"snapsafe-clone70", "snapsafe-clone71", "snapsafe-clone72"}
        for clone in clones:
            own = os.readlink(f"/proc/{clone['pid']}/ns/net")
            assert own != os.readlink("/proc/self/ns/net")
    assert namespaces() == before


def test_one_that_fails_ends_all(snapshot):
    assert "has not reseeded within 200 ms" in refused(snapshot, 4, "--vsock", "--reseed-timeout", 200)


def test_an_end_in_the_middle_leaves_nothing(snapshot):
    p = subprocess.Popen(command(snapshot, 200, "--vsock", "--reseed-timeout", 0), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                         text=True)
    p.stdout.readline()
    p.send_signal(signal.SIGINT)
    assert p.wait(stretch(60)) == 0
    assert not alive(snapshot)


def test_what_does_not_fit_is_said_in_one_sentence(snapshot):
    assert "argument N: '0' is not allowed: how many clones, a number from 1 on" in refused(snapshot, 0)
    assert "the last clone's number is 32768: with --network it is at most 32767" in refused(
        snapshot, 2, "--network", "--first", 32767)
    assert "'60001' is not allowed: milliseconds, 0 to 60000, is expected" in refused(snapshot, 1, "--reseed-timeout", 60001)
    assert "a socket's path has at most 107" in refused(snapshot, 1, "--directory", "/tmp/" + 100 * "x")
    assert "there is no file" in refused(snapshot, 1, "--layer", snapshot / "nothing")
    (snapshot / "clones" / "2").mkdir(parents=True)
    assert "clones/2' exists: another directory, or a --first" in refused(snapshot, 2)


def test_clones_of_linux_have_reseeded_when_they_are_announced(snapshot_of, tmp_path):
    made = snapshot_of(kernel="6.1", vcpus=1, mem_mib=128)
    os.symlink(made.state, tmp_path / "state")
    os.symlink(made.mem, tmp_path / "mem")
    began = time.monotonic()
    with fork(tmp_path, 4) as clones:
        print(f"4 clones of Linux after {time.monotonic() - began:.1f} s")
        for clone in clones:
            told = Api(clone["api"]).get("/entropy")
            assert told["handled"] == told["generation"] and not told["late"]
