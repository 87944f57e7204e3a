// SPDX-License-Identifier: Apache-2.0
/*
 * Writing RAM into a new memory file: what costs nothing is not written. Pages
 * that nobody ever touched are not even looked at, pages of zeroes stay holes,
 * and what a restored machine has not changed is copied from file to file (in
 * the kernel, or as a shared extent where the file system can).
 *
 * The file that the machine was restored from may have been cut meanwhile;
 * touching the mapping where it ended would be SIGBUS. Hence memory is touched
 * directly only where mem/ says that it is the process's own.
 *
 * The machine is paused and its devices are quiet: nothing changes meanwhile.
 */
#include "snapshot/memfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fdio.h"
#include "mem/pages.h"
#include "snapshot/format.h"

/* What is looked through for zeroes and then written: small enough to be in the cache the second time. */
#define IMAGE_CHUNK (256u * 1024)

/* How much of the file may wait for the disk to be told of it. */
#define IMAGE_BEHIND (2u * 1024 * 1024)

struct image {
	int fd;			     /* borrowed: the file under construction */
	const struct guest_mem *mem; /* borrowed */
	struct mem_survey survey;
	uint8_t *buffer; /* owned, IMAGE_CHUNK bytes, allocated when first needed */
	uint64_t begun;	 /* of the file: the disk has been told of what is before it */
	bool no_copy_file_range;
	bool unserved; /* it failed for pages that the handler had to serve */
};

static uint64_t image_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/*
 * The disk writes what is there while the rest is looked for: fsync(2), which alone promises anything, has less to wait for.
 * Files grow from their start to their end.
 */
static void image_begin_writeback(struct image *image, uint64_t end)
{
	if (end - image->begun < IMAGE_BEHIND)
		return;
	(void)sync_file_range(image->fd, (off_t)image->begun, (off_t)(end - image->begun), SYNC_FILE_RANGE_WRITE);
	image->begun = end;
}

/* Writes the pages of data that are not zero to offset; neighbours go together. */
static int image_put(struct image *image, const uint8_t *data, size_t len, uint64_t offset)
{
	size_t at = 0;

	while (at < len) {
		size_t start;
		int r;

		while (at < len && mem_page_is_zero(data + at))
			at += MEM_PAGE_SIZE;
		start = at;
		while (at < len && !mem_page_is_zero(data + at))
			at += MEM_PAGE_SIZE;
		if (at == start)
			break;
		r = fd_pwrite_all(image->fd, data + start, at - start, (off_t)(offset + start));
		if (r < 0)
			return r;
		image_begin_writeback(image, offset + at);
	}
	return 0;
}

static uint8_t *image_buffer(struct image *image)
{
	if (!image->buffer)
		image->buffer = malloc(IMAGE_CHUNK);
	return image->buffer;
}

/* Memory that is the process's own. */
static int image_put_private(struct image *image, const uint8_t *host, uint64_t len, uint64_t offset)
{
	int r = 0;

	for (uint64_t at = 0; at < len && r == 0; at += IMAGE_CHUNK)
		r = image_put(image, host + at, (size_t)image_min(len - at, IMAGE_CHUNK), offset + at);
	return r;
}

/* Memory that may belong to a file which has become shorter: -EFAULT then. */
static int image_put_careful(struct image *image, const struct mem_region *region, uint64_t offset, uint64_t len)
{
	uint8_t *buffer = image_buffer(image);
	int r = 0;

	if (!buffer)
		return -ENOMEM;
	for (uint64_t at = 0; at < len && r == 0; at += IMAGE_CHUNK) {
		size_t n = (size_t)image_min(len - at, IMAGE_CHUNK);

		r = mem_read_carefully(region, offset + at, buffer, n);
		if (r == 0)
			r = image_put(image, buffer, n, region->file_offset + offset + at);
	}
	return r;
}

static int image_copy_by_buffer(struct image *image, uint64_t offset, uint64_t len)
{
	uint8_t *buffer = image_buffer(image);
	int r = 0;

	if (!buffer)
		return -ENOMEM;
	for (uint64_t at = 0; at < len && r == 0; at += IMAGE_CHUNK) {
		size_t n = (size_t)image_min(len - at, IMAGE_CHUNK);

		r = fd_pread_all(image->survey.file, buffer, n, (off_t)(offset + at));
		if (r == 0)
			r = image_put(image, buffer, n, offset + at);
	}
	return r;
}

/* Reasons for which copying by hand may work where copy_file_range() does not. */
static bool image_copy_is_unsupported(int errnum)
{
	return errnum == EXDEV || errnum == EINVAL || errnum == ENOSYS || errnum == EOPNOTSUPP || errnum == EPERM ||
	       errnum == ETXTBSY;
}

/* Copies data (no hole) of the backing file to the same place in the new one. */
static int image_copy(struct image *image, uint64_t offset, uint64_t len)
{
	while (len > 0 && !image->no_copy_file_range) {
		off_t from = (off_t)offset, to = (off_t)offset;
		ssize_t n = copy_file_range(image->survey.file, &from, image->fd, &to, (size_t)len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && !image_copy_is_unsupported(errno))
			return -errno;
		if (n <= 0) {
			image->no_copy_file_range = true;
			break;
		}
		offset += (uint64_t)n;
		len -= (uint64_t)n;
		image_begin_writeback(image, offset);
	}
	return image_copy_by_buffer(image, offset, len);
}

/* Copies what the backing file has in [offset, offset + len); its holes stay holes. */
static int image_copy_data(struct image *image, uint64_t offset, uint64_t len)
{
	int backing = image->survey.file;
	uint64_t end = offset + len;

	while (offset < end) {
		off_t data = lseek(backing, (off_t)offset, SEEK_DATA), hole;
		int r;

		if (data < 0 && errno == ENXIO)
			return 0;		 /* a hole up to the end of the file; its size is checked elsewhere */
		if (data < 0 && errno == EINVAL) /* a block device has no holes */
			return image_copy(image, offset, end - offset);
		if (data < 0)
			return -errno;
		if ((uint64_t)data >= end)
			return 0;
		hole = lseek(backing, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		r = image_copy(image, (uint64_t)data, image_min((uint64_t)hole, end) - (uint64_t)data);
		if (r < 0)
			return r;
		offset = (uint64_t)hole;
	}
	return 0;
}

/* Pages that the handler may not have served yet: it is asked for all of them, and there is no hole where it has not answered. */
static int image_put_unserved(struct image *image, const struct mem_region *region, uint64_t at, uint64_t len)
{
	int r = mem_populate(image->mem, region, at, len);

	image->unserved = r < 0;
	if (r == 0)
		r = image_put_careful(image, region, at, len);
	if (r == -EFAULT)
		image->unserved = true;
	return r;
}

static int image_put_region(struct image *image, unsigned int index)
{
	const struct mem_region *region = &image->mem->regions[index];
	uint64_t at = 0, run;
	int r = 0;

	for (; at < region->size && r == 0; at += run) {
		const uint8_t *host = region->host + at;
		uint64_t offset = region->file_offset + at;

		switch (mem_survey_next(&image->survey, index, at, &run)) {
		case MEM_ZERO:
			break; /* the file is new: zero is what it has there */
		case MEM_AS_FILE:
			r = image_copy_data(image, offset, run);
			break;
		case MEM_OWN:
			r = image_put_private(image, host, run, offset);
			break;
		case MEM_DOUBTFUL:
			r = image_put_careful(image, region, at, run);
			break;
		case MEM_UNSERVED:
			r = image_put_unserved(image, region, at, run);
			break;
		}
	}
	return r;
}

/* A hole and the missing end of a file look alike; hence this before and after copying. */
static int image_check_file(const struct guest_mem *mem, int fd, struct err *e)
{
	uint64_t size;
	bool is_device;
	int r = fd_size(fd, &size, &is_device);

	if (r < 0)
		return err_errno(e, -r, "cannot examine the memory file that the machine was restored from");
	if (size < mem->size)
		return err_set(e, EIO,
			       "the memory file that the machine was restored from has been cut to %llu bytes, it had "
			       "%llu bytes of memory",
			       (unsigned long long)size, (unsigned long long)mem->size);
	return 0;
}

static int image_check_backing(const struct guest_mem *mem, struct err *e)
{
	int r = mem->backing_fd < 0 ? 0 : image_check_file(mem, mem->backing_fd, e);

	for (unsigned int i = 0; i < mem->num_layers && r == 0; i++)
		r = image_check_file(mem, mem->layer_fds[i], e);
	return r;
}

static int image_put_all(struct image *image, const struct snapshot_chain *chain)
{
	struct snapshot_mem_record record;
	int r = 0;

	/* First the size, so that holes at the end are there too. */
	if (ftruncate(image->fd, (off_t)image->mem->size) < 0)
		return -errno;
	for (unsigned int i = 0; i < image->mem->num_regions && r == 0; i++)
		r = image_put_region(image, i);
	for (unsigned int i = 0; i < chain->num && r == 0; i++) {
		memfile_record(chain, i, image->mem->size, &record);
		r = fd_pwrite_all(image->fd, &record, sizeof(record), (off_t)chain->layers[i].offset);
	}
	return r;
}

int memfile_write(int fd, const struct guest_mem *mem, const struct snapshot_chain *chain, struct err *e)
{
	struct image image = { .fd = fd, .mem = mem };
	int r;

	r = image_check_backing(mem, e);
	if (r < 0)
		return r;
	r = mem_survey_init(&image.survey, mem);
	if (r == 0) {
		r = image_put_all(&image, chain);
		mem_survey_fini(&image.survey);
	}
	free(image.buffer);
	if (image.unserved)
		return err_errno(e, -r, "the handler of the guest's pages has not served all of them");
	if (r == -EFAULT || r == -ENODATA)
		return err_set(e, EIO, "the memory file that the machine was restored from was cut while it was read");
	if (r < 0)
		return err_errno(e, -r, "cannot copy guest memory into the file");
	return image_check_backing(mem, e);
}
