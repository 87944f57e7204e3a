// SPDX-License-Identifier: Apache-2.0
/*
 * Opening the memory file that belongs to a state file. The RAM in it carries
 * no checksum: a restore must not cost more for more memory. What binds the
 * two files is the id in its record, and the exact size. The file is as long as
 * RAM, for those who take its length for that; so the record has the place of a
 * page of RAM, which is in the state file.
 */
#include "snapshot/memfile.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fdio.h"
#include "snapshot/format.h"

#define MEMFILE_WHAT "snapshot memory file"

void memfile_record(const struct snapshot_chain *chain, unsigned int index, uint64_t mem_size,
		    struct snapshot_mem_record *record)
{
	*record = (struct snapshot_mem_record){
		.magic = SNAPSHOT_MEM_MAGIC,
		.mem_size = htole64(mem_size),
		.level = htole64(chain->level - (chain->num - 1 - index)),
	};
	memcpy(record->id, chain->layers[index].id, sizeof(record->id));
	if (index > 0)
		memcpy(record->base_id, chain->layers[index - 1].id, sizeof(record->base_id));
	memfile_seal(record);
}

void memfile_seal(struct snapshot_mem_record *record)
{
	snapshot_checksum_of(record, offsetof(struct snapshot_mem_record, checksum), &record->checksum);
}

bool memfile_record_is_whole(const struct snapshot_mem_record *record, uint64_t mem_size)
{
	return memcmp(record->magic, SNAPSHOT_MEM_MAGIC, sizeof(record->magic)) == 0 &&
	       snapshot_checksum_matches(record, offsetof(struct snapshot_mem_record, checksum), &record->checksum) &&
	       le64toh(record->mem_size) == mem_size;
}

static int memfile_check_record(const char *path, const struct snapshot_mem_record *record,
				const struct memfile_mark *mark, struct err *e)
{
	char has[SNAPSHOT_ID_TEXT_LEN], wants[SNAPSHOT_ID_TEXT_LEN];

	if (memcmp(record->magic, SNAPSHOT_MEM_MAGIC, sizeof(record->magic)) != 0)
		return err_set(
			e, EINVAL,
			MEMFILE_WHAT
			" \"%s\" has no record at offset %llu, where the state file's stands: it is another kind "
			"of file, or another snapshot's",
			path, (unsigned long long)mark->offset);
	if (!snapshot_checksum_matches(record, offsetof(struct snapshot_mem_record, checksum), &record->checksum))
		return err_set(e, EINVAL, MEMFILE_WHAT " \"%s\" is damaged: the checksum of its record does not match",
			       path);
	if (le64toh(record->mem_size) != mark->mem_size)
		return err_set(e, EINVAL, MEMFILE_WHAT " \"%s\" has %llu bytes of memory, its record says %llu", path,
			       (unsigned long long)mark->mem_size, (unsigned long long)le64toh(record->mem_size));
	if (memcmp(record->id, mark->id, SNAPSHOT_ID_LEN) == 0)
		return 0;
	snapshot_id_text(record->id, has);
	snapshot_id_text(mark->id, wants);
	return err_set(e, EINVAL,
		       MEMFILE_WHAT " \"%s\" belongs to another snapshot: its id is %s, the state file's is %s", path,
		       has, wants);
}

int memfile_check_size(int fd, const char *path, uint64_t size, struct err *e)
{
	uint64_t has;
	bool is_device;
	int r = fd_size(fd, &has, &is_device);

	if (r < 0)
		return err_errno(e, -r, "cannot examine " MEMFILE_WHAT " \"%s\"", path);
	if (is_device ? has >= size : has == size)
		return 0;
	return err_set(e, EINVAL,
		       MEMFILE_WHAT
		       " \"%s\" has %llu bytes, the state file wants %llu: it is cut short or another kind of file",
		       path, (unsigned long long)has, (unsigned long long)size);
}

/*
 * A memory into which a diff was merged has the record of what that lies on, too, and is no longer that snapshot's: with its
 * state file it would be a machine of two moments.
 */
static int memfile_check_topmost(int fd, const char *path, const struct memfile_mark *mark, struct err *e)
{
	uint64_t above = snapshot_chain_place_above(mark->offset);
	char has[SNAPSHOT_ID_TEXT_LEN], wants[SNAPSHOT_ID_TEXT_LEN];
	struct snapshot_mem_record record;
	int r;

	if (mark->offset == mark->mem_size || above + MEM_PAGE_SIZE > mark->mem_size) /* of v1.0: there were no diffs */
		return 0;
	r = fd_pread_all(fd, &record, sizeof(record), (off_t)above);
	if (r < 0)
		return err_errno(e, -r, "cannot read " MEMFILE_WHAT " \"%s\"", path);
	if (!memfile_record_is_whole(&record, mark->mem_size) || memcmp(record.base_id, mark->id, SNAPSHOT_ID_LEN) != 0)
		return 0;
	snapshot_id_text(record.id, has);
	snapshot_id_text(mark->id, wants);
	return err_set(e, EINVAL,
		       MEMFILE_WHAT
		       " \"%s\" belongs to another snapshot: the diff %s was merged into the state file's, %s",
		       path, has, wants);
}

int memfile_check_layer(int fd, const char *path, const struct memfile_mark *mark, struct err *e)
{
	struct snapshot_mem_record record;
	uint64_t size = mark->mem_size;
	int r;

	if (mark->offset == mark->mem_size)
		size += sizeof(record);
	r = memfile_check_size(fd, path, size, e);
	if (r < 0)
		return r;
	r = fd_pread_all(fd, &record, sizeof(record), (off_t)mark->offset);
	if (r < 0)
		return err_errno(e, -r, "cannot read " MEMFILE_WHAT " \"%s\"", path);
	return memfile_check_record(path, &record, mark, e);
}

int memfile_check(int fd, const char *path, const struct memfile_mark *mark, struct err *e)
{
	int r = memfile_check_layer(fd, path, mark, e);

	return r < 0 ? r : memfile_check_topmost(fd, path, mark, e);
}

static int memfile_try(const char *path, const struct memfile_mark *mark, int *fd, struct err *e)
{
	_cleanup_close_ int file = -1;
	uint64_t size;
	int r;

	r = file_open_storage(MEMFILE_WHAT, path, O_RDONLY, &file, &size, e);
	if (r < 0)
		return r;
	r = memfile_check(file, path, mark, e);
	if (r < 0)
		return r;
	*fd = take_fd(&file);
	return 0;
}

int memfile_open(const char *path, const struct memfile_mark *mark, int *fd, struct err *e)
{
	char resolved[PATH_MAX], tmp[PATH_MAX];
	struct err why_not_tmp;
	int r;

	r = snapshot_resolve(MEMFILE_WHAT, path, resolved, e);
	if (r == -ESTALE) /* it can be read all the same: nobody replaces what has no name */
		return memfile_try(path, mark, fd, e);
	if (r < 0)
		return r;
	r = memfile_try(resolved, mark, fd, e);
	if (r == 0)
		return 0;
	snprintf(tmp, sizeof(tmp), "%.*s" SNAPSHOT_TMP_SUFFIX, (int)(sizeof(tmp) - sizeof(SNAPSHOT_TMP_SUFFIX)),
		 resolved);
	if (memfile_try(tmp, mark, fd, &why_not_tmp) == 0)
		return 0;
	/* A commit that ended between the two looks has moved the file from the second name to the first. */
	r = memfile_try(resolved, mark, fd, e);
	return r < 0 && strcmp(path, resolved) != 0 ? err_wrap(e, r, "\"%s\" is a link", path) : r;
}
