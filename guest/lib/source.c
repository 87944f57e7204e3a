// SPDX-License-Identifier: Apache-2.0
/*
 * Invariant: memory is mapped only if it cannot be taken away while mapped. A
 * load from a page that has vanished raises SIGBUS, and a library has no
 * business with the signal handlers of its program. So, what is mapped:
 *
 *  - a file in sysfs, or a character device, whose page carries the magic of
 *    abi/snapsafe_page.h: the driver keeps that page for its readers;
 *  - a VMClock device, known by its page (abi/vmclock_page.h), if it counts
 *    generations;
 *  - another character device of the misc class: SysGenID. Drivers of the kernel
 *    itself do not revoke such mappings;
 *  - a memory file that is sealed against shrinking and has one of the two magics.
 *
 * Anything else (a file in a file system, the counter of a driver without the
 * magic, which sysfs cuts off when the device goes) is read by pread() at each
 * look: an error there is an answer.
 */
#include "source.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vmclock_page.h"

#define MISC_MAJOR     10
#define IDENTITY_TRIES 16

union source_head {
	struct snapsafe_page page;
	struct vmclock_page vmclock;
};

/* The page's first bytes, by a system call that fails where a load would raise SIGBUS. */
static int source_peek(const void *page, union source_head *copy)
{
	int pipe_fds[2], r = 0;

	if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	if (write(pipe_fds[1], page, sizeof(*copy)) != (ssize_t)sizeof(*copy) ||
	    read(pipe_fds[0], copy, sizeof(*copy)) != (ssize_t)sizeof(*copy))
		r = -ENODEV;
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return r;
}

static bool source_has_magic(const struct snapsafe_page *page)
{
	return page->magic == SNAPSAFE_PAGE_MAGIC && page->version >= SNAPSAFE_PAGE_VERSION;
}

static bool source_is_vmclock(const struct vmclock_page *page)
{
	return page->magic == htole32(VMCLOCK_MAGIC);
}

/* Versions are other layouts. The flags do not change while the device is there. */
static bool source_vmclock_counts(const struct vmclock_page *page)
{
	return page->version == htole16(VMCLOCK_VERSION) && le32toh(page->size) >= sizeof(*page) &&
	       (page->flags & htole64(VMCLOCK_FLAG_VM_GEN_COUNTER_PRESENT));
}

static bool source_is_sealed(int fd, const struct stat *st)
{
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & F_SEAL_SHRINK) && st->st_size >= (off_t)sizeof(union source_head);
}

static bool source_is_in_sysfs(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == SYSFS_MAGIC;
}

/* What the mapped page may be used as; NONE: not at all. */
static enum sns_source_kind source_classify(const struct stat *st, const union source_head *head)
{
	if (source_has_magic(&head->page))
		return SNS_SOURCE_PAGE;
	if (source_is_vmclock(&head->vmclock))
		return source_vmclock_counts(&head->vmclock) ? SNS_SOURCE_VMCLOCK : SNS_SOURCE_NONE;
	if (S_ISCHR(st->st_mode) && major(st->st_rdev) == MISC_MAJOR)
		return SNS_SOURCE_WORD32;
	return SNS_SOURCE_NONE;
}

static int source_map(struct sns_source *src, int fd, const struct stat *st)
{
	size_t len = (size_t)sysconf(_SC_PAGESIZE);
	union source_head head = { 0 };
	void *page;
	int r;

	if (!source_is_sealed(fd, st) && !S_ISCHR(st->st_mode) && !source_is_in_sysfs(fd))
		return -ENOTSUP;
	page = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return -errno;
	r = source_peek(page, &head);
	if (!r)
		src->kind = source_classify(st, &head);
	if (src->kind == SNS_SOURCE_NONE) {
		munmap(page, len);
		if (!r)
			r = source_is_vmclock(&head.vmclock) ? -ENOENT : -ENOTSUP;
		return r;
	}
	src->map = page;
	src->map_len = len;
	src->word = page;
	if (src->kind == SNS_SOURCE_PAGE)
		src->page = page;
	else if (src->kind == SNS_SOURCE_VMCLOCK)
		src->word = (const uint8_t *)page + offsetof(struct vmclock_page, vm_generation_counter);
	return 0;
}

/* The native word of the kernel, or the four bytes that a 32-bit one has. */
static ssize_t source_pread(int fd, uint64_t *value)
{
	ssize_t n;

	*value = 0;
	do {
		n = pread(fd, value, sizeof(*value), 0);
	} while (n < 0 && errno == EINTR);
	return n;
}

static int source_use_file(struct sns_source *src, int fd, const struct stat *st)
{
	uint64_t value;
	ssize_t n;

	if (!S_ISREG(st->st_mode))
		return -EINVAL;
	n = source_pread(fd, &value);
	if (n < 0)
		return -errno;
	if (n != 4 && n != 8)
		return -EINVAL;
	src->kind = SNS_SOURCE_FILE;
	src->dev = st->st_dev;
	src->ino = st->st_ino;
	atomic_init(&src->last, value);
	return 0;
}

int sns_source_open(struct sns_source *src, const char *path)
{
	struct stat st;
	int fd, r;

	memset(src, 0, sizeof(*src));
	src->fd = -1;
	/* O_NONBLOCK: the path may name a pipe. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	r = fstat(fd, &st) < 0 ? -errno : source_map(src, fd, &st);
	if (r == -ENOTSUP || r == -EPERM || r == -ENODEV || r == -EINVAL)
		r = source_use_file(src, fd, &st);
	if (src->kind == SNS_SOURCE_FILE)
		src->fd = fd;
	else
		close(fd);
	return r;
}

/* False: the program has closed all its descriptors, and the number may be one of its own now. */
static bool source_owns_fd(const struct sns_source *src)
{
	struct stat st;

	return src->fd >= 0 && fstat(src->fd, &st) == 0 && st.st_dev == src->dev && st.st_ino == src->ino;
}

void sns_source_close(struct sns_source *src)
{
	union {
		const void *from;
		void *to;
	} map = { .from = src->map };

	if (map.to)
		munmap(map.to, src->map_len);
	if (source_owns_fd(src))
		close(src->fd);
	src->kind = SNS_SOURCE_NONE;
	src->map = src->page = src->word = NULL;
	src->fd = -1;
}

uint64_t sns_source_read(struct sns_source *src)
{
	int saved = errno;
	uint64_t value;
	ssize_t n;

	if (atomic_load(&src->lost))
		return atomic_load(&src->last);
	n = source_owns_fd(src) ? source_pread(src->fd, &value) : -1;
	errno = saved;
	if (n != 4 && n != 8) {
		atomic_store(&src->lost, true);
		return atomic_load(&src->last);
	}
	atomic_store(&src->last, value);
	return value;
}

/*
 * The device changes identity and generation while nothing runs. Only a late
 * event (the driver arms a request that is already due) is carried out beside
 * us; reading until two looks agree keeps halves of two identities apart.
 */
bool sns_source_identity(const struct sns_source *src, uint8_t id[SNAPSAFE_PAGE_IDENTITY_LEN])
{
	uint64_t now[2] = { 0, 0 }, before[2];
	const uint64_t *words;
	int i = 0;

	if (src->kind != SNS_SOURCE_PAGE)
		return false;
	words = (const uint64_t *)(const void *)src->page->identity;
	do {
		memcpy(before, now, sizeof(before));
		now[0] = __atomic_load_n(&words[0], __ATOMIC_ACQUIRE);
		now[1] = __atomic_load_n(&words[1], __ATOMIC_ACQUIRE);
	} while (memcmp(before, now, sizeof(now)) != 0 && ++i < IDENTITY_TRIES);
	memcpy(id, now, sizeof(now));
	return now[0] || now[1];
}
