# SPDX-License-Identifier: Apache-2.0
"""
The units of snapsafe-restored.target over a restore: Debian 12 under systemd, snapshotted with all of them enabled but
dhclient's, and two clones of it on networks that stand for one. Nothing is told to a clone but by its restore: the driver's
event, the udev rule and the units do the rest. What each unit does in detail, and dhclient's, is test_restored_systemd.py's.
"""
import json
import re
import time

import pytest

from conftest import BOOT_ARGS, IMAGE, Snapshot, long_form, machine_config
from dhcp_server import DISCOVER, RELEASE, REQUEST, DhcpServer, Leases
from snapsafe.network import Namespace
from snapsafe.patience import stretch

pytestmark = pytest.mark.guest

UNITS = ("clock", "machine-id", "hostname", "ssh-host-keys", "networkd", "journald", "random-seed")
UNMASK = "rm -f /etc/systemd/system/systemd-networkd.service /etc/systemd/system/systemd-networkd.socket"
NETWORK = "printf '[Match]\\nName=eth0\\n[Network]\\nDHCP=ipv4\\nLinkLocalAddressing=no\\n' >/etc/systemd/network/eth0.network"
LAY_S = 5  # what a clone's clock is behind by, if nothing sets it
NEAR_S = 1.0  # where the processor is emulated

# name=value; a value is a line.
LOOK = {
    "machine-id": "cat /etc/machine-id",
    "hostname": "hostname",
    "ssh-ed25519": "cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub",
    "ssh-rsa": "cut -d' ' -f2 /etc/ssh/ssh_host_rsa_key.pub",
    "ssh-served": "ssh-keyscan -T 60 -t ed25519 127.0.0.1 2>/dev/null | cut -d' ' -f3",
    "random-seed": "sha256sum </var/lib/systemd/random-seed",
    "boot-id": "tr -d - </proc/sys/kernel/random/boot_id",
    "eth0": "ip -4 -o addr show dev eth0 | awk '{print $4}' | tr '\\n' ' '",
}


@pytest.fixture
def network():
    """network(leases) -> a namespace with a tap and a DHCP server, which gives out those leases."""
    made = []

    def make(leases):
        ns = Namespace()
        made.append(ns)
        ns.add_tap("tap0", None)
        ns.run("ip", "addr", "add", f"{leases.network}.1/24", "dev", "tap0")
        made.append(DhcpServer(ns, "tap0", leases))
        return ns

    yield make
    for part in reversed(made):
        part.close()


def wait_for(m, condition, timeout=120):
    m.console.run(f"for i in $(seq {int(5 * stretch(timeout))}); do {condition} && break; sleep 0.2; done; {condition}", 2 * timeout)


def look(m):
    script = "; ".join(f'echo "{name}=$({command})"' for name, command in LOOK.items())
    values = dict(line.split("=", 1) for line in m.console.run(script, 120).splitlines())
    assert re.fullmatch(r"10\.77\.0\.\d+/24 ", values["eth0"]), f"eth0 has one address: {values}"
    assert values["ssh-served"] == values["ssh-ed25519"], f"sshd has the key of the file: {values}"
    return values


def booted(monitor, ns, path, kernel):
    """A guest with all units enabled, an address and a running SSH server."""
    path.write_text(json.dumps(machine_config(
        kernel=kernel, mem_mib=192, boot_args=BOOT_ARGS + " init=/usr/local/sbin/overlay-init",
        drives=[{"drive_id": "rootfs", "path_on_host": str(IMAGE / "rootfs-debian.ext4"), "is_root_device": True,
                 "is_read_only": True}],
        **{"network-interfaces": [{"iface_id": "eth0", "host_dev_name": "tap0", "guest_mac": "06:00:ac:10:00:02"}]})))
    m = monitor("--config-file", str(path), preexec=ns.enter)
    m.console.login()
    m.console.quiet()
    units = " ".join(f"snapsafe-{unit}" for unit in UNITS if unit != "clock")  # which the target wants itself
    m.console.run(f"{UNMASK}; {NETWORK}; systemctl daemon-reload; systemctl enable -q {units}", 120)
    m.console.run("systemctl start systemd-networkd ssh && /lib/systemd/systemd-random-seed save", 120)
    wait_for(m, "ip -4 -o addr show dev eth0 | grep -q inet")
    assert m.console.run_status("systemctl -q is-active snapsafe-restored.target")[0] != 0
    return m


def restored(monitor, ns, snapshot):
    """A clone in which the target has been reached, which is when its units have ended."""
    m = monitor(preexec=ns.enter)
    m.wait_api()
    m.api.load(snapshot.state, snapshot.mem)
    wait_for(m, "systemctl -q is-active snapsafe-restored.target")
    wait_for(m, "ip -4 -o addr show dev eth0 | grep -q inet")
    # The unit has sshd start anew, and does not wait for that.
    wait_for(m, f'[ "$({LOOK["ssh-served"]})" = "$({LOOK["ssh-ed25519"]})" ]')
    return m


def check_units(m):
    """Each has run, and none has failed. Before the restore there was nothing that starts them: see booted()."""
    for unit in UNITS:
        shown = m.console.run(f"systemctl show -p Result,ExecMainStatus,ExecMainStartTimestampMonotonic snapsafe-{unit}")
        values = dict(line.split("=", 1) for line in shown.splitlines())
        # Of snapsafe-clock 3 would be a success, too: there is no clock of the host's. Here there is.
        assert values["Result"] == "success" and values["ExecMainStatus"] == "0", (unit, values)
        assert int(values["ExecMainStartTimestampMonotonic"]) > 0, f"{unit} was not started"
    failed = m.console.run("systemctl --failed --no-legend --plain")
    assert "snapsafe" not in failed, failed


# Two clones make their SSH host keys: minutes, where the processor is emulated.
@pytest.mark.parametrize("kernel", long_form("6.12", "6.1"))
def test_two_clones_each_with_an_identity_of_its_own(monitor, network, tmp_path, kernel):
    leases = Leases("10.77.0")
    original = booted(monitor, network(leases), tmp_path / "config.json", kernel)
    lives = [look(original)]
    assert len(leases.held) == 1
    original.api.pause()
    snapshot = Snapshot(tmp_path)
    original.api.snapshot(snapshot.state, snapshot.mem)
    original.stop()  # whose lease goes on: it might have been resumed
    time.sleep(LAY_S)
    for _ in range(2):
        clone = restored(monitor, network(leases), snapshot)
        check_units(clone)
        lives.append(look(clone))
        identity = clone.console.run("snapsafe id").strip()
        assert lives[-1]["machine-id"] == identity and lives[-1]["hostname"] == f"snapsafe-{identity[:8]}"
        assert lives[-1]["hostname"] in {name for _, _, name in leases.heard}, leases.heard
        before = time.time()
        shown = float(clone.console.run("date +%s.%N"))
        assert before - NEAR_S < shown < time.time() + NEAR_S, "the clock is the host's"
        assert "right" in clone.console.run("snapsafe clock --check")
        clone.stop()
    for name in LOOK:
        assert len({life[name] for life in lives}) == len(lives), f"{name} is another one in each life: {lives}"
    assert len(leases.held) == len(lives), "a client identifier and a lease for each life"
    assert RELEASE not in [kind for kind, _, _ in leases.heard], "the original has its lease"
    assert {DISCOVER, REQUEST} <= {kind for kind, _, _ in leases.heard}
