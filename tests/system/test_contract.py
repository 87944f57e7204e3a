# SPDX-License-Identifier: Apache-2.0
"""What clients of Firecracker expect of its process, beside requests and answers. No guest has to run for that."""
import json
import os
import re
import resource
import signal
import struct
import subprocess
import tempfile
import termios
import time

import pytest

import snapshot_file
from conftest import BINARY
from snapsafe import Api
from snapsafe.api import UnixConnection
from snapsafe.proc import settles
from test_process import halting_kernel

LOCAL_FLAGS = 3  # index in what termios.tcgetattr() returns


@pytest.fixture
def config(tmp_path):
    halting_kernel(tmp_path / "kernel")
    (tmp_path / "config").write_text(json.dumps({
        "boot-source": {"kernel_image_path": str(tmp_path / "kernel")},
        "machine-config": {"vcpu_count": 1, "mem_size_mib": 32},
    }))
    return tmp_path / "config"


def said(tmp_path):
    return (tmp_path / "stdout").read_text()


@pytest.fixture
def process(tmp_path):
    """process(*args) -> a monitor with its output in files, as a service manager would start it, and its API."""
    started = []

    def start(*args, **kwargs):
        sock = tmp_path / "sock"
        with open(tmp_path / "stdout", "wb") as out, open(tmp_path / "stderr", "wb") as err:
            p = subprocess.Popen([BINARY, "--api-sock", str(sock), *map(str, args)], stdin=subprocess.DEVNULL, stdout=out,
                                 stderr=err, **kwargs)
        started.append(p)
        settles(lambda: "API server started." in said(tmp_path) or p.poll() is not None, True)
        return p, Api(str(sock))

    yield start
    for p in started:
        p.kill()
        p.wait()


def metrics(path):
    """The sum of what all lines count."""
    total = {}
    for line in path.read_text().splitlines():
        for section, values in json.loads(line).items():
            for name, value in values.items() if isinstance(values, dict) else ():
                total[section, name] = total.get((section, name), 0) + value if isinstance(value, int) else value
    return total


def test_the_log_goes_to_standard_output_with_the_lines_that_clients_wait_for(process, tmp_path, config):
    p, api = process("--config-file", config)
    assert api.get("/")["state"] == "Running"
    p.send_signal(signal.SIGTERM)
    assert p.wait(20) == -signal.SIGTERM
    log = said(tmp_path)
    for line in ("Running Firecracker v1.17.0", "API server started.",
                 "Successfully started microvm that was configured from one single json",
                 "Shutting down VM after intercepting signal 15, code 0."):
        assert re.search(rf"^20\S+ \[anonymous-instance:main\] {re.escape(line)}$", log, re.M), log
    assert "exit_code" not in log
    assert (tmp_path / "stderr").read_text() == ""


def test_a_start_by_a_request_says_so_too(process, tmp_path, config):
    p, api = process()
    api.put("/boot-source", {"kernel_image_path": str(tmp_path / "kernel")})
    api.put("/actions", {"action_type": "InstanceStart"})
    assert settles(lambda: "] Successfully started microvm.\n" in said(tmp_path), True)


def test_a_start_that_fails_says_its_status(process, tmp_path):
    p, _ = process("--config-file", tmp_path / "none")
    assert p.wait(20) == 1
    assert re.search(r"\] Firecracker exiting with error\. exit_code=1$", said(tmp_path), re.M)
    assert (tmp_path / "stderr").read_text().startswith("Error: ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_cleans_up_and_then_kills(monitor, config, tmp_path, number):
    m = monitor("--config-file", str(config))
    m.wait_api()
    assert not termios.tcgetattr(m.console.fd)[LOCAL_FLAGS] & termios.ICANON
    m.process.send_signal(number)
    assert m.wait() == -number
    assert termios.tcgetattr(m.console.fd)[LOCAL_FLAGS] & termios.ICANON
    assert not os.path.exists(m.api_sock)


def test_the_signal_kills_also_if_the_parent_ignores_it(process, config):
    p, _ = process("--config-file", config, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    p.send_signal(signal.SIGINT)
    assert p.wait(20) == -signal.SIGINT


def test_the_first_process_of_a_pid_namespace_has_the_shells_status(tmp_path, config):
    """No signal that it sends itself kills it."""
    if os.geteuid() != 0:
        pytest.skip("only root may make a PID namespace")
    p = subprocess.Popen(["unshare", "--pid", "--fork", BINARY, "--api-sock", str(tmp_path / "sock"), "--config-file",
                          str(config)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        assert settles(lambda: (tmp_path / "sock").exists(), True)
        child = int(open(f"/proc/{p.pid}/task/{p.pid}/children").read())
        os.kill(child, signal.SIGTERM)
        assert p.wait(20) == 128 + signal.SIGTERM
    finally:
        p.kill()
        p.wait()


def test_sighup_ends_with_its_status_a_line_and_a_count(process, tmp_path):
    p, _ = process("--metrics-path", tmp_path / "m")
    p.send_signal(signal.SIGHUP)
    assert p.wait(20) == 156
    assert "] Shutting down VM after intercepting signal 1, code 0.\n" in said(tmp_path)
    assert "] Firecracker exiting with error. exit_code=156\n" in said(tmp_path)
    assert metrics(tmp_path / "m")["signals", "sighup"] == 1


def test_sigpipe_is_noted_and_ends_nothing(process, tmp_path):
    p, api = process("--metrics-path", tmp_path / "m")
    p.send_signal(signal.SIGPIPE)
    assert settles(lambda: "] Received signal 13, code 0.\n" in said(tmp_path), True)
    assert api.get("/")["state"] == "Not started"
    p.send_signal(signal.SIGTERM)
    assert p.wait(20) == -signal.SIGTERM
    assert metrics(tmp_path / "m")["signals", "sigpipe"] == 1


def test_a_file_beyond_the_limit_ends_the_process(process, tmp_path, config):
    """As a jailer's limit for files is meant."""
    p, api = process("--config-file", config, "--metrics-path", "/dev/null",
                     preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)))
    api.pause()
    with pytest.raises(OSError):
        api.snapshot(tmp_path / "state", tmp_path / "mem")  # 32 MiB
    assert p.wait(20) == 151
    assert "] Shutting down VM after intercepting signal 25, code " in said(tmp_path)


def test_start_times_of_a_jailer_are_in_the_metrics(process, tmp_path):
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    process("--metrics-path", tmp_path / "m", "--start-time-us", now - 5_000_000, "--start-time-cpu-us", 0,
            "--parent-cpu-time-us", 7_000_000)
    assert settles(lambda: (tmp_path / "m").read_text().endswith("\n"), True)
    first = metrics(tmp_path / "m")
    assert 5_000_000 < first["api_server", "process_startup_time_us"] < 35_000_000
    assert 7_000_000 < first["api_server", "process_startup_time_cpu_us"] < 37_000_000


def test_without_them_the_start_is_the_process_own(process, tmp_path):
    process("--metrics-path", tmp_path / "m")
    assert settles(lambda: (tmp_path / "m").read_text().endswith("\n"), True)
    assert 0 < metrics(tmp_path / "m")["api_server", "process_startup_time_us"] < 30_000_000


def test_switches_without_effect_are_taken_with_a_warning(process, tmp_path):
    process("--enable-pci", "--show-level")
    log = said(tmp_path)  # which has been written as far as the line that came after
    assert len(re.findall(r":WARN\] --enable-pci has no effect: ", log)) == 1


def test_metadata_of_a_file_and_its_limit(process, tmp_path):
    data = {"latest": {"meta-data": {"id": "i-1"}}}
    (tmp_path / "data").write_text(json.dumps(data))
    _, api = process("--metadata", tmp_path / "data", "--mmds-size-limit", 60)
    assert api.get("/mmds") == data
    data["latest"]["meta-data"]["id"] = "i-2"
    api.patch("/mmds", data)
    status, text = api.raw("PUT", "/mmds", {"a": "x" * 53})
    assert status == 413 and "MMDS limit exceeded error: The MMDS patch request doesn't fit." in text
    assert api.get("/mmds") == data


@pytest.mark.parametrize("text, limit, reason", [
    ("{", 100, "invalid JSON at line 1"), ("[]", 100, "is a JSON object"), ('{"a": "' + "x" * 100 + '"}', 100, "100"),
    (None, 100, "No such file"),
])
def test_metadata_that_could_not_be_served_is_refused(process, tmp_path, text, limit, reason):
    if text is not None:
        (tmp_path / "data").write_text(text)
    p, _ = process("--metadata", tmp_path / "data", "--mmds-size-limit", limit)
    assert p.wait(20) == 1
    error = (tmp_path / "stderr").read_text()
    assert error.startswith("Error: ") and "metadata" in error and reason in error and str(tmp_path / "data") in error


def test_only_lines_of_the_module_that_was_asked_for(process, tmp_path):
    p, api = process("--module", "api_server")
    api.get("/version")
    settles(lambda: 'on "/version"' in said(tmp_path), True)
    log = said(tmp_path)
    assert "API server started." in log and "Running Firecracker" not in log
    api.put("/logger", {"module": "main"})
    size = len(said(tmp_path))
    api.get("/version")
    p.send_signal(signal.SIGTERM)
    p.wait(20)
    assert 'on "/version"' not in said(tmp_path)[size:]


def guest_mapping_flags(pid, size):
    """What the kernel says of the mapping that is the guest's memory."""
    found = False
    for line in open(f"/proc/{pid}/smaps"):
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if head:
            found = int(head.group(2), 16) - int(head.group(1), 16) >= size
        elif found and line.startswith("VmFlags:"):
            return line.split()[1:]
    raise AssertionError("no such mapping")


def test_huge_pages_and_dirty_tracking_are_taken_and_shown(process, tmp_path, config):
    shown = {"track_dirty_pages": True, "huge_pages": "Transparent"}
    p, api = process()
    api.put("/boot-source", {"kernel_image_path": str(tmp_path / "kernel")})
    api.put("/machine-config", {"vcpu_count": 1, "mem_size_mib": 64, **shown})
    api.put("/actions", {"action_type": "InstanceStart"})
    assert shown.items() <= api.get("/machine-config").items()
    assert "hg" in guest_mapping_flags(p.pid, 64 << 20)
    api.pause()
    api.snapshot(tmp_path / "state", tmp_path / "mem")
    p.send_signal(signal.SIGTERM)
    p.wait(20)
    load = {"snapshot_path": str(tmp_path / "state"),
            "mem_backend": {"backend_path": str(tmp_path / "mem"), "backend_type": "File"}}
    for asked, dirty, pages, advised in (
            ({}, False, "Transparent", True),
            ({"track_dirty_pages": True}, True, "Transparent", True),
            ({"enable_diff_snapshots": True, "huge_pages": "Snapshot"}, True, "Transparent", True),
            ({"huge_pages": "None"}, False, "None", False),
            ({"huge_pages": "Transparent"}, False, "Transparent", True)):
        p, api = process()
        api.put("/snapshot/load", {**load, **asked})
        assert {"track_dirty_pages": dirty, "huge_pages": pages}.items() <= api.get("/machine-config").items()
        assert ("hg" in guest_mapping_flags(p.pid, 64 << 20)) == advised
        p.send_signal(signal.SIGTERM)
        p.wait(20)


@pytest.mark.parametrize("method, path, body, deprecated", [
    ("PUT", "/machine-config", {"vcpu_count": 1, "mem_size_mib": 128, "cpu_template": "None"}, True),
    ("PUT", "/machine-config", {"vcpu_count": 1, "mem_size_mib": 128}, False),
    ("PUT", "/snapshot/load", {"snapshot_path": "/none", "mem_file_path": "/none"}, True),
    ("PUT", "/snapshot/load", {"snapshot_path": "/none", "mem_backend": {"backend_path": "/none",
                                                                      "backend_type": "File"}}, False),
])
def test_deprecated_fields_are_answered_with_a_header(process, tmp_path, method, path, body, deprecated):
    process()
    connection = UnixConnection(str(tmp_path / "sock"), 20)
    connection.request(method, path, json.dumps(body))
    response = connection.getresponse()
    assert response.getheader("Deprecation") == ("true" if deprecated else None)
    connection.close()


def test_a_drive_with_the_longest_id_lives_through_a_snapshot(process, tmp_path, config):
    name = "x" * 80
    (tmp_path / "disk").write_bytes(bytes(4096))
    p, api = process()
    api.put("/boot-source", {"kernel_image_path": str(tmp_path / "kernel")})
    for drive in (name, name[:-1] + "y"):
        api.put(f"/drives/{drive}", {"drive_id": drive, "path_on_host": str(tmp_path / "disk"), "is_root_device": False,
                                     "is_read_only": True})
    api.put("/actions", {"action_type": "InstanceStart"})
    api.pause()
    api.snapshot(tmp_path / "state", tmp_path / "mem")
    p.send_signal(signal.SIGTERM)
    p.wait(20)
    p, api = process()
    api.load(tmp_path / "state", tmp_path / "mem")
    api.patch(f"/drives/{name}", {"drive_id": name, "path_on_host": str(tmp_path / "disk")})
    assert [d["drive_id"] for d in api.get("/vm/config")["drives"]] == [name, name[:-1] + "y"]


def test_the_memory_file_is_as_long_as_the_memory_and_bound_to_its_state_file(process, tmp_path, config):
    """On any file system, after any way of copying: the id is in the file's contents, and nobody sees it in memory."""
    p, api = process("--config-file", config)
    api.pause()
    for i in range(2):
        api.snapshot(tmp_path / f"state{i}", tmp_path / f"mem{i}")
        assert (tmp_path / f"mem{i}").stat().st_size == 32 << 20
    p.send_signal(signal.SIGTERM)
    p.wait(20)
    first, second = ((tmp_path / f"mem{i}").read_bytes() for i in range(2))
    at = struct.unpack_from("<Q", (tmp_path / "state0").read_bytes(), 56)[0]
    assert first[at + 16:at + 32] == (tmp_path / "state0").read_bytes()[40:56] != second[at + 16:at + 32]
    assert first[:at] + first[at + 4096:] == second[:at] + second[at + 4096:]  # it was the same moment
    p, api = process()
    status, body = api.raw("PUT", "/snapshot/load", {
        "snapshot_path": str(tmp_path / "state0"),
        "mem_backend": {"backend_path": str(tmp_path / "mem1"), "backend_type": "File"}})
    assert status == 400 and f"{tmp_path}/mem1" in body and "belongs to another snapshot" in body, body
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as copy:
        copy.write(first)
        copy.flush()
        memfd = os.memfd_create("mem")
        os.write(memfd, first)
        api.load(tmp_path / "state0", copy.name, resume=False)
        api.snapshot(tmp_path / "state2", tmp_path / "mem2")
        p.send_signal(signal.SIGTERM)
        p.wait(20)
        p, api = process()
        api.load(tmp_path / "state0", f"/proc/{os.getpid()}/fd/{memfd}", resume=False)
        os.close(memfd)
    third = (tmp_path / "mem2").read_bytes()
    behind = 0xE0000  # the pages before it are where a machine that is loaded has got another VM Generation ID
    assert third[:at] + third[behind:] == first[:at] + first[behind:]
    # Both snapshots say the same of what stands under the record.
    states = [dict(snapshot_file.tree((tmp_path / f"state{i}").read_bytes())) for i in (0, 2)]
    assert states[0]["under_record"] == states[1]["under_record"] == b""
