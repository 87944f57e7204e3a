# SPDX-License-Identifier: Apache-2.0
"""Huge pages of the host's, while a test runs; the same lock as tests/unit/huge_pool.h."""
import fcntl
import os
import pathlib

import pytest

LIMIT = pathlib.Path("/proc/sys/vm/nr_hugepages")
POOL = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB")


def number(name):
    return int((POOL / name).read_text())


class HugePool:
    """What others use already stays theirs."""

    def __init__(self):
        if not POOL.exists():
            pytest.skip("the host's kernel has no huge pages of 2 MiB (CONFIG_HUGETLBFS)")
        if not os.access(LIMIT, os.W_OK):
            pytest.skip("vm.nr_hugepages cannot be set by this user")
        self.file = open(LIMIT, "r+b", buffering=0)
        fcntl.flock(self.file, fcntl.LOCK_EX)
        self.before = number("nr_hugepages")

    def have(self, pages):
        """So many are left."""
        os.pwrite(self.file.fileno(), b"%d" % (number("nr_hugepages") - self.left() + pages), 0)
        if self.left() != pages:
            pytest.skip(f"the host has no memory for {pages} huge pages of 2 MiB: {self.left()}")

    def left(self):
        return number("free_hugepages") - number("resv_hugepages")

    def free(self):
        return number("free_hugepages")

    def restore(self):
        os.pwrite(self.file.fileno(), b"%d" % self.before, 0)
        self.file.close()


@pytest.fixture
def huge_pool():
    pool = HugePool()
    yield pool
    pool.restore()
