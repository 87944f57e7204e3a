/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log. One of the two process-wide objects (metrics.h is the other).
 * Line format, as clients of Firecracker know it:
 *   2026-08-21T11:30:10.123456789 [id:thread:LEVEL:file:line] text
 * LEVEL and file:line only when asked for. Goes to stdout until a path is set
 * (before log_start(): to stderr).
 * Thread-safe. Each call site prints at most 10 lines in 5 s; the rest is
 * counted in the metric logger.rate_limited_log_count.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define LOG_MODULE_MAX 64

enum log_level {
	LOG_LEVEL_OFF,
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_TRACE,
};

/* State of one call site, static in the macro below. */
struct log_site {
	const char *file;
	int line;
	uint64_t window_start_ns;
	uint32_t in_window;
};

/* Sets the instance id that each line carries (copied). */
void log_set_id(const char *id);

/*
 * From here on whoever logs does not wait: a thread of the log's own writes, to stdout until a path is set. Before this a line
 * is written at once, to stderr. For a process that has others to answer to.
 */
int log_start(struct err *e) must_check;
/* Opens (creates, never truncates; a FIFO without reader is fine) path and logs there, as after log_start(). On error nothing changes. */
int log_set_path(const char *path, struct err *e) must_check;
/* Waits at most ms until what has been logged is written: true if it is. */
bool log_drain(unsigned int ms);
void log_set_level(enum log_level level);
/*
 * From here on only lines from that part of the source are logged: a directory of host/ ("virtio") or a file ("virtio/blk" or
 * "virtio::blk"), or one of Firecracker's crates: "api_server" (api/), "firecracker" (main.c), "vmm" (the rest). Copied.
 */
void log_set_module(const char *module);
/* 1 to LOG_MODULE_MAX characters. */
bool log_module_is_valid(const char *module);
void log_set_show(bool show_level, bool show_origin);
void log_get_show(bool *show_level, bool *show_origin);
enum log_level log_get_level(void);

/* "off", "trace", "debug", "info", "warn", "warning", "error" in any case; false if it is none of them. */
bool log_level_parse(const char *name, enum log_level *level);

/* The name that stands in a line's thread field, for the calling thread; name must live on. Default "main". */
void log_set_thread_name(const char *name);

void log_write(struct log_site *site, enum log_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/*
 * One line at level ERROR without locks or allocation, from the handler of a fatal signal. text is ours: it is not
 * escaped. The origin is never shown.
 */
void log_crash(const char *text);

#define LOG_AT(level, ...)                                                             \
	do {                                                                           \
		static struct log_site site_ = { .file = __FILE__, .line = __LINE__ }; \
		if ((level) <= log_get_level())                                        \
			log_write(&site_, (level), __VA_ARGS__);                       \
	} while (0)

#define log_error(...) LOG_AT(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  LOG_AT(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  LOG_AT(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) LOG_AT(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
