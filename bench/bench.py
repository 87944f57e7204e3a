# SPDX-License-Identifier: Apache-2.0
"""
The benchmarks of bench/run. Each function prints its method, then its rows.

Two things that are compared are measured in turns, so that what else the machine does hits both; the figure is the median.
"""
import itertools
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools" / "pylib"))
from snapsafe import Monitor, proc  # noqa: E402
import reference  # noqa: E402

BINARY = os.environ.get("SNAPSAFE_BINARY", str(ROOT / "bin" / "snapsafe-vmm"))
DEVICES = str(ROOT / "build" / "bench" / "bench" / "bench_devices")
WAITS = str(ROOT / "build" / "bench" / "bench" / "bench_waits")
DISK_DIRECTORY = reference.DISK_DIRECTORY
DISK = str(ROOT / "build" / "bench" / "bench" / "bench_disk")
NETWORK = str(ROOT / "build" / "bench" / "bench" / "bench_network")
VSOCK = str(ROOT / "build" / "bench" / "bench" / "bench_vsock")
WORKING_SET = str(ROOT / "build" / "bench" / "bench" / "bench_working_set")
IMAGE = ROOT / "build" / "image"
COUNTER = "/sys/virtio-rng/virtio_rng.0/vm_gen_counter"


def method(text):
    print("\n" + re.sub(r"\s+", " ", text.strip()))


def row(name, values, unit, note=""):
    values = sorted(values)
    print(f"  {name:<44} median {statistics.median(values):>10.3f} {unit:<4} min {values[0]:>10.3f}  "
          f"max {values[-1]:>10.3f}  n={len(values)}  {note}", flush=True)


def calls(command):
    """System calls of a program and its threads, and what it prints: those of them that are not the device's."""
    with tempfile.NamedTemporaryFile("r") as table:
        result = subprocess.run(["strace", "-f", "-c", "-o", table.name, *command], check=True, stdout=subprocess.PIPE, text=True)
        return int(table.readlines()[-1].split()[3]) - int(result.stdout)


def calls_a_request(command, rest):
    few, many = (calls([*command, str(n), *map(str, rest)]) for n in (2000, 4000))
    return (many - few) / 2000


def config(mem_mib, directory, boot_args="panic=1 reboot=k console=ttyS0 quiet"):
    path = pathlib.Path(directory) / f"config-{mem_mib}.json"
    path.write_text(json.dumps({
        "boot-source": {
            "kernel_image_path": str(IMAGE / "vmlinuz-6.1-cloud"),
            "initrd_path": str(IMAGE / "initrd-6.1-cloud.img"),
            "boot_args": boot_args,
        },
        "drives": [{"drive_id": "rootfs", "path_on_host": str(IMAGE / "rootfs.ext4"), "is_root_device": True,
                    "is_read_only": True}],
        "machine-config": {"vcpu_count": 1, "mem_size_mib": mem_mib},
        "entropy": {},
    }))
    return str(path)


def cpu_ms(pid):
    fields = pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(fields[0]) / 1e6


def startup(_):
    method("""CPU time of the process from exec to the first answer of GET / on its socket (/proc/PID/schedstat of the main
              thread, the only one then), against all of /bin/true. Aim: below 8 ms on real hardware.""")
    ours, reference = [], []
    for _ in range(20):
        with Monitor(binary=BINARY) as m:
            m.wait_api()
            ours.append(cpu_ms(m.process.pid))
        true = subprocess.Popen(["/bin/true"])
        used = os.wait4(true.pid, 0)[2]
        true.returncode = 0
        reference.append((used.ru_utime + used.ru_stime) * 1000)
    row("snapsafe-vmm to API ready", ours, "ms")
    row("/bin/true from exec to its end", reference, "ms")


def memory(directory):
    method("""Private memory (smaps: Private_Clean + Private_Dirty) of the monitor's process without the mapping that is the
              guest's RAM, with a machine of 128 MiB running. Aim: below 5 MiB (5120 KiB).""")
    with Monitor("--config-file", config(128, directory), binary=BINARY) as m:
        m.console.login()
        row("running, after boot", [proc.own_kib(m.process.pid, 128)], "KiB")
        m.api.pause()
        m.api.snapshot(f"{directory}/state", f"{directory}/mem")
        row("after a snapshot", [proc.own_kib(m.process.pid, 128)], "KiB")
    with Monitor(binary=BINARY) as m:
        m.wait_api()
        row("API ready, no machine", [proc.own_kib(m.process.pid, 128)], "KiB")
        m.api.load(f"{directory}/state", f"{directory}/mem")
        row("restored and running", [proc.own_kib(m.process.pid, 128)], "KiB")


def make_snapshot(directory, mem_mib):
    state, mem = f"{directory}/state-{mem_mib}", f"{directory}/mem-{mem_mib}"
    with Monitor("--config-file", config(mem_mib, directory), binary=BINARY) as m:
        m.console.login()
        m.console.send(f"./test_mmap {COUNTER}\n")
        m.console.drain(1)
        m.api.pause()
        m.api.snapshot(state, mem)
    return state, mem


def restore(directory):
    method("""A new process gets PUT /snapshot/load with resume_vm; time to its answer (the vCPUs run by then), and to the line
              that test_mmap prints in the guest. The same guest with 128 MiB and with 4096 MiB, in turns. Aim: ratio of the
              medians below 1.3: nothing on that path grows with memory.""")
    pairs = {size: make_snapshot(directory, size) for size in (128, 4096)}
    answers = {size: [] for size in pairs}
    changes = {size: [] for size in pairs}
    for _ in range(15):
        for size, (state, mem) in pairs.items():
            with Monitor(binary=BINARY) as m:
                m.wait_api()
                start = time.monotonic()
                m.api.load(state, mem)
                answers[size].append((time.monotonic() - start) * 1000)
                m.console.expect("changed! Old: 0 New: 1")
                changes[size].append((time.monotonic() - start) * 1000)
    for size in pairs:
        row(f"load and resume, {size} MiB", answers[size], "ms")
    row("ratio 4096 / 128 MiB", [statistics.median(answers[4096]) / statistics.median(answers[128])], "")
    for size in pairs:
        row(f"until a program has seen the change, {size} MiB", changes[size], "ms")
    row("ratio 4096 / 128 MiB", [statistics.median(changes[4096]) / statistics.median(changes[128])], "")


def leak(directory):
    method("""The leak event at the resume edge (metric latencies_us.leak_event) of a Linux guest with our driver: one fill of 64
              bytes, one copy of 8, the VM Generation ID; against the whole PATCH /vm Resumed as a client sees it.""")
    metrics = pathlib.Path(directory) / "metrics"
    events, resumes = [], []
    with Monitor("--config-file", config(128, directory), "--metrics-path", str(metrics), binary=BINARY) as m:
        m.console.login()
        for _ in range(20):
            m.api.pause()
            m.api.snapshot(f"{directory}/leak-state", f"{directory}/leak-mem")
            start = time.monotonic()
            m.api.resume()
            resumes.append((time.monotonic() - start) * 1e6)
            m.api.put("/actions", {"action_type": "FlushMetrics"})
            events.append(json.loads(metrics.read_text().splitlines()[-1])["latencies_us"]["leak_event"])
            time.sleep(0.2)  # the guest's driver arms the next event
    row("leak event", events, "us")
    row("PATCH /vm Resumed", resumes, "us")


def program(command):
    """The rows that a measuring program of this directory prints."""
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        what, rest = line.rsplit(": ", 1)
        median, unit, least, most = rest.split()
        print(f"  {what:<44} median {median:>10} {unit:<4} min {least:>10}  max {most:>10}", flush=True)


def requests(_):
    method("""The leak event by number of requests: the device's own code and a driver-side ring without a machine
              (bench/devices.c), half of the requests fills of 64 bytes, half copies of 8; time of the device's leak handler,
              401 rounds. It is what the resume edge grows by when a guest arms more.""")
    program([DEVICES, "leak"])


def disk(directory):
    path = f"{DISK_DIRECTORY}/snapsafe-bench-disk-{os.getpid()}"
    try:
        method("""Requests of 4 KiB at random places of a file of 64 MiB, 32 in flight, from the doorbell to the used ring, by
                  each engine of the block device (bench/disk.c, no machine; the guest is a thread on a
                  processor of its own that sleeps until its interrupt); in turns with the way before there were engines (inline: each request where it is found, on the
                  loop, with the device's lock), and with pread(2) and pwrite(2) of the same by one thread. The file is in the
                  page cache, but for the last rows. Aim: 2 x inline.""")
        program([DISK, path])
        method("""System calls a request (strace -c of 4000 requests less those of 2000), without the guest's.""")
        for way, kind, depth in itertools.product(("inline", "Sync", "Async"), ("read", "write", "flush"), (1, 32)):
            row(f"{kind}, {way}, {depth} in flight", [calls_a_request([DISK, path, way, kind], [depth])], "calls")
        with tempfile.NamedTemporaryFile(dir="/dev/shm") as f:  # a file system that cannot tell what is in the page cache
            f.truncate(os.path.getsize(path))
            row("read, Sync, 32 in flight, of a tmpfs", [calls_a_request([DISK, f.name, "Sync", "read"], [32])], "calls")
        for kind in ("entropy", "serial"):
            row(kind, [calls_a_request([WAITS, path, kind], [])], "calls")
        method("""Who waits for whom (bench/waits.c, no machine): a register read of a device while a disk works without a break
                  at writes of 4 KiB and a flush after each; the console while 8 threads read its registers and print without a
                  break, as vCPUs would: accesses at which the thread slept (it waited for somebody: voluntary context switches of
                  getrusage(2)), the worst of these, and the worst of all, which has what the scheduler gave to others; beside
                  that the loop's thread takes the device's lock. The same with the device's lock around each access, as it once
                  was, and at an address where nobody is. Aims: 100 us at the 99th percentile; 5 ms for a lock at worst.""")
        program([WAITS, path])
    finally:
        pathlib.Path(path).unlink(missing_ok=True)


def entropy(directory):
    method("""The entropy queue against getrandom(2): requests of 64 KiB, 32 at a time, from the doorbell to the used ring, in
              turns with getrandom(2) of 64 KiB into the same memory (bench/devices.c, no machine), 201 rounds.
              Aim: 80 %.""")
    program([DEVICES, "entropy"])
    method("""The same as a guest sees it: dd from /dev/hwrng in blocks of 64 KiB. Linux asks its drivers for 64 bytes at a
              time, and keeps to that whatever the device could do.""")
    with Monitor("--config-file", config(128, directory), binary=BINARY) as m:
        m.console.login()
        m.console.quiet()
        m.console.run("head -c 65536 /dev/hwrng >/dev/null")
        values = []
        for _ in range(5):
            start = time.monotonic()
            m.console.run("dd if=/dev/hwrng of=/dev/null bs=64k count=16 iflag=fullblock 2>/dev/null")
            values.append(1 / (time.monotonic() - start))
        row("/dev/hwrng in a guest", values, "MiB/s")


def network(_):
    method("""The network device over a tap in a network namespace of its own (bench/network.c, no machine), in batches from the
              doorbell to the used ring, against a program that makes one system call a frame on another tap and copies each frame
              between the guest's memory and a buffer of its own; one thread, in turns, 301 rounds. Aim: 90 %.""")
    program([NETWORK])


def vsock(_):
    method("""The socket device (bench/vsock.c, no machine): blocks of 64 KiB from the guest until a server of the host's has read
              them, and from a client until the guest has them, in buffers of 4 KiB, against a pair of Unix sockets and a copy;
              one thread, in turns, 301 rounds.""")
    program([VSOCK])


def working_set(_):
    path = f"{DISK_DIRECTORY}/snapsafe-bench-memory-{os.getpid()}"
    try:
        method("""A thread touches 64 MiB of a memory of 512 MiB through the private mapping of its file, as a vCPU's faults do, from a
                  cold page cache: with its working set mapped ahead, from the same moment on, and plain; each in a process of its own, in
                  turns, 9 rounds (bench/working_set.c, no machine). A fault that blocks is one at which the thread sleeps. Aims: half of
                  the plain mapping's time, a tenth of its faults that block.""")
        program([WORKING_SET, path])
    finally:
        for name in (path, f"{path}.working-set"):
            pathlib.Path(name).unlink(missing_ok=True)


def create(directory):
    method("""PUT /snapshot/create against `cp --sparse=always` of the memory file that it makes, to a new file beside it, in
              turns. A machine of 1024 MiB, as booted and with 300 MiB of random bytes in a tmpfs. The monitor syncs both
              files and their directory and cp does not, but in memory (where the testbed has /tmp) that is free.
              Aim: not slower; and a mostly empty guest costs what it uses.""")
    with Monitor("--config-file", config(1024, directory), binary=BINARY) as m:
        m.console.login()
        m.console.quiet()
        for name in ("as booted", "with 300 MiB more"):
            if name != "as booted":
                m.console.run("mount -o remount,size=90% /dev/shm; head -c 314572800 /dev/urandom >/dev/shm/data", 300)
            m.api.pause()
            ours, theirs = [], []
            for _ in range(7):
                start = time.monotonic()
                m.api.snapshot(f"{directory}/state", f"{directory}/mem")
                ours.append((time.monotonic() - start) * 1000)
                start = time.monotonic()
                subprocess.run(["cp", "--sparse=always", f"{directory}/mem", f"{directory}/copy"], check=True)
                theirs.append((time.monotonic() - start) * 1000)
                os.unlink(f"{directory}/copy")
            m.api.resume()
            row(f"snapshot/create, {name}", ours, "ms", f"file {os.stat(directory + '/mem').st_blocks >> 11} MiB")
            row(f"cp --sparse=always, {name}", theirs, "ms")
            row("ratio", [statistics.median(ours) / statistics.median(theirs)], "")


def anonymous_kib(pid):
    """All memory that this process alone has, the guest's pages that it has written included."""
    return sum(int(line.split()[1]) for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
               if line.startswith("Private_Dirty:"))


def clones(directory):
    method("""Clones from one snapshot: processes are started one after the other, each loads the pair and resumes; all stay.
              Rate: clones by the time from the first exec to the last answer. Private memory: Private_Dirty of the whole
              process (the guest's changed pages included), 2 s after the last. The same guest with 128 MiB and with 4096 MiB:
              the aim is that nothing grows with memory.""")
    pairs = {size: make_snapshot(directory, size) for size in (128, 4096)}
    rates, own = {}, {}
    for size, (state, mem) in pairs.items():
        monitors = []
        start = time.monotonic()
        try:
            for _ in range(8):
                monitors.append(Monitor(binary=BINARY))
                monitors[-1].wait_api()
                monitors[-1].api.load(state, mem)
            rates[size] = len(monitors) / (time.monotonic() - start)
            time.sleep(2)
            own[size] = [anonymous_kib(m.process.pid) for m in monitors]
        finally:
            for m in monitors:
                m.stop()
    for size in pairs:
        row(f"clones a second, {size} MiB", [rates[size]], "1/s")
        row(f"private memory of a clone, {size} MiB", own[size], "KiB")
    row("ratio of rates, 128 / 4096 MiB", [rates[128] / rates[4096]], "")


def boot(directory):
    method("""From the exec of the monitor with a config file to the prompt of init=/bin/sh on the console: kernel, initrd,
              mounting the root file system. 128 MiB, 1 vCPU, Debian's stock kernel.""")
    values = []
    path = config(128, directory, "panic=1 reboot=k console=ttyS0 quiet init=/bin/sh")
    for _ in range(5):
        start = time.monotonic()
        with Monitor("--config-file", path, binary=BINARY) as m:
            m.console.expect(r"[#$] ", 120)
            values.append((time.monotonic() - start) * 1000)
    row("boot to init", values, "ms")


def against_reference(directory):
    if "SNAPSAFE_REFERENCE" in os.environ:
        reference.compare(method, row, program, directory, BINARY)
    else:
        method("reference: not measured; SNAPSAFE_REFERENCE names no other monitor's program")


def network_against_reference(directory):
    """Of `reference`, what needs least time."""
    if "SNAPSAFE_REFERENCE" in os.environ and reference.guests_run():
        reference.compare_network(method, row, directory, BINARY)
    else:
        method("reference-network: not measured; it needs SNAPSAFE_REFERENCE, and guests that run")


def block_against_reference(directory):
    if "SNAPSAFE_REFERENCE" in os.environ and reference.guests_run():
        reference.compare_block(method, row, directory, BINARY)
    else:
        method("reference-block: not measured; it needs SNAPSAFE_REFERENCE, and guests that run")


PARTS = ("reference-network", "reference-block")  # of `reference`


BENCHMARKS = {"startup": startup, "memory": memory, "restore": restore, "leak": leak, "requests": requests, "disk": disk,
              "entropy": entropy, "network": network, "vsock": vsock, "working-set": working_set, "create": create, "clones": clones, "boot": boot,
              "reference": against_reference, "reference-network": network_against_reference, "reference-block": block_against_reference}


def main():
    names = sys.argv[1:] or [name for name in BENCHMARKS if name not in PARTS]
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"bench: no benchmark is called {unknown[0]}; there are {', '.join(BENCHMARKS)}")
    for name in names:
        with tempfile.TemporaryDirectory(prefix="snapsafe-bench-") as directory:
            BENCHMARKS[name](directory)


main()
