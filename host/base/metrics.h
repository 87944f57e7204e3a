/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters, written as one JSON object a line (keys as Firecracker's where it
 * has the metric; ours for leak events). Whoever counts owns its section of the
 * line: a list of names where the thing is declared, of which a struct of
 * counters and the section are made. Values are the difference since the line
 * before, in an absolute section the last that was set. Written at start, every
 * 60 s, on FlushMetrics and at exit. Any thread may count.
 *
 *	#define BLOCK_METRICS(M) M(block, read_count) M(block, write_count)
 *	METRICS_DECLARE(block, BLOCK_METRICS)		in the header,
 *	METRICS_DEFINE(block, BLOCK_METRICS, false)	in one file,
 *	metric_inc(block, read_count);			where it happens,
 *	metrics_add(&block_metrics_section);		once (of a resource: in its description).
 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct metric {
	const char *name;
	_Atomic uint64_t *value;
	uint64_t reported; /* what the lines so far add up to; metrics.c's, as the next one */
	uint64_t under_way;
};

struct metrics_section {
	const char *name;
	bool absolute;
	struct metric *metrics;
	size_t num;
	struct metrics_section *next; /* metrics.c's list, by name */
};

#define METRICS_FIELD_(section, name) _Atomic uint64_t name;
#define METRICS_ROW_(section, name)   { #name, &section##_metrics.name, 0, 0 },

#define METRICS_DECLARE(section, LIST)                     \
	struct section##_metrics {                         \
		LIST(METRICS_FIELD_)                       \
	};                                                 \
	extern struct section##_metrics section##_metrics; \
	extern struct metrics_section section##_metrics_section;

#define METRICS_DEFINE(section, LIST, is_absolute)                              \
	struct section##_metrics section##_metrics;                             \
	static struct metric section##_metrics_rows[] = { LIST(METRICS_ROW_) }; \
	struct metrics_section section##_metrics_section = {                    \
		.name = #section,                                               \
		.absolute = (is_absolute),                                      \
		.metrics = section##_metrics_rows,                              \
		.num = sizeof(section##_metrics_rows) / sizeof(struct metric),  \
	};

/* metric_inc(entropy, leak_event_count); metric_add(entropy, entropy_bytes, n); metric_set(latencies_us, pause_vm, us) */
#define metric_add(section, name, n) \
	((void)atomic_fetch_add_explicit(&section##_metrics.name, (n), memory_order_relaxed))
#define metric_inc(section, name)    metric_add(section, name, 1)
#define metric_set(section, name, v) atomic_store_explicit(&section##_metrics.name, (v), memory_order_relaxed)

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
