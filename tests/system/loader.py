# SPDX-License-Identifier: Apache-2.0
"""Loads whatever it is given into the monitor: files that may be damaged, forged, or no files at all."""
import http.client
import json
import re
import signal
import subprocess

from conftest import BINARY
from snapsafe import Monitor, proc

# What docs/snapshot-format.md names: the guest ended by itself, KVM could not run it, its memory is gone.
GUEST_ENDED, GUEST_FAILED, MEMORY_GONE = 0, 1, 149
OURS = -signal.SIGTERM  # it ran on until we ended it


class Loader:
    """
    Loads one pair after another into one process, as long as it refuses them; then into the next process. With `answers` a good
    pair's guest is asked to say something.
    """

    def __init__(self, answers=False):
        self.answers = answers
        self.m = None
        self.refused = self.loaded = 0

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if self.m:
            self.m.stop()

    def adopt(self, m):
        """A process that has not done anything yet. With a listening socket and without connections, once it settles."""
        self.m = m
        m.wait_api()
        assert proc.settles(self.virtual_machines, 1)
        self.prepared = 1
        self.fds = self.descriptors()
        while proc.settles(self.descriptors, self.fds - 1, 0.2):
            self.fds -= 1

    def virtual_machines(self):
        """One is made before anybody asks; the first load that comes so far takes it, and there is no other."""
        return proc.open_files(self.m.process.pid).count("anon_inode:kvm-vm")

    def descriptors(self):
        """But for that one's: itself, and /dev/kvm."""
        files = proc.open_files(self.m.process.pid)
        return len(files) - 2 * files.count("anon_inode:kvm-vm")

    def process(self):
        if self.m is None:
            self.adopt(Monitor(binary=BINARY))
        return self.m

    def try_load(self, state, mem, resume=False):
        """The sentence of a refusal, or None; then the process has a machine, or has had one: see end()."""
        m = self.process()
        body = {"snapshot_path": str(state), "mem_file_path": str(mem), "resume_vm": resume}
        try:
            status, text = m.api.raw("PUT", "/snapshot/load", body)
        except (http.client.HTTPException, OSError):
            assert resume, f"the monitor was gone before a guest ran: {self.last_words()}"
            return None
        if status == 204:
            return None
        assert status == 400, (status, text)
        self.refused += 1
        self.check_nothing_left()
        sentence = json.loads(text)["fault_message"]
        assert re.match(r'(Load snapshot error: |field "(snapshot|mem_file)_path": )[^\n]{20,}$', sentence), sentence
        return sentence

    def check_nothing_left(self):
        """No half-started machine: the state, and what a machine would be made of."""
        pid = self.m.process.pid
        assert self.m.api.get("/")["state"] == "Not started"
        assert proc.settles(lambda: proc.threads(pid), 2)  # the loop's, and the one that writes the log
        assert proc.settles(lambda: self.virtual_machines() <= self.prepared, True)
        self.prepared = self.virtual_machines()
        assert proc.settles(self.descriptors, self.fds), f"{self.fds} descriptors before a refused load, {self.descriptors()} now"

    def let_it_run(self):
        try:
            self.m.process.wait(0.1)
        except subprocess.TimeoutExpired:
            pass

    def last_words(self):
        return f"exit status {self.m.process.wait(30)}, log: {self.m.stderr()[-3000:]}"

    def end(self):
        """Ends a process with a machine, which may have ended by itself, in a way that docs name. Its exit status."""
        m, self.m = self.m, None
        self.loaded += 1
        log = m.stderr()
        status = m.stop()
        assert status in (GUEST_ENDED, GUEST_FAILED, OURS), f"exit status {status}, log: {log[-3000:]}"
        return status

    def check_good(self, snapshot):
        """The very process that has refused so much loads a good pair, and its machine runs."""
        assert self.try_load(snapshot.state, snapshot.mem, resume=True) is None
        assert self.m.api.get("/")["state"] == "Running"
        if self.answers:
            self.m.console.run("true")
        self.end()
