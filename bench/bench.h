/* SPDX-License-Identifier: Apache-2.0 */
/* What measuring programs share. They print "name: median unit min max" a line, as bench/run wants it. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>

#include "virtio_driver.h"

/* The program's end, with what and errno, if it does not hold. */
void expect(bool ok, const char *what);

/* One round of the machine's loop, on which a device without a thread of its own works: it is called by whoever measures. */
void loop_once(struct fake_platform *fp);
/* Rings the doorbell of a queue, and lets the device work until its used index is that. */
void serve(struct virtio_driver *drv, unsigned int q, uint16_t used);

/* Sorts the values. */
void report(const char *name, double *values, size_t num, const char *unit);

/* Two ways that are measured in turns: a line for each, and one for the first in percent of the second. */
void report_against(const char *name, double *ours, const char *other, double *theirs, size_t num, const char *unit);

#endif
