// SPDX-License-Identifier: Apache-2.0
/*
 * Configuration before the start. Files are looked at when they are named, so
 * that a client learns of a wrong path from the request that had it; they are
 * opened for use later, and may have changed by then: whoever uses them checks
 * again.
 */
#include "vmm/configure.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fdio.h"
#include "base/log.h"
#include "base/metrics.h"

int vmm_put_logger(const struct logger_config *c, struct err *e)
{
	bool show_level, show_origin;

	if (c->log_path) {
		int r = log_set_path(c->log_path, e);

		if (r)
			return r;
	}
	if (c->has_level)
		log_set_level(c->level);
	log_get_show(&show_level, &show_origin);
	if (c->has_show_level)
		show_level = c->show_level;
	if (c->has_show_log_origin)
		show_origin = c->show_log_origin;
	log_set_show(show_level, show_origin);
	return 0;
}

int vmm_put_metrics(const struct vmm *vmm, const struct metrics_config *c, struct err *e)
{
	if (metrics_is_open())
		return err_set(e, EEXIST, "Reinitialization of metrics not allowed.");
	return metrics_open(c->metrics_path, c->emit_id ? vmm->instance_id : NULL, c->properties_json, e);
}

/* Can it be read, and is it a file? */
static int vmm_check_image(const char *what, const char *path, struct err *e)
{
	_cleanup_close_ int fd = -1;
	uint64_t size;

	return file_open_regular(what, path, O_RDONLY, &fd, &size, e);
}

/*
 * The machine puts words of its own onto the kernel's command line, for devices that can be added until the start and
 * not be taken away. What is too long already is refused here, the rest at the start.
 */
static int vmm_check_boot_args(const struct vmm *vmm, const struct boot_source_config *c, struct err *e)
{
	struct vm_config config = vmm->config;

	config.boot_source = *c;
	return machine_check_boot_args(&config, e);
}

int vmm_put_boot_source(struct vmm *vmm, struct boot_source_config *c, struct err *e)
{
	int r = boot_source_config_check(c, e);

	if (!r)
		r = vmm_check_boot_args(vmm, c, e);
	if (!r)
		r = vmm_check_image("kernel_image_path", c->kernel_image_path, e);
	if (!r && c->initrd_path)
		r = vmm_check_image("initrd_path", c->initrd_path, e);
	if (r)
		return r;
	boot_source_config_fini(&vmm->config.boot_source);
	vmm->config.boot_source = *c;
	memset(c, 0, sizeof(*c));
	return 0;
}

int vmm_put_machine_config(struct vmm *vmm, const struct machine_config *c, struct err *e)
{
	int r = machine_config_check(c, e);

	if (!r)
		vmm->config.machine = *c;
	return r;
}

int vmm_patch_machine_config(struct vmm *vmm, const struct machine_config_patch *patch, struct err *e)
{
	struct machine_config merged = vmm->config.machine;

	if (patch->has_vcpu_count)
		merged.vcpu_count = patch->values.vcpu_count;
	if (patch->has_mem_size_mib)
		merged.mem_size_mib = patch->values.mem_size_mib;
	if (patch->has_smt)
		merged.smt = patch->values.smt;
	if (patch->has_track_dirty_pages)
		merged.track_dirty_pages = patch->values.track_dirty_pages;
	if (patch->has_huge_pages)
		merged.huge_pages = patch->values.huge_pages;
	if (patch->has_vm_generation_id)
		merged.vm_generation_id = patch->values.vm_generation_id;
	return vmm_put_machine_config(vmm, &merged, e);
}

/* A disk is a file or a block device. The type is looked at before open(), which can have effects on other devices. */
static int vmm_check_drive_file(const struct drive_config *c, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (stat(c->path_on_host, &st) < 0)
		return err_errno(e, errno, "drive \"%s\": cannot open path_on_host \"%s\"", c->drive_id,
				 c->path_on_host);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(e, EINVAL,
			       "drive \"%s\": path_on_host \"%s\" is %s, it must be a regular file or a block device",
			       c->drive_id, c->path_on_host, S_ISDIR(st.st_mode) ? "a folder" : "a special file");
	fd = open(c->path_on_host, (c->is_read_only ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, errno, "drive \"%s\": cannot open path_on_host \"%s\" for %s", c->drive_id,
				 c->path_on_host, c->is_read_only ? "reading" : "reading and writing");
	return 0;
}

int vmm_put_drive(struct vmm *vmm, struct drive_config *c, struct err *e)
{
	int r = drive_config_check(c, e);

	if (!r)
		r = vmm_check_drive_file(c, e);
	return r ? r : vm_config_put_drive(&vmm->config, c, e);
}

void vmm_put_serial(struct vmm *vmm, struct serial_config *c)
{
	serial_config_fini(&vmm->config.serial);
	vmm->config.serial = *c;
	memset(c, 0, sizeof(*c));
}
