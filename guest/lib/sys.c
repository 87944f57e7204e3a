// SPDX-License-Identifier: Apache-2.0
#include "sys.h"

#include <elf.h>
#include <errno.h>
#include <gnu/libc-version.h>
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08 /* Linux 6.11; a type of mapping, so older kernels refuse it */
#endif

/*
 * By syscall(): the C library's getrandom() is a cancellation point, and a
 * thread that ends in the middle would take a slot of the pool with it.
 */
int sns_sys_getrandom(void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		long n = syscall(SYS_getrandom, p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int sns_sys_vdso_getrandom(void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* From 2.41 on the C library uses the vDSO's. */
static bool libc_uses_vdso(void)
{
	char *end;
	unsigned long major = strtoul(gnu_get_libc_version(), &end, 10), minor;

	minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
	return major > 2 || (major == 2 && minor >= 41);
}

/*
 * The names in the vDSO's table of dynamic symbols. It is a shared object that
 * the kernel has mapped as a whole; the addresses in it are relative to its
 * start, as its only segment begins at 0.
 */
bool sns_sys_has_vdso_getrandom(void)
{
	static const char name[] = "__vdso_getrandom";
	const char *base = (const char *)getauxval(AT_SYSINFO_EHDR); /* NOLINT(performance-no-int-to-ptr) */
	const ElfW(Ehdr) *elf = (const void *)base;
	const ElfW(Dyn) *dyn = NULL;
	const char *names = NULL;
	size_t len = 0;

	if (!base || !libc_uses_vdso())
		return false;
	for (int i = 0; i < elf->e_phnum; i++) {
		const ElfW(Phdr) *segment = (const void *)(base + elf->e_phoff + (size_t)i * elf->e_phentsize);

		if (segment->p_type == PT_DYNAMIC)
			dyn = (const void *)(base + segment->p_offset);
	}
	for (; dyn && dyn->d_tag != DT_NULL; dyn++) {
		if (dyn->d_tag == DT_STRTAB)
			names = base + dyn->d_un.d_val;
		if (dyn->d_tag == DT_STRSZ)
			len = dyn->d_un.d_val;
	}
	return names && memmem(names, len, name, sizeof(name));
}

uint64_t sns_sys_now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec;
}

/*
 * Emulators of user programs are known to accept any advice and to do nothing:
 * one that accepts nonsense is not believed.
 */
static void *map_wiped(size_t len, int type)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, type | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	if (madvise(p, len, -1) == 0 || madvise(p, len, MADV_WIPEONFORK) < 0) {
		munmap(p, len);
		return NULL;
	}
	(void)madvise(p, len, MADV_DONTDUMP);
	return p;
}

void *sns_sys_map_wiped(size_t len)
{
	return map_wiped(len, MAP_PRIVATE);
}

void *sns_sys_map_secret(size_t len)
{
	void *p = map_wiped(len, MAP_DROPPABLE);

	if (p)
		return p;
	p = map_wiped(len, MAP_PRIVATE);
	if (p)
		(void)mlock2(p, len, MLOCK_ONFAULT);
	return p;
}
