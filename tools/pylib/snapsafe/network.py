# SPDX-License-Identifier: Apache-2.0
"""
Network namespaces with taps in them, for machines that all have the same addresses. With busybox alone. Who makes one must be
root, or of a user namespace that has /dev/net/tun.
"""
import contextlib
import ctypes
import os
import socket
import struct
import subprocess
import threading
import time

from .patience import Deadline, stretch

HOST, GUEST, PREFIX = "172.16.0.1", "172.16.0.2", 30
CLONE_NEWNET = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)


def check(result):
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def echo_request(ident, number):
    """A ping (RFC 792) with its checksum (RFC 1071)."""
    kind = 8 << 8
    return struct.pack(">4H", kind, 0xffff - (kind + ident + number) % 0xffff, ident, number)


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

    def socket(self, *kind):
        """A socket in that namespace."""
        made = []

        def make():  # a thread alone changes its namespace
            self.enter()
            made.append(socket.socket(*kind))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]

    def answers(self, timeout, address=GUEST):
        """
        How long it took until the guest answered a ping; they go out ten times a second, from this process: to start one
        for each takes longer on a busy machine than the guest does.
        """
        begin, deadline, ident, number = time.monotonic(), Deadline(timeout), os.getpid() & 0xffff, 0
        with self.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
            while deadline.left() > 0:
                number = (number + 1) & 0xffff
                with contextlib.suppress(OSError):  # its neighbour is not known yet
                    s.sendto(echo_request(ident, number), (address, 0))
                if self._hears_echo(s, ident, time.monotonic() + 0.1):
                    return time.monotonic() - begin
        raise AssertionError(f"{address} has not answered within {timeout} s")

    @staticmethod
    def _hears_echo(s, ident, end):
        while (left := end - time.monotonic()) > 0:
            s.settimeout(left)
            try:
                packet = s.recv(4096)
            except TimeoutError:
                return False
            icmp = packet[(packet[0] & 15) * 4:]
            if icmp[0] == 0 and struct.unpack(">H", icmp[4:6])[0] == ident:
                return True
        return False

    def close(self):
        self.holder.kill()
        self.holder.wait()
