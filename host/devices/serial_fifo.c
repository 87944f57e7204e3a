// SPDX-License-Identifier: Apache-2.0
/*
 * A slot has a turn, and below it a byte. Position p, which runs freely, uses
 * slot p modulo the size; that is free for p when its turn is p, and has p's
 * byte when its turn is p + 1. Taking it makes it free for the position one
 * round later. So whoever moves head or tail has the slot for itself until it
 * sets the turn, and everybody else sees "full" or "empty" there. Turns are
 * compared modulo 2^24, positions are within a round of each other.
 */
#include "devices/serial_fifo.h"

static uint32_t fifo_slot(uint32_t turn, uint8_t byte)
{
	return turn << 8 | byte;
}

/* Negative: the slot's turn is before that; 0: it is that. */
static int32_t fifo_compare(uint32_t slot, uint32_t turn)
{
	return (int32_t)((slot & ~0xffu) - (turn << 8));
}

/*
 * Moves *end on by one if the slot there has the turn of its position plus ahead. *slot becomes what it had. False: its turn
 * has not come.
 */
static bool fifo_claim(struct serial_fifo *fifo, _Atomic uint32_t *end, uint32_t ahead, uint32_t *position,
		       uint32_t *slot)
{
	uint32_t at = atomic_load(end);

	for (;;) {
		int32_t difference;

		*slot = atomic_load(&fifo->slots[at % SERIAL_FIFO]);
		difference = fifo_compare(*slot, at + ahead);
		if (difference < 0)
			return false;
		if (difference > 0) { /* others were faster */
			at = atomic_load(end);
			continue;
		}
		if (atomic_compare_exchange_weak(end, &at, at + 1))
			break;
	}
	*position = at;
	return true;
}

void serial_fifo_init(struct serial_fifo *fifo)
{
	atomic_init(&fifo->head, 0);
	atomic_init(&fifo->tail, 0);
	for (uint32_t i = 0; i < SERIAL_FIFO; i++)
		atomic_init(&fifo->slots[i], fifo_slot(i, 0));
}

bool serial_fifo_put(struct serial_fifo *fifo, uint8_t byte)
{
	uint32_t at, slot;

	if (!fifo_claim(fifo, &fifo->tail, 0, &at, &slot))
		return false;
	atomic_store(&fifo->slots[at % SERIAL_FIFO], fifo_slot(at + 1, byte));
	return true;
}

bool serial_fifo_take(struct serial_fifo *fifo, uint8_t *byte)
{
	uint32_t at, slot;

	if (!fifo_claim(fifo, &fifo->head, 1, &at, &slot))
		return false;
	atomic_store(&fifo->slots[at % SERIAL_FIFO], fifo_slot(at + SERIAL_FIFO, 0));
	*byte = (uint8_t)slot;
	return true;
}

bool serial_fifo_is_empty(const struct serial_fifo *fifo)
{
	for (;;) {
		uint32_t at = atomic_load(&fifo->head);
		int32_t difference = fifo_compare(atomic_load(&fifo->slots[at % SERIAL_FIFO]), at + 1);

		if (difference <= 0) /* else somebody has just taken it */
			return difference < 0;
	}
}

unsigned int serial_fifo_room(const struct serial_fifo *fifo)
{
	uint32_t at = atomic_load(&fifo->tail), n = 0;

	while (n < SERIAL_FIFO && fifo_compare(atomic_load(&fifo->slots[(at + n) % SERIAL_FIFO]), at + n) == 0)
		n++;
	return n;
}

unsigned int serial_fifo_copy(const struct serial_fifo *fifo, uint8_t bytes[SERIAL_FIFO])
{
	uint32_t head = atomic_load(&fifo->head), len = atomic_load(&fifo->tail) - head;

	for (uint32_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)atomic_load(&fifo->slots[(head + i) % SERIAL_FIFO]);
	return len;
}
