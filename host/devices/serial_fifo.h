/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiver's FIFO of the UART. Any thread puts and takes, and none waits for another: one that is preempted halfway hides
 * its byte, and those behind it, until it goes on.
 */
#ifndef DEVICES_SERIAL_FIFO_H
#define DEVICES_SERIAL_FIFO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SERIAL_FIFO 64u

struct serial_fifo {
	_Atomic uint32_t head, tail;	     /* bytes taken and put since the beginning */
	_Atomic uint32_t slots[SERIAL_FIFO]; /* serial_fifo.c */
};

void serial_fifo_init(struct serial_fifo *fifo);
/* False: there is no room, or no byte. */
bool serial_fifo_put(struct serial_fifo *fifo, uint8_t byte);
bool serial_fifo_take(struct serial_fifo *fifo, uint8_t *byte);
bool serial_fifo_is_empty(const struct serial_fifo *fifo);
/* How many may be put if nobody else puts meanwhile. */
unsigned int serial_fifo_room(const struct serial_fifo *fifo);
/* All that there are, oldest first, while nobody puts or takes; their number. */
unsigned int serial_fifo_copy(const struct serial_fifo *fifo, uint8_t bytes[SERIAL_FIFO]);

#endif
