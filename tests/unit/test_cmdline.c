// SPDX-License-Identifier: Apache-2.0
#include "machine/internal.h" /* before cmocka.h, which takes the name "fail" */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86_64/boot.h"

static void expect_cmdline(struct vm_config *config, struct arch_board *board, const char *expected)
{
	struct err e = { "" };
	char *cmdline;

	assert_int_equal(cmdline_make(config, board, &cmdline, &e), 0);
	assert_string_equal(cmdline, expected);
	free(cmdline);
}

static void what_the_machine_adds_stands_before_the_arguments_of_init(void **state)
{
	static char args[] = "console=ttyS0 -- one two";
	struct vm_config config = { .boot_source.boot_args = args };
	struct arch_board board = { 0 };

	(void)state;
	assert_int_equal(arch_board_new_places(&board, 1, &(struct err){ "" }), 0);
	expect_cmdline(&config, &board, "console=ttyS0 pci=off virtio_mmio.device=4K@0xc0001000:5 -- one two");
}

static void words_that_turn_the_only_interrupt_controller_off_are_left_out(void **state)
{
	static const struct {
		char args[64];
		const char *expected;
	} lines[] = {
		/* firectl's */
		{ "ro console=ttyS0 noapic reboot=k panic=1 pci=off nomodules",
		  "ro console=ttyS0  reboot=k panic=1 pci=off nomodules pci=off" },
		{ "noapic", " pci=off" },
		{ "nosmp quiet maxcpus=0", "maxcpus=1 quiet maxcpus=1 pci=off" },
		{ "nolapic disableapic a", "  a pci=off" },
		/* What only looks like them. */
		{ "maxcpus=01 nosmpx xnoapic noapic=1 noapictimer nolapic_timer",
		  "maxcpus=01 nosmpx xnoapic noapic=1 noapictimer nolapic_timer pci=off" },
		{ "init=\"/a noapic b\" \"noapic", "init=\"/a noapic b\" \"noapic pci=off" },
		{ "a -- noapic", "a pci=off -- noapic" },
		{ "", " pci=off" },
	};
	struct arch_board board = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char args[sizeof(lines[i].args)];
		struct vm_config config = { .boot_source.boot_args = args };

		memcpy(args, lines[i].args, sizeof(args));
		expect_cmdline(&config, &board, lines[i].expected);
	}
}

static void the_root_drive_names_the_root_device(void **state)
{
	static char args[] = "a", uuid[] = "0eaa91a0-01", id[] = "x";
	struct vm_config config = { .boot_source.boot_args = args, .num_drives = 1 };
	struct arch_board board = { 0 };

	(void)state;
	config.drives[0].drive_id = id;
	expect_cmdline(&config, &board, "a pci=off");
	config.drives[0].is_root_device = true;
	expect_cmdline(&config, &board, "a pci=off root=/dev/vda rw");
	config.drives[0].is_read_only = true;
	config.drives[0].partuuid = uuid;
	expect_cmdline(&config, &board, "a pci=off root=PARTUUID=0eaa91a0-01 ro");
}

static void a_line_that_the_kernel_could_not_take_is_refused(void **state)
{
	static char args[ARCH_CMDLINE_MAX + 1];
	static char none_of_it[] = "not touched";
	struct vm_config config = { .boot_source.boot_args = args };
	struct arch_board board = { 0 };
	struct err e = { "" };
	char *cmdline;

	(void)state;
	memset(args, 'x', ARCH_CMDLINE_MAX - 1 - strlen(" pci=off"));
	assert_int_equal(cmdline_make(&config, &board, &cmdline, &e), 0);
	free(cmdline);
	args[strlen(args)] = 'x';
	cmdline = none_of_it;
	assert_int_equal(cmdline_make(&config, &board, &cmdline, &e), -EINVAL);
	assert_ptr_equal(cmdline,
			 none_of_it); /* the caller still owns what is there: freed by both, it ended the process */
	assert_string_equal(e.text,
			    "boot_args: 2040 bytes are too many: the kernel command line may have 2047, the machine "
			    "adds 8 for its devices, 2039 are left for boot_args");
}

/* What is left depends on the devices: each takes its part, and so does the root device. */
static void what_is_left_for_the_arguments_depends_on_the_configuration(void **state)
{
	static char args[ARCH_CMDLINE_MAX + 1];
	struct vm_config config = { .boot_source.boot_args = args, .entropy.present = true };
	struct arch_board board = { 0 };
	struct err e = { "" };

	(void)state;
	for (config.num_drives = 0; config.num_drives <= CONFIG_MAX_DRIVES; config.num_drives++) {
		size_t left;
		char *cmdline;

		config.drives[0].is_root_device = config.num_drives > 1;
		board.num_places = 0;
		assert_int_equal(arch_board_new_places(&board, config.num_drives + 1, &e), 0);
		memset(args, 0, sizeof(args));
		assert_int_equal(cmdline_make(&config, &board, &cmdline, &e), 0);
		left = ARCH_CMDLINE_MAX - 1 - strlen(cmdline);
		free(cmdline);
		memset(args, 'x', left);
		assert_int_equal(machine_check_boot_args(&config, &e), 0);
		args[left] = 'x';
		assert_int_equal(machine_check_boot_args(&config, &e), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_that_turn_the_only_interrupt_controller_off_are_left_out),
		cmocka_unit_test(what_the_machine_adds_stands_before_the_arguments_of_init),
		cmocka_unit_test(the_root_drive_names_the_root_device),
		cmocka_unit_test(a_line_that_the_kernel_could_not_take_is_refused),
		cmocka_unit_test(what_is_left_for_the_arguments_depends_on_the_configuration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
