# SPDX-License-Identifier: Apache-2.0
"""
Linux 6.12 and 7.3 with their series: they run, their tests pass, and neither getrandom(2) nor the vDSO, whose getrandom() does
not enter the kernel on its own, gives two clones the same. 7.3 knows VMClock, too, which is enough. A version for which
`image/build-kernel VERSION` has not been run is skipped.
"""
import shutil
import subprocess

import pytest

from conftest import BOOT_ARGS, COUNTER, IMAGE, ROOT, Snapshot, machine_config, mapped_counter, wait_handled

PROGRAMS = ROOT / "tests" / "system" / "programs"
ARGS = BOOT_ARGS + " noxsave"  # as in test_patched_kernel.py
COMPLAINTS = "dmesg -s 1000000 | grep -B3 -A9 -E 'WARNING|BUG|Oops|Call Trace'"
DRAWS = 64  # of vdso_draw.c
DRIVERS = "/sys/bus/platform/drivers"
KNOW_VMCLOCK = ("7.3",)


def vmlinux(version):
    return ROOT / "bin" / f"vmlinux-{version}-snapsafe"


@pytest.fixture(scope="module", params=["6.12", "7.3"])
def version(request):
    if not vmlinux(request.param).exists():
        pytest.skip(f"image/build-kernel {request.param} has not been run")
    return request.param


@pytest.fixture(scope="module")
def drive(tmp_path_factory, version):
    """A drive with the programs, and the series' own where they are."""
    directory = tmp_path_factory.mktemp("files")
    for name in ("vdso_draw", "vdso_count"):
        subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-I", ROOT / "bench",
                        "-o", directory / name, PROGRAMS / f"{name}.c", ROOT / "bench" / "vdso.c"], check=True)
    for name in ("test_random_epoch.ko", "vm_gen_counter"):
        path = IMAGE / f"modules-{version}-snapsafe" / name
        if path.exists():
            shutil.copy(path, directory)
    image = tmp_path_factory.mktemp("drive") / "files.ext4"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", directory, image, "8M"], check=True)
    return image


def config(version, drive, patched=True, devices=True):
    """With `devices` there are VM Generation ID and leak queues. VMClock there is always."""
    args = ARGS if devices else ARGS + " virtio_rng.reseed=0"
    made = machine_config(kernel=version, vcpus=2, boot_args=args)
    made["machine-config"]["vm_generation_id"] = devices
    if patched:
        made["boot-source"] = {"kernel_image_path": str(vmlinux(version)), "boot_args": args}
    made["drives"].append({"drive_id": "files", "path_on_host": str(drive), "is_root_device": False, "is_read_only": True})
    return made


def boot_with_drive(boot, made):
    m = boot(made)
    # No message of the kernel's may come in between what the programs print.
    m.console.run("dmesg -n 1; mount -t ext4 -o ro /dev/vdb /mnt")
    return m


def seen_by_vdso(version, drive):
    """The leak queues change its generation, and 7.3 has VMClock on one of its pages. The VM Generation ID it does not see."""
    made = config(version, drive)
    made["machine-config"]["vm_generation_id"] = False
    return made


def calls_of_vdso(m):
    """System calls in 1000 draws by the vDSO: none, but for new keys, of which a young kernel makes one a second."""
    words = m.console.run("/mnt/vdso_count", 60).split()
    assert words[0] == "calls" and words[2:] == ["of", "1000"], words
    return int(words[1])


def draw_in_clones(m, restore, directory):
    """What vdso_draw got in two clones of that machine, from the first instruction on: each a dict of name and results."""
    m.console.run(f"/mnt/vdso_draw {COUNTER} >/tmp/out 2>&1 &")
    m.console.run("until grep -q ready /tmp/out; do usleep 10000; done", 30)
    directory.mkdir(exist_ok=True)
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


def draw_the_same(m, restore, directory):
    """
    What the tests beside it look for can be there: clones that nobody tells of the snapshot. A young kernel reseeds every few seconds by
    itself, at another moment in each clone: where it does so just then there is nothing to be seen. So they may try again.
    """
    m.console.run("until [ $(cut -d. -f1 /proc/uptime) -ge 40 ]; do sleep 1; done", 120)
    assert m.console.run("/mnt/vdso_draw") == "by vdso\n"
    for number in range(4):
        clones = draw_in_clones(m, restore, directory / str(number))
        (_, first), (_, second) = clones
        if all(set(first[name]) & set(second[name]) for name in first):
            return
        for clone, _ in clones:
            clone.stop()
        m.api.resume()
        m.console.run("until grep -q done /tmp/out; do usleep 10000; done", 30)
    raise AssertionError("in none of four snapshots")


def draw_different(m, restore, directory):
    clones = draw_in_clones(m, restore, directory)
    values = [value for _, found in clones for results in found.values() for value in results]
    assert len(set(values)) == 4 * DRAWS
    return [clone for clone, _ in clones]


def device_of(m, driver):
    """The name of the device that the driver has, or an empty string."""
    return m.console.run(f"for d in {DRIVERS}/{driver}/*:*; do [ ! -e $d ] || basename $d; done").strip()


def test_its_clones_draw_different_bytes_by_both_ways(boot, restore, version, drive, tmp_path):
    m = boot_with_drive(boot, config(version, drive))
    release = m.console.run("uname -r")
    assert release.startswith(f"{version}.") and release.endswith("-snapsafe\n")
    for clone in draw_different(m, restore, tmp_path):
        wait_handled(clone, 1)
        assert mapped_counter(clone) == 1
        assert clone.console.run_status(COMPLAINTS)[1] == ""


def test_vmclock_alone_is_enough(boot, restore, version, drive, tmp_path):
    """It has no seed: the clones differ by what else a reseed takes. The vDSO sees it, and does not enter the kernel."""
    if version not in KNOW_VMCLOCK:
        pytest.skip(f"Linux {version} has no driver for VMClock")
    m = boot_with_drive(boot, config(version, drive, devices=False))
    assert device_of(m, "vmclock") and not device_of(m, "vmgenid")
    assert calls_of_vdso(m) < 50
    for clone in draw_different(m, restore, tmp_path):
        assert calls_of_vdso(clone) < 50
        assert clone.console.run_status(COMPLAINTS)[1] == ""


def test_with_no_device_at_all_they_draw_the_same(boot, restore, version, drive, tmp_path):
    m = boot_with_drive(boot, config(version, drive, devices=False))
    if version in KNOW_VMCLOCK:
        m.console.run(f"echo {device_of(m, 'vmclock')} >{DRIVERS}/vmclock/unbind")
    draw_the_same(m, restore, tmp_path)


def test_without_the_series_they_draw_the_same(boot, restore, version, drive, tmp_path):
    """The stock kernel, with whatever it makes of VMClock."""
    if not (IMAGE / f"vmlinux-{version}-cloud").exists():
        pytest.skip(f"image/fetch-kernel {version} has not been run")
    m = boot_with_drive(boot, config(version, drive, patched=False, devices=False))
    draw_the_same(m, restore, tmp_path)


def test_the_vdso_enters_the_kernel_no_more_if_it_sees_all_devices(boot, restore, version, drive, tmp_path):
    """Until the machine is copied, and as soon as the driver has armed the next event; and what the clones draw differs."""
    m = boot_with_drive(boot, seen_by_vdso(version, drive))
    assert calls_of_vdso(m) < 50
    for clone in draw_different(m, restore, tmp_path):
        wait_handled(clone, 1)
        assert mapped_counter(clone) == 1
        assert clone.console.run("/mnt/vdso_draw") == "by vdso\n"
        assert calls_of_vdso(clone) < 50
        assert clone.console.run_status(COMPLAINTS)[1] == ""


def test_with_a_device_that_it_does_not_see_the_vdso_enters_the_kernel_each_time(boot, version, drive):
    """What vdso_count counts."""
    assert calls_of_vdso(boot_with_drive(boot, config(version, drive))) == 1000


def test_clones_of_clones_differ_as_well(boot, restore, version, drive, tmp_path):
    """The generation has been changed before, and the driver has armed the other queue."""
    m = boot_with_drive(boot, seen_by_vdso(version, drive))
    for generation in range(1, 4):
        (tmp_path / str(generation)).mkdir()
        m = draw_different(m, restore, tmp_path / str(generation))[0]
        wait_handled(m, generation)
        assert calls_of_vdso(m) < 50


def test_the_vdso_is_off_as_long_as_a_device_tells(boot, version, drive):
    """One that the vDSO does not see."""
    m = boot_with_drive(boot, config(version, drive))
    reseed = "/sys/module/virtio_rng/parameters/reseed"
    leak_queues = (f"echo N >{reseed}", f"echo Y >{reseed}")

    def of_driver(driver):
        name = device_of(m, driver)
        return tuple(f"echo {name} >{DRIVERS}/{driver}/{what}" for what in ("unbind", "bind"))

    vmgenid = of_driver("vmgenid")
    switches = [leak_queues, vmgenid, *([of_driver("vmclock")] if version in KNOW_VMCLOCK else [])]
    on = set(switches)

    def switch(which, what):
        """After that, and with what else is on, it is as it should be."""
        (on.add if what else on.discard)(which)
        m.console.run(which[what])
        assert m.console.run("/mnt/vdso_draw") == f"by {'kernel' if vmgenid in on else 'vdso'}\n", on

    assert m.console.run("/mnt/vdso_draw") == "by kernel\n"
    for which in switches:
        switch(which, 0)
    for which in switches:
        switch(which, 1)
        switch(which, 0)
    for which in switches:
        switch(which, 1)
    for which in reversed(switches):
        switch(which, 0)
    assert m.console.run_status(COMPLAINTS)[1] == ""


def test_its_selftests_pass(boot, version, drive):
    m = boot_with_drive(boot, config(version, drive))
    log = m.console.run("/mnt/vm_gen_counter", 60)
    assert "# PASSED:" in log and "not ok" not in log, log
    m.console.run("insmod /mnt/test_random_epoch.ko", 120)
    assert "checks passed" in m.console.run("dmesg -s 1000000 | grep test_random_epoch:")
    assert m.console.run_status(COMPLAINTS)[1] == ""
