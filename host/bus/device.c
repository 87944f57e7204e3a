// SPDX-License-Identifier: Apache-2.0
/* What all devices have in common: a lock, a state, and the calls that the machine makes. */
#include "bus/device.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define IN(state)   (1u << (state))
#define NOT_RUNNING (IN(DEVICE_CREATED) | IN(DEVICE_LOADED) | IN(DEVICE_PAUSING) | IN(DEVICE_QUIET) | IN(DEVICE_SAVED))
#define MAY_SAVE    (IN(DEVICE_LOADED) | IN(DEVICE_QUIET) | IN(DEVICE_SAVED))

void device_init(struct device *dev, const struct device_ops *ops, const char *name)
{
	memset(dev, 0, sizeof(*dev));
	dev->ops = ops;
	dev->state = DEVICE_CREATED;
	snprintf(dev->name, sizeof(dev->name), "%s", name);
	fair_lock_init(&dev->lock);
}

void device_fini(struct device *dev)
{
	fair_lock_fini(&dev->lock);
}

void device_lock(struct device *dev)
{
	fair_lock_lock(&dev->lock);
}

void device_unlock(struct device *dev)
{
	fair_lock_unlock(&dev->lock);
}

/* The one place where an order that the contract does not have is caught: a mistake of the machine's, never a guest's. */
static void device_begin(struct device *dev, unsigned int allowed)
{
	device_lock(dev);
	assert(allowed & IN(dev->state));
}

static void device_end(struct device *dev, enum device_state state)
{
	dev->state = state;
	device_unlock(dev);
}

int device_flush(struct device *dev, struct err *e)
{
	int r = 0;

	device_begin(dev, MAY_SAVE);
	if (dev->ops->flush)
		r = dev->ops->flush(dev, e);
	device_end(dev, dev->state);
	return r;
}

void device_save(struct device *dev, struct enc *enc)
{
	device_begin(dev, MAY_SAVE);
	dev->ops->save(dev, enc);
	device_end(dev, DEVICE_SAVED);
}

void device_load(struct device *dev, struct dec *dec)
{
	device_begin(dev, IN(DEVICE_CREATED));
	if (dev->ops->load)
		dev->ops->load(dev, dec);
	device_end(dev, DEVICE_LOADED);
}

int device_leak(struct device *dev, struct err *e)
{
	int r = 0;

	device_begin(dev, NOT_RUNNING & ~IN(DEVICE_PAUSING));
	if (dev->ops->leak)
		r = dev->ops->leak(dev, e);
	device_end(dev, dev->state);
	return r;
}

bool device_leak_progress(struct device *dev, struct leak_progress *progress)
{
	bool known;

	device_lock(dev);
	known = dev->ops->leak_progress && dev->ops->leak_progress(dev, progress);
	device_unlock(dev);
	return known;
}

void device_pause(struct device *dev)
{
	device_begin(dev, IN(DEVICE_RUNNING));
	if (dev->ops->pause)
		dev->ops->pause(dev);
	device_end(dev, DEVICE_PAUSING);
}

int device_drain(struct device *dev, unsigned int ms, struct err *e)
{
	int r;

	device_begin(dev, IN(DEVICE_PAUSING));
	device_unlock(dev);
	r = dev->ops->drain ? dev->ops->drain(dev, ms, e) : 0;
	device_lock(dev);
	device_end(dev, r ? DEVICE_PAUSING : DEVICE_QUIET);
	return r;
}

void device_resume(struct device *dev)
{
	device_begin(dev, NOT_RUNNING);
	if (dev->ops->resume)
		dev->ops->resume(dev);
	device_end(dev, DEVICE_RUNNING);
}
