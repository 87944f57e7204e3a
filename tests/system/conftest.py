# SPDX-License-Identifier: Apache-2.0
"""
Whole machines: the real monitor, real KVM, Debian's stock kernels. Run by tests/system/run.

Tests whose guest has to get somewhere are marked `guest` and run inside the testbed. The others need only a KVM that makes
machines, which it does without VMX and SVM, too: they run on the host.

Booting takes seconds, restoring milliseconds: most tests start from a snapshot of a guest that is logged in, made once
for each kind of machine.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "pylib"))
from snapsafe import Monitor  # noqa: E402

BINARY = os.environ.get("SNAPSAFE_BINARY", str(ROOT / "bin" / "snapsafe-vmm"))
IMAGE = ROOT / "build" / "image"
COUNTER = "/sys/virtio-rng/virtio_rng.0/vm_gen_counter"
# A boot without quiet takes twice as long where each byte of the console leaves an emulated machine.
BOOT_ARGS = ("panic=1 reboot=k tsc=reliable console=ttyS0 quiet ipv6.disable=1 i8042.noaux i8042.nokbd i8042.nopnp "
             "virtio_rng.expose_seed=1")


def long_form(*values):
    """What a parameter may be beside what ./check has time for: `tests/long matrix` tries all of it."""
    return values if "SNAPSAFE_LONG" in os.environ else ()


def pytest_configure(config):
    config.addinivalue_line("markers", "guest: its guest has to get somewhere, so the processor must have VMX or SVM")


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items):
    """Tests that use the same kind of machine follow each other, so that its snapshot is made once and soon."""
    items.sort(key=lambda item: item.path.name)
    for item in items:
        if {"boot", "snapshot_of"} & set(item.fixturenames):
            item.add_marker("guest")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Tells tests/system/run what has failed: by a fixture's end, too, and each once."""
    report = (yield).get_result()
    if report.failed and "SNAPSAFE_FAILED" in os.environ and not getattr(item, "told_of", False):
        item.told_of = True
        with open(os.environ["SNAPSAFE_FAILED"], "a", encoding="utf-8") as f:
            f.write(f"{item.path.relative_to(ROOT)}::{item.name}\n")


def machine_config(kernel="6.1", vcpus=1, mem_mib=128, boot_args=BOOT_ARGS, **sections):
    if kernel == "patched":  # everything that it needs to mount its root is built in
        images = {"kernel_image_path": str(ROOT / "bin" / "vmlinux-6.1-snapsafe")}
    else:
        images = {"kernel_image_path": str(IMAGE / f"vmlinux-{kernel}-cloud"),  # decompressed already
                  "initrd_path": str(IMAGE / f"initrd-{kernel}-cloud.img")}
    config = {
        "boot-source": {**images, "boot_args": boot_args},
        "drives": [{
            "drive_id": "rootfs",
            "path_on_host": str(IMAGE / "rootfs.ext4"),
            "is_root_device": True,
            "is_read_only": True,
        }],
        "machine-config": {"vcpu_count": vcpus, "mem_size_mib": mem_mib},
        "entropy": {},
    }
    config.update(sections)
    return config


@pytest.fixture(autouse=True)
def tidy(tmp_path):
    """Memory files of one test are gone before the next: the testbed's disk is memory. Set up first, it goes last."""
    yield
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def monitor(tidy):
    """Starts monitors: monitor(*args); all end with the test."""
    monitors = []

    def start(*args, **kwargs):
        m = Monitor(*args, binary=BINARY, **kwargs)
        monitors.append(m)
        return m

    yield start
    for m in monitors:
        m.stop()


@pytest.fixture
def boot(monitor, tmp_path):
    """boot(config) -> a monitor whose guest is logged in, its console quiet."""

    def start(config, *args):
        path = tmp_path / f"config-{os.urandom(4).hex()}.json"
        path.write_text(json.dumps(config))
        m = monitor("--config-file", str(path), *args)
        m.console.login()
        m.console.quiet()
        return m

    return start


class Snapshot:
    """A pair of files, and the guest in it: logged in, console quiet, generation 0."""

    def __init__(self, directory):
        self.state = directory / "state"
        self.mem = directory / "mem"


@pytest.fixture(scope="session")
def snapshot_of(tmp_path_factory):
    """snapshot_of(kernel=..., vcpus=..., mem_mib=...) -> Snapshot, made at the first call for that kind."""
    made = {}

    def make(**kind):
        key = json.dumps(kind, sort_keys=True)
        if key not in made:
            directory = tmp_path_factory.mktemp("snapshot")
            (directory / "config.json").write_text(json.dumps(machine_config(**kind)))
            with Monitor("--config-file", str(directory / "config.json"), binary=BINARY) as m:
                m.console.login()
                m.console.quiet()
                m.api.pause()
                snapshot = Snapshot(directory)
                m.api.snapshot(snapshot.state, snapshot.mem)
            made[key] = snapshot
        return made[key]

    return make


@pytest.fixture
def restore(monitor):
    """restore(snapshot) -> a monitor that runs a clone."""

    def start(snapshot, *args, resume=True):
        m = monitor(*args)
        m.wait_api()
        m.api.load(snapshot.state, snapshot.mem, resume)
        return m

    return start


@pytest.fixture
def copy(good, tmp_path):
    """The files of a module's good pair, for one test to damage."""
    mine = Snapshot(tmp_path)
    shutil.copy(good.state, mine.state)
    subprocess.run(["cp", "--sparse=always", str(good.mem), str(mine.mem)], check=True)
    return mine


def mapped_counter(m):
    """The generation as a program sees it, by read(2)."""
    return int(m.console.run(f"od -An -tu8 -N8 {COUNTER}"))


def start_watching(m, program):
    """test_mmap or test_poll in the background, which has seen the counter as it is now; kill $watch ends it."""
    m.console.run(f"./{program} {COUNTER} & watch=$!; "
                  "until { cat /proc/$watch/maps; ls -l /proc/$watch/fd; } | grep -q vm_gen_counter; do usleep 20000; done; "
                  "usleep 200000", 120)


def start_tool(m, command):
    """
    The command snapsafe watch or run-on-change, in the background, asleep until there is a change: $watch is its process. An event
    that comes while it starts is none to it.
    """
    m.console.run(f"{command} & watch=$!; "
                  "while kill -0 $watch && ! grep -q poll /proc/$watch/wchan; do sleep 0.1; done; kill -0 $watch", 120)


def wait_handled(m, generation, timeout=30):
    """Until the guest's driver has reseeded for that generation."""
    m.console.run(f"i=0; until [ $(cat /sys/virtio-rng/virtio_rng.0/reseed_generation) -ge {generation} ]; do "
                  f"i=$((i+1)); [ $i -lt 1000 ] || break; usleep 10000; done; "
                  f"[ $(cat /sys/virtio-rng/virtio_rng.0/reseed_generation) -ge {generation} ]", timeout)
