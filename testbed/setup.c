// SPDX-License-Identifier: Apache-2.0
/*
 * The agent's part that makes a machine of a freshly booted kernel: modules,
 * file systems, loopback interface, limits.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent.h"

/*
 * The host's files cannot change under a cache that is seconds old, except by
 * somebody working there at the same time; so the root may be cached freely.
 * What comes back is written through at once.
 */
#define P9_COMMON	"trans=virtio,version=9p2000.L,msize=512000"
#define ROOT_OPTIONS	P9_COMMON ",cache=loose"
#define SCRATCH_OPTIONS P9_COMMON ",cache=mmap"

static char scratch_path[4096];

static void make_mount(const char *source, const char *target, const char *type, unsigned long flags,
		       const char *options)
{
	mkdir(target, 0755);
	if (mount(source, target, type, flags, options) < 0)
		agent_fail("cannot mount %s on %s: %s", type, target, strerror(errno));
}

static void load_module(const char *name)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "/modules/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
		agent_fail("cannot load the module %s: %s", name, strerror(errno));
	close(fd);
}

/* File names in the order in which they must be loaded, one a line. */
static void load_modules(void)
{
	char line[200];
	FILE *list = fopen("/modules/order", "re");

	if (!list)
		agent_fail("cannot read the list of modules: %s", strerror(errno));
	while (fgets(line, sizeof(line), list)) {
		line[strcspn(line, "\n")] = '\0';
		load_module(line);
	}
	fclose(list);
}

/* An initramfs without device nodes starts us without any file open. */
static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR);

	while (fd >= 0 && fd < STDERR_FILENO)
		fd = dup(fd);
}

void setup_kernel(void)
{
	make_mount("dev", "/dev", "devtmpfs", MS_NOSUID, NULL);
	open_console();
	load_modules();
}

static void setup_dev(void)
{
	make_mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=620,gid=5,ptmxmode=666");
	make_mount("tmpfs", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=75%");
	if (symlink("/proc/self/fd", "dev/fd") < 0 || symlink("/proc/self/fd/0", "dev/stdin") < 0 ||
	    symlink("/proc/self/fd/1", "dev/stdout") < 0 || symlink("/proc/self/fd/2", "dev/stderr") < 0)
		agent_fail("cannot make the links in /dev: %s", strerror(errno));
}

static void setup_loopback(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) < 0)
		agent_fail("cannot bring up the loopback interface: %s", strerror(errno));
	close(fd);
}

static void setup_limits(void)
{
	const struct rlimit files = { .rlim_cur = 1024, .rlim_max = 524288 };
	const struct rlimit core = { .rlim_cur = 0, .rlim_max = RLIM_INFINITY };
	const struct rlimit locked = { .rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY };

	setrlimit(RLIMIT_NOFILE, &files);
	setrlimit(RLIMIT_CORE, &core);
	setrlimit(RLIMIT_MEMLOCK, &locked);
}

/*
 * The overlay's writable layer and /dev/shm are in memory, as much as is used.
 * /tmp is the host's as any other directory: visible, and written to in memory.
 */
void setup_root(void)
{
	make_mount("hostroot", "/lower", "9p", MS_RDONLY, ROOT_OPTIONS);
	make_mount("tmpfs", "/upper", "tmpfs", 0, "mode=755,size=75%");
	if (mkdir("/upper/data", 0755) < 0 || mkdir("/upper/work", 0755) < 0)
		agent_fail("cannot make the overlay's directories: %s", strerror(errno));
	make_mount("overlay", "/root", "overlay", 0, "lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work");
	if (chdir("/root") < 0)
		agent_fail("cannot enter the new root: %s", strerror(errno));

	make_mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	make_mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	make_mount("tmpfs", "run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755");
	if (mount("/dev", "dev", NULL, MS_MOVE, NULL) < 0)
		agent_fail("cannot move /dev to the new root: %s", strerror(errno));
	setup_dev();

	if (mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
		agent_fail("cannot change to the new root: %s", strerror(errno));
	if (sethostname("testbed", 7) < 0)
		agent_fail("cannot set the host name: %s", strerror(errno));
	setup_loopback();
	setup_limits();
}

/*
 * A virtual machine with one processor that never runs, for as long as this machine lives. With the first and after the last
 * one Linux patches its scheduler and KVM's local APIC (static keys), and qemu 7.2 may go on with an old translation of code
 * that one processor patches while another one translates it: both then take the same breakpoint for ever.
 */
void setup_kvm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm;

	if (kvm < 0)
		agent_fail("cannot open /dev/kvm: %s", strerror(errno));
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0 || ioctl(vm, KVM_CREATE_IRQCHIP, 0) < 0 || ioctl(vm, KVM_CREATE_VCPU, 0) < 0)
		agent_fail("cannot create a virtual machine: %s", strerror(errno));
}

/* The others were left out at boot: Linux patches itself most while it starts, and see above. */
static void start_other_processors(void)
{
	char path[64];

	for (long i = 1; i < sysconf(_SC_NPROCESSORS_CONF); i++) {
		int fd;

		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%ld/online", i);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, "1", 1) < 0)
			agent_fail("cannot start processor %ld: %s", i, strerror(errno));
		close(fd);
	}
}

/*
 * Guests must not run on the first processor. In qemu 7.2 whoever restores the floating point unit, on any processor, reads and
 * writes back the first one's SVM flags without a lock (cpu_clear_ignne()). If that one enters or leaves a guest at that
 * moment, nested paging stays as it was: the guest runs without it and resets itself, or what it held is overwritten.
 */
void setup_processors(void)
{
	cpu_set_t set;

	start_other_processors();
	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		agent_fail("cannot read which processors there are: %s", strerror(errno));
	CPU_CLR(0, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		agent_fail("cannot leave the first processor: %s", strerror(errno));
}

void setup_scratch(const char *path)
{
	make_mount("scratch", path, "9p", 0, SCRATCH_OPTIONS);
	snprintf(scratch_path, sizeof(scratch_path), "%s", path);
}

void setup_finish(void)
{
	if (chdir("/") == 0 && scratch_path[0])
		umount2(scratch_path, 0);
	sync();
}
