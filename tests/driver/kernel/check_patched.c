// SPDX-License-Identifier: Apache-2.0
/*
 * Checks the patched kernel, whose generator looks at the counter itself, against devices that misbehave: whatever they
 * do, everybody gets random bytes, none of them twice, and the next device is served as if nothing had been. The driver
 * is built in. Runs as root, once, in a machine made for it: ./run patched starts one. The modules are in the current
 * directory.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>

#include "guest.h"

#define CPUS   2
#define DRAWS  4000 /* of each CPU, while events come */
#define BLOCK  16
#define STRIPE 4097 /* one read of /dev/urandom: over a page boundary */
#define HANG_S 30

struct draws {
	unsigned char block[CPUS * DRAWS][BLOCK];
	volatile bool done[CPUS];
};

/* A child draws on one CPU; it ends by SIGALRM if a draw does not come back. */
static pid_t drawer_start(struct draws *d, int cpu)
{
	pid_t pid = fork();
	cpu_set_t set;
	static unsigned char stripe[STRIPE];
	int fd;

	if (pid)
		return pid;
	alarm(HANG_S);
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	fd = open("/dev/urandom", O_RDONLY);
	for (int i = 0; i < DRAWS; i++) {
		if (getrandom(d->block[cpu * DRAWS + i], BLOCK, 0) != BLOCK)
			_exit(1);
		if (i % 64 == 0 && read(fd, stripe, sizeof(stripe)) != sizeof(stripe))
			_exit(1);
	}
	d->done[cpu] = true;
	_exit(0);
}

static int block_compare(const void *a, const void *b)
{
	return memcmp(a, b, BLOCK);
}

static bool all_differ(struct draws *d)
{
	static const unsigned char zero[BLOCK];

	qsort(d->block, CPUS * DRAWS, BLOCK, block_compare);
	for (int i = 1; i < CPUS * DRAWS; i++) {
		if (!memcmp(d->block[i - 1], d->block[i], BLOCK))
			return false;
	}
	return memcmp(d->block[0], zero, BLOCK) != 0;
}

/* All CPUs draw while the device has one event after the other. */
static bool draws_well(void)
{
	struct draws *d = mmap(NULL, sizeof(*d), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid[CPUS];
	bool good = true;
	int status;

	if (d == MAP_FAILED)
		stop("map", "memory");
	for (int i = 0; i < CPUS; i++)
		pid[i] = drawer_start(d, i);
	for (int i = 0; i < 10 || (i < 1000 && !(d->done[0] && d->done[1])); i++) {
		put(FAKE "event", "1");
		nap(5);
	}
	for (int i = 0; i < CPUS; i++)
		good &= waitpid(pid[i], &status, 0) == pid[i] && status == 0;
	good &= all_differ(d);
	munmap(d, sizeof(*d));
	return good;
}

static bool good_device_works(void)
{
	unsigned long before, after;
	bool good;

	load("fake_rng.ko", "");
	before = number(DIR_0 "generation");
	put(FAKE "event", "1");
	after = number(DIR_0 "generation");
	good = after == before + 1 && becomes(DIR_0 "reseed_generation", after) &&
	       !strcmp(get(DIR_0 "last_seed"), get(FAKE "last_seed")) && draws_well();
	unload("fake_rng");
	return good;
}

#define DRIVER "/sys/bus/virtio/drivers/virtio_rng/"
#define RESEED "/sys/module/virtio_rng/parameters/reseed"
#define ROUNDS 8

static unsigned long epoch(void)
{
	return strtoul(get(FAKE "epoch"), NULL, 0);
}

/* WireGuard and others compare it. */
static void check_epoch_over_sleep(void)
{
	unsigned long before;

	load("fake_rng.ko", "");
	before = epoch();
	put(FAKE "sleep", "0");
	promise(epoch() == before, "a suspend and resume is no new epoch");
	put(FAKE "sleep", "1");
	promise(epoch() != before, "a leak meanwhile is one");
	put(FAKE "event", "1");
	unload("fake_rng");
}

static void check_epoch_without_driver(void)
{
	unsigned long seen[3 * ROUNDS];
	char name[64] = "";
	bool good = true;
	int n = 0;
	FILE *f;

	load("fake_rng.ko", "");
	f = popen("cd " DRIVER "; echo virtio*", "r");
	if (!f || !fgets(name, sizeof(name), f))
		stop("look into", DRIVER);
	pclose(f);
	name[strcspn(name, " \n")] = 0;
	for (int i = 0; i < ROUNDS; i++) {
		seen[n++] = epoch();
		put(FAKE "event", "1");
		seen[n++] = epoch();
		put(DRIVER "unbind", name);
		seen[n++] = epoch();
		put(DRIVER "bind", name);
	}
	for (int i = 0; i < n; i++) {
		for (int k = 0; k < i; k++)
			good &= seen[i] != seen[k];
	}
	promise(good, "no epoch comes back when the driver is unbound and bound");
	unload("fake_rng");
}

static void check_reseed_parameter(void)
{
	unsigned long before, off;

	load("fake_rng.ko", "");
	before = epoch();
	put(RESEED, "0");
	off = epoch();
	put(FAKE "event", "1");
	promise(epoch() == off, "with reseed off, a leak is no new epoch");
	put(RESEED, "1");
	promise(epoch() != off && epoch() != before, "switched on again, there is a new one");
	off = epoch();
	put(FAKE "event", "1");
	promise(epoch() != off, "and leaks are, too");
	unload("fake_rng");
}

/* Clock ticks that the thread of that name has used; it is one of the kernel's, so it is among the first. */
static unsigned long cpu_time(const char *name)
{
	unsigned long user, system;
	char path[40], comm[40], stat[256];

	for (int pid = 2; pid < 1000; pid++) {
		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		snprintf(comm, sizeof(comm), "%s", get(path));
		if (strcmp(comm, name))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		snprintf(stat, sizeof(stat), "%s", get(path));
		if (sscanf(strrchr(stat, ')') + 1, "%*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu %lu", &user,
			   &system) == 2)
			return user + system;
	}
	stop("find the thread", name);
}

/* Another source of epochs never holds still: what the hwrng core fetches is always of an epoch that is over. */
static void check_hwrng_core(void)
{
	unsigned char buf[37] = { 0 };
	unsigned long before, used;
	int status = -1;
	pid_t pid;

	load("fake_rng.ko", "");
	put("/sys/class/misc/hw_random/rng_current", "virtio_rng.0");
	put(FAKE "restless", "1");
	pid = fork();
	if (!pid) {
		int fd = open("/dev/hwrng", O_RDONLY);

		alarm(HANG_S);
		_exit(read(fd, buf, sizeof(buf)) != sizeof(buf));
	}
	waitpid(pid, &status, 0);
	promise(status == 0, "a read of /dev/hwrng ends though the epoch never holds still");
	before = cpu_time("hwrng");
	nap(3000);
	used = cpu_time("hwrng") - before;
	printf("# in 3 s, hwrng's thread has used %lu of %ld ticks\n", used, 3 * sysconf(_SC_CLK_TCK));
	promise(used < (unsigned long)sysconf(_SC_CLK_TCK) / 2, "and the core's thread does not spin");
	put(FAKE "restless", "0");
	unload("fake_rng");
}

int main(void)
{
	/* By their numbers in fake_rng.c. */
	static const char *const faults[] = {
		NULL,
		"refuses copies: bytes come, none twice",
		"gives no bytes: bytes come, none twice",
		"never answers: bytes come, none twice",
		"changes the counter all the time: bytes come, none twice",
		"overstates lengths: bytes come, none twice",
		"fills less than the whole seed: bytes come, none twice",
		"writes counters that jump backwards: bytes come, none twice",
	};
	char text[96], fault[16];

	promise(good_device_works(), "a device that obeys: the kernel has reseeded with its bytes");
	for (unsigned int i = 1; i < sizeof(faults) / sizeof(faults[0]); i++) {
		snprintf(fault, sizeof(fault), "fault=%u", i);
		load("fake_rng.ko", fault);
		snprintf(text, sizeof(text), "a device that %s", faults[i]);
		promise(draws_well(), text);
		unload("fake_rng");

		load("fake_rng.ko", "");
		put(FAKE "event", "1");
		put(FAKE "fault", strchr(fault, '=') + 1);
		promise(draws_well(), "the same if it has obeyed at first");
		unload("fake_rng");
		promise(good_device_works(), "the next device that obeys is served as ever");
	}
	check_epoch_over_sleep();
	check_epoch_without_driver();
	check_reseed_parameter();
	check_hwrng_core();
	printf("%u passed, %u failed\n", passed, failed);
	return failed ? 1 : 0;
}
