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
		struct guest *busy = guest_new(path, way), *idle = guest_new(path, way);

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

static void *read_without_end(void *arg)
{
	struct fake_platform *fp = arg;
	uint8_t value;

	while (!atomic_load(&ends))
		bus_read(&fp->bus, BUS_PIO, PORT + 5, &value, 1);
	return NULL;
}

/* The loop thread has input for the console, and wants its lock. */
static void bench_console(void)
{
	static double us[LOCKS];
	struct fake_platform fp;
	struct device *dev = console_new(&fp);
	pthread_t vcpus[NUM_VCPUS];

	atomic_store(&ends, false);
	for (unsigned int i = 0; i < NUM_VCPUS; i++)
		expect(!pthread_create(&vcpus[i], NULL, read_without_end, &fp), "no thread");
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
		pthread_join(vcpus[i], NULL);
	report("the console's lock, 8 vCPUs at it", us, LOCKS);
	console_free(&fp, dev);
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
