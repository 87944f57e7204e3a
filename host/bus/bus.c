// SPDX-License-Identifier: Apache-2.0
/*
 * Address decoding. The tables are filled while nothing runs and do not change
 * afterwards, so that the search needs no lock; devices have their own.
 * An access that does not lie whole in one range belongs to nobody: no device
 * ever sees an offset beyond its own end.
 */
#include "bus/bus.h"

#include <string.h>

void bus_init(struct bus *bus)
{
	*bus = (struct bus){ .num_ranges = { 0 } };
}

/* The index of the first range that ends above addr. */
static unsigned int bus_search(const struct bus *bus, enum bus_space space, uint64_t addr)
{
	const struct bus_range *ranges = bus->ranges[space];
	unsigned int low = 0, high = bus->num_ranges[space];

	while (low < high) {
		unsigned int mid = low + (high - low) / 2;

		if (ranges[mid].base + (ranges[mid].len - 1) < addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

int bus_add(struct bus *bus, enum bus_space space, uint64_t base, uint64_t len, struct device *dev)
{
	unsigned int n = bus->num_ranges[space];
	struct bus_range *ranges = bus->ranges[space];
	unsigned int at;
	uint64_t last;

	if (len == 0 || __builtin_add_overflow(base, len - 1, &last))
		return -EINVAL;
	if (n == BUS_MAX_RANGES)
		return -ENOSPC;
	at = bus_search(bus, space, base);
	if (at < n && ranges[at].base <= last)
		return -EEXIST;
	memmove(&ranges[at + 1], &ranges[at], (n - at) * sizeof(ranges[0]));
	ranges[at] = (struct bus_range){ .base = base, .len = len, .dev = dev };
	bus->num_ranges[space]++;
	return 0;
}

static const struct bus_range *bus_find(const struct bus *bus, enum bus_space space, uint64_t addr, unsigned int len)
{
	unsigned int at = bus_search(bus, space, addr);
	const struct bus_range *range = &bus->ranges[space][at];

	if (len != 1 && len != 2 && len != 4 && len != 8)
		return NULL;
	if (at == bus->num_ranges[space] || addr < range->base || len > range->len - (addr - range->base))
		return NULL;
	return range;
}

bool bus_read(struct bus *bus, enum bus_space space, uint64_t addr, void *data, unsigned int len)
{
	const struct bus_range *range = bus_find(bus, space, addr, len);

	if (!range) {
		memset(data, 0xff, len);
		return false;
	}
	range->dev->ops->read(range->dev, addr - range->base, data, len);
	return true;
}

bool bus_write(struct bus *bus, enum bus_space space, uint64_t addr, const void *data, unsigned int len)
{
	const struct bus_range *range = bus_find(bus, space, addr, len);

	if (!range)
		return false;
	range->dev->ops->write(range->dev, addr - range->base, data, len);
	return true;
}
