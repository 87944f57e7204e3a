// SPDX-License-Identifier: Apache-2.0
#include "virtio_driver.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "state/codec.h"
#include "virtio/mmio.h"

void drv_plug(struct virtio_driver *drv, struct fake_platform *fp, struct virtio_dev *vdev, const char *name)
{
	struct err e;
	int r;

	memset(drv, 0, sizeof(*drv));
	drv->fp = fp;
	drv->vdev = vdev;
	r = virtio_mmio_new(vdev, name, &fp->p, &drv->dev, &e);
	assert(r == 0);
	drv->base = fp->last_base;
	drv->gsi = fp->last_gsi;
	(void)r;
	drv_resume(drv);
}

void drv_unplug(struct virtio_driver *drv)
{
	drv->dev->ops->free(drv->dev);
}

uint32_t drv_read(struct virtio_driver *drv, unsigned int reg)
{
	return (uint32_t)fake_read(drv->fp, drv->base + reg, 4);
}

void drv_write(struct virtio_driver *drv, unsigned int reg, uint32_t value)
{
	fake_write(drv->fp, drv->base + reg, value, 4);
}

static void drv_add_status(struct virtio_driver *drv, uint32_t bit)
{
	drv_write(drv, VIRTIO_MMIO_STATUS, drv_read(drv, VIRTIO_MMIO_STATUS) | bit);
}

bool drv_negotiate(struct virtio_driver *drv, uint64_t features)
{
	features |= FEATURE(VIRTIO_F_VERSION_1);
	drv_add_status(drv, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	drv_add_status(drv, VIRTIO_CONFIG_S_DRIVER);
	for (unsigned int half = 0; half < 2; half++) {
		drv_write(drv, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
		drv_write(drv, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> half * 32));
	}
	drv_add_status(drv, VIRTIO_CONFIG_S_FEATURES_OK);
	return drv_read(drv, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK;
}

bool drv_set_up_queue(struct virtio_driver *drv, unsigned int q, uint16_t size)
{
	struct ring_driver *ring = &drv->rings[q];

	ring_init(ring, &drv->fp->mem, DRV_RINGS_GPA + q * 0x10000u, size);
	drv_write(drv, VIRTIO_MMIO_QUEUE_SEL, q);
	drv_write(drv, VIRTIO_MMIO_QUEUE_NUM, size);
	drv_write(drv, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)ring->desc);
	drv_write(drv, VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(ring->desc >> 32));
	drv_write(drv, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)ring->avail);
	drv_write(drv, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(ring->avail >> 32));
	drv_write(drv, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)ring->used);
	drv_write(drv, VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(ring->used >> 32));
	drv_write(drv, VIRTIO_MMIO_QUEUE_READY, 1);
	return drv_read(drv, VIRTIO_MMIO_QUEUE_READY) == 1;
}

void drv_ready(struct virtio_driver *drv)
{
	drv_add_status(drv, VIRTIO_CONFIG_S_DRIVER_OK);
}

void drv_start(struct virtio_driver *drv, uint64_t features, unsigned int num)
{
	bool ok = drv_negotiate(drv, features);

	for (unsigned int q = 0; q < num; q++)
		ok = ok && drv_set_up_queue(drv, q, 256);
	assert(ok);
	(void)ok;
	drv_ready(drv);
}

void drv_reset(struct virtio_driver *drv)
{
	drv_write(drv, VIRTIO_MMIO_STATUS, 0);
}

void drv_kick(struct virtio_driver *drv, unsigned int q)
{
	drv_write(drv, VIRTIO_MMIO_QUEUE_NOTIFY, q);
	drv_settle(drv);
}

bool drv_is_busy(struct virtio_driver *drv)
{
	bool busy = false;

	virtio_lock(drv->vdev);
	if (drv->vdev->ops->settle)
		busy = drv->vdev->ops->settle(drv->vdev) >= 0;
	virtio_unlock(drv->vdev);
	return busy;
}

void drv_settle(struct virtio_driver *drv)
{
	fake_run(drv->fp);
	while (drv_is_busy(drv)) {
		bool settled = virtio_settle(drv->vdev, 60000);

		assert(settled);
		(void)settled;
		fake_run(drv->fp);
	}
	fake_run(drv->fp);
}

void drv_pause(struct virtio_driver *drv)
{
	struct err e;
	int r;

	if (drv->dev->state != DEVICE_RUNNING)
		return;
	device_pause(drv->dev);
	r = device_drain(drv->dev, 60000, &e);
	assert(!r);
	(void)r;
}

void drv_resume(struct virtio_driver *drv)
{
	device_resume(drv->dev);
}

int drv_leak(struct virtio_driver *drv, struct err *e)
{
	return device_leak(drv->dev, e);
}

uint8_t *drv_save(struct virtio_driver *drv, size_t *len)
{
	struct enc *enc = enc_new();
	uint8_t *data = NULL;
	bool running = drv->dev->state == DEVICE_RUNNING;
	int r;

	drv_pause(drv);
	device_save(drv->dev, enc);
	if (running)
		drv_resume(drv);
	r = enc_finish(enc, &data, len);
	assert(r == 0);
	(void)r;
	enc_free(enc);
	return data;
}

int drv_load(struct virtio_driver *to, const struct virtio_driver *from, const uint8_t *data, size_t len, struct err *e)
{
	struct dec *dec;
	int r = dec_new(data, len, &dec, e);

	if (r)
		return r;
	to->dev->state = DEVICE_CREATED; /* as a new machine's; ours ran when it was plugged in */
	device_load(to->dev, dec);
	r = dec_error(dec, e);
	dec_free(dec);
	memcpy(to->rings, from->rings, sizeof(to->rings));
	for (unsigned int q = 0; q < VIRTIO_MAX_QUEUES; q++)
		to->rings[q].mem = &to->fp->mem;
	return r;
}
