// SPDX-License-Identifier: Apache-2.0
/* base/metrics: whole lines of valid JSON, differences for counters, and a reader that cannot hold anybody up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <string.h>
#include <sys/resource.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/metrics.h"
#include "tmpdir.h"

/* In another order than in the line. */
#define UART_METRICS(M)	   M(uart, write_count)
#define BLOCK_METRICS(M)   M(block, read_count) M(block, write_count)
#define LATENCY_METRICS(M) M(latencies_us, pause_vm)
METRICS_DECLARE(uart, UART_METRICS)
#define BLOCK_TIMES(T) T(block, read_agg) T(block, write_agg)
METRICS_DECLARE_TIMED(block, BLOCK_METRICS, BLOCK_TIMES)
METRICS_DECLARE(latencies_us, LATENCY_METRICS)
METRICS_DEFINE(uart, UART_METRICS, false)
METRICS_DEFINE_TIMED(block, BLOCK_METRICS, BLOCK_TIMES, false)
METRICS_DEFINE(latencies_us, LATENCY_METRICS, true)

/* Two sections of one name, as two resources have. */
static _Atomic uint64_t drives, serials;
static struct metric put_rows[] = { { .name = "drive_count", .value = &drives },
				    { .name = "serial_count", .value = &serials } };
static struct metrics_section put_drive = { .name = "put_api_requests", .metrics = &put_rows[0], .num = 1 };
static struct metrics_section put_serial = { .name = "put_api_requests", .metrics = &put_rows[1], .num = 1 };

/* Lines as long as the monitor's. */
static struct metric many_rows[200];
static struct metrics_section many = { .name = "many", .metrics = many_rows, .num = 200 };

static struct tmpdir dir;
static char lines[256 * 1024];

static int setup(void **state)
{
	static char names[200][24];
	static _Atomic uint64_t none;

	(void)state;
	for (unsigned int i = 0; i < 200; i++) {
		snprintf(names[i], sizeof(names[i]), "a_counter_number_%02u", i);
		many_rows[i] = (struct metric){ .name = names[i], .value = &none };
	}
	metrics_add(&many);
	metrics_add(&put_drive);
	metrics_add(&uart_metrics_section);
	metrics_add(&block_metrics_section);
	metrics_add(&uart_metrics_section); /* is there */
	metrics_add(&latencies_us_metrics_section);
	metrics_add(&logger_metrics_section);
	metrics_add(&put_serial);
	metrics_add(&put_drive);
	return tmpdir_make(&dir);
}

static int teardown(void **state)
{
	(void)state;
	tmpdir_remove(&dir);
	return 0;
}

#define CHECK(condition)                                                        \
	do {                                                                    \
		if (!(condition)) {                                             \
			fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
			_exit(1);                                               \
		}                                                               \
	} while (0)

/* The file can be set once in a process: each test is a process. */
static void in_child(void (*fn)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(30);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static json_int_t value(json_t *line, const char *group, const char *name)
{
	json_t *number = json_object_get(json_object_get(line, group), name);

	CHECK(json_is_integer(number));
	return json_integer_value(number);
}

/* Line number n of the text as JSON. */
static json_t *parse_line(char *text, int n)
{
	json_t *json;

	for (; n > 0; n--) {
		text = strchr(text, '\n');
		CHECK(text);
		text++;
	}
	CHECK(strchr(text, '\n'));
	json = json_loadb(text, (size_t)(strchr(text, '\n') - text), JSON_REJECT_DUPLICATES, NULL);
	CHECK(json_is_object(json));
	return json;
}

/* How many lines the file has, read into lines. */
static int count_lines(const char *name)
{
	int n = 0;

	lines[0] = '\0';
	(void)tmpdir_read(tmpdir_file(&dir, name), lines, sizeof(lines));
	for (const char *s = strchr(lines, '\n'); s; s = strchr(s + 1, '\n'))
		n++;
	return n;
}

/* Flushes, and waits until the file has n lines: the thread that writes them may be late on a busy host. */
static void flush_line(const char *name, int n)
{
	uint64_t missed;
	struct err e;

	do { /* the line before may be in the file, and its writer not yet know */
		missed = atomic_load(&logger_metrics.missed_metrics_count);
		CHECK(metrics_flush(&e) == 0);
	} while (atomic_load(&logger_metrics.missed_metrics_count) != missed);
	while (count_lines(name) < n) /* alarm() ends it */
		usleep(1000);
}

static void do_differences(void)
{
	struct err e;
	json_t *line;

	CHECK(metrics_flush(&e) == 0); /* nothing set, nothing to do */
	CHECK(!metrics_is_open());
	CHECK(metrics_open(tmpdir_file(&dir, "m"), "vm-1", "{\"zone\":\"a\"}", &e) == 0);
	CHECK(metrics_is_open());
	metric_add(block, write_count, 100);
	metric_inc(block, read_count);
	metric_set(latencies_us, pause_vm, 77);
	atomic_store(&drives, 1);
	atomic_store(&serials, 2);
	flush_line("m", 1);
	metric_add(block, write_count, 5);
	flush_line("m", 2);

	line = parse_line(lines, 0);
	CHECK(json_integer_value(json_object_get(line, "utc_timestamp_ms")) > 1600000000000);
	CHECK(strcmp(json_string_value(json_object_get(line, "id")), "vm-1") == 0);
	CHECK(strcmp(json_string_value(json_object_get(json_object_get(line, "properties"), "zone")), "a") == 0);
	CHECK(value(line, "block", "write_count") == 100);
	CHECK(value(line, "block", "read_count") == 1);
	CHECK(value(line, "latencies_us", "pause_vm") == 77);
	CHECK(value(line, "uart", "write_count") == 0);
	CHECK(value(line, "put_api_requests", "drive_count") == 1);
	CHECK(value(line, "put_api_requests", "serial_count") == 2);
	CHECK(json_object_size(line) == 3 + 6); /* each section once */
	json_decref(line);
	line = parse_line(lines, 1);
	CHECK(value(line, "block", "write_count") == 5);
	CHECK(value(line, "block", "read_count") == 0);
	CHECK(value(line, "latencies_us", "pause_vm") == 77);
	json_decref(line);
}

static void counters_are_differences_and_stores_are_absolute(void **state)
{
	(void)state;
	in_child(do_differences);
}

/* min_us, max_us, sum_us of an object in a section. */
static void check_times(json_t *line, const char *group, const char *object, json_int_t min, json_int_t max,
			json_int_t sum)
{
	json_t *in = json_object_get(line, group);

	CHECK(value(in, object, "min_us") == min);
	CHECK(value(in, object, "max_us") == max);
	CHECK(value(in, object, "sum_us") == sum);
	CHECK(json_object_size(json_object_get(in, object)) == 3);
}

static void do_times(void)
{
	struct err e;
	json_t *line;

	CHECK(metrics_open(tmpdir_file(&dir, "t"), NULL, NULL, &e) == 0);
	metric_time(block, read_agg, 30);
	metric_time(block, read_agg, 10);
	metric_time(block, read_agg, 20);
	flush_line("t", 1);
	metric_time(block, read_agg, 15);
	flush_line("t", 2);
	line = parse_line(lines, 0);
	check_times(line, "block", "read_agg", 10, 30, 60);
	check_times(line, "block", "write_agg", 0, 0, 0);
	json_decref(line);
	line = parse_line(lines, 1);
	check_times(line, "block", "read_agg", 10, 30, 15);
	CHECK(json_object_size(json_object_get(line, "block")) == 4);
	json_decref(line);
}

static void times_are_least_and_most_so_far_and_the_sum_since(void **state)
{
	(void)state;
	in_child(do_times);
}

/* Two drives; one goes while the process runs. */
static void do_ones(void)
{
	struct metrics_one *a, *b;
	struct block_metrics *of_a, *of_b;
	struct err e;
	json_t *line;

	CHECK(metrics_one_new(&block_metrics_section, "a", &a) == 0);
	CHECK(metrics_open(tmpdir_file(&dir, "o"), NULL, NULL, &e) == 0);
	CHECK(metrics_one_new(&block_metrics_section, "b", &b) == 0);
	of_a = a->counters;
	of_b = b->counters;
	metric_inc_of(of_a, write_count);
	metric_add_of(of_b, write_count, 4);
	metric_time_of(of_a, read_agg, 7);
	metric_time_of(of_b, read_agg, 5);
	flush_line("o", 1);
	line = parse_line(lines, 0);
	CHECK(value(line, "block_a", "write_count") == 1 && value(line, "block_b", "write_count") == 4);
	CHECK(value(line, "block", "write_count") == 5);
	check_times(line, "block_a", "read_agg", 7, 7, 7);
	check_times(line, "block", "read_agg", 5, 7, 12);
	check_times(line, "block", "write_agg", 0, 0, 0);
	json_decref(line);
	metric_inc_of(of_a, write_count);
	metrics_one_free(a);
	flush_line("o", 2);
	line = parse_line(lines, 1);
	CHECK(!json_object_get(line, "block_a") && value(line, "block_b", "write_count") == 0);
	CHECK(value(line, "block", "write_count") == 1); /* what it had counted stays */
	check_times(line, "block", "read_agg", 5, 7, 0);
	json_decref(line);
	metrics_one_free(b);
	flush_line("o", 3);
	line = parse_line(lines, 2);
	CHECK(!json_object_get(line, "block_b") && value(line, "block", "write_count") == 0);
	json_decref(line);
}

static void one_of_several_has_its_section_and_the_common_one_adds_up(void **state)
{
	(void)state;
	in_child(do_ones);
}

/* What fits into a line is known before: the handler of a fatal signal cannot get more memory. */
static void do_too_many(void)
{
	struct metrics_one *ones[1000];
	char id[81];
	struct err e;
	json_t *line;
	int n = 0, r;

	CHECK(metrics_open(tmpdir_file(&dir, "many"), NULL, NULL, &e) == 0);
	do {
		snprintf(id, sizeof(id), "%080d", n);
		r = metrics_one_new(&block_metrics_section, id, &ones[n]);
		if (!r)
			atomic_store(&((struct block_metrics *)ones[n++]->counters)->write_count, UINT64_MAX);
	} while (!r);
	CHECK(r == -ENOSPC && n >= 24);
	flush_line("many", 1);
	CHECK(strlen(lines) > 20000 && lines[strlen(lines) - 1] == '\n');
	while (n > 0)
		metrics_one_free(ones[--n]);
	flush_line("many", 2);
	line = parse_line(lines, 1);
	CHECK(json_object_size(line) == 1 + 6);
	json_decref(line);
}

static void as_many_as_a_line_has_room_for(void **state)
{
	(void)state;
	in_child(do_too_many);
}

static void do_refusals(void)
{
	struct err e;

	CHECK(metrics_open(tmpdir_file(&dir, "r"), NULL, "[1]", &e) == -EINVAL);
	CHECK(metrics_open(tmpdir_file(&dir, "r"), NULL, "{", &e) == -EINVAL);
	CHECK(metrics_open(tmpdir_file(&dir, "r"), "\xff", NULL, &e) == -EINVAL);
	CHECK(metrics_open(dir.path, NULL, NULL, &e) == -EISDIR);
	CHECK(strstr(e.text, dir.path));
	CHECK(!metrics_is_open());
	CHECK(metrics_open(tmpdir_file(&dir, "r"), NULL, NULL, &e) == 0);
	CHECK(metrics_open(tmpdir_file(&dir, "r2"), NULL, NULL, &e) == -EEXIST);
	flush_line("r", 1);
	CHECK(!strstr(lines, "\"id\"") && !strstr(lines, "properties"));
}

static void a_second_file_and_bad_properties_are_refused(void **state)
{
	(void)state;
	in_child(do_refusals);
}

static json_int_t sum_of_lines(void)
{
	json_int_t sum = 0;

	for (char *s = lines; *s; s = strchr(s, '\n') + 1) {
		json_t *line = parse_line(s, 0);

		sum += value(line, "uart", "write_count");
		json_decref(line);
	}
	return sum;
}

static void do_fifo(void)
{
	size_t have = 0;
	ssize_t n;
	struct err e;
	int fd;

	CHECK(mkfifo(tmpdir_file(&dir, "fifo"), 0600) == 0);
	CHECK(metrics_open(dir.file, NULL, NULL, &e) == 0);
	fd = open(dir.file, O_RDONLY | O_NONBLOCK);
	CHECK(fd >= 0);
	for (int i = 0; i < 100; i++) { /* many times what the pipe holds */
		metric_inc(uart, write_count);
		CHECK(metrics_flush(&e) == 0);
	}
	CHECK(atomic_load(&logger_metrics.missed_metrics_count) > 0);
	do {		       /* dropped lines, but no lost counts */
		usleep(20000); /* for the rest of a line that was stuck */
		CHECK(metrics_flush(&e) == 0);
		while ((n = read(fd, lines + have, sizeof(lines) - 1 - have)) > 0)
			have += (size_t)n;
		lines[have] = '\0';
	} while (have == 0 || lines[have - 1] != '\n' || sum_of_lines() < 100);
	CHECK(sum_of_lines() == 100);
	close(fd);
}

static void a_slow_reader_gets_whole_lines_and_all_counts(void **state)
{
	(void)state;
	in_child(do_fifo);
}

static void do_full_disk(void)
{
	struct rlimit limit = { .rlim_cur = 0, .rlim_max = RLIM_INFINITY };
	uint64_t missed;
	struct err e;
	json_t *line;

	CHECK(metrics_open(tmpdir_file(&dir, "full"), NULL, NULL, &e) == 0);
	signal(SIGXFSZ, SIG_IGN);
	CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	metric_add(uart, write_count, 3);
	while (metrics_flush(&e) != -EFBIG) /* at once, but for a busy host */
		usleep(1000);
	CHECK(atomic_load(&logger_metrics.metrics_fails) == 1);
	missed = atomic_load(&logger_metrics.missed_metrics_count);
	limit.rlim_cur = 1000; /* room for the start of a line */
	CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	CHECK(metrics_flush(&e) == 0);
	CHECK(metrics_flush(&e) == 0);
	CHECK(atomic_load(&logger_metrics.missed_metrics_count) == missed + 1); /* the first is not finished */
	limit.rlim_cur = RLIM_INFINITY;
	CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	while (count_lines("full") < 1) /* what is begun is tried again ten times a second */
		usleep(10000);
	flush_line("full", 2);
	line = parse_line(lines, 0);
	CHECK(value(line, "uart", "write_count") == 3);
	json_decref(line);
	line = parse_line(lines, 1);
	CHECK(value(line, "uart", "write_count") == 0);
	json_decref(line);
}

static void a_failed_write_is_reported_and_its_counts_come_later(void **state)
{
	(void)state;
	in_child(do_full_disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counters_are_differences_and_stores_are_absolute),
		cmocka_unit_test(times_are_least_and_most_so_far_and_the_sum_since),
		cmocka_unit_test(one_of_several_has_its_section_and_the_common_one_adds_up),
		cmocka_unit_test(as_many_as_a_line_has_room_for),
		cmocka_unit_test(a_second_file_and_bad_properties_are_refused),
		cmocka_unit_test(a_slow_reader_gets_whole_lines_and_all_counts),
		cmocka_unit_test(a_failed_write_is_reported_and_its_counts_come_later),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
