// SPDX-License-Identifier: Apache-2.0
/*
 * The kernel command line: what the user gave, then what follows from the
 * machine (root device, virtio-mmio windows for kernels without ACPI). What
 * stands behind " -- " is for init and stays last.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "machine/internal.h"

#define DEFAULT_BOOT_ARGS \
	"reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux i8042.nomux i8042.dumbkbd swiotlb=noforce"

static void write_root(FILE *f, const struct vm_config *config)
{
	const struct drive_config *root = &config->drives[0];

	if (!config->num_drives || !root->is_root_device)
		return;
	if (root->partuuid)
		fprintf(f, " root=PARTUUID=%s", root->partuuid);
	else
		fputs(" root=/dev/vda", f);
	fputs(root->is_read_only ? " ro" : " rw", f);
}

int machine_cmdline(const struct vm_config *config, const struct arch_boot_config *slots, char **cmdline, struct err *e)
{
	const char *args = config->boot_source.boot_args ? config->boot_source.boot_args : DEFAULT_BOOT_ARGS;
	const char *init_args = strstr(args, " -- ");
	int kernel_len = init_args ? (int)(init_args - args) : (int)strlen(args);
	size_t len;
	FILE *f = open_memstream(cmdline, &len);

	if (!f)
		return err_errno(e, errno, "kernel command line");
	fprintf(f, "%.*s pci=off", kernel_len, args);
	write_root(f, config);
	for (unsigned int i = 0; i < slots->num_virtio; i++)
		fprintf(f, " virtio_mmio.device=4K@0x%llx:%u", (unsigned long long)slots->virtio[i].base,
			slots->virtio[i].gsi);
	if (init_args)
		fputs(init_args, f);
	if (fclose(f) != 0)
		return err_errno(e, ENOMEM, "kernel command line");
	if (len < ARCH_CMDLINE_MAX)
		return 0;
	free(*cmdline);
	return err_set(
		e, EINVAL,
		"boot_args: the kernel command line has %zu bytes with what the machine adds, at most %d are allowed",
		len, ARCH_CMDLINE_MAX - 1);
}
