# SPDX-License-Identifier: Apache-2.0
"""The host's side of the testbed: starts the outer machine and carries one
command's streams. testbed/run is its only caller; testbed/agent.c is the other
end and describes the frames.

    session.py DIRECTORY MEMORY_MIB CPUS DISK_MIB LIMIT_S SCRATCH COMMAND...
"""

import ctypes
import fcntl
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
import tty

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tools/pylib"))
from snapsafe.patience import VARIABLE, Deadline, slowness  # noqa: E402

EXIT_LIMIT = 124
EXIT_NOT_RUN = 125
CHUNK = 32 * 1024
BACKLOG = 256 * 1024        # bytes of standard input waiting for the outer machine
CONSOLE_LINES = 15          # shown when the machine failed
SILENCE_S = 90              # the agent is heard every two seconds; a machine that is only slow comes nowhere near
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PASSED_ON = {"PATH", "HOME", "CI", "TERM", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME",
             "SHELL", "NO_COLOR", "COLORTERM", "CC", "PYTHONPATH"}


class NotRun(Exception):
    """The command could not be run, or not to its end; the text says why."""


class Interrupted(Exception):
    """A signal ends us; args[0] is its number."""


def die_with_parent():
    """In the child: whatever happens to us, no machine is left behind."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def share(tag, path, access):
    """qemu's arguments for a directory that the machine sees by 9p."""
    path = path.replace(",", ",,")
    return ["-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap{access}",
            "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]


def drive(disk):
    """The same for a file that is its disk."""
    return ["-drive", f"file=/dev/fd/{disk.fileno()},format=raw,if=none,id=disk,cache=none,aio=threads",
            "-device", "virtio-blk-pci,drive=disk"]


def make_disk(directory, mib):
    """A file that has no name, and all its blocks; None for 0 MiB."""
    if not mib:
        return None
    disk = tempfile.TemporaryFile(dir=directory)
    for _ in range(mib):
        disk.write(os.urandom(1 << 20))
    disk.flush()
    os.fsync(disk.fileno())
    return disk


class Machine:
    """The qemu process and our socket to the agent in it."""

    def __init__(self, directory, memory_mib, cpus, disk, scratch):
        # Appended to by qemu and by the machine's console; it has no name, so it is never left behind.
        self.log = tempfile.TemporaryFile("a+b", dir=directory)
        self.has_disk = disk is not None
        self.sock, theirs = socket.socketpair()
        self.sock.setblocking(False)
        # The first processor is not the command's (setup_processors() in setup.c).
        # Four levels of page tables: a fifth makes nested paging slower for nothing.
        # Without fast strings Linux copies and clears pages by words: qemu stores what they store byte by byte, and slowly where
        # code has been before, as in memory of guests that have ended.
        # The kernel takes emulated clocks for unreliable unless it is told: on a busy host a timer that ticks late is none, and it panics.
        argv = ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi",
                "-cpu", "max,la57=off,erms=off,fsrm=off", "-smp", str(int(cpus) + 1), "-m", memory_mib,
                "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-kernel", f"{directory}/vmlinux", "-initrd", f"{directory}/initramfs",
                "-append", "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check maxcpus=1",
                "-chardev", f"file,id=console,path=/dev/fd/{self.log.fileno()},append=on",
                "-serial", "chardev:console",
                "-device", "virtio-serial-pci",
                "-chardev", f"socket,id=agent,fd={theirs.fileno()}",
                "-device", "virtserialport,chardev=agent,nr=1",
                *share("hostroot", "/", ",readonly=on"),
                *share("scratch", scratch, ""), *(drive(disk) if disk else [])]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            pass_fds=[theirs.fileno(), self.log.fileno(), *([disk.fileno()] if disk else [])],
            preexec_fn=die_with_parent, start_new_session=True)
        theirs.close()

    def last_words(self):
        """What the machine and qemu said at last, for a person."""
        self.process.wait()     # its port is closed, so it is ending
        self.log.seek(0)
        text = self.log.read().decode(errors="replace").replace("\r", "")
        return "".join("\n  " + line for line in text.splitlines()[-CONSOLE_LINES:])

    def end(self):
        """Nothing of value is in the machine when we are done with it."""
        self.process.kill()
        self.process.wait()
        self.sock.close()
        self.log.close()


class Session:
    """One command in the machine, from its task to its exit status."""

    def __init__(self, machine, command, scratch, terminal):
        self.machine = machine
        self.sock = machine.sock
        self.terminal = terminal
        self.unsent = bytearray()
        self.received = bytearray()
        self.status = None
        self.said_hello = False
        self.silence = Deadline(SILENCE_S)
        self.input_open = True
        self.selector = selectors.PollSelector()    # epoll takes no regular file
        self.selector.register(self.sock, selectors.EVENT_READ, self.handle_socket)
        self.send_task(command, scratch)

    def send(self, kind, payload=b""):
        self.unsent += kind + struct.pack("<I", len(payload)) + payload

    def send_task(self, command, scratch):
        self.send(b"D", os.fsencode(os.getcwd()))
        self.send(b"S", os.fsencode(scratch))
        for argument in command:
            self.send(b"A", os.fsencode(argument))
        for name, value in os.environb.items():
            if os.fsdecode(name) in PASSED_ON or name.startswith(b"SNAPSAFE_"):
                self.send(b"E", name + b"=" + value)
        self.send(b"E", b"SNAPSAFE_SCRATCH=" + os.fsencode(scratch))
        self.send(b"E", b"SNAPSAFE_TESTBED=never")      # it is this machine now
        if self.machine.has_disk:
            self.send(b"E", b"SNAPSAFE_DISK=/dev/vda")
        if self.terminal:
            self.send(b"P")
            self.send_window()

    def send_window(self):
        size = fcntl.ioctl(sys.stdin, termios.TIOCGWINSZ, bytes(8))
        rows, columns = struct.unpack("HH", size[:4])
        self.send(b"W", b"%d %d" % (rows, columns))

    def flush(self):
        try:
            while self.unsent:
                del self.unsent[:self.sock.send(self.unsent)]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            raise NotRun("the outer machine ended too early:"
                         + self.machine.last_words()) from None

    def want_input(self, wanted):
        """Read standard input only while there is room for it."""
        registered = 0 in self.selector.get_map()
        if wanted and not registered:
            self.selector.register(0, selectors.EVENT_READ, self.handle_input)
        elif registered and not wanted:
            self.selector.unregister(0)

    def handle_input(self):
        try:
            data = os.read(0, CHUNK)
        except OSError:
            data = b""              # no standard input at all
        self.send(b"I", data)
        self.input_open = bool(data)

    def handle_socket(self):
        try:
            data = self.sock.recv(CHUNK * 8)
        except ConnectionResetError:
            data = b""
        if not data:
            raise NotRun("the outer machine ended too early:" + self.machine.last_words())
        self.silence = Deadline(SILENCE_S)
        self.received += data
        while len(self.received) >= 5:
            length = 5 + struct.unpack_from("<I", self.received, 1)[0]
            if len(self.received) < length:
                break
            self.handle_frame(self.received[:1], self.received[5:length])
            del self.received[:length]

    def handle_frame(self, kind, payload):
        if kind == b"O":
            write_all(1, payload)
        elif kind == b"R":
            write_all(2, payload)
        elif kind == b"X":
            self.status = int(payload)
        elif kind == b"F":
            raise NotRun(payload.decode(errors="replace"))
        elif kind == b"H":
            self.said_hello = True
            now = time.time_ns()
            self.send(b"T", b"%d %d" % divmod(now, 10**9))
            self.send(b"G")

    def run(self, deadline):
        """Returns the exit status, or None when the deadline has passed."""
        while self.status is None:
            self.flush()
            writing = selectors.EVENT_WRITE if self.unsent else 0
            self.selector.modify(self.sock, selectors.EVENT_READ | writing, self.handle_socket)
            self.want_input(self.said_hello and self.input_open and len(self.unsent) < BACKLOG)

            if deadline is not None and deadline.left() <= 0:
                return None
            if self.silence.left() <= 0:
                raise NotRun(f"the outer machine has come to a stand: nothing was heard of it for {SILENCE_S} s")
            left = self.silence.left() if deadline is None else min(self.silence.left(), deadline.left())
            for key, events in self.selector.select(max(left, 0)):
                if events & ~selectors.EVENT_WRITE:
                    key.data()
        return self.status


def write_all(fd, data):
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view):]
        except BlockingIOError:         # somebody else made it non-blocking
            time.sleep(0.01)


def say(text):
    print(f"testbed/run: {text}", file=sys.stderr, flush=True)


def run_in_machine(directory, memory_mib, cpus, disk_mib, limit, scratch, command):
    deadline = Deadline(limit) if limit else None
    os.environ[VARIABLE] = f"{slowness():.2f}"
    terminal = os.isatty(0) and os.isatty(1)
    machine = Machine(directory, memory_mib, cpus, make_disk(directory, disk_mib), scratch)
    saved = termios.tcgetattr(0) if terminal else None
    try:
        session = Session(machine, command, scratch, terminal)
        if terminal:
            signal.signal(signal.SIGWINCH, lambda *_: session.send_window())
            tty.setraw(0)
        status = session.run(deadline)
    finally:
        if saved:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)
        machine.end()
    if status is None:
        say(f"the command did not end within {limit} s")
        return EXIT_LIMIT
    return status


def interrupted(number, _frame):
    for other in ENDING_SIGNALS:
        signal.signal(other, signal.SIG_IGN)    # nothing disturbs the cleaning up
    raise Interrupted(number)


def main(argv):
    directory, memory_mib, cpus, disk_mib, limit, scratch = argv[1:7]
    for number in ENDING_SIGNALS:
        signal.signal(number, interrupted)
    try:
        return run_in_machine(directory, memory_mib, cpus, int(disk_mib), int(limit), scratch, argv[7:])
    except NotRun as why:
        say(why)
        return EXIT_NOT_RUN
    except BrokenPipeError:
        end_by_signal(signal.SIGPIPE)
    except Interrupted as why:
        end_by_signal(why.args[0])


def end_by_signal(number):
    """What started us sees the same as if it had run the command itself."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
