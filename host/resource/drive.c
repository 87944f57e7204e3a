// SPDX-License-Identifier: Apache-2.0
/* Disks: a list, the root device first. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/limiter_fields.h"
#include "resource/resource.h"
#include "virtio/blk.h"
#include "virtio/mmio.h"

static const char *const cache_type_names[] = { "Unsafe", "Writeback", NULL };
static const char *const io_engine_names[] = { "Sync", "Async", NULL };

_Static_assert(sizeof(enum cache_type) == sizeof(unsigned int) && sizeof(enum io_engine) == sizeof(unsigned int),
	       "json_fields.c stores an unsigned int");

/* The value goes onto the kernel's command line: nothing may end the word or start another one. */
static int drive_check_partuuid(const char *partuuid, struct err *e)
{
	if (partuuid[strspn(partuuid, "0123456789abcdefABCDEF-")] == '\0')
		return 0;
	return err_set(
		e, EINVAL,
		"field \"partuuid\": \"%.64s\" is not allowed: expected 1 to 36 hexadecimal digits and '-', such "
		"as 0eaa91a0-01",
		partuuid);
}

static int drive_check(const void *config, struct err *e)
{
	const struct drive_config *c = config;
	int r = resource_id_check(c->drive_id, e);

	return !r && c->partuuid ? drive_check_partuuid(c->partuuid, e) : r;
}

/* A disk is a file or a block device. The type is looked at before open(), which can have effects on other devices. */
static int drive_examine(const void *config, struct err *e)
{
	const struct drive_config *c = config;
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (stat(c->path_on_host, &st) < 0)
		return err_errno(e, errno, "drive \"%s\": cannot open path_on_host \"%s\"", c->drive_id,
				 c->path_on_host);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(e, EINVAL,
			       "drive \"%s\": path_on_host \"%s\" is %s, it must be a regular file or a block device",
			       c->drive_id, c->path_on_host, S_ISDIR(st.st_mode) ? "a directory" : "a special file");
	fd = open(c->path_on_host, (c->is_read_only ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, errno, "drive \"%s\": cannot open path_on_host \"%s\" for %s", c->drive_id,
				 c->path_on_host, c->is_read_only ? "reading" : "reading and writing");
	return 0;
}

static int drive_admit(const struct vm_config *all, const void *config, struct err *e)
{
	const struct drive_config *c = config;

	for (unsigned int i = 0; i < all->num_drives && c->is_root_device; i++) {
		const struct drive_config *old = &all->drives[i];

		if (old->is_root_device && strcmp(old->drive_id, c->drive_id) != 0)
			return err_set(
				e, EINVAL,
				"A root block device already exists! It is drive \"%s\", so drive \"%s\" must have "
				"is_root_device false",
				old->drive_id, c->drive_id);
	}
	return 0;
}

static bool drive_goes_first(const void *config)
{
	return ((const struct drive_config *)config)->is_root_device;
}

static int drive_create(const void *config, const char *name, struct platform *p, struct device **dev, struct err *e)
{
	struct virtio_dev *vdev;
	int r = blk_new(config, p, &vdev, e);

	return r ? r : virtio_mmio_new(vdev, name, p, dev, e);
}

#define DRIVE_ID .min = 1, .max = CONFIG_RESOURCE_ID_MAX, .help = "The same as in the path."

static const struct field drive_fields[] = {
	{ "drive_id", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(drive_config, drive_id), DRIVE_ID },
	{ "partuuid", FIELD_STRING, 0, FIELD_AT(drive_config, partuuid), .min = 1, .max = 36,
	  .help = "The root partition: hexadecimal digits and '-'." },
	{ "is_root_device", FIELD_BOOL, FIELD_REQUIRED, FIELD_AT(drive_config, is_root_device),
	  .help = "The kernel mounts its root file system from it." },
	{ "cache_type", FIELD_ENUM, 0, FIELD_AT(drive_config, cache_type), .names = cache_type_names,
	  .help = "Writeback: the guest's flushes reach the disk." },
	{ "is_read_only", FIELD_BOOL, 0, FIELD_AT(drive_config, is_read_only), .help = "The guest cannot write." },
	{ "path_on_host", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(drive_config, path_on_host), FIELD_PATH,
	  .help = "A regular file or a block device." },
	{ "rate_limiter", FIELD_OBJECT, FIELD_ZERO_NULL, FIELD_AT(drive_config, rate_limiter),
	  .sub = &rate_limiter_table, .help = "Limits the disk's bytes and operations." },
	{ "io_engine", FIELD_ENUM, 0, FIELD_AT(drive_config, io_engine), .names = io_engine_names,
	  .help = "How the host does the I/O: a thread of the drive's own, or io_uring." },
	{ "socket", FIELD_LATER, .help = "The socket of a vhost-user backend." },
};
static const struct field_table drive_table = FIELD_TABLE(drive_config, drive_fields);

/* The update's limiter tells which bucket was given, so its fields are those of the update itself. */
static const struct field drive_update_limiter_fields[] = {
	{ "bandwidth", FIELD_OBJECT, 0, FIELD_AT(drive_update, rate_limiter.bandwidth),
	  FIELD_GIVEN(drive_update, has_bandwidth), .sub = &token_bucket_table, .help = "Limits bytes." },
	{ "ops", FIELD_OBJECT, 0, FIELD_AT(drive_update, rate_limiter.ops), FIELD_GIVEN(drive_update, has_ops),
	  .sub = &token_bucket_table, .help = "Limits operations." },
};
static const struct field_table drive_update_limiter_table = FIELD_SUBTABLE(drive_update_limiter_fields);

static const struct field drive_update_fields[] = {
	{ "drive_id", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(drive_update, drive_id), DRIVE_ID },
	{ "path_on_host", FIELD_STRING, 0, FIELD_AT(drive_update, path_on_host), FIELD_PATH,
	  .help = "The file from now on." },
	{ "rate_limiter", FIELD_OBJECT, 0, 0, .sub = &drive_update_limiter_table,
	  .help = "A bucket that is given replaces the old one and starts full." },
};
static const struct field_table drive_update_table = FIELD_TABLE(drive_update, drive_update_fields);

static int drive_check_update(const void *patch, struct err *e)
{
	return resource_id_check(((const struct drive_update *)patch)->drive_id, e);
}

static int drive_update_device(struct device *dev, const void *patch, struct err *e)
{
	return blk_update(virtio_mmio_vdev(dev), patch, e);
}

static void drive_merge(void *config, void *patch)
{
	struct drive_config *c = config;
	struct drive_update *p = patch;

	if (p->path_on_host) {
		free(c->path_on_host);
		c->path_on_host = take_ptr(p->path_on_host);
	}
	if (p->has_bandwidth)
		c->rate_limiter.bandwidth = p->rate_limiter.bandwidth;
	if (p->has_ops)
		c->rate_limiter.ops = p->rate_limiter.ops;
}

REQUEST_COUNTERS(drive_put_counters, "put", "drive");
REQUEST_COUNTERS(drive_patch_counters, "patch", "drive");

static const struct resource_patch drive_patch = {
	.fields = &drive_update_table,
	.running = true,
	.id = offsetof(struct drive_update, drive_id),
	.error = "Unable to patch the block device",
	.check = drive_check_update,
	.update = drive_update_device,
	.merge = drive_merge,
	.counters = &drive_patch_counters,
};

const struct resource drive_resource = {
	.path = "drives/{id}",
	.section = "drives",
	.summary = "A disk",
	.error = "Drive config error",
	.flags = RESOURCE_BOOT | RESOURCE_SAVED | RESOURCE_VIRTIO,
	.fields = &drive_table,
	.offset = offsetof(struct vm_config, drives),
	.count = offsetof(struct vm_config, num_drives) + 1,
	.max = CONFIG_MAX_DRIVES,
	.id = offsetof(struct drive_config, drive_id),
	.check = drive_check,
	.examine = drive_examine,
	.admit = drive_admit,
	.goes_first = drive_goes_first,
	.device = "drive.",
	.create = drive_create,
	.metrics = &block_metrics_section,
	.patch = &drive_patch,
	.put = &drive_put_counters,
};
