# SPDX-License-Identifier: Apache-2.0
"""
Programs in Debian guests, across real restores: libsnapsafe, OpenSSL with our provider, the `snapsafe` tool,
/dev/sysgenid, udev and systemd. The packages are installed in the guest as a user would install them.

The programs that draw (tests/system/programs) run without a pause; the snapshot falls wherever it falls. What they draw in
two clones, each writes to a drive of its own; common.c compares every 16 bytes with all others.
"""
import json
import pathlib
import re
import subprocess
import time

import pytest

from conftest import BOOT_ARGS, IMAGE, Snapshot, long_form, wait_handled

PROGRAMS = pathlib.Path(__file__).parent / "programs"
EXAMPLES = "/usr/share/doc/snapsafe-tools/examples"
STREAM = 1 << 20
STREAMS = {"one": 1, "fork": 2, "threads": 4}


@pytest.fixture(scope="module")
def common(tmp_path_factory):
    """common(streams, *files) -> how many 16-byte strings stand in more than one place."""
    program = tmp_path_factory.mktemp("programs") / "common"
    subprocess.run(["gcc", "-O2", "-o", program, PROGRAMS / "common.c"], check=True)

    def count(streams, *files):
        output = subprocess.run([program, str(streams), *files], check=True, stdout=subprocess.PIPE, text=True).stdout
        return int(re.search(r"^common (\d+)$", output, re.MULTILINE).group(1))

    return count


@pytest.fixture(scope="session")
def drive(tmp_path_factory):
    """A drive that machines write to as long as they have none of their own."""
    path = tmp_path_factory.mktemp("drive") / "out"
    path.write_bytes(b"")
    return path


def grow(path):
    with open(path, "wb") as f:
        f.truncate(max(STREAMS.values()) * STREAM)
    return path


@pytest.fixture(params=["6.12", *long_form("6.1")])
def debian(request, snapshot_of, drive, restore):
    """A guest, by its kernel, that was restored once, and has settled since."""
    grow(drive)
    m = restore(snapshot_of(
        kernel=request.param, mem_mib=160, boot_args=BOOT_ARGS + " init=/usr/local/sbin/overlay-init",
        drives=[{"drive_id": "rootfs", "path_on_host": str(IMAGE / "rootfs-debian.ext4"), "is_root_device": True,
                 "is_read_only": True},
                {"drive_id": "out", "path_on_host": str(drive), "is_root_device": False, "is_read_only": False}]))
    wait_handled(m, 1)
    return m


@pytest.fixture
def clones(restore, tmp_path):
    """clones(m, number=2) -> so many machines from a snapshot of m, which ends; `out` is the drive of each."""

    def make(m, number=2):
        snapshot = Snapshot(tmp_path)
        m.api.pause()
        m.api.snapshot(snapshot.state, snapshot.mem)
        m.stop()
        for i in range(number):
            clone = restore(snapshot, resume=False)
            clone.out = grow(tmp_path / f"out{i}")
            clone.api.patch("/drives/out", {"drive_id": "out", "path_on_host": str(clone.out)})
            clone.api.resume()
            yield clone

    return make


def draw(m, clones, common, program, shape, length, pairs=1):
    """
    How many 16-byte strings two clones of m have in common, among 1 MiB of each of their streams: the first of so many pairs of
    one snapshot that has any.
    """
    m.console.send(f"{program} {shape} {length} /dev/vdb\n")
    m.console.expect(r"^DRAWING\n")
    time.sleep(0.3)
    made = clones(m, 2 * pairs)
    for both in zip(made, made):
        for clone in both:
            clone.console.expect(r"^DRAWN\n", 120)
            clone.stop()
        shared = common(STREAMS[shape], *[clone.out for clone in both])
        if shared:
            return shared
    return 0


LIBRARY = "draw-snapsafe"
PROVIDER = "OPENSSL_CONF=/usr/share/snapsafe/openssl.cnf draw-openssl"
# Threads that the driver's work, which makes the kernel's generator reseed, has to wait for.
URGENT = "chrt --rr 1 "


@pytest.mark.parametrize("program, shape, length", [
    (LIBRARY, "one", 65536), (LIBRARY, "fork", 16), (URGENT + LIBRARY, "threads", 16),
    (PROVIDER.replace("draw", URGENT + "draw"), "threads", 16),
    *long_form((LIBRARY, "one", 16), (PROVIDER, "one", 16), (PROVIDER, "fork", 16))])
def test_clones_share_no_bytes(debian, clones, common, program, shape, length):
    assert draw(debian, clones, common, program, shape, length) == 0


@pytest.mark.parametrize("program", ["draw-openssl", *long_form("draw-drbg")])
def test_generators_of_their_own_repeat_all(debian, clones, common, program):
    """OpenSSL's as it is, and one that took its seed from the kernel at the start: the tests above can fail."""
    assert draw(debian, clones, common, program, "one", 16) > STREAM // 2


def test_a_stock_kernel_repeats_itself_until_it_has_reseeded(debian, clones, common):
    # Whether a pair draws in the window, both, is a matter of chance: once in a while one does not.
    assert draw(debian, clones, common, URGENT + "draw-kernel", "threads", 16, pairs=3) > 0


def test_the_tool_tells_of_the_restore(debian, clones):
    m = debian
    m.console.run("snapsafe watch --json --count 1 >/tmp/watch & "
                  "snapsafe run-on-change --once -- sh -c 'echo $SNAPSAFE_GENERATION $SNAPSAFE_IDENTITY >/tmp/run' & "
                  "sleep 1")
    before = json.loads(m.console.run("snapsafe status --json"))
    assert before["state"] == "active" and before["mapped"] and before["generation"] == 1
    assert m.console.run_status("snapsafe watch --timeout 1")[0] == 4
    lives = [before["identity"]]
    for clone in clones(m):
        clone.console.run("wait", 30)
        wait_handled(clone, 2)
        status = json.loads(clone.console.run("snapsafe status --json"))
        assert status["generation"] == 2 and status["reseeded"] and status["buffered"]
        life = status["identity"]
        assert clone.console.run("snapsafe id").strip() == life
        assert clone.console.run("cat /sys/virtio-rng/virtio_rng.0/identity").strip() == life
        watched = json.loads(clone.console.run("cat /tmp/watch"))
        assert (watched["generation"], watched["identity"]) == (2, life)
        assert clone.console.run("cat /tmp/run").split() == ["2", life]
        assert "FAIL" not in clone.console.run("snapsafe selftest")
        lives.append(life)
        clone.stop()
    assert all(re.fullmatch(r"[0-9a-f]{32}", life) for life in lives)
    assert len(set(lives)) == 3, lives


def test_sysgenid_as_aws_lc_reads_it(debian, clones):
    m = debian
    m.console.send("sysgenid\n")
    m.console.expect(r"^word 1\n")
    for clone in clones(m):
        clone.console.expect(r"^changed 1 2, read 2\n")
        clone.stop()


def test_a_device_that_is_unplugged_hurts_nobody_who_has_it_mapped(debian):
    m = debian
    # The device's return is news as well, and may end both: the shell is not to say in between that its jobs are done.
    m.console.run("set +m; : >/tmp/drawn; draw-snapsafe one 16 /tmp/drawn >/dev/null & draw=$!; "
                  "snapsafe watch --json --count 1 >/tmp/watch & watch=$!; sleep 1; "
                  "cd /sys/bus/virtio/drivers/virtio_rng; device=$(echo virtio*)")
    m.console.run("echo $device >unbind; sleep 1")
    assert m.console.run_status("snapsafe status")[0] == 3
    m.console.run("kill -0 $draw && kill -0 $watch")
    m.console.run("echo $device >bind; sleep 1")
    assert json.loads(m.console.run("snapsafe status --json"))["state"] == "active"
    m.api.put("/actions", {"action_type": "SignalEntropyLeak"})
    m.console.run("wait $draw && wait $watch")
    assert len(m.console.run("cat /tmp/watch").splitlines()) == 1


def wait_for(m, condition):
    m.console.run(f"for i in $(seq 100); do {condition} && break; sleep 0.2; done; {condition}", 120)


def test_systemd_makes_a_new_identity_after_a_restore(debian, clones):
    """A machine id for each life, and the example: a service that is restarted after that."""
    m = debian
    m.console.run(f"cd /etc/systemd/system && mkdir lease.service.d && cp {EXAMPLES}/snapsafe-restart.conf lease.service.d/")
    # A daemon that looks at the machine id when it starts, as a DHCP client does.
    m.console.run("printf '[Service]\\nExecStart=/bin/sh -c \"cp /etc/machine-id /run/lease; exec sleep inf\"\\n' "
                  ">lease.service")
    m.console.run("systemctl daemon-reload; systemctl start lease; systemctl enable snapsafe-machine-id; cd")
    lives = [m.console.run("cat /run/lease")]
    for clone in clones(m):
        wait_for(clone, '[ "$(cat /run/lease)" = "$(snapsafe id)" ]')
        wait_for(clone, "systemctl -q is-active snapsafe-restored.target")
        lives.append(clone.console.run("cat /etc/machine-id"))
        assert lives[-1] == clone.console.run("cat /run/lease") == clone.console.run("snapsafe id")
        clone.stop()
    assert len(set(lives)) == 3, lives
