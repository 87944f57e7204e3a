// SPDX-License-Identifier: Apache-2.0
/*
 * Metrics lines. Counting is lock-free; the lock here guards the file and what
 * has been reported. A line that could not be written is not lost for its
 * counters: they are reported with the next one.
 *
 * The file may be a FIFO with a slow reader, or lie on a server that has gone:
 * the thread of an outlet (outlet.h) writes. There is one line under way at
 * most; whether it got there is known when the next one is due, or a moment
 * after it was put, for those who flush and then look.
 *
 * After metrics_open() nothing here allocates: the last line is written by the
 * handler of a fatal signal.
 */
#include "base/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/json_text.h"
#include "base/outlet.h"
#include "base/textbuf.h"

/* What the sections of single things may take of a line: more than 16 drives and 8 interfaces need. */
#define METRICS_ONES_ROOM (64u * 1024)

#define METRICS_WAIT_MS 50 /* for a line to be written, before the caller goes on without knowing */

METRICS_DEFINE(logger, LOGGER_METRICS, false)
METRICS_DEFINE(signals, SIGNALS_METRICS, false)

#define METRICS_STAMP_ROOM (sizeof("{\"utc_timestamp_ms\":") + 20)

static pthread_mutex_t metrics_lock = PTHREAD_MUTEX_INITIALIZER;
/* All under metrics_lock. */
static struct outlet *metrics_outlet; /* owned; NULL: no file is set */
static char *metrics_head;	      /* owned; what follows the time stamp in each line, with commas; may be "" */
static struct metrics_section *metrics_sections; /* by name; those of one name in the order they came */
static char *metrics_line;			 /* owned; room for one line */
static size_t metrics_line_size;
static size_t metrics_ones_room; /* used of METRICS_ONES_ROOM */
static bool metrics_under_way;	 /* a line was put; what became of it is not known */

static void metrics_add_locked(struct metrics_section *section)
{
	struct metrics_section **at = &metrics_sections;

	while (*at && *at != section && strcmp((*at)->name, section->name) <= 0)
		at = &(*at)->next;
	if (*at != section) {
		section->next = *at;
		*at = section;
	}
}

void metrics_add(struct metrics_section *section)
{
	pthread_mutex_lock(&metrics_lock);
	metrics_add_locked(section);
	pthread_mutex_unlock(&metrics_lock);
}

void metrics_note_times(_Atomic uint64_t *min, _Atomic uint64_t *max, _Atomic uint64_t *sum, uint64_t us, uint64_t num)
{
	uint64_t seen = atomic_load_explicit(min, memory_order_relaxed), mean = us / num;

	while ((!seen || mean < seen) &&
	       !atomic_compare_exchange_weak_explicit(min, &seen, mean, memory_order_relaxed, memory_order_relaxed))
		;
	seen = atomic_load_explicit(max, memory_order_relaxed);
	while (mean > seen &&
	       !atomic_compare_exchange_weak_explicit(max, &seen, mean, memory_order_relaxed, memory_order_relaxed))
		;
	(void)atomic_fetch_add_explicit(sum, us, memory_order_relaxed);
}

/* Longest form of a section: "group":{"object":{"name":18446744073709551615},...}, with an object for each metric. */
static size_t metrics_section_room(const struct metrics_section *s)
{
	size_t room = strlen(s->name) + sizeof("\"\":{},");

	for (const struct metric *m = s->metrics; m < s->metrics + s->num; m++)
		room += (m->object ? strlen(m->object) : 0) + strlen(m->name) + sizeof("\"\":{\"\":},") + 20;
	return room;
}

/* Of all that stands behind the head. */
static size_t metrics_room(void)
{
	size_t room = sizeof("}}}\n") + METRICS_ONES_ROOM - metrics_ones_room;

	for (const struct metrics_section *s = metrics_sections; s; s = s->next)
		room += metrics_section_room(s);
	return room;
}

/* ',"id":...,"properties":...' or less; malloc'ed, NULL when out of memory. Takes over both values, which may be NULL. */
static char *metrics_format_head(json_t *id, json_t *properties)
{
	json_t *object = json_object();
	char *text, *head = NULL;
	int failed = !object;

	failed |= id && json_object_set_new(object, "id", id) < 0;
	failed |= properties && json_object_set_new(object, "properties", properties) < 0;
	text = failed ? NULL : json_to_text(object, JSON_COMPACT);
	json_decref(object);
	if (!text)
		return NULL;
	/* The braces go: "{" becomes a comma. */
	text[strlen(text) - 1] = '\0';
	text[0] = ',';
	head = strdup(text[1] ? text : "");
	free(text);
	return head;
}

static int metrics_open_locked(const char *path, const char *id, const char *properties_json, struct err *e)
{
	_cleanup_free_ char *head = NULL, *line = NULL;
	json_t *properties = NULL, *id_json = NULL;
	_cleanup_close_ int fd = -1;
	struct outlet_config config = { .name = "fc_metrics", .lines = true };
	json_error_t why;
	size_t line_size;
	int r;

	if (metrics_outlet)
		return err_set(e, EEXIST, "the metrics file is set already, it can be set only once");
	if (properties_json) {
		properties = json_loads(properties_json, 0, &why);
		if (!json_is_object(properties)) {
			json_decref(properties);
			return err_set(e, EINVAL, "metrics properties must be a JSON object");
		}
	}
	if (id) {
		id_json = json_string(id);
		if (!id_json) {
			json_decref(properties);
			return err_set(e, EINVAL, "the instance id is not valid UTF-8");
		}
	}
	head = metrics_format_head(id_json, properties);
	line_size = head ? METRICS_STAMP_ROOM + strlen(head) + metrics_room() : 0;
	line = head ? malloc(line_size) : NULL;
	if (!line)
		return err_set(e, ENOMEM, "out of memory");
	/* O_RDWR: a FIFO then opens without a reader, and a reader that leaves does not raise SIGPIPE. */
	fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0640);
	if (fd < 0)
		return err_errno(e, errno, "cannot open the metrics file \"%s\"", path);
	config.size = 2 * line_size; /* one that is stuck, and the one before the end */
	r = outlet_new(&config, fd, &metrics_outlet);
	if (r < 0)
		return err_errno(e, -r, "cannot use the metrics file \"%s\"", path);
	(void)take_fd(&fd);
	metrics_head = take_ptr(head);
	metrics_line = take_ptr(line);
	metrics_line_size = line_size;
	return 0;
}

int metrics_open(const char *path, const char *id, const char *properties_json, struct err *e)
{
	int r;

	pthread_mutex_lock(&metrics_lock);
	r = metrics_open_locked(path, id, properties_json, e);
	pthread_mutex_unlock(&metrics_lock);
	return r;
}

bool metrics_is_open(void)
{
	bool open;

	pthread_mutex_lock(&metrics_lock);
	open = metrics_outlet != NULL;
	pthread_mutex_unlock(&metrics_lock);
	return open;
}

/* Where the last value stands. */
struct metrics_at {
	const char *group;
	const char *object; /* NULL: in none of the group's */
};

static bool metrics_is_same(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

static void metrics_open_brace(struct textbuf *line, const char *name)
{
	textbuf_str(line, "\"");
	textbuf_str(line, name);
	textbuf_str(line, "\":{");
}

static void metrics_close(struct textbuf *line, const struct metrics_at *at)
{
	if (at->object)
		textbuf_str(line, "}");
	if (at->group)
		textbuf_str(line, "}");
}

/* Up to where the value's name begins. */
static void metrics_move(struct textbuf *line, struct metrics_at *at, const char *group, const char *object)
{
	bool same_group = metrics_is_same(at->group, group);

	if (!same_group) {
		metrics_close(line, at);
		textbuf_str(line, ",");
		metrics_open_brace(line, group);
		*at = (struct metrics_at){ .group = group };
	}
	if (at->object && !metrics_is_same(at->object, object)) {
		textbuf_str(line, "}");
		at->object = NULL;
	}
	if (same_group)
		textbuf_str(line, ",");
	if (object && !at->object)
		metrics_open_brace(line, object);
	at->object = object;
}

static void metrics_put(struct textbuf *line, const char *name, uint64_t value)
{
	textbuf_str(line, "\"");
	textbuf_str(line, name);
	textbuf_str(line, "\":");
	textbuf_u64(line, value, 1);
}

static uint64_t metric_together(enum metric_kind kind, uint64_t a, uint64_t b)
{
	if (kind == METRIC_COUNTER)
		return a + b;
	if (!a || !b) /* nothing was measured there */
		return a | b;
	return (kind == METRIC_MIN) == (a < b) ? a : b;
}

/* Row i, with that of all that the section adds up. */
static uint64_t metric_value(const struct metrics_section *s, size_t i)
{
	uint64_t value = atomic_load_explicit(s->metrics[i].value, memory_order_relaxed);

	for (const struct metrics_one *one = s->ones; one; one = one->next)
		value = metric_together(s->metrics[i].kind, value,
					atomic_load_explicit(one->section.metrics[i].value, memory_order_relaxed));
	return value;
}

/* The line with its newline, into metrics_line. */
static size_t metrics_format(void)
{
	struct textbuf line = { .text = metrics_line, .size = metrics_line_size };
	struct metrics_at at = { NULL, NULL };
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	textbuf_str(&line, "{\"utc_timestamp_ms\":");
	textbuf_u64(&line, (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000, 1);
	textbuf_str(&line, metrics_head);
	for (struct metrics_section *s = metrics_sections; s; s = s->next) {
		for (size_t i = 0; i < s->num; i++) {
			struct metric *m = &s->metrics[i];
			bool absolute = s->absolute || m->kind != METRIC_COUNTER;

			m->under_way = metric_value(s, i);
			metrics_move(&line, &at, s->name, m->object);
			metrics_put(&line, m->name, m->under_way - (absolute ? 0 : m->reported));
		}
	}
	metrics_close(&line, &at);
	textbuf_str(&line, "}\n");
	return line.len;
}

static void metrics_arrived(void)
{
	for (struct metrics_section *s = metrics_sections; s; s = s->next) {
		for (struct metric *m = s->metrics; m < s->metrics + s->num; m++)
			m->reported = m->under_way;
	}
}

/* What became of the line under way: 0: it arrived, or there is none; -EAGAIN: not known within ms; -errno: it is lost. */
static int metrics_settle(unsigned int ms)
{
	int r;

	if (!metrics_under_way)
		return 0;
	if (!outlet_drain(metrics_outlet, ms))
		return -EAGAIN;
	metrics_under_way = false;
	r = outlet_take_error(metrics_outlet);
	if (!r)
		metrics_arrived();
	return r; /* if lost, its counters go out with the next line */
}

static int metrics_flush_locked(void)
{
	int r;

	if (!metrics_outlet)
		return 0;
	if (metrics_settle(0) == -EAGAIN)
		return -EAGAIN;
	r = outlet_put(metrics_outlet, metrics_line, metrics_format());
	if (r < 0)
		return r;
	metrics_under_way = true;
	r = metrics_settle(METRICS_WAIT_MS);
	return r == -EAGAIN ? 0 : r; /* it may yet arrive */
}

int metrics_flush(struct err *e)
{
	int r;

	pthread_mutex_lock(&metrics_lock);
	r = metrics_flush_locked();
	pthread_mutex_unlock(&metrics_lock);
	if (r == -EAGAIN) {
		metric_inc(logger, missed_metrics_count);
		return 0;
	}
	if (r < 0) {
		metric_inc(logger, metrics_fails);
		return err_errno(e, -r, "cannot write metrics");
	}
	return 0;
}

void metrics_flush_crash(void)
{
	/* Whoever holds the lock is half-way through a line, and may be the very thread that failed. */
	if (pthread_mutex_trylock(&metrics_lock) != 0)
		return;
	(void)metrics_flush_locked();
	pthread_mutex_unlock(&metrics_lock);
}

/* Its rows are the section's, about counters of its own. */
static int metrics_one_init(struct metrics_one *one, struct metrics_section *of, const char *id)
{
	struct metric *rows = calloc(of->num, sizeof(*rows));
	_Atomic uint64_t *values = calloc(of->num, sizeof(*values));

	one->section.metrics = rows;
	one->counters = values;
	if (!rows || !values)
		return -ENOMEM;
	if (asprintf(&one->name, "%s_%s", of->name, id) < 0) {
		one->name = NULL;
		return -ENOMEM;
	}
	for (size_t i = 0; i < of->num; i++) {
		rows[i] = of->metrics[i];
		rows[i].value = values + (of->metrics[i].value - of->metrics[0].value);
		rows[i].reported = 0;
	}
	one->section.name = one->name;
	one->section.absolute = of->absolute;
	one->section.num = of->num;
	one->of = of;
	return 0;
}

static void metrics_one_destroy(struct metrics_one *one)
{
	free(one->section.metrics);
	free(one->counters);
	free(one->name);
	free(one);
}

int metrics_one_new(struct metrics_section *of, const char *id, struct metrics_one **made)
{
	struct metrics_one *one = calloc(1, sizeof(*one));
	int r = one ? metrics_one_init(one, of, id) : -ENOMEM;
	size_t room = r ? 0 : metrics_section_room(&one->section);

	pthread_mutex_lock(&metrics_lock);
	if (!r && room > METRICS_ONES_ROOM - metrics_ones_room)
		r = -ENOSPC;
	if (!r) {
		metrics_ones_room += room;
		metrics_add_locked(&one->section);
		one->next = of->ones;
		of->ones = one;
		*made = one;
	}
	pthread_mutex_unlock(&metrics_lock);
	if (r && one)
		metrics_one_destroy(one);
	return r;
}

static void metrics_one_fold(struct metrics_one *one)
{
	for (size_t i = 0; i < one->section.num; i++) {
		enum metric_kind kind = one->section.metrics[i].kind;
		_Atomic uint64_t *all = one->of->metrics[i].value;
		uint64_t its = atomic_load_explicit(one->section.metrics[i].value, memory_order_relaxed);

		if (kind == METRIC_COUNTER)
			(void)atomic_fetch_add_explicit(all, its, memory_order_relaxed);
		else
			atomic_store_explicit(all, metric_together(kind, *all, its), memory_order_relaxed);
	}
}

void metrics_one_free(struct metrics_one *one)
{
	struct metrics_section **at = &metrics_sections;
	struct metrics_one **of_at;

	if (!one)
		return;
	pthread_mutex_lock(&metrics_lock);
	metrics_one_fold(one);
	metrics_ones_room -= metrics_section_room(&one->section);
	while (*at != &one->section)
		at = &(*at)->next;
	*at = one->section.next;
	for (of_at = &one->of->ones; *of_at != one;)
		of_at = &(*of_at)->next;
	*of_at = one->next;
	pthread_mutex_unlock(&metrics_lock);
	metrics_one_destroy(one);
}
