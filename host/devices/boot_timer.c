// SPDX-License-Identifier: Apache-2.0
/* The boot timer that Firecracker's tools know: a guest's init writes 123 to its page, the log tells how long booting took. */
#include "devices/devices.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#define BOOT_TIMER_MAGIC 123u
#define BOOT_TIMER_LEN	 4096u

struct boot_timer {
	struct device dev;
	uint64_t start_ns;
	uint64_t start_cpu_ns;
};

static uint64_t process_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void boot_timer_read(struct device *dev, uint64_t offset, void *data, unsigned int len)
{
	(void)dev;
	(void)offset;
	memset(data, 0, len);
}

static void boot_timer_write(struct device *dev, uint64_t offset, const void *data, unsigned int len)
{
	struct boot_timer *t = container_of(dev, struct boot_timer, dev);
	uint64_t us = (clock_now_ns() - t->start_ns) / 1000;
	uint64_t cpu_us = (process_cpu_ns() - t->start_cpu_ns) / 1000;

	if (offset != 0 || len != 1 || *(const uint8_t *)data != BOOT_TIMER_MAGIC)
		return;
	log_info("Guest-boot-time = %6llu us %llu ms, %6llu CPU us %llu CPU ms", (unsigned long long)us,
		 (unsigned long long)us / 1000, (unsigned long long)cpu_us, (unsigned long long)cpu_us / 1000);
}

static void boot_timer_free(struct device *dev)
{
	device_fini(dev);
	free(container_of(dev, struct boot_timer, dev));
}

static const struct device_ops boot_timer_ops = {
	.read = boot_timer_read,
	.write = boot_timer_write,
	.free = boot_timer_free,
};

int boot_timer_new(gpa_t base, struct platform *p, struct device **dev, struct err *e)
{
	struct boot_timer *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return err_errno(e, ENOMEM, "boot timer");
	*t = (struct boot_timer){
		.start_ns = clock_now_ns(),
		.start_cpu_ns = process_cpu_ns(),
	};
	device_init(&t->dev, &boot_timer_ops, "boot-timer");
	r = bus_add(p->bus, BUS_MMIO, base, BOOT_TIMER_LEN, &t->dev);
	if (r < 0) {
		boot_timer_free(&t->dev);
		return err_errno(e, -r, "cannot place the boot timer at 0x%llx", (unsigned long long)base);
	}
	*dev = &t->dev;
	return 0;
}
