# SPDX-License-Identifier: Apache-2.0
"""What the machine is that the monitor runs on."""
import pathlib


def is_emulated():
    """Whether qemu emulates the processor, as in the testbed's outer machine."""
    return "QEMU TCG CPU" in pathlib.Path("/proc/cpuinfo").read_text()
