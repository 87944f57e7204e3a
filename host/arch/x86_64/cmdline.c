// SPDX-License-Identifier: Apache-2.0
/*
 * The kernel command line: what the user gave (but see boot_words.c), then what follows from the
 * machine (root device, virtio-mmio windows for kernels without ACPI). What
 * stands behind " -- " is for init and stays last.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/x86_64/cpu_template.h"
#include "arch/x86_64/boot.h"
#include "base/cleanup.h"

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

/* -ENOMEM if a part could not be written. */
static int cmdline_print(FILE *f, const struct vm_config *config, const struct arch_board *board)
{
	const char *args = config->boot_source.boot_args ? config->boot_source.boot_args : DEFAULT_BOOT_ARGS;
	const char *init_args = strstr(args, " -- ");
	size_t kernel_len = init_args ? (size_t)(init_args - args) : strlen(args);

	boot_words_print(f, args, kernel_len);
	fputs(" pci=off", f);
	write_root(f, config);
	for (unsigned int i = 0; i < board->num_places; i++) {
		const struct arch_place *place = &board->places[i];

		if (arch_place_is_virtio(place))
			fprintf(f, " virtio_mmio.device=4K@0x%llx:%u", (unsigned long long)place->base, place->gsi);
	}
	if (init_args)
		fputs(init_args, f);
	return ferror(f) ? -ENOMEM : 0;
}

static int cmdline_check_len(const struct vm_config *config, size_t len, struct err *e)
{
	size_t given = strlen(config->boot_source.boot_args ? config->boot_source.boot_args : DEFAULT_BOOT_ARGS);
	size_t added = len > given ? len - given : 0, max = ARCH_CMDLINE_MAX - 1;

	if (len <= max)
		return 0;
	return err_set(
		e, EINVAL,
		"boot_args: %zu bytes are too many: the kernel command line may have %zu, the machine adds %zu for "
		"its devices, %zu are left for boot_args",
		given, max, added, added < max ? max - added : 0);
}

int cmdline_make(const struct vm_config *config, const struct arch_board *board, char **cmdline, struct err *e)
{
	char *line = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&line, &len);
	int r;

	if (!f)
		return err_errno(e, errno, "kernel command line");
	r = cmdline_print(f, config, board);
	if (fclose(f) != 0)
		r = -ENOMEM;
	if (r < 0)
		err_errno(e, -r, "kernel command line");
	else
		r = cmdline_check_len(config, len, e);
	if (r < 0) {
		free(line);
		return r;
	}
	*cmdline = line;
	return 0;
}

int arch_check_boot_args(const struct vm_config *config, unsigned int num_virtio, struct err *e)
{
	_cleanup_free_ char *cmdline = NULL;
	struct arch_board board = { 0 };
	int r = arch_board_new_places(&board, num_virtio, e);

	return r ? r : cmdline_make(config, &board, &cmdline, e);
}

int arch_boot(struct vm *vm, const struct vm_config *config, const struct arch_board *board, struct err *e)
{
	_cleanup_free_ char *cmdline = NULL;
	struct boot_config boot = {
		.kernel_path = config->boot_source.kernel_image_path,
		.initrd_path = config->boot_source.initrd_path,
		.board = board,
	};
	int r = cmdline_make(config, board, &cmdline, e);

	if (r < 0)
		return r;
	if (config->boot_source.boot_args)
		boot_words_warn(config->boot_source.boot_args);
	boot.cmdline = cmdline;
	r = cpu_template_set_msrs(vm, config, e);
	return r < 0 ? r : boot_machine(vm, &boot, e);
}
