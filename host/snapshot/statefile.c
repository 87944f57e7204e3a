// SPDX-License-Identifier: Apache-2.0
/*
 * The state file. It is read whole, and its checksum is verified before
 * anything but the magic (which only chooses the sentence) is looked at.
 * Versions come next: what a newer format means is not guessed.
 */
#include "snapshot/statefile.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fdio.h"
#include "mem/mem.h"
#include "snapshot/format.h"

#define STATEFILE_WHAT	   "snapshot state file"
#define STATEFILE_OVERHEAD (sizeof(struct snapshot_state_header) + sizeof(struct snapshot_checksum))
#define STATEFILE_MIN_SIZE (STATEFILE_OVERHEAD + 1) /* an empty CBOR map is one byte */

int statefile_write(int fd, const struct memfile_mark *mark, const void *payload, size_t len)
{
	struct snapshot_state_header header = {
		.magic = SNAPSHOT_STATE_MAGIC,
		.version_major = htole16(SNAPSHOT_VERSION_MAJOR),
		.version_minor = htole16(SNAPSHOT_VERSION_MINOR),
		.version_patch = htole16(SNAPSHOT_VERSION_PATCH),
		.arch = htole16((uint16_t)snapshot_arch()),
		.header_len = htole32(sizeof(header)),
		.payload_len = htole64(len),
		.mem_size = htole64(mark->mem_size),
		.record_offset = htole64(mark->offset),
	};
	struct snapshot_checksum checksum;
	size_t before = sizeof(header) + len;
	uint8_t *file;
	int r;

	if (len > STATEFILE_MAX_SIZE - STATEFILE_OVERHEAD)
		return -EFBIG;
	memcpy(header.id, mark->id, sizeof(header.id));
	file = malloc(len + STATEFILE_OVERHEAD);
	if (!file)
		return -ENOMEM;
	memcpy(file, &header, sizeof(header));
	memcpy(file + sizeof(header), payload, len);
	snapshot_checksum_of(file, before, &checksum);
	memcpy(file + before, &checksum, sizeof(checksum));
	r = fd_write_all(fd, file, len + STATEFILE_OVERHEAD);
	free(file);
	return r;
}

static int statefile_check_raw(const char *path, const char *data, size_t len, struct err *e)
{
	struct snapshot_checksum checksum;
	size_t before;

	if (len < strlen(SNAPSHOT_STATE_MAGIC) || memcmp(data, SNAPSHOT_STATE_MAGIC, strlen(SNAPSHOT_STATE_MAGIC)) != 0)
		return err_set(e, EINVAL,
			       STATEFILE_WHAT " \"%s\" does not start with \"%s\": it is another kind of file", path,
			       SNAPSHOT_STATE_MAGIC);
	if (len < STATEFILE_MIN_SIZE)
		return err_set(e, EINVAL,
			       STATEFILE_WHAT " \"%s\" has %zu bytes, at least %zu are needed: it is cut short", path,
			       len, STATEFILE_MIN_SIZE);
	before = len - sizeof(checksum);
	memcpy(&checksum, data + before, sizeof(checksum));
	if (!snapshot_checksum_matches(data, before, &checksum))
		return err_set(e, EINVAL,
			       STATEFILE_WHAT
			       " \"%s\" is damaged or cut short: its checksum does not match its %zu bytes",
			       path, len);
	return 0;
}

static int statefile_check_version(const char *path, const struct snapshot_version *v, struct err *e)
{
	if (v->major == SNAPSHOT_VERSION_MAJOR && v->minor <= SNAPSHOT_VERSION_MINOR)
		return 0;
	return err_set(e, EINVAL,
		       STATEFILE_WHAT
		       " \"%s\" is a snapshot of format v%u.%u.%u, this monitor reads v%u.0.0 up to v%u.%u.x",
		       path, v->major, v->minor, v->patch, SNAPSHOT_VERSION_MAJOR, SNAPSHOT_VERSION_MAJOR,
		       SNAPSHOT_VERSION_MINOR);
}

static int statefile_check_header(const char *path, const struct snapshot_state_header *header, size_t file_len,
				  struct err *e)
{
	uint64_t payload_len = le64toh(header->payload_len), mem_size = le64toh(header->mem_size);
	uint64_t offset = le64toh(header->record_offset);
	unsigned int arch = le16toh(header->arch);

	if (arch != snapshot_arch())
		return err_set(e, EINVAL, STATEFILE_WHAT " \"%s\" is for %s (%u), this monitor runs on %s", path,
			       snapshot_arch_name(arch), arch, snapshot_arch_name(snapshot_arch()));
	if (le32toh(header->header_len) != sizeof(*header))
		return err_set(e, EINVAL, STATEFILE_WHAT " \"%s\" has a header of %u bytes, it must have %zu", path,
			       le32toh(header->header_len), sizeof(*header));
	if (payload_len != file_len - STATEFILE_OVERHEAD)
		return err_set(e, EINVAL, STATEFILE_WHAT " \"%s\" claims %llu bytes of state, its size allows %zu",
			       path, (unsigned long long)payload_len, file_len - STATEFILE_OVERHEAD);
	if (!snapshot_mem_size_is_valid(mem_size))
		return err_set(e, EINVAL,
			       STATEFILE_WHAT
			       " \"%s\" claims %llu bytes of memory, whole pages from 4096 bytes to %llu are allowed",
			       path, (unsigned long long)mem_size, SNAPSHOT_MAX_MEM_SIZE);
	if (header->reserved0 != 0 || (!le16toh(header->version_minor) && offset != 0))
		return err_set(e, EINVAL, STATEFILE_WHAT " \"%s\" has reserved header bytes that are not zero", path);
	if (offset % MEM_PAGE_SIZE != 0 || offset >= mem_size)
		return err_set(e, EINVAL,
			       STATEFILE_WHAT
			       " \"%s\" says that the record of its memory file is at %llu, multiples of %u below %llu "
			       "are allowed",
			       path, (unsigned long long)offset, MEM_PAGE_SIZE, (unsigned long long)mem_size);
	return 0;
}

/* Reads the file and checks everything before its CBOR, which is then *payload_len bytes behind the header. file->state stays NULL. */
static int statefile_read_raw(const char *path, struct statefile *file, char **data, size_t *payload_len, struct err *e)
{
	struct snapshot_state_header header;
	struct snapshot_version version;
	_cleanup_free_ char *raw = NULL;
	size_t len;
	int r;

	r = file_read(STATEFILE_WHAT, path, STATEFILE_MAX_SIZE, &raw, &len, e);
	if (r < 0)
		return r;
	r = statefile_check_raw(path, raw, len, e);
	if (r < 0)
		return r;
	memcpy(&header, raw, sizeof(header));
	version = (struct snapshot_version){
		.major = le16toh(header.version_major),
		.minor = le16toh(header.version_minor),
		.patch = le16toh(header.version_patch),
	};
	r = statefile_check_version(path, &version, e);
	if (r < 0)
		return r;
	r = statefile_check_header(path, &header, len, e);
	if (r < 0)
		return r;
	*file = (struct statefile){ .version = version,
				    .mark = {
					    .mem_size = le64toh(header.mem_size),
					    .offset = le64toh(version.minor == 0 ? header.mem_size
										 : header.record_offset),
				    } };
	memcpy(file->mark.id, header.id, sizeof(file->mark.id));
	*data = take_ptr(raw);
	*payload_len = len - STATEFILE_OVERHEAD;
	return 0;
}

int statefile_read(const char *path, struct statefile *file, struct err *e)
{
	_cleanup_free_ char *data = NULL;
	struct statefile raw;
	size_t len;
	int r;

	r = statefile_read_raw(path, &raw, &data, &len, e);
	if (r < 0)
		return r;
	r = dec_new(data + sizeof(struct snapshot_state_header), len, &raw.state, e);
	if (r < 0)
		return err_wrap(e, r, STATEFILE_WHAT " \"%s\"", path);
	dec_set_version(raw.state, raw.version.minor);
	*file = raw;
	return 0;
}

void statefile_fini(struct statefile *file)
{
	dec_free(file->state);
	*file = (struct statefile){ .state = NULL };
}

int statefile_version(const char *path, struct snapshot_version *version, struct err *e)
{
	struct statefile file = { .state = NULL };
	int r;

	r = statefile_read(path, &file, e);
	if (r < 0)
		return r;
	*version = file.version;
	statefile_fini(&file);
	return 0;
}

int statefile_read_mark(const char *path, struct memfile_mark *mark, struct err *e)
{
	_cleanup_free_ char *data = NULL;
	struct statefile file;
	size_t len;
	int r;

	r = statefile_read_raw(path, &file, &data, &len, e);
	if (r < 0)
		return r;
	*mark = file.mark;
	return 0;
}
