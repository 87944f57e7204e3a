// SPDX-License-Identifier: Apache-2.0
/* base/outlet and base/inlet: nobody but their own threads waits, whatever the descriptor is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/inlet.h"
#include "base/metrics.h"
#include "base/outlet.h"

#define MS	     1000000ull
#define ROOM	     4096u
#define FLOOD	     (64u * 1024) /* bytes, one at a time, as a guest prints */
#define FLOOD_MAX_MS 20000ull	  /* a write that waits takes for ever */

static _Atomic uint64_t lost;
static _Atomic uint64_t lost_by_stuck; /* whose threads go on to count when the next test has begun */

static struct outlet *outlet_counting(_Atomic uint64_t *count, int fd, bool lines, unsigned int gather_ms)
{
	const struct outlet_config config = {
		.name = "test",
		.size = ROOM,
		.gather_ms = gather_ms,
		.lines = lines,
		.lost = count,
	};
	struct outlet *o;

	assert_true(fd >= 0);
	assert_int_equal(outlet_new(&config, fd, &o), 0);
	return o;
}

static struct outlet *outlet_of(int fd, bool lines, unsigned int gather_ms)
{
	return outlet_counting(&lost, fd, lines, gather_ms);
}

/* Puts what no reader takes, and ends: all of it within the time that is given. */
static void assert_never_waits(int fd)
{
	uint64_t start_ns = clock_now_ns(), refused = 0, before = lost_by_stuck;
	struct outlet *o = outlet_counting(&lost_by_stuck, fd, false, 1);
	bool stuck = false;

	for (int round = 0; round < 100 && !stuck; round++) { /* until what is behind it is full, too */
		for (unsigned int i = 0; i < FLOOD; i++)
			refused += outlet_put(o, "x", 1) < 0;
		stuck = !outlet_drain(o, 500);
	}
	assert_true(stuck);
	assert_true(refused > 0);
	assert_true(lost_by_stuck - before >= refused);
	outlet_free(o, 20);
	assert_true(clock_now_ns() - start_ns < FLOOD_MAX_MS * MS);
}

static void a_pipe_that_nobody_reads(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_never_waits(fds[1]);
	close(fds[0]); /* the thread gets EPIPE, and frees what is left */
}

static void a_pipe_that_does_not_block(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	assert_never_waits(fds[1]);
	close(fds[0]);
}

static void a_socket_that_nobody_reads(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_never_waits(fds[1]);
	close(fds[0]);
}

static void a_terminal_that_nobody_reads(void **state)
{
	int master, slave;

	(void)state;
	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	assert_never_waits(slave);
	close(master);
}

static void a_full_disk_loses_and_says_why(void **state)
{
	struct outlet *o = outlet_of(open("/dev/full", O_WRONLY), false, 0);
	uint64_t before = lost;

	(void)state;
	assert_int_equal(outlet_put(o, "hello", 5), 0);
	assert_true(outlet_drain(o, 5000));
	assert_int_equal(outlet_take_error(o), -ENOSPC);
	assert_int_equal(outlet_take_error(o), 0);
	assert_int_equal(lost - before, 5);
	outlet_free(o, 1000);
}

static void a_reader_that_has_gone_is_counted(void **state)
{
	uint64_t before = signals_metrics.sigpipe;
	struct outlet *o;
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	close(fds[0]);
	o = outlet_of(fds[1], false, 0);
	assert_int_equal(outlet_put(o, "hello", 5), 0);
	assert_true(outlet_drain(o, 5000));
	assert_int_equal(outlet_take_error(o), -EPIPE);
	assert_int_equal(signals_metrics.sigpipe, before + 1);
	outlet_free(o, 1000);
}

static void bytes_arrive_in_order_round_the_rings_end(void **state)
{
	unsigned char got[1000];
	struct outlet *o;
	unsigned int sent = 0, seen = 0;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	o = outlet_of(fds[1], false, 0);
	while (seen < 10 * ROOM) {
		ssize_t n;

		for (unsigned char byte = (unsigned char)(sent % 251); outlet_put(o, &byte, 1) == 0;)
			byte = (unsigned char)(++sent % 251);
		/* All may have been read while the thread has yet to say that it is written: there is room only then. */
		n = read(fds[0], got, sizeof(got));
		assert_true(n > 0 || errno == EAGAIN);
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(got[i], seen++ % 251);
	}
	close(fds[0]);
	outlet_free(o, 1000);
}

static void what_was_put_is_written_before_the_end(void **state)
{
	char got[16] = "";
	int fds[2];
	struct outlet *o;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	o = outlet_of(fds[1], true, 1);
	assert_int_equal(outlet_put(o, "one\n", 4), 0);
	assert_int_equal(outlet_put(o, "two\n", 4), 0);
	outlet_free(o, 5000);
	assert_int_equal(read(fds[0], got, sizeof(got)), 8);
	assert_string_equal(got, "one\ntwo\n");
	assert_int_equal(read(fds[0], got, sizeof(got)), 0); /* it is closed */
	close(fds[0]);
}

#define WRITERS	     4
#define WRITER_LINES 300u
#define LINE_LEN     40u

/* A line of one letter. Nothing is dropped: who finds no room tries again. */
static void *put_lines(void *arg)
{
	static _Atomic char letters = 'a';
	char line[LINE_LEN];

	memset(line, letters++, sizeof(line) - 1);
	line[sizeof(line) - 1] = '\n';
	for (unsigned int i = 0; i < WRITER_LINES;)
		i += outlet_put(arg, line, sizeof(line)) == 0;
	return NULL;
}

static void lines_of_many_threads_arrive_whole(void **state)
{
	unsigned int seen[WRITERS] = { 0 };
	pthread_t writers[WRITERS];
	char got[LINE_LEN + 1];
	struct outlet *o;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	o = outlet_of(fds[1], true, 0);
	for (int i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&writers[i], NULL, put_lines, o), 0);
	/* A datagram for each write(2). */
	for (unsigned int i = 0; i < WRITERS * WRITER_LINES; i++) {
		assert_int_equal(read(fds[0], got, sizeof(got)), LINE_LEN);
		assert_in_range(got[0], 'a', 'a' + WRITERS - 1);
		for (unsigned int at = 0; at < LINE_LEN; at++)
			assert_int_equal(got[at], at == LINE_LEN - 1 ? '\n' : got[0]);
		seen[got[0] - 'a']++;
	}
	for (int i = 0; i < WRITERS; i++) {
		pthread_join(writers[i], NULL);
		assert_int_equal(seen[i], WRITER_LINES);
	}
	outlet_free(o, 1000);
	close(fds[0]);
}

/* System calls of the one who puts cannot be counted here; those that reach the file can: a datagram for each write(2). */
static void a_burst_of_bytes_is_few_writes(void **state)
{
	unsigned int writes = 0, bytes = 0;
	char got[ROOM];
	struct outlet *o;
	ssize_t n;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	o = outlet_of(fds[1], false, 1);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(outlet_put(o, "x", 1), 0);
	outlet_free(o, 5000);
	while ((n = read(fds[0], got, sizeof(got))) > 0) {
		writes++;
		bytes += (unsigned int)n;
	}
	close(fds[0]);
	assert_int_equal(bytes, 1000);
	assert_in_range(writes, 1, 100);
}

static ssize_t take_within(struct inlet *in, void *data, size_t max, int ms)
{
	struct pollfd p = { .fd = inlet_fd(in), .events = POLLIN };

	return poll(&p, 1, ms) == 1 ? inlet_take(in, data, max) : 0;
}

static void input_is_read_when_it_is_wanted_and_not_before(void **state)
{
	struct pollfd p = { .events = POLLIN };
	struct inlet *in;
	char got[8];
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(inlet_new("test", fds[0], &in), 0);
	assert_int_equal(write(fds[1], "abc", 3), 3);
	assert_int_equal(take_within(in, got, sizeof(got), 50), 0);
	p.fd = fds[0];
	assert_int_equal(poll(&p, 1, 0), 1); /* still there, for others */
	inlet_want(in);
	assert_int_equal(take_within(in, got, 2, 5000), 2);
	assert_int_equal(take_within(in, got + 2, 2, 5000), 1);
	assert_memory_equal(got, "abc", 3);
	close(fds[1]);
	inlet_want(in);
	assert_int_equal(take_within(in, got, 2, 5000), -ENODATA);
	inlet_free(in, 5000);
	close(fds[0]);
}

/* Of those that share a descriptor one gets the byte; the others must not wait for the next. */
static void readers_that_lose_a_race_wait_for_nobody(void **state)
{
	enum { READERS = 8, BYTES = 500 };
	uint64_t start_ns = clock_now_ns();
	struct inlet *in[READERS];
	unsigned int got = 0;
	char byte;
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	for (int i = 0; i < READERS; i++)
		assert_int_equal(inlet_new("test", fds[0], &in[i]), 0);
	for (int n = 0; n < BYTES; n++) {
		assert_int_equal(write(fds[1], "x", 1), 1);
		for (int i = 0; i < READERS; i++) {
			inlet_want(in[i]);
			got += inlet_take(in[i], &byte, 1) == 1;
		}
	}
	for (int tries = 0; got < BYTES && tries < 1000; tries++) {
		for (int i = 0; i < READERS; i++) {
			inlet_want(in[i]);
			got += take_within(in[i], &byte, 1, 0) == 1;
		}
		usleep(1000);
	}
	assert_int_equal(got, BYTES);
	for (int i = 0; i < READERS; i++)
		inlet_free(in[i], 10); /* some are in read(2): they are left there */
	assert_true(clock_now_ns() - start_ns < FLOOD_MAX_MS * MS);
	close(fds[1]); /* gets them out; the other end stays open for them */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pipe_that_nobody_reads),
		cmocka_unit_test(a_pipe_that_does_not_block),
		cmocka_unit_test(a_socket_that_nobody_reads),
		cmocka_unit_test(a_terminal_that_nobody_reads),
		cmocka_unit_test(a_full_disk_loses_and_says_why),
		cmocka_unit_test(a_reader_that_has_gone_is_counted),
		cmocka_unit_test(bytes_arrive_in_order_round_the_rings_end),
		cmocka_unit_test(what_was_put_is_written_before_the_end),
		cmocka_unit_test(lines_of_many_threads_arrive_whole),
		cmocka_unit_test(a_burst_of_bytes_is_few_writes),
		cmocka_unit_test(input_is_read_when_it_is_wanted_and_not_before),
		cmocka_unit_test(readers_that_lose_a_race_wait_for_nobody),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
