# SPDX-License-Identifier: Apache-2.0
"""The guest of bench/run's reference rows: Debian's 6.1 on the small root file system, and a program of ours on a drive (vdb)."""
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
IMAGE = ROOT / "build" / "image"
PROGRAMS = ROOT / "build" / "bench" / "bench"
MEM_MIB = 256


class Program:
    """A static program as the content of a drive."""

    def __init__(self, name, directory):
        data = (PROGRAMS / name).read_bytes()
        self.size = len(data)
        self.name = name
        self.path = f"{directory}/{name}"
        pathlib.Path(self.path).write_bytes(data.ljust(-(-len(data) // 512) * 512, b"\0"))

    def install(self, m):
        """Its path in the guest, which has logged in."""
        m.console.run(f"head -c {self.size} /dev/vdb >/tmp/{self.name} && chmod 755 /tmp/{self.name}")
        return f"/tmp/{self.name}"


def configure(m, program, boot_args=""):
    """By requests that Firecracker takes, too. More of them may follow before the start."""
    m.wait_api()
    m.api.put("/machine-config", {"vcpu_count": 1, "mem_size_mib": MEM_MIB})
    m.api.put("/boot-source", {"kernel_image_path": str(IMAGE / "vmlinux-6.1-cloud"),
                               "initrd_path": str(IMAGE / "initrd-6.1-cloud.img"),
                               "boot_args": f"panic=1 reboot=k console=ttyS0 quiet {boot_args}".strip()})
    add_drive(m, "rootfs", IMAGE / "rootfs.ext4", is_root_device=True)
    add_drive(m, "program", program.path)


def add_drive(m, name, path, **more):
    m.api.put(f"/drives/{name}", {"drive_id": name, "path_on_host": str(path), "is_root_device": False, "is_read_only": True} | more)


def start(m):
    m.api.put("/actions", {"action_type": "InstanceStart"})
    m.console.login(timeout=300)
    m.console.quiet()
