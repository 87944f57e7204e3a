# SPDX-License-Identifier: Apache-2.0
"""A snapsafe-vmm process with a terminal of its own."""
import fcntl
import os
import pty
import signal
import subprocess
import tempfile
import termios
import time

from .api import Api
from .console import Console
from .patience import Deadline


class Monitor:
    """
    Starts the monitor; `with Monitor(...) as m:` ends it. `m.api`, `m.console`, `m.stderr()` (its log, and what it wrote to
    standard error). The log has a file of its own, unless the arguments say where it goes: the terminal is the guest's.
    prefix is what stands before it on the command line: "ip", "netns", "exec", NAME.
    terminal=False gives it pipes instead of a terminal, as a service would have.
    """

    def __init__(self, *args, binary="bin/snapsafe-vmm", api_sock=None, echo=None, cwd=None, env=None, preexec=None,
                 prefix=()):
        self.directory = tempfile.TemporaryDirectory(prefix="snapsafe-")
        self.api_sock = str(api_sock or os.path.join(self.directory.name, "api.sock"))
        self.api = Api(self.api_sock)
        self.log_file = open(os.path.join(self.directory.name, "stderr"), "w+b")
        self.last_log = None  # once the process has ended and its directory is gone
        master, slave = pty.openpty()

        def own_terminal():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            if preexec:
                preexec()

        command = [*prefix, binary]
        if "--log-path" in args:
            self.log_path = os.path.join(cwd or "", args[args.index("--log-path") + 1])
        else:
            self.log_path = os.path.join(self.directory.name, "log")
            command += ["--log-path", self.log_path]
        if "--no-api" not in args and not any(a.startswith("--api-sock") for a in args):
            command += ["--api-sock", self.api_sock]
        self.process = subprocess.Popen(command + list(args), stdin=slave, stdout=slave, stderr=self.log_file, cwd=cwd,
                                        env=env, preexec_fn=own_terminal, close_fds=True)
        os.close(slave)
        self.console = Console(master, echo, self.stderr)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        self.stop()

    def stderr(self):
        if self.last_log is not None:
            return self.last_log
        text = ""
        for path in (self.log_path, self.log_file.name):
            if os.path.isfile(path):
                with open(path, errors="replace") as f:
                    text += f.read()
        return text

    def wait_api(self, timeout=60, every=0.005):
        """Returns once the API answers, for which it looks every so many seconds; fails early when the process is gone."""
        answer = self.api.wait(timeout, every, lambda: self.process.poll() is None)
        if answer is not None:
            return answer
        if self.process.poll() is not None:
            raise AssertionError(f"the monitor exited with {self.process.returncode}: {self.stderr()}")
        raise AssertionError(f"no answer on {self.api_sock} within {timeout} s: {self.stderr()}")

    def wait(self, timeout=30):
        """The exit status of a monitor that ends by itself."""
        deadline = Deadline(timeout)
        while True:
            left = deadline.left()
            try:
                return self.process.wait(max(left, 0))
            except subprocess.TimeoutExpired:
                if left <= 0:
                    raise

    def stop(self, timeout=20):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"the monitor did not end on SIGTERM: {self.stderr()}") from None
            finally:
                self._close()
        else:
            self._close()
        return self.process.returncode

    def _close(self):
        if self.console.fd >= 0:
            os.close(self.console.fd)
            self.console.fd = -1
        self.last_log = self.stderr()
        self.log_file.close()
        self.directory.cleanup()
