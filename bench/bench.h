/* SPDX-License-Identifier: Apache-2.0 */
/* What measuring programs of devices share. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "report.h"
#include "virtio_driver.h"

/* One round of the machine's loop, on which a device without a thread of its own works: it is called by whoever measures. */
void loop_once(struct fake_platform *fp);
/* Rings the doorbell of a queue, and lets the device work until its used index is that. */
void serve(struct virtio_driver *drv, unsigned int q, uint16_t used);

#endif
