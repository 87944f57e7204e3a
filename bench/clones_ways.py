# SPDX-License-Identifier: Apache-2.0
"""
The ways in which the machines of the clone experiment come out of a snapshot (bench/clones --ways), each seen to be what its name
says: a way that was not taken would look like a good result.
"""
import fcntl
import os
import pathlib
import random
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools" / "pylib"))
from snapsafe.patience import Deadline  # noqa: E402

HANDLER = ROOT / "tests" / "system" / "page_handler.py"
HANDLER_OPTIONS = ["--ahead-kib=256"]  # page by page the snapshot that brings the rings out would take minutes
DIFFS = 2
PAUSE_S = (2, 5)
HUGE = 2 << 20
POOL_LIMIT = pathlib.Path("/proc/sys/vm/nr_hugepages")
POOL = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB")


class Snapshot:
    """A state file and the whole memory; beside them what it can be loaded from, too."""

    def __init__(self, state, memory):
        self.state = state
        self.memory = memory
        self.extra = []   # files that go with it
        self.layers = []  # memory files of a chain, the bottom first; the state is the topmost's

    def remove(self):
        for file in {self.state, self.memory, *self.extra}:
            os.unlink(file)


class Way:
    """A Full snapshot, whose memory file is mapped."""

    resume_vm = True
    huge_pages = "None"  # asked for each time: a snapshot of a machine of huge pages is restored onto such otherwise

    def prepare(self, machine, snapshot):
        """The machine is paused at the moment of the snapshot. Returns the one that is to be loaded: in some ways a later one."""
        return snapshot

    def backend(self, machine, snapshot):
        return {"backend_type": "File", "backend_path": snapshot.memory, "working_set": "Ignore"}

    def check_loaded(self, machine):
        pages = machine.api.get("/machine-config")["huge_pages"]
        if pages != self.huge_pages:
            sys.exit(f"clones_ways: the machine has huge_pages {pages}, wanted {self.huge_pages}")

    def check_done(self, machine, hurried):
        """Before the machine ends. In a hurry it has had no time for what goes on beside it."""

    def load(self, machine, snapshot):
        # There are two ways of knowing what belongs into a diff; each machine may be one that is to make some.
        machine.api.put("/snapshot/load", {
            "snapshot_path": snapshot.state, "mem_backend": self.backend(machine, snapshot), "resume_vm": self.resume_vm,
            "track_dirty_pages": random.choice([False, True]), "huge_pages": self.huge_pages})
        self.check_loaded(machine)

    def close(self):
        pass


class Diff(Way):
    """A chain: a Full snapshot and diffs, made while the machine ran on; each layer is mapped."""

    def prepare(self, machine, snapshot):
        api = machine.api
        last = Snapshot(f"{snapshot.state}.last", f"{snapshot.memory}.whole")
        last.layers = [snapshot.memory]
        last.extra = [snapshot.state]
        for number in range(DIFFS):
            state = last.state if number == DIFFS - 1 else f"{snapshot.state}.{number}"
            diff = f"{snapshot.memory}.{number}"
            api.resume()
            time.sleep(random.uniform(0.05, 0.3))
            api.pause()
            api.put("/snapshot/create", {"snapshot_type": "Diff", "snapshot_path": state, "mem_file_path": diff})
            last.layers.append(diff)
            last.extra += [state, diff]
        # The same moment once more in one piece: what the machines are compared with.
        api.snapshot(f"{snapshot.state}.whole", last.memory)
        last.extra += [snapshot.memory, f"{snapshot.state}.whole"]
        return last

    def backend(self, machine, snapshot):
        return {"backend_type": "File", "backend_path": snapshot.layers[-1], "layers": snapshot.layers[:-1],
                "working_set": "Ignore"}


class Uffd(Way):
    """A page-fault handler has the memory; one for each machine."""

    def __init__(self):
        self.handler = None
        self.log = None

    def backend(self, machine, snapshot):
        path = f"{machine.directory.name}/handler.sock"
        self.log = pathlib.Path(f"{machine.directory.name}/handler.log")
        self.log.write_text("")
        self.handler = subprocess.Popen([sys.executable, HANDLER, path, snapshot.memory, self.log, *HANDLER_OPTIONS])
        deadline = Deadline(60)
        while "listening" not in self.log.read_text():
            if self.handler.poll() is not None or deadline.left() <= 0:
                sys.exit("clones_ways: the page-fault handler does not start")
            time.sleep(0.01)
        return {"backend_type": "Uffd", "backend_path": path}

    def check_done(self, machine, hurried):
        if '"fault"' not in self.log.read_text():
            sys.exit("clones_ways: the page-fault handler was asked for nothing")

    def close(self):
        if self.handler:
            self.handler.kill()
            self.handler.wait()


class Huge(Way):
    """Huge pages of 2 MiB, each copied from the memory file when it is touched first."""

    huge_pages = "2M"


class WorkingSet(Way):
    """The first machine records what it touches, and it is read ahead for all others."""

    def __init__(self):
        self.records = False

    def backend(self, machine, snapshot):
        file = f"{snapshot.memory}.working-set"
        self.records = not os.path.exists(file)
        if self.records:
            snapshot.extra.append(file)
        return {"backend_type": "File", "backend_path": snapshot.memory, "working_set": "Record" if self.records else "Use"}

    def check_done(self, machine, hurried):
        if "is ignored" in machine.stderr():
            sys.exit(f"clones_ways: the working set was not used:\n{machine.stderr()}")
        if hurried and not self.records:
            return
        wanted = "runs were recorded" if self.records else "were mapped ahead"
        deadline = Deadline(20)
        while wanted not in machine.stderr():
            if deadline.left() <= 0:
                sys.exit(f'clones_ways: the log does not say "{wanted}":\n{machine.stderr()}')
            time.sleep(0.02)


class Paused(Way):
    """Restored paused, and resumed some seconds later by a request of its own."""

    resume_vm = False

    def check_loaded(self, machine):
        super().check_loaded(machine)
        time.sleep(random.uniform(*PAUSE_S))
        state = machine.api.get("/")["state"]
        if state != "Paused":
            sys.exit(f"clones_ways: the machine is {state}, and should be Paused until it is resumed")
        machine.api.resume()


WAYS = {"full": Way, "diff": Diff, "uffd": Uffd, "huge": Huge, "working-set": WorkingSet, "paused": Paused}


def pool_number(name):
    return int((POOL / name).read_text())


class HugePages:
    """
    `with HugePages(bytes):` the host has so many left, and afterwards as many as before. One machine after the other needs them:
    what loads the next one waits for the end of the last. Tests of the host's pool take the same lock.
    """

    def __init__(self, size):
        self.pages = -(-size // HUGE)
        self.file = None
        self.before = 0

    def __enter__(self):
        if not POOL.exists():
            sys.exit("clones_ways: the way huge needs a kernel with huge pages of 2 MiB (CONFIG_HUGETLBFS)")
        try:
            self.file = open(POOL_LIMIT, "r+b", buffering=0)
        except PermissionError:
            sys.exit(f"clones_ways: the way huge needs root's rights, to set {POOL_LIMIT}")
        fcntl.flock(self.file, fcntl.LOCK_EX)
        self.before = pool_number("nr_hugepages")
        left = pool_number("free_hugepages") - pool_number("resv_hugepages")
        self.set(self.before + max(self.pages - left, 0))
        left = pool_number("free_hugepages") - pool_number("resv_hugepages")
        if left < self.pages:
            self.__exit__()
            sys.exit(f"clones_ways: the way huge needs {self.pages} pages of 2 MiB, and the host has {left} left")
        return self

    def set(self, pages):
        os.pwrite(self.file.fileno(), b"%d" % pages, 0)

    def __exit__(self, *_):
        self.set(self.before)
        self.file.close()
