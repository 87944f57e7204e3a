// SPDX-License-Identifier: Apache-2.0
/* The devices of ports.h. All run on vCPU threads. */
#include "rig_devices.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ports.h"
#include "rig.h"

static void device_read_zero(struct device *dev, uint64_t offset, void *data, unsigned int len)
{
	(void)dev;
	(void)offset;
	memset(data, 0, len);
}

static void device_free_nothing(struct device *dev)
{
	(void)dev; /* part of the rig */
}

static void console_write(struct device *dev, uint64_t offset, const void *data, unsigned int len)
{
	struct rig *rig = container_of(dev, struct rig, console);
	sem_t *hold = rig->hold; /* once: it may be NULL by the time that a kick has been slept through */

	if (hold) {
		sem_post(&rig->event);
		while (sem_wait(hold) < 0) /* nothing gets it out of there */
			;
	}
	if (offset != 0 || len != 1)
		return;
	device_lock(dev);
	if (rig->text_len + 1 < sizeof(rig->text))
		rig->text[rig->text_len++] = *(const char *)data;
	device_unlock(dev);
	if (*(const char *)data == '\n')
		sem_post(&rig->event);
}

static const struct device_ops console_ops = {
	.read = device_read_zero,
	.write = console_write,
	.free = device_free_nothing,
};

static void reset_write(struct device *dev, uint64_t offset, const void *data, unsigned int len)
{
	struct rig *rig = container_of(dev, struct rig, reset);

	(void)offset;
	if (len == 1 && *(const uint8_t *)data == PAYLOAD_RESET_VALUE) {
		rig->has_reset = true;
		sem_post(&rig->event);
	}
}

static const struct device_ops reset_ops = {
	.read = device_read_zero,
	.write = reset_write,
	.free = device_free_nothing,
};

static void counters_expect(struct counters *c, bool as_expected)
{
	if (!as_expected)
		c->errors++;
}

static void counters_read(struct device *dev, uint64_t offset, void *data, unsigned int len)
{
	struct counters *c = container_of(dev, struct counters, dev);

	memset(data, 0, len);
	device_lock(dev);
	if (offset == PAYLOAD_READ && len == 4) {
		memcpy(data, &c->next_read, 4);
		c->next_read++;
	} else if (offset == PAYLOAD_MODIFY && len == 4) {
		memcpy(data, &c->modified, 4);
	} else if (offset == PAYLOAD_STRING && len == 1) {
		*(uint8_t *)data = c->next_string_in++;
	} else {
		c->errors++;
	}
	device_unlock(dev);
}

static void counters_write(struct device *dev, uint64_t offset, const void *data, unsigned int len)
{
	struct counters *c = container_of(dev, struct counters, dev);
	uint64_t value = 0, n64;

	memcpy(&value, data, len);
	device_lock(dev);
	n64 = c->next_write64;
	if (offset == PAYLOAD_WRITE && len == 4) {
		counters_expect(c, value == c->next_write++);
	} else if (offset == PAYLOAD_MODIFY && len == 4) {
		counters_expect(c, value == (uint32_t)(c->modified + 1));
		c->modified = (uint32_t)value;
	} else if (offset == PAYLOAD_WRITE64 && len == 8) {
		counters_expect(c, value == (n64 << 32 | n64));
		c->next_write64++;
	} else if (offset == PAYLOAD_STRING && len == 1) {
		counters_expect(c, value == c->next_string_out++);
	} else {
		c->errors++;
		c->verdict = offset == PAYLOAD_VERDICT ? (uint32_t)value : c->verdict;
	}
	device_unlock(dev);
}

static const struct device_ops counters_ops = {
	.read = counters_read,
	.write = counters_write,
	.free = device_free_nothing,
};

void rig_add_devices(struct rig *rig)
{
	device_init(&rig->console, &console_ops, "console");
	device_init(&rig->reset, &reset_ops, "reset");
	device_init(&rig->ports.dev, &counters_ops, "ports");
	device_init(&rig->mmio.dev, &counters_ops, "mmio");
	assert_int_equal(bus_add(&rig->bus, BUS_PIO, PAYLOAD_CONSOLE_PORT, 1, &rig->console), 0);
	assert_int_equal(bus_add(&rig->bus, BUS_PIO, PAYLOAD_RESET_PORT, 1, &rig->reset), 0);
	assert_int_equal(bus_add(&rig->bus, BUS_PIO, PAYLOAD_PORT_BASE, PAYLOAD_LEN, &rig->ports.dev), 0);
	assert_int_equal(bus_add(&rig->bus, BUS_MMIO, PAYLOAD_MMIO_BASE, PAYLOAD_LEN, &rig->mmio.dev), 0);
}
