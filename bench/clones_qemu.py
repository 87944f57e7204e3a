# SPDX-License-Identifier: Apache-2.0
"""
The machines of the clone experiment that are QEMU's, with its VM Generation ID. clones_snapsafe.py has the same for ours.

The guest's memory is a file that QEMU maps, so that file is the memory file of a snapshot. Whatever else the machine is
made of is saved and loaded as a migration. QEMU writes another ID into each machine that is loaded (guid=auto), and
leaves that of a machine that goes on as it is.

The generation counter, the experiment's clock, is a page of clones_reader's. It is counted up here, in that file, while
the machine is stopped: QEMU has no part in it, so an ID that came late would show.
"""
import ctypes
import fcntl
import itertools
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time

from clones_guest import UPTIME_S, count_up

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools" / "pylib"))
from snapsafe import Console  # noqa: E402
from snapsafe.patience import Deadline, stretch  # noqa: E402

IMAGE = ROOT / "build" / "image"
BOOT_ARGS = f"panic=-1 tsc=reliable console=ttyS0 quiet ipv6.disable=1 uptime_s={UPTIME_S}"
MEMORY_MIB = 128
SHARED_MEMORY = pathlib.Path("/dev/shm")
SHARED_MEMORY_LEAST = 6 << 30  # of 34 machines at 128 MiB, and room for others
PR_SET_PDEATHSIG = 1


def has_kvm():
    """As host_has_kvm in tools/lib.sh."""
    flags = re.search(r"^flags.* (vmx|svm)\b", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return bool(flags) and os.access("/dev/kvm", os.R_OK | os.W_OK)


class Qmp:
    """QEMU's control socket: one command after the other; events are passed over. OSError: it does not listen yet."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(stretch(60))
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.file = self.socket.makefile("rw")
        self.file.readline()  # who it is
        self.run("qmp_capabilities")

    def run(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline() or '{"error": "it has gone"}')
            if "error" in answer:
                raise AssertionError(f"QEMU refuses {command}: {answer['error']}")
            if "return" in answer:
                return answer["return"]

    def wait_migration(self):
        deadline = Deadline(60)
        while True:
            status = self.run("query-migrate").get("status")
            if status == "completed":
                return
            if status in ("failed", "cancelled") or deadline.left() <= 0:
                raise AssertionError(f"the migration has not come to its end: {status}")
            time.sleep(0.002)


class Machine:
    numbers = itertools.count()

    def __init__(self, work, guid, arguments):
        self.prefix = f"{work}/qemu-{next(self.numbers)}"
        self.memory = f"{self.prefix}.memory"
        self.log_file = tempfile.TemporaryFile("w+")
        master, slave = pty.openpty()
        parent = os.getpid()

        def own_terminal():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        # Without RDRAND, clones can differ by nothing but the ID and the time.
        command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                   "-accel", "kvm" if has_kvm() else "tcg,thread=multi", "-cpu", "max,la57=off,rdrand=off,rdseed=off",
                   "-machine", "q35,memory-backend=memory", "-smp", "2", "-m", str(MEMORY_MIB),
                   "-object", f"memory-backend-file,id=memory,share=on,mem-path={self.memory},size={MEMORY_MIB}M",
                   "-device", f"vmgenid,guid={guid}",
                   "-serial", "stdio", "-qmp", f"unix:{self.prefix}.qmp,server=on,wait=off", *arguments]
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=self.log_file, preexec_fn=own_terminal)
        os.close(slave)
        self.console = Console(master, None, self.stderr)
        self.qmp = None

    def stderr(self):
        self.log_file.seek(0)
        return self.log_file.read()

    def connect(self):
        """Once QEMU listens; memory that is not loaded and not saved by migrations is told apart from the rest here."""
        if self.qmp:
            return
        deadline = Deadline(60)
        while not self.qmp:
            try:
                self.qmp = Qmp(f"{self.prefix}.qmp")
            except OSError:
                if self.process.poll() is not None or deadline.left() <= 0:
                    raise AssertionError(f"QEMU does not start: {self.stderr()}") from None
                time.sleep(0.01)
        self.qmp.run("migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}])

    def load(self, snapshot, way=None):
        assert way is None, "QEMU's machines are restored in one way only"
        self.connect()
        with open(snapshot.memory, "rb") as source, open(self.memory, "r+b") as to:  # QEMU has mapped it: the same file
            shutil.copyfileobj(source, to, 1 << 20)
        self.qmp.run("migrate-incoming", uri=f"exec:cat {snapshot.state}")
        self.qmp.wait_migration()
        self.resume()

    def save(self, state, memory, hurried=False):
        self.connect()
        self.qmp.run("stop")
        self.qmp.run("migrate", uri=f"exec:cat >{state}")
        self.qmp.wait_migration()
        shutil.copyfile(self.memory, memory)

    def resume(self):
        count_up(self.memory)
        self.qmp.run("cont")

    def stop(self):
        self.process.kill()
        self.process.wait()
        if self.qmp:
            self.qmp.socket.close()
        os.close(self.console.fd)
        for suffix in ("memory", "qmp"):
            pathlib.Path(f"{self.prefix}.{suffix}").unlink(missing_ok=True)


class Variant:
    """Which kernel, whether it has a driver for the VM Generation ID, and the ID: auto is another one for each process."""

    def __init__(self, kernel, vmgenid, guid="auto"):
        self.kernel = str(kernel)
        self.vmgenid = vmgenid
        self.guid = guid

    @property
    def scratch(self):
        """The directory for temporary files. Those of machines that run are better not written to a disk."""
        if SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free >= SHARED_MEMORY_LEAST:
            return str(SHARED_MEMORY)
        return None

    def is_emulated(self):
        return not has_kvm()

    def new(self, directory, work):
        """A machine that boots; `directory` has what bench/clones has built."""
        return Machine(work, self.guid, ["-kernel", self.kernel, "-initrd", f"{directory}/guest.img", "-append", BOOT_ARGS])

    def empty(self, work):
        """A machine that waits for load()."""
        return Machine(work, self.guid, ["-S", "-incoming", "defer"])

    def start_readers(self, machine):
        """Once the guest is old enough. Returns its kernel."""
        match = machine.console.expect(r"^clones_init: Linux (\S+), VM Generation ID (on|off)\n", 120)
        if (match.group(2) == "on") != self.vmgenid:
            sys.exit(f"clones_run: VM Generation ID is {match.group(2)} in the guest, and should not be")
        machine.console.expect(r"^ready\n", 120)
        return match.group(1)


PATCHED = ROOT / "bin" / "vmlinux-6.1-snapsafe"
VARIANTS = {
    "qemu-none": Variant(IMAGE / "vmlinuz-6.1-cloud", vmgenid=False),
    "qemu-vmgenid": Variant(IMAGE / "vmlinuz-6.12-cloud", vmgenid=True),
    "qemu-patched": Variant(PATCHED, vmgenid=True),
    "qemu-patched-6.12": Variant(ROOT / "bin" / "vmlinux-6.12-snapsafe", vmgenid=True),
    "qemu-patched-7.3": Variant(ROOT / "bin" / "vmlinux-7.3-snapsafe", vmgenid=True),
    "qemu-same-id": Variant(PATCHED, vmgenid=True, guid="324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87"),
}
