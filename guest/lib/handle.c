// SPDX-License-Identifier: Apache-2.0
/*
 * Opening, closing, and the default handle.
 *
 * The default handle is found at first use, by whoever comes first, a signal
 * handler perhaps: so there is no lock and no malloc(), each finder builds a
 * handle of its own and one of them wins. While there is no device, or its
 * driver has gone, the search is repeated at most once a second: modules may be
 * loaded after a daemon has started. A default handle that was replaced is
 * never freed, for somebody may be using it; that takes a driver to come and go.
 */
#include "handle.h"

#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SYSFS_DIR     "/sys/virtio-rng"
#define SYSFS_DEVICES 16 /* virtio_rng.0 to .15 are looked for */
#define SYSGENID_PATH "/dev/sysgenid"
#define RENEW_NS      1000000000

static struct sns_watch default_watch = SNS_WATCH_INIT;
static struct snapsafe absent = {
	.source = { .kind = SNS_SOURCE_NONE, .fd = -1 },
	.error = -ENODEV,
	.watch = &default_watch,
	.own_watch = SNS_WATCH_INIT,
	.path = "",
};
static _Atomic int64_t next_look_ns;
static _Atomic uint32_t last_number;

_Atomic(struct snapsafe *) sns_default;

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
	r = handle_new(ret, SYSGENID_PATH);
	return r == -ENOENT ? first : r;
}

/* The fastest code for this processor. Takes a lock: not for signal handlers. */
static void prepare_crypto(void)
{
	if (sodium_init() < 0) {
		/* Cannot happen; without it the portable code is used. */
	}
}

/*
 * Before main() no signal handler can be in the way. Programs on machines
 * without a device pay one failing system call.
 */
__attribute__((constructor)) static void prepare_program(void)
{
	if (access(SYSFS_DIR, F_OK) == 0 || secure_getenv("SNAPSAFE_DEVICE"))
		prepare_crypto();
}

int snapsafe_open(struct snapsafe **ret, const char *path)
{
	prepare_crypto();
	return path ? handle_new(ret, path) : handle_new_first(ret);
}

void snapsafe_close(struct snapsafe *s)
{
	if (s)
		handle_free(s);
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static bool default_may_look(void)
{
	int64_t now = now_ns(), next = atomic_load(&next_look_ns);

	return now >= next && atomic_compare_exchange_strong(&next_look_ns, &next, now + RENEW_NS);
}

struct snapsafe *sns_default_renew(struct snapsafe *known)
{
	struct snapsafe *found = NULL, *best = known;
	int saved = errno, r;

	if (known && !default_may_look())
		return known;
	r = handle_new_first(&found);
	errno = saved;
	if (r) {
		atomic_store(&absent.error, r);
		found = &absent;
	} else {
		found->watch = &default_watch;
	}
	/* A driver that is gone may come back to the page that is known: keep it unless there is a better one. */
	if (known && (known == found || !sns_handle_is_good(found) || (known != &absent && sns_handle_is_good(known))))
		goto keep;
	if (atomic_compare_exchange_strong(&sns_default, &best, found))
		return found;
keep:
	if (found != &absent)
		handle_free(found);
	return best;
}
