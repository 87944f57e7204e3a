// SPDX-License-Identifier: Apache-2.0
/*
 * Checks the driver on a real kernel against the entropy device of fake_rng.c.
 * Runs as root, once, in a machine made for it: ./run starts one. The modules
 * are in the current directory.
 *
 * Prints "ok" or "not ok" with the promise for each check, a summary, and ends
 * with status 0 only if all were kept.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/netlink.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

#define NO_IDENTITY "00000000000000000000000000000000"
#define SYSGENID    "/dev/sysgenid"
#define DRIVER	    "/sys/bus/virtio/drivers/virtio_rng/"

typedef volatile unsigned long word;

static void fresh_device(void)
{
	load("virtio-rng.ko", "expose_seed=1");
	load("fake_rng.ko", "");
}

static void no_device(void)
{
	unload("fake_rng");
	unload("virtio_rng");
}

static int counter_open(void)
{
	int fd = open(COUNTER, O_RDONLY);

	if (fd < 0)
		stop("open", COUNTER);
	return fd;
}

static word *counter_map(void)
{
	int fd = counter_open();
	void *p = mmap(NULL, 4, PROT_READ, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		stop("map", COUNTER);
	close(fd);
	return p;
}

static unsigned long counter_read(int fd)
{
	unsigned long v = -1UL;

	return read(fd, &v, sizeof(v)) == sizeof(v) ? v : -1UL;
}

static void check_reading(void)
{
	int fd;
	unsigned char byte = 0xff;
	unsigned long v;

	fresh_device();
	fd = counter_open();
	promise(counter_read(fd) == 0, "the counter starts at 0");
	promise(read(fd, &v, 8) == 0, "a second read finds the end: cat ends");
	promise(lseek(fd, 0, SEEK_SET) == 0 && counter_read(fd) == 0, "after a seek it can be read again");
	put(FAKE "event", "1");
	promise(counter_read(fd) == 1, "a read without a seek gives the value after a leak");
	promise(pread(fd, &byte, 1, 0) == 1 && byte == 1, "a short read gives the first bytes");
	promise(becomes(DIR_0 "generation", 1), "generation is for people");
	promise(open(COUNTER, O_RDWR) < 0 && errno == EACCES, "the file cannot be opened for writing");
	promise(access(DIR_0 "device/vendor", R_OK) == 0, "the directory leads to the virtio device");
	close(fd);
	no_device();
}

static void check_mapping(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int fd;
	char *p;
	word *w;

	fresh_device();
	fd = counter_open();
	promise(mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED,
		"a shared writable mapping is refused");
	promise(mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0) == MAP_FAILED,
		"a private writable mapping is refused");
	promise(mmap(NULL, 2 * page, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED, "only one page can be mapped");
	promise(mmap(NULL, page, PROT_READ, MAP_SHARED, fd, (off_t)page) == MAP_FAILED,
		"only the first page can be mapped");

	for (int private = 0; private < 2; private ++) {
		p = mmap(NULL, page, PROT_READ, private ? MAP_PRIVATE : MAP_SHARED, fd, 0);
		if (p == MAP_FAILED)
			stop("map", COUNTER);
		w = (word *)p;
		promise(mprotect(p, page, PROT_READ | PROT_WRITE) < 0, "mprotect cannot make it writable");
		promise(mremap(p, page, 2 * page, MREMAP_MAYMOVE) == MAP_FAILED, "mremap cannot make it larger");
		promise(madvise(p, page, MADV_DONTNEED) == 0 && *w == (unsigned long)private,
			"MADV_DONTNEED does no harm");
		put(FAKE "event", "1");
		promise(*w == 1 + (unsigned long)private, "the mapped word has changed right after the leak");
	}
	w = counter_map();
	if (!fork()) {
		put(FAKE "event", "1");
		_exit(*w == 3 ? 0 : 1);
	} else {
		int status = -1;

		wait(&status);
		promise(status == 0 && *w == 3, "a child shares the mapping");
	}
	close(fd);
	no_device();
}

/* Not even root, who finds the mapped file in /proc. */
static void check_nobody_writes(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned long value = 99;
	char path[80];
	word *w;
	int fd;

	fresh_device();
	w = counter_map();
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)w, (unsigned long)w + page);
	fd = open(path, O_RDWR);
	promise(fd < 0 && errno == EPERM, "the page cannot be opened for writing behind map_files");
	close(fd);
	fd = open(path, O_RDONLY);
	promise(fd >= 0, "but for reading");
	promise(pwrite(fd, &value, sizeof(value), 0) < 0 && ftruncate(fd, 0) < 0 && fallocate(fd, 0, 0, 8192) < 0 &&
			fchmod(fd, 0666) < 0,
		"and then be neither written nor cut nor made writable");
	promise(mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED, "nor mapped writable");
	put(FAKE "event", "1");
	promise(*w == 1, "the device writes to it all the same");
	close(fd);
	no_device();
}

static bool polls(int fd, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLPRI };

	return poll(&pfd, 1, ms) == 1 && (pfd.revents & POLLPRI);
}

/* Until the kernel has reseeded for all that the page has counted, which may go on meanwhile: of several leaks one is late. */
static bool settles(const word *w)
{
	for (int i = 0; i < 400 && number(DIR_0 "reseed_generation") != *w; i++)
		nap(10);
	return number(DIR_0 "reseed_generation") == *w;
}

static int uevent_open(void)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)))
		stop("open", "uevents");
	return fd;
}

static bool uevent_came(int fd, const char *what)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char buf[4096];

	while (poll(&pfd, 1, 2000) == 1) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);

		if (n > 0 && memmem(buf, (size_t)n, what, strlen(what) + 1))
			return true;
	}
	return false;
}

static void check_news(void)
{
	int fd, ue;
	unsigned long v;

	fresh_device();
	fd = counter_open();
	ue = uevent_open();
	counter_read(fd);
	promise(!polls(fd, 50), "poll waits while nothing happens");
	put(FAKE "event", "1");
	promise(polls(fd, 2000), "poll tells of a leak");
	promise(number(DIR_0 "reseed_generation") == 1, "by then the kernel's generator has been reseeded");
	promise(counter_read(fd) == 1, "and a read without a seek has the value");
	promise(uevent_came(ue, "VM_GENERATION=1"), "a uevent tells of it too");
	promise(!strcmp(get(DIR_0 "last_seed"), get(FAKE "last_seed")),
		"the seed that the device gave is the one mixed in");

	/* The value is read before poll announces it: poll must not lose it. */
	put(FAKE "event", "1");
	lseek(fd, 0, SEEK_SET);
	promise(counter_read(fd) == 2, "a read needs no announcement");
	becomes(DIR_0 "reseed_generation", 2);
	nap(50);
	promise(!polls(fd, 0) || counter_read(fd) == 2, "an announced value can be read though it was before");
	promise(read(fd, &v, 8) == 0 && !polls(fd, 50), "then poll waits again");
	close(ue);
	close(fd);
	no_device();
}

static void check_many_events(void)
{
	int fd;
	word *w;
	bool good = true;
	unsigned long late;

	fresh_device();
	w = counter_map();
	put(FAKE "event", "2");
	promise(*w == 2, "two leaks in one stop are two, at the start");
	promise(becomes(DIR_0 "reseed_generation", 2), "both are handled");

	fd = counter_open();
	counter_read(fd);
	for (unsigned long i = 3; i <= 52; i++) {
		put(FAKE "event", "1");
		good &= *w == i && polls(fd, 2000) && counter_read(fd) == i;
		good &= becomes(DIR_0 "reseed_generation", i);
	}
	promise(good, "of fifty leaks each is seen, mapped and by poll");

	put(FAKE "event", "5");
	promise(*w >= 53, "five leaks in one stop are at least one");
	nap(100);
	promise(*w == 54, "what found nothing armed is reported late");
	late = number(FAKE "late");
	promise(late == 4, "the device has counted the late ones");
	promise(becomes(DIR_0 "reseed_generation", 54) && !strcmp(get(DIR_0 "last_seed"), get(FAKE "last_seed")),
		"with the last seed mixed in");

	/* Back to back, with no wait for the driver. */
	for (int i = 0; i < 200; i++)
		put(FAKE "event", "1");
	promise(settles(w) && *w <= 254, "a burst of leaks settles");
	put(FAKE "event", "1");
	nap(20);
	good = settles(w) && !strcmp(get(DIR_0 "last_seed"), get(FAKE "last_seed"));
	promise(good, "and the next leak works as the first did");
	close(fd);
	no_device();
}

static void check_stale_bytes(void)
{
	bool good = true;
	unsigned char buf[100];
	word *w;
	int fd, status = -1;

	fresh_device();
	w = counter_map();
	put("/sys/class/misc/hw_random/rng_current", "virtio_rng.0");
	fd = open("/dev/hwrng", O_RDONLY);
	if (fd < 0)
		stop("open", "/dev/hwrng");
	/* 37 leaves a remainder in every buffer of 64. */
	for (unsigned int i = 0; i < 60; i++) {
		good &= read(fd, buf, 37) == 37;
		for (int k = 0; k < 37; k++)
			good &= buf[k] == (unsigned char)*w;
		put(FAKE "event", "1");
		while (number(DIR_0 "reseed_generation") != *w)
			nap(1);
	}
	promise(good, "no byte fetched before a leak is read after it");

	if (!fork()) {
		for (int i = 0; i < 150; i++) {
			put(FAKE "event", "1");
			nap(2);
		}
		_exit(0);
	}
	for (good = true; !waitpid(-1, &status, WNOHANG);) {
		unsigned char before = (unsigned char)number(FAKE "events");
		unsigned char after;

		good &= read(fd, buf, 37) == 37;
		after = (unsigned char)number(FAKE "events");
		for (int k = 0; k < 37; k++)
			good &= (unsigned char)(buf[k] - before) <= (unsigned char)(after - before);
	}
	promise(good && status == 0, "nor while leaks and reads race");
	close(fd);
	no_device();
}

/* A program that sleeps in poll() and then finds the file dead ends with 0. */
static pid_t poller_start(void)
{
	pid_t pid = fork();
	unsigned long v;
	int fd;

	if (pid)
		return pid;
	fd = counter_open();
	counter_read(fd);
	alarm(10);
	polls(fd, -1);
	_exit(read(fd, &v, sizeof(v)) < 0 && errno == ENODEV ? 0 : 1);
}

static bool poller_woke(pid_t pid)
{
	int status = -1;

	return waitpid(pid, &status, 0) == pid && status == 0;
}

static void check_life(void)
{
	pid_t poller;
	char name[64] = "";
	word *w;
	FILE *f;
	int fd;

	fresh_device();
	w = counter_map();
	put(FAKE "event", "1");
	becomes(DIR_0 "reseed_generation", 1);
	promise(w[1] == 0, "the page says that leaks are reported");
	put(FAKE "sleep", "2");
	promise(*w == 2 && w[1] == 0, "leaks during a suspend are one when the machine wakes up");
	promise(number(DIR_0 "reseed_generation") == 2, "and the kernel has reseeded by then");
	put(FAKE "event", "1");
	promise(*w == 3, "and leaks are reported afterwards");
	becomes(DIR_0 "reseed_generation", 3);

	f = popen("cd " DRIVER "; echo virtio*", "r");
	if (!f || !fgets(name, sizeof(name), f))
		stop("look into", DRIVER);
	pclose(f);
	name[strcspn(name, " \n")] = 0;
	fd = counter_open();
	poller = poller_start();
	nap(300);
	put(DRIVER "unbind", name);
	promise(poller_woke(poller), "who sleeps in poll is woken when the device goes");
	promise(*w == 3 && w[1] == 1, "an unbound device leaves the mapping, marked as unwatched");
	promise(counter_read(fd) == -1UL && errno == ENODEV, "but its file is dead");
	close(fd);
	madvise((void *)(unsigned long)w, 4096, MADV_DONTNEED);
	promise(*w == 3, "the mapping can be faulted in without a device");
	put(DRIVER "bind", name);
	promise(*w == 4 && w[1] == 0, "bound again it goes on, one higher, in the same page");
	put(FAKE "event", "1");
	promise(*w == 5, "leaks reach the old mapping again");
	becomes(DIR_0 "reseed_generation", 5);

	no_device();
	madvise((void *)(unsigned long)w, 4096, MADV_DONTNEED);
	promise(*w == 5 && w[1] == 1, "the mapping outlives the module");
	fresh_device();
	promise(*counter_map() == 0 && *w == 5, "a new module starts anew; the old page stays as it was");
	no_device();
}

static void check_sleep(void)
{
	unsigned long requests;
	word *w;
	int fd;

	fresh_device();
	w = counter_map();
	put(FAKE "event", "1");
	becomes(DIR_0 "reseed_generation", 1);
	nap(50);
	fd = counter_open();
	counter_read(fd);
	requests = number(FAKE "requests");
	put(FAKE "sleep", "0");
	promise(becomes(FAKE "handled", 1) && number(FAKE "generation") == 1, "the device is told of what was handled");
	promise(*w == 1 && w[1] == 0 && !polls(fd, 50), "a suspend and resume is no leak");
	promise(number(FAKE "requests") > requests, "but brings fresh bytes of the device");
	put(FAKE "event", "3");
	put(FAKE "sleep", "0");
	nap(50);
	promise(*w >= 3 && settles(w), "leaks just before it are not lost");
	promise(becomes(FAKE "handled", number(FAKE "generation")), "and the device is told of them, too");
	settles(w);
	requests = *w;
	put(FAKE "unreported", "77");
	put(FAKE "sleep", "0");
	promise(*w == requests + 1 && number(DIR_0 "reseed_generation") == *w, "waking up with another device is one");
	close(fd);
	unload("fake_rng");
	load("fake_rng.ko", "count=0");
	requests = *w;
	put(FAKE "sleep", "0");
	promise(*w == requests + 1, "so is waking up with a device that does not count");
	no_device();
}

/* As the mapped page has it, in hexadecimal. */
static const char *page_identity(const word *w)
{
	const volatile unsigned char *page = (const volatile unsigned char *)w;
	static char text[33];

	for (int i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", page[32 + i]);
	return text;
}

static bool has_identity(void)
{
	for (int i = 0; i < 400 && !strcmp(get(DIR_0 "identity"), NO_IDENTITY); i++)
		nap(10);
	return strlen(get(DIR_0 "identity")) == 32 && strcmp(get(DIR_0 "identity"), NO_IDENTITY);
}

/* What found no request is carried out with the driver's next ones: a moment later. */
static bool late_is_over(void)
{
	for (int i = 0; i < 400 && strcmp(get(FAKE "waits"), "N"); i++)
		nap(10);
	return !strcmp(get(FAKE "waits"), "N");
}

static bool identity_moves_on(const word *w, const char *before)
{
	for (int i = 0; i < 400 && !strcmp(before, page_identity(w)); i++)
		nap(10);
	return has_identity() && strcmp(before, page_identity(w));
}

static void check_identity(void)
{
	char before[40];
	bool new = true;
	word *w;

	fresh_device();
	w = counter_map();
	promise(w[2] == 0x150534e53 && w[3] == 0, "the page says what it is");
	promise(has_identity(), "the device gives the machine its first identity");
	promise(!strcmp(page_identity(w), get(DIR_0 "identity")), "page and file have the same identity");
	for (int i = 1; i <= 10; i++) {
		strcpy(before, page_identity(w));
		put(FAKE "event", "1");
		new = new &&*w == (unsigned long)i &&strcmp(before, page_identity(w));
		becomes(DIR_0 "reseed_generation", i);
	}
	promise(new, "each leak brings a new one, with the generation");
	promise(w[3] == 10, "the page says for which generation the kernel has reseeded");

	strcpy(before, page_identity(w));
	put(FAKE "event", "3");
	promise(late_is_over() && identity_moves_on(w, before) && settles(w), "a late leak brings one too");
	strcpy(before, page_identity(w));
	put(FAKE "sleep", "0");
	promise(!strcmp(before, page_identity(w)), "a suspend and resume does not");
	put(FAKE "sleep", "1");
	promise(has_identity() && strcmp(before, page_identity(w)), "but a leak meanwhile does");
	settles(w);
	put(FAKE "fault", "6");
	put(FAKE "event", "1");
	settles(w);
	promise(!strcmp(page_identity(w), NO_IDENTITY) && w[1] == 0, "without the device's bytes there is none");
	no_device();
	promise(!strcmp(page_identity(w), NO_IDENTITY), "nor without the device");
}

static unsigned int sysgenid_word(int fd)
{
	volatile unsigned int *p = mmap(NULL, 4, PROT_READ, MAP_SHARED, fd, 0);
	unsigned int value;

	if (p == MAP_FAILED)
		stop("map", SYSGENID);
	value = *p;
	munmap((void *)(unsigned long)p, 4);
	return value;
}

static pid_t sysgenid_reader(unsigned int expect, int error)
{
	pid_t pid = fork();
	unsigned int v = 0;
	ssize_t n;
	int fd;

	if (pid) {
		nap(300);
		return pid;
	}
	alarm(10);
	fd = open(SYSGENID, O_RDONLY);
	n = read(fd, &v, sizeof(v));
	_exit(error ? !(n < 0 && errno == error) : !(n == 4 && v == expect));
}

static bool is_readable(int fd, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, ms) == 1 && pfd.revents == POLLIN;
}

static void check_sysgenid_file(int fd)
{
	unsigned int v[2] = { 7, 7 };

	promise(read(fd, v, 4) < 0 && errno == EAGAIN && !is_readable(fd, 0), "sysgenid: nothing to read at first");
	put(FAKE "event", "1");
	promise(is_readable(fd, 5000), "sysgenid: poll tells of a change");
	promise(read(fd, v, 4) == 4 && v[0] == 1 && read(fd, v, 8) == 4, "sysgenid: read gives it until acknowledged");
	promise(read(fd, v, 3) < 0 && errno == EINVAL, "sysgenid: not into three bytes");
	v[0] = 2;
	promise(write(fd, v, 4) < 0 && errno == EINVAL, "sysgenid: only the current one can be acknowledged");
	v[0] = 1;
	promise(write(fd, v, 3) < 0 && errno == EINVAL, "sysgenid: with four bytes");
	promise(write(fd, v, 4) == 4 && read(fd, v, 4) < 0 && errno == EAGAIN,
		"sysgenid: then there is nothing to read");
	promise(mmap(NULL, 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED,
		"sysgenid: no writable mapping");
	promise(mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED, "sysgenid: of one page");
	promise(sysgenid_word(fd) == 1, "sysgenid: the first four bytes of the page are the counter");
}

static void check_sysgenid(void)
{
	pid_t pid;
	int fd;

	fresh_device();
	fd = open(SYSGENID, O_RDWR | O_NONBLOCK);
	if (fd < 0)
		stop("open", SYSGENID);
	check_sysgenid_file(fd);
	pid = sysgenid_reader(2, 0);
	put(FAKE "event", "1");
	promise(poller_woke(pid), "sysgenid: who sleeps in read is woken by a leak");
	pid = sysgenid_reader(0, ENODEV);
	unload("fake_rng");
	promise(poller_woke(pid), "sysgenid: and when the device goes, with an error");
	promise(access(SYSGENID, F_OK) < 0, "sysgenid: which takes the file away");
	promise(sysgenid_word(fd) == 2, "sysgenid: who has it open can map the page");
	promise(syscall(SYS_delete_module, "virtio_rng", O_NONBLOCK) < 0, "sysgenid: and keeps the module");
	close(fd);
	unload("virtio_rng");

	load("virtio-rng.ko", "sysgenid=0");
	load("fake_rng.ko", "");
	promise(access(SYSGENID, F_OK) < 0 && has_identity(), "sysgenid: can be switched off");
	no_device();
}

static bool hwrng_reads(void)
{
	unsigned char buf[64];
	int fd = open("/dev/hwrng", O_RDONLY);
	bool good = fd >= 0 && read(fd, buf, sizeof(buf)) == sizeof(buf);

	close(fd);
	return good;
}

static void check_bad_devices(void)
{
	unsigned char buf[16];
	word *w;
	int fd;

	fresh_device();
	w = counter_map();
	put(FAKE "fault", "1");
	put(FAKE "event", "1");
	nap(100);
	promise(*w == 1 && w[1] == 1, "a refused copy is a change, and the end of reporting");
	put(FAKE "event", "3");
	promise(hwrng_reads(), "random bytes come all the same");
	no_device();

	fresh_device();
	w = counter_map();
	put(FAKE "fault", "4");
	put(FAKE "event", "1");
	nap(2500);
	promise(*w > 100 && *w < 2500, "a device that uses all at once is slowed down");
	put(FAKE "fault", "0");
	nap(300);
	promise(settles(w), "and settles");
	no_device();

	fresh_device();
	w = counter_map();
	put(FAKE "fault", "5");
	put(FAKE "event", "1");
	nap(100);
	promise(*w == 1 && hwrng_reads(), "overstated lengths do no harm");
	no_device();

	fresh_device();
	w = counter_map();
	for (unsigned long i = 1; i <= 4; i++) {
		put(FAKE "event", "1");
		becomes(DIR_0 "reseed_generation", i);
	}
	put(FAKE "fault", "7");
	put(FAKE "event", "1");
	promise(becomes(DIR_0 "reseed_generation", 5) && *w == 5,
		"a counter that the device has set back is put right");
	put(FAKE "fault", "0");
	put(FAKE "event", "1");
	promise(*w == 6 && becomes(DIR_0 "reseed_generation", 6), "and the next leak is reported");
	no_device();

	fresh_device();
	put("/sys/class/misc/hw_random/rng_current", "virtio_rng.0");
	put(FAKE "fault", "2");
	fd = open("/dev/hwrng", O_RDONLY);
	while (read(fd, buf, 1) == 1)
		;
	promise(errno == EIO, "a device that gives nothing is an I/O error");
	close(fd);
	no_device();

	load("virtio-rng.ko", "");
	load("fake_rng.ko", "fault=3");
	fd = open("/dev/hwrng", O_RDONLY | O_NONBLOCK);
	promise(read(fd, buf, 1) < 0 && errno == EAGAIN, "a deaf device does not hang who will not wait");
	if (!fork()) {
		fcntl(fd, F_SETFL, 0);
		alarm(1);
		_exit(read(fd, buf, 1) > 0);
	} else {
		int status = 0;

		wait(&status);
		promise(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM, "and who waits can be interrupted");
	}
	close(fd);
	no_device();
	promise(true, "and the driver can be unloaded");
}

static void check_plain_device(void)
{
	load("virtio-rng.ko", "");
	load("fake_rng.ko", "leak=0");
	put("/sys/class/misc/hw_random/rng_current", "virtio_rng.0");
	promise(access(COUNTER, F_OK) < 0, "without leak reporting there is no counter to trust");
	promise(hwrng_reads(), "but random bytes");
	put(FAKE "sleep", "1");
	promise(hwrng_reads(), "after a suspend and resume too");
	no_device();
	load("virtio-rng.ko", "reseed=0");
	load("fake_rng.ko", "");
	put(FAKE "event", "1");
	promise(becomes(DIR_0 "generation", 1) && number(DIR_0 "reseed_generation") == 0 &&
			access(DIR_0 "last_seed", F_OK) < 0,
		"reseed=0 only stirs, and no seed is shown unless asked for");
	no_device();
}

int main(void)
{
	check_reading();
	check_mapping();
	check_nobody_writes();
	check_news();
	check_many_events();
	check_stale_bytes();
	check_life();
	check_sleep();
	check_identity();
	check_sysgenid();
	check_bad_devices();
	check_plain_device();
	printf("%u passed, %u failed\n", passed, failed);
	return failed ? 1 : 0;
}
