# SPDX-License-Identifier: Apache-2.0
"""Limits of time mean a calm machine: a busy one gets more, a calm one no less, and a hang ends in any case."""
import time

import pytest

from snapsafe import patience


@pytest.fixture
def machine(monkeypatch):
    """A machine whose speed the test sets: `machine.takes` is what the measured piece of work takes on it."""
    class Machine:
        takes = patience.REFERENCE_S

    monkeypatch.delenv(patience.VARIABLE, raising=False)
    monkeypatch.setattr(patience, "_measure", lambda: Machine.takes)
    monkeypatch.setattr(patience, "_machine", patience._Machine())
    return Machine


def expired(seconds):
    deadline = patience.Deadline(seconds)
    time.sleep(seconds)
    return deadline.left() <= 0


def test_a_limit_is_itself_where_the_machine_is_calm(machine):
    assert expired(0.05)


def test_a_limit_moves_where_the_machine_has_become_slow(machine):
    deadline = patience.Deadline(0.05)
    machine.takes = patience.REFERENCE_S * 10
    time.sleep(0.05)
    assert 0 < deadline.left() <= 0.45


def test_a_fast_machine_shortens_no_limit(machine):
    machine.takes = patience.REFERENCE_S / 10
    assert patience.slowness() == 1


def test_a_hang_ends_on_the_slowest_machine(machine):
    machine.takes = patience.REFERENCE_S * 1e6
    assert patience.slowness() == patience.MOST


def test_in_an_outer_machine_the_host_has_told(machine, monkeypatch):
    """There all takes longer, and the limits are chosen for that; only a change counts."""
    monkeypatch.setenv(patience.VARIABLE, "3.00")
    machine.takes = patience.REFERENCE_S * 25
    assert patience.slowness() == pytest.approx(3)
    machine.takes *= 2
    assert patience.slowness() == pytest.approx(6)
