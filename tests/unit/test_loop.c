// SPDX-License-Identifier: Apache-2.0
/* base/loop: sources that come and go inside callbacks, timers, the hook, and stopping from elsewhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loop.h"

#define MS 1000000ull

static struct loop *loop;
static int fds[4];
static struct loop_source *sources[4];
static unsigned int calls[4];

static int setup(void **state)
{
	(void)state;
	alarm(60);
	loop = loop_new();
	memset(calls, 0, sizeof(calls));
	memset(sources, 0, sizeof(sources));
	for (int i = 0; i < 4; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return loop ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		loop_remove(sources[i]);
		close(fds[i]);
	}
	loop_free(loop);
	alarm(0);
	return 0;
}

static void ring(int i)
{
	assert_int_equal(eventfd_write(fds[i], 1), 0);
}

static unsigned int index_of(void *ctx)
{
	return (unsigned int)(uintptr_t)ctx;
}

static void *ctx_of(unsigned int i)
{
	return (void *)(uintptr_t)i;
}

static void consume_and_stop(void *ctx, uint32_t events)
{
	eventfd_t value;

	assert_int_equal(events, EPOLLIN);
	assert_int_equal(eventfd_read(fds[index_of(ctx)], &value), 0);
	calls[index_of(ctx)]++;
	loop_stop(loop, (int)index_of(ctx));
}

static void a_readable_descriptor_calls_its_function(void **state)
{
	(void)state;
	sources[1] = loop_add(loop, fds[1], EPOLLIN, consume_and_stop, ctx_of(1));
	assert_non_null(sources[1]);
	ring(1);
	assert_int_equal(loop_run(loop), 1);
	assert_int_equal(calls[1], 1);
	ring(1); /* the loop can be run again */
	assert_int_equal(loop_run(loop), 1);
	assert_int_equal(calls[1], 2);
}

static void bad_descriptors_are_errors(void **state)
{
	(void)state;
	assert_null(loop_add(loop, -1, EPOLLIN, consume_and_stop, NULL));
	assert_int_equal(errno, EBADF);
	sources[0] = loop_add(loop, fds[0], EPOLLIN, consume_and_stop, NULL);
	assert_null(loop_add(loop, fds[0], EPOLLIN, consume_and_stop, NULL));
	assert_int_equal(errno, EEXIST);
}

/* Whoever comes first removes all others, and itself. */
static void remove_everybody(void *ctx, uint32_t events)
{
	(void)events;
	calls[index_of(ctx)]++;
	for (int i = 0; i < 3; i++) {
		loop_remove(sources[i]);
		sources[i] = NULL;
	}
	ring(3); /* stops the loop, but not in this round */
}

static void a_source_removed_in_a_round_is_not_called_in_it(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		sources[i] = loop_add(loop, fds[i], EPOLLIN, remove_everybody, ctx_of(i));
		ring((int)i);
	}
	sources[3] = loop_add(loop, fds[3], EPOLLIN, consume_and_stop, ctx_of(3));
	assert_int_equal(loop_run(loop), 3);
	assert_int_equal(calls[0] + calls[1] + calls[2], 1);
}

static void replace_the_other(void *ctx, uint32_t events)
{
	unsigned int other = 1 - index_of(ctx);

	(void)events;
	calls[index_of(ctx)]++;
	loop_remove(sources[other]);
	close(fds[other]);
	fds[other] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); /* most likely the same number */
	sources[other] = loop_add(loop, fds[other], EPOLLIN, replace_the_other, ctx_of(other));
	loop_set_events(sources[index_of(ctx)], 0);
	ring(3);
}

static void a_reused_descriptor_does_not_inherit_events(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		sources[i] = loop_add(loop, fds[i], EPOLLIN, replace_the_other, ctx_of(i));
		ring((int)i);
	}
	sources[3] = loop_add(loop, fds[3], EPOLLIN, consume_and_stop, ctx_of(3));
	assert_int_equal(loop_run(loop), 3);
	assert_int_equal(calls[0] + calls[1], 1);
}

static void add_and_go_quiet(void *ctx, uint32_t events)
{
	(void)ctx;
	(void)events;
	calls[0]++;
	loop_set_events(sources[0], 0); /* still readable, not asked for any more */
	sources[1] = loop_add(loop, fds[1], EPOLLIN, consume_and_stop, ctx_of(1));
	ring(1);
}

static void sources_are_added_and_muted_inside_callbacks(void **state)
{
	(void)state;
	sources[0] = loop_add(loop, fds[0], EPOLLIN, add_and_go_quiet, NULL);
	ring(0);
	assert_int_equal(loop_run(loop), 1);
	assert_int_equal(calls[0], 1);
}

static void on_hangup(void *ctx, uint32_t events)
{
	(void)ctx;
	assert_true(events & EPOLLHUP);
	loop_stop(loop, 3);
}

static void without_events_errors_are_still_reported(void **state)
{
	int pipe_fds[2];
	struct loop_source *source;

	(void)state;
	assert_int_equal(pipe(pipe_fds), 0);
	source = loop_add(loop, pipe_fds[0], 0, on_hangup, NULL);
	close(pipe_fds[1]);
	assert_int_equal(loop_run(loop), 3);
	loop_remove(source);
	close(pipe_fds[0]);
}

static void on_tick(void *ctx, uint32_t events)
{
	(void)ctx;
	assert_int_equal(events, 0);
	if (++calls[2] == 3)
		loop_stop(loop, 0);
}

static void a_timer_repeats_and_can_be_disarmed(void **state)
{
	uint64_t start = clock_now_ns();

	(void)state;
	sources[2] = loop_add_timer(loop, on_tick, NULL);
	assert_non_null(sources[2]);
	loop_set_timer(sources[2], 1, 0);
	loop_set_timer(sources[2], 0, 5); /* disarmed, though it has run out */
	loop_set_timer(sources[2], 5 * MS, 5 * MS);
	assert_int_equal(loop_run(loop), 0);
	assert_true(clock_now_ns() - start >= 15 * MS);
	assert_int_equal(calls[2], 3);
}

static void rearm_other(void *ctx, uint32_t events)
{
	unsigned int me = index_of(ctx);

	(void)events;
	calls[me]++;
	loop_set_timer(sources[1 - me], 20 * MS, 0);
	if (calls[0] + calls[1] == 2)
		loop_stop(loop, 0);
}

static void a_timer_set_anew_forgets_that_it_ran_out(void **state)
{
	uint64_t start = clock_now_ns();

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		sources[i] = loop_add_timer(loop, rearm_other, ctx_of(i));
		loop_set_timer(sources[i], 1 * MS, 0);
	}
	usleep(5000); /* both have run out */
	assert_int_equal(loop_run(loop), 0);
	assert_true(clock_now_ns() - start >= 20 * MS);
}

static void *stop_from_thread(void *arg)
{
	(void)arg;
	usleep(10000);
	loop_stop(loop, 17);
	loop_stop(loop, 18);
	return NULL;
}

static void any_thread_may_stop_and_the_first_code_wins(void **state)
{
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, stop_from_thread, NULL), 0);
	assert_int_equal(loop_run(loop), 17);
	pthread_join(thread, NULL);
}

static void stop_from_signal(int signal)
{
	loop_stop(loop, signal);
}

static void a_signal_handler_may_stop(void **state)
{
	struct sigaction sa = { .sa_handler = stop_from_signal }, old;

	(void)state;
	assert_int_equal(sigaction(SIGUSR1, &sa, &old), 0);
	assert_int_equal(raise(SIGUSR1), 0); /* before the loop even runs */
	assert_int_equal(loop_run(loop), SIGUSR1);
	sigaction(SIGUSR1, &old, NULL);
}

static int count_hook(void *ctx)
{
	(void)ctx;
	if (++calls[3] == 3)
		loop_stop(loop, 9);
	return 1;
}

static void the_hook_runs_before_each_wait_and_bounds_it(void **state)
{
	(void)state;
	loop_set_hook(loop, count_hook, NULL);
	assert_int_equal(loop_run(loop), 9);
	assert_int_equal(calls[3], 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_readable_descriptor_calls_its_function),
		TEST(bad_descriptors_are_errors),
		TEST(a_source_removed_in_a_round_is_not_called_in_it),
		TEST(a_reused_descriptor_does_not_inherit_events),
		TEST(sources_are_added_and_muted_inside_callbacks),
		TEST(without_events_errors_are_still_reported),
		TEST(a_timer_repeats_and_can_be_disarmed),
		TEST(a_timer_set_anew_forgets_that_it_ran_out),
		TEST(any_thread_may_stop_and_the_first_code_wins),
		TEST(a_signal_handler_may_stop),
		TEST(the_hook_runs_before_each_wait_and_bounds_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
