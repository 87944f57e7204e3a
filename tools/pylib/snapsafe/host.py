# SPDX-License-Identifier: Apache-2.0
"""What the machine is that the monitor runs on."""
import pathlib

EXIT_HOST_FAILED = 125  # testbed/run: not the command, but the machine around it has failed


def is_emulated():
    """Whether qemu emulates the processor, as in the testbed's outer machine."""
    return "QEMU TCG CPU" in pathlib.Path("/proc/cpuinfo").read_text()


def lost_by_emulator(monitors):
    """
    Whether one of these clones has reset itself where the processor is emulated: qemu 7.2 changes the interrupt flags of a
    processor that runs a nested guest without a lock, and such a guest is then interrupted where it never may be. No guest of
    ours does that to itself, so nothing is to be learnt from it (docs/testbed.md).
    """
    return is_emulated() and any("triple fault" in m.stderr() for m in monitors)
