// SPDX-License-Identifier: Apache-2.0
/*
 * Opening, closing, and the default handle.
 *
 * The default handle is looked for before main(), and again when snapsafe_init()
 * asks for it: what comes in between, in a signal handler or in a sandbox
 * perhaps, makes no system call for it. Until there is one, `absent` stands for
 * it. A default handle that was replaced is never freed, for somebody may be
 * using it; that takes a driver's module to go and come.
 */
#include "handle.h"

#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "process.h"
#include "sys.h"

#define SYSFS_DIR     "/sys/virtio-rng"
#define SYSFS_DEVICES 16 /* virtio_rng.0 to .15 are looked for */
/* Where there is none of ours, in this order: what Linux 7.0 and later has on other monitors, and what others bring. */
static const char *const other_paths[] = { "/dev/vmclock0", "/dev/vmclock1", "/dev/sysgenid" };

static struct sns_watch default_watch = SNS_WATCH_INIT;
static struct snapsafe absent = {
	.source = { .kind = SNS_SOURCE_NONE, .fd = -1 },
	.error = -ENODEV,
	.watch = &default_watch,
	.own_watch = SNS_WATCH_INIT,
	.path = "",
};
static _Atomic uint32_t last_number;

_Atomic(struct snapsafe *) sns_default = &absent;

static size_t handle_size(const char *path)
{
	return sizeof(struct snapsafe) + strlen(path) + 1;
}

static int handle_new(struct snapsafe **ret, const char *path)
{
	struct snapsafe *s;
	int r;

	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	s = mmap(NULL, handle_size(path), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED)
		return -ENOMEM;
	r = sns_source_open(&s->source, path);
	if (r) {
		munmap(s, handle_size(path));
		return r;
	}
	s->path = memcpy(s + 1, path, strlen(path) + 1);
	s->number = atomic_fetch_add(&last_number, 1) + 1;
	s->own_watch = (struct sns_watch)SNS_WATCH_INIT;
	s->watch = &s->own_watch;
	s->vdso = sns_sys_has_vdso_getrandom();
	if (s->source.kind == SNS_SOURCE_PAGE && !s->vdso)
		sns_pool_init(&s->pool);
	*ret = s;
	return 0;
}

static void handle_free(struct snapsafe *s)
{
	sns_watch_fini(&s->own_watch);
	sns_pool_fini(&s->pool);
	sns_source_close(&s->source);
	munmap(s, handle_size(s->path));
}

/* Only why the first device that is there cannot be used is of interest. */
static int handle_new_first(struct snapsafe **ret)
{
	const char *wish = secure_getenv("SNAPSAFE_DEVICE");
	char path[sizeof(SYSFS_DIR) + 40];
	int r, first = -ENOENT;

	if (wish && *wish)
		return strcmp(wish, "none") == 0 ? -ENOENT : handle_new(ret, wish);
	for (int i = 0; i < SYSFS_DEVICES && access(SYSFS_DIR, F_OK) == 0; i++) {
		snprintf(path, sizeof(path), SYSFS_DIR "/virtio_rng.%d/vm_gen_counter", i);
		r = handle_new(ret, path);
		if (r == 0)
			return 0;
		if (first == -ENOENT)
			first = r;
	}
	for (size_t i = 0; i < sizeof(other_paths) / sizeof(other_paths[0]); i++) {
		r = handle_new(ret, other_paths[i]);
		if (r == 0)
			return 0;
		if (first == -ENOENT)
			first = r;
	}
	return first;
}

/* The fastest code for this processor. Takes a lock: not for signal handlers. */
static void prepare_crypto(void)
{
	if (sodium_init() < 0) {
		/* Cannot happen; without it the portable code is used. */
	}
}

int snapsafe_open(struct snapsafe **ret, const char *path)
{
	int r = path ? handle_new(ret, path) : handle_new_first(ret);

	if (!r)
		prepare_crypto();
	return r;
}

void snapsafe_close(struct snapsafe *s)
{
	if (s)
		handle_free(s);
}

int snapsafe_init(void)
{
	struct snapsafe *known = atomic_load(&sns_default), *found;
	int r;

	if (sns_handle_is_good(known))
		return 0;
	r = snapsafe_open(&found, NULL);
	if (r) {
		atomic_store(&absent.error, r);
		return r;
	}
	found->watch = &default_watch;
	/* A driver that is gone may come back to the page that is known: keep it unless there is a better one. */
	if ((known != &absent && !sns_handle_is_good(found)) ||
	    !atomic_compare_exchange_strong(&sns_default, &known, found))
		handle_free(found);
	return sns_handle_is_good(atomic_load(&sns_default)) ? 0 : -ENODEV;
}

/*
 * Before all other constructors that may use this library, and before a sandbox
 * of the program. On machines without a device it costs four failing system calls
 * and a page.
 */
__attribute__((constructor(101))) static void prepare_program(void)
{
	sns_process_init();
	(void)sns_process_number();
	absent.vdso = sns_sys_has_vdso_getrandom();
	(void)snapsafe_init();
}

/* At dlclose() and exit(). Other threads may go on: what they use stays mapped. */
__attribute__((destructor)) static void wipe_program(void)
{
	sns_pool_retire(&atomic_load(&sns_default)->pool);
}
