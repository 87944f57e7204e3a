// SPDX-License-Identifier: Apache-2.0
/*
 * Reads the VM generation counter now and then and reports when it changes.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "watch.h"

#define READ_EVERY_MS 100

int main(int argc, char **argv)
{
	int fd = watch_open(argc, argv, "reads it ten times a second");
	watch_word known, now;

	if (!watch_read(fd, &known))
		watch_fail(0, "is not a counter file: empty");
	while (!watch_is_over()) {
		watch_wait(-1, READ_EVERY_MS);
		if (lseek(fd, 0, SEEK_SET) < 0)
			watch_fail(errno, "cannot seek in");
		if (watch_read(fd, &now))
			watch_report(&known, now);
	}
	return EXIT_SUCCESS;
}
