// SPDX-License-Identifier: Apache-2.0
/*
 * Maps the VM generation counter and reports when it changes.
 *
 * This is the race-free way to use it: the word changes while the machine is
 * stopped, so no instruction that runs after a leak can see the old value.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "watch.h"

#define LOOK_EVERY_MS 10

int main(int argc, char **argv)
{
	int fd = watch_open(argc, argv, "maps it and looks at it");
	const volatile watch_word *counter;
	watch_word known;
	void *page;

	/* A file without a word in it would be a SIGBUS at the first look. */
	if (!watch_read(fd, &known))
		watch_fail(0, "is not a counter file: empty");
	page = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		watch_fail(errno, "cannot map");
	close(fd);

	counter = page; /* aligned: one load a look */
	known = *counter;
	while (!watch_is_over()) {
		watch_report(&known, *counter);
		watch_wait(-1, LOOK_EVERY_MS);
	}
	return EXIT_SUCCESS;
}
