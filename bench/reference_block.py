# SPDX-License-Identifier: Apache-2.0
"""
Rows of bench/run reference with a disk: the same guest's requests of 4 KiB to the same file or disk, by either monitor. Both
machines run in one outer machine, and are measured in turns.
"""
import contextlib
import itertools
import os
import pathlib
import re

import reference_guest
from snapsafe import Monitor

ROUNDS = 7
SECONDS = 2
DEPTH = 32
CACHED_MIB = 64
DEVICES = {"Sync": "/dev/vdc", "Async": "/dev/vdd"}
BLOCK = 1 << 20


def fill(path, mib):
    """A new file whose blocks are all there."""
    with open(path, "wb") as f:
        for _ in range(mib):
            f.write(os.urandom(BLOCK))
        f.flush()
        os.fsync(f.fileno())


def size_mib(path):
    with open(path, "rb") as f:
        return f.seek(0, os.SEEK_END) // BLOCK


def forget(path):
    """Nothing of it is in the page cache."""
    with open(path, "rb+") as f:
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def bring(path, mib):
    with open(path, "rb") as f:
        for _ in range(mib):
            f.read(BLOCK)


class Machine:
    """One with the disk twice: by a thread (Sync), and by io_uring (Async)."""

    def __init__(self, binary, program, disk):
        self.m = Monitor(binary=binary)
        try:
            reference_guest.configure(self.m, program)
            for engine in DEVICES:
                reference_guest.add_drive(self.m, engine, disk, is_read_only=False, io_engine=engine)
            reference_guest.start(self.m)
            self.program = program.install(self.m)
        except BaseException:
            self.m.stop()
            raise

    def cpu_us(self):
        """Processor time of its threads but the vCPU's, which Firecracker calls the same."""
        total = 0
        for task in pathlib.Path(f"/proc/{self.m.process.pid}/task").iterdir():
            if not (task / "comm").read_text().startswith("fc_vcpu"):
                total += int((task / "schedstat").read_text().split()[0]) / 1000
        return total

    def run(self, engine, kind, span_mib):
        """Thousands of requests a second, and processor time that one takes outside of the guest."""
        cpu_us = self.cpu_us()
        output = self.m.console.run(f"{self.program} {DEVICES[engine]} {kind} {DEPTH} {span_mib} {SECONDS}", 60)
        rate = float(re.search(r"rate ([0-9.]+)", output).group(1))
        return rate / 1000, (self.cpu_us() - cpu_us) / (rate * SECONDS)


def compare(method, row, directory, binaries, disk):
    program = reference_guest.Program("bench_disk_guest", directory)
    mib = size_mib(disk)
    with contextlib.ExitStack() as stack:
        machines = {}
        for which, binary in binaries.items():
            machines[which] = Machine(binary, program, disk)
            stack.callback(machines[which].m.stop)

        def cached(which, engine, kind):
            bring(disk, CACHED_MIB)
            return machines[which].run(engine, kind, CACHED_MIB)

        def cold(which, engine, kind):
            forget(disk)
            return machines[which].run(engine, kind, mib)

        for where, measure in (("page cache", cached), ("disk", cold)):
            method(f"""A guest of {reference_guest.MEM_MIB} MiB and one processor with Debian's 6.1: requests of 4 KiB at random places
                       of {CACHED_MIB if where == "page cache" else mib} MiB of {disk}, {DEPTH} in flight, O_DIRECT in the guest
                       (bench/disk_guest.c), for {SECONDS} s, {"in" if where == "page cache" else "not in"} the host's page
                       cache; in turns; and the time of a processor that the monitor takes for each beside the guest's. Ratios are
                       to their Sync; aim: 150 %.""")
            for kind in ("read", "write"):
                compare_kind(row, f"{kind}s, {where}", lambda which, engine: measure(which, engine, kind))


def compare_kind(row, name, measure):
    ways = list(itertools.product(("ours", "theirs"), DEVICES))
    rates, times = ({way: [] for way in ways} for _ in range(2))
    for _ in range(ROUNDS):
        for way in ways:
            rate, cpu_us = measure(*way)
            rates[way].append(rate)
            times[way].append(cpu_us)
    for values, what, unit in ((rates, "", "k/s"), (times, ", processor", "us")):
        for which, engine in ways:
            row(f"{name}, {engine}, {which}{what}", values[which, engine], unit)
        for engine in DEVICES:
            ratios = [100 * a / b for a, b in zip(values["ours", engine], values["theirs", "Sync"])]
            row(f"{name}, {engine}, ratio{what}", ratios, "%")
