// SPDX-License-Identifier: Apache-2.0
/* The real functions under other names, behind ours. */
#define sns_sys_getrandom	   real_getrandom
#define sns_sys_map_wiped	   real_map_wiped
#define sns_sys_map_secret	   real_map_secret
#define sns_sys_has_vdso_getrandom real_has_vdso_getrandom
#define sns_sys_vdso_getrandom	   real_vdso_getrandom
#define sns_sys_now_s		   real_now_s
#include "../../guest/lib/sys.c"
#undef sns_sys_getrandom
#undef sns_sys_map_wiped
#undef sns_sys_map_secret
#undef sns_sys_has_vdso_getrandom
#undef sns_sys_vdso_getrandom
#undef sns_sys_now_s

#include "fake.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void (*sns_test_hook)(enum sns_point point);

int sns_sys_getrandom(void *buf, size_t len);
void *sns_sys_map_wiped(size_t len);
void *sns_sys_map_secret(size_t len);
bool sns_sys_has_vdso_getrandom(void);
int sns_sys_vdso_getrandom(void *buf, size_t len);
uint64_t sns_sys_now_s(void);

static bool kernel_repeats, fork_clones, wipe_unsupported, vdso;
static int kernel_error;
static _Atomic uint64_t kernel_calls, vdso_calls, seconds_passed;

/* The page with the number of the process, from before main(); the last pool, which threads may make at the same time. */
static struct {
	void *_Atomic start;
	_Atomic size_t len;
} process_memory, secret_memory;

void fake_page_init(struct fake_page *fake)
{
	fake->fd = memfd_create("counter", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(fake->fd >= 0);
	assert_int_equal(ftruncate(fake->fd, 4096), 0);
	assert_int_equal(fcntl(fake->fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	fake->page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fake->fd, 0);
	assert_ptr_not_equal(fake->page, MAP_FAILED);
	fake->page->magic = SNAPSAFE_PAGE_MAGIC;
	fake->page->version = SNAPSAFE_PAGE_VERSION;
	memset(fake->page->identity, 0xa5, sizeof(fake->page->identity));
	snprintf(fake->path, sizeof(fake->path), "/proc/self/fd/%d", fake->fd);
}

void fake_page_fini(struct fake_page *fake)
{
	munmap(fake->page, 4096);
	close(fake->fd);
}

void fake_page_leak(struct fake_page *fake, uint64_t name, bool reseeded)
{
	uint64_t *id = (uint64_t *)(void *)fake->page->identity;
	uint64_t next = fake->page->generation + 1;

	__atomic_store_n(&id[0], name, __ATOMIC_RELAXED);
	__atomic_store_n(&id[1], ~name, __ATOMIC_RELAXED);
	__atomic_store_n(&fake->page->generation, next, __ATOMIC_RELEASE);
	if (reseeded)
		__atomic_store_n(&fake->page->reseeded, next, __ATOMIC_RELEASE);
}

void fake_page_set_generation(struct fake_page *fake, uint64_t generation)
{
	__atomic_store_n(&fake->page->generation, generation, __ATOMIC_RELEASE);
	__atomic_store_n(&fake->page->reseeded, generation, __ATOMIC_RELEASE);
}

void fake_kernel_repeats(bool repeats)
{
	kernel_repeats = repeats;
}

uint64_t fake_kernel_calls(void)
{
	return atomic_load(&kernel_calls);
}

void fake_kernel_fails(int error)
{
	kernel_error = error;
}

void fake_fork_clones(bool clones)
{
	fork_clones = clones;
	assert_int_equal(madvise(process_memory.start, process_memory.len, clones ? MADV_KEEPONFORK : MADV_WIPEONFORK),
			 0);
}

void fake_wipe_unsupported(bool unsupported)
{
	wipe_unsupported = unsupported;
}

int sns_sys_getrandom(void *buf, size_t len)
{
	uint64_t call = atomic_fetch_add(&kernel_calls, 1) + 1;
	uint8_t *p = buf;

	if (kernel_error)
		return -kernel_error;
	if (!kernel_repeats)
		return real_getrandom(buf, len);
	for (size_t i = 0; i < len; i++) {
		/* splitmix64: long texts without repetition */
		uint64_t z = (call << 32) + (i / 8 + 1) * UINT64_C(0x9e3779b97f4a7c15);

		z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
		p[i] = (uint8_t)((z ^ (z >> 31)) >> (8 * (i % 8)));
	}
	return 0;
}

static void *map_kept(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void *sns_sys_map_wiped(size_t len)
{
	process_memory.start = real_map_wiped(len);
	process_memory.len = len;
	return process_memory.start;
}

void *sns_sys_map_secret(size_t len)
{
	void *p;

	if (wipe_unsupported)
		return NULL;
	p = fork_clones ? map_kept(len) : real_map_secret(len);
	secret_memory.start = p;
	secret_memory.len = len;
	return p; /* not the last pool: another thread's may be that by now */
}

size_t fake_secret_pages(void)
{
	return secret_memory.len / 4096;
}

void fake_drop_page(size_t page)
{
	void *start = (char *)secret_memory.start + page * 4096;

	munlock(start, 4096);
	assert_int_equal(madvise(start, 4096, MADV_DONTNEED), 0);
}

void fake_vdso(bool wanted)
{
	vdso = wanted;
}

uint64_t fake_vdso_calls(void)
{
	return atomic_load(&vdso_calls);
}

bool sns_sys_has_vdso_getrandom(void)
{
	return vdso;
}

int sns_sys_vdso_getrandom(void *buf, size_t len)
{
	atomic_fetch_add(&vdso_calls, 1);
	return sns_sys_getrandom(buf, len);
}

void fake_time_passes(uint64_t seconds)
{
	atomic_fetch_add(&seconds_passed, seconds);
}

uint64_t sns_sys_now_s(void)
{
	return 1000 + atomic_load(&seconds_passed); /* real time does not pass: tests count calls */
}

void fake_seen_init(struct fake_seen *seen, size_t max)
{
	for (seen->slots = 1024; seen->slots < 2 * max;)
		seen->slots *= 2;
	seen->used = 0;
	seen->entries = calloc(seen->slots, sizeof(seen->entries[0]));
	assert_non_null(seen->entries);
}

void fake_seen_fini(struct fake_seen *seen)
{
	free(seen->entries);
}

static bool seen_look(struct fake_seen *seen, const void *bytes, bool add)
{
	uint64_t v[2];
	size_t i;

	memcpy(v, bytes, sizeof(v));
	assert_true(v[0] || v[1]); /* zeros are never random bytes */
	for (i = v[0] % seen->slots; seen->entries[i][0] || seen->entries[i][1]; i = (i + 1) % seen->slots)
		if (seen->entries[i][0] == v[0] && seen->entries[i][1] == v[1])
			return true;
	if (add) {
		assert_true(++seen->used < seen->slots);
		memcpy(seen->entries[i], v, sizeof(v));
	}
	return false;
}

bool fake_seen_add(struct fake_seen *seen, const void *bytes)
{
	return !seen_look(seen, bytes, true);
}

bool fake_have_common(const uint8_t *a, const uint8_t *b, size_t len)
{
	struct fake_seen seen;
	bool common = false;

	fake_seen_init(&seen, len / 16);
	for (size_t i = 0; i + 16 <= len; i += 16)
		seen_look(&seen, a + i, true);
	for (size_t i = 0; i + 16 <= len && !common; i += 16)
		common = seen_look(&seen, b + i, false);
	fake_seen_fini(&seen);
	return common;
}

void *fake_shared(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}
