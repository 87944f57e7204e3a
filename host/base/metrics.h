/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters, written as one JSON object a line (keys as Firecracker's where it
 * has the metric; ours for leak events). Whoever counts owns its section of the
 * line: a list of names where the thing is declared, of which a struct of
 * counters and the section are made. Values are the difference since the line
 * before, in an absolute section the last that was set. Written at start, every
 * 60 s, on FlushMetrics and at exit. Any thread may count. A section is in each
 * line, whether there is what it counts or not.
 *
 *	#define BLOCK_METRICS(M) M(block, read_count) M(block, write_count)
 *	METRICS_DECLARE(block, BLOCK_METRICS)		in the header,
 *	METRICS_DEFINE(block, BLOCK_METRICS, false)	in one file,
 *	metric_inc(block, read_count);			where it happens,
 *	metrics_add(&block_metrics_section);		once (of a resource: in its description).
 *
 * How long things took is an object in the section: "read_agg":{"min_us":..,"max_us":..,"sum_us":..}, the sum as a
 * counter, the others since the start. These are a list of their own, for the ..._TIMED forms:
 *
 *	#define BLOCK_TIMES(T) T(block, read_agg)
 *
 * What there is several of counts in a struct of its own each (metrics_one_new()), has a section of its own, and the
 * common one adds all up.
 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum metric_kind { METRIC_COUNTER, METRIC_MIN, METRIC_MAX };

struct metric {
	const char *name;
	_Atomic uint64_t *value;
	const char *
		object; /* NULL, or the object in the section that it stands in; those of one object follow each other */
	enum metric_kind kind;
	uint64_t reported; /* what the lines so far add up to; metrics.c's, as the next one */
	uint64_t under_way;
};

struct metrics_section {
	const char *name;
	bool absolute;
	struct metric *metrics;
	size_t num;
	struct metrics_section *next; /* metrics.c's list, by name */
	struct metrics_one *ones;     /* metrics.c's: what it adds up, beside its own values */
};

#define METRICS_FIELD_(section, field) _Atomic uint64_t field;
#define METRICS_ROW_(section, field)   { .name = #field, .value = &section##_metrics.field },

#define METRICS_NO_TIMES(T)
#define METRICS_TIME_FIELDS_(section, field) \
	_Atomic uint64_t field##_min_us;     \
	_Atomic uint64_t field##_max_us;     \
	_Atomic uint64_t field##_sum_us;
#define METRICS_TIME_ROW_(section, field, unit, what) \
	{ .name = #unit, .value = &section##_metrics.field##_##unit, .object = #field, .kind = (what) },
#define METRICS_TIME_ROWS_(section, field)                    \
	METRICS_TIME_ROW_(section, field, min_us, METRIC_MIN) \
	METRICS_TIME_ROW_(section, field, max_us, METRIC_MAX) \
	METRICS_TIME_ROW_(section, field, sum_us, METRIC_COUNTER)

#define METRICS_DECLARE(section, LIST) METRICS_DECLARE_TIMED(section, LIST, METRICS_NO_TIMES)
#define METRICS_DECLARE_TIMED(section, LIST, TIMES)        \
	struct section##_metrics {                         \
		LIST(METRICS_FIELD_)                       \
		TIMES(METRICS_TIME_FIELDS_)                \
	};                                                 \
	extern struct section##_metrics section##_metrics; \
	extern struct metrics_section section##_metrics_section;

#define METRICS_DEFINE(section, LIST, is_absolute) METRICS_DEFINE_TIMED(section, LIST, METRICS_NO_TIMES, is_absolute)
#define METRICS_DEFINE_TIMED(section, LIST, TIMES, is_absolute)                                           \
	struct section##_metrics section##_metrics;                                                       \
	static struct metric section##_metrics_rows[] = { LIST(METRICS_ROW_) TIMES(METRICS_TIME_ROWS_) }; \
	struct metrics_section section##_metrics_section = {                                              \
		.name = #section,                                                                         \
		.absolute = (is_absolute),                                                                \
		.metrics = section##_metrics_rows,                                                        \
		.num = sizeof(section##_metrics_rows) / sizeof(struct metric),                            \
	};

/* metric_inc(entropy, leak_event_count); metric_add(entropy, entropy_bytes, n); metric_set(latencies_us, pause_vm, us) */
#define metric_add(section, name, n) \
	((void)atomic_fetch_add_explicit(&section##_metrics.name, (n), memory_order_relaxed))
#define metric_inc(section, name)    metric_add(section, name, 1)
#define metric_set(section, name, v) atomic_store_explicit(&section##_metrics.name, (v), memory_order_relaxed)
/* metric_time(vcpu, exit_io_in_agg, us): something took so long. */
#define metric_time(section, name, us) metric_time_of(&section##_metrics, name, us)

/* The same for one of several: counters is what metrics_one_new() gave. */
#define metric_add_of(counters, name, n)   ((void)atomic_fetch_add_explicit(&(counters)->name, (n), memory_order_relaxed))
#define metric_inc_of(counters, name)	   metric_add_of(counters, name, 1)
#define metric_time_of(counters, name, us) metric_times_of(counters, name, us, 1)
/* Of num operations that took so long together: least and longest are their mean. */
#define metric_times_of(counters, name, us, num)                                                                     \
	metrics_note_times(&(counters)->name##_min_us, &(counters)->name##_max_us, &(counters)->name##_sum_us, (us), \
			   (num))
void metrics_note_times(_Atomic uint64_t *min, _Atomic uint64_t *max, _Atomic uint64_t *sum, uint64_t us, uint64_t num);

/* The log and the metrics themselves. */
#define LOGGER_METRICS(M)               \
	M(logger, missed_metrics_count) \
	M(logger, metrics_fails)        \
	M(logger, missed_log_count)     \
	M(logger, rate_limited_log_count)
METRICS_DECLARE(logger, LOGGER_METRICS)

/* Signals that the process got, or would have got. */
#define SIGNALS_METRICS(M)  \
	M(signals, sigbus)  \
	M(signals, sighup)  \
	M(signals, sigill)  \
	M(signals, sigpipe) \
	M(signals, sigsegv) \
	M(signals, sigxcpu) \
	M(signals, sigxfsz)
METRICS_DECLARE(signals, SIGNALS_METRICS)

/*
 * The section is in each line from now on, borrowed for ever; several of one name become one. Before metrics_open(); what is
 * there already is not added again.
 */
void metrics_add(struct metrics_section *section);

/* One of the things that a section adds up. */
struct metrics_one {
	struct metrics_section section; /* first: name_id */
	struct metrics_section *of;
	struct metrics_one *next; /* metrics.c's: of the same section */
	char *name;		  /* owned */
	void *counters;		  /* owned: a struct of the section's, such as struct block_metrics */
};

/*
 * A new one, with a section of its own in each line from now on: of's name, '_' and id. -ENOMEM; -ENOSPC if there are so
 * many already that a line has no room for it. When it is freed, what it has counted stays in the section of all.
 */
int metrics_one_new(struct metrics_section *of, const char *id, struct metrics_one **made) must_check;
void metrics_one_free(struct metrics_one *one); /* NULL is fine */

/*
 * Opens the metrics file or FIFO; fails with EEXIST if it was set before. id is put into each line if not NULL.
 * properties_json is an already serialised JSON object (or NULL), put under "properties". Both are copied.
 */
int metrics_open(const char *path, const char *id, const char *properties_json, struct err *e) must_check;
bool metrics_is_open(void);

/*
 * Writes one line; 0 also when no file is set. Waits 50 ms at most: what is not written by then may still be, and if the line
 * before is not, this one is dropped and counted. -errno with a sentence: the line is lost, its counts come with the next.
 */
int metrics_flush(struct err *e);

/* As metrics_flush(), as well as it can be done from the handler of a fatal signal. */
void metrics_flush_crash(void);

#endif
