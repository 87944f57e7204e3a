# SPDX-License-Identifier: Apache-2.0
"""Every kind of machine boots, and comes back from a snapshot."""
import time

import pytest

from conftest import BOOT_ARGS, COUNTER, IMAGE, Snapshot, long_form, machine_config, mapped_counter, wait_handled
from snapsafe.patience import Deadline


@pytest.mark.parametrize("kernel, vcpus, mem_mib", [
    ("6.12", 2, 4096),
    *long_form(("6.1", 1, 128), ("6.1", 1, 4096), ("6.1", 2, 128), ("6.1", 2, 4096), ("6.12", 1, 128), ("6.12", 1, 4096), ("6.12", 2, 128)),
])
def test_stock_kernel_boots_and_is_restored(snapshot_of, restore, kernel, vcpus, mem_mib):
    m = restore(snapshot_of(kernel=kernel, vcpus=vcpus, mem_mib=mem_mib))
    wait_handled(m, 1)
    assert m.console.run("uname -r").startswith(kernel)
    assert int(m.console.run("nproc")) == vcpus
    total_kib = int(m.console.run("awk '/^MemTotal/ { print $2 }' /proc/meminfo"))
    assert mem_mib * 1024 * 0.6 < total_kib <= mem_mib * 1024
    assert mapped_counter(m) == 1
    assert m.console.run("head -c 4096 /dev/hwrng | wc -c").strip() == "4096"


@pytest.mark.parametrize("there", [False, *long_form(True)])
def test_vm_generation_id_can_be_left_out_and_a_snapshot_keeps_that(snapshot_of, restore, there):
    m = restore(snapshot_of(**{"machine-config": {"vcpu_count": 1, "mem_size_mib": 128, "vm_generation_id": there}}))
    assert m.api.get("/machine-config").get("vm_generation_id", True) is there
    devices = m.console.run("ls /sys/bus/acpi/devices")
    assert ("VMGENCTR" in devices) is there, devices


@pytest.mark.parametrize("kernel", long_form("6.1", "6.12"))  # test_boot_moments.py boots such a one each time
def test_compressed_vmlinuz_boots(boot, kernel):
    config = machine_config(kernel)
    config["boot-source"]["kernel_image_path"] = str(IMAGE / f"vmlinuz-{kernel}-cloud")
    assert boot(config).console.run("uname -r").startswith(kernel)


def test_the_arguments_that_firectl_gives_by_default_boot(boot):
    m = boot(machine_config(boot_args="ro console=ttyS0 noapic reboot=k panic=1 pci=off nomodules"))
    assert m.console.run("grep -c noapic /proc/cmdline || true") == "0\n"
    assert "noapic" in m.stderr()  # the monitor says what it has left out
    assert int(m.console.run("head -c 16 /dev/hwrng | wc -c")) == 16


@pytest.mark.parametrize("vcpus", [8, *long_form(32)])
def test_many_processors_boot(boot, vcpus):
    config = machine_config(vcpus=vcpus, mem_mib=512)
    assert int(boot(config).console.run("nproc", 120)) == vcpus


def test_a_snapshot_of_a_clone_is_a_snapshot(snapshot_of, restore, tmp_path):
    first = restore(snapshot_of(kernel="6.1"))
    wait_handled(first, 1)
    first.console.run("echo remembered >/tmp/note")
    first.api.pause()
    snapshot = Snapshot(tmp_path)
    first.api.snapshot(snapshot.state, snapshot.mem)
    second = restore(snapshot)
    assert second.console.run("cat /tmp/note") == "remembered\n"
    assert mapped_counter(second) == 2


def test_a_clone_may_overwrite_the_files_that_it_runs_from(snapshot_of, restore, tmp_path):
    original = restore(snapshot_of(kernel="6.1"))
    snapshot = Snapshot(tmp_path)
    original.api.pause()
    original.api.snapshot(snapshot.state, snapshot.mem)
    clone, other = restore(snapshot), restore(snapshot)
    clone.console.run("echo mine >/tmp/note")
    clone.api.pause()
    clone.api.snapshot(snapshot.state, snapshot.mem)
    clone.api.resume()
    assert clone.console.run("cat /tmp/note") == "mine\n"
    assert other.console.run("ls /tmp/note 2>&1; head -c 1000000 /bin/busybox | md5sum | wc -l").endswith("1\n")
    assert restore(snapshot).console.run("cat /tmp/note") == "mine\n"


def test_guest_reset_ends_the_monitor_with_status_0(snapshot_of, restore):
    m = restore(snapshot_of(kernel="6.1"))
    m.console.send("reboot -f\n")
    assert m.wait() == 0


def test_triple_fault_is_no_reboot_and_ends_the_monitor_with_status_1(snapshot_of, restore):
    m = restore(snapshot_of(kernel="6.1"))
    m.console.send("echo triple >/sys/kernel/reboot/type; reboot -f\n")
    assert m.wait() == 1
    assert "vCPU 0: the guest has crashed: a triple fault" in m.stderr()


def test_kernel_panic_with_reboot_ends_the_monitor(snapshot_of, restore):
    m = restore(snapshot_of(kernel="6.1"))
    m.console.send("echo c >/proc/sysrq-trigger\n")
    assert m.wait() == 0


def test_terminal_settings_come_back_on_sigterm(monitor, tmp_path):
    import json
    import os
    import pty
    import signal
    import subprocess
    import termios
    from conftest import BINARY

    path = tmp_path / "config.json"
    path.write_text(json.dumps(machine_config()))
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    process = subprocess.Popen([BINARY, "--no-api", "--config-file", str(path)], stdin=slave, stdout=slave,
                               stderr=subprocess.DEVNULL, start_new_session=True,
                               preexec_fn=lambda: __import__("fcntl").ioctl(0, termios.TIOCSCTTY, 0))
    try:
        deadline = Deadline(20)
        while termios.tcgetattr(slave) == before and deadline.left() > 0:  # until the machine is there
            time.sleep(0.01)
        assert termios.tcgetattr(slave) != before
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM
        assert termios.tcgetattr(slave) == before
    finally:
        process.kill()
        os.close(master)
        os.close(slave)


def test_ctrl_alt_del_makes_the_guest_reboot(boot):
    args = "panic=1 reboot=k tsc=reliable console=ttyS0 quiet ipv6.disable=1 i8042.noaux i8042.nomux i8042.dumbkbd"
    m = boot(machine_config(boot_args=args))
    m.api.put("/actions", {"action_type": "SendCtrlAltDel"})
    assert m.wait() == 0


@pytest.mark.parametrize("engine", ["Async", *long_form("Sync")])
def test_block_device_writes_reach_the_file_and_survive_a_restore(boot, restore, tmp_path, engine):
    disk = tmp_path / "disk"
    disk.write_bytes(b"\0" * (1 << 20))
    config = machine_config()
    config["drives"].append({"drive_id": "data", "path_on_host": str(disk), "is_root_device": False,
                             "is_read_only": False, "cache_type": "Writeback", "io_engine": engine})
    m = boot(config)
    m.console.run("echo hello >/dev/vdb && sync")
    assert disk.read_bytes().startswith(b"hello\n")
    snapshot = Snapshot(tmp_path)
    m.api.pause()
    m.api.snapshot(snapshot.state, snapshot.mem)
    m.stop()
    clone = restore(snapshot)
    clone.console.run("echo again >/dev/vdb && sync")
    assert disk.read_bytes().startswith(b"again\n")


def test_patched_drive_shows_its_new_file(boot, tmp_path):
    for name, text in (("one", b"one"), ("two", b"two")):
        (tmp_path / name).write_bytes(text.ljust(512 * (8 if name == "one" else 16), b"\0"))
    config = machine_config()
    config["drives"].append({"drive_id": "data", "path_on_host": str(tmp_path / "one"), "is_root_device": False,
                             "is_read_only": True})
    m = boot(config)
    assert m.console.run("head -c 3 /dev/vdb") == "one"
    m.api.patch("/drives/data", {"drive_id": "data", "path_on_host": str(tmp_path / "two")})
    m.console.run("blockdev --flushbufs /dev/vdb")
    assert m.console.run("head -c 3 /dev/vdb") == "two"
    assert m.console.run("blockdev --getsz /dev/vdb").strip() == "16"
    assert m.api.get("/vm/config")["drives"][1]["path_on_host"] == str(tmp_path / "two")


@pytest.mark.guest
def test_partuuid_goes_onto_the_command_line(monitor, tmp_path):
    import json

    config = machine_config(boot_args=BOOT_ARGS.replace(" quiet", ""))
    config["drives"][0]["partuuid"] = "0eaa91a0-01"
    (tmp_path / "config.json").write_text(json.dumps(config))
    m = monitor("--config-file", str(tmp_path / "config.json"))
    m.console.expect(r"Command line: .* root=PARTUUID=0eaa91a0-01 ro .*virtio_mmio.device=4K@0xc0001000:5")


def test_counter_is_mapped_read_only(snapshot_of, restore):
    m = restore(snapshot_of(kernel="6.1"))
    assert m.console.run(f"stat -c %a {COUNTER}").strip() == "444"
