# SPDX-License-Identifier: Apache-2.0
"""The process as its users see it: exit statuses, one sentence for each mistake, nothing left behind."""
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import tempfile

import pytest

from conftest import BINARY, IMAGE, machine_config
from snapsafe import proc


def run(*args, timeout=30, **kwargs):
    return subprocess.run([BINARY, *args], capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL,
                          **kwargs)


def sentences(result):
    return [line for line in result.stderr.splitlines() if line.startswith("Error: ")]


@pytest.fixture
def run_config(tmp_path):
    """run_config(config or text) -> the finished process."""

    def start(config, **kwargs):
        path = tmp_path / "config.json"
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        return run("--no-api", "--config-file", str(path), **kwargs)

    return start


@pytest.mark.parametrize("args, status, text", [
    (["--nonsense"], 153, "Found argument '--nonsense'"),
    (["--id"], 153, "requires a value"),
    (["--no-api"], 153, "'config-file' required"),
    (["--id", "x", "--id", "y"], 153, "more than once"),
    (["--level", "loud"], 152, 'level is "loud"'),
    (["--id", "not/valid"], 152, "id"),
    (["--describe-snapshot", "/nonexistent"], 1, "/nonexistent"),
    (["--config-file", "/nonexistent", "--no-api"], 1, "/nonexistent"),
    (["--log-path", "/nonexistent/log"], 1, "/nonexistent/log"),
    (["--metrics-path", "/nonexistent/m"], 1, "/nonexistent/m"),
    (["--api-sock", "/nonexistent/sock"], 1, "/nonexistent/sock"),
    (["--api-sock", "/" + "x" * 200], 1, "108|107"),
])
def test_mistakes_on_the_command_line(args, status, text):
    result = run(*args)
    assert result.returncode == status, result.stderr
    assert re.search(text, result.stderr), result.stderr
    if status in (152, 153):  # from then on there is a log
        assert result.stdout == ""


def test_help_and_versions():
    assert "--api-sock PATH" in run("--help").stdout
    assert re.fullmatch(r"Firecracker v1\.17\.0\nsnapsafe-vmm v\d+\.\d+\.\d+\n", run("--version").stdout)
    assert re.fullmatch(r"v\d+\.\d+\.\d+\n", run("--snapshot-version").stdout)


def test_describe_snapshot(snapshot_of):
    result = run("--describe-snapshot", str(snapshot_of(kernel="6.1").state))
    assert result.stdout == run("--snapshot-version").stdout
    assert result.returncode == 0


def changed(path, value):
    """A working configuration with one value replaced; path: keys and indices."""
    config = machine_config()
    at = config
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return config


@pytest.mark.parametrize("config, text", [
    ("{", "line"),
    ("[]", "object"),
    (changed(["boot-sauce"], {}), "boot-sauce"),
    (changed(["boot-source", "kernel_image_path"], "/nonexistent"), "/nonexistent"),
    (changed(["boot-source", "kernel_image_path"], "/"), "kernel_image_path"),
    (changed(["boot-source", "kernel_image_path"], "/etc/passwd"), "/etc/passwd"),
    (changed(["boot-source", "kernel"], "x"), '"kernel"'),
    (changed(["boot-source", "boot_args"], "x" * 2100), "boot_args"),
    (changed(["machine-config", "vcpu_count"], 33), "33"),
    (changed(["machine-config", "vcpu_count"], "two"), "vcpu_count"),
    (changed(["machine-config", "mem_size_mib"], 0), "mem_size_mib"),
    (changed(["machine-config", "mem_size_mib"], 16), "16 MiB|too little|does not fit|mem_size_mib"),
    (changed(["machine-config", "vcpus"], 1), '"vcpus"'),
    (changed(["drives", 0, "path_on_host"], "/nonexistent"), "/nonexistent"),
    (changed(["drives", 0, "cache_type"], "Sometimes"), "Sometimes"),
    (changed(["drives", 0, "io_engine"], "async"), "io_engine"),
    (changed(["entropy", "rate_limiter"], {"bandwidth": {"size": 1}}), "refill_time"),
    (changed(["network-interfaces"], [{"iface_id": "1", "host_dev_name": "tap0"}]), 'no network interface "tap0"'),
])
def test_a_mistake_in_the_config_file_is_one_sentence_and_status_1(run_config, config, text):
    result = run_config(config)
    assert result.returncode == 1, result.stderr
    assert len(sentences(result)) == 1, result.stderr
    assert re.search(text, sentences(result)[0]), result.stderr


@pytest.mark.guest
def test_the_seeds_config_file_is_accepted_as_it_stands(monitor, tmp_path):
    """With files at its paths: relative to the working directory, as Firecracker takes them."""
    for name, target in (("bin/vmlinux-6.1-snapsafe", "vmlinux-6.1-cloud"), ("share/al2.img", "rootfs.ext4")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(IMAGE / target)
    text = """{ "balloon": null, "drives": [ { "drive_id": "1", "path_on_host": "share/al2.img", "is_root_device": true,
      "partuuid": null, "is_read_only": false, "cache_type": "Unsafe", "rate_limiter": null, "io_engine": "Sync" } ],
      "boot-source": { "kernel_image_path": "bin/vmlinux-6.1-snapsafe", "initrd_path": null,
      "boot_args":"panic=1 reboot=k tsc=reliable earlyprintk=ttyS0 console=ttyS0 ipv6.disable=1 pci=off i8042.noaux" },
      "logger": null, "machine-config": { "vcpu_count": 1, "mem_size_mib": 4096, "smt": false, "track_dirty_pages": false },
      "metrics": null, "mmds-config": null, "network-interfaces": [], "vsock": null,
      "entropy": { "rate_limiter": { "bandwidth": null, "ops": null } } }"""
    (tmp_path / "fc_config.json").write_text(text)
    m = monitor("--config-file", "fc_config.json", cwd=tmp_path)
    m.console.expect("Linux version 6.1")
    shown = m.api.get("/vm/config")
    assert shown["machine-config"]["mem_size_mib"] == 4096
    assert shown["drives"][0]["path_on_host"] == "share/al2.img"


def test_a_stale_socket_is_replaced_and_removed_at_the_end(tmp_path, monitor):
    path = tmp_path / "sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    m = monitor(api_sock=path)
    m.wait_api()
    assert m.stop() == -signal.SIGTERM
    assert not path.exists()


def test_a_socket_in_use_is_refused_and_left_alone(monitor):
    first = monitor()
    first.wait_api()
    result = run("--api-sock", first.api_sock)
    assert result.returncode == 1
    assert first.api_sock in sentences(result)[0]
    assert first.api.get("/")["state"] == "Not started"


def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    result = run("--api-sock", str(path))
    assert result.returncode == 1 and str(path) in sentences(result)[0]
    assert path.read_text() == "data"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_a_machine_cleanly(boot, number):
    m = boot(machine_config())
    m.process.send_signal(number)
    assert m.wait() == -number  # which is not what a guest's end looks like
    assert not os.path.exists(m.api_sock)


@pytest.fixture
def kvm_elsewhere():
    """kvm_elsewhere(shell command) -> the finished monitor, which sees another /dev/kvm: the host's stays as it is."""
    if os.geteuid() != 0:
        pytest.skip("only root may make a mount namespace")
    with tempfile.TemporaryDirectory(prefix="snapsafe-") as directory:
        os.chmod(directory, 0o755)
        for name, source in (("monitor", BINARY), ("kernel", IMAGE / "vmlinuz-6.1-cloud")):
            shutil.copy(source, f"{directory}/{name}")
        config = {"boot-source": {"kernel_image_path": f"{directory}/kernel"}, "drives": []}
        with open(f"{directory}/config.json", "w") as f:
            json.dump(config, f)

        def start(mount, run_as=""):
            script = f"{mount} && exec {run_as} {directory}/monitor --no-api --config-file {directory}/config.json"
            return subprocess.run(["unshare", "--mount", "sh", "-c", script.format(directory=directory)], capture_output=True,
                                  text=True, timeout=30, stdin=subprocess.DEVNULL)

        yield start


def test_no_permission_on_kvm_is_one_sentence(kvm_elsewhere):
    result = kvm_elsewhere("mknod -m 600 {directory}/kvm c 10 232 && mount --bind {directory}/kvm /dev/kvm",
                           "setpriv --reuid 65534 --regid 65534 --clear-groups")
    assert result.returncode == 1, result.stderr
    assert "/dev/kvm" in sentences(result)[0] and "permission" in sentences(result)[0]


def test_no_kvm_device_is_one_sentence(kvm_elsewhere):
    result = kvm_elsewhere("mount -t tmpfs tmpfs /dev")
    assert result.returncode == 1, result.stderr
    assert "there is no usable /dev/kvm" in sentences(result)[0]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(snapshot_of, restore, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)], check=True)
    try:
        m = restore(snapshot_of(kernel="6.1"))
        m.api.pause()
        status, body = m.api.raw("PUT", "/snapshot/create", {"snapshot_path": str(small / "state"),
                                                            "mem_file_path": str(small / "mem")})
        assert status == 400 and "No space left" in body and str(small) in body, body
        assert os.listdir(small) == []
        m.api.resume()
        assert m.console.run("echo alive") == "alive\n"
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_failed_load_leaves_a_process_that_can_load_and_boot(snapshot_of, monitor, tmp_path):
    good = snapshot_of(kernel="6.1")
    bad = tmp_path / "state"
    bad.write_bytes(good.state.read_bytes()[:-1])
    m = monitor()
    m.wait_api()
    for state, mem in ((bad, good.mem), (tmp_path / "none", good.mem), (good.state, bad), (good.state, tmp_path)):
        status, body = m.api.raw("PUT", "/snapshot/load", {"snapshot_path": str(state), "mem_file_path": str(mem)})
        assert status == 400 and str(tmp_path) in body, body
    assert m.api.get("/")["state"] == "Not started"
    m.api.load(good.state, good.mem)
    assert m.api.get("/")["state"] == "Running"


def test_snapshot_files_are_private_and_sparse(snapshot_of):
    snapshot = snapshot_of(kernel="6.1", mem_mib=4096)
    umask = os.umask(0)
    os.umask(umask)
    for path in (snapshot.state, snapshot.mem):
        assert path.stat().st_mode & 0o777 == 0o660 & ~umask
    assert snapshot.mem.stat().st_size == 4096 << 20
    assert snapshot.mem.stat().st_blocks * 512 < 600 << 20


def small_stack():
    resource.setrlimit(resource.RLIMIT_STACK, (64 << 10, 64 << 10))


def halting_kernel(path):
    """The smallest that is accepted: an ELF file that halts."""
    code = b"\xfa\xf4\xeb\xfd"
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 1 << 20, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    path.write_bytes(head + struct.pack("<IIQQQQQQ", 1, 5, 120, 1 << 20, 1 << 20, len(code), 4096, 4096) + code)


def test_a_stack_limit_of_64_kib_is_enough(monitor, run_config, tmp_path):
    """Start, config file, snapshot, load, and JSON nested as deep as its parser allows."""
    halting_kernel(tmp_path / "kernel")
    (tmp_path / "machine").write_text(json.dumps({
        "boot-source": {"kernel_image_path": str(tmp_path / "kernel")},
        "machine-config": {"vcpu_count": 2, "mem_size_mib": 32},
        "entropy": {},
    }))
    m = monitor("--config-file", str(tmp_path / "machine"), preexec=small_stack)
    m.wait_api()
    m.api.pause()
    m.api.snapshot(tmp_path / "state", tmp_path / "mem")
    m.stop()
    m = monitor(preexec=small_stack)
    m.wait_api()
    m.api.load(tmp_path / "state", tmp_path / "mem")
    assert m.api.get("/")["state"] == "Running"
    for text in ("[" * 2040, '{"a":' * 2040):
        result = run_config(text, preexec_fn=small_stack)
        assert result.returncode == 1 and "invalid JSON" in result.stderr, (result.returncode, result.stderr)


def test_a_virtual_machine_is_prepared_before_anybody_asks(monitor, tmp_path):
    """By a process that has an API and nothing to do; whatever is made then is that one, not another."""
    def machines():
        return proc.open_files(m.process.pid).count("anon_inode:kvm-vm")

    halting_kernel(tmp_path / "kernel")
    m = monitor()
    m.wait_api()
    assert proc.settles(machines, 1)
    m.api.put("/boot-source", {"kernel_image_path": str(tmp_path / "kernel")})
    m.api.put("/actions", {"action_type": "InstanceStart"})
    assert machines() == 1
    assert m.api.get("/")["state"] == "Running"


def test_what_was_relocated_is_read_only(monitor):
    """Tables of functions, above all: with musl that is the program's business (base/libc.c)."""
    m = monitor()
    m.wait_api()
    maps = pathlib.Path(f"/proc/{m.process.pid}/maps").read_text()
    assert len(re.findall(r" r--p \S+ \S+ \S+ +\S+/snapsafe-vmm$", maps, re.MULTILINE)) == 3, maps  # what to relocate, constants, these


def test_what_a_start_needs_lies_together(monitor):
    """Not scattered over the whole program: if this fails, tools/startup-order is to be run again."""
    m = monitor()
    m.wait_api()
    smaps = pathlib.Path(f"/proc/{m.process.pid}/smaps").read_text()
    size, present = re.search(r" r-xp .*/snapsafe-vmm\nSize: +(\d+) kB\n(?:.*\n)*?Rss: +(\d+) kB\n", smaps).groups()
    assert int(present) < int(size) * 2 / 3
