# SPDX-License-Identifier: Apache-2.0
"""What /proc tells of a process: what must not grow."""
import contextlib
import os
import pathlib
import re
import time

from .patience import Deadline


def fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def children(pid):
    """Processes that its main thread has started."""
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _each(directory, look):
    """look(path) of each entry; one that goes away meanwhile is not there."""
    found = []
    for entry in pathlib.Path(directory).iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.append(look(entry))
    return found


def open_files(pid):
    """What its descriptors are, as /proc names it."""
    return _each(f"/proc/{pid}/fd", os.readlink)


def thread_names(pid):
    return _each(f"/proc/{pid}/task", lambda thread: (thread / "comm").read_text().strip())


def rss_kib(pid):
    return int(re.search(r"^VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M).group(1))


def own_kib(pid, guest_mib):
    """Private memory (clean and dirty) of all mappings but the guest's own: the one of its size, or larger."""
    total, guest = 0, False
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if head:
            guest = int(head.group(2), 16) - int(head.group(1), 16) >= guest_mib << 20
        elif line.startswith(("Private_Clean:", "Private_Dirty:")) and not guest:
            total += int(line.split()[1])
    return total


def settles(measure, wanted, timeout=10):
    """Whether measure() comes to be wanted: a connection that a client has closed is a descriptor for a moment longer."""
    deadline = Deadline(timeout)
    while measure() != wanted and deadline.left() > 0:
        time.sleep(0.01)
    return measure() == wanted
