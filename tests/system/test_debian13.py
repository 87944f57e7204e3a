# SPDX-License-Identifier: Apache-2.0
"""
Debian 13 in a guest. Its C library, and so Python, draws random bytes by the vDSO, as Go does by itself: without entering the
kernel, which our patches are for. Where a kernel of ours has all devices that tell it of copies, the programs enter it each time, and
two clones have no value in common. Without the VM Generation ID, which the vDSO cannot see, they do not enter it, and the clones have
no value in common either. Where it has no device at all they do not, and the clones have the same values.

Needs image/mk-rootfs-debian 13, and for the programs image/mk-languages (Python's and Go's) and image/build-kernel VERSION.
"""
import pytest

from conftest import BOOT_ARGS, IMAGE, ROOT, Snapshot, long_form, machine_config, mapped_counter, wait_handled
from drawing_programs import DRAWS, drawn_by_two_clones, start

DEBIAN = IMAGE / "rootfs-debian13.ext4"
PROGRAMS_DRIVE = IMAGE / "languages.ext4"
ARGS = BOOT_ARGS + " noxsave"  # as in test_patched_kernel.py
# What is run, which of its sources the kernel or the vDSO serves each time.
PROGRAMS = {
    "libc": ("draw-libc", ("getrandom", "arc4random")),
    "python": ("python3 -B /srv/draw/draw.py", ("secrets", "SystemRandom", "uuid4")),
    "go": ("/srv/draw/draw-go", ("crypto/rand",)),
}
WARM = 20  # each program draws so often from each source before it is ready
TOLD = ["all", "seen", None]  # devices that tell the kernel of copies: all, those that the vDSO sees, none
FEW = 10  # a vDSO asks the kernel for a key now and then


def vmlinux(version):
    return ROOT / "bin" / f"vmlinux-{version}-snapsafe"


def need(*paths):
    for path in paths:
        if not path.exists():
            pytest.skip(f"{path.relative_to(ROOT)} has not been made")


def drive(name, path, root=False):
    return {"drive_id": name, "path_on_host": str(path), "is_root_device": root, "is_read_only": True}


@pytest.fixture(scope="module", params=["6.12", *long_form("7.3")])
def version(request):
    need(vmlinux(request.param), DEBIAN, PROGRAMS_DRIVE)
    return request.param


@pytest.fixture
def debian(snapshot_of, restore, version):
    """debian(told) -> a guest with Debian 13 in /mnt to chroot into, whose kernel is told of copies by these devices."""

    def start(told):
        args = ARGS if told else ARGS + " virtio_rng.reseed=0"
        m = restore(snapshot_of(**{
            "boot-source": {"kernel_image_path": str(vmlinux(version)), "boot_args": args},
            "machine-config": {"vcpu_count": 1, "mem_size_mib": 192, "vm_generation_id": told == "all"},
            "drives": [drive("rootfs", IMAGE / "rootfs.ext4", root=True), drive("debian", DEBIAN), drive("programs", PROGRAMS_DRIVE)]}))
        # No message of the kernel's may come in between what the programs print.
        m.console.run("set +m; dmesg -n 1; mount -t ext4 -o ro /dev/vdb /mnt && mount -t ext4 -o ro /dev/vdc /mnt/srv && "
                      "for d in dev proc sys tmp; do mount -o bind /$d /mnt/$d; done", 60)
        vmclock = "/sys/bus/platform/drivers/vmclock"
        if not told:  # nor by this one, where the kernel knows it
            m.console.run(f"for d in {vmclock}/*:*; do [ ! -e $d ] || basename $d >{vmclock}/unbind; done")
            # A young kernel reseeds every few seconds by itself, at another moment in each clone.
            m.console.run("until [ $(cut -d. -f1 /proc/uptime) -ge 40 ]; do sleep 1; done", 120)
        return m

    return start


def calls_of(m, command):
    """How often a program has called getrandom(2) when it is ready."""
    start(m, f"strace -I 1 --kill-on-exit -f -qq -e trace=getrandom -e signal=none -o /tmp/trace {command}")
    m.console.run("kill $draw; wait $draw || true", 60)
    return int(m.console.run("grep -c getrandom /tmp/trace || true"))


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("told", TOLD)
def test_what_two_clones_draw(debian, restore, tmp_path, told, program):
    command, sources = PROGRAMS[program]
    m = debian(told)
    start(m, command)
    first, second = drawn_by_two_clones(m, restore, tmp_path)
    for source in sources:
        assert len(first[source]) == len(second[source]) == DRAWS
        common = set(first[source]) & set(second[source])
        assert bool(common) != bool(told), (source, len(common))


@pytest.mark.parametrize("told", TOLD)
def test_who_makes_the_bytes(debian, told):
    """The kernel while it is told of copies in a way that the vDSO does not see, the vDSO otherwise."""
    m = debian(told)
    for command, sources in PROGRAMS.values():
        calls = calls_of(m, command)
        if told == "all":
            assert calls >= WARM * len(sources), command
        else:
            assert calls <= FEW, command


# Debian 13's own kernel is a 6.12 as well.
@pytest.mark.parametrize("kernel", long_form("6.12", "7.3"))
def test_it_boots_on_a_stock_kernel_and_notices_a_restore(boot, restore, tmp_path, kernel):
    """systemd, udev, our packages and our module in it; all of them do what they are there for in a clone."""
    need(DEBIAN, IMAGE / f"vmlinux-{kernel}-cloud")
    m = boot(machine_config(kernel=kernel, vcpus=2, mem_mib=256, boot_args=ARGS + " init=/usr/local/sbin/overlay-init",
                            drives=[drive("rootfs", DEBIAN, root=True)]))
    assert m.console.run("cat /etc/debian_version").startswith("13")
    assert m.console.run("uname -r").startswith(f"{kernel}.")
    assert m.console.run("systemctl is-system-running --wait || true", 240) in ("running\n", "degraded\n")
    assert m.console.run("systemctl --failed --no-legend --plain") == ""
    assert "virtio_rng " in m.console.run("cat /proc/modules")
    assert m.console.run("systemctl is-active snapsafe-restored.target || true") == "inactive\n"
    assert mapped_counter(m) == 0
    snapshot = Snapshot(tmp_path)
    m.api.pause()
    m.api.snapshot(snapshot.state, snapshot.mem)
    clone = restore(snapshot)
    wait_handled(clone, 1, 60)
    assert mapped_counter(clone) == 1
    clone.console.run("i=0; until systemctl -q is-active snapsafe-restored.target || [ $i = 300 ]; do i=$((i+1)); sleep 0.2; done", 240)
    assert clone.console.run("systemctl is-active snapsafe-restored.target || true") == "active\n"
    assert clone.console.run("systemctl --failed --no-legend --plain") == ""
