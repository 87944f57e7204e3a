# SPDX-License-Identifier: Apache-2.0
"""What bench/getrandom runs where KVM works: boots the machines in turns, and prints the table."""
import json
import pathlib
import statistics
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools" / "pylib"))
from snapsafe import Monitor  # noqa: E402

PROGRAM = ROOT / "build" / "bench" / "getrandom"
# About 6 ms a sample: many of them fall between two of the host's time slices, and what else it does spoils the others.
SAMPLES = 150
CALLS = {16: 5000, 4096: 150}
INTEGER = "`get_random_u32()`"
INTEGER_CALLS = 50000

# What is compared: the kernel, and whether there is a word for it to look at.
MACHINES = {
    "unpatched": ("unpatched", True),
    "patched, no device": ("snapsafe", False),
    "patched, both devices": ("snapsafe", True),
}


def config(kernel, devices):
    return {
        # noxsave: see tests/system/test_patched_kernel.py
        "boot-source": {"kernel_image_path": str(ROOT / "bin" / f"vmlinux-6.1-{kernel}"),
                        "boot_args": "panic=1 reboot=k tsc=reliable console=ttyS0 quiet noxsave"},
        "drives": [{"drive_id": "rootfs", "path_on_host": str(ROOT / "build" / "image" / "rootfs.ext4"),
                    "is_root_device": True, "is_read_only": True},
                   {"drive_id": "program", "path_on_host": str(PROGRAM), "is_root_device": False, "is_read_only": True},
                   {"drive_id": "module", "path_on_host": str(PROGRAM.parent / f"getrandom_u32-{kernel}.ko"),
                    "is_root_device": False, "is_read_only": True}],
        "machine-config": {"vcpu_count": 1, "mem_size_mib": 128, "vm_generation_id": devices},
        "entropy": {} if devices else None,
    }


def measure(path, results):
    """One boot: SAMPLES times each size, and as often the integers."""
    with Monitor("--config-file", str(path), binary=str(ROOT / "bin" / "snapsafe-vmm")) as m:
        m.console.login()
        m.console.quiet()
        m.console.run("cat /dev/vdb >/tmp/getrandom && chmod +x /tmp/getrandom")
        for size, calls in CALLS.items():
            lines = m.console.run(f"/tmp/getrandom {size} {calls} {SAMPLES}", 300).split()
            results[size] += [float(line) / 1000 for line in lines]
        m.console.run("cat /dev/vdc >/tmp/module.ko && "
                      f"insmod /tmp/module.ko calls={INTEGER_CALLS} samples={SAMPLES}", 300)
        tenths = m.console.run("cat /sys/module/getrandom_u32/parameters/tenths_ns").strip().split(",")
        results[INTEGER] += [float(tenth) / 10000 for tenth in tenths]


def main():
    rounds = int(sys.argv[1])
    results = {name: {what: [] for what in [*CALLS, INTEGER]} for name in MACHINES}
    with tempfile.TemporaryDirectory() as directory:
        for i in range(rounds):
            for name, (kernel, devices) in MACHINES.items():
                path = pathlib.Path(directory) / "config.json"
                path.write_text(json.dumps(config(kernel, devices)))
                measure(path, results[name])
            print(f"round {i + 1} of {rounds}", file=sys.stderr, flush=True)
    print(f"microseconds a call, least (median) of {rounds} boots with {SAMPLES} samples each\n")
    print("| bytes | " + " | ".join(MACHINES) + " |")
    print("|---" * (len(MACHINES) + 1) + "|")
    for what in [*CALLS, INTEGER]:
        digits = 3 if what == INTEGER else 2
        cells = [f"{min(results[name][what]):.{digits}f} ({statistics.median(results[name][what]):.{digits}f})"
                 for name in MACHINES]
        print(f"| {what} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
