// SPDX-License-Identifier: Apache-2.0
/* The limits of a configuration, and the list of drives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "resource/resource.h"
#include "resource/vm_config.h"

static struct drive_config drive(const char *id, bool root)
{
	return (struct drive_config){ .drive_id = strdup(id), .path_on_host = strdup("/disk"), .is_root_device = root };
}

static int put(struct vm_config *config, const char *id, bool root, struct err *e)
{
	struct drive_config d = drive(id, root);
	int r = resource_put(&drive_resource, config, &d, e);

	if (!r)
		assert_null(d.drive_id); /* taken over */
	json_fields_fini(drive_resource.fields, &d);
	return r;
}

static void assert_drives(const struct vm_config *config, const char *ids)
{
	char text[512] = "";

	for (unsigned int i = 0; i < config->num_drives; i++) {
		if (i)
			strcat(text, " ");
		strcat(text, config->drives[i].drive_id);
	}
	assert_string_equal(text, ids);
}

static void defaults_are_one_vcpu_and_128_mib(void **state)
{
	struct vm_config config;

	(void)state;
	vm_config_init(&config);
	assert_int_equal(config.machine.vcpu_count, 1);
	assert_int_equal(config.machine.mem_size_mib, 128);
	assert_false(config.machine.smt);
	assert_false(config.boot_source.present);
	assert_false(config.entropy.present);
	vm_config_fini(&config);
	vm_config_fini(&config); /* of a zeroed one */
}

static void two_threads_a_core_need_an_even_number_of_vcpus(void **state)
{
	(void)state;
	for (uint32_t n = 1; n <= CONFIG_MAX_VCPUS; n++) {
		struct machine_config c = { .vcpu_count = n, .mem_size_mib = 128 };
		struct err e;

		assert_int_equal(machine_resource.check(&c, &e), 0);
		c.smt = true;
		assert_int_equal(machine_resource.check(&c, &e), n == 1 || n % 2 == 0 ? 0 : -EINVAL);
	}
}

static void drive_ids_and_partuuids_hold_safe_characters_only(void **state)
{
	static const struct {
		const char *id, *partuuid, *error;
	} rows[] = {
		{ "rootfs", NULL, NULL },
		{ "A_9", "0eaa91a0-01", NULL },
		{ "1", "f3d5cbf1-77c2-4bb1-9ff0-0123456789aB", NULL },
		{ "", NULL, "cannot be empty" },
		{ "a-b", NULL, "alphanumeric" },
		{ "a/b", NULL, "alphanumeric" },
		{ "a b", NULL, "alphanumeric" },
		{ "\xc3\xa9", NULL, "alphanumeric" },
		{ "a1234567890123456789012345678901234567890123456789012345678901234567890123456789_", NULL,
		  "has 81 characters: at most 80" },
		{ "a", "0eaa91a0-01 init=/bin/sh", "partuuid" },
		{ "a", "0eaa91a0-0g", "partuuid" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct drive_config d = drive(rows[i].id, true);
		struct err e = { "" };
		int r;

		d.partuuid = rows[i].partuuid ? strdup(rows[i].partuuid) : NULL;
		r = drive_resource.check(&d, &e);
		assert_int_equal(r, rows[i].error ? -EINVAL : 0);
		if (rows[i].error)
			assert_non_null(strstr(e.text, rows[i].error));
		json_fields_fini(drive_resource.fields, &d);
	}
}

static void boot_args_are_printable(void **state)
{
	char args[] = "console=ttyS0\npanic=1";
	struct boot_source_config c = { .boot_args = args };
	struct err e;

	(void)state;
	assert_int_equal(boot_source_resource.check(&c, &e), -EINVAL);
	assert_non_null(strstr(e.text, "byte 0x0a at position 13 is not allowed"));
	args[13] = ' ';
	assert_int_equal(boot_source_resource.check(&c, &e), 0);
}

static void instance_ids_are_checked(void **state)
{
	static const struct {
		const char *id;
		bool good;
	} rows[] = {
		{ "anonymous-instance", true },
		{ "551e7604-e35c-42b3-b825-416853441234", true },
		{ "a", true },
		{ "", false },
		{ "a_b", false },
		{ "a b", false },
		{ "a/../b", false },
		{ "0123456789012345678901234567890123456789012345678901234567890123", true },
		{ "01234567890123456789012345678901234567890123456789012345678901234", false },
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(instance_id_check(rows[i].id, &e), rows[i].good ? 0 : -EINVAL);
}

static void drives_keep_their_order_with_the_root_first(void **state)
{
	struct vm_config config;
	struct err e;

	(void)state;
	vm_config_init(&config);
	assert_int_equal(put(&config, "a", false, &e), 0);
	assert_int_equal(put(&config, "b", false, &e), 0);
	assert_drives(&config, "a b");
	assert_int_equal(put(&config, "root", true, &e), 0);
	assert_drives(&config, "root a b");
	assert_int_equal(put(&config, "c", false, &e), 0);
	assert_drives(&config, "root a b c");
	vm_config_fini(&config);
}

static void a_drive_is_replaced_by_its_id(void **state)
{
	struct vm_config config;
	struct err e;

	(void)state;
	vm_config_init(&config);
	assert_int_equal(put(&config, "a", false, &e), 0);
	assert_int_equal(put(&config, "b", false, &e), 0);
	assert_int_equal(put(&config, "c", false, &e), 0);
	assert_int_equal(put(&config, "b", false, &e), 0);
	assert_drives(&config, "a b c");
	assert_int_equal(put(&config, "b", true, &e), 0); /* becomes the root */
	assert_drives(&config, "b a c");
	assert_int_equal(put(&config, "b", true, &e), 0);
	assert_drives(&config, "b a c");
	assert_int_equal(put(&config, "b", false, &e), 0); /* no longer */
	assert_int_equal(put(&config, "c", true, &e), 0);
	assert_drives(&config, "c b a");
	vm_config_fini(&config);
}

static void a_second_root_device_is_refused_and_changes_nothing(void **state)
{
	struct vm_config config;
	struct err e;

	(void)state;
	vm_config_init(&config);
	assert_int_equal(put(&config, "a", true, &e), 0);
	assert_int_equal(put(&config, "b", false, &e), 0);
	assert_int_equal(put(&config, "c", true, &e), -EINVAL);
	assert_non_null(strstr(e.text, "A root block device already exists!"));
	assert_int_equal(put(&config, "b", true, &e), -EINVAL);
	assert_drives(&config, "a b");
	assert_false(config.drives[1].is_root_device);
	vm_config_fini(&config);
}

static void one_drive_too_many_is_refused(void **state)
{
	struct vm_config config;
	struct err e;
	char id[16];

	(void)state;
	vm_config_init(&config);
	for (int i = 0; i < CONFIG_MAX_DRIVES; i++) {
		snprintf(id, sizeof(id), "d%d", i);
		assert_int_equal(put(&config, id, false, &e), 0);
	}
	assert_int_equal(put(&config, "more", false, &e), -EINVAL);
	assert_non_null(strstr(e.text, "\"more\" is one too many in drives: at most 16"));
	assert_int_equal(put(&config, "d15", true, &e), 0); /* replacing is not adding */
	assert_string_equal(config.drives[0].drive_id, "d15");
	assert_int_equal(config.num_drives, CONFIG_MAX_DRIVES);
	vm_config_fini(&config);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_one_vcpu_and_128_mib),
		cmocka_unit_test(two_threads_a_core_need_an_even_number_of_vcpus),
		cmocka_unit_test(drive_ids_and_partuuids_hold_safe_characters_only),
		cmocka_unit_test(boot_args_are_printable),
		cmocka_unit_test(instance_ids_are_checked),
		cmocka_unit_test(drives_keep_their_order_with_the_root_first),
		cmocka_unit_test(a_drive_is_replaced_by_its_id),
		cmocka_unit_test(a_second_root_device_is_refused_and_changes_nothing),
		cmocka_unit_test(one_drive_too_many_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
