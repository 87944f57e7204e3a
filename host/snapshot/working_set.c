// SPDX-License-Identifier: Apache-2.0
/*
 * Reading and writing the file of a working set. Whoever can write it can make
 * a right checksum: so every range is checked, and their sum, which bounds the
 * work that a file can cause to that of reading the memory once.
 */
#include "snapshot/working_set.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fdio.h"
#include "snapshot/format.h"
#include "snapshot/tmpfile.h"

#define WSET_WHAT "working set"

static int wset_check_header(const struct snapshot_working_set *header, size_t len, const struct memfile_mark *mark,
			     struct err *e)
{
	char has[SNAPSHOT_ID_TEXT_LEN], wants[SNAPSHOT_ID_TEXT_LEN];
	uint64_t num = le64toh(header->num_runs);

	if (le32toh(header->version) != SNAPSHOT_WSET_VERSION)
		return err_set(e, EINVAL, "it has version %u, this monitor reads %u", le32toh(header->version),
			       SNAPSHOT_WSET_VERSION);
	if (memcmp(header->id, mark->id, SNAPSHOT_ID_LEN) != 0) {
		snapshot_id_text(header->id, has);
		snapshot_id_text(mark->id, wants);
		return err_set(e, EINVAL, "it belongs to another memory file: its id is %s, the snapshot's is %s", has,
			       wants);
	}
	if (le32toh(header->header_len) != sizeof(*header) || num > WORKING_SET_MAX_RUNS ||
	    len != WORKING_SET_MIN_SIZE + num * sizeof(struct snapshot_run))
		return err_set(e, EINVAL, "it has %zu bytes, which are not those of %llu runs, of at most %u", len,
			       (unsigned long long)num, WORKING_SET_MAX_RUNS);
	if (le64toh(header->mem_size) != mark->mem_size)
		return err_set(e, EINVAL, "it is of %llu bytes of memory, the snapshot's has %llu",
			       (unsigned long long)le64toh(header->mem_size), (unsigned long long)mark->mem_size);
	return 0;
}

static int wset_check_runs(const struct snapshot_run *runs, size_t num, uint64_t mem_size, struct err *e)
{
	uint64_t left = mem_size;

	for (size_t i = 0; i < num; i++) {
		uint64_t offset = le64toh(runs[i].offset), len = le64toh(runs[i].len);

		if ((offset | len) % MEM_PAGE_SIZE != 0 || len == 0 || offset >= mem_size || len > mem_size - offset)
			return err_set(
				e, EINVAL, "run %zu, %llu bytes from %llu on, is not whole pages of a memory of %llu",
				i, (unsigned long long)len, (unsigned long long)offset, (unsigned long long)mem_size);
		if (len > left)
			return err_set(e, EINVAL, "its runs have more than the %llu bytes of the memory",
				       (unsigned long long)mem_size);
		left -= len;
	}
	return 0;
}

int working_set_parse(const void *file, size_t len, const struct memfile_mark *mark, const struct snapshot_run **runs,
		      size_t *num, struct err *e)
{
	const struct snapshot_working_set *header = file;
	const struct snapshot_run *first;
	int r;

	if (len < WORKING_SET_MIN_SIZE || memcmp(header->magic, SNAPSHOT_WSET_MAGIC, sizeof(header->magic)) != 0)
		return err_set(e, EINVAL, "it is another kind of file");
	len -= sizeof(struct snapshot_checksum);
	if (!snapshot_checksum_matches(file, len, (const void *)((const uint8_t *)file + len)))
		return err_set(e, EINVAL, "it is damaged: its checksum does not match");
	r = wset_check_header(header, len + sizeof(struct snapshot_checksum), mark, e);
	if (r < 0)
		return r;
	first = (const void *)(header + 1);
	r = wset_check_runs(first, (size_t)le64toh(header->num_runs), mark->mem_size, e);
	if (r < 0)
		return r;
	*runs = first;
	*num = (size_t)le64toh(header->num_runs);
	return 0;
}

int working_set_check_target(const char *path, struct err *e)
{
	_cleanup_close_ int fd = -1;
	uint8_t magic[sizeof(SNAPSHOT_WSET_MAGIC) - 1];
	uint64_t size;
	int r = file_open_regular(WSET_WHAT, path, O_RDONLY, &fd, &size, e);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = fd_pread_all(fd, magic, sizeof(magic), 0);
	if (r < 0 && r != -ENODATA)
		return err_errno(e, -r, "cannot read " WSET_WHAT " \"%s\"", path);
	if (r < 0 || memcmp(magic, SNAPSHOT_WSET_MAGIC, sizeof(magic)) != 0)
		return err_set(e, EEXIST, "\"%s\" is there and is no " WSET_WHAT ": it is not replaced", path);
	return 0;
}

static int wset_encode(const struct memfile_mark *mark, const struct mem_run *runs, size_t num, uint8_t **out,
		       size_t *len)
{
	size_t body = sizeof(struct snapshot_working_set) + num * sizeof(struct snapshot_run);
	uint8_t *file = calloc(1, body + sizeof(struct snapshot_checksum));
	struct snapshot_working_set *header = (void *)file;
	struct snapshot_run *run;

	if (!file)
		return -ENOMEM;
	*header = (struct snapshot_working_set){
		.magic = SNAPSHOT_WSET_MAGIC,
		.version = htole32(SNAPSHOT_WSET_VERSION),
		.header_len = htole32(sizeof(*header)),
		.mem_size = htole64(mark->mem_size),
		.num_runs = htole64(num),
	};
	memcpy(header->id, mark->id, sizeof(header->id));
	run = (void *)(header + 1);
	for (size_t i = 0; i < num; i++)
		run[i] = (struct snapshot_run){ .offset = htole64(runs[i].offset), .len = htole64(runs[i].len) };
	snapshot_checksum_of(file, body, (void *)(file + body));
	*out = file;
	*len = body + sizeof(struct snapshot_checksum);
	return 0;
}

/* What a dead writer left is of no use. */
static int wset_clear(struct tmpfile *file, struct err *e)
{
	int r = tmpfile_adopt(file, e);

	if (r == 0)
		tmpfile_remove(file);
	return r;
}

static int wset_put(struct tmpfile *file, const uint8_t *data, size_t len, struct err *e)
{
	int r = fd_write_all(file->fd, data, len);

	if (r < 0)
		return err_errno(e, -r, "cannot write " WSET_WHAT " \"%s\"", file->path);
	r = tmpfile_sync(file, e);
	return r < 0 ? r : tmpfile_rename(file, e);
}

int working_set_write(const char *path, const struct memfile_mark *mark, const struct mem_run *runs, size_t num,
		      struct err *e)
{
	_cleanup_free_ uint8_t *data = NULL;
	struct tmpfile file;
	size_t len;
	int r = working_set_check_target(path, e);

	if (r == 0)
		r = tmpfile_init(&file, WSET_WHAT, path, e);
	if (r == 0)
		r = wset_clear(&file, e);
	if (r < 0)
		return r;
	r = wset_encode(mark, runs, num, &data, &len);
	if (r < 0)
		return err_errno(e, -r, "cannot write " WSET_WHAT " \"%s\"", path);
	r = tmpfile_create(&file, e);
	if (r == 0)
		r = wset_put(&file, data, len, e);
	tmpfile_remove(&file);
	return r;
}
