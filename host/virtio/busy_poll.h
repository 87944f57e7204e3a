/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device's thread that has served a ring looks at it a little longer before it
 * sleeps. A driver that is about to add more then need not notify, which is an
 * exit of its vCPU, and nobody has to wake the thread, which takes longer than
 * a request of 4 KiB.
 *
 * It looks for about as long as notifying and waking take together: so it wastes
 * as much again at worst, and where nothing came in time it does not try the next
 * time, after the next failure the next three, and so on up to BUSY_POLL_MAX_SKIPS.
 */
#ifndef VIRTIO_BUSY_POLL_H
#define VIRTIO_BUSY_POLL_H

#include "virtio/queue.h"

#define BUSY_POLL_NS	    32000u
#define BUSY_POLL_MAX_SKIPS 127u

/* Embedded in a device type's struct; zeros at first. */
struct busy_poll {
	unsigned int skips; /* after a failure */
	unsigned int left;  /* of these */
};

/*
 * On the thread that serves the queue, without the device's lock: until there is something beyond what the look saw, or not any
 * longer. Whoever calls serves the queue once more in either case, and so asks the driver to notify. True: there is something.
 */
bool busy_poll(struct busy_poll *bp, const struct virtq_look *look);

#endif
