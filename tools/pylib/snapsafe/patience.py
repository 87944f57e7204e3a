# SPDX-License-Identifier: Apache-2.0
"""
Limits of time that hold on any machine, however slow or busy: they are meant for a calm one like that which they were chosen
on, and are stretched by how much slower this one is. What is measured is a fixed piece of work on every processor at once.
"""
import os
import time

ITERATIONS = 2_000_000
REFERENCE_S = 0.16      # what it takes where the limits were chosen, with nothing else to do
MOST = 20               # a machine that is slower than that is not usable
VARIABLE = "SNAPSAFE_SLOWNESS"


def _work():
    n = 0
    for i in range(ITERATIONS):
        n += i
    return n


def _measure():
    start = time.monotonic()
    children = []
    for _ in os.sched_getaffinity(0):
        child = os.fork()
        if child == 0:
            try:
                _work()
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return time.monotonic() - start


class _Machine:
    """
    How slow the machine is now, from 1 to MOST. In an outer machine, where everything takes longer and the limits are chosen
    for that, testbed/run has left in the environment how slow the host was when it began; what counts from then on is the change.
    """

    def __init__(self):
        self.reference = None
        self.last = 1.0

    def slowness(self):
        now = _measure()
        if self.reference is None:
            told = os.environ.get(VARIABLE)
            self.reference = now / float(told) if told else REFERENCE_S
        self.last = min(max(now / self.reference, 1.0), MOST)
        return self.last


_machine = _Machine()


def slowness():
    """By how much limits are to be stretched now, at least 1.0."""
    return _machine.slowness()


def stretch(seconds):
    """That time by the last measurement, without one of its own: for limits that are set often, and are generous."""
    return seconds * _machine.last


def within(elapsed, seconds):
    """Was that quick enough? Where it was not on a calm machine, the machine is measured now, and the limit stretched."""
    return elapsed < seconds or elapsed < seconds * max(_machine.last, slowness())


class Deadline:
    """The time `seconds` from now; when it has come, the machine is measured, and the end moves if the machine is slower."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.start = time.monotonic()
        self.end = self.start + seconds

    def left(self):
        """Seconds until then, 0 or less when it has passed."""
        if time.monotonic() >= self.end:
            self.end = max(self.end, self.start + self.seconds * max(_machine.last, slowness()))
        return self.end - time.monotonic()


if os.environ.get(VARIABLE):
    slowness()          # now, while what the variable says is still true
