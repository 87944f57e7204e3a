# SPDX-License-Identifier: Apache-2.0
"""
One variant of the clone experiment, where KVM works. Started by bench/clones.

    clones_run.py VARIANT SNAPSHOTS CLONES FOLDER NAME

FOLDER has what bench/clones has built. The results go to $SNAPSAFE_SCRATCH/NAME.json.

A machine runs, is stopped at a random moment, and a snapshot is made. The machine itself, the original, and each clone
runs on until its rings are full; another snapshot brings them out.
"""
import json
import mmap
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools" / "pylib"))
from snapsafe import ConsoleTimeout, Monitor, is_emulated  # noqa: E402

BINARY = os.environ.get("SNAPSAFE_BINARY", str(ROOT / "bin" / "snapsafe-vmm"))
IMAGE = ROOT / "build" / "image"
DRIVER = "/sys/virtio-rng/virtio_rng.0"
BOOT_ARGS = "panic=1 reboot=k tsc=reliable console=ttyS0 quiet ipv6.disable=1 i8042.noaux i8042.nokbd i8042.nopnp"
FULL_TIMEOUT_S = 30  # a machine whose rings are not full by then is taken as it is
UPTIME_S = 25  # a young kernel reseeds every few seconds by itself: that would end windows before their time
PAGE_MAGIC = struct.pack("<II", 0x50534e53, 1)  # abi/snapsafe_page.h: magic and version, at 16

DEBIAN_61 = {"kernel_image_path": "vmlinuz-6.1-cloud", "initrd_path": "initrd-6.1-cloud.img"}
DEBIAN_612 = {"kernel_image_path": "vmlinuz-6.12-cloud", "initrd_path": "initrd-6.12-cloud.img"}
PATCHED = {"kernel_image_path": str(ROOT / "bin" / "vmlinux-6.1-snapsafe")}
PATCHED_612 = {"kernel_image_path": str(ROOT / "bin" / "vmlinux-6.12-snapsafe")}


class Variant:
    """Which kernel, and which of the two sources of news about a snapshot it listens to."""

    def __init__(self, boot, reseed, vmgenid):
        self.boot = {key: str(IMAGE / path) for key, path in boot.items()}  # an absolute path stays what it is
        self.reseed = reseed
        self.vmgenid = vmgenid

    def config(self, drive):
        return {
            "boot-source": {**self.boot, "boot_args": f"{BOOT_ARGS} virtio_rng.reseed={int(self.reseed)}"},
            "drives": [
                {"drive_id": "rootfs", "path_on_host": str(IMAGE / "rootfs.ext4"), "is_root_device": True,
                 "is_read_only": True},
                {"drive_id": "reader", "path_on_host": drive, "is_root_device": False, "is_read_only": True},
            ],
            "machine-config": {"vcpu_count": 2, "mem_size_mib": 128, "vm_generation_id": self.vmgenid},
            "entropy": {},
        }

    def check(self, console):
        """The guest is what its variant says: a protection that was not switched off would look like a good result."""
        reseed = console.run("cat /sys/module/virtio_rng/parameters/reseed").strip()
        if reseed != "NY"[self.reseed]:
            sys.exit(f"clones_run: the driver's reseed is {reseed}, wanted {'NY'[self.reseed]}")
        bound = console.run("ls -d /sys/bus/*/drivers/vmgenid/*:* 2>/dev/null | wc -l").strip() != "0"
        if bound != self.vmgenid:
            sys.exit(f"clones_run: VM Generation ID is {'on' if bound else 'off'} in the guest, and should not be")


VARIANTS = {
    "none": Variant(DEBIAN_61, reseed=False, vmgenid=False),
    "vmgenid": Variant(DEBIAN_612, reseed=False, vmgenid=True),
    "module": Variant(DEBIAN_61, reseed=True, vmgenid=False),
    "patched": Variant(PATCHED, reseed=True, vmgenid=True),
    "patched-6.12": Variant(PATCHED_612, reseed=True, vmgenid=True),
}


def generation_in(path):
    """The counter in a memory file: its page is found by its magic."""
    found = set()
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
        at = memory.find(PAGE_MAGIC)
        while at >= 0:
            if at % 4096 == 16:
                found.add(struct.unpack_from("<Q", memory, at - 16)[0])
            at = memory.find(PAGE_MAGIC, at + 1)
    if len(found) != 1:
        sys.exit(f"clones_run: {len(found)} counter pages in {path}, wanted one")
    return found.pop()


def run_until_full(machine, generation):
    """Until the readers have filled their rings with results of a later generation; False if that takes too long."""
    deadline = time.monotonic() + FULL_TIMEOUT_S
    try:
        while True:
            match = machine.console.expect(r"^(?:full (\d+)|clones_reader: .*)\n", deadline - time.monotonic())
            if match.group(1) is None:
                sys.exit(match.group().strip())
            if int(match.group(1)) > generation:
                return True
    except ConsoleTimeout:
        return False


class Experiment:
    """All machines of one variant, and the folder of their files."""

    def __init__(self, variant, clones, folder, work):
        self.variant = variant
        self.clones = clones
        self.drive = f"{folder}/reader.ext4"
        self.compare = f"{folder}/clones_compare"
        self.work = work
        self.monitors = set()
        self.kernel = None
        self.rounds = []

    def path(self, name):
        return f"{self.work}/{name}"

    def start(self, *args):
        machine = Monitor(*args, binary=BINARY)
        self.monitors.add(machine)
        return machine

    def stop(self, machine):
        self.monitors.remove(machine)
        machine.stop()

    def stop_all(self):
        for machine in list(self.monitors):
            if machine.process.poll() is not None:
                print(f"clones_run: a monitor has ended with status {machine.process.returncode}; it said:\n"
                      f"{machine.stderr()}", file=sys.stderr)
            self.stop(machine)

    def boot(self):
        with open(self.path("config.json"), "w") as file:
            json.dump(self.variant.config(self.drive), file)
        machine = self.start("--config-file", self.path("config.json"))
        machine.console.login()
        machine.console.quiet()
        self.variant.check(machine.console)
        self.kernel = machine.console.run("uname -r").strip()
        machine.console.run("mount -t ext4 -o ro /dev/vdb /mnt")
        machine.console.run(f"while [ $(cut -d. -f1 /proc/uptime) -lt {UPTIME_S} ]; do sleep 1; done", 120)
        machine.console.send(f"/mnt/clones_reader {DRIVER}/vm_gen_counter\n")
        machine.console.expect(r"^ready\n")
        return machine

    def load(self, name):
        machine = self.start()
        machine.wait_api()
        machine.api.load(self.path(f"state-{name}"), self.path(f"mem-{name}"))
        return machine

    def save(self, machine, name):
        """Pauses the machine and makes a snapshot of that name. Returns the memory file."""
        machine.api.pause()
        machine.api.snapshot(self.path(f"state-{name}"), self.path(f"mem-{name}"))
        return self.path(f"mem-{name}")

    def finish(self, machine, name, generation):
        """Runs it until its rings are full, saves and stops it. Returns the memory file, and whether they were full."""
        full = run_until_full(machine, generation)
        file = self.save(machine, name)
        self.stop(machine)
        return file, full

    def run_round(self, original, name, successor_name, hurried):
        """
        Everything about the snapshot `name`. The original has been running again since it was made. The last machine that
        is made of it, the successor, runs for a random time; then it is the original of the next snapshot, and returned.
        In a hurry that comes before what follows a restore has come to an end.

        An original is never paused for longer than a snapshot takes. The guest's scheduler would charge the pause to
        whichever readers ran then, and let them wait for as long: too few would be at work in all later machines.
        """
        generation = generation_in(self.path(f"mem-{name}"))
        done = [self.finish(original, "original", generation)]
        done += [self.finish(self.load(name), f"clone-{number}", generation) for number in range(self.clones)]
        successor = self.load(name)
        full = not hurried and run_until_full(successor, generation)
        time.sleep(10 ** random.uniform(-3.5, -1))
        done.append((self.save(successor, successor_name), full))
        successor.api.resume()
        self.rounds.append(self.evaluate(generation, self.path(f"mem-{name}"), done))
        for file in [self.path(f"mem-{name}"), *(file for file, _ in done[:-1])]:
            os.unlink(file)
        return successor

    def evaluate(self, generation, snapshot, done):
        text = subprocess.run([self.compare, str(generation), snapshot, *(file for file, _ in done)], check=True,
                              capture_output=True, text=True).stdout
        roles = ["original", *["clone"] * self.clones, "successor"]
        result = {"machines": [{"role": role, "full": full, "readers": []} for role, (_, full) in zip(roles, done)]}
        for line in text.splitlines():
            kind, *values = line.split("\t")
            if kind == "reader":
                machine, vcpu, source, *numbers = values
                numbers = dict(zip(("calls", "equal", "last_equal", "span_ns"), map(int, numbers)))
                result["machines"][int(machine)]["readers"].append({"vcpu": int(vcpu), "source": source, **numbers})
            else:
                result[kind] = int(values[0])
        return result

    def run(self, snapshots):
        original = self.boot()
        time.sleep(random.uniform(0.1, 0.5))
        self.save(original, 0)
        original.api.resume()
        for number in range(snapshots):
            start = time.monotonic()
            # Of the last successor's snapshot no clones are made, so there a hurry would show nothing.
            hurried = number % 4 == 2 and number + 1 < snapshots
            original = self.run_round(original, number, number + 1, hurried)
            last = self.rounds[-1]
            calls = sum(reader["calls"] for machine in last["machines"] for reader in machine["readers"])
            print(f"    snapshot {number + 1} of {snapshots}: {len(last['machines'])} machines, {calls:,} results, "
                  f"{last['violations']:,} violations, {time.monotonic() - start:.1f} s", flush=True)


def main():
    variant, folder, name = sys.argv[1], sys.argv[4], sys.argv[5]
    snapshots, clones = int(sys.argv[2]), int(sys.argv[3])
    with tempfile.TemporaryDirectory(prefix="snapsafe-clones-") as work:
        experiment = Experiment(VARIANTS[variant], clones, folder, work)
        try:
            experiment.run(snapshots)
        finally:
            experiment.stop_all()
    result = {"variant": variant, "kernel": experiment.kernel, "snapshots": snapshots, "clones": clones,
              "emulated": is_emulated(), "rounds": experiment.rounds}
    pathlib.Path(os.environ["SNAPSAFE_SCRATCH"], f"{name}.json").write_text(json.dumps(result))


main()
