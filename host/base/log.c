// SPDX-License-Identifier: Apache-2.0
/*
 * The log: one write(2) a line, by the thread of an outlet (outlet.h), so that
 * whoever logs never waits. A line is at most PIPE_BUF bytes, so that a pipe
 * takes it in one piece. What a client sent may stand in a text; therefore control characters and bytes that are not UTF-8
 * are written as \xNN, and a text cannot forge a second line.
 *
 * One lock guards the sink, the id and the state of all call sites. Level and
 * what to show are atomics, so that a line that is not wanted costs one load.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/outlet.h"
#include "base/textbuf.h"
#include "base/utf8.h"

#define LOG_SITE_WINDOW_NS (5ull * 1000 * 1000 * 1000)
#define LOG_SITE_MAX_LINES 10
#define LOG_MAX_ID	   65
#define LOG_ROOM	   (16u * PIPE_BUF) /* lines that wait to be written */
#define LOG_LAST_WAIT_MS   150
#define LOG_CRASH_WAIT_MS  500 /* nobody will say again what a crash says */

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static struct outlet *log_outlet;	    /* under log_lock; owned; NULL: a line is written at once, to stderr */
static char log_module[LOG_MODULE_MAX + 1]; /* under log_lock; "": all lines */
static char log_id[LOG_MAX_ID] = "anonymous-instance";

static _Atomic int log_level = LOG_LEVEL_INFO;
static _Atomic bool log_show_level;
static _Atomic bool log_show_origin;
static _Atomic long log_gmtoff; /* seconds; of the line before */

static __thread const char *log_thread_name = "main";

static const char *const log_level_names[] = {
	[LOG_LEVEL_OFF] = "OFF",   [LOG_LEVEL_ERROR] = "ERROR", [LOG_LEVEL_WARN] = "WARN",
	[LOG_LEVEL_INFO] = "INFO", [LOG_LEVEL_DEBUG] = "DEBUG", [LOG_LEVEL_TRACE] = "TRACE",
};

/* A line under construction. Room for the newline is kept back. */
struct log_line {
	char text[PIPE_BUF];
	size_t len;
	bool cut;
};

void log_set_id(const char *id)
{
	pthread_mutex_lock(&log_lock);
	snprintf(log_id, sizeof(log_id), "%s", id);
	pthread_mutex_unlock(&log_lock);
}

/* fd is taken over, also on error. */
static int log_set_fd(int fd)
{
	static const struct outlet_config config = {
		.name = "fc_log",
		.size = LOG_ROOM,
		.lines = true,
		.lost = &logger_metrics.missed_log_count,
	};
	struct outlet *new, *old;
	int r = outlet_new(&config, fd, &new);

	if (r < 0) {
		close(fd);
		return r;
	}
	pthread_mutex_lock(&log_lock);
	old = log_outlet;
	log_outlet = new;
	pthread_mutex_unlock(&log_lock);
	outlet_free(old, LOG_LAST_WAIT_MS);
	return 0;
}

int log_start(struct err *e)
{
	int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	int r = fd < 0 ? -errno : log_set_fd(fd);

	return r < 0 ? err_errno(e, -r, "standard output cannot be used for the log") : 0;
}

int log_set_path(const char *path, struct err *e)
{
	/* O_RDWR: a FIFO then opens without a reader, and a reader that leaves does not raise SIGPIPE. */
	int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0640);
	int r;

	if (fd < 0)
		return err_errno(e, errno, "cannot open the log file \"%s\"", path);
	r = log_set_fd(fd);
	return r < 0 ? err_errno(e, -r, "cannot use the log file \"%s\"", path) : 0;
}

bool log_drain(unsigned int ms)
{
	struct outlet *outlet;

	pthread_mutex_lock(&log_lock);
	outlet = log_outlet;
	pthread_mutex_unlock(&log_lock);
	return !outlet || outlet_drain(outlet, ms);
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

bool log_module_is_valid(const char *module)
{
	size_t len = strlen(module);

	return len > 0 && len <= LOG_MODULE_MAX;
}

/* "virtio::blk" is "virtio/blk". */
void log_set_module(const char *module)
{
	size_t len = 0;

	pthread_mutex_lock(&log_lock);
	for (; *module && len < LOG_MODULE_MAX; module++) {
		if (module[0] == ':' && module[1] == ':')
			module++;
		log_module[len++] = *module == ':' ? '/' : *module;
	}
	log_module[len] = '\0';
	pthread_mutex_unlock(&log_lock);
}

void log_set_show(bool show_level, bool show_origin)
{
	atomic_store_explicit(&log_show_level, show_level, memory_order_relaxed);
	atomic_store_explicit(&log_show_origin, show_origin, memory_order_relaxed);
}

void log_get_show(bool *show_level, bool *show_origin)
{
	*show_level = atomic_load_explicit(&log_show_level, memory_order_relaxed);
	*show_origin = atomic_load_explicit(&log_show_origin, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&log_level, memory_order_relaxed);
}

bool log_level_parse(const char *name, enum log_level *level)
{
	if (strcasecmp(name, "warning") == 0) {
		*level = LOG_LEVEL_WARN;
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(log_level_names); i++) {
		if (strcasecmp(name, log_level_names[i]) == 0) {
			*level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

void log_set_thread_name(const char *name)
{
	log_thread_name = name;
}

static void log_put(struct log_line *line, const char *data, size_t len)
{
	static const char mark[] = "...";
	size_t room = sizeof(line->text) - 1 - (sizeof(mark) - 1) - line->len;

	if (line->cut)
		return;
	if (len > room) {
		line->cut = true;
		data = mark;
		len = sizeof(mark) - 1;
	}
	memcpy(line->text + line->len, data, len);
	line->len += len;
}

static void log_put_str(struct log_line *line, const char *str)
{
	log_put(line, str, strlen(str));
}

/* Bytes at s that may be shown as they are: a printable character, or 0 for controls (C1 too: terminals obey them). */
static size_t log_printable(const unsigned char *s, size_t len)
{
	if (*s < 0x20 || *s == 0x7f || (len >= 2 && s[0] == 0xc2 && s[1] < 0xa0))
		return 0;
	return utf8_char_len(s, len);
}

static void log_put_escaped(struct log_line *line, const char *text)
{
	const unsigned char *s = (const unsigned char *)text, *end = s + strlen(text);
	char escape[8];

	for (; s < end; s++) {
		size_t len = log_printable(s, (size_t)(end - s));

		if (len > 0) {
			log_put(line, (const char *)s, len);
			s += len - 1;
			continue;
		}
		switch (*s) {
		case '\n':
			log_put_str(line, "\\n");
			break;
		case '\r':
			log_put_str(line, "\\r");
			break;
		case '\t':
			log_put_str(line, "\\t");
			break;
		default:
			snprintf(escape, sizeof(escape), "\\x%02x", *s);
			log_put_str(line, escape);
		}
	}
}

/* As seen from the top of the source tree, wherever the build directory is. */
static const char *log_origin(const char *file)
{
	const char *host = strstr(file, "host/");

	return host ? host : file;
}

/* Whether path lies in what the first len bytes of name say: "virtio/blk.c" does in "virtio" and "virtio/blk". */
static bool log_path_is_in(const char *path, const char *name, size_t len)
{
	return !strncmp(path, name, len) && (path[len] == '/' || path[len] == '.');
}

/* Under log_lock. */
static bool log_module_begins_with(const char *crate)
{
	size_t len = strlen(crate);

	return !strncmp(log_module, crate, len) && (log_module[len] == '/' || log_module[len] == '\0');
}

/* Under log_lock. Firecracker's program is made of three crates, whose names clients know; ours is one. */
static bool log_module_admits(const char *file)
{
	const char *path = log_origin(file);
	bool is_api, is_main;

	path += strncmp(path, "host/", 5) == 0 ? 5 : 0;
	if (log_module[0] == '\0' || log_path_is_in(path, log_module, strlen(log_module)))
		return true;
	is_api = log_path_is_in(path, "api", 3);
	is_main = log_path_is_in(path, "main", 4);
	return (is_api && log_module_begins_with("api_server")) || (is_main && log_module_begins_with("firecracker")) ||
	       (!is_api && !is_main && log_module_begins_with("vmm"));
}

static void log_put_prefix(struct log_line *line, const struct log_site *site, enum log_level level)
{
	char buf[64];
	struct timespec now;
	struct tm tm;
	size_t len;

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	atomic_store_explicit(&log_gmtoff, tm.tm_gmtoff, memory_order_relaxed);
	len = strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + len, sizeof(buf) - len, ".%09ld [", now.tv_nsec);
	log_put_str(line, buf);
	log_put_escaped(line, log_id);
	log_put_str(line, ":");
	log_put_str(line, log_thread_name);
	if (atomic_load_explicit(&log_show_level, memory_order_relaxed)) {
		log_put_str(line, ":");
		log_put_str(line, log_level_names[level]);
	}
	if (atomic_load_explicit(&log_show_origin, memory_order_relaxed)) {
		snprintf(buf, sizeof(buf), ":%d", site->line);
		log_put_str(line, ":");
		log_put_str(line, log_origin(site->file));
		log_put_str(line, buf);
	}
	log_put_str(line, "] ");
}

static bool log_site_admits(struct log_site *site)
{
	uint64_t now = clock_now_ns();

	if (site->in_window == 0 || now - site->window_start_ns >= LOG_SITE_WINDOW_NS) {
		site->window_start_ns = now;
		site->in_window = 0;
	}
	if (site->in_window >= LOG_SITE_MAX_LINES)
		return false;
	site->in_window++;
	return true;
}

static void log_write_now(const char *text, size_t len)
{
	ssize_t n;

	do
		n = write(STDERR_FILENO, text, len);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)len)
		metric_inc(logger, missed_log_count);
}

static void log_emit(struct log_line *line)
{
	line->text[line->len++] = '\n';
	if (log_outlet)
		(void)outlet_put(log_outlet, line->text, line->len); /* what it cannot take it counts */
	else
		log_write_now(line->text, line->len);
}

static void log_write_locked(struct log_line *line, struct log_site *site, enum log_level level, const char *text)
{
	if (!log_site_admits(site)) {
		metric_inc(logger, rate_limited_log_count);
		return;
	}
	log_put_prefix(line, site, level);
	log_put_escaped(line, text);
	log_emit(line);
}

void log_write(struct log_site *site, enum log_level level, const char *fmt, ...)
{
	char text[PIPE_BUF];
	struct log_line line = { .len = 0 };
	int saved = errno;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);

	pthread_mutex_lock(&log_lock);
	if (log_module_admits(site->file))
		log_write_locked(&line, site, level, text);
	pthread_mutex_unlock(&log_lock);
	errno = saved;
}

/* gmtime_r(3) takes a lock. Days are counted in years that begin with March, so that the leap day comes last. */
static void log_put_date(struct textbuf *line, int64_t seconds)
{
	int64_t days = seconds / 86400 + 719468; /* since 0000-03-01 */
	int64_t of_day = seconds % 86400;
	int64_t era = days / 146097, of_era = days % 146097; /* 400 years are 146097 days */
	int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	int64_t month = (5 * of_year + 2) / 153; /* 0 is March */

	textbuf_u64(line, (uint64_t)(era * 400 + year + (month >= 10)), 4);
	textbuf_str(line, "-");
	textbuf_u64(line, (uint64_t)(month < 10 ? month + 3 : month - 9), 2);
	textbuf_str(line, "-");
	textbuf_u64(line, (uint64_t)(of_year - (153 * month + 2) / 5 + 1), 2);
	textbuf_str(line, "T");
	textbuf_u64(line, (uint64_t)(of_day / 3600), 2);
	textbuf_str(line, ":");
	textbuf_u64(line, (uint64_t)(of_day / 60 % 60), 2);
	textbuf_str(line, ":");
	textbuf_u64(line, (uint64_t)(of_day % 60), 2);
}

void log_crash(const char *text)
{
	char buf[512];
	struct textbuf line = { .text = buf, .size = sizeof(buf) - 1 };
	struct timespec now = { 0 };

	if (log_get_level() == LOG_LEVEL_OFF)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	log_put_date(&line, now.tv_sec + atomic_load_explicit(&log_gmtoff, memory_order_relaxed));
	textbuf_str(&line, ".");
	textbuf_u64(&line, (uint64_t)now.tv_nsec, 9);
	textbuf_str(&line, " [");
	textbuf_str(&line, log_id);
	textbuf_str(&line, ":");
	textbuf_str(&line, log_thread_name);
	if (atomic_load_explicit(&log_show_level, memory_order_relaxed))
		textbuf_str(&line, ":ERROR");
	textbuf_str(&line, "] ");
	textbuf_str(&line, text);
	buf[line.len++] = '\n';
	if (!log_outlet)
		log_write_now(buf, line.len);
	else if (outlet_put(log_outlet, buf, line.len) == 0)
		(void)outlet_drain(log_outlet, LOG_CRASH_WAIT_MS);
}
