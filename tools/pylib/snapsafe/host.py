# SPDX-License-Identifier: Apache-2.0
"""What the machine is that the monitor runs on."""
import pathlib

EXIT_HOST_FAILED = 125  # testbed/run: not the command, but the machine around it has failed


def is_emulated():
    """Whether qemu emulates the processor, as in the testbed's outer machine."""
    return "QEMU TCG CPU" in pathlib.Path("/proc/cpuinfo").read_text()


def lost_by_emulator(monitors):
    """
    Whether one of these clones has reset itself where the processor is emulated: a known weakness of qemu's, it seems, of which
    nothing is to be learnt (docs/testbed.md).
    """
    return is_emulated() and any("triple fault" in m.stderr() for m in monitors)
