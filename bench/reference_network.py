# SPDX-License-Identifier: Apache-2.0
"""
Rows of bench/run reference with a network: TCP between the host and the same guest on the same kind of tap, by either monitor,
and how often a guest gets its metadata. Both machines run in one outer machine, and are measured in turns. Their guests have
bench/tcp.c, from a drive.
"""
import contextlib
import re
import socket
import time

import reference_guest
from snapsafe import Monitor
from snapsafe.network import GUEST, HOST, PREFIX, Namespace

SERVICE = "169.254.169.254"
ROUNDS = 11
SECONDS = 2
REQUESTS = 300
BLOCK = 128 * 1024
MIB = 1 << 20


class Machine:
    """One that has logged in, with an address, in a network namespace of its own."""

    def __init__(self, binary, program):
        self.ns = Namespace()
        self.ns.add_tap("tap0")
        self.m = Monitor(binary=binary, preexec=self.ns.enter)
        reference_guest.configure(self.m, program, "ipv6.disable=1")
        self.m.api.put("/network-interfaces/eth0", {"iface_id": "eth0", "host_dev_name": "tap0", "guest_mac": "06:00:ac:10:00:02"})
        self.m.api.put("/mmds/config", {"network_interfaces": ["eth0"], "version": "V1"})
        self.m.api.put("/mmds", {"latest": {"meta-data": {"id": "i-0123456789"}}})
        reference_guest.start(self.m)
        self.program = program.install(self.m)
        self.m.console.run(f"ip addr add {GUEST}/{PREFIX} dev eth0; ip link set eth0 up; ip route add {SERVICE} dev eth0")

    @contextlib.contextmanager
    def connected(self, what, *more):
        """The guest's program, and the host's end of its connection."""
        with self.ns.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.bind((HOST, 0))
            listener.listen()
            command = " ".join([self.program, what, HOST, str(listener.getsockname()[1]), *map(str, more)])
            self.m.console.send(f"{command}; echo DO''NE $?\n")
            s, _ = listener.accept()
            with s:
                yield s
            self.m.console.expect("^DONE 0\n", 60)

    def to_host_mib_s(self):
        buffer, total = bytearray(MIB), 0
        with self.connected("send", SECONDS) as s:
            begin = time.monotonic()
            while n := s.recv_into(buffer):
                total += n
            return total / MIB / (time.monotonic() - begin)

    def to_guest_mib_s(self):
        """Until the guest has read all of it."""
        block, total = bytes(BLOCK), 0
        with self.connected("receive") as s:
            begin = time.monotonic()
            while time.monotonic() < begin + SECONDS:
                s.sendall(block)
                total += len(block)
            s.shutdown(socket.SHUT_WR)
            if s.recv(1) != b"!":
                raise AssertionError("the guest has not read to the end")
            return total / MIB / (time.monotonic() - begin)

    def metadata_s(self, connections):
        """Requests a second."""
        output = self.m.console.run(f"{self.program} get {SERVICE} 80 /latest/meta-data/id {REQUESTS} {connections}", 300)
        return REQUESTS / float(re.search(r"took ([0-9.]+)", output).group(1))

    def close(self):
        self.m.stop()
        self.ns.close()


def compare(method, against, directory, binaries):
    """against(name, unit, measure) prints the rows of both."""
    program = reference_guest.Program("bench_tcp", directory)
    with contextlib.ExitStack() as stack:
        machines = {}
        for which, binary in binaries.items():
            machines[which] = Machine(binary, program)
            stack.callback(machines[which].close)
        method(f"""A guest of {reference_guest.MEM_MIB} MiB and one processor with Debian's 6.1, and the host at the other end of a tap: one TCP
                   connection for {SECONDS} s, writes of {BLOCK >> 10} KiB (bench/tcp.c), until the reader has all of it; in turns.
                   Aim: 100 %.""")
        against("TCP, guest to host", "MiB/s", lambda which: machines[which].to_host_mib_s(), ROUNDS)
        against("TCP, host to guest", "MiB/s", lambda which: machines[which].to_guest_mib_s(), ROUNDS)
        method(f"""The same guests ask for one item of their metadata, {REQUESTS} times one after the other.""")
        against("metadata, a connection each", "1/s", lambda which: machines[which].metadata_s("new"), ROUNDS)
        against("metadata, one connection", "1/s", lambda which: machines[which].metadata_s("kept"), ROUNDS)
