// SPDX-License-Identifier: Apache-2.0
/*
 * The life of a working set's thread. It is started while the machine is built,
 * since a machine that runs starts no threads, and waits until it is told to
 * begin: what it reads should not be in the way of the load.
 */
#include "machine/working_set.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/fdio.h"
#include "base/log.h"
#include "base/thread.h"
#include "machine/working_set_internal.h"
#include "mem/ahead.h"
#include "snapshot/working_set.h"

#define WSET_SUFFIX	".working-set" /* beside the memory file, if the request names none */
#define WSET_STACK_SIZE (512u * 1024)
#define WSET_END_MS	500 /* how long the end of the machine waits */

bool working_set_await_begin(struct working_set *ws)
{
	bool begun;

	pthread_mutex_lock(&ws->mutex);
	while (!ws->begun && !ws->ends)
		pthread_cond_wait(&ws->cond, &ws->mutex);
	begun = !ws->ends;
	pthread_mutex_unlock(&ws->mutex);
	return begun;
}

bool working_set_has_ended(struct working_set *ws)
{
	bool ends;

	pthread_mutex_lock(&ws->mutex);
	ends = ws->ends;
	pthread_mutex_unlock(&ws->mutex);
	return ends;
}

/* No effect on who is not there, or has begun, stopped or ended already. */
static void wset_say(struct working_set *ws, bool begins, bool stops, bool ends)
{
	if (!ws)
		return;
	pthread_mutex_lock(&ws->mutex);
	ws->begun |= begins;
	ws->stops |= stops;
	ws->ends |= ends;
	pthread_cond_broadcast(&ws->cond);
	pthread_mutex_unlock(&ws->mutex);
}

void working_set_begin(struct working_set *ws)
{
	wset_say(ws, true, false, false);
}

void working_set_stop(struct working_set *ws)
{
	wset_say(ws, false, true, false);
}

void working_set_end(struct working_set *ws)
{
	wset_say(ws, false, false, true);
}

bool working_set_free(struct working_set *ws)
{
	if (!ws)
		return true;
	working_set_end(ws);
	if (ws->has_thread && !thread_join_within(&ws->thread, WSET_END_MS)) {
		log_warn("Working set \"%s\": its thread waits for a file and has not ended.", ws->path);
		return false;
	}
	cleanup_close(&ws->fd);
	free(ws->file);
	mem_touched_fini(&ws->touched);
	pthread_cond_destroy(&ws->cond);
	pthread_mutex_destroy(&ws->mutex);
	free(ws->path);
	free(ws);
	return true;
}

/* The file that the request means; an owned string, NULL without memory. */
static char *wset_path(const struct snapshot_load_config *how)
{
	const char *given = how->working_set_path;
	const char *name = given ? given : how->mem_file_path, *suffix = given ? "" : WSET_SUFFIX;
	size_t size = strlen(name) + strlen(suffix) + 1;
	char *path = malloc(size);

	if (path)
		snprintf(path, size, "%s%s", name, suffix);
	return path;
}

static struct working_set *wset_alloc(const struct snapshot_load_config *how, const struct memfile_mark *mark,
				      const struct guest_mem *mem, struct loop *loop)
{
	struct working_set *ws = calloc(1, sizeof(*ws));
	char *path = wset_path(how);

	if (!ws || !path) {
		free(ws);
		free(path);
		return NULL;
	}
	*ws = (struct working_set){ .mem = mem, .mark = *mark, .path = path, .loop = loop, .fd = -1 };
	ws->ms = how->working_set_ms;
	pthread_mutex_init(&ws->mutex, NULL);
	thread_init_cond(&ws->cond);
	return ws;
}

/* The thread reads it: here it is only found, so that the load does not wait for its contents. */
static int wset_open(struct working_set *ws, struct err *e)
{
	uint64_t size;
	int r = file_open_regular("working set", ws->path, O_RDONLY, &ws->fd, &size, e);

	if (r == 0)
		r = mem_check_ahead(ws->mem, e);
	if (r < 0)
		return r;
	if (size > WORKING_SET_MAX_SIZE)
		return err_set(e, EFBIG, "it has %llu bytes, at most %zu are allowed", (unsigned long long)size,
			       WORKING_SET_MAX_SIZE);
	ws->len = (size_t)size;
	ws->file = malloc(ws->len + 1); /* + 1: of an empty file there is something, too */
	return ws->file ? 0 : err_errno(e, ENOMEM, "it cannot be read");
}

static int wset_prepare_record(struct working_set *ws, struct err *e)
{
	int r = working_set_check_target(ws->path, e);

	return r < 0 ? r : mem_touched_init(&ws->touched, ws->mem, WORKING_SET_MAX_RUNS, e);
}

static int wset_start(struct working_set *ws, bool records, struct err *e)
{
	int r = records ? wset_prepare_record(ws, e) : wset_open(ws, e);

	if (r < 0)
		return r;
	r = thread_start(&ws->thread, WSET_STACK_SIZE, records ? working_set_record : working_set_read_ahead, ws);
	ws->has_thread = r == 0;
	return r < 0 ? err_errno(e, -r, "cannot start a thread for it") : 0;
}

int working_set_new(const struct snapshot_load_config *how, const struct memfile_mark *mark,
		    const struct guest_mem *mem, struct loop *loop, struct working_set **out, struct err *e)
{
	bool records = how->working_set == WORKING_SET_RECORD;
	struct working_set *ws;
	int r;

	*out = NULL;
	if (how->working_set == WORKING_SET_IGNORE)
		return 0;
	ws = wset_alloc(how, mark, mem, loop);
	if (!ws)
		return err_errno(e, ENOMEM, "cannot create the machine");
	r = wset_start(ws, records, e);
	if (r == 0) {
		*out = ws;
		return 0;
	}
	if (!records && (r != -ENOENT || how->working_set_path))
		log_warn("Working set \"%s\" is ignored: %s", ws->path, e->text);
	(void)!working_set_free(ws); /* it has no thread */
	return records ? err_wrap(e, r, "mem_backend: working_set cannot be recorded") : 0;
}
