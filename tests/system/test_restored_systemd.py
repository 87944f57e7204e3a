# SPDX-License-Identifier: Apache-2.0
"""
The units of snapsafe-restored.target under Debian 12's systemd, in a container of the root file system that guests have: all of
them are enabled, the target is restarted as the udev rule does it, twice, and each life has to have an identity of its own.
What says who we are is a file here; that a restore has the rule restart the target is test_userspace.py's.

eth0 is systemd-networkd's, eth1 a dhclient's.
"""
import json
import os
import re
import shutil
import subprocess
import time

import pytest

from conftest import ROOT
from dhcp_server import RELEASE, DhcpServer, Leases
from snapsafe.network import Namespace
from snapsafe.patience import Deadline, stretch

TAR = ROOT / "build" / "cache" / "rootfs-debian.tar"
INTEGRATION = ROOT / "guest" / "integration"
ENABLED = ("machine-id", "hostname", "ssh-host-keys", "networkd", "dhclient", "journald", "random-seed")
DHCLIENT = "dhclient -4 -i -pf /run/dhclient.pid -lf /var/lib/dhcp/dhclient.eth1.leases -df /var/lib/dhcp/none eth1"
MARK = "systemd-cat -t snapsafe-test echo"
VARIABLES = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="starts a container"),
    pytest.mark.skipif(not TAR.exists(), reason="image/mk-rootfs-debian has not been run"),
    pytest.mark.skipif(not shutil.which("systemd-nspawn"), reason="there is no systemd-nspawn here (systemd-container)"),
]

# name=value; a value is a line.
COMMANDS = {
    "machine-id": "cat /etc/machine-id",
    "hostname": "hostname",
    "ssh-file": "cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub",
    "ssh-rsa": "cut -d' ' -f2 /etc/ssh/ssh_host_rsa_key.pub",
    "ssh-served": "ssh-keyscan -T 60 -t ed25519 127.0.0.1 2>/dev/null | cut -d' ' -f3",
    "random-seed": "sha256sum </var/lib/systemd/random-seed",
    "boot-id": "tr -d - </proc/sys/kernel/random/boot_id",
    "eth0": "ip -4 -o addr show dev eth0 | awk '{print $4}'",
    "eth1": "ip -4 -o addr show dev eth1 | awk '{print $4}'",
}
LOOK = "; ".join(f"echo {name}=$({command})" for name, command in COMMANDS.items())


def make_root(root):
    """What packages have put there, with the units and scripts of this tree; `snapsafe` tells what a file has."""
    root.mkdir()
    subprocess.run(["tar", "-C", root, "-xf", TAR, "--exclude=./dev/*"], check=True)
    for path in INTEGRATION.glob("restored-*"):
        shutil.copy(path, root / "usr/lib/snapsafe")
    for path in [*INTEGRATION.glob("snapsafe-*.service"), INTEGRATION / "snapsafe-restored.target"]:
        shutil.copy(path, root / "usr/lib/systemd/system")
    (root / "usr/local/bin/snapsafe").write_text("#!/bin/sh\n[ \"$1\" = id ] && exec cat /run/identity\nexit 3\n")
    (root / "usr/local/bin/snapsafe").chmod(0o755)
    units = root / "etc/systemd/system"
    for unit in ("systemd-networkd.service", "systemd-networkd.socket"):  # masked in that image, for a quick start
        (units / unit).unlink()
    (units / "snapsafe-journald.service.d").mkdir()
    (units / "snapsafe-journald.service.d/container.conf").write_text("[Unit]\nConditionVirtualization=\n")
    (root / "etc/systemd/network/eth0.network").write_text("[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n")
    (root / "etc/hostname").write_text("base\n")
    (root / "etc/machine-id").write_text("5a4f6e7d3c2b41908f7e6d5c4b3a2910\n")


class Container:
    def __init__(self, root, ns):
        self.process = subprocess.Popen(
            ["systemd-nspawn", "-q", "-D", root, "--register=no", "--keep-unit", f"--network-namespace-path={ns.path}",
             "--capability=all", "-b"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.init = None
        self.wait_for("systemctl -q is-active multi-user.target")

    def run_status(self, command):
        if not self.init:
            children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
            with open(children, encoding="ascii") as f:
                self.init = f.read().strip()
            if not self.init:
                return 1, ""
        result = subprocess.run(["nsenter", "-t", self.init, "-m", "-u", "-i", "-n", "-p", "bash", "-c", command],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=stretch(120), env=VARIABLES)
        return result.returncode, result.stdout

    def run(self, command):
        status, output = self.run_status(command)
        assert status == 0, f"`{command}` exited with {status}:\n{output}"
        return output

    def wait_for(self, command, timeout=60):
        deadline = Deadline(timeout)
        while self.run_status(command)[0]:
            assert self.process.poll() is None, "the container has ended"
            assert deadline.left() > 0, f"`{command}` did not succeed within {timeout} s"
            time.sleep(0.2)

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=stretch(60))


@pytest.fixture
def leases():
    return [Leases("10.77.0"), Leases("10.77.1")]


@pytest.fixture
def container(tmp_path, leases):
    made = []
    try:
        ns = Namespace()
        made.append(ns)
        for number, of in enumerate(leases):
            for words in (f"link add tap{number} type veth peer name eth{number}", f"addr add {of.network}.1/24 dev tap{number}",
                          f"link set tap{number} up"):
                subprocess.run(["ip", *words.split()], check=True, preexec_fn=ns.enter)
            made.append(DhcpServer(ns, f"tap{number}", of))
        make_root(tmp_path / "root")
        made.append(Container(tmp_path / "root", ns))
        yield made[-1]
    finally:
        for part in reversed(made):
            part.close()


def look(c):
    values = dict(line.split("=", 1) for line in c.run(LOOK).splitlines())
    for name in ("eth0", "eth1"):
        assert re.fullmatch(r"[\d.]+/24", values[name]), f"{name} has one address: {values}"
    assert values["ssh-served"] == values["ssh-file"], "sshd has the key of the file"
    return values


def restore(c):
    """As the udev rule does it, in a life that has an identity of its own. The target is reached when its units have ended."""
    identity = os.urandom(16).hex()
    c.run(f"echo {identity} >/run/identity; systemctl restart snapsafe-restored.target")
    failed = c.run("systemctl --failed --no-legend --plain")
    assert "snapsafe" not in failed, failed + c.run("journalctl -u 'snapsafe-*' --no-pager | tail -50")
    c.wait_for("ip -4 -o addr show dev eth0 | grep -q inet")
    # The unit has sshd start anew, and does not wait for that.
    c.wait_for(f'[ "$({COMMANDS["ssh-served"]})" = "$({COMMANDS["ssh-file"]})" ]')
    return identity


def check_journal(c, lives):
    """Each life has a boot of its own in the journal, and `journalctl -b` shows what was logged in the last one."""
    c.run("journalctl --sync")
    lines = c.run("journalctl -t snapsafe-test -o json --no-pager").splitlines()
    assert [(entry["MESSAGE"], entry["_BOOT_ID"]) for entry in map(json.loads, lines)] == [
        (str(number), life["boot-id"]) for number, life in enumerate(lives)]
    assert c.run("journalctl -b -t snapsafe-test -o cat --no-pager").split() == [str(len(lives) - 1)]


def test_each_life_has_an_identity_of_its_own(container, leases):
    c = container
    c.run(f"systemctl enable -q {' '.join(f'snapsafe-{unit}' for unit in ENABLED)}; systemctl start systemd-networkd ssh")
    c.run(f"ip link set eth1 up; {DHCLIENT} >/run/said 2>&1; /lib/systemd/systemd-random-seed save")
    c.wait_for("ip -4 -o addr show dev eth0 | grep -q inet")
    lives = [look(c)]
    c.run(f"{MARK} 0")
    for number in (1, 2):
        identity = restore(c)
        lives.append(look(c))
        c.run(f"{MARK} {number}")
        assert lives[-1]["machine-id"] == identity and lives[-1]["hostname"] == f"base-{identity[:8]}"
        assert c.run("cat /proc/$(pidof dhclient)/cmdline | tr '\\0' ' '").strip() == DHCLIENT
        check_journal(c, lives)
    for name in lives[0]:
        assert len({life[name] for life in lives}) == len(lives), f"{name} is another one in each life: {lives}"
    for of in leases:
        assert len(of.held) == len(lives), "a client identifier and a lease for each life"
        assert RELEASE not in [kind for kind, _, _ in of.heard], "the original has its lease"
        assert {life["hostname"] for life in lives} <= {name for _, _, name in of.heard}
