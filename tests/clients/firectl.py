#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
What somebody types who uses firectl: the demonstration's kernel, initrd and drive, with and without network, vsock and
metadata; at its console, and at its keyboard. Usage: firectl.py PROGRAM, in a network namespace with a tap tap0.
"""
import fcntl
import os
import pathlib
import pty
import signal
import stat
import subprocess
import sys
import tempfile
import termios
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "pylib"))
from snapsafe.api import Api  # noqa: E402
from snapsafe.console import Console  # noqa: E402
from snapsafe.patience import Deadline, stretch  # noqa: E402

IMAGE = ROOT / "build" / "image"
# Its own default (noapic, nomodules) is for kernels without ACPI and initrd: Firecracker's guests do not come up by it either.
KERNEL_OPTS = "console=ttyS0 reboot=k panic=1 quiet i8042.noaux i8042.nomux i8042.dumbkbd"
MAC = "06:00:ac:10:00:02"
GUEST_RUNS = bool(os.environ.get("SNAPSAFE_GUEST"))


class Firectl:
    """The program at a terminal of its own, as its user has it."""

    def __init__(self, program, directory, *more):
        self.sock = directory / "api.sock"
        master, slave = pty.openpty()

        def own_terminal():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [program, f"--firecracker-binary={ROOT}/bin/snapsafe-vmm", f"--socket-path={self.sock}",
             f"--kernel={IMAGE}/vmlinux-6.1-cloud", f"--initrd-path={IMAGE}/initrd-6.1-cloud.img",
             f"--root-drive={IMAGE}/rootfs.ext4:ro", f"--kernel-opts={KERNEL_OPTS}", "--memory=128", "--log-level=Info",
             f"--firecracker-log={directory}/log", *more],
            stdin=slave, stdout=slave, stderr=slave, preexec_fn=own_terminal)
        os.close(slave)
        self.console = Console(master)
        self.api = Api(str(self.sock))

    def wait_running(self):
        deadline = Deadline(60)
        while True:
            try:
                if self.api.get("/")["state"] == "Running":
                    return
            except OSError:
                pass
            assert self.process.poll() is None and deadline.left() > 0, f"no machine runs: {self.console.drain(0.1)}"
            time.sleep(0.05)

    def end_monitor(self):
        """Whoever asks firectl, by SIGQUIT, comes before its handler now and then: then it is the monitor that gets the signal."""
        for children in pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            for pid in children.read_text().split():
                os.kill(int(pid), signal.SIGTERM)

    def wait(self):
        status = self.process.wait(stretch(60))
        text = ""
        try:
            text = self.console.drain(1)
        except AssertionError:  # what drain() reads up to the terminal's end
            text = self.console.log
        os.close(self.console.fd)
        return status, text


def log_of(directory):
    return (directory / "log").read_text()


def boots_the_demonstration(program, directory):
    """To the prompt; and when the guest reboots, firectl says that it was happy. (It asks for no entropy device.)"""
    firectl = Firectl(program, directory)
    firectl.wait_running()
    assert firectl.api.get("/")["app_name"] == "Firecracker"
    if GUEST_RUNS:
        firectl.console.login()
        firectl.console.quiet()
        assert firectl.console.run("uname -r").startswith("6.1.")
        firectl.console.run("ls /dev/vda")
        assert set(KERNEL_OPTS.split()) <= set(firectl.console.run("cat /proc/cmdline").split())  # the SDK shuffles them
        firectl.console.send("reboot -f\n")
    else:
        firectl.end_monitor()
    status, text = firectl.wait()
    if GUEST_RUNS:
        assert status == 0 and "Start machine was happy" in text, (status, text)
    else:
        assert status == 1 and "signal: terminated" in text, (status, text)
    assert "Successfully started microvm" in log_of(directory)
    assert not firectl.sock.exists()


def has_devices(program, directory):
    """All its options for devices; its Ctrl-C is SendCtrlAltDel, by which the guest reboots."""
    drive = directory / "drive"
    drive.write_bytes(b"a drive of firectl's".ljust(1 << 20, b"\0"))
    firectl = Firectl(program, directory, f"--add-drive={drive}:rw", f"--tap-device=tap0/{MAC}",
                      f"--vsock-device={directory}/vsock:3", "--metadata={\"colour\": \"green\"}", "--ncpus=2",
                      f"--metrics-fifo={directory}/metrics")
    firectl.wait_running()
    config = firectl.api.get("/vm/config")
    assert [nic["host_dev_name"] for nic in config["network-interfaces"]] == ["tap0"]
    assert config["vsock"]["guest_cid"] == 3 and config["machine-config"]["vcpu_count"] == 2
    assert stat.S_ISSOCK(os.stat(directory / "vsock").st_mode)
    deadline = Deadline(30)
    while firectl.api.get("/mmds") != {"colour": "green"}:
        assert deadline.left() > 0, firectl.api.get("/mmds")
        time.sleep(0.05)
    if GUEST_RUNS:
        firectl.console.login()
        firectl.console.quiet()
        assert firectl.console.run("cat /sys/class/net/eth0/address").strip() == MAC
        assert firectl.console.run("grep -c ^processor /proc/cpuinfo").strip() == "2"
        letters = firectl.console.run("for d in /dev/vd?; do head -c 20 $d | tr -d '\\0' | grep -a firectl; done; true")
        assert letters.strip() == "a drive of firectl's", letters
        # Its metadata come over the address that they always have.
        firectl.console.run("ip addr add 172.16.0.2/24 dev eth0; ip link set eth0 up; ip route add 169.254.169.254 dev eth0")
        assert firectl.console.run("wget -q -O - http://169.254.169.254/colour").strip() == "green"
        firectl.process.send_signal(signal.SIGTERM)
        firectl.console.expect("requesting clean shutdown")
    else:
        firectl.end_monitor()
    firectl.wait()
    assert not (directory / "vsock").exists()


def tells_why_a_machine_is_refused(program, directory):
    """A tap that is not there: the monitor's sentence, and no process is left."""
    firectl = Firectl(program, directory, f"--tap-device=nosuchtap/{MAC}")
    status, text = firectl.wait()
    assert status == 1, status
    assert 'there is no network interface "nosuchtap"' in text.replace("\\", ""), text


def main():
    program = sys.argv[1]
    for test in (boots_the_demonstration, has_devices, tells_why_a_machine_is_refused):
        with tempfile.TemporaryDirectory(prefix="snapsafe-firectl-") as directory:
            begin = time.monotonic()
            test(program, pathlib.Path(directory))
            print(f"{test.__name__}: passed, {time.monotonic() - begin:.1f} s", flush=True)


main()
