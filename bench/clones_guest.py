# SPDX-License-Identifier: Apache-2.0
"""What all guests of the clone experiment have: an age, and the page of a generation counter (abi/snapsafe_page.h)."""
import mmap
import struct
import sys

UPTIME_S = 25  # a young kernel reseeds every few seconds by itself: that would end windows before their time
PAGE_MAGIC = struct.pack("<II", 0x50534e53, 1)  # magic and version, at 16


def find_counter(path):
    """Where it is, and what it says: (offset, generation). It is found by its magic; nothing in the guest has to help."""
    found = {}
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
        at = memory.find(PAGE_MAGIC)
        while at >= 0:
            if at % 4096 == 16:
                found[at - 16] = struct.unpack_from("<Q", memory, at - 16)[0]
            at = memory.find(PAGE_MAGIC, at + 1)
    if len(found) != 1:
        sys.exit(f"clones_run: {len(found)} counter pages in {path}, wanted one")
    return found.popitem()


def count_up(path):
    """The next generation. For a machine that does not run now, and whose memory is this file."""
    at, generation = find_counter(path)
    with open(path, "r+b", buffering=0) as file:
        file.seek(at)
        file.write(struct.pack("<Q", generation + 1))
