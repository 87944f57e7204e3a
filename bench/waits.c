// SPDX-License-Identifier: Apache-2.0
/*
 * Who waits for whom: devices without a machine around them.
 *
 * Usage: bench_waits FILE                how long accesses take while others work
 *        bench_waits FILE KIND N         N requests of the entropy device, or N bytes to the console ("entropy",
 *                                        "serial"), and how many calls of its own this program made for them
 *
 * Prints "name: median unit min max" a line, as bench/run wants it.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <linux/virtio_blk.h>

#include "base/clock.h"
#include "base/log.h"
#include "devices/devices.h"
#include "guest.h"
#include "virtio/rng.h"

#define NUM_VCPUS 8
#define LOOKS	  3000u /* at a register, one after the other with a break between them */
#define LOCKS	  3000u
#define BREAK_US  200
#define PORT	  0x3F8

static _Atomic bool ends;

static void expect(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench: %s\n", what);
	exit(EXIT_FAILURE);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void report(const char *name, double *us, size_t n)
{
	qsort(us, n, sizeof(*us), compare);
	printf("%s, p50: %.3f us %.3f %.3f\n", name, us[n / 2], us[0], us[n - 1]);
	printf("%s, p99: %.3f us %.3f %.3f\n", name, us[n - n / 100], us[0], us[n - 1]);
}

/* A vCPU that writes and flushes. */
static void *flush_without_end(void *arg)
{
	struct guest *g = arg;

	while (!atomic_load(&ends)) {
		guest_run(g, VIRTIO_BLK_T_OUT, 1, 1);
		guest_run(g, VIRTIO_BLK_T_FLUSH, 1, 1);
	}
	return NULL;
}

static void bench_registers(const char *name, struct guest *busy, struct guest *read)
{
	static double us[LOOKS];
	pthread_t thread;

	atomic_store(&ends, false);
	expect(!pthread_create(&thread, NULL, flush_without_end, busy), "no thread");
	for (unsigned int i = 0; i < LOOKS; i++) {
		uint64_t start_ns;

		usleep(BREAK_US);
		start_ns = clock_now_ns();
		(void)drv_read(&read->drv, VIRTIO_MMIO_STATUS);
		us[i] = (double)(clock_now_ns() - start_ns) / 1000;
	}
	atomic_store(&ends, true);
	pthread_join(thread, NULL);
	report(name, us, LOOKS);
}

static void bench_flush(char *path)
{
	char name[80];

	for (int way = 0; way < GUEST_NUM_WAYS; way++) {
		struct guest *busy = guest_new(path, way, false), *idle = guest_new(path, way, false);

		snprintf(name, sizeof(name), "register of the disk that flushes, %s", guest_way_name(way));
		bench_registers(name, busy, busy);
		snprintf(name, sizeof(name), "register of another, %s", guest_way_name(way));
		bench_registers(name, busy, idle);
		guest_free(busy);
		guest_free(idle);
	}
}

static struct device *console_new(struct fake_platform *fp)
{
	struct serial_config config = { .serial_out_path = (char[]){ "/dev/null" } };
	struct device *dev;
	struct err e;

	fake_platform_init(fp);
	expect(!serial_new(&config, PORT, 0, &fp->p, &dev, &e), e.text);
	device_resume(dev);
	return dev;
}

static void console_free(struct fake_platform *fp, struct device *dev)
{
	dev->ops->free(dev);
	fake_platform_fini(fp);
}

/* Where vCPUs make their accesses: at the console, as it was when each access took the device's lock, and where nobody is. */
enum place { PLACE_CONSOLE, PLACE_LOCKED, PLACE_NOBODY, NUM_PLACES };

struct vcpu {
	struct fake_platform *fp;
	struct device *dev;
	enum place place;
	pthread_t thread;
	uint64_t accesses, sleeps;
	double worst_us;       /* of all: also of those in which the scheduler gave its processor to others */
	double worst_sleep_us; /* of those in which it slept, for whatever it waited for */
};

/* How often the calling thread has given its processor away by itself: this is what waiting for a lock does. */
static long times_slept(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw;
}

/* The status, the reason for an interrupt, a byte that is printed: what a driver does for each. */
static void access_once(struct vcpu *v)
{
	uint64_t n = v->accesses % 3, port = v->place == PLACE_NOBODY ? PORT + 0x100 : PORT;
	uint8_t value = '.';

	if (v->place == PLACE_LOCKED)
		device_lock(v->dev);
	if (n == 2)
		bus_write(&v->fp->bus, BUS_PIO, port, &value, 1);
	else
		bus_read(&v->fp->bus, BUS_PIO, port + (n ? 2 : 5), &value, 1);
	if (v->place == PLACE_LOCKED)
		device_unlock(v->dev);
}

static void *access_without_end(void *arg)
{
	struct vcpu *v = arg;
	long slept = times_slept();

	while (!atomic_load(&ends)) {
		uint64_t start_ns = clock_now_ns();
		long now_slept;
		double us;

		access_once(v);
		us = (double)(clock_now_ns() - start_ns) / 1000;
		now_slept = times_slept();
		v->accesses++;
		if (us > v->worst_us)
			v->worst_us = us;
		if (now_slept != slept) {
			v->sleeps++;
			if (us > v->worst_sleep_us)
				v->worst_sleep_us = us;
		}
		slept = now_slept;
	}
	return NULL;
}

/* The median of those of the vCPUs. */
static void report_vcpus(const char *name, const char *what, const char *unit, double values[NUM_VCPUS])
{
	qsort(values, NUM_VCPUS, sizeof(*values), compare);
	printf("%s, %s: %.3f %s %.3f %.3f\n", name, what, values[NUM_VCPUS / 2], unit, values[0],
	       values[NUM_VCPUS - 1]);
}

static void report_accesses(const char *name, const struct vcpu *vcpus)
{
	double sleeps[NUM_VCPUS], worst_sleep[NUM_VCPUS], worst[NUM_VCPUS];

	for (unsigned int i = 0; i < NUM_VCPUS; i++) {
		sleeps[i] = 1e6 * (double)vcpus[i].sleeps / (double)(vcpus[i].accesses ? vcpus[i].accesses : 1);
		worst_sleep[i] = vcpus[i].worst_sleep_us;
		worst[i] = vcpus[i].worst_us;
	}
	report_vcpus(name, "slept", "ppm", sleeps);
	report_vcpus(name, "worst that slept", "us", worst_sleep);
	report_vcpus(name, "worst", "us", worst);
}

/* Meanwhile the loop's thread, which is this one, wants the device's lock now and then. */
static void bench_console_at(enum place place)
{
	static const char *const names[NUM_PLACES] = { "console", "console, with a lock", "nobody there" };
	static double us[LOCKS];
	struct vcpu vcpus[NUM_VCPUS];
	struct fake_platform fp;
	struct device *dev = console_new(&fp);
	char name[64];

	atomic_store(&ends, false);
	for (unsigned int i = 0; i < NUM_VCPUS; i++) {
		vcpus[i] = (struct vcpu){ .fp = &fp, .dev = dev, .place = place };
		expect(!pthread_create(&vcpus[i].thread, NULL, access_without_end, &vcpus[i]), "no thread");
	}
	for (unsigned int i = 0; i < LOCKS; i++) {
		uint64_t start_ns;

		usleep(BREAK_US);
		start_ns = clock_now_ns();
		device_lock(dev);
		us[i] = (double)(clock_now_ns() - start_ns) / 1000;
		device_unlock(dev);
	}
	atomic_store(&ends, true);
	for (unsigned int i = 0; i < NUM_VCPUS; i++)
		pthread_join(vcpus[i].thread, NULL);
	snprintf(name, sizeof(name), "%s, 8 vCPUs, accesses", names[place]);
	report_accesses(name, vcpus);
	snprintf(name, sizeof(name), "%s, 8 vCPUs, the device's lock", names[place]);
	report(name, us, LOCKS);
	console_free(&fp, dev);
}

static void bench_console(void)
{
	for (enum place place = 0; place < NUM_PLACES; place++)
		bench_console_at(place);
}

static void *run_loop(void *arg)
{
	(void)loop_run(arg);
	return NULL;
}

/* One at a time. Our own calls: each doorbell is one. */
static void run_entropy(unsigned int n)
{
	struct entropy_config config = { .present = true };
	struct fake_platform fp;
	struct virtio_driver drv;
	struct virtio_dev *vdev;
	struct ring_used used;
	pthread_t loop;
	struct err e;

	fake_platform_init(&fp);
	expect(!rng_new(&config, &fp.p, &vdev, &e), e.text);
	drv_plug(&drv, &fp, vdev, "entropy");
	drv_start(&drv, 0, 1);
	expect(!pthread_create(&loop, NULL, run_loop, fp.p.loop), "no thread");
	for (unsigned int i = 0; i < n; i++) {
		ring_add(&drv.rings[0], NULL, 0, &(struct ring_buf){ DRV_DATA_GPA, 64 }, 1);
		drv_write(&drv, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		while (!ring_get_used(&drv.rings[0], &used))
			;
	}
	loop_stop(fp.p.loop, 0);
	pthread_join(loop, NULL);
	printf("%u\n", n);
	drv_unplug(&drv);
	fake_platform_fini(&fp);
}

static void run_serial(unsigned int n)
{
	struct fake_platform fp;
	struct device *dev = console_new(&fp);
	uint8_t byte = 'x';

	for (unsigned int i = 0; i < n; i++)
		bus_write(&fp.bus, BUS_PIO, PORT, &byte, 1);
	printf("0\n");
	console_free(&fp, dev);
}

int main(int argc, char **argv)
{
	log_set_level(LOG_LEVEL_ERROR);
	if (argc == 2) {
		int fd = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0600);

		expect(fd >= 0 && !ftruncate(fd, GUEST_FILE_SIZE), argv[1]);
		bench_flush(argv[1]);
		bench_console();
		return EXIT_SUCCESS;
	}
	expect(argc == 4, "Usage: bench_waits FILE [entropy | serial N]");
	if (!strcmp(argv[2], "entropy"))
		run_entropy((unsigned int)atoi(argv[3]));
	else
		run_serial((unsigned int)atoi(argv[3]));
	return EXIT_SUCCESS;
}
