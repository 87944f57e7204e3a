// SPDX-License-Identifier: Apache-2.0
/* What all devices have in common: a lock, and the calls that the machine makes with it held. */
#include "bus/device.h"

#include <stdio.h>
#include <string.h>

void device_init(struct device *dev, const struct device_ops *ops, const char *name)
{
	memset(dev, 0, sizeof(*dev));
	dev->ops = ops;
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

int device_flush(struct device *dev, struct err *e)
{
	int r = 0;

	device_lock(dev);
	if (dev->ops->flush)
		r = dev->ops->flush(dev, e);
	device_unlock(dev);
	return r;
}

void device_save(struct device *dev, struct enc *enc)
{
	device_lock(dev);
	dev->ops->save(dev, enc);
	device_unlock(dev);
}

void device_load(struct device *dev, struct dec *dec)
{
	device_lock(dev);
	dev->ops->load(dev, dec);
	device_unlock(dev);
}

int device_leak(struct device *dev, struct err *e)
{
	int r = 0;

	device_lock(dev);
	if (dev->ops->leak)
		r = dev->ops->leak(dev, e);
	device_unlock(dev);
	return r;
}

void device_pause(struct device *dev)
{
	device_lock(dev);
	if (dev->ops->pause)
		dev->ops->pause(dev);
	device_unlock(dev);
}

int device_drain(struct device *dev, unsigned int ms, struct err *e)
{
	return dev->ops->drain ? dev->ops->drain(dev, ms, e) : 0;
}

void device_resume(struct device *dev)
{
	device_lock(dev);
	if (dev->ops->resume)
		dev->ops->resume(dev);
	device_unlock(dev);
}
