# SPDX-License-Identifier: Apache-2.0
"""Runs bench/lib.c in a Debian guest, on the driver's own counter page. Started by bench/library, in the testbed."""
import json
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools" / "pylib"))
from snapsafe import Monitor  # noqa: E402

IMAGE = ROOT / "build" / "image"
COUNTER = "/sys/virtio-rng/virtio_rng.0/vm_gen_counter"

config = {
    "boot-source": {
        "kernel_image_path": str(IMAGE / "vmlinuz-6.1-cloud"),
        "initrd_path": str(IMAGE / "initrd-6.1-cloud.img"),
        "boot_args": "panic=1 reboot=k tsc=reliable console=ttyS0 quiet init=/usr/local/sbin/overlay-init",
    },
    "drives": [{"drive_id": "rootfs", "path_on_host": str(IMAGE / "rootfs-debian.ext4"), "is_root_device": True,
                "is_read_only": True}],
    "machine-config": {"vcpu_count": 1, "mem_size_mib": 160},
    "entropy": {},
}
with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
    json.dump(config, f)
    f.flush()
    with Monitor("--config-file", f.name, binary=str(ROOT / "bin" / "snapsafe-vmm")) as m:
        m.console.login()
        m.console.quiet()
        print(m.console.run(f"bench-lib {COUNTER}", 200), end="")
