# SPDX-License-Identifier: Apache-2.0
"""
VMClock, as a guest sees it: one without an operating system (tests/payload/guest_vmclock.c), which looks at the page between
any two instructions; older Linux, which knows the ACPI tables; and Linux 7.3, whose own driver shows the page to programs. There
libsnapsafe lives by it without our driver, which leaves /dev/sysgenid out where it is there.
"""
import json
import os
import re
import time

import pytest

from conftest import BOOT_ARGS, COUNTER, IMAGE, ROOT, Snapshot, long_form, machine_config, start_tool

pytestmark = pytest.mark.guest

GUEST = ROOT / "build" / "unit-gcc" / "tests" / "payload" / "guest_vmclock"
PAGE = 0xDE000


@pytest.fixture
def looking(monitor, tmp_path):
    """A machine whose guest looks at the page without end."""
    assert GUEST.exists(), f"{GUEST} is not there: meson setup build/unit-gcc && ninja -C build/unit-gcc"
    config = tmp_path / "config.json"
    config.write_text(json.dumps({
        "boot-source": {"kernel_image_path": str(GUEST), "boot_args": "console=ttyS0"},
        "machine-config": {"vcpu_count": 1, "mem_size_mib": 32},
        "entropy": {},
        "metrics": {"metrics_path": str(tmp_path / "metrics")},
    }))
    m = monitor("--config-file", str(config))
    assert m.console.expect(r"^(ready|.*BAD)\n").group(1) == "ready"
    return m


def sees(m, generation):
    said = m.console.expect(r"^(generation .*)\n").group(1)
    assert said == (f"generation {generation} marker {generation} seq {2 * generation}, with the leak queue, interrupt")


def taken(m, directory):
    directory.mkdir()
    snapshot = Snapshot(directory)
    m.api.pause()
    m.api.snapshot(snapshot.state, snapshot.mem)
    m.api.resume()
    return snapshot


def test_original_and_clones_see_one_more_before_their_next_instruction(looking, restore, tmp_path):
    """The counters of the page and of the leak queue change between the same two instructions, and an interrupt follows."""
    snapshots = []
    for generation in range(1, 21):
        snapshots.append(taken(looking, tmp_path / str(generation)))
        sees(looking, generation)
        time.sleep(0.001 * generation)
    for generation in (1, 2, 20):  # of the snapshot before which there were generation - 1 events
        for _ in range(2):
            clone = restore(snapshots[generation - 1])
            sees(clone, generation)
            again = taken(clone, tmp_path / f"again{generation}{_}")
            sees(clone, generation + 1)
            sees(restore(again), generation + 1)
            clone.stop()


def test_a_pause_alone_is_no_event_and_a_signalled_leak_is(looking, tmp_path):
    for generation in range(1, 4):
        for _ in range(3):
            looking.api.pause()
            looking.api.resume()
        looking.api.put("/actions", {"action_type": "SignalEntropyLeak"})
        sees(looking, generation)
    looking.stop()
    lines = (tmp_path / "metrics").read_text().splitlines()
    assert sum(json.loads(line)["vmclock"]["update_count"] for line in lines) == 3


def test_no_snapshot_holds_an_event_that_its_guest_has_not_seen(looking, restore, tmp_path):
    """Two snapshots in one pause, and one of a clone that has not run."""
    looking.api.pause()
    for name in ("a", "b"):
        looking.api.snapshot(tmp_path / f"{name}.state", tmp_path / f"{name}.mem")
    pair = Snapshot(tmp_path)
    pair.state, pair.mem = tmp_path / "b.state", tmp_path / "b.mem"
    waiting = restore(pair, resume=False)
    pair.state, pair.mem = tmp_path / "c.state", tmp_path / "c.mem"
    waiting.api.snapshot(pair.state, pair.mem)
    for name in "abc":
        with open(tmp_path / f"{name}.mem", "rb") as f:
            f.seek(PAGE)
            page = f.read(112)
        assert page[:4] == b"VCLK" and page[12:24] == bytes(12) and page[104:] == bytes(8), name
    for m in (looking, waiting):
        m.api.resume()
        sees(m, 1)
    sees(restore(pair), 1)


@pytest.mark.parametrize("kernel", ["6.12", *long_form("6.1")])
def test_linux_finds_the_device_and_listens_to_its_interrupt(boot, kernel):
    m = boot(machine_config(kernel))
    assert m.console.run("cat /sys/bus/acpi/devices/AMZNC10C:00/path").strip() == r"\_SB_.VCLK"
    assert m.console.run("cat /sys/bus/acpi/devices/AMZNC10C:00/status").strip() == "15"
    listeners = re.findall(r"^ *\d+:.* (\d+)-edge +ACPI:Ged", m.console.run("cat /proc/interrupts"), re.M)
    assert sorted(listeners) == ["22", "23"]


NOBODY = "setpriv --reuid 65534 --regid 65534 --clear-groups"
# vm_generation_counter, disruption_marker and seq_count, by read(2), which waits until the page is whole.
WORDS = " && ".join(f"od -An -v -tu{size} -j{offset} -N{size} /dev/vmclock0" for offset, size in ((104, 8), (16, 8), (12, 4)))
# noxsave: as in test_patched_kernel.py. systemd gives up devices after 90 s, which is not much where a machine is emulated within another.
ARGS = BOOT_ARGS + " noxsave init=/usr/local/sbin/overlay-init systemd.default_device_timeout_sec=900"


@pytest.fixture
def debian(snapshot_of, restore):
    """Debian with its stock 7.3, libsnapsafe, our tools and our driver. It has been restored once."""
    if not (IMAGE / "initrd-7.3-cloud.img").exists():
        pytest.skip("image/build all has not been run")
    root = {"drive_id": "rootfs", "path_on_host": str(IMAGE / "rootfs-debian.ext4"), "is_root_device": True, "is_read_only": True}
    m = restore(snapshot_of(kernel="7.3", mem_mib=192, drives=[root], boot_args=ARGS))
    m.console.run("set +m; udevadm settle", 120)
    return m


def files(m, *names):
    """Those of them that are there."""
    return m.console.run(f"ls -d {' '.join(names)} 2>/dev/null || true").split()


def tells(m, generation):
    """What every program finds there."""
    status = json.loads(m.console.run(f"{NOBODY} snapsafe status --json"))
    assert (status["state"], status["path"], status["mapped"]) == ("active", "/dev/vmclock0", True), status
    assert (status["generation"], status["identity"]) == (generation, None), status
    assert m.console.run(WORDS).split() == [str(generation), str(generation), str(2 * generation)]


@pytest.mark.skipif("SNAPSAFE_LONG" not in os.environ, reason="the long form: Debian boots, a minute in the testbed")
def test_programs_live_by_the_page_on_linux_7_3(debian, restore, tmp_path):
    debian.console.run("rmmod virtio_rng", 60)  # whose counter they would take
    assert files(debian, "/sys/virtio-rng/virtio_rng.0", "/dev/sysgenid", "/dev/vmclock0") == ["/dev/vmclock0"]
    assert debian.console.run("stat -c '%a %U' /dev/vmclock0").split() == ["444", "root"]
    tells(debian, 1)
    start_tool(debian, f"{NOBODY} snapsafe watch --json --count 1 >/tmp/watch")
    snapshot = taken(debian, tmp_path / "first")
    for m in (debian, restore(snapshot), restore(snapshot)):
        m.console.run("wait $watch", 60)
        assert json.loads(m.console.run("cat /tmp/watch"))["generation"] == 2
        tells(m, 2)
    tells(restore(taken(m, tmp_path / "second")), 3)


@pytest.mark.parametrize("kernel", ["7.3", *long_form("6.1", "6.12")])
def test_our_driver_leaves_sysgenid_to_a_kernel_with_vmclock(boot, kernel):
    """Whether that has its driver loaded already or not. Whoever wants /dev/sysgenid, too, says so."""
    if not (IMAGE / f"initrd-{kernel}-cloud.img").exists():
        pytest.skip(f"image/mk-initrd {kernel} has not been run")
    m = boot(machine_config(kernel, boot_args=BOOT_ARGS + " noxsave"))
    by_default = ["/dev/sysgenid"] if kernel != "7.3" else []
    assert files(m, COUNTER) and files(m, "/dev/sysgenid") == by_default
    for parameter, there in ((1, ["/dev/sysgenid"]), (0, []), (-1, by_default)):
        m.console.run(f"rmmod virtio_rng && modprobe virtio-rng sysgenid={parameter}", 60)
        assert files(m, COUNTER) and files(m, "/dev/sysgenid") == there, parameter
