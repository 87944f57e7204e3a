// SPDX-License-Identifier: Apache-2.0
/*
 * Metrics lines. Counting is lock-free; the lock here guards the file and what
 * has been reported. A line that could not be written is not lost for its
 * counters: they are reported with the next one.
 *
 * The file may be a FIFO with a slow reader. Writes do not wait; if the pipe
 * took only the first part of a line, the rest is kept and goes out first next
 * time, so that a reader sees whole lines only.
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

struct metrics metrics;

#define METRIC_VALUE_(group, name) uint64_t group##_##name;
struct metrics_values {
	METRICS(METRIC_VALUE_, METRIC_VALUE_)
};
#undef METRIC_VALUE_

static pthread_mutex_t metrics_lock = PTHREAD_MUTEX_INITIALIZER;
/* All under metrics_lock. */
static int metrics_fd = -1;		       /* owned */
static json_t *metrics_id;		       /* owned; NULL: not shown */
static json_t *metrics_properties;	       /* owned; NULL: none */
static struct metrics_values metrics_reported; /* what the lines so far add up to */
static char *metrics_rest;		       /* owned; the unwritten end of the last line */
static size_t metrics_rest_len;

static int metrics_open_locked(const char *path, const char *id, const char *properties_json, struct err *e)
{
	_cleanup_close_ int fd = -1;
	json_t *properties = NULL, *id_json = NULL;
	json_error_t why;

	if (metrics_fd >= 0)
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
	/* O_RDWR: a FIFO then opens without a reader, and a reader that leaves does not raise SIGPIPE. */
	fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0640);
	if (fd < 0) {
		int r = err_errno(e, errno, "cannot open the metrics file \"%s\"", path);

		json_decref(properties);
		json_decref(id_json);
		return r;
	}
	metrics_fd = take_fd(&fd);
	metrics_properties = properties;
	metrics_id = id_json;
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
	open = metrics_fd >= 0;
	pthread_mutex_unlock(&metrics_lock);
	return open;
}

static void metrics_collect(struct metrics_values *now)
{
#define METRIC_COLLECT_(group, name) \
	now->group##_##name = atomic_load_explicit(&metrics.group##_##name, memory_order_relaxed);
	METRICS(METRIC_COLLECT_, METRIC_COLLECT_)
#undef METRIC_COLLECT_
}

/* Puts root[group][name]; -1 when out of memory. */
static int metrics_put(json_t *root, const char *group, const char *name, uint64_t value)
{
	json_t *object = json_object_get(root, group);

	if (!object) {
		object = json_object();
		if (json_object_set_new(root, group, object) < 0)
			return -1;
	}
	return json_object_set_new(object, name, json_integer((json_int_t)value));
}

static int metrics_put_head(json_t *root)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (json_object_set_new(root, "utc_timestamp_ms",
				json_integer((json_int_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000)) < 0)
		return -1;
	if (metrics_id && json_object_set(root, "id", metrics_id) < 0)
		return -1;
	if (metrics_properties && json_object_set(root, "properties", metrics_properties) < 0)
		return -1;
	return 0;
}

/* The line with its newline, malloc'ed; NULL when out of memory. */
static char *metrics_format(const struct metrics_values *now, const struct metrics_values *before, size_t *len)
{
	json_t *root = json_object();
	char *text = NULL, *line = NULL;
	int failed;

	failed = !root || metrics_put_head(root) < 0;
#define METRIC_COUNT_(group, name) \
	failed |= metrics_put(root, #group, #name, now->group##_##name - before->group##_##name) < 0;
#define METRIC_STORE_(group, name) failed |= metrics_put(root, #group, #name, now->group##_##name) < 0;
	METRICS(METRIC_COUNT_, METRIC_STORE_)
#undef METRIC_COUNT_
#undef METRIC_STORE_
	if (!failed)
		text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	if (!text)
		return NULL;
	*len = strlen(text) + 1;
	line = realloc(text, *len);
	if (!line) {
		free(text);
		return NULL;
	}
	line[*len - 1] = '\n';
	return line;
}

/* How much of data was taken, 0 if the write would block, -errno. */
static ssize_t metrics_write(const char *data, size_t len)
{
	ssize_t n;

	do
		n = write(metrics_fd, data, len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	return n;
}

/* Takes over line. 0: the line counts as written (its end may be pending); -EAGAIN: nothing of it was; or -errno. */
static int metrics_send(char *line, size_t len)
{
	ssize_t n = metrics_write(line, len);

	if (n <= 0 || (size_t)n == len) {
		free(line);
		return n > 0 ? 0 : n < 0 ? (int)n : -EAGAIN;
	}
	metrics_rest_len = len - (size_t)n;
	memmove(line, line + n, metrics_rest_len);
	metrics_rest = line;
	return 0;
}

/* As metrics_send(), for what is left of the line before. */
static int metrics_send_rest(void)
{
	ssize_t n;

	if (!metrics_rest)
		return 0;
	n = metrics_write(metrics_rest, metrics_rest_len);
	if (n < 0)
		return (int)n;
	metrics_rest_len -= (size_t)n;
	memmove(metrics_rest, metrics_rest + n, metrics_rest_len);
	if (metrics_rest_len > 0)
		return -EAGAIN;
	free(take_ptr(metrics_rest));
	return 0;
}

static int metrics_flush_locked(void)
{
	struct metrics_values now;
	char *line;
	size_t len;
	int r;

	if (metrics_fd < 0)
		return 0;
	r = metrics_send_rest();
	if (r < 0)
		return r;
	metrics_collect(&now);
	line = metrics_format(&now, &metrics_reported, &len);
	if (!line)
		return -ENOMEM;
	r = metrics_send(line, len);
	if (r == 0)
		metrics_reported = now;
	return r;
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
