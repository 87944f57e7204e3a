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
#include <unistd.h>

#include <xxhash.h>

#include "mem/mem.h"

#define SNAPSHOT_MAX_LINKS 40 /* as many as Linux follows */

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

/* One step: what the link at path (of at most PATH_MAX - 1 bytes) names takes its place. 0 or -errno. */
static int snapshot_follow_link(char path[PATH_MAX])
{
	char target[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t directory = slash ? (size_t)(slash + 1 - path) : 0;
	ssize_t n = readlink(path, target, sizeof(target));

	if (n < 0)
		return -errno;
	if (n == 0)
		return -ENOENT;
	if (target[0] == '/')
		directory = 0;
	if ((size_t)n >= PATH_MAX - directory)
		return -ENAMETOOLONG;
	memcpy(path + directory, target, (size_t)n);
	path[directory + (size_t)n] = '\0';
	return 0;
}

/* As open() with O_CREAT does it: the last link may name what is not there. */
static int snapshot_follow_links(char path[PATH_MAX])
{
	struct stat st;
	int r;

	for (unsigned int i = 0; i < SNAPSHOT_MAX_LINKS; i++) {
		if (lstat(path, &st) < 0)
			return errno == ENOENT ? 0 : -errno;
		if (!S_ISLNK(st.st_mode))
			return 0;
		r = snapshot_follow_link(path);
		if (r < 0)
			return r;
	}
	return -ELOOP;
}

/*
 * A link of /proc leads to a file also when that has no name any more; what readlink() says of it is no path then: -ESTALE.
 * Nothing at the end of the links is fine.
 */
static int snapshot_check_name(const char *path, const char *resolved)
{
	struct stat file, named;

	if (stat(path, &file) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (lstat(resolved, &named) < 0)
		return errno == ENOENT ? -ESTALE : -errno;
	return file.st_dev == named.st_dev && file.st_ino == named.st_ino ? 0 : -ESTALE;
}

int snapshot_resolve(const char *what, const char *path, char resolved[PATH_MAX], struct err *e)
{
	size_t max = PATH_MAX - sizeof(SNAPSHOT_TMP_SUFFIX);
	int r;

	if (path[0] == '\0')
		return err_set(e, EINVAL, "the path of the %s is empty", what);
	if (strlen(path) > max)
		return err_set(e, ENAMETOOLONG, "the path of the %s has %zu bytes, at most %zu are allowed", what,
			       strlen(path), max);
	memcpy(resolved, path, strlen(path) + 1);
	r = snapshot_follow_links(resolved);
	if (r == 0)
		r = snapshot_check_name(path, resolved);
	if (r < 0 && r != -ESTALE)
		return err_errno(e, -r, "cannot follow the path of the %s \"%s\"", what, path);
	if (r < 0)
		return err_set(e, ESTALE, "the %s \"%s\" has no name any more: it cannot be replaced", what, path);
	if (strlen(resolved) > max)
		return err_set(e, ENAMETOOLONG, "the path of the %s has %zu bytes, at most %zu are allowed", what,
			       strlen(resolved), max);
	return 0;
}
