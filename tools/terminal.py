# SPDX-License-Identifier: Apache-2.0
"""Joins a person's terminal to a machine's console, with a way out: Ctrl-A x ends, Ctrl-A s starts a shell."""
import os
import select
import subprocess
import sys
import termios
import tty

ESCAPE = b"\x01"


def _shell(saved):
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)
    subprocess.run([os.environ.get("SHELL", "/bin/sh")], check=False)
    tty.setraw(sys.stdin)


def _typed(data, escaped):
    """What goes to the machine, the command if there was one, and whether an escape is open."""
    if not escaped:
        head, found, tail = data.partition(ESCAPE)
        if not found:
            return data, b"", False
        if not tail:
            return head, b"", True
        return head, tail[:1], False
    return b"", data[:1], False


def attach(machine):
    """Returns when the machine ends or the person wants out. Standard input must be a terminal."""
    saved = termios.tcgetattr(sys.stdin)
    console = machine.console.fd
    escaped = False
    tty.setraw(sys.stdin)
    try:
        while machine.process.poll() is None:
            ready, _, _ = select.select([sys.stdin, console], [], [], 0.5)
            if console in ready:
                try:
                    data = os.read(console, 65536)
                except OSError:
                    break
                os.write(sys.stdout.fileno(), data)
            if sys.stdin in ready:
                data, command, escaped = _typed(os.read(sys.stdin.fileno(), 1024), escaped)
                if data:
                    os.write(console, data)
                if command == b"x":
                    break
                if command == b"s":
                    _shell(saved)
                elif command == ESCAPE:
                    os.write(console, ESCAPE)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)
