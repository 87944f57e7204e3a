// SPDX-License-Identifier: Apache-2.0
/*
 * Looks at /dev/sysgenid in the way that AWS-LC documents for its detection of
 * duplicated machines, in code of our own:
 *
 *  - a path that stat() does not find: there is no detection, which is no error;
 *  - one that is there: opened for reading, four bytes of it mapped shared and
 *    read-only, the descriptor closed; a failure of these is an error;
 *  - from then on a load of the 32-bit word: another value is another machine.
 *
 * Usage: sysgenid [SECONDS]
 *
 * Prints the word, waits that long (default 60) for another, prints that, too.
 * Beside it, by read(2): four bytes that a descriptor from before blocks for.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH "/dev/sysgenid"

static volatile uint32_t *map_word(void)
{
	int fd = open(PATH, O_RDONLY);
	void *page;

	if (fd < 0)
		return NULL;
	page = mmap(NULL, sizeof(uint32_t), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	return page == MAP_FAILED ? NULL : page;
}

/* A reader without mmap: nothing to read in the generation that it was opened in. */
static int open_reader(void)
{
	int fd = open(PATH, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	uint32_t value;

	if (fd >= 0 && (read(fd, &value, sizeof(value)) != -1 || errno != EAGAIN)) {
		close(fd);
		return -1;
	}
	return fd;
}

static int read_change(int fd, uint32_t *value)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (poll(&p, 1, 10000) != 1)
		return -1;
	return read(fd, value, sizeof(*value)) == sizeof(*value) ? 0 : -1;
}

int main(int argc, char **argv)
{
	long ticks = (argc > 1 ? strtol(argv[1], NULL, 10) : 60) * 1000;
	const volatile uint32_t *word;
	uint32_t before, by_read = 0;
	struct stat st;
	int fd;

	if (stat(PATH, &st) < 0) {
		puts("not supported");
		return EXIT_SUCCESS;
	}
	word = map_word();
	fd = open_reader();
	if (!word || fd < 0) {
		printf("failed: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	before = *word;
	printf("word %u\n", before);
	fflush(stdout);
	while (*word == before && ticks-- > 0)
		usleep(1000);
	if (*word == before || read_change(fd, &by_read)) {
		puts("no change");
		return EXIT_FAILURE;
	}
	printf("changed %u %u, read %u\n", before, *word, by_read);
	return EXIT_SUCCESS;
}
