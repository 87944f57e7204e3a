# SPDX-License-Identifier: Apache-2.0
"""The benchmarks of bench/run. Each function prints its method, then its rows."""
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
from snapsafe import Monitor  # noqa: E402

BINARY = str(ROOT / "bin" / "snapsafe-vmm")
IMAGE = ROOT / "build" / "image"
COUNTER = "/sys/virtio-rng/virtio_rng.0/vm_gen_counter"


def method(text):
    print("\n" + re.sub(r"\s+", " ", text.strip()))


def row(name, values, unit, note=""):
    values = sorted(values)
    print(f"  {name:<44} median {statistics.median(values):>10.3f} {unit:<4} min {values[0]:>10.3f}  "
          f"max {values[-1]:>10.3f}  n={len(values)}  {note}", flush=True)


def config(mem_mib, folder):
    path = pathlib.Path(folder) / f"config-{mem_mib}.json"
    path.write_text(json.dumps({
        "boot-source": {
            "kernel_image_path": str(IMAGE / "vmlinuz-6.1-cloud"),
            "initrd_path": str(IMAGE / "initrd-6.1-cloud.img"),
            "boot_args": "panic=1 reboot=k console=ttyS0 quiet",
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
              thread, the only one then), against /bin/true started the same way. Aim: below 8 ms on real hardware.""")
    ours, reference = [], []
    for _ in range(20):
        with Monitor(binary=BINARY) as m:
            m.wait_api()
            ours.append(cpu_ms(m.process.pid))
        before = os.times()
        subprocess.run(["/bin/true"], check=True)
        after = os.times()
        reference.append((after.children_user + after.children_system
                          - before.children_user - before.children_system) * 1000)
    row("snapsafe-vmm to API ready", ours, "ms")
    row("/bin/true (clock ticks of 10 ms)", reference, "ms")


def private_kib(pid, guest_mib):
    """Private memory of all mappings but the guest's own: those of its size, to the alignment of huge pages."""
    total, guest = 0, False
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if head:
            guest = int(head.group(2), 16) - int(head.group(1), 16) >= guest_mib << 20
        elif line.startswith(("Private_Clean:", "Private_Dirty:")) and not guest:
            total += int(line.split()[1])
    return total


def memory(folder):
    method("""Private memory (smaps: Private_Clean + Private_Dirty) of the monitor's process without the mapping that is the
              guest's RAM, with a machine of 128 MiB running. Aim: below 5 MiB (5120 KiB).""")
    with Monitor("--config-file", config(128, folder), binary=BINARY) as m:
        m.console.login()
        row("running, after boot", [private_kib(m.process.pid, 128)], "KiB")
        m.api.pause()
        m.api.snapshot(f"{folder}/state", f"{folder}/mem")
        row("after a snapshot", [private_kib(m.process.pid, 128)], "KiB")
    with Monitor(binary=BINARY) as m:
        m.wait_api()
        row("API ready, no machine", [private_kib(m.process.pid, 128)], "KiB")
        m.api.load(f"{folder}/state", f"{folder}/mem")
        row("restored and running", [private_kib(m.process.pid, 128)], "KiB")


def make_snapshot(folder, mem_mib):
    state, mem = f"{folder}/state-{mem_mib}", f"{folder}/mem-{mem_mib}"
    with Monitor("--config-file", config(mem_mib, folder), binary=BINARY) as m:
        m.console.login()
        m.console.send(f"./test_mmap {COUNTER}\n")
        m.console.drain(1)
        m.api.pause()
        m.api.snapshot(state, mem)
    return state, mem


def restore(folder):
    method("""A new process gets PUT /snapshot/load with resume_vm; time to its answer (the vCPUs run by then), and to the line
              that test_mmap prints in the guest. The same guest with 128 MiB and with 4096 MiB, in turns. Aim: ratio of the
              medians below 1.3: nothing on that path grows with memory.""")
    pairs = {size: make_snapshot(folder, size) for size in (128, 4096)}
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


def leak(folder):
    method("""The leak event at the resume edge (metric latencies_us.leak_event) of a Linux guest with our driver: one fill of 64
              bytes, one copy of 8, the VM Generation ID; against the whole PATCH /vm Resumed as a client sees it.""")
    metrics = pathlib.Path(folder) / "metrics"
    events, resumes = [], []
    with Monitor("--config-file", config(128, folder), "--metrics-path", str(metrics), binary=BINARY) as m:
        m.console.login()
        for _ in range(20):
            m.api.pause()
            m.api.snapshot(f"{folder}/leak-state", f"{folder}/leak-mem")
            start = time.monotonic()
            m.api.resume()
            resumes.append((time.monotonic() - start) * 1e6)
            m.api.put("/actions", {"action_type": "FlushMetrics"})
            events.append(json.loads(metrics.read_text().splitlines()[-1])["latencies_us"]["leak_event"])
            time.sleep(0.2)  # the guest's driver arms the next event
    row("leak event", events, "us")
    row("PATCH /vm Resumed", resumes, "us")


BENCHMARKS = {"startup": startup, "memory": memory, "restore": restore, "leak": leak}


def main():
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"bench: no benchmark is called {unknown[0]}; there are {', '.join(BENCHMARKS)}")
    for name in names:
        with tempfile.TemporaryDirectory(prefix="snapsafe-bench-") as folder:
            BENCHMARKS[name](folder)


main()
