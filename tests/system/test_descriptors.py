# SPDX-License-Identifier: Apache-2.0
"""
Nobody outside can make the monitor wait (HACKING.md): whatever standard input, output and error, the log and the metrics are,
and while the guest prints as fast as it can, the monitor answers within a second.
"""
import contextlib
import fcntl
import json
import os
import pathlib
import pty
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import time

import pytest

from conftest import BINARY, ROOT
from snapsafe import Api, is_emulated, proc
from snapsafe.patience import within

FLOOD = os.environ.get("SNAPSAFE_FLOOD", str(ROOT / "build" / "unit-gcc" / "tests" / "payload" / "guest_flood"))
WITHIN = 1.0  # s; each answer
PLACES = ["stdin", "stdout", "stderr", "log", "metrics"]
KINDS = ["socket", "full pipe", "another user's pipe", "FIFO without reader", "closed", "terminal", "full disk"]


@contextlib.contextmanager
def full_disk(directory):
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(directory)], check=True)
    try:
        with contextlib.suppress(OSError):
            (directory / "fill").write_bytes(b"x" * (1 << 20))
        yield directory / "file"
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def fill(fd):
    os.set_blocking(fd, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, b"x" * 4096)
    os.set_blocking(fd, True)


def full_socket(keep):
    ours, theirs = socket.socketpair()
    keep.callback(ours.close)
    keep.callback(theirs.close)
    fill(theirs.fileno())
    return theirs.fileno()


def full_pipe(keep):
    read, write = os.pipe()
    keep.callback(os.close, read)
    keep.callback(os.close, write)
    fill(write)
    return write


def unread_terminal(keep):
    master, slave = pty.openpty()
    keep.callback(os.close, master)
    keep.callback(os.close, slave)
    return slave


def empty_pipe(keep):
    """One whose writer says nothing, ever."""
    read, write = os.pipe()
    keep.callback(os.close, read)
    keep.callback(os.close, write)
    return read


def make(kind, place, keep, tmp_path):
    """A descriptor of that kind, or None: closed."""
    if kind == "closed":
        return None
    if kind == "socket":
        return full_socket(keep)
    if kind in ("full pipe", "another user's pipe"):
        fd = empty_pipe(keep) if place == "stdin" else full_pipe(keep)
        if kind != "full pipe":
            os.fchown(fd, 65534, 65534)
            os.fchmod(fd, 0)
        return fd
    if kind == "terminal":
        return unread_terminal(keep)
    if kind == "FIFO without reader":
        os.mkfifo(tmp_path / "fifo")
        reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        fd = os.open(tmp_path / "fifo", os.O_RDWR if place == "stdin" else os.O_WRONLY)
        os.close(reader)
    else:
        path = keep.enter_context(full_disk(tmp_path / "small"))
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    keep.callback(os.close, fd)
    return fd


class Answers:
    """How long each answer took; the slowest ones."""

    def __init__(self, process, sock):
        self.process = process
        self.api = Api(sock, timeout=20)
        self.took = {}

    def time(self, name, fn):
        start = time.monotonic()
        result = fn()
        self.took[name] = time.monotonic() - start
        return result

    def late(self):
        limit = WITHIN * (3 if is_emulated() else 1)  # seconds of a processor that is emulated in software
        return {name: f"{took:.2f} s" for name, took in self.took.items() if not within(took, limit)}


def start(place, fd, tmp_path):
    """The monitor with /dev/null everywhere but in that place."""
    null = os.open(os.devnull, os.O_RDWR)
    at = {"stdin": 0, "stdout": 1, "stderr": 2}.get(place)
    args = [BINARY, "--api-sock", str(tmp_path / "sock")]
    if place in ("log", "metrics"):
        # By the name that leads to it, as a client would give it; a socket has none that can be opened.
        path = str(tmp_path / "fifo") if (tmp_path / "fifo").exists() else f"/proc/self/fd/{fd}"
        args += [f"--{place}-path", path]

    def standard_descriptors():
        for number in range(3):
            os.dup2(null, number)
        if at is not None and fd is None:
            os.close(at)
        elif at is not None:
            os.dup2(fd, at)

    process = subprocess.Popen(args, preexec_fn=standard_descriptors, pass_fds=[] if fd is None else [fd])
    os.close(null)
    return process


def wait_for_socket(process, path):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as s:
            s.connect(str(path))
            return
        time.sleep(0.01)
    raise AssertionError(f"the monitor does not listen, exit status {process.poll()}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_nobody_outside_makes_the_monitor_wait(place, kind, tmp_path):
    if place in ("log", "metrics") and kind in ("socket", "closed", "another user's pipe"):
        pytest.skip("is a name, which such a thing has not")
    with contextlib.ExitStack() as keep:
        process = start(place, make(kind, place, keep, tmp_path), tmp_path)
        keep.callback(process.wait)
        keep.callback(process.kill)
        wait_for_socket(process, tmp_path / "sock")
        answers = Answers(process, str(tmp_path / "sock"))
        api = answers.api
        api.put("/boot-source", {"kernel_image_path": FLOOD})
        answers.time("start", lambda: api.put("/actions", {"action_type": "InstanceStart"}))
        time.sleep(0.5)  # of printing
        for i in range(40):  # lines for the log, long ones
            answers.time(f"bad request {i}", lambda: api.raw("PUT", "/drives/x", {"y" * 3000: 1}))
        for i in range(5):
            answers.time(f"flush {i}", lambda: api.raw("PUT", "/actions", {"action_type": "FlushMetrics"}))
            answers.time(f"GET {i}", lambda: api.get("/"))
        answers.time("pause", api.pause)
        # In memory: how long a disk takes to have it is not what this is about.
        files = pathlib.Path(keep.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        answers.time("snapshot", lambda: api.snapshot(files / "state", files / "mem"))
        answers.time("resume", api.resume)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        answers.time("SIGTERM", lambda: process.wait(20))
        assert process.returncode == -signal.SIGTERM
        assert not answers.late()


def test_a_kick_needs_no_room_among_the_queued_signals(tmp_path):
    """RLIMIT_SIGPENDING is of the user: others can use it up."""
    process = subprocess.Popen(["prlimit", "--sigpending=0", BINARY, "--api-sock", str(tmp_path / "sock")],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        wait_for_socket(process, tmp_path / "sock")
        answers = Answers(process, str(tmp_path / "sock"))
        answers.api.put("/boot-source", {"kernel_image_path": FLOOD.replace("guest_flood", "guest_halt")})
        answers.api.put("/actions", {"action_type": "InstanceStart"})
        time.sleep(0.5)
        answers.time("pause", answers.api.pause)
        answers.api.resume()
        process.send_signal(signal.SIGTERM)
        answers.time("SIGTERM", lambda: process.wait(20))
        assert process.returncode == -signal.SIGTERM
        assert not answers.late()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1, 2]])
def test_a_descriptor_that_is_closed_becomes_no_other_file(tmp_path, closed):
    """Neither the guest's console nor the log is written into the file that is opened next."""
    metrics = tmp_path / "metrics"

    def close():
        for fd in closed:
            os.close(fd)

    process = subprocess.Popen([BINARY, "--api-sock", str(tmp_path / "sock"), "--metrics-path", str(metrics)],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               preexec_fn=close)
    try:
        wait_for_socket(process, tmp_path / "sock")
        api = Api(str(tmp_path / "sock"))
        for fd in closed:
            assert os.readlink(f"/proc/{process.pid}/fd/{fd}") == "/dev/null"
        api.put("/boot-source", {"kernel_image_path": FLOOD})
        api.put("/actions", {"action_type": "InstanceStart"})
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM
        for line in metrics.read_text().splitlines():
            assert json.loads(line)["utc_timestamp_ms"] > 0
    finally:
        process.kill()
        process.wait()


class Shell:
    """A session with a terminal, in which a job can be put into the background and brought back, as a shell does it."""

    def __init__(self, *command):
        self.master, self.slave = pty.openpty()
        slave = self.slave
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.close(self.master)
            self.run_shell(slave, command)

    @staticmethod
    def run_shell(slave, command):
        """Starts the job in the background; a line "fg" on standard input brings it to the foreground."""
        job = os.fork()
        if job == 0:
            os.setpgid(0, 0)
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            for fd in (0, 1):
                os.dup2(slave, fd)
            os.execv(command[0], list(command))
        signal.signal(signal.SIGUSR1, lambda *_: os.tcsetpgrp(slave, job))
        signal.signal(signal.SIGUSR2, lambda *_: os.tcsetpgrp(slave, os.getpgrp()))
        while True:
            pid, status = os.waitpid(job, os.WUNTRACED)
            if os.WIFSTOPPED(status):
                os._exit(99)
            os._exit(os.waitstatus_to_exitcode(status) & 0xff)

    def foreground(self):
        os.kill(self.pid, signal.SIGUSR1)

    def background(self):
        os.kill(self.pid, signal.SIGUSR2)

    def unread(self):
        """Bytes that were typed and that nobody has taken."""
        return struct.unpack("i", fcntl.ioctl(self.slave, termios.FIONREAD, b"\0" * 4))[0]

    def close(self):
        os.close(self.master)
        os.close(self.slave)

    def is_raw(self):
        return not termios.tcgetattr(self.master)[3] & termios.ICANON


def settles(fn, timeout=5):
    deadline = time.monotonic() + timeout
    while not fn() and time.monotonic() < deadline:
        time.sleep(0.02)
    return fn()


def test_a_job_that_comes_to_the_foreground_has_the_terminal(tmp_path):
    """Started in the background it leaves the terminal alone; then it takes input; and it is never stopped."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"boot-source": {"kernel_image_path": FLOOD.replace("guest_flood", "guest_halt")},
                                  "drives": []}))
    shell = Shell(BINARY, "--api-sock", str(tmp_path / "sock"), "--config-file", str(config))
    try:
        assert settles(lambda: (tmp_path / "sock").exists())
        api = Api(str(tmp_path / "sock"))
        assert api.get("/")["state"] == "Running"
        os.write(shell.master, b"for the shell\n")
        time.sleep(0.5)
        assert not shell.is_raw() and shell.unread() > 0
        assert api.get("/")["state"] == "Running"
        shell.foreground()
        assert settles(shell.is_raw)
        os.write(shell.master, b"for the guest")
        assert settles(lambda: shell.unread() == 0)
        shell.background()
        time.sleep(0.5)
        api.pause()
        [job] = proc.children(shell.pid)
        os.kill(job, signal.SIGTERM)  # from the background: it must not be stopped when it puts the terminal right
        assert os.waitstatus_to_exitcode(os.waitpid(shell.pid, 0)[1]) == -signal.SIGTERM & 0xff
    finally:
        shell.close()
