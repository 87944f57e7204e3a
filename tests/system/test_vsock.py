# SPDX-License-Identifier: Apache-2.0
"""The vsock device with Linux in the guest (docs/vsock.md): both directions, flow control, closing, clones."""
import contextlib
import json
import os
import random
import re
import socket
import threading
import time
import zlib

import pytest

from conftest import BINARY, long_form, machine_config
from snapsafe import Monitor
from snapsafe.patience import Deadline, stretch, within

pytestmark = pytest.mark.guest

MEGABYTES = 10
ECHO, SUM, DEAF = 52, 53, 54  # ports of the guest's servers
MOMENTS = 12 if "SNAPSAFE_LONG" in os.environ else 5


def pattern(num):
    """What guest/demo/test_vsock.c sends."""
    return (bytes(range(251)) * (num // 251 + 1))[:num]


def connect(path, port, timeout=60):
    """A connection to a port of the guest's, as a client of Firecracker's makes it; None if the guest refuses."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(stretch(timeout))
    s.connect(str(path))
    s.sendall(b"CONNECT %d\n" % port)
    answer = b""
    while not answer.endswith(b"\n"):
        byte = s.recv(1)
        if not byte:
            s.close()
            return None
        answer += byte
    assert re.fullmatch(rb"OK [0-9]+\n", answer)
    return s


def connect_when_there(path, port, timeout=60):
    """The same, once there is a server."""
    deadline = Deadline(timeout)
    while deadline.left() > 0:
        s = connect(path, port, timeout)
        if s:
            return s
        time.sleep(0.05)
    raise AssertionError(f"nobody listens on port {port} of the guest")


def receive_all(s):
    data = bytearray()
    while piece := s.recv(1 << 16):
        data += piece
    return bytes(data)


def exchange(s, text):
    """What the guest's echo says to that."""
    s.sendall(text)
    answer = b""
    while len(answer) < len(text):
        piece = s.recv(len(text) - len(answer))
        assert piece, f"only {answer!r} came back of {text!r}"
        answer += piece
    assert answer == text


def wait_for_line(m, pattern, path):
    """In a file of the guest's."""
    m.console.run(f"i=0; until grep -qE '{pattern}' {path}; do i=$((i+1)); [ $i -lt 300 ] || break; usleep 100000; done; "
                  f"grep -qE '{pattern}' {path} || {{ cat {path}; false; }}")


def start_servers(m):
    for port, mode in ((ECHO, "echo"), (SUM, "sum"), (DEAF, "deaf")):
        m.console.run(f"(/root/test_vsock listen {port} {mode} >/dev/null 2>/tmp/server-{port} &)")


@contextlib.contextmanager
def booted(kernel, directory, *args):
    """A machine whose guest has the servers, with its socket at directory/v."""
    config = directory / "config.json"
    config.write_text(json.dumps(machine_config(kernel, vsock={"guest_cid": 3, "uds_path": str(directory / "v")})))
    with Monitor("--config-file", str(config), *args, binary=BINARY) as m:
        m.console.login()
        m.console.quiet()
        start_servers(m)
        connect_when_there(directory / "v", DEAF).close()
        yield m


@pytest.fixture(scope="module", params=["6.12", *long_form("6.1")])
def machine(request, tmp_path_factory):
    """A machine that runs, and the path of its socket."""
    directory = tmp_path_factory.mktemp("vsock")
    with booted(request.param, directory) as m:
        yield m, directory / "v"


@contextlib.contextmanager
def server(path, port):
    """A server of the host's, for connections of the guest's."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(stretch(120))
        s.bind(f"{path}_{port}")
        s.listen()
        yield s


def test_a_client_talks_to_the_guest(machine):
    _, path = machine
    with connect_when_there(path, ECHO) as s, connect(path, ECHO) as other:
        exchange(s, b"hello")
        exchange(other, b"hello, too")
        exchange(s, b"x" * 10000)


def test_ports_without_a_server_are_refused_both_ways(machine):
    m, path = machine
    assert connect(path, 99) is None
    status, text = m.console.run_status("/root/test_vsock connect 99 0 2>&1")
    assert status == 1 and "Connection reset by peer" in text
    with connect(path, ECHO) as s:
        exchange(s, b"still here")


def test_megabytes_to_the_guest_and_a_half_close(machine):
    """The guest's answer comes after the end of what it has got: each direction is closed by itself."""
    _, path = machine
    data = pattern(MEGABYTES << 20)
    with connect_when_there(path, SUM) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        assert receive_all(s).decode() == f"{len(data)} {zlib.adler32(data):08x}\n"


def test_megabytes_in_both_directions_at_once(machine):
    _, path = machine
    data = pattern(MEGABYTES << 20)

    def send(s):
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)

    with connect_when_there(path, ECHO) as s:
        s.settimeout(stretch(300))
        sender = threading.Thread(target=send, args=(s,))
        sender.start()
        got = receive_all(s)
        sender.join()
    assert len(got) == len(data) and got == data


def test_megabytes_from_the_guest_and_back(machine):
    m, path = machine
    num = MEGABYTES << 20
    answer = pattern(num)[::-1]
    with server(path, 77) as listener:
        m.console.send(f"/root/test_vsock connect 77 {num}; echo DO''NE\n")
        s, _ = listener.accept()
        s.settimeout(stretch(120))
        with s:
            assert receive_all(s) == pattern(num)  # ends with the guest's half-close
            s.sendall(answer)
        match = m.console.expect(r"sent (\d+) (\w+) got (\d+) (\w+)\n(?s:.*)DONE\n", 300)
    assert match.groups() == (str(num), f"{zlib.adler32(pattern(num)):08x}", str(num), f"{zlib.adler32(answer):08x}")


def test_a_guest_that_never_reads_stops_its_client_and_nobody_else(machine):
    _, path = machine
    with connect_when_there(path, DEAF) as s, connect(path, ECHO) as other:
        s.setblocking(False)
        sent, deadline, quiet = 0, Deadline(60), 0
        while quiet < 20 and deadline.left() > 0:  # a second in which nothing was taken
            try:
                sent += s.send(bytes(1 << 16))
                quiet = 0
            except BlockingIOError:
                quiet += 1
                time.sleep(0.05)
        assert quiet == 20 and 1 << 16 < sent < 4 << 20
        exchange(other, b"meanwhile")


def test_a_server_that_never_reads_stops_the_guest_and_nobody_else(machine):
    m, path = machine
    with server(path, 78) as listener:
        m.console.run(f"(/root/test_vsock connect 78 {64 << 20} >/tmp/deaf 2>&1 &)")
        s, _ = listener.accept()
        with s:
            for _ in range(3):
                time.sleep(0.3)
                with connect(path, ECHO) as other:
                    exchange(other, b"meanwhile")
        wait_for_line(m, "write: (Broken pipe|Connection reset)", "/tmp/deaf")


def test_many_connections_one_after_the_other_and_at_once(machine):
    _, path = machine
    for _ in range(50):
        with connect_when_there(path, ECHO) as s:
            exchange(s, b"one of many")
    many = [connect(path, ECHO) for _ in range(50)]
    for i, s in enumerate(many):
        exchange(s, b"number %d" % i)
    for s in many:
        s.close()


def assert_ended(s):
    """The other end is gone, with or without a word."""
    with contextlib.suppress(ConnectionResetError):
        assert s.recv(1) == b""
    s.close()


def clone_is_reachable(path, port, start):
    """Seconds from the load's answer until the guest has answered, too."""
    with connect(path, port) as s:
        exchange(s, b"are you there?")
    return time.monotonic() - start


@pytest.mark.parametrize("kernel", ["6.12", *long_form("6.1")])
def test_clones_answer_at_paths_of_their_own(kernel, tmp_path, monitor):
    """Connections are open both ways when the snapshot is made; the guest's servers go on, original and clones."""
    with booted(kernel, tmp_path) as m, server(tmp_path / "v", 79) as listener:
        open_to_guest = connect(tmp_path / "v", ECHO)
        exchange(open_to_guest, b"before")
        m.console.run("(/root/test_vsock connect 79 1000 >/tmp/waits 2>&1 &)")
        from_guest, _ = listener.accept()
        from_guest.settimeout(stretch(60))
        assert receive_all(from_guest) == pattern(1000)
        m.api.pause()
        m.api.snapshot(tmp_path / "state", tmp_path / "mem")
        assert_ended(open_to_guest)
        assert_ended(from_guest)
        m.api.resume()
        clone_is_reachable(tmp_path / "v", ECHO, time.monotonic())
        clones, times = [], []
        for name in ("one", "two"):
            c = monitor()
            c.wait_api()
            c.api.put("/snapshot/load", {
                "snapshot_path": str(tmp_path / "state"),
                "mem_backend": {"backend_type": "File", "backend_path": str(tmp_path / "mem")},
                "vsock_override": {"uds_path": str(tmp_path / name)}, "resume_vm": True})
            times.append(clone_is_reachable(tmp_path / name, ECHO, time.monotonic()))
            assert c.api.get("/vm/config")["vsock"] == {"guest_cid": 3, "uds_path": str(tmp_path / name)}
            clones.append((c, tmp_path / name))
        # What a clone needs; that one of them had to wait for a processor says nothing about it.
        assert within(min(times), 1), times
        for c, path in [*clones, (m, tmp_path / "v")]:
            # What was connected is not, and knows it.
            wait_for_line(c, "read: Connection reset", "/tmp/waits")
            # Connections of the guest's go to the path of the clone.
            with server(path, 80) as own:
                c.console.send("/root/test_vsock connect 80 10; echo DO''NE\n")
                s, _ = own.accept()
                with s:
                    s.settimeout(stretch(60))
                    assert receive_all(s) == pattern(10)
                    s.sendall(b"0123456789")
                c.console.expect(r"got 10 (?s:.*)DONE\n")
            with connect(path, ECHO) as s:
                exchange(s, b"all at the same time")
    assert not (tmp_path / "v").exists()


def traffic(path, stop):
    """Keeps the guest busy, on connections that a snapshot may end at any time."""
    data = pattern(50000)
    while not stop.is_set():
        with contextlib.suppress(OSError, AssertionError):
            s = connect(path, ECHO, 10)
            if s:
                with s:
                    s.settimeout(1)
                    exchange(s, data)


def test_snapshots_at_random_moments_under_load(tmp_path, monitor):
    """Original and clone answer, whatever was under way. (How soon is what the test above measures.)"""
    stop = threading.Event()
    with booted("6.1", tmp_path) as m:
        threads = [threading.Thread(target=traffic, args=(tmp_path / "v", stop)) for _ in range(3)]
        for t in threads:
            t.start()
        try:
            for i in range(MOMENTS):
                time.sleep(random.random() * 0.5)
                m.api.pause()
                m.api.snapshot(tmp_path / "state", tmp_path / "mem")
                c = monitor()
                c.wait_api()
                c.api.put("/snapshot/load", {
                    "snapshot_path": str(tmp_path / "state"),
                    "mem_backend": {"backend_type": "File", "backend_path": str(tmp_path / "mem")},
                    "vsock_override": {"uds_path": str(tmp_path / f"c{i}")}, "resume_vm": True})
                print(f"clone {i}: {clone_is_reachable(tmp_path / f'c{i}', ECHO, time.monotonic()):.2f} s")
                c.stop()
                # One machine at a time, and one client: what is measured is not how many the processors can serve.
                m.api.resume()
                clone_is_reachable(tmp_path / "v", ECHO, time.monotonic())
        finally:
            stop.set()
            for t in threads:
                t.join()
