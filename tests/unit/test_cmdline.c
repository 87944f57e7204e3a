// SPDX-License-Identifier: Apache-2.0
#include "machine/internal.h" /* before cmocka.h, which takes the name "fail" */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static void expect_cmdline(struct vm_config *config, struct arch_boot_config *slots, const char *expected)
{
	struct err e = { "" };
	char *cmdline;

	assert_int_equal(machine_cmdline(config, slots, &cmdline, &e), 0);
	assert_string_equal(cmdline, expected);
	free(cmdline);
}

static void what_the_machine_adds_stands_before_the_arguments_of_init(void **state)
{
	static char args[] = "console=ttyS0 -- one two";
	struct vm_config config = { .boot_source.boot_args = args };
	struct arch_boot_config slots = { .num_virtio = 1, .virtio = { { 0xC0001000, 5 } } };

	(void)state;
	expect_cmdline(&config, &slots, "console=ttyS0 pci=off virtio_mmio.device=4K@0xc0001000:5 -- one two");
}

static void the_root_drive_names_the_root_device(void **state)
{
	static char args[] = "a", uuid[] = "0eaa91a0-01", id[] = "x";
	struct vm_config config = { .boot_source.boot_args = args, .num_drives = 1 };
	struct arch_boot_config slots = { 0 };

	(void)state;
	config.drives[0].drive_id = id;
	expect_cmdline(&config, &slots, "a pci=off");
	config.drives[0].is_root_device = true;
	expect_cmdline(&config, &slots, "a pci=off root=/dev/vda rw");
	config.drives[0].is_read_only = true;
	config.drives[0].partuuid = uuid;
	expect_cmdline(&config, &slots, "a pci=off root=PARTUUID=0eaa91a0-01 ro");
}

static void a_line_that_the_kernel_could_not_take_is_refused(void **state)
{
	static char args[ARCH_CMDLINE_MAX + 1];
	struct vm_config config = { .boot_source.boot_args = args };
	struct arch_boot_config slots = { 0 };
	struct err e = { "" };
	char *cmdline;

	(void)state;
	memset(args, 'x', ARCH_CMDLINE_MAX - 1 - strlen(" pci=off"));
	assert_int_equal(machine_cmdline(&config, &slots, &cmdline, &e), 0);
	free(cmdline);
	args[strlen(args)] = 'x';
	assert_int_equal(machine_cmdline(&config, &slots, &cmdline, &e), -EINVAL);
	assert_non_null(strstr(e.text, "boot_args: the kernel command line has 2048 bytes"));
	assert_non_null(strstr(e.text, "at most 2047 are allowed"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_machine_adds_stands_before_the_arguments_of_init),
		cmocka_unit_test(the_root_drive_names_the_root_device),
		cmocka_unit_test(a_line_that_the_kernel_could_not_take_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
