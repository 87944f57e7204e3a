/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which device answers at an address, for the two address spaces of a guest.
 * The bus finds, the device locks (device.h): the table has no lock, since it is
 * fixed once vCPUs run.
 */
#ifndef BUS_BUS_H
#define BUS_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "bus/device.h"

enum bus_space { BUS_MMIO, BUS_PIO, BUS_NUM_SPACES };

#define BUS_MAX_RANGES 64

struct bus_range {
	uint64_t base;
	uint64_t len;
	struct device *dev; /* borrowed */
};

struct bus {
	unsigned int num_ranges[BUS_NUM_SPACES];
	struct bus_range ranges[BUS_NUM_SPACES][BUS_MAX_RANGES]; /* sorted by base; fixed once vCPUs run */
};

void bus_init(struct bus *bus);
/* -EEXIST if it overlaps another range, -ENOSPC if the table is full. */
int bus_add(struct bus *bus, enum bus_space space, uint64_t base, uint64_t len, struct device *dev) must_check;

/* A guest access from a vCPU thread. An address without a device reads as all ones, a write is dropped. false: nobody there. */
bool bus_read(struct bus *bus, enum bus_space space, uint64_t addr, void *data, unsigned int len);
bool bus_write(struct bus *bus, enum bus_space space, uint64_t addr, const void *data, unsigned int len);

#endif
