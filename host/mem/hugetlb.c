// SPDX-License-Identifier: Apache-2.0
/*
 * Pages of the host's pool of huge pages (hugetlbfs). They are reserved when
 * they are mapped: without that (MAP_NORESERVE) a pool that somebody else has
 * emptied meanwhile is a SIGBUS when the guest touches one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/mman.h>

#include "base/cleanup.h"
#include "mem/internal.h"

#define HUGETLB_POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/"

void *mem_map_huge(uint64_t size)
{
	if (size > SIZE_MAX) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, -1, 0);
}

/* A number of the pool's; false: this process cannot see it. */
static bool hugetlb_read(const char *name, uint64_t *value)
{
	char path[128], text[32], *end;
	_cleanup_close_ int fd = -1;
	ssize_t n;

	(void)snprintf(path, sizeof(path), HUGETLB_POOL "%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	*value = strtoull(text, &end, 10);
	return end != text;
}

int mem_refuse_huge(const struct guest_mem *mem, uint64_t size, int errnum, struct err *e)
{
	unsigned long long needed = size / MEM_HUGE_PAGE_SIZE;
	uint64_t all, available, reserved;

	if (errnum != ENOMEM)
		return err_errno(e, errnum, "huge_pages is 2M, which this host's kernel does not have");
	if (!hugetlb_read("nr_hugepages", &all) || !hugetlb_read("free_hugepages", &available) ||
	    !hugetlb_read("resv_hugepages", &reserved))
		return err_set(e, ENOMEM,
			       "huge_pages is 2M: %llu pages of 2 MiB are needed, and the host has not as many left "
			       "(vm.nr_hugepages says how many there are)",
			       needed);
	available -= reserved < available ? reserved : available;
	available += mem->size / MEM_HUGE_PAGE_SIZE;
	return err_set(e, ENOMEM,
		       "huge_pages is 2M: %llu pages of 2 MiB are needed, and %llu of the host's %llu are left "
		       "(vm.nr_hugepages says how many there are)",
		       needed, (unsigned long long)available, (unsigned long long)all);
}
