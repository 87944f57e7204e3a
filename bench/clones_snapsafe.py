# SPDX-License-Identifier: Apache-2.0
"""The machines of the clone experiment that are our monitor's. clones_qemu.py has the same for QEMU."""
import json
import os
import pathlib
import sys

from clones_guest import UPTIME_S

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools" / "pylib"))
from snapsafe import Monitor, is_emulated  # noqa: E402

BINARY = os.environ.get("SNAPSAFE_BINARY", str(ROOT / "bin" / "snapsafe-vmm"))
IMAGE = ROOT / "build" / "image"
MEMORY_MIB = 128
DRIVER = "/sys/virtio-rng/virtio_rng.0"
BOOT_ARGS = "panic=1 reboot=k tsc=reliable console=ttyS0 quiet ipv6.disable=1 i8042.noaux i8042.nokbd i8042.nopnp"

DEBIAN_61 = {"kernel_image_path": "vmlinuz-6.1-cloud", "initrd_path": "initrd-6.1-cloud.img"}
DEBIAN_612 = {"kernel_image_path": "vmlinuz-6.12-cloud", "initrd_path": "initrd-6.12-cloud.img"}
DEBIAN_73 = {"kernel_image_path": "vmlinuz-7.3-cloud", "initrd_path": "initrd-7.3-cloud.img"}
PATCHED = {"kernel_image_path": str(ROOT / "bin" / "vmlinux-6.1-snapsafe")}
PATCHED_612 = {"kernel_image_path": str(ROOT / "bin" / "vmlinux-6.12-snapsafe")}
PATCHED_73 = {"kernel_image_path": str(ROOT / "bin" / "vmlinux-7.3-snapsafe")}


class Machine(Monitor):
    way = None  # in which it was loaded; None: as ever, or not at all

    def load(self, snapshot, way=None):
        self.wait_api()
        if way is None:
            self.api.load(snapshot.state, snapshot.memory)
            return
        self.way = way()
        self.way.load(self, snapshot)

    def save(self, state, memory, hurried=False):
        self.api.pause()
        self.api.snapshot(state, memory)
        if self.way:
            self.way.check_done(self, hurried)

    def resume(self):
        self.api.resume()

    def stop(self, timeout=20):
        try:
            return super().stop(timeout)
        finally:
            if self.way:
                self.way.close()


class Variant:
    """Which kernel, and which sources of news about a snapshot it listens to. VMClock is there always, for whoever knows it."""

    scratch = None  # the directory for temporary files: Python's choice

    def __init__(self, boot, reseed, vmgenid, vmclock=False, vmclock_module=False, args=""):
        self.boot = {key: str(IMAGE / path) for key, path in boot.items()}  # an absolute path stays what it is
        self.reseed = reseed
        self.vmgenid = vmgenid
        self.vmclock = vmclock
        self.vmclock_module = vmclock_module  # on the reader's drive: its driver is not built in
        self.args = f"{BOOT_ARGS} virtio_rng.reseed={int(reseed)} {args}"

    def is_emulated(self):
        return is_emulated()

    def config(self, drive):
        return {
            "boot-source": {**self.boot, "boot_args": self.args},
            "drives": [
                {"drive_id": "rootfs", "path_on_host": str(IMAGE / "rootfs.ext4"), "is_root_device": True,
                 "is_read_only": True},
                {"drive_id": "reader", "path_on_host": drive, "is_root_device": False, "is_read_only": True},
            ],
            "machine-config": {"vcpu_count": 2, "mem_size_mib": MEMORY_MIB, "vm_generation_id": self.vmgenid},
            "entropy": {},
        }

    def new(self, directory, work):
        """A machine that boots; `directory` has what bench/clones has built."""
        with open(f"{work}/config.json", "w") as file:
            json.dump(self.config(f"{directory}/reader.ext4"), file)
        return Machine("--config-file", f"{work}/config.json", binary=BINARY)

    def empty(self, work):
        """A machine that waits for load()."""
        return Machine(binary=BINARY)

    def start_readers(self, machine):
        """Once the guest is old enough. Returns its kernel."""
        console = machine.console
        console.login()
        console.quiet()
        console.run("mount -t ext4 -o ro /dev/vdb /mnt")
        if self.vmclock_module:
            console.run("insmod /mnt/ptp_vmclock.ko")
        console.run("insmod /mnt/clones_integers-$(uname -r).ko")
        self.check(console)
        kernel = console.run("uname -r").strip()
        console.run(f"while [ $(cut -d. -f1 /proc/uptime) -lt {UPTIME_S} ]; do sleep 1; done", 120)
        console.send(f"/mnt/clones_reader {DRIVER}/vm_gen_counter\n")
        console.expect(r"^ready\n")
        return kernel

    def check(self, console):
        """The guest is what its variant says: a protection that was not switched off would look like a good result."""
        reseed = console.run("cat /sys/module/virtio_rng/parameters/reseed").strip()
        if reseed != "NY"[self.reseed]:
            sys.exit(f"clones_run: the driver's reseed is {reseed}, wanted {'NY'[self.reseed]}")
        for name, driver, wanted in (("VM Generation ID", "vmgenid", self.vmgenid), ("VMClock", "vmclock", self.vmclock)):
            bound = console.run(f"ls -d /sys/bus/*/drivers/{driver}/*:* 2>/dev/null | wc -l").strip() != "0"
            if bound != wanted:
                sys.exit(f"clones_run: {name} is {'on' if bound else 'off'} in the guest, and should not be")


VARIANTS = {
    "none": Variant(DEBIAN_61, reseed=False, vmgenid=False),
    "vmgenid": Variant(DEBIAN_612, reseed=False, vmgenid=True),
    # noxsave: in the emulated outer machine the size of the XSAVE area is wrong, which 7.3 does not survive.
    "vmgenid-7.3": Variant(DEBIAN_73, reseed=False, vmgenid=True, args="noxsave"),
    "vmclock-7.3": Variant(DEBIAN_73, reseed=False, vmgenid=False, vmclock=True, vmclock_module=True, args="noxsave"),
    "module": Variant(DEBIAN_61, reseed=True, vmgenid=False),
    "patched": Variant(PATCHED, reseed=True, vmgenid=True),
    "patched-6.12": Variant(PATCHED_612, reseed=True, vmgenid=True),
    "patched-6.12-leaks": Variant(PATCHED_612, reseed=True, vmgenid=False),
    "patched-7.3": Variant(PATCHED_73, reseed=True, vmgenid=True, vmclock=True, args="noxsave"),
    "patched-7.3-leaks": Variant(PATCHED_73, reseed=True, vmgenid=False, vmclock=True, args="noxsave"),
    "patched-7.3-vmclock": Variant(PATCHED_73, reseed=False, vmgenid=False, vmclock=True, args="noxsave"),
}
