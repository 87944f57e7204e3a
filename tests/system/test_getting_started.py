# SPDX-License-Identifier: Apache-2.0
"""
docs/getting-started.md: what it says is typed, in its order. Where no guest runs, everything but what is typed in the
guest; all of it in the long form. Needs root, for a network namespace. Blocks are "sh first" and "sh second", by the shell, and "sh guest".
"""
import os
import pty
import re
import subprocess

import pytest

from conftest import ROOT
from snapsafe import Api
from snapsafe.console import Console
from snapsafe.network import Namespace

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the guide makes taps")


def blocks(directory):
    """(shell, commands) as in the guide, with its files in a directory of the test's."""
    text = (ROOT / "docs" / "getting-started.md").read_text()
    found = re.findall(r"^```sh (first|second|guest)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(shell, commands.replace("/tmp/", f"{directory}/")) for shell, commands in found]


class Shells:
    """The reader's two shells; the first one is the guest's console, too."""

    def __init__(self, directory):
        self.directory, self.namespace, self.first, self.before = directory, Namespace(), None, ""

    def shell(self, commands):
        return {"args": ["bash", "-euo", "pipefail", "-c", commands], "cwd": ROOT, "preexec_fn": self.namespace.enter}

    def type_first(self, commands):
        self.end_first()
        terminal, other = pty.openpty()
        self.first = subprocess.Popen(**self.shell(re.sub("^bin/", "exec bin/", commands, flags=re.MULTILINE)), stdin=other,
                                      stdout=other, stderr=other, start_new_session=True)
        os.close(other)
        self.console = Console(terminal)
        assert Api(str(self.directory / "firecracker.socket")).wait(alive=lambda: self.first.poll() is None), self.console.log

    def type_second(self, commands):
        """A shell remembers its variables: those of earlier blocks stand before."""
        result = subprocess.run(**self.shell(self.before + commands), capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, f"{commands}\n{result.stdout}{result.stderr}"
        self.before += "".join(re.findall(r'^[A-Z_]+="[^"]*"\n', commands, re.MULTILINE))
        return result.stdout

    def end_first(self):
        if self.first and self.first.poll() is None:
            self.first.terminate()
        if self.first:
            self.first.wait(30)

    def close(self):
        self.end_first()
        self.namespace.close()


@pytest.fixture
def shells(tmp_path):
    s = Shells(tmp_path)
    yield s
    s.close()


def test_what_is_typed_outside_the_guest_works(shells, tmp_path):
    output = ""
    for shell, commands in blocks(tmp_path):
        if shell == "first":
            shells.type_first(commands)
        elif shell == "second":
            output += shells.type_second(commands)
    assert "OK\n" in output and "Firecracker v1." in output and '"generation"' in output
    assert (tmp_path / "mem_file").stat().st_size == 256 << 20


@pytest.mark.guest
@pytest.mark.skipif("SNAPSAFE_LONG" not in os.environ, reason="the long form: two boots, three minutes in the testbed")
def test_all_of_it_works(shells, tmp_path):
    shown = []
    for shell, commands in blocks(tmp_path):
        if shell == "first":
            shells.type_first(commands)
        elif shell == "second":
            shells.type_second(commands)
            if "InstanceStart" in commands:
                shells.console.login()
                shells.console.quiet()
        elif commands == "reboot\n":
            shells.console.send(commands)
            assert shells.first.wait(60) == 0
        else:
            shown += [shells.console.run(line, 60) for line in commands.splitlines()]
    assert "1 packets received" in "".join(shown) and shown[-1].strip() == "1"
    shells.console.login()  # of the machine that a file describes
