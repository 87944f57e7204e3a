# SPDX-License-Identifier: Apache-2.0
"""The table of requests (api_table.py) against the real monitor: each row is a test."""
import pytest

import api_table
from test_process import halting_kernel
from conftest import BINARY, IMAGE
from snapsafe import Monitor
from snapsafe.api import UnixConnection


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What the placeholders in bodies stand for."""
    return {
        "kernel": IMAGE / "vmlinuz-6.1-cloud",
        "initrd": IMAGE / "initrd-6.1-cloud.img",
        "disk": IMAGE / "rootfs.ext4",
        "directory": tmp_path_factory.mktemp("api"),
    }


def start():
    m = Monitor(binary=BINARY)
    m.wait_api()
    return m


def check(m, row, files):
    connection = UnixConnection(m.api_sock, 60)
    try:
        wrong = api_table.carry_out(connection, row, files)
    finally:
        connection.close()
    assert wrong is None, wrong


def rows(*phases):
    chosen = [row for phase in phases for row in api_table.rows(phase)]
    return pytest.mark.parametrize("row", chosen, ids=[f"{row[0]}-{row[1]}-{row[2]}"[:60] for row in chosen])


@pytest.fixture(scope="module")
def new():
    with start() as m:
        yield m


@pytest.fixture(scope="module")
def machine(files):
    """Its guest only halts: what answers is the monitor."""
    halting_kernel(files["directory"] / "halting")
    with start() as m:
        for path, body in (("/boot-source", api_table.BOOT), ("/machine-config", api_table.MACHINE),
                           ("/drives/rootfs", api_table.DRIVE), ("/entropy", {})):
            m.api.put(path, api_table.fill(body, {**files, "kernel": files["directory"] / "halting"}))
        m.api.put("/actions", {"action_type": "InstanceStart"})
        yield m


@rows("new")
def test_before_a_machine_is_started(new, files, row):
    check(new, row, files)


@rows("fresh")
def test_in_a_process_of_its_own(files, row):
    with start() as m:
        check(m, row, files)


@rows("running", "paused")
def test_with_a_machine(machine, files, row):
    if row[0] == "paused" and machine.api.get("/")["state"] == "Running":
        machine.api.pause()
    check(machine, row, files)


@rows("load")
def test_load(machine, files, row):
    """After test_with_a_machine, which made the snapshot."""
    with start() as m:
        check(m, row, files)
