// SPDX-License-Identifier: Apache-2.0
/*
 * What a plug-in leaves behind that used the library and was unloaded.
 *
 * Usage: test_lib_dlclose LIBSNAPSAFE_SO
 */
#include "fake_counter.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/wait.h>

struct snapsafe;

static const char *library_path;

#define MAX_SECRETS (1 << 20)

/* All memory that a child finds wiped ("wf"): where the library has its secrets. The bytes in it that are not 0. */
static size_t count_secret_bytes(void)
{
	static uint8_t copy[MAX_SECRETS];
	FILE *maps = fopen("/proc/self/smaps", "r"), *mem = fopen("/proc/self/mem", "r");
	unsigned long from = 0, to = 0, a, b;
	size_t count = 0, len;
	char line[512];

	assert_non_null(maps);
	assert_non_null(mem);
	setvbuf(mem, NULL, _IONBF, 0);
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx ", &a, &b) == 2) {
			from = a;
			to = b;
		}
		if (strncmp(line, "VmFlags:", 8) != 0 || !strstr(line, " wf"))
			continue;
		assert_true(to - from <= sizeof(copy));
		assert_int_equal(fseek(mem, (long)from, SEEK_SET), 0);
		len = fread(copy, 1, to - from, mem);
		assert_int_equal(len, to - from);
		for (size_t i = 0; i < len; i++)
			count += copy[i] != 0;
	}
	fclose(mem);
	fclose(maps);
	return count;
}

static bool is_loaded(void)
{
	void *library = dlopen(library_path, RTLD_NOW | RTLD_NOLOAD);

	if (library)
		dlclose(library);
	return library != NULL;
}

static void nothing_secret_is_left_after_dlclose(void **state)
{
	void *library;
	int (*draw)(struct snapsafe * s, void *buf, size_t len);
	uint8_t buf[16];
	size_t used;

	(void)state;
	/* Where getrandom() is the vDSO's, the C library keeps such memory for its threads, and this one keeps no block. */
	assert_int_equal(getrandom(buf, sizeof(buf), 0), sizeof(buf));
	if (count_secret_bytes())
		skip();
	library = dlopen(library_path, RTLD_NOW);
	assert_non_null(library);
	*(void **)&draw = dlsym(library, "snapsafe_random");
	assert_non_null(draw);
	assert_int_equal(draw(NULL, buf, sizeof(buf)), 0);
	used = count_secret_bytes();
	assert_int_equal(dlclose(library), 0);
	assert_false(is_loaded());
	/* A block is 1536 bytes; the number of the process, which is no secret, may be left. */
	assert_true(used > 1000);
	assert_true(count_secret_bytes() <= sizeof(uint64_t));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_secret_is_left_after_dlclose),
	};
	char path[64];

	if (argc != 2)
		return EXIT_FAILURE;
	library_path = argv[1];
	fake_counter_make(path, sizeof(path));
	setenv("SNAPSAFE_DEVICE", path, 1);
	return cmocka_run_group_tests_name("dlclose", tests, NULL, NULL);
}
