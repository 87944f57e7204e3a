# SPDX-License-Identifier: Apache-2.0
"""
Where the console of a whole monitor, with its filters, can be: a Unix socket, a FIFO, a file with a limit; with Linux in the
guest, and without a guest where none is needed. tests/unit/test_serial_socket.c has what clients may do.
"""
import json
import os
import pathlib
import re
import select
import socket
import time

import pytest

from conftest import Snapshot, machine_config
from snapsafe.console import Console
from snapsafe.patience import Deadline, stretch
from test_process import halting_kernel

UNLIMITED_MS = 1_000_000_000_000  # a bucket that is never filled again
TICKS = "n=0; while :; do n=$((n+1)); echo tick $n; usleep 5000; done &"


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(stretch(20))
        self.socket.connect(str(path))


def test_the_socket_is_there_from_the_start_to_the_end(monitor, tmp_path):
    """No guest has to run for that; the filters are in force."""
    halting_kernel(tmp_path / "kernel")
    (tmp_path / "config").write_text(json.dumps({
        "boot-source": {"kernel_image_path": "kernel"},
        "machine-config": {"vcpu_count": 1, "mem_size_mib": 32},
        "serial": {"serial_socket_path": "console"},
    }))
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "console"))
    for _ in range(2):
        m = monitor("--config-file", "config", cwd=tmp_path)
        m.wait_api()
        first, second = Client(tmp_path / "console"), Client(tmp_path / "console")
        assert second.socket.recv(1) == b""
        first.socket.close()
        Client(tmp_path / "console").socket.sendall(b"x" * 10000)
        assert m.api.get("/")["state"] == "Running"
        m.stop()
        assert not (tmp_path / "console").exists()


class Reader:
    """Somebody who reads a FIFO."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def read_until(self, pattern, timeout=120):
        """The match in what has come; what stands behind it in the same piece is gone."""
        text, deadline = "", Deadline(timeout)
        while not (match := re.search(pattern, text)):
            left = deadline.left()
            assert left > 0, f"no {pattern!r} came, but: {text[-1000:]}"
            if select.select([self.fd], [], [], left)[0]:
                text += os.read(self.fd, 65536).decode(errors="replace").replace("\r", "")
        return match

    def close(self):
        os.close(self.fd)


def ticks_at_least(reader, number):
    """Waits until the guest has counted further than that; the number that it has come to."""
    while (seen := int(reader.read_until(r"tick (\d+)\n").group(1))) <= number:
        pass
    return seen


def uart_metrics(m, path):
    """What has been counted since the start."""
    m.api.put("/actions", {"action_type": "FlushMetrics"})
    lines = [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]
    return {name: sum(line[section][name] for line in lines)
            for section, name in (("uart", "missed_write_count"), ("uart", "rate_limiter_dropped_bytes"), ("signals", "sigpipe"))}


@pytest.fixture
def ticking(boot, tmp_path):
    """A snapshot of a guest that prints for ever."""
    m = boot(machine_config())
    m.console.send(TICKS + "\n")
    m.console.expect("tick 3\n")
    m.api.pause()
    snapshot = Snapshot(tmp_path)
    m.api.snapshot(snapshot.state, snapshot.mem)
    m.stop()
    return snapshot


def load_onto(monitor, snapshot, serial, *args):
    m = monitor(*args)
    m.wait_api()
    m.api.put("/serial", serial)
    m.api.load(snapshot.state, snapshot.mem)
    return m


@pytest.mark.guest
def test_a_guest_boots_onto_a_fifo(monitor, tmp_path):
    fifo = tmp_path / "console"
    os.mkfifo(fifo)
    reader = Reader(fifo)
    (tmp_path / "config").write_text(json.dumps(machine_config(serial={"serial_out_path": str(fifo)})))
    m = monitor("--config-file", str(tmp_path / "config"))
    reader.read_until("login: ")
    m.stop()
    assert m.console.log == ""  # nothing of it on the terminal
    reader.close()


@pytest.mark.guest
def test_a_guest_goes_on_when_the_reader_of_its_fifo_leaves(monitor, ticking, tmp_path):
    """And whoever comes next gets what is printed from then on."""
    fifo = tmp_path / "console"
    os.mkfifo(fifo)
    first = Reader(fifo)
    m = load_onto(monitor, ticking, {"serial_out_path": str(fifo)}, "--metrics-path", str(tmp_path / "metrics"))
    seen = ticks_at_least(first, 10)
    first.close()
    deadline = Deadline(60)
    while uart_metrics(m, tmp_path / "metrics")["missed_write_count"] < 100:
        assert deadline.left() > 0, uart_metrics(m, tmp_path / "metrics")
        time.sleep(0.1)
    assert uart_metrics(m, tmp_path / "metrics")["sigpipe"] > 0
    second = Reader(fifo)
    ticks_at_least(second, seen)
    assert m.api.get("/")["state"] == "Running"
    m.stop()
    second.close()


@pytest.mark.guest
def test_a_guest_does_not_wait_for_the_first_reader_of_its_fifo(monitor, ticking, tmp_path):
    fifo = tmp_path / "console"
    os.mkfifo(fifo)
    m = load_onto(monitor, ticking, {"serial_out_path": str(fifo)})
    time.sleep(0.5)
    reader = Reader(fifo)
    ticks_at_least(reader, 50)
    m.stop()
    reader.close()


@pytest.mark.guest
def test_a_file_gets_no_longer_than_its_limit_and_the_guest_goes_on(monitor, ticking, tmp_path):
    out, metrics, limit = tmp_path / "console", tmp_path / "metrics", 1000
    out.write_bytes(b"what was there\n")
    m = load_onto(monitor, ticking, {"serial_out_path": str(out), "rate_limiter": {"size": limit, "refill_time": UNLIMITED_MS}},
                  "--metrics-path", str(metrics))
    for _ in range(2):  # it was not the last byte that was dropped
        before, deadline = uart_metrics(m, metrics)["rate_limiter_dropped_bytes"], Deadline(60)
        while uart_metrics(m, metrics)["rate_limiter_dropped_bytes"] <= before:
            assert deadline.left() > 0, f"{before} bytes were dropped, and no more"
            time.sleep(0.1)
    m.stop()
    text = out.read_bytes()
    assert text.startswith(b"what was there\n") and len(text) == len(b"what was there\n") + limit
    numbers = [int(n) for n in re.findall(rb"tick (\d+)\r?\n", text)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) and len(numbers) > limit // 20


def at_socket(path):
    client = Client(path)
    client.socket.setblocking(True)
    console = Console(client.socket.fileno())
    console.socket = client.socket  # kept
    return console


@pytest.mark.guest
def test_people_come_to_a_guests_console_on_a_socket_and_leave_it(monitor, tmp_path):
    """Who comes back finds what was printed meanwhile; a clone has a socket of its own."""
    (tmp_path / "config").write_text(json.dumps(machine_config(serial={"serial_socket_path": str(tmp_path / "console")})))
    m = monitor("--config-file", str(tmp_path / "config"))
    m.wait_api()
    first = at_socket(tmp_path / "console")
    first.login()
    first.quiet()
    assert first.run("echo $((6 * 7))").strip() == "42"
    first.send("sleep 1; echo said mean''while; touch /tmp/said\n")
    first.socket.close()
    time.sleep(stretch(2))
    second = at_socket(tmp_path / "console")
    second.expect("said meanwhile\n")
    assert second.run("ls /tmp/said").strip() == "/tmp/said"
    m.api.pause()
    m.api.snapshot(tmp_path / "state", tmp_path / "mem")
    m.api.resume()
    clone = load_onto(monitor, Snapshot(tmp_path), {"serial_socket_path": str(tmp_path / "clone")})
    of_clone = at_socket(tmp_path / "clone")
    of_clone.run("echo clone >/tmp/said")
    second.run("echo original >/tmp/said")
    assert of_clone.run("cat /tmp/said").strip() == "clone"
    assert second.run("cat /tmp/said").strip() == "original"
    m.stop()
    clone.stop()
    assert not (tmp_path / "console").exists() and not (tmp_path / "clone").exists()
