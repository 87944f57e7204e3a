# SPDX-License-Identifier: Apache-2.0
"""
Network namespaces with taps in them, for machines that all have the same addresses. With busybox alone. Who makes one must be
root, or of a user namespace that has /dev/net/tun.
"""
import ctypes
import os
import subprocess
import time

from .patience import Deadline, stretch

HOST, GUEST, PREFIX = "172.16.0.1", "172.16.0.2", 30
CLONE_NEWNET = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)


def check(result):
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Namespace:
    """A network namespace with taps. What runs in it is started with preexec=ns.enter, or is a busybox command."""

    def __init__(self):
        self.holder = subprocess.Popen(["busybox", "sleep", "100000"], preexec_fn=lambda: check(libc.unshare(CLONE_NEWNET)))
        self.path = f"/proc/{self.holder.pid}/ns/net"
        self.run("ip", "link", "set", "lo", "up")

    def enter(self):
        fd = os.open(self.path, os.O_RDONLY)
        check(libc.setns(fd, CLONE_NEWNET))
        os.close(fd)

    def start(self, *command, **kwargs):
        return subprocess.Popen(["busybox", *command], preexec_fn=self.enter, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True, **kwargs)

    def run(self, *command, timeout=60, ok=True):
        process = self.start(*command)
        output = process.communicate(timeout=stretch(timeout))[0]
        assert not ok or process.returncode == 0, f"{command}: {output}"
        return process.returncode, output

    def add_tap(self, name, address=HOST):
        self.run("tunctl", "-t", name)
        if address:
            self.run("ip", "addr", "add", f"{address}/{PREFIX}", "dev", name)
        self.run("ip", "link", "set", name, "up")

    def counters(self, tap):
        """Bytes and frames that the host has got from the guest on that tap, and bytes that the guest has been given."""
        with open(f"/proc/{self.holder.pid}/net/dev") as f:
            numbers = next(line for line in f if line.strip().startswith(f"{tap}:")).split(":")[1].split()
        return {"from_guest": int(numbers[0]), "frames_from_guest": int(numbers[1]), "to_guest": int(numbers[8])}

    def answers(self, timeout, address=GUEST):
        """How long it took until the guest answered a ping; they go out ten times a second."""
        begin, deadline = time.monotonic(), Deadline(timeout)
        while deadline.left() > 0:
            if self.run("ping", "-c", "1", "-W", "1", "-i", "0.1", address, ok=False)[0] == 0:
                return time.monotonic() - begin
        raise AssertionError(f"{address} has not answered within {timeout} s")

    def close(self):
        self.holder.kill()
        self.holder.wait()
