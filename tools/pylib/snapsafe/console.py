# SPDX-License-Identifier: Apache-2.0
"""The far end of a serial console: waits for text, types lines, runs shell commands."""
import os
import re
import select
import time

from .patience import Deadline


class ConsoleTimeout(AssertionError):
    """The text that was waited for did not come; the message shows what came instead."""


class Console:
    """
    Wraps the master side of a pty. `echo` is called with every piece of output as it comes (bytes); `last_words` when the
    other side has closed, for the text that says why.
    """

    def __init__(self, fd, echo=None, last_words=lambda: ""):
        self.fd = fd
        self.echo = echo
        self.last_words = last_words
        self.buffer = ""
        self.log = ""
        self.commands = 0

    def _read(self, timeout):
        ready, _, _ = select.select([self.fd], [], [], max(0, timeout))
        if not ready:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # the other side has closed: the monitor is gone
            data = b""
        if not data:
            raise ConsoleTimeout(f"the console was closed; its last lines:\n{self.log[-2000:]}\n{self.last_words()[-1000:]}")
        if self.echo:
            self.echo(data)
        text = data.decode(errors="replace").replace("\r", "")
        self.buffer += text
        self.log += text
        return True

    def expect(self, pattern, timeout=60):
        """Waits for a regular expression; returns its match and forgets everything up to its end."""
        deadline = Deadline(timeout)
        regex = re.compile(pattern, re.MULTILINE)
        while True:
            match = regex.search(self.buffer)
            if match:
                self.buffer = self.buffer[match.end():]
                return match
            left = deadline.left()
            if left <= 0:
                raise ConsoleTimeout(f"no {pattern!r} within {timeout} s; the console's last lines:\n{self.log[-2000:]}")
            self._read(left)

    def drain(self, seconds):
        """What comes within that time, and whatever came before."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._read(deadline - time.monotonic())
        text, self.buffer = self.buffer, ""
        return text

    def send(self, text):
        data = text.encode()
        while data:
            data = data[os.write(self.fd, data):]

    def login(self, user="root", password="root", timeout=120):
        self.expect(r"login: ", timeout)
        self.send(user + "\n")
        self.expect(r"Password: ", timeout)
        self.send(password + "\n")
        self.expect(r"# ", timeout)

    def quiet(self):
        """No echo, no prompt: what comes back is what commands print. For tests, not for people."""
        self.send("stty -echo; PS1=; PS2=; echo QUI''ET\n")
        self.expect(r"^QUIET\n")

    def run(self, command, timeout=60):
        """Runs a shell command on a quiet console; returns its output, fails if its exit status is not 0."""
        status, output = self.run_status(command, timeout)
        if status != 0:
            raise AssertionError(f"`{command}` exited with {status} in the guest:\n{output}")
        return output

    def run_status(self, command, timeout=60):
        self.commands += 1
        mark = f"END{self.commands}"
        self.send(f"{command}\necho {mark}:$?\n")
        match = self.expect(rf"((?:.*\n)*?)(.*){mark}:(\d+)\n", timeout)
        return int(match.group(3)), match.group(1) + match.group(2)
