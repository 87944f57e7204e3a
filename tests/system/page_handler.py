# SPDX-License-Identifier: Apache-2.0
"""
A page-fault handler as Firecracker documents them: it listens at a socket, gets an array of mappings and a userfaultfd in
one message, and copies pages of the memory file to where they are touched first. Knows nothing of this monitor.

As a program: page_handler.py SOCKET MEMORY LOG [--OPTION...]. In tests: class PageHandler.
"""
import array
import ctypes
import errno
import fcntl
import json
import mmap
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time

UFFDIO_UNREGISTER = 0x8010AA01
UFFDIO_COPY = 0xC028AA03
UFFDIO_ZEROPAGE = 0xC020AA04
EVENT_PAGEFAULT = 0x12
EVENT_REMOVE = 0x15
MESSAGE_SIZE = 32
PAGE = 4096


class PageHandler:
    """`with PageHandler(directory, memory, ...) as h`: h.path is the socket."""

    def __init__(self, directory, memory, *options, name="handler"):
        self.path = str(directory / f"{name}.sock")
        self.log_path = directory / f"{name}.log"
        self.log_path.write_text("")
        self.process = subprocess.Popen([sys.executable, __file__, self.path, str(memory), str(self.log_path), *options])
        deadline = time.monotonic() + 60
        while "listening" not in self.log_path.read_text():
            assert self.process.poll() is None and time.monotonic() < deadline, "the handler does not start"
            time.sleep(0.01)

    def events(self, kind):
        lines = [json.loads(line) for line in self.log_path.read_text().splitlines(True) if line.endswith("\n")]
        return [line[kind] for line in lines if kind in line]

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()

    def release(self):
        """Serves what --hold=OFFSET has kept back."""
        self.kill(signal.SIGUSR1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Server:
    def __init__(self, memory, log, options):
        self.log = log
        self.options = options
        self.file = open(memory, "rb")
        self.map = mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_COPY)
        self.source = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        self.removed = []
        self.served = 0
        self.held = self.limit("hold")
        signal.signal(signal.SIGUSR1, self.release)

    def release(self, *_):
        self.held = None

    def say(self, **what):
        self.log.write(json.dumps(what) + "\n")
        self.log.flush()

    def receive(self, connection):
        data, control, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(4))
        [(level, kind, payload)] = control
        assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        descriptors = array.array("i", payload)
        assert len(descriptors) == 1
        self.uffd = descriptors[0]
        self.mappings = json.loads(data)
        self.say(message=data.decode())
        assert sum(m["size"] for m in self.mappings) == os.fstat(self.file.fileno()).st_size

    def ioctl(self, request, *words):
        """What the kernel has put into the last word, or an OSError."""
        buffer = bytearray(struct.pack(f"={len(words)}Q", *words))
        fcntl.ioctl(self.uffd, request, buffer)
        return struct.unpack(f"={len(words)}q", buffer)[-1]

    def serve(self, address):
        """False: an event has to be read first."""
        [mapping] = [m for m in self.mappings if 0 <= address - m["base_host_virt_addr"] < m["size"]]
        size = mapping["page_size"]
        start = address // size * size
        self.say(fault=start - mapping["base_host_virt_addr"] + mapping["offset"])
        offset = mapping["offset"] + start - mapping["base_host_virt_addr"]
        try:
            if any(first <= start < last for first, last in self.removed):
                self.ioctl(UFFDIO_ZEROPAGE, start, size, 0, 0)
            else:
                self.ioctl(UFFDIO_COPY, start, self.source + offset, size, 0, 0)
        except OSError as e:
            if e.errno == errno.EAGAIN:
                return False
            if e.errno != errno.EEXIST:
                raise
        self.served += 1
        return True

    def serve_ahead(self, address, length):
        """What is missing in a row behind that page, to the next multiple of a length; nobody has asked for it yet."""
        [mapping] = [m for m in self.mappings if 0 <= address - m["base_host_virt_addr"] < m["size"]]
        offset = (address - mapping["base_host_virt_addr"]) // mapping["page_size"] * mapping["page_size"] + mapping["page_size"]
        end = min(-(-offset // length) * length, mapping["size"])
        if end == offset or self.removed:
            return
        try:
            self.ioctl(UFFDIO_COPY, mapping["base_host_virt_addr"] + offset, self.source + mapping["offset"] + offset, end - offset, 0, 0)
        except OSError as e:
            # Up to a page that is there, or not at all since there is an event to be read: both is well.
            if e.errno not in (errno.EAGAIN, errno.EEXIST):
                raise

    def read_events(self):
        found = []
        while True:
            try:
                message = os.read(self.uffd, MESSAGE_SIZE)
            except BlockingIOError:
                return found
            kind, first, second = struct.unpack("=B7xQQ8x", message)
            if kind == EVENT_REMOVE:
                self.removed.append((first, second))
                [mapping] = [m for m in self.mappings if 0 <= first - m["base_host_virt_addr"] < m["size"]]
                self.say(remove=[first - mapping["base_host_virt_addr"] + mapping["offset"], second - first])
            else:
                assert kind == EVENT_PAGEFAULT
                found.append(second)

    def limit(self, name):
        return next((int(o.split("=")[1]) for o in self.options if o.startswith(f"--{name}=")), None)

    def offset(self, address):
        [mapping] = [m for m in self.mappings if 0 <= address - m["base_host_virt_addr"] < m["size"]]
        return address - mapping["base_host_virt_addr"] + mapping["offset"]

    def keep_back(self, waiting, kept):
        """Leaves in waiting what is served now."""
        for address in [a for a in waiting if self.held is not None and self.offset(a) // PAGE == self.held // PAGE]:
            self.say(held=self.offset(address))
            waiting.remove(address)
            kept.append(address)
        if self.held is None:
            waiting += kept
            kept.clear()

    def run(self):
        waiting, kept = [], []
        stop, silent, delay = self.limit("die-after"), self.limit("silent-after"), self.limit("delay-ms")
        ahead = self.limit("ahead-kib")
        while True:
            # Who gives pages back has its event read a moment before the kernel takes copies again (EAGAIN): nothing tells of that.
            select.select([self.uffd], [], [], 0.05 if kept or waiting else None)
            waiting += self.read_events()
            self.keep_back(waiting, kept)
            while waiting:
                if stop is not None and self.served >= stop:
                    os._exit(0)
                if silent is not None and self.served >= silent:
                    signal.pause()
                if delay:
                    time.sleep(delay / 1000)
                if not self.serve(waiting[0]):
                    break
                address = waiting.pop(0)
                if ahead:
                    self.serve_ahead(address, ahead << 10)


def main(path, memory, log, *options):
    server = Server(memory, open(log, "a"), options)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()
    server.say(listening=True)
    connection, _ = listener.accept()
    if "--close-unread" in options:
        connection.close()
        signal.pause()
    if "--die-unread" in options:
        return
    server.receive(connection)
    if "--close-read" in options:
        connection.close()
    if "--garbage" in options:
        connection.send(b"\0garbage" * 100)
    server.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
