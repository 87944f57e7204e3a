// SPDX-License-Identifier: Apache-2.0
/*
 * Waits with poll() for the VM generation counter to change.
 *
 * No program runs in vain this way, but the news comes when the kernel has
 * handled the leak: some instructions late. Good for cleaning up, not for
 * guarding a secret; see test_mmap.c for that.
 */
#include <stdlib.h>

#include "watch.h"

/* After an announcement with nothing behind it: not the file that we expect. */
#define PAUSE_MS 10

int main(int argc, char **argv)
{
	int fd = watch_open(argc, argv, "waits for it with poll");
	watch_word known, now;

	/* Reading also arms poll: it waits for what comes after. */
	if (!watch_read(fd, &known))
		watch_fail(0, "is not a counter file: empty");
	for (;;) {
		watch_wait(fd, -1);
		if (watch_is_over())
			return EXIT_SUCCESS;
		/* No seek needed: the counter file gives the current value. */
		if (watch_read(fd, &now))
			watch_report(&known, now);
		else
			watch_wait(-1, PAUSE_MS);
	}
}
