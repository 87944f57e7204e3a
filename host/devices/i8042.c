// SPDX-License-Identifier: Apache-2.0
/*
 * As much of an i8042 keyboard controller as a microVM needs: Linux's
 * "reboot=k" sends the reset command, and SendCtrlAltDel types the three keys.
 * Port 0x60 (offset 0) is data, port 0x64 (offset 4) is status and command.
 */
#include "devices/devices.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/table.h"

METRICS_DEFINE(i8042, I8042_METRICS, false)

#define I8042_PORTS    5
#define I8042_DATA     0
#define I8042_CMD      4
#define I8042_BUF_SIZE 16u

#define STATUS_OUT_FULL 0x01
#define STATUS_CMD	0x08 /* the last write was a command */

#define CTR_KBD_INT    0x01
#define OUTP_RESET_OFF 0x01
#define OUTP_KBD_FULL  0x10

#define CMD_READ_CTR   0x20
#define CMD_WRITE_CTR  0x60
#define CMD_SELF_TEST  0xAA
#define CMD_KBD_TEST   0xAB
#define CMD_KBD_OFF    0xAD
#define CMD_KBD_ON     0xAE
#define CMD_READ_OUTP  0xD0
#define CMD_WRITE_OUTP 0xD1
#define CMD_RESET_CPU  0xFE

/* Scan codes, set 2. */
#define KEY_CTRL    0x14
#define KEY_ALT	    0x11
#define KEY_DEL_EXT 0xE0
#define KEY_DEL	    0x71

struct i8042 {
	struct device dev;
	struct irq_line irq;
	void (*on_reset)(void *ctx);
	void *ctx;
	uint8_t status;
	uint8_t ctr;		     /* command byte */
	uint8_t outp;		     /* output port */
	uint8_t cmd;		     /* a command that waits for its data byte, or 0 */
	uint8_t buf[I8042_BUF_SIZE]; /* what the guest can read, oldest first */
	unsigned int buf_len;
};

static bool i8042_push(struct i8042 *k, const uint8_t *bytes, unsigned int n)
{
	if (n > I8042_BUF_SIZE - k->buf_len)
		return false;
	memcpy(k->buf + k->buf_len, bytes, n);
	k->buf_len += n;
	k->status |= STATUS_OUT_FULL;
	if (k->ctr & CTR_KBD_INT)
		irq_raise(&k->irq);
	return true;
}

static void i8042_push_byte(struct i8042 *k, uint8_t byte)
{
	if (!i8042_push(k, &byte, 1))
		metric_inc(i8042, error_count);
}

static uint8_t i8042_pop(struct i8042 *k)
{
	uint8_t byte = k->buf[0];

	if (!k->buf_len)
		return 0;
	k->buf_len--;
	memmove(k->buf, k->buf + 1, k->buf_len);
	if (!k->buf_len)
		k->status &= (uint8_t)~STATUS_OUT_FULL;
	else if (k->ctr & CTR_KBD_INT)
		irq_raise(&k->irq);
	return byte;
}

static void i8042_read(struct device *dev, uint64_t offset, void *data, unsigned int len)
{
	struct i8042 *k = container_of(dev, struct i8042, dev);

	memset(data, 0, len);
	if (len != 1) {
		metric_inc(i8042, missed_read_count);
		return;
	}
	metric_inc(i8042, read_count);
	device_lock(dev);
	if (offset == I8042_CMD)
		*(uint8_t *)data = k->status;
	else if (offset == I8042_DATA)
		*(uint8_t *)data = i8042_pop(k);
	device_unlock(dev);
}

static void i8042_command(struct i8042 *k, uint8_t cmd)
{
	k->status |= STATUS_CMD;
	k->cmd = 0;
	switch (cmd) {
	case CMD_RESET_CPU:
		metric_inc(i8042, reset_count);
		k->on_reset(k->ctx);
		break;
	case CMD_READ_CTR:
		i8042_push_byte(k, k->ctr);
		break;
	case CMD_READ_OUTP:
		i8042_push_byte(k, k->outp | (k->buf_len ? OUTP_KBD_FULL : 0));
		break;
	case CMD_SELF_TEST:
		i8042_push_byte(k, 0x55); /* passed */
		break;
	case CMD_KBD_TEST:
		i8042_push_byte(k, 0x00); /* no error */
		break;
	case CMD_KBD_OFF:
	case CMD_KBD_ON:
		break;
	case CMD_WRITE_CTR:
	case CMD_WRITE_OUTP:
		k->cmd = cmd;
		break;
	default:
		metric_inc(i8042, error_count);
		break;
	}
}

static void i8042_data(struct i8042 *k, uint8_t byte)
{
	k->status &= (uint8_t)~STATUS_CMD;
	switch (k->cmd) {
	case CMD_WRITE_CTR:
		k->ctr = byte;
		break;
	case CMD_WRITE_OUTP:
		k->outp = byte;
		if (!(byte & OUTP_RESET_OFF)) {
			metric_inc(i8042, reset_count);
			k->on_reset(k->ctx);
		}
		break;
	default: /* a byte for the keyboard itself: acknowledge it */
		i8042_push_byte(k, 0xFA);
		break;
	}
	k->cmd = 0;
}

static void i8042_write(struct device *dev, uint64_t offset, const void *data, unsigned int len)
{
	struct i8042 *k = container_of(dev, struct i8042, dev);

	if (len != 1 || (offset != I8042_CMD && offset != I8042_DATA)) {
		metric_inc(i8042, missed_write_count);
		return;
	}
	metric_inc(i8042, write_count);
	device_lock(dev);
	if (offset == I8042_CMD)
		i8042_command(k, *(const uint8_t *)data);
	else
		i8042_data(k, *(const uint8_t *)data);
	device_unlock(dev);
}

static const struct state_field i8042_fields[] = {
	STATE_UINT_FIELD(struct i8042, status, 0, UINT8_MAX),
	STATE_UINT_FIELD(struct i8042, ctr, 0, UINT8_MAX),
	STATE_UINT_FIELD(struct i8042, outp, 0, UINT8_MAX),
	STATE_UINT_FIELD(struct i8042, cmd, 0, UINT8_MAX),
	STATE_BLOB_FIELD(struct i8042, buf, buf_len, 1, 0, I8042_BUF_SIZE),
};
static const struct state_table i8042_table = STATE_TABLE(i8042_fields);

static void i8042_save(struct device *dev, struct enc *enc)
{
	state_save(&i8042_table, container_of(dev, struct i8042, dev), enc);
}

static void i8042_load(struct device *dev, struct dec *dec)
{
	state_load(&i8042_table, container_of(dev, struct i8042, dev), dec);
}

/* What was typed just before a snapshot may have been an interrupt that KVM had not delivered yet; one too many does no harm. */
static void i8042_resume(struct device *dev)
{
	struct i8042 *k = container_of(dev, struct i8042, dev);

	if (k->buf_len && k->ctr & CTR_KBD_INT)
		irq_raise(&k->irq);
}

static void i8042_free(struct device *dev)
{
	struct i8042 *k = container_of(dev, struct i8042, dev);

	if (k->irq.fd >= 0)
		close(k->irq.fd);
	device_fini(&k->dev);
	free(k);
}

static const struct device_ops i8042_ops = {
	.read = i8042_read,
	.write = i8042_write,
	.save = i8042_save,
	.load = i8042_load,
	.resume = i8042_resume,
	.free = i8042_free,
};

int i8042_new(uint64_t port, uint32_t gsi, struct platform *p, void (*on_reset)(void *ctx), void *ctx,
	      struct device **dev, struct err *e)
{
	struct i8042 *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return err_errno(e, ENOMEM, "keyboard controller");
	*k = (struct i8042){
		.irq.fd = -1,
		.on_reset = on_reset,
		.ctx = ctx,
		.outp = OUTP_RESET_OFF,
	};
	device_init(&k->dev, &i8042_ops, "i8042");
	r = p->ops->irq_new(p, gsi, &k->irq, e);
	if (r < 0)
		goto fail;
	r = bus_add(p->bus, BUS_PIO, port, I8042_PORTS, &k->dev);
	if (r < 0) {
		err_errno(e, -r, "cannot place the keyboard controller at port 0x%llx", (unsigned long long)port);
		goto fail;
	}
	*dev = &k->dev;
	return 0;
fail:
	i8042_free(&k->dev);
	return r;
}

int i8042_ctrl_alt_del(struct device *dev, struct err *e)
{
	static const uint8_t keys[] = { KEY_CTRL, KEY_ALT, KEY_DEL_EXT, KEY_DEL };
	struct i8042 *k = container_of(dev, struct i8042, dev);
	bool typed;

	device_lock(dev);
	typed = i8042_push(k, keys, sizeof(keys));
	device_unlock(dev);
	if (!typed)
		return err_set(e, EBUSY, "the guest has not read the keys that were sent before");
	return 0;
}
