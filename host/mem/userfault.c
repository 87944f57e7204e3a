// SPDX-License-Identifier: Apache-2.0
/*
 * Theory of giving back. MADV_DONTNEED drops the pages and tells the handler,
 * but then the next touch would ask the handler, and one that does not care for
 * what it was told would show the guest the snapshot's bytes again. So the
 * kernel is told at once that these pages are zero (UFFDIO_ZEROPAGE): the
 * mapping stays whole, and a handler that copies something there finds that
 * there is a page (EEXIST), which it has to expect anyway.
 */
#include "mem/userfault.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mem/pages.h"

#define USERFAULT_FLAGS (O_CLOEXEC | O_NONBLOCK)

#define USERFAULT_TRIES	  100 /* of making pages zero that somebody else is about to use */
#define USERFAULT_WAIT_MS 5

static int userfault_from_device(void)
{
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), fd;

	if (device < 0)
		return -1;
	fd = ioctl(device, USERFAULTFD_IOC_NEW, USERFAULT_FLAGS);
	close(device);
	return fd;
}

int userfault_open(int *fd, struct err *e)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMOVE };
	int made = userfault_from_device();

	if (made < 0)
		made = (int)syscall(SYS_userfaultfd, USERFAULT_FLAGS);
	if (made < 0 && errno == EPERM)
		return err_set(
			e, EPERM,
			"a userfaultfd is not permitted: it needs access to /dev/userfaultfd, or CAP_SYS_PTRACE, "
			"or the sysctl vm.unprivileged_userfaultfd=1");
	if (made < 0)
		return err_errno(e, errno, "cannot create a userfaultfd");
	if (ioctl(made, UFFDIO_API, &api) < 0) {
		int errnum = errno;

		close(made);
		return err_errno(e, errnum, "the kernel's userfaultfd has no event for pages that are given back");
	}
	*fd = made;
	return 0;
}

static struct uffdio_range userfault_range(const struct mem_region *region, uint64_t offset, uint64_t len)
{
	return (struct uffdio_range){ .start = (uintptr_t)region->writable + offset, .len = len };
}

int userfault_register(int fd, const struct guest_mem *mem, struct err *e)
{
	for (unsigned int i = 0; i < mem->num_regions; i++) {
		struct uffdio_register reg = {
			.range = userfault_range(&mem->regions[i], 0, mem->regions[i].size),
			.mode = UFFDIO_REGISTER_MODE_MISSING,
		};

		if (ioctl(fd, UFFDIO_REGISTER, &reg) < 0)
			return err_errno(e, errno, "cannot have guest memory served through a userfaultfd");
	}
	return 0;
}

void userfault_unregister(int fd, const struct guest_mem *mem)
{
	for (unsigned int i = 0; i < mem->num_regions; i++) {
		struct uffdio_range range = userfault_range(&mem->regions[i], 0, mem->regions[i].size);

		(void)ioctl(fd, UFFDIO_UNREGISTER, &range);
	}
}

/* How many of the bytes have been made zero, or -errno if there were none. */
static int64_t userfault_zero(int fd, const struct mem_region *region, uint64_t offset, uint64_t len)
{
	struct uffdio_zeropage zero = { .range = userfault_range(region, offset, len) };

	if (ioctl(fd, UFFDIO_ZEROPAGE, &zero) == 0)
		return (int64_t)len;
	return zero.zeropage > 0 ? zero.zeropage : -errno;
}

int userfault_discard(int fd, const struct mem_region *region, uint64_t offset, uint64_t len)
{
	uint64_t end = offset + len;
	int tries = USERFAULT_TRIES;
	int64_t done = -EEXIST;

	while (offset < end && tries-- > 0) {
		/* A page that is there: not yet dropped, or somebody has touched it meanwhile, and was served. */
		if (done == -EEXIST && madvise(region->writable + offset, (size_t)(end - offset), MADV_DONTNEED) < 0)
			return -errno;
		done = userfault_zero(fd, region, offset, end - offset);
		if (done > 0) {
			offset += (uint64_t)done;
			done = -EEXIST; /* what stopped it, if it was not the end */
		} else if (done == -EAGAIN) {
			(void)poll(NULL, 0, USERFAULT_WAIT_MS); /* an event has not been read yet */
		} else if (done != -EEXIST) {
			return (int)done;
		}
	}
	return offset < end ? -EBUSY : 0;
}

int userfault_copy(int fd, const struct mem_region *region, uint64_t offset, const uint8_t *bytes, uint64_t len)
{
	struct uffdio_range to = userfault_range(region, offset, len);
	int tries = USERFAULT_TRIES;

	for (;;) {
		struct uffdio_copy copy = { .dst = to.start, .src = (uintptr_t)bytes, .len = len };

		if (ioctl(fd, UFFDIO_COPY, &copy) == 0)
			return 0;
		if (errno != EAGAIN || tries-- == 0)
			return -errno;
		(void)poll(NULL, 0, USERFAULT_WAIT_MS); /* the mappings of the process are being changed */
	}
}

/* Within one huge page. Once it is there it stays, and can be written. */
static int userfault_zero_huge(int fd, const struct guest_mem *mem, const struct mem_region *region, uint64_t offset,
			       uint64_t len, const uint8_t *zeroes)
{
	int r;

	if (len == MEM_HUGE_PAGE_SIZE)
		r = userfault_copy(fd, region, offset, zeroes, len);
	else
		r = mem_populate(mem, region, offset, len);
	if (r < 0 && r != -EEXIST)
		return r;
	if (r == -EEXIST || len < MEM_HUGE_PAGE_SIZE)
		memset(region->writable + offset, 0, (size_t)len);
	return 0;
}

int userfault_discard_huge(int fd, const struct guest_mem *mem, const struct mem_region *region, uint64_t offset,
			   uint64_t len, const uint8_t *zeroes)
{
	uint64_t end = offset + len, part;
	int r = 0;

	for (; offset < end && r == 0; offset += part) {
		part = MEM_HUGE_PAGE_SIZE - offset % MEM_HUGE_PAGE_SIZE;
		if (part > end - offset)
			part = end - offset;
		r = userfault_zero_huge(fd, mem, region, offset, part, zeroes);
	}
	return r;
}
