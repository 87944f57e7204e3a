# SPDX-License-Identifier: Apache-2.0
"""
Where programs of other languages draw their random bytes, across real restores: what two clones of one machine have in common.
docs/languages.md has the table; SAFE and UNSAFE below are its cells.

A program (tests/languages/programs) is started, draws from all of its sources without a pause, and the machine is saved
somewhere in the middle of it. Two clones each go on with it: 32 values a source, from the moment on when the counter has changed.

Debian 13's side is in the long form. It needs image/mk-languages 13, and image/build-kernel 6.12 for the patched kernel.
"""
import collections
import contextlib
import functools
import json
import mmap
import os
import pathlib
import signal
import stat
import subprocess
import time

import pytest

from conftest import BOOT_ARGS, IMAGE, ROOT, long_form
from drawing_programs import DRAWS, drawn_by_two_clones, start
from snapsafe.patience import Deadline

DRIVES = {12: IMAGE / "languages.ext4", 13: IMAGE / "languages13.ext4"}
PROVIDER = "OPENSSL_CONF=/usr/share/snapsafe/openssl.cnf"
# The kernels that a row is measured with, each Debian's own: as it is, and nobody tells it of the restore; the same with our
# driver, which makes it reseed some milliseconds later; with our patches, and it has reseeded before anybody gets a byte.
SERIES = {12: "6.1", 13: "6.12"}
KERNELS = ("stock", "driver", "patched")

PYTHON = "/usr/bin/python3 -B /draw/draw.py"
NGINX = "/usr/bin/python3 -B /draw/draw_nginx.py"
NODE = "/usr/bin/node {} /draw/draw.js"
JAVA = "/draw/java -Xmx32m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 {} -cp /draw Draw"
OPENSSL = "/draw/draw-openssl"
# The variables, the program, and what stands behind the counter's path.
COMMANDS = {
    "openssl": ("", OPENSSL, ""),
    "openssl+adapter": (PROVIDER, OPENSSL, ""),
    "python": ("", PYTHON, ""),
    "python+adapter": (PROVIDER, PYTHON, "adapter"),
    "node": ("", NODE.format(""), ""),
    "node+adapter": (PROVIDER, NODE.format("--openssl-shared-config --require /draw/snapsafe.js"), ""),
    "go": ("", "/draw/draw-go", ""),
    "go+fips": ("GODEBUG=fips140=on", "/draw/draw-go", ""),
    "go+adapter": ("", "/draw/draw-go", "adapter"),
    "rust": ("", "/draw/draw-rust", ""),
    "rust+adapter": ("", "/draw/draw-rust", "adapter"),
    "java": ("", JAVA.format(""), ""),
    "java+adapter": ("", JAVA.format("-javaagent:/draw/snapsafe.jar"), ""),
    "nginx": ("", NGINX, ""),
    "nginx+adapter": ("", NGINX, "adapter"),
}
# What a source does with each kernel: clones have values in common, have none, or may have some (None: not a test, but counted).
SAFE, UNSAFE = "safe", "unsafe"
DIRECT = {"stock": UNSAFE, "driver": None, "patched": SAFE}  # the kernel's bytes, each time
AHEAD = {"stock": UNSAFE, "driver": None, "patched": None}  # the kernel's bytes, of up to a tenth of a second before
OWN = {"stock": UNSAFE, "driver": UNSAFE, "patched": UNSAFE}  # a state in the process
LIBRARY = {"driver": SAFE, "patched": SAFE}  # libsnapsafe
EXPECTED = {
    "openssl": {"RAND_bytes": OWN, "RAND_priv_bytes": OWN, "EVP_PKEY_Q_keygen": OWN},
    "openssl+adapter": {"RAND_bytes": LIBRARY, "RAND_priv_bytes": LIBRARY, "EVP_PKEY_Q_keygen": LIBRARY},
    "python": {"secrets": DIRECT, "SystemRandom": DIRECT, "uuid4": DIRECT, "random": OWN, "ssl": OWN, "hello": OWN, "record": OWN},
    "python+adapter": {"secrets": DIRECT, "SystemRandom": DIRECT, "uuid4": DIRECT, "random": LIBRARY, "ssl": LIBRARY,
                       "hello": LIBRARY, "record": LIBRARY, "snapsafe": LIBRARY},
    "node": {name: OWN for name in ("randomBytes", "randomUUID", "randomInt", "getRandomValues", "key", "Math.random")},
    "node+adapter": {"randomBytes": DIRECT, "randomUUID": DIRECT, "randomInt": DIRECT, "getRandomValues": DIRECT, "key": LIBRARY,
                     "Math.random": DIRECT},
    "go": {"crypto/rand": DIRECT, "math/rand/v2": OWN, "math/rand": OWN},
    "go+fips": {"crypto/rand": DIRECT, "math/rand/v2": OWN, "math/rand": OWN},
    "go+adapter": {"crypto/rand": DIRECT, "math/rand/v2": DIRECT, "math/rand": OWN},
    "rust": {"OsRng": DIRECT, "aws-lc-rs": DIRECT, "ThreadRng": OWN, "StdRng": OWN},
    "rust+adapter": {"OsRng": DIRECT, "aws-lc-rs": DIRECT, "ThreadRng": LIBRARY, "StdRng": LIBRARY},
    "java": {"SecureRandom": AHEAD, "UUID": AHEAD, "DRBG": OWN, "SHA1PRNG": OWN, "ThreadLocalRandom": OWN},
    "java+adapter": {"SecureRandom": DIRECT, "UUID": DIRECT, "DRBG": OWN, "SHA1PRNG": OWN, "ThreadLocalRandom": OWN},
    "nginx": {"hello": OWN, "record": OWN},
    "nginx+adapter": {"hello": LIBRARY, "record": OWN},
}
# What image/mk-languages may have had no compiler for.
NEEDS = {"go": "draw-go", "rust": "draw-rust", "java": "Draw.class"}


@functools.cache
def programs_on(drive):
    """The names of what is in the drive's directory of programs."""
    listing = subprocess.run(["debugfs", "-R", "ls -p /draw", drive], check=True, stdout=subprocess.PIPE, text=True).stdout
    return {line.split("/")[5] for line in listing.splitlines() if line.count("/") > 5}


def need(debian, kernel, program):
    """Debian 12's drive and patched kernel are made for ./check."""
    made = [(DRIVES[13], "mk-languages 13")] if debian == 13 else []
    if debian == 13 and kernel == "patched":
        made.append((patched_kernel(debian), f"build-kernel {SERIES[debian]}"))
    for path, command in made:
        if not path.exists():
            pytest.skip(f"there is no {path.name}: image/{command} makes it")
    needed = NEEDS.get(program.split("+", maxsplit=1)[0])
    if needed and needed not in programs_on(DRIVES[debian]):
        pytest.skip(f"{DRIVES[debian].name} has no {needed}: image/mk-languages had no compiler for it")


def patched_kernel(debian):
    return ROOT / "bin" / f"vmlinux-{SERIES[debian]}-snapsafe"


def machine(debian, kernel):
    """For snapshot_of()."""
    drives = [{"drive_id": "rootfs", "path_on_host": str(IMAGE / "rootfs.ext4"), "is_root_device": True, "is_read_only": True},
              {"drive_id": "languages", "path_on_host": str(DRIVES[debian]), "is_root_device": False, "is_read_only": True}]
    size = {"vcpu_count": 1, "mem_size_mib": 256}
    if kernel == "patched":  # noxsave: see test_patched_kernel.py
        return {"boot-source": {"kernel_image_path": str(patched_kernel(debian)), "boot_args": BOOT_ARGS + " noxsave"},
                "machine-config": size, "drives": drives}
    return {"kernel": SERIES[debian], "boot_args": BOOT_ARGS + (" virtio_rng.reseed=0" if kernel == "stock" else ""),
            "machine-config": {**size, "vm_generation_id": False}, "drives": drives}


def start_in_root(m, kernel, command):
    variables, program, arguments = command
    # No kernel messages in between what is printed: a guest that is starved of its processor has some to tell.
    m.console.run("set +m; dmesg -n 1; mount -t ext4 -o ro /dev/vdb /mnt && mount -t proc proc /mnt/proc && "
                  "mount -t sysfs sysfs /mnt/sys && mount -o bind /dev /mnt/dev")
    if kernel == "stock":  # AWS-LC would be told
        m.console.run("rm -f /dev/sysgenid")
        # A young kernel reseeds every few seconds by itself, at another moment in each clone.
        m.console.run("until [ $(cut -d. -f1 /proc/uptime) -ge 40 ]; do sleep 1; done", 120)
    start(m, program, arguments, variables)


def note(debian, kernel, program, common):
    """For tests/long languages, which makes a table of all that was counted."""
    if "SNAPSAFE_SCRATCH" in os.environ:
        with open(pathlib.Path(os.environ["SNAPSAFE_SCRATCH"]) / "languages.jsonl", "a", encoding="utf-8") as f:
            f.write(json.dumps({"debian": debian, "kernel": kernel, "program": program, "common": common}) + "\n")


SHORT = [(12, "patched", program) for program in ("python+adapter", "go", "rust+adapter")]
ALL = [(debian, kernel, program) for debian in SERIES for kernel in KERNELS for program in COMMANDS
       if not (kernel == "stock" and "+adapter" in program)]


@pytest.mark.parametrize("debian, kernel, program", [*SHORT, *[case for case in long_form(*ALL) if case not in SHORT]])
def test_what_two_clones_draw(snapshot_of, restore, tmp_path, debian, kernel, program):
    need(debian, kernel, program)
    m = restore(snapshot_of(**machine(debian, kernel)))
    start_in_root(m, kernel, COMMANDS[program])
    values = drawn_by_two_clones(m, restore, tmp_path)
    expected = EXPECTED[program]
    counts = [{name: len(of) for name, of in one.items()} for one in values]
    assert counts == [{name: DRAWS for name in expected}] * 2, "each clone has drawn from every source"
    common = {name: len(set(values[0][name]) & set(values[1][name])) for name in expected}
    note(debian, kernel, program, common)
    wanted = {name: rule[kernel] for name, rule in expected.items() if rule[kernel]}
    got = {name: UNSAFE if common[name] else SAFE for name in wanted}
    assert got == wanted, common


@pytest.fixture
def rust(tmp_path):
    """What starts the Rust program in a root on this machine, and a counter there, a file's: /dev/sysgenid is the same."""
    need(12, "stock", "rust")
    subprocess.run(["debugfs", "-R", f"dump -p /draw/draw-rust {tmp_path}/draw-rust", DRIVES[12]], check=True)
    (tmp_path / "dev").mkdir()
    os.mknod(tmp_path / "dev" / "urandom", 0o666 | stat.S_IFCHR, os.makedev(1, 9))
    os.mknod(tmp_path / "dev" / "random", 0o666 | stat.S_IFCHR, os.makedev(1, 8))
    (tmp_path / "counter").write_bytes(bytes(mmap.PAGESIZE))
    os.link(tmp_path / "counter", tmp_path / "dev" / "sysgenid")

    def run(*arguments, **pipes):
        return subprocess.Popen(["chroot", tmp_path, "/draw-rust", *arguments], **pipes,
                                env={**os.environ, "SNAPSAFE_DEVICE": "/counter"})

    with open(tmp_path / "counter", "r+b") as f, mmap.mmap(f.fileno(), mmap.PAGESIZE) as counter:
        yield run, counter


# These need no guest, but the drive, which is made for tests with guests only.
@pytest.mark.guest
def test_aws_lc_aborts_in_the_middle_of_a_draw(rust):
    """Why the Rust program has it in a process of its own: that draws without a pause here, while the counter changes."""
    run, counter = rust
    with run("--aws-lc-rs", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        os.set_blocking(process.stdin.fileno(), False)
        deadline = Deadline(60)
        while process.poll() is None and deadline.left() > 0:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(process.stdin.fileno(), bytes(4096))
            counter[0] ^= 1
            time.sleep(0.001)
        if process.poll() is None:
            process.kill()
    assert process.returncode == -signal.SIGABRT


@pytest.mark.guest
@pytest.mark.parametrize("restored", [True, False])
def test_the_rust_program_when_aws_lc_aborts(rust, restored):
    run, counter = rust
    with run("/counter", "adapter", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout.readline() == "READY\n"
        program.send_signal(signal.SIGSTOP)
        counter[0] = restored
        children = pathlib.Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text(encoding="ascii").split()
        os.kill(int(children[0]), signal.SIGABRT)
        program.send_signal(signal.SIGCONT)
        out, err = program.communicate(timeout=60)
    assert len(children) == 1
    if not restored:
        assert program.returncode == 101 and "there was no restore" in err, err
        return
    assert program.returncode == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert collections.Counter(line[1] for line in lines if line[0] == "value") == {name: DRAWS for name in EXPECTED["rust+adapter"]}
    assert ["ended", "aws-lc-rs"] in lines
