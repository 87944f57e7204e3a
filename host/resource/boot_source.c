// SPDX-License-Identifier: Apache-2.0
/* The kernel, its initrd and its command line. */
#include <fcntl.h>
#include <string.h>

#include "arch/arch.h"
#include "base/cleanup.h"
#include "base/fdio.h"
#include "resource/resource.h"

static int boot_source_check(const void *config, struct err *e)
{
	const struct boot_source_config *c = config;
	size_t len;

	if (!c->boot_args)
		return 0;
	len = strlen(c->boot_args);
	/* The kernel splits the line at blanks; what is not printable can only be a mistake or an attack on a log. */
	for (size_t i = 0; i < len; i++) {
		unsigned char ch = (unsigned char)c->boot_args[i];

		if (ch < ' ' || ch > '~')
			return err_set(e, EINVAL,
				       "field \"boot_args\": byte 0x%02x at position %zu is not allowed: expected "
				       "printable ASCII characters",
				       ch, i);
	}
	return 0;
}

/* Can it be read, and is it a file? */
static int boot_source_examine_file(const char *what, const char *path, struct err *e)
{
	_cleanup_close_ int fd = -1;
	uint64_t size;

	return file_open_regular(what, path, O_RDONLY, &fd, &size, e);
}

static int boot_source_examine(const void *config, struct err *e)
{
	const struct boot_source_config *c = config;
	int r = boot_source_examine_file("kernel_image_path", c->kernel_image_path, e);

	return !r && c->initrd_path ? boot_source_examine_file("initrd_path", c->initrd_path, e) : r;
}

static const struct field boot_source_fields[] = {
	{ "kernel_image_path", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(boot_source_config, kernel_image_path),
	  FIELD_PATH, .help = "The kernel: an ELF vmlinux or a bzImage." },
	{ "initrd_path", FIELD_STRING, 0, FIELD_AT(boot_source_config, initrd_path), FIELD_PATH,
	  .help = "The initial RAM file system." },
	{ "boot_args", FIELD_STRING, 0, FIELD_AT(boot_source_config, boot_args), .max = ARCH_CMDLINE_MAX - 1,
	  .help = "The kernel's command line; a default if absent." },
};
static const struct field_table boot_source_table = FIELD_TABLE(boot_source_config, boot_source_fields);

REQUEST_COUNTERS(boot_source_put_counters, "put", "boot_source");

const struct resource boot_source_resource = {
	.path = "boot-source",
	.section = "boot-source",
	.summary = "The kernel that the machine boots",
	.error = "Boot source error",
	.flags = RESOURCE_BOOT | RESOURCE_REQUIRED | RESOURCE_SAVED,
	.fields = &boot_source_table,
	.offset = offsetof(struct vm_config, boot_source),
	.present = offsetof(struct vm_config, boot_source.present) + 1,
	.check = boot_source_check,
	.examine = boot_source_examine,
	.put = &boot_source_put_counters,
};
