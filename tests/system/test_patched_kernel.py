# SPDX-License-Identifier: Apache-2.0
"""Linux 6.1 with patches/linux-6.1, which image/build-kernel builds: that it runs, and that its own tests pass."""
import shutil
import subprocess

import pytest

from conftest import BOOT_ARGS, IMAGE, Snapshot, machine_config, mapped_counter, wait_handled

TESTS = IMAGE / "modules-6.1-snapsafe"
COMPLAINTS = "dmesg -s 1000000 | grep -E 'WARNING|BUG|Oops|Call Trace'"
# In the emulated outer machine the size that KVM reports for the XSAVE area does not follow XCR0; Linux warns, then does
# without. Said beforehand, there is nothing to warn of.
ARGS = BOOT_ARGS + " noxsave"
RESEEDED = "crng reseeded due to virtual machine fork"


def complaints(m):
    return m.console.run_status(COMPLAINTS)[1]


@pytest.mark.parametrize("vcpus", [1, 2])
def test_it_boots_and_a_clone_reseeds_without_a_complaint(snapshot_of, restore, vcpus):
    m = restore(snapshot_of(kernel="patched", vcpus=vcpus, boot_args=ARGS))
    wait_handled(m, 1)
    assert m.console.run("uname -r").endswith("-snapsafe\n")
    assert int(m.console.run("nproc")) == vcpus
    assert mapped_counter(m) == 1
    assert RESEEDED in m.console.run("dmesg -s 1000000")
    assert complaints(m) == ""


def test_bytes_after_the_restore_differ_between_clones_on_every_path(snapshot_of, restore):
    snapshot = snapshot_of(kernel="patched", vcpus=2, boot_args=ARGS)
    paths = ("head -c 16 /dev/urandom | od -An -tx1", "head -c 16 /dev/random | od -An -tx1",
             "head -c 16 /dev/hwrng | od -An -tx1", "cat /proc/sys/kernel/random/uuid")
    results = []
    for _ in range(3):
        m = restore(snapshot)  # nobody waits for the driver here: that is the point of the series
        results += [m.console.run(path).strip() for path in paths]
        m.stop()
    assert len(set(results)) == len(results), results


@pytest.fixture
def tests_drive(tmp_path):
    """The series' selftests, as a disk for a guest."""
    folder = tmp_path / "selftests"
    folder.mkdir()
    for name in ("test_random_epoch.ko", "vm_gen_counter"):
        shutil.copy(TESTS / name, folder)
    image = tmp_path / "selftests.ext4"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", folder, image, "4M"], check=True)
    return {"drive_id": "selftests", "path_on_host": str(image), "is_root_device": False, "is_read_only": True}


ROUND = ("/mnt/vm_gen_counter >>/tmp/log 2>&1 || echo 'vm_gen_counter failed' >>/tmp/log; "
         "insmod /mnt/test_random_epoch.ko && rmmod test_random_epoch || echo 'test_random_epoch failed' >>/tmp/log")


def check_log(m, rounds):
    m.console.run("until [ -e /tmp/done ]; do sleep 1; done", 300)
    log = m.console.run("cat /tmp/log")
    assert "failed" not in log and "not ok" not in log, log
    assert log.count("# PASSED:") == rounds, log
    dmesg = m.console.run("dmesg -s 1000000 | grep test_random_epoch:")
    assert dmesg.count("checks passed") == rounds, dmesg
    assert complaints(m) == ""


def test_its_selftests_pass_while_the_machine_is_copied(boot, restore, tests_drive, tmp_path):
    config = machine_config(kernel="patched", vcpus=2, boot_args=ARGS)
    config["drives"].append(tests_drive)
    m = boot(config)
    m.console.run("mount -o ro /dev/vdb /mnt")
    rounds = 6
    m.console.run(f"(for i in $(seq {rounds}); do {ROUND}; done; touch /tmp/done) >/dev/null 2>&1 &")
    clones = []
    for i in range(3):
        m.console.run("usleep 200000")
        m.api.pause()
        (tmp_path / str(i)).mkdir()
        snapshot = Snapshot(tmp_path / str(i))
        m.api.snapshot(snapshot.state, snapshot.mem)
        m.api.resume()
        clones.append(restore(snapshot))
    for i, machine in enumerate([m, *clones]):
        check_log(machine, rounds)
        wait_handled(machine, 1)
        assert mapped_counter(machine) == (i or 3), i
