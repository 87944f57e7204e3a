# SPDX-License-Identifier: Apache-2.0
"""
The units of snapsafe-restored.target, without a guest: they are well-formed, the preset and the package agree about which are
enabled, and what they run does its work, in namespaces of its own where `snapsafe` says who we are.
"""
import os
import re
import shutil
import subprocess

import pytest

from conftest import ROOT

DIRECTORY = ROOT / "guest" / "integration"
UNITS = sorted(p.name for p in DIRECTORY.glob("snapsafe-*.service") if "[Install]" in p.read_text())
IDENTITY = "00112233445566778899aabbccddeeff"
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="mounts over /etc and /run, in a mount namespace")
# Its words are what counts, and that it goes on when who started it has ended.
DAEMON = '#include <unistd.h>\nint main(void) { if (fork()) return 0; setsid(); close(0); close(1); close(2); pause(); }\n'


def test_preset_and_package_agree():
    preset = dict(reversed(line.split()) for line in (DIRECTORY / "90-snapsafe.preset").read_text().splitlines() if line[0] != "#")
    assert sorted(preset) == UNITS
    rules = (ROOT / "debian" / "rules").read_text().split("override_dh_installsystemd:")[1].replace("\\\n", " ")
    for name, choice in preset.items():
        lines = [line for line in rules.splitlines() if name in line]
        assert len(lines) == 1 and ("--no-enable" in lines[0]) == (choice == "disable"), name


def test_the_units_are_well_formed(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd here")
    (tmp_path / "lib").symlink_to("usr/lib")  # systemd 252 looks here, 257 only there
    units = tmp_path / "usr/lib/systemd/system"
    shutil.copytree("/lib/systemd/system", units, symlinks=True)
    for name in [*UNITS, "snapsafe-restored.target"]:
        shutil.copy(DIRECTORY / name, units)
    for path in re.findall(r"^ExecStart\w*=-?(\S+)", "".join((DIRECTORY / name).read_text() for name in UNITS), re.MULTILINE):
        program = tmp_path / path.lstrip("/")
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        if path.startswith("/usr/lib/snapsafe/"):
            assert os.access(DIRECTORY / os.path.basename(path), os.X_OK)
    result = subprocess.run(["systemd-analyze", "verify", "--man=no", f"--root={tmp_path}",
                             *(units / name for name in UNITS)], capture_output=True, text=True)
    assert result.returncode == 0 and "snapsafe" not in result.stderr, result.stderr


@pytest.fixture
def clone(tmp_path):
    """clone(commands) -> what a shell prints in which /etc, /run and the leases are the test's."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/snapsafe").write_text(f"#!/bin/sh\necho {IDENTITY}\n")
    (tmp_path / "bin/snapsafe").chmod(0o755)
    shutil.copytree("/etc", tmp_path / "etc", symlinks=True, ignore=lambda directory, names: [
        n for n in names if directory != "/etc" or n not in ("passwd", "group", "nsswitch.conf", "ld.so.cache")])
    (tmp_path / "etc/ssh").mkdir()

    def run(commands):
        script = f"set -e; export PATH={tmp_path}/bin:$PATH; mkdir -p /var/lib/dhcp; mount --bind {tmp_path}/etc /etc; " \
                 f"mount -t tmpfs none /run; mount -t tmpfs none /var/lib/dhcp; cd {DIRECTORY}; {commands}"
        result = subprocess.run(["unshare", "--mount", "--uts", "--net", "--pid", "--fork", "--mount-proc", "sh", "-c", script],
                                capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stderr
        return result.stdout.split("\n")

    return run


@ROOT_ONLY
def test_machine_id_and_host_name(clone, tmp_path):
    (tmp_path / "etc/machine-id").write_text("old\n")
    (tmp_path / "etc/hostname").write_text("base\n")
    out = clone("./restored-machine-id; cat /etc/machine-id; stat -c %a /etc/machine-id; ./restored-hostname; hostname; "
                "rm /etc/hostname; ./restored-hostname; hostname; "
                "printf %099d 0 >/etc/hostname; ./restored-hostname; hostname")
    assert out == [IDENTITY, "444", "base-00112233", "localhost-00112233", "0" * 55 + "-00112233", ""]


@ROOT_ONLY
def test_ssh_host_keys(clone, tmp_path):
    for name in ("ssh_host_dsa_key", "ssh_host_ed25519_key", "ssh_host_ed25519_key.pub", "ssh_config"):
        (tmp_path / "etc/ssh" / name).write_text("old\n")
    if not shutil.which("ssh-keygen"):
        pytest.skip("there is no ssh-keygen here")
    clone("./restored-ssh-host-keys")
    names = sorted(os.listdir(tmp_path / "etc/ssh"))
    assert names == ["ssh_config", *(f"ssh_host_{kind}_key{end}" for kind in ("ecdsa", "ed25519", "rsa") for end in ("", ".pub"))]
    assert (tmp_path / "etc/ssh/ssh_host_ed25519_key.pub").read_text().startswith("ssh-ed25519 ")


@ROOT_ONLY
def test_a_boot_id_for_each_life(clone):
    get = "cat /proc/sys/kernel/random/boot_id; "
    ids = clone(f"{get} ./restored-boot-id; {get} ./restored-boot-id; {get} grep -c boot_id /proc/mounts")
    assert len(set(ids[:3])) == 3 and all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", i) for i in ids[:3])
    assert ids[3] == "1"  # they are not piled up


@ROOT_ONLY
def test_dhclient_starts_anew(clone, tmp_path):
    (tmp_path / "daemon.c").write_text(DAEMON)
    subprocess.run(["cc", "-o", tmp_path / "bin/dhclient", tmp_path / "daemon.c"], check=True)
    lease = 'lease {\\n  interface "lo";\\n  fixed-address 10.9.8.7;\\n  option routers 10.9.8.1;\\n}\\n'
    lease6 = 'lease6 {\\n  interface "lo";\\n}\\n'
    out = clone(f"ip link set lo up; ip addr add 10.9.8.7/24 dev lo; ip addr add 10.9.8.6/25 dev lo; "
                f"printf 'default-duid \"old\";\\n{lease6}{lease}{lease}' >'/var/lib/dhcp/a b.leases'; "
                f"{tmp_path}/bin/dhclient -i -lf '/var/lib/dhcp/a b.leases' eth9; pidof dhclient >/run/old; ./restored-dhclient; "
                f"cat '/var/lib/dhcp/a b.leases'; pidof dhclient >/run/new; ! cmp -s /run/old /run/new; wc -l </run/new; "
                "tr '\\0' '|' <\"/proc/$(cat /run/new)/cmdline\"; echo; kill $(cat /run/new); ls /run/snapsafe; "
                "ip -4 -o addr show dev lo | grep -o '10[.][^ ]*'")
    assert out == [r'default-duid "\000\004\000\021\042\063\104\125\146\167\210\231\252\273\314\335\356\377";', "1",
                   f"{tmp_path}/bin/dhclient|-i|-lf|/var/lib/dhcp/a b.leases|eth9|", "10.9.8.6/25", ""]
