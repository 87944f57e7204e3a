# SPDX-License-Identifier: Apache-2.0
"""
Rows of bench/run that compare the monitor with another one that takes the same command line and requests. SNAPSAFE_REFERENCE
is its program; Firecracker's release build is what the aims name.
"""
import contextlib
import os
import pathlib
import subprocess
import tempfile
import time

import reference_block
import reference_network
from snapsafe import Monitor, proc

ROOT = pathlib.Path(__file__).resolve().parents[1]
START = str(ROOT / "build" / "bench" / "bench" / "bench_start")
IMAGE = ROOT / "build" / "image"
KERNEL = IMAGE / "vmlinux-6.1-cloud"
SMALL_KERNEL = ROOT / "build" / "bench" / "tests" / "payload" / "guest_halt"
MEM_MIB = 128
LARGER_MIB = 256, 512, 1024
OTHER_ROUNDS = 11
DISK_DIRECTORY = os.environ.get("SNAPSAFE_BENCH_DISK", "/var/tmp")  # a disk's file system
DISK_MIB = 512
ROUNDS = 41
# A guest that says something all the time: what a clone says first is the moment from which it runs.
TICKS = "while :; do echo tick; usleep 1000; done\n"


def guests_run():
    return any(flag in pathlib.Path("/proc/cpuinfo").read_text().split() for flag in ("vmx", "svm"))


def started(binary, prefix=(), mem_mib=MEM_MIB, kernel=KERNEL):
    """A machine, by the requests that both take."""
    m = Monitor(binary=binary, prefix=prefix)
    m.wait_api()
    m.api.put("/machine-config", {"vcpu_count": 1, "mem_size_mib": mem_mib})
    initrd = {"initrd_path": str(IMAGE / "initrd-6.1-cloud.img")} if kernel == KERNEL else {}
    m.api.put("/boot-source", {"kernel_image_path": str(kernel), **initrd, "boot_args": "panic=1 reboot=k console=ttyS0 quiet"})
    m.api.put("/drives/rootfs", {"drive_id": "rootfs", "path_on_host": str(IMAGE / "rootfs.ext4"), "is_root_device": True,
                                 "is_read_only": True})
    m.api.put("/entropy", {})
    m.api.put("/actions", {"action_type": "InstanceStart"})
    if guests_run() and kernel == KERNEL:
        m.console.login(timeout=300)
        m.console.quiet()
        m.console.send(TICKS)
        m.console.expect("tick")
    m.api.pause()
    return m


def snapshot_ms(m, pair):
    for path in pair:
        pathlib.Path(path).unlink(missing_ok=True)
    start = time.monotonic()
    m.api.snapshot(*pair)
    return (time.monotonic() - start) * 1000


def first_output_ms(binary, pair):
    """From exec to what a restored guest says first."""
    start = time.monotonic()
    with Monitor(binary=binary) as m:
        m.wait_api(every=0.0005)
        m.api.load(*pair)
        m.console.expect("tick")
        return (time.monotonic() - start) * 1000


def against(row, name, unit, measure, binaries, rounds):
    """measure(which) of both, in turns."""
    values = {which: [] for which in binaries}
    for _ in range(rounds):
        for which in binaries:
            values[which].append(measure(which))
    row(name, values["ours"], unit)
    row(f"{name}, theirs", values["theirs"], unit)
    row(f"{name}, ratio", [100 * a / b for a, b in zip(values["ours"], values["theirs"])], "%")


def compare_snapshots(method, row, directory, binaries):
    """A snapshot takes what is in use."""
    method("""The same of larger machines with as much in use, and of one with a program of a few KiB for a kernel. Aim: 10 %.""")
    kinds = [(f"{mem_mib} MiB", mem_mib, KERNEL) for mem_mib in LARGER_MIB] + [(f"{MEM_MIB} MiB, hardly any in use", MEM_MIB, SMALL_KERNEL)]
    for name, mem_mib, kernel in kinds:
        machines, pair = {}, (f"{directory}/other-state", f"{directory}/other-memory")
        try:
            for which, path in binaries.items():
                machines[which] = started(path, mem_mib=mem_mib, kernel=kernel)
            against(row, f"snapshot/create, {name}", "ms", lambda which: snapshot_ms(machines[which], pair), binaries, OTHER_ROUNDS)
        finally:
            for m in machines.values():
                m.stop()
            for path in pair:
                pathlib.Path(path).unlink(missing_ok=True)


def compare(method, row, program, directory, binary):
    binaries = {"ours": binary, "theirs": os.environ["SNAPSAFE_REFERENCE"]}
    pairs = {which: (f"{directory}/{which}-state", f"{directory}/{which}-memory") for which in binaries}
    version = subprocess.run([binaries["theirs"], "--version"], check=True, capture_output=True, text=True).stdout.splitlines()[0]
    machines = {}
    try:
        for which, path in binaries.items():
            machines[which] = started(path)
        method(f"""Against {version}, {binaries["theirs"]}: a snapshot of a paused machine of 128 MiB, to new files in {directory};
                   in turns. Aim: 10 %. And its private memory (smaps) as it was before; aim: 50 %.""")
        for which, m in machines.items():
            row(f"private memory of the booted machine beyond the guest's, {which}", [proc.own_kib(m.process.pid, MEM_MIB)], "KiB")
        against(row, "snapshot/create", "ms", lambda which: snapshot_ms(machines[which], pairs[which]), binaries, ROUNDS)
    finally:
        for m in machines.values():
            m.stop()
    compare_snapshots(method, row, directory, binaries)
    method("""A process and its API, one that loads that snapshot and resumes it, and 8 clones one after the other, all of which stay
              (bench/start.c); in turns. Aims: 50 % of the times, of the processor's too; 30 % of the memory with the API alone, 50 %
              with the machine; 200 % of the clones a second. Of a process that runs alone, the pages of its program are
              private; of one among others only what it has changed.""")
    program([START, str(ROUNDS), binaries["ours"], *pairs["ours"], binaries["theirs"], *pairs["theirs"]])
    if not guests_run():
        print("  (guests run in the testbed only: what they say first, their network and their disk are not measured)", flush=True)
        return
    method("""Guests of these snapshots: exec to their first output, in turns. Aim: 50 %.""")
    against(row, "exec to the first output of the guest", "ms", lambda which: first_output_ms(binaries[which], pairs[which]),
            binaries, ROUNDS)
    compare_network(method, row, directory, binary)
    compare_block(method, row, directory, binary)


def compare_network(method, row, directory, binary):
    """These rows alone, too: bench/run reference-network."""
    binaries = {"ours": binary, "theirs": os.environ["SNAPSAFE_REFERENCE"]}
    reference_network.compare(method, lambda name, unit, measure, rounds: against(row, name, unit, measure, binaries, rounds),
                              directory, binaries)


def compare_block(method, row, directory, binary):
    """These, too: bench/run reference-block. On the testbed's disk, or a file where it has none."""
    binaries = {"ours": binary, "theirs": os.environ["SNAPSAFE_REFERENCE"]}
    with contextlib.ExitStack() as stack:
        disk = os.environ.get("SNAPSAFE_DISK")
        if not disk:
            disk = stack.enter_context(tempfile.NamedTemporaryFile(dir=DISK_DIRECTORY, prefix="snapsafe-bench-disk-")).name
            reference_block.fill(disk, DISK_MIB)
        reference_block.compare(method, row, directory, binaries, disk)
