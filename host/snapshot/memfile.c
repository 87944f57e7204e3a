// SPDX-License-Identifier: Apache-2.0
/*
 * Opening the memory file that belongs to a state file. The RAM in it carries
 * no checksum: a restore must not cost more for more memory. What binds the
 * two files is the id in the trailer page, and the exact size.
 */
#include "snapshot/memfile.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fdio.h"
#include "snapshot/format.h"

#define MEMFILE_WHAT "snapshot memory file"

void memfile_trailer(const uint8_t id[SNAPSHOT_ID_LEN], uint64_t mem_size, struct snapshot_mem_trailer *trailer)
{
	*trailer = (struct snapshot_mem_trailer){
		.magic = SNAPSHOT_MEM_MAGIC,
		.mem_size = htole64(mem_size),
	};
	memcpy(trailer->id, id, sizeof(trailer->id));
	snapshot_checksum_of(trailer, offsetof(struct snapshot_mem_trailer, checksum), &trailer->checksum);
}

int memfile_check(int fd, const char *path, struct snapshot_mem_trailer *trailer, struct err *e)
{
	struct stat st;
	uint64_t size;
	int r;

	if (fstat(fd, &st) < 0)
		return err_errno(e, errno, "cannot examine " MEMFILE_WHAT " \"%s\"", path);
	size = (uint64_t)st.st_size;
	if (size < sizeof(*trailer) + MEM_PAGE_SIZE || size % MEM_PAGE_SIZE != 0)
		return err_set(e, EINVAL,
			       MEMFILE_WHAT " \"%s\" has %llu bytes, it must have whole pages and at least %zu bytes",
			       path, (unsigned long long)size, sizeof(*trailer) + MEM_PAGE_SIZE);
	r = fd_pread_all(fd, trailer, sizeof(*trailer), (off_t)(size - sizeof(*trailer)));
	if (r < 0)
		return err_errno(e, -r, "cannot read " MEMFILE_WHAT " \"%s\"", path);
	if (memcmp(trailer->magic, SNAPSHOT_MEM_MAGIC, sizeof(trailer->magic)) != 0)
		return err_set(e, EINVAL,
			       MEMFILE_WHAT
			       " \"%s\" does not end in a snapshot trailer: it is cut short or another kind of file",
			       path);
	if (!snapshot_checksum_matches(trailer, offsetof(struct snapshot_mem_trailer, checksum), &trailer->checksum))
		return err_set(e, EINVAL, MEMFILE_WHAT " \"%s\" is damaged: the checksum of its trailer does not match",
			       path);
	if (le64toh(trailer->mem_size) != size - sizeof(*trailer))
		return err_set(e, EINVAL, MEMFILE_WHAT " \"%s\" has %llu bytes of memory, its trailer says %llu", path,
			       (unsigned long long)(size - sizeof(*trailer)),
			       (unsigned long long)le64toh(trailer->mem_size));
	return 0;
}

static int memfile_check_belongs(const char *path, const struct snapshot_mem_trailer *trailer,
				 const uint8_t id[SNAPSHOT_ID_LEN], uint64_t mem_size, struct err *e)
{
	char has[SNAPSHOT_ID_TEXT_LEN], wants[SNAPSHOT_ID_TEXT_LEN];

	if (memcmp(trailer->id, id, SNAPSHOT_ID_LEN) != 0) {
		snapshot_id_text(trailer->id, has);
		snapshot_id_text(id, wants);
		return err_set(e, EINVAL,
			       MEMFILE_WHAT " \"%s\" belongs to another snapshot: its id is %s, the state file's is %s",
			       path, has, wants);
	}
	if (le64toh(trailer->mem_size) != mem_size)
		return err_set(e, EINVAL, MEMFILE_WHAT " \"%s\" has %llu bytes of memory, the state file says %llu",
			       path, (unsigned long long)le64toh(trailer->mem_size), (unsigned long long)mem_size);
	return 0;
}

static int memfile_try(const char *path, const uint8_t id[SNAPSHOT_ID_LEN], uint64_t mem_size, int *fd, struct err *e)
{
	struct snapshot_mem_trailer trailer = { .mem_size = 0 };
	_cleanup_close_ int file = -1;
	uint64_t size;
	int r;

	r = file_open_regular(MEMFILE_WHAT, path, O_RDONLY, &file, &size, e);
	if (r < 0)
		return r;
	r = memfile_check(file, path, &trailer, e);
	if (r < 0)
		return r;
	r = memfile_check_belongs(path, &trailer, id, mem_size, e);
	if (r < 0)
		return r;
	*fd = take_fd(&file);
	return 0;
}

int memfile_open(const char *path, const uint8_t id[SNAPSHOT_ID_LEN], uint64_t mem_size, int *fd, struct err *e)
{
	char resolved[PATH_MAX], tmp[PATH_MAX];
	struct err why_not_tmp;
	int r;

	r = snapshot_resolve(MEMFILE_WHAT, path, resolved, e);
	if (r == -ESTALE) /* it can be read all the same: nobody replaces what has no name */
		return memfile_try(path, id, mem_size, fd, e);
	if (r < 0)
		return r;
	r = memfile_try(resolved, id, mem_size, fd, e);
	if (r == 0)
		return 0;
	snprintf(tmp, sizeof(tmp), "%.*s" SNAPSHOT_TMP_SUFFIX, (int)(sizeof(tmp) - sizeof(SNAPSHOT_TMP_SUFFIX)),
		 resolved);
	if (memfile_try(tmp, id, mem_size, fd, &why_not_tmp) == 0)
		return 0;
	/* A commit that ended between the two looks has moved the file from the second name to the first. */
	r = memfile_try(resolved, id, mem_size, fd, e);
	return r < 0 && strcmp(path, resolved) != 0 ? err_wrap(e, r, "\"%s\" is a link", path) : r;
}
