// SPDX-License-Identifier: Apache-2.0
/*
 * What state file and memory file have in common: checksum, id, limits and
 * the way from a path to the file that it names.
 */
#include "snapshot/format.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <xxhash.h>

#include "mem/mem.h"

enum snapshot_arch snapshot_arch(void)
{
#if defined(__x86_64__)
	return SNAPSHOT_ARCH_X86_64;
#elif defined(__aarch64__)
	return SNAPSHOT_ARCH_AARCH64;
#else
#error "give this architecture a number in abi/snapshot_format.h"
#endif
}

const char *snapshot_arch_name(unsigned int arch)
{
	switch (arch) {
	case SNAPSHOT_ARCH_X86_64:
		return "x86_64";
	case SNAPSHOT_ARCH_AARCH64:
		return "aarch64";
	default:
		return "an unknown processor";
	}
}

void snapshot_checksum_of(const void *data, size_t len, struct snapshot_checksum *checksum)
{
	XXH128_hash_t hash = XXH3_128bits(data, len);

	checksum->low = htole64(hash.low64);
	checksum->high = htole64(hash.high64);
}

bool snapshot_checksum_matches(const void *data, size_t len, const struct snapshot_checksum *checksum)
{
	struct snapshot_checksum expected;

	snapshot_checksum_of(data, len, &expected);
	return memcmp(&expected, checksum, sizeof(expected)) == 0;
}

bool snapshot_mem_size_is_valid(uint64_t mem_size)
{
	return mem_size > 0 && mem_size <= SNAPSHOT_MAX_MEM_SIZE && mem_size % MEM_PAGE_SIZE == 0;
}

void snapshot_id_text(const uint8_t id[SNAPSHOT_ID_LEN], char text[SNAPSHOT_ID_TEXT_LEN])
{
	for (size_t i = 0; i < SNAPSHOT_ID_LEN; i++)
		snprintf(text + 2 * i, 3, "%02x", id[i]);
}

int snapshot_resolve(const char *what, const char *path, char resolved[PATH_MAX], struct err *e)
{
	size_t max = PATH_MAX - sizeof(SNAPSHOT_TMP_SUFFIX);
	struct stat st;

	if (path[0] == '\0')
		return err_set(e, EINVAL, "the path of the %s is empty", what);
	if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) {
		if (!realpath(path, resolved))
			return err_errno(e, errno, "cannot follow the link %s \"%s\"", what, path);
		path = resolved;
	}
	if (strlen(path) > max)
		return err_set(e, ENAMETOOLONG, "the path of the %s has %zu bytes, at most %zu are allowed", what,
			       strlen(path), max);
	if (path != resolved)
		memcpy(resolved, path, strlen(path) + 1);
	return 0;
}
