/* SPDX-License-Identifier: Apache-2.0 */
/* For programs that draw until the machine's generation counter changes. */
#ifndef COUNTER_H
#define COUNTER_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

/* The word in that file, vm_gen_counter; mapped for ever. NULL: errno says why not. */
static inline const volatile uint64_t *counter_map(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	const void *page = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

	if (fd >= 0)
		close(fd);
	return page == MAP_FAILED ? NULL : page;
}

/* "PREFIX HEX" */
static inline void print_bytes(const char *prefix, const uint8_t *bytes, size_t len)
{
	printf("%s ", prefix);
	for (size_t i = 0; i < len; i++)
		printf("%02x", bytes[i]);
	puts("");
}

#endif
