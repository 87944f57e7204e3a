// SPDX-License-Identifier: Apache-2.0
/*
 * Reading ahead. Two places go through the list: the first has the kernel begin
 * to read, the second maps what has come, and waits for it. The distance
 * between them keeps the disk busy, and bounds what is read for nothing if the
 * guest turns out to need something else first.
 */
#include <endian.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/fdio.h"
#include "base/log.h"
#include "base/thread.h"
#include "machine/working_set_internal.h"
#include "mem/ahead.h"
#include "sandbox/sandbox.h"
#include "snapshot/working_set.h"

#define AHEAD_PIECE    (1ull << 20)  /* bytes at a time: between two it can end */
#define AHEAD_DISTANCE (32ull << 20) /* bytes that are asked for and not mapped yet, about */
#define AHEAD_NICE     10	     /* who runs a guest comes first */

struct ahead_list {
	const struct snapshot_run *runs; /* borrowed */
	size_t num;
};

struct ahead_place {
	size_t run;
	uint64_t done; /* bytes of it */
};

/* The piece at place, which moves behind it. False at the end. */
static bool ahead_next(const struct ahead_list *list, struct ahead_place *place, struct mem_run *piece)
{
	const struct snapshot_run *run;
	uint64_t left;

	if (place->run == list->num)
		return false;
	run = &list->runs[place->run];
	left = le64toh(run->len) - place->done;
	piece->offset = le64toh(run->offset) + place->done;
	piece->len = left < AHEAD_PIECE ? left : AHEAD_PIECE;
	place->done += piece->len;
	if (piece->len == left)
		*place = (struct ahead_place){ .run = place->run + 1 };
	return true;
}

/* *bytes is how much has been mapped. -errno of the kernel; -ECANCELED. */
static int ahead_map(struct working_set *ws, const struct ahead_list *list, uint64_t *bytes)
{
	struct ahead_place asked = { 0 }, mapped = { 0 };
	struct mem_run ask, map;
	uint64_t distance = 0;
	int r = 0;

	while (r == 0 && ahead_next(list, &mapped, &map)) {
		while (distance < AHEAD_DISTANCE && ahead_next(list, &asked, &ask)) {
			mem_will_need(ws->mem, ask.offset, ask.len);
			distance += ask.len;
		}
		if (working_set_has_ended(ws))
			return -ECANCELED;
		r = mem_map_ahead(ws->mem, map.offset, map.len);
		distance -= map.len; /* both places go through the same pieces */
		*bytes += r == 0 ? map.len : 0;
	}
	return r;
}

static int ahead_read_file(struct working_set *ws, struct ahead_list *list, struct err *e)
{
	int r = fd_pread_all(ws->fd, ws->file, ws->len, 0);

	if (r < 0)
		return err_errno(e, -r, "it cannot be read");
	return working_set_parse(ws->file, ws->len, &ws->mark, &list->runs, &list->num, e);
}

static void ahead_work(struct working_set *ws)
{
	uint64_t start_ns = clock_now_ns(), bytes = 0;
	struct ahead_list list = { 0 };
	struct err e;
	int r;

	if (ahead_read_file(ws, &list, &e) < 0) {
		log_warn("Working set \"%s\" is ignored: %s", ws->path, e.text);
		return;
	}
	r = ahead_map(ws, &list, &bytes);
	if (r == -ECANCELED)
		return;
	if (r < 0) {
		err_errno(&e, -r, "it cannot be mapped further");
		log_warn("Working set \"%s\": %s", ws->path, e.text);
	}
	log_info("Working set \"%s\": %llu KiB in %zu runs were mapped ahead in %llu ms.", ws->path,
		 (unsigned long long)(bytes >> 10), list.num,
		 (unsigned long long)((clock_now_ns() - start_ns) / 1000000));
}

void *working_set_read_ahead(void *arg)
{
	struct working_set *ws = arg;
	struct err e;

	thread_set_name("fc_read_ahead");
	/* Of this thread alone, in Linux. Best effort. */
	(void)setpriority(PRIO_PROCESS, 0, AHEAD_NICE);
	if (sandbox_enter(SANDBOX_AHEAD, &e)) {
		log_error("%s", e.text);
		loop_stop(ws->loop, 1);
		return NULL;
	}
	if (working_set_await_begin(ws))
		ahead_work(ws);
	return NULL;
}
