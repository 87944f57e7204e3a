// SPDX-License-Identifier: Apache-2.0
/*
 * 16550A UART, as Linux's 8250 driver uses it: transmission takes no time, the
 * receiver has a FIFO that is filled from the host as long as there is room.
 * The interrupt is an edge: it is raised whenever a reason for it appears, and
 * the driver reads IIR until no reason is left.
 *
 * Registers are touched by vCPU threads, input arrives on the loop thread. Neither
 * takes a lock: with one, all wait for whoever has it and is preempted, on a host
 * with fewer processors than vCPUs for as long as a scheduler pleases. A register
 * is an atomic of its own, and the FIFO takes and gives without one
 * (serial_fifo.h). What is a reason for an interrupt is changed first and then
 * looked at, in one order for all threads: of two that make a reason together,
 * the later one sees it.
 *
 * Nobody here touches the host's descriptors: threads of serial_io's do, and
 * nobody waits for them. Only the loop thread may change its sources, so a vCPU
 * that makes room in a FIFO that was full says so through an eventfd.
 */
#include "devices/devices.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "state/table.h"
#include "base/log.h"
#include "devices/serial_fifo.h"
#include "devices/serial_io.h"

METRICS_DEFINE(uart, UART_METRICS, false)

#define SERIAL_PORTS 8

enum { REG_DATA, REG_IER, REG_IIR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

#define IER_RX	     0x01
#define IER_TX_EMPTY 0x02
#define IER_MASK     0x0F
#define IIR_NONE     0x01
#define IIR_TX_EMPTY 0x02
#define IIR_RX	     0x04
#define IIR_FIFO     0xC0
#define FCR_ENABLE   0x01
#define FCR_CLEAR_RX 0x02
#define LCR_DLAB     0x80
#define LCR_8N1	     0x03
#define MCR_MASK     0x1F
#define MCR_OUT2     0x08
#define MCR_LOOP     0x10
#define LSR_DATA     0x01
#define LSR_TX_IDLE  0x60
#define MSR_READY    0xB0 /* carrier, data set ready, clear to send */

struct serial {
	struct device dev;
	struct irq_line irq;
	struct platform *p; /* borrowed */
	struct loop *loop;  /* borrowed */
	struct serial_io io;
	struct loop_source *room_source;
	int room_fd;	      /* eventfd: input may be asked for again */
	_Atomic bool starved; /* the loop waits for that */
	bool running;	      /* loop thread, as is the next */
	bool in_eof;
	bool limited;
	pthread_mutex_t limit_lock; /* guards limit: among vCPUs that print, and only if there is one */
	struct token_bucket limit;

	_Atomic uint8_t ier, lcr, mcr, scr, fcr;
	_Atomic uint8_t dll, dlm; /* divisor latch; has no effect */
	_Atomic bool tx_empty_pending;
	struct serial_fifo rx;
};

static uint8_t serial_iir(const struct serial *s)
{
	if ((s->ier & IER_RX) && !serial_fifo_is_empty(&s->rx))
		return IIR_RX;
	if (s->tx_empty_pending && (s->ier & IER_TX_EMPTY))
		return IIR_TX_EMPTY;
	return IIR_NONE;
}

static void serial_update_irq(struct serial *s)
{
	if (serial_iir(s) != IIR_NONE)
		irq_raise(&s->irq);
}

/* After bytes were taken: the loop may be waiting for that. */
static void serial_made_room(struct serial *s)
{
	if (s->starved && atomic_exchange(&s->starved, false))
		(void)eventfd_write(s->room_fd, 1);
}

static uint8_t serial_pop(struct serial *s)
{
	uint8_t byte = 0;

	if (!serial_fifo_take(&s->rx, &byte))
		return 0;
	serial_made_room(s);
	metric_inc(uart, read_count);
	serial_update_irq(s);
	return byte;
}

static void serial_push(struct serial *s, uint8_t byte)
{
	if (serial_fifo_put(&s->rx, byte))
		serial_update_irq(s);
}

static bool serial_may_print(struct serial *s)
{
	bool may;

	if (!s->limited)
		return true;
	pthread_mutex_lock(&s->limit_lock);
	may = token_bucket_take(&s->limit, 1, clock_now_ns());
	pthread_mutex_unlock(&s->limit_lock);
	return may;
}

static void serial_transmit(struct serial *s, uint8_t byte)
{
	if (s->mcr & MCR_LOOP) {
		serial_push(s, byte);
	} else if (!serial_may_print(s)) {
		metric_inc(uart, rate_limiter_dropped_bytes);
	} else if (serial_io_write(&s->io, byte) == 0) {
		metric_inc(uart, write_count);
	}
	s->tx_empty_pending = true;
	serial_update_irq(s);
}

/* In loopback mode the modem control outputs come back as modem status inputs: this is how drivers find out that a UART is there. */
static uint8_t serial_msr(const struct serial *s)
{
	uint8_t mcr = s->mcr;

	if (!(mcr & MCR_LOOP))
		return MSR_READY;
	return (uint8_t)((mcr & 0x01) << 5 | (mcr & 0x02) << 3 | (mcr & 0x04) << 4 | (mcr & 0x08) << 4);
}

static uint8_t serial_read_iir(struct serial *s)
{
	uint8_t iir = serial_iir(s);

	if (iir == IIR_TX_EMPTY)
		s->tx_empty_pending = false;
	return iir | (s->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint8_t serial_read_reg(struct serial *s, uint64_t reg)
{
	bool dlab = s->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		return dlab ? s->dll : serial_pop(s);
	case REG_IER:
		return dlab ? s->dlm : s->ier;
	case REG_IIR:
		return serial_read_iir(s);
	case REG_LCR:
		return s->lcr;
	case REG_MCR:
		return s->mcr;
	case REG_LSR:
		return LSR_TX_IDLE | (serial_fifo_is_empty(&s->rx) ? 0 : LSR_DATA);
	case REG_MSR:
		return serial_msr(s);
	default:
		return s->scr;
	}
}

static void serial_read(struct device *dev, uint64_t offset, void *data, unsigned int len)
{
	struct serial *s = container_of(dev, struct serial, dev);

	memset(data, 0, len);
	if (len != 1) {
		metric_inc(uart, missed_read_count);
		return;
	}
	*(uint8_t *)data = serial_read_reg(s, offset);
}

static void serial_write_ier(struct serial *s, uint8_t value)
{
	/* The transmitter is always empty: enabling its interrupt is a reason for one. */
	if (value & ~atomic_exchange(&s->ier, value & IER_MASK) & IER_TX_EMPTY)
		s->tx_empty_pending = true;
	serial_update_irq(s);
}

static void serial_write_fcr(struct serial *s, uint8_t value)
{
	uint8_t ignored;

	s->fcr = value & FCR_ENABLE;
	if (!(value & FCR_CLEAR_RX))
		return;
	/* As many as there can be: what comes meanwhile may stay. */
	for (unsigned int i = 0; i < SERIAL_FIFO && serial_fifo_take(&s->rx, &ignored); i++)
		;
	serial_made_room(s);
}

static void serial_write_reg(struct serial *s, uint64_t reg, uint8_t value)
{
	bool dlab = s->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		if (dlab)
			s->dll = value;
		else
			serial_transmit(s, value);
		break;
	case REG_IER:
		if (dlab)
			s->dlm = value;
		else
			serial_write_ier(s, value);
		break;
	case REG_IIR:
		serial_write_fcr(s, value);
		break;
	case REG_LCR:
		s->lcr = value;
		break;
	case REG_MCR:
		s->mcr = value & MCR_MASK;
		break;
	case REG_SCR:
		s->scr = value;
		break;
	default: /* LSR and MSR are read-only */
		break;
	}
}

static void serial_write(struct device *dev, uint64_t offset, const void *data, unsigned int len)
{
	struct serial *s = container_of(dev, struct serial, dev);

	if (len != 1) {
		metric_inc(uart, missed_write_count);
		return;
	}
	serial_write_reg(s, offset, *(const uint8_t *)data);
}

/* If there is none, a vCPU that makes some tells the loop. */
static unsigned int serial_room(struct serial *s)
{
	unsigned int room = serial_fifo_room(&s->rx);

	if (room)
		return room;
	s->starved = true;
	return serial_fifo_room(&s->rx); /* made before it could know */
}

/* Asks for the host's bytes while there is room for them and the machine runs. */
static void serial_update_input(struct serial *s)
{
	serial_io_want(&s->io, s->running && !s->in_eof && serial_room(s));
}

static void serial_receive(struct serial *s)
{
	unsigned int room =
		serial_room(s); /* but in loopback mode, where none comes in, nobody else puts bytes there */
	uint8_t bytes[SERIAL_FIFO];
	ssize_t n = room ? serial_io_take(&s->io, bytes, room) : 0;

	for (ssize_t i = 0; i < n; i++)
		(void)serial_fifo_put(&s->rx, bytes[i]);
	if (n > 0)
		serial_update_irq(s);
	else if (n == -ENODATA)
		s->in_eof = true;
}

static void serial_on_input(void *ctx, uint32_t events)
{
	struct serial *s = ctx;

	(void)events;
	if (s->running) /* a pause may have come in the same round */
		serial_receive(s);
	serial_update_input(s);
}

static void serial_on_room(void *ctx, uint32_t events)
{
	struct serial *s = ctx;
	eventfd_t n;

	(void)events;
	(void)eventfd_read(s->room_fd, &n);
	serial_update_input(s);
}

static void serial_pause(struct device *dev)
{
	struct serial *s = container_of(dev, struct serial, dev);

	s->running = false;
	serial_update_input(s);
}

static void serial_resume(struct device *dev)
{
	struct serial *s = container_of(dev, struct serial, dev);

	serial_io_raw(&s->io);
	s->running = true;
	if (serial_iir(s) != IIR_NONE)
		s->p->ops->irq_raise_when_open(s->p, &s->irq);
	/* In the loop's next turn: the input's thread is not to have the processor for which the vCPUs are woken now. */
	(void)eventfd_write(s->room_fd, 1);
}

struct serial_state {
	uint8_t ier, lcr, mcr, scr, fcr, dll, dlm;
	bool tx_empty_pending;
	uint8_t rx[SERIAL_FIFO]; /* oldest first */
	unsigned int rx_len;
};

static const struct state_field serial_fields[] = {
	STATE_UINT_FIELD(struct serial_state, ier, 0, IER_MASK),
	STATE_UINT_FIELD(struct serial_state, lcr, 0, UINT8_MAX),
	STATE_UINT_FIELD(struct serial_state, mcr, 0, MCR_MASK),
	STATE_UINT_FIELD(struct serial_state, scr, 0, UINT8_MAX),
	STATE_UINT_FIELD(struct serial_state, fcr, 0, FCR_ENABLE),
	STATE_UINT_FIELD(struct serial_state, dll, 0, UINT8_MAX),
	STATE_UINT_FIELD(struct serial_state, dlm, 0, UINT8_MAX),
	STATE_BOOL_FIELD(struct serial_state, tx_empty_pending),
	STATE_BLOB_FIELD(struct serial_state, rx, rx_len, 1, 0, SERIAL_FIFO),
};
static const struct state_table serial_table = STATE_TABLE(serial_fields);

static void serial_save(struct device *dev, struct enc *enc)
{
	struct serial *s = container_of(dev, struct serial, dev);
	struct serial_state state = {
		.ier = s->ier,
		.lcr = s->lcr,
		.mcr = s->mcr,
		.scr = s->scr,
		.fcr = s->fcr,
		.dll = s->dll,
		.dlm = s->dlm,
		.tx_empty_pending = s->tx_empty_pending,
	};

	state.rx_len = serial_fifo_copy(&s->rx, state.rx);
	state_save(&serial_table, &state, enc);
}

static void serial_load(struct device *dev, struct dec *dec)
{
	struct serial *s = container_of(dev, struct serial, dev);
	struct serial_state state;

	state_load(&serial_table, &state, dec);
	s->ier = state.ier;
	s->lcr = state.lcr;
	s->mcr = state.mcr;
	s->scr = state.scr;
	s->fcr = state.fcr;
	s->dll = state.dll;
	s->dlm = state.dlm;
	s->tx_empty_pending = state.tx_empty_pending;
	for (unsigned int i = 0; i < state.rx_len; i++)
		(void)serial_fifo_put(&s->rx, state.rx[i]);
}

static void serial_free(struct device *dev)
{
	struct serial *s = container_of(dev, struct serial, dev);

	loop_remove(s->room_source);
	cleanup_close(&s->room_fd);
	cleanup_close(&s->irq.fd);
	serial_io_close(&s->io);
	pthread_mutex_destroy(&s->limit_lock);
	device_fini(&s->dev);
	free(s);
}

static const struct device_ops serial_ops = {
	.read = serial_read,
	.write = serial_write,
	.save = serial_save,
	.load = serial_load,
	.pause = serial_pause,
	.resume = serial_resume,
	.free = serial_free,
};

static int serial_watch_room(struct serial *s, struct err *e)
{
	s->room_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->room_fd < 0)
		return err_errno(e, errno, "serial console");
	s->room_source = loop_add(s->loop, s->room_fd, EPOLLIN, serial_on_room, s);
	if (!s->room_source)
		return err_errno(e, errno, "serial console");
	return 0;
}

int serial_new(const struct serial_config *config, uint64_t port, uint32_t gsi, struct platform *p, struct device **dev,
	       struct err *e)
{
	struct serial *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_errno(e, ENOMEM, "serial console");
	*s = (struct serial){
		.p = p,
		.loop = p->loop,
		.irq.fd = -1,
		.room_fd = -1,
		.lcr = LCR_8N1,
		.mcr = MCR_OUT2,
		.dll = 0x0C, /* 9600 baud, as firmware leaves it */
	};
	device_init(&s->dev, &serial_ops, "serial");
	serial_fifo_init(&s->rx);
	pthread_mutex_init(&s->limit_lock, NULL);
	token_bucket_init(&s->limit, &config->rate_limiter, clock_now_ns());
	s->limited = config->rate_limiter.size;
	r = serial_io_open(&s->io, config, p->loop, serial_on_input, s, e);
	if (!r)
		r = p->ops->irq_new(p, gsi, &s->irq, e);
	if (!r)
		r = serial_watch_room(s, e);
	if (!r) {
		r = bus_add(p->bus, BUS_PIO, port, SERIAL_PORTS, &s->dev);
		if (r < 0)
			err_errno(e, -r, "cannot place the serial console at port 0x%llx", (unsigned long long)port);
	}
	if (r < 0) {
		serial_free(&s->dev);
		return r;
	}
	*dev = &s->dev;
	return 0;
}
