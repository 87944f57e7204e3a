# SPDX-License-Identifier: Apache-2.0
"""
Linux 6.12 with patches/linux-6.12: it runs, its tests pass, and neither getrandom(2) nor the vDSO, whose getrandom() does not
enter the kernel on its own, gives two clones the same. Skipped where `image/build-kernel 6.12` has not been run.
"""
import shutil
import subprocess

import pytest

from conftest import BOOT_ARGS, COUNTER, IMAGE, ROOT, Snapshot, machine_config, mapped_counter, wait_handled

KERNEL = ROOT / "bin" / "vmlinux-6.12-snapsafe"
TESTS = IMAGE / "modules-6.12-snapsafe"
PROGRAM = ROOT / "tests" / "system" / "programs" / "vdso_draw.c"
ARGS = BOOT_ARGS + " noxsave"  # as in test_patched_kernel.py
COMPLAINTS = "dmesg -s 1000000 | grep -B3 -A9 -E 'WARNING|BUG|Oops|Call Trace'"
DRAWS = 64  # of vdso_draw.c

pytestmark = pytest.mark.skipif(not KERNEL.exists(), reason="image/build-kernel 6.12 has not been run")


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    """A drive with the programs, and the series' own where they are."""
    directory = tmp_path_factory.mktemp("files")
    subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-I", ROOT / "bench",
                    "-o", directory / "vdso_draw", PROGRAM, ROOT / "bench" / "vdso.c"], check=True)
    for name in ("test_random_epoch.ko", "vm_gen_counter"):
        if (TESTS / name).exists():
            shutil.copy(TESTS / name, directory)
    image = tmp_path_factory.mktemp("drive") / "files.ext4"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", directory, image, "8M"], check=True)
    return image


def config(drive, patched, **sections):
    made = machine_config(kernel="6.12", vcpus=2, boot_args=ARGS, **sections)
    if patched:
        made["boot-source"] = {"kernel_image_path": str(KERNEL), "boot_args": ARGS}
    made["drives"].append({"drive_id": "files", "path_on_host": str(drive), "is_root_device": False, "is_read_only": True})
    return made


def boot_with_drive(boot, made):
    m = boot(made)
    m.console.run("mount -t ext4 -o ro /dev/vdb /mnt")
    return m


def draw_in_clones(m, restore, directory):
    """What vdso_draw got in two clones of that machine, from the first instruction on: each a dict of name and results."""
    m.console.run(f"/mnt/vdso_draw {COUNTER} >/tmp/out 2>&1 &")
    m.console.run("until grep -q ready /tmp/out; do usleep 10000; done", 30)
    snapshot = Snapshot(directory)
    m.api.pause()
    m.api.snapshot(snapshot.state, snapshot.mem)
    clones = []
    for _ in range(2):
        clone = restore(snapshot)
        clone.console.run("until grep -q done /tmp/out; do usleep 10000; done", 30)
        lines = [line.split() for line in clone.console.run("cat /tmp/out").splitlines()]
        found = {name: [value for what, *rest in lines if what == name for value in rest] for name in ("vdso", "syscall")}
        assert {name: len(values) for name, values in found.items()} == {"vdso": DRAWS, "syscall": DRAWS}, lines
        clones.append((clone, found))
    return clones


def test_its_clones_draw_different_bytes_by_both_ways(boot, restore, drive, tmp_path):
    m = boot_with_drive(boot, config(drive, patched=True))
    assert m.console.run("uname -r").startswith("6.12.") and m.console.run("uname -r").endswith("-snapsafe\n")
    clones = draw_in_clones(m, restore, tmp_path)
    values = [value for _, found in clones for results in found.values() for value in results]
    assert len(set(values)) == 4 * DRAWS
    for clone, _ in clones:
        wait_handled(clone, 1)
        assert mapped_counter(clone) == 1
        assert clone.console.run_status(COMPLAINTS)[1] == ""


def test_without_the_series_they_draw_the_same(boot, restore, drive, tmp_path):
    """So what the test above does can fail: the stock kernel, which nobody tells of the snapshot."""
    made = config(drive, patched=False)
    made["machine-config"]["vm_generation_id"] = False
    made["boot-source"]["boot_args"] += " virtio_rng.reseed=0"
    m = boot_with_drive(boot, made)
    # A young kernel reseeds every few seconds by itself, at another moment in each clone.
    m.console.run("until [ $(cut -d. -f1 /proc/uptime) -ge 40 ]; do sleep 1; done", 120)
    assert m.console.run("/mnt/vdso_draw") == "by vdso\n"
    (_, first), (_, second) = draw_in_clones(m, restore, tmp_path)
    assert set(first["vdso"]) & set(second["vdso"])
    assert set(first["syscall"]) & set(second["syscall"])


def test_the_vdso_is_off_as_long_as_a_device_tells(boot, drive):
    m = boot_with_drive(boot, config(drive, patched=True))
    draw = "/mnt/vdso_draw"
    devices = "/sys/bus/platform/drivers/vmgenid"
    name = m.console.run(f"basename {devices}/*:*").strip()
    reseed = "/sys/module/virtio_rng/parameters/reseed"
    assert m.console.run(draw) == "by kernel\n"
    m.console.run(f"echo N >{reseed}")
    assert m.console.run(draw) == "by kernel\n", "VM Generation ID is still there"
    m.console.run(f"echo {name} >{devices}/unbind")
    assert m.console.run(draw) == "by vdso\n"
    m.console.run(f"echo Y >{reseed}")
    assert m.console.run(draw) == "by kernel\n"
    m.console.run(f"echo N >{reseed}")
    assert m.console.run(draw) == "by vdso\n"
    m.console.run(f"echo {name} >{devices}/bind")
    assert m.console.run(draw) == "by kernel\n"
    assert m.console.run_status(COMPLAINTS)[1] == ""


def test_its_selftests_pass(boot, drive):
    m = boot_with_drive(boot, config(drive, patched=True))
    log = m.console.run("/mnt/vm_gen_counter", 60)
    assert "# PASSED:" in log and "not ok" not in log, log
    m.console.run("insmod /mnt/test_random_epoch.ko", 120)
    assert "checks passed" in m.console.run("dmesg -s 1000000 | grep test_random_epoch:")
    assert m.console.run_status(COMPLAINTS)[1] == ""
