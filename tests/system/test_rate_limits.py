# SPDX-License-Identifier: Apache-2.0
"""
Rate limiters of drives and interfaces under Linux, which asks for more than they let pass, all at the same time: ten seconds,
by what the monitor counts and by its clock, which are in each line of its metrics. A network interface's bytes are
test_network.py's (test_a_limit_holds_and_can_be_changed).
"""
import contextlib
import itertools
import json
import os
import socket
import time

import pytest

from conftest import machine_config
from snapsafe.meanwhile import meanwhile
from snapsafe.network import GUEST, HOST, PREFIX, Namespace, echo_request
from snapsafe.patience import Deadline

pytestmark = pytest.mark.guest

SECONDS = 10
WITHIN = 0.05
# By what is limited, and what the guest does with it, past its page cache where it writes: that holds back for long.
DRIVES = {
    "read_bytes": "cat /dev/vdb >/dev/null",
    "read_ops": "cat /dev/vdc >/dev/null",
    "written_bytes": "dd if=/dev/zero of=/dev/vdd bs=64k oflag=direct",
    "written_ops": "dd if=/dev/zero of=/dev/vde bs=4k oflag=direct",
}


class Limit:
    """A bucket that holds two seconds' worth, so that a guest that stands still for a moment catches up."""

    def __init__(self, name, field, group, counters, rate):
        self.name, self.field, self.group, self.counters, self.rate = name, field, group, counters, rate
        self.slack = 1 if field == "ops" else 0  # what is asked for may end beyond the limit
        self.size = 2 * rate
        self.since = self.before = None  # when it was set, and what had passed by then
        self.begun = self.ratio = None

    def bucket(self):
        return {"size": self.size, "refill_time": 1000 * self.size // self.rate}

    def passed(self, totals):
        return sum(totals[self.group, name] for name in self.counters)

    def set(self, clock, totals):
        self.since, self.before = clock, self.passed(totals)

    def look(self, clock, totals):
        """clock in seconds. What has passed is never more than the limit; has it been as much, once, after ten seconds?"""
        passed = self.passed(totals) - self.before
        assert passed <= self.size + (1 + WITHIN) * self.rate * (clock - self.since) + self.slack, (
            f"{self.name}: {passed} in {clock - self.since:.2f} s")
        if not self.begun and passed:
            self.begun = clock
        if self.begun and clock - self.begun >= SECONDS:
            self.ratio = max(self.ratio or 0, passed / (self.size + self.rate * (clock - self.begun)))

    def is_reached(self):
        return self.ratio is not None and self.ratio >= 1 - WITHIN


class Meter:
    """Totals of the metrics: each line has what was added since the one before, and when it was written."""

    def __init__(self, m, path):
        self.m, self.path, self.totals, self.clock = m, path, {}, None
        self.at = 0

    def read(self):
        self.m.api.put("/actions", {"action_type": "FlushMetrics"})
        with open(self.path, encoding="utf-8") as f:
            f.seek(self.at)
            lines = f.read()
            self.at = f.tell()
        for line in map(json.loads, lines.splitlines()):
            self.clock = line["utc_timestamp_ms"] / 1000
            for group, values in line.items():
                for name, value in values.items() if isinstance(values, dict) else ():
                    if isinstance(value, int):
                        self.totals[group, name] = self.totals.get((group, name), 0) + value
        return self.clock, self.totals


@contextlib.contextmanager
def echoes(ns, a_second):
    """Echo requests for the guest, which answers each, until it is over."""
    numbers = itertools.count(1)

    with ns.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
        def send():
            for number in itertools.islice(numbers, a_second // 50):
                with contextlib.suppress(OSError):  # the tap's queue is full
                    s.sendto(echo_request(os.getpid() & 0xffff, number & 0xffff), (GUEST, 0))

        s.setblocking(False)
        with meanwhile((0.02, send)):
            yield


def drive_limit(name):
    if name.endswith("bytes"):
        return Limit(f"drive {name}", "bandwidth", f"block_{name}", ["read_bytes", "write_bytes"], 1 << 20)
    return Limit(f"drive {name}", "ops", f"block_{name}", ["read_count", "write_count"], 20)


def started(monitor, ns, directory):
    drives = machine_config()["drives"]
    for name in DRIVES:
        with open(directory / name, "wb") as f:
            f.truncate(2 << 30)
        drives.append({"drive_id": name, "path_on_host": str(directory / name), "is_root_device": False,
                       "is_read_only": name.startswith("read")})
    config = machine_config(**{
        "drives": drives, "metrics": {"metrics_path": str(directory / "metrics")},
        "network-interfaces": [{"iface_id": "eth0", "host_dev_name": "tap0", "guest_mac": "06:00:ac:10:00:02"}]})
    (directory / "config.json").write_text(json.dumps(config))
    m = monitor("--config-file", str(directory / "config.json"), preexec=ns.enter)
    m.console.login()
    m.console.quiet()
    m.console.run(f"ip addr add {GUEST}/{PREFIX} dev eth0 && ip link set eth0 up")
    m.console.run(f"ping -c 1 -W 10 {HOST}")
    return m


def test_ten_seconds_of_what_limits_let_pass(monitor, tmp_path):
    ns = Namespace()
    try:
        ns.add_tap("tap0")
        m = started(monitor, ns, tmp_path)
        drives = {name: drive_limit(name) for name in DRIVES}
        rx = Limit("frames to the guest", "ops", "net_eth0", ["rx_packets_count"], 100)
        tx = Limit("frames from the guest", "ops", "net_eth0", ["tx_packets_count"], 50)
        limits = [*drives.values(), rx, tx]
        meter = Meter(m, tmp_path / "metrics")
        clock, totals = meter.read()
        for limit in limits:
            limit.set(clock, totals)
        for name, limit in drives.items():
            m.api.patch(f"/drives/{name}", {"drive_id": name, "rate_limiter": {limit.field: limit.bucket()}})
        m.api.patch("/network-interfaces/eth0", {"iface_id": "eth0", "rx_rate_limiter": {"ops": rx.bucket()},
                                                 "tx_rate_limiter": {"ops": tx.bucket()}})
        m.console.send(" & ".join(f"{command} 2>/dev/null" for command in DRIVES.values()) + " &\n")
        with echoes(ns, 400):
            deadline = Deadline(4 * SECONDS)
            while deadline.left() > 0 and not all(limit.is_reached() for limit in limits):
                time.sleep(0.1)
                clock, totals = meter.read()
                for limit in limits:
                    limit.look(clock, totals)
        print({limit.name: limit.ratio for limit in limits}, clock - limits[0].since)
        for limit in limits:
            assert limit.is_reached(), f"{limit.name}: {limit.ratio} of what the limit lets pass"
    finally:
        ns.close()
