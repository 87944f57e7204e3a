# SPDX-License-Identifier: Apache-2.0
"""
snapsafe-jailer: what a jailed process is, sees and may do; what is refused, and that a refusal changes nothing elsewhere. Needs
root, and no KVM but where a machine is started in a jail. Runs in the testbed and on any host.
"""
import ctypes
import errno
import fcntl
import json
import os
import pathlib
import shutil
import signal
import stat
import struct
import subprocess
import tempfile
import time

import pytest

from conftest import BINARY, IMAGE, ROOT
from snapsafe import Api
from snapsafe.meanwhile import meanwhile
from snapsafe.patience import Deadline
from snapsafe.proc import settles

JAILER = os.environ.get("SNAPSAFE_JAILER", str(ROOT / "bin" / "snapsafe-jailer"))
PROGRAMS = pathlib.Path(__file__).parent / "programs"
UID, GID = 12345, 23456
RENAME_EXCHANGE = 2

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a jail is made by root")


@pytest.fixture(scope="session")
def probe(tmp_path_factory):
    program = tmp_path_factory.mktemp("probe") / "probe"
    subprocess.run(["gcc", "-static", "-D_GNU_SOURCE", "-o", str(program), str(PROGRAMS / "jail_probe.c")], check=True)
    return program


class Jails:
    def __init__(self, base, exec_file):
        self.base, self.exec_file = base, exec_file

    def root(self, name="a"):
        return self.base / self.exec_file.name / name / "root"

    def command(self, *args, name="a", exec_file=None, base=None, behind=()):
        return [JAILER, "--id", name, "--exec-file", str(exec_file or self.exec_file), "--uid", str(UID), "--gid", str(GID),
                "--chroot-base-dir", str(base or self.base), *args, *(("--", *behind) if behind else ())]

    def run(self, *args, check=True, env=None, pass_fds=(), preexec=None, **kwargs):
        result = subprocess.run(self.command(*args, **kwargs), capture_output=True, text=True, stdin=subprocess.DEVNULL,
                                timeout=60, env=env, pass_fds=pass_fds, preexec_fn=preexec)
        assert not check or result.returncode == 0, result.stderr
        return result

    def report(self, name="a"):
        deadline = Deadline(20)
        while not (self.root(name) / "report.json").exists():
            assert deadline.left() > 0, "the probe has written no report"
            time.sleep(0.01)
        return json.loads((self.root(name) / "report.json").read_text())

    def pid(self, name="a"):
        return int((self.root(name) / f"{self.exec_file.name}.pid").read_text())


@pytest.fixture
def jails(tmp_path, probe):
    base = tmp_path / "jails"
    base.mkdir()
    return Jails(base, probe)


def refused(result, *texts):
    """One sentence, exit status 1."""
    assert result.returncode == 1
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1, result.stderr
    for text in texts:
        assert text in result.stderr, result.stderr


def everything(directory):
    """What is in a directory: names, kinds, owners, contents."""
    found = {}
    for path in sorted(directory.rglob("*")):
        st = path.lstat()
        found[str(path.relative_to(directory))] = (st.st_mode, st.st_uid, st.st_gid,
                                                path.read_bytes() if stat.S_ISREG(st.st_mode) else None)
    return found, directory.lstat().st_uid, directory.lstat().st_mode


# The table: what the jailed process is, sees and may do.

def test_what_it_is(jails):
    result = jails.run(env={"SECRET": "x", "PATH": "/bin"}, behind=["--one", "two words", ""])
    report = jails.report()
    assert result.stdout == "probe\n"  # standard streams are the caller's
    assert report["args"][:3] == ["/probe", "--id", "a"]
    assert report["args"][3::2][:3] == ["--start-time-us", "--start-time-cpu-us", "--parent-cpu-time-us"]
    assert all(word.isdigit() for word in report["args"][4:9:2])
    assert report["args"][9:] == ["--one", "two words", ""]
    assert report["environment"] == []
    assert (report["uid"], report["euid"], report["gid"], report["groups"]) == (UID, UID, GID, 0)
    assert report["capabilities"] == 0 and report["bounding"] == 0 and report["no_new_privs"] == 1
    assert (report["max_files"], report["max_files_hard"], report["max_file_size"]) == (2048, 2048, -1)
    assert jails.pid() == report["pid"]


def test_start_times_are_those_of_the_jailer(jails):
    before = time.monotonic_ns() // 1000
    jails.run()
    args = jails.report()["args"]
    start, own_cpu, parent_cpu = int(args[4]), int(args[6]), int(args[8])
    assert before <= start <= time.monotonic_ns() // 1000
    assert 0 < own_cpu <= parent_cpu < 10_000_000
    jails.run("--daemonize", "--new-pid-ns", name="b")
    args = jails.report("b")["args"]
    assert 0 < int(args[6]) < int(args[8])  # the processes that were left behind count, too


def test_what_it_sees(jails):
    jails.run()
    report = jails.report()
    tree = report["tree"]
    private, device = "40700", "20600"
    misc = dict(reversed(line.split()) for line in open("/proc/misc"))
    expected = {
        "/probe": ["100755", UID, GID, "0:0"],
        "/probe.pid": ["100644", 0, 0, "0:0"],
        "/dev": [private, UID, GID, "0:0"],
        "/dev/kvm": [device, UID, GID, "10:232"],
        "/dev/net": [private, UID, GID, "0:0"],
        "/dev/net/tun": [device, UID, GID, "10:200"],
        "/dev/urandom": [device, UID, GID, "1:9"],
        "/run": [private, UID, GID, "0:0"],
    }
    if "userfaultfd" in misc:
        expected["/dev/userfaultfd"] = [device, UID, GID, "10:" + misc["userfaultfd"]]
    del tree["/report.part"]
    assert tree == expected
    assert (jails.root().stat().st_mode & 0o777, jails.root().stat().st_uid) == (0o700, UID)
    assert report["descriptors"] == [0, 1, 2]


def test_what_it_may_do(jails):
    jails.run()
    report = jails.report()
    allowed = ["read_urandom", "open_tun", "make_socket", "leave_by_dotdot"]
    if os.path.exists("/dev/kvm"):
        allowed.append("open_kvm")
    assert {name: report[name] for name in allowed} == dict.fromkeys(allowed, 0)
    for name in ("see_proc", "see_etc"):  # ".." ends at the jail's root
        assert report[name] == errno.ENOENT
    for name in ("make_disk", "make_root", "new_root", "mount_proc", "change_network", "attach_tap"):
        assert report[name] == errno.EPERM


def test_no_descriptor_of_the_caller_gets_in(jails, tmp_path):
    fds = [os.open(tmp_path, os.O_RDONLY) for _ in range(20)]
    jails.run(pass_fds=fds)
    assert jails.report()["descriptors"] == [0, 1, 2]


def test_standard_streams_that_are_closed_are_dev_null(jails):
    def close_all():
        for fd in (0, 1, 2):
            os.close(fd)

    jails.run(preexec=close_all)
    report = jails.report()
    assert report["descriptors"] == [0, 1, 2] and report["stdout_is_null"] == 1


def test_the_callers_umask_is_the_monitors(jails):
    jails.run(preexec=lambda: os.umask(0o137))
    report = jails.report()
    assert report["umask"] == 0o137
    assert report["tree"]["/dev/kvm"][0] == "20600"
    assert report["tree"]["/probe"][0] == "100755"


def test_limits(jails):
    jails.run("--resource-limit", "fsize=70000", "--resource-limit", "no-file=77")
    report = jails.report()
    assert (report["max_file_size"], report["max_files"], report["max_files_hard"]) == (70000, 77, 77)


def test_the_host_sees_no_mount_of_it(jails):
    before = open("/proc/self/mounts").read()
    process = subprocess.Popen(jails.command(behind=["--wait"]), stdout=subprocess.DEVNULL)
    try:
        jails.report()
        assert open("/proc/self/mounts").read() == before
        mounts = open(f"/proc/{process.pid}/mounts").read().splitlines()
        assert len(mounts) == 1 and mounts[0].split()[1] == "/"
        assert os.readlink(f"/proc/{process.pid}/cwd") == os.readlink(f"/proc/{process.pid}/root")
    finally:
        process.kill()
        process.wait()


# Ways to run.

def has_ended(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().split(") ")[1][0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter: it was reaped after open()
        return True


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    assert settles(lambda: has_ended(pid), True, 20)


def test_daemonize(jails):
    result = jails.run("--daemonize", behind=["--wait"])
    pid = jails.pid()
    try:
        report = jails.report()
        assert result.stdout == "" and report["stdout_is_null"] == 1
        assert report["pid"] == pid and report["sid_is_own"] == 0
        assert os.getsid(pid) not in (os.getsid(0), pid)
    finally:
        kill(pid)


@pytest.mark.parametrize("also", [[], ["--daemonize"]])
def test_new_pid_namespace(jails, also):
    # Not run(): the monitor has the jailer's standard output, whose end never comes.
    result = subprocess.run(jails.command("--new-pid-ns", *also, behind=["--wait"]), stdout=subprocess.DEVNULL, timeout=60)
    assert result.returncode == 0
    pid = jails.pid()
    try:
        assert jails.report()["pid"] == 1
        assert pid != 1 and os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
    finally:
        kill(pid)


@pytest.mark.parametrize("args", [["--daemonize"], ["--new-pid-ns"], ["--daemonize", "--new-pid-ns"]])
def test_a_monitor_that_cannot_run_is_told_although_somebody_else_was_to_start_it(jails, args):
    refused(jails.run(*args, check=False, exec_file="/bin/true"), '"true" cannot be run in the jail', "static program")


def test_a_session_leader_that_goes_takes_nobody_along(jails):
    result = subprocess.run(["setsid", "--wait", *jails.command("--new-pid-ns", behind=["--wait"])], timeout=60,
                            stdout=subprocess.DEVNULL)
    pid = jails.pid()
    try:
        assert result.returncode == 0 and jails.report()["sid_is_own"] == 1
    finally:
        kill(pid)


def make_tap(name, owner):
    tun = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH14x", name, 0x5002))  # TUNSETIFF: tap, no header, VNET_HDR
        fcntl.ioctl(tun, 0x400454CC, owner)  # TUNSETOWNER
        fcntl.ioctl(tun, 0x400454CB, 1)  # TUNSETPERSIST
    finally:
        os.close(tun)


@pytest.fixture
def namespace_with_a_tap(tmp_path):
    """Of the jailed user's, "jailtap"."""
    path = tmp_path / "netns"
    path.touch()
    subprocess.run(["unshare", f"--net={path}", "true"], check=True)
    try:
        code = f"import sys; sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})\n" \
               f"from test_jailer import make_tap; make_tap(b'jailtap', {UID})"
        subprocess.run(["nsenter", f"--net={path}", "/usr/bin/python3", "-c", code], check=True)
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_network_namespace(jails, namespace_with_a_tap):
    jails.run("--netns", str(namespace_with_a_tap))
    report = jails.report()
    assert sorted(name for name in report["interfaces"] if name in ("lo", "jailtap", "eth0")) == ["jailtap", "lo"]
    assert report["attach_tap"] == 0  # its own: no capability is needed


# Control groups.

def cgroup_mount(kind, controller=""):
    for line in open("/proc/self/mounts"):
        _, path, found, options = line.split()[:4]
        if found == kind and (not controller or controller in options.split(",")):
            return pathlib.Path(path)
    return None


def groups_of(pid):
    """controller -> path; "" is version 2."""
    found = {}
    for line in open(f"/proc/{pid}/cgroup"):
        _, controllers, path = line.rstrip("\n").split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def remove_groups(top):
    deadline = Deadline(20)
    for path in sorted(top.rglob("*"), reverse=True) + [top]:
        while path.is_dir():
            try:
                path.rmdir()
            except OSError:  # its process is on the way out
                assert deadline.left() > 0
                time.sleep(0.01)


def jailed_in(jails, mount, top, *args):
    """The groups of a jailed process, and what is written in its group of mount."""
    process = subprocess.Popen(jails.command(*args, behind=["--wait"]), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        jails.report()
        return groups_of(process.pid)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("parent, args", [("probe", []), ("jt/deep", ["--parent-cgroup", "jt/deep"])])
def test_cgroups_of_version_1(jails, parent, args):
    cpu, cpuset = cgroup_mount("cgroup", "cpu"), cgroup_mount("cgroup", "cpuset")
    if not cpu or not cpuset:
        pytest.skip("no cpu and cpuset controllers of version 1")
    top = parent.split("/")[0]
    try:
        groups = jailed_in(jails, cpu, top, *args, "--cgroup", "cpu.shares=512", "--cgroup", "cpuset.cpus=0")
        assert (cpu / parent / "a" / "cpu.shares").read_text() == "512\n"
        assert (cpuset / parent / "a" / "cpuset.cpus").read_text() == "0\n"
        # A group without memory nodes takes nobody: they come from above.
        assert (cpuset / parent / "a" / "cpuset.mems").read_text() == (cpuset / "cpuset.mems").read_text()
        assert groups["cpu"].endswith(f"/{parent}/a") and groups["cpuset"].endswith(f"/{parent}/a")
    finally:
        for mount in (cpu, cpuset):
            if (mount / top).exists():
                remove_groups(mount / top)


def version_2():
    """A mount of version 2, and one of its controllers with a file and a value."""
    mount = cgroup_mount("cgroup2")
    if not mount:
        pytest.skip("no cgroups of version 2")
    here = (mount / "cgroup.controllers").read_text().split()
    for controller, file, value in [("pids", "pids.max", "100"), ("hugetlb", "hugetlb.2MB.max", "0")]:
        if controller in here:
            return mount, controller, file, value
    pytest.skip("no controller of version 2 that the test knows")


def test_cgroups_of_version_2(jails):
    mount, controller, file, value = version_2()
    try:
        groups = jailed_in(jails, mount, "jt", "--cgroup-version", "2", "--parent-cgroup", "jt/deep", "--cgroup",
                           f"{file}={value}")
        assert (mount / "jt/deep/a" / file).read_text() == value + "\n"
        for level in ("jt", "jt/deep"):
            assert controller in (mount / level / "cgroup.subtree_control").read_text().split()
        assert groups[""].endswith("/jt/deep/a")
    finally:
        if (mount / "jt").exists():
            remove_groups(mount / "jt")


def test_version_2_without_values_is_the_parent_where_there_is_one(jails):
    mount = version_2()[0]
    (mount / "jt").mkdir()
    try:
        args = ["--cgroup-version", "2", "--parent-cgroup"]
        assert jailed_in(jails, mount, "jt", *args, "jt")[""].endswith("/jt")
        shutil.rmtree(jails.root())
        assert jailed_in(jails, mount, "jt", *args, "jt-none")[""] == groups_of("self")[""]
        assert not (mount / "jt-none").exists()
    finally:
        remove_groups(mount / "jt")


@pytest.mark.parametrize("args, text", [
    (["--cgroup", "nothing.max=1"], 'no controller "nothing" in cgroups of version 1'),
    (["--cgroup-version", "2", "--cgroup", "nothing.max=1"], 'no controller "nothing" in cgroups of version 2'),
    (["--cgroup", "cpu.nothing=1"], 'there is no file "cpu.nothing"'),
    (["--cgroup", "cpu.shares=many"], '"many" cannot be written to "cpu.shares": Invalid argument'),
])
def test_cgroups_that_are_not_there(jails, args, text):
    version = "cgroup2" if "2" in args else "cgroup"
    if not cgroup_mount(version, "cpu" if "cpu." in text else ""):
        pytest.skip("nothing of that version is mounted")
    try:
        refused(jails.run("--parent-cgroup", "jt", *args, check=False), text)
        assert not (jails.root() / "report.json").exists()  # it did not run without its limits
    finally:
        if "cpu." in text:
            remove_groups(cgroup_mount("cgroup", "cpu") / "jt")


# What is refused.

def test_ids_that_lead_elsewhere(jails):
    for name in ("..", "../x", "a/b", ".", "", "x" * 65, "a_b"):
        refused(jails.run(name=name, check=False), "instance id")
    assert list(jails.base.iterdir()) == []


@pytest.mark.parametrize("exec_file, text", [
    ("/nonexistent", "No such file or directory"),
    ("/tmp", "is no regular file"),
    ("/dev/null", "is no regular file"),
    ("fifo", "is no regular file"),
])
def test_exec_files_that_are_none(jails, tmp_path, exec_file, text):
    if exec_file == "fifo":
        exec_file = tmp_path / "fifo"
        os.mkfifo(exec_file)
    refused(jails.run(exec_file=exec_file, check=False), f'exec-file "{exec_file}"', text)
    assert list(jails.base.iterdir()) == []


def test_an_exec_file_may_be_a_link_and_has_its_own_name(jails, tmp_path):
    (tmp_path / "link").symlink_to(jails.exec_file)
    jails.run(exec_file=tmp_path / "link")
    assert jails.report()["args"][0] == "/probe"


@pytest.mark.parametrize("path, text", [("/nonexistent", "No such file"), ("/dev/null", "Not a directory")])
def test_chroot_bases_that_are_none(jails, path, text):
    refused(jails.run(base=path, check=False), f'chroot-base-dir "{path}"', text)


def test_a_base_without_devices_is_refused(jails, tmp_path):
    nodev = tmp_path / "nodev"
    nodev.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nodev", "none", str(nodev)], check=True)
    try:
        refused(jails.run(base=nodev, check=False), 'mounted "nodev"')
        assert list(nodev.iterdir()) == []
    finally:
        subprocess.run(["umount", str(nodev)], check=True)


@pytest.mark.parametrize("path, text", [("/nonexistent", "cannot be opened"), ("/dev/null", "is no network namespace"),
                                        ("/proc/self/ns/mnt", "is no network namespace")])
def test_network_namespaces_that_are_none(jails, path, text):
    refused(jails.run("--netns", path, check=False), f'netns "{path}"', text)
    assert not (jails.root() / "report.json").exists()


def test_a_jail_is_not_used_twice(jails):
    jails.run()
    before = everything(jails.base)
    refused(jails.run(check=False), 'jail "a"', 'device "tun" is in the jail already')
    after = everything(jails.base)
    # Until it is cleaned up, it belongs to root.
    assert {k: v[3] for k, v in after[0].items()} == {k: v[3] for k, v in before[0].items()}


def test_what_a_client_has_put_there_stays(jails):
    """firecracker-go-sdk and others link kernel and disks into the jail's root, before or after it is made."""
    (jails.root() / "dev").mkdir(parents=True)
    (jails.root() / "vmlinux").write_text("kernel")
    jails.run()
    assert (jails.root() / "vmlinux").read_text() == "kernel"
    assert jails.report()["tree"]["/vmlinux"][3] == "0:0"


def test_what_a_try_that_failed_has_left_is_replaced(jails):
    jails.root().mkdir(parents=True)
    (jails.root() / "probe").write_text("x" * 10_000_000)  # longer than ours
    jails.run()
    assert (jails.root() / "probe").read_bytes() == jails.exec_file.read_bytes()


@pytest.fixture
def victim(tmp_path):
    directory = tmp_path / "victim"
    (directory / "inside").mkdir(parents=True)
    (directory / "file").write_text("precious")
    (directory / "kvm").write_text("precious")
    return directory


@pytest.mark.parametrize("place", ["probe", "probe/a", "probe/a/root", "probe/a/root/dev", "probe/a/root/dev/net",
                                   "probe/a/root/run"])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_link_or_a_file_in_place_of_a_directory(jails, victim, place, kind):
    path = jails.base / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(victim) if kind == "link" else path.write_text("x")
    before = everything(victim)
    refused(jails.run(check=False), f'"{path.name}" is no directory')
    assert everything(victim) == before


@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "fifo", "directory"])
def test_something_else_in_place_of_the_monitor(jails, victim, kind):
    path = jails.root() / "probe"
    path.parent.mkdir(parents=True)
    {"link": lambda: path.symlink_to(victim / "file"), "dangling link": lambda: path.symlink_to(victim / "new"),
     "hard link": lambda: os.link(victim / "file", path), "fifo": lambda: os.mkfifo(path), "directory": path.mkdir}[kind]()
    before = everything(victim)
    refused(jails.run(check=False), '"probe" is in the jail already')
    assert everything(victim) == before


@pytest.mark.parametrize("place", ["dev/kvm", "dev/net/tun", "dev/urandom", "probe.pid"])
def test_links_in_place_of_what_is_made(jails, victim, place):
    path = jails.root() / place
    path.parent.mkdir(parents=True)
    path.symlink_to(victim / "file")
    before = everything(victim)
    refused(jails.run(check=False), "is in the jail already")
    assert everything(victim) == before
    assert not (jails.root() / "report.json").exists()


@pytest.mark.parametrize("place", ["probe", "probe/a", "probe/a/root", "probe/a/root/dev"])
def test_links_that_come_and_go(jails, victim, place):
    """Directory and link change places all the time while jails are made: nothing behind the link changes."""
    libc = ctypes.CDLL(None, use_errno=True)
    path = jails.base / place
    path.mkdir(parents=True)
    other = path.with_name("other")
    other.symlink_to(victim)
    before = everything(victim)

    def exchange():
        libc.renameat2(-100, str(path).encode(), -100, str(other).encode(), RENAME_EXCHANGE)

    outcomes = set()
    with meanwhile((0, exchange)):
        for _ in range(100):
            outcomes.add(jails.run(check=False).returncode)
            assert everything(victim) == before
    assert 1 in outcomes


def test_version_and_help():
    result = subprocess.run([JAILER, "--version"], capture_output=True, text=True)
    version = (ROOT / "VERSION").read_text().strip()
    assert (result.returncode, result.stdout) == (0, f"Jailer v1.17.0\nsnapsafe-jailer v{version}\n")
    result = subprocess.run([JAILER, "--help", "--nonsense"], capture_output=True, text=True)
    assert result.returncode == 0 and "--chroot-base-dir" in result.stdout and result.stderr == ""
    refused(subprocess.run([JAILER, "--id", "a"], capture_output=True, text=True), "'exec-file' required")


def test_without_rights_it_says_what_it_cannot_do(jails):
    def become_nobody():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    refused(jails.run(check=False, exec_file="/bin/true", preexec=become_nobody), "a mount namespace cannot be made: Operation not permitted")


# The monitor itself.

def test_the_monitor_is_one_file():
    """A jail has no libraries: the program asks for no dynamic linker, and for none of them."""
    headers = subprocess.run(["readelf", "-lW", BINARY], capture_output=True, text=True, check=True).stdout
    assert "INTERP" not in headers
    dynamic = subprocess.run(["readelf", "-dW", BINARY], capture_output=True, text=True, check=True).stdout
    assert "(NEEDED)" not in dynamic and "PIE" in dynamic


def kernel_and_disk(root):
    """As a client links them there, with names and rights for the jail."""
    kernel = next((path for path in (IMAGE / "vmlinux-6.1-cloud", ROOT / "bin" / "vmlinux-6.1-snapsafe") if path.exists()),
                  None)
    if not kernel or not (IMAGE / "rootfs.ext4").exists() or not os.access("/dev/kvm", os.W_OK):
        pytest.skip("needs /dev/kvm, and kernel and disk of image/build")
    for source, name in ((kernel, "vmlinux"), (IMAGE / "rootfs.ext4", "rootfs.ext4")):
        shutil.copyfile(source, root / name)
        os.chown(root / name, UID, GID)


@pytest.fixture
def short_path():
    """The name of a socket has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="jail-") as directory:
        yield pathlib.Path(directory)


@pytest.mark.parametrize("args", [[], ["--daemonize", "--new-pid-ns"]])
def test_a_machine_in_a_jail(short_path, args):
    """It is started, saved and loaded by paths of the jail; the socket and the snapshot are the user's."""
    jails = Jails(short_path, pathlib.Path(BINARY))
    jails.root().mkdir(parents=True)
    kernel_and_disk(jails.root())
    command = jails.command(*args, behind=["--log-path", "/log", "--level", "Debug"])
    (jails.root() / "log").touch()
    os.chown(jails.root() / "log", UID, GID)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if args:
        assert process.wait(60) == 0, process.stderr.read()
    api = Api(str(jails.root() / "run" / "firecracker.socket"))
    try:
        answer = api.wait(alive=lambda: args or process.poll() is None)
        assert answer and answer["id"] == "a", process.stderr.read()
        pid = jails.pid()
        status = open(f"/proc/{pid}/status").read()
        assert f"Uid:\t{UID}\t{UID}\t{UID}\t{UID}" in status and "CapEff:\t0000000000000000" in status
        api.put("/boot-source", {"kernel_image_path": "/vmlinux", "boot_args": "console=ttyS0 root=/dev/vda"})
        api.put("/drives/rootfs", {"drive_id": "rootfs", "path_on_host": "/rootfs.ext4", "is_root_device": True,
                                   "is_read_only": True})
        api.put("/machine-config", {"vcpu_count": 1, "mem_size_mib": 128})
        api.put("/entropy", {})
        api.put("/actions", {"action_type": "InstanceStart"})
        api.pause()
        api.snapshot("/state", "/mem")
        assert (jails.root() / "state").stat().st_uid == UID
        kill(pid)

        # Another jail loads it: the first one cannot be used again.
        clone = Jails(short_path, jails.exec_file)
        clone.root("b").mkdir(parents=True)
        for name in ("rootfs.ext4", "state", "mem"):
            os.link(jails.root() / name, clone.root("b") / name)
        clone.run("--daemonize", name="b")
        api = Api(str(clone.root("b") / "run" / "firecracker.socket"))
        assert api.wait()
        api.load("/state", "/mem", resume=False)
        assert api.get("/")["state"] == "Paused"
        assert open(f"/proc/{clone.pid('b')}/mounts").read().count("\n") == 1
        kill(clone.pid("b"))
    finally:
        for name in ("a", "b"):
            if (jails.root(name) / "snapsafe-vmm.pid").exists() and os.path.exists(f"/proc/{jails.pid(name)}"):
                os.kill(jails.pid(name), signal.SIGKILL)
        process.kill()
        process.wait()


def test_a_machine_in_a_jail_has_a_network_without_a_privilege(short_path, namespace_with_a_tap):
    jails = Jails(short_path, pathlib.Path(BINARY))
    jails.root().mkdir(parents=True)
    kernel_and_disk(jails.root())
    jails.run("--netns", str(namespace_with_a_tap), "--daemonize")
    api = Api(str(jails.root() / "run" / "firecracker.socket"))
    assert api.wait()
    try:
        api.put("/boot-source", {"kernel_image_path": "/vmlinux"})
        api.put("/machine-config", {"vcpu_count": 1, "mem_size_mib": 128})
        api.put("/network-interfaces/eth0", {"iface_id": "eth0", "host_dev_name": "jailtap"})
        api.put("/actions", {"action_type": "InstanceStart"})
        assert api.get("/")["state"] == "Running"
        status = open(f"/proc/{jails.pid()}/status").read()
        assert f"Uid:\t{UID}\t{UID}\t{UID}\t{UID}" in status and "CapEff:\t0000000000000000" in status
    finally:
        os.kill(jails.pid(), signal.SIGKILL)
