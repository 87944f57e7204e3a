// SPDX-License-Identifier: Apache-2.0
/* Waiting, callbacks, and the descriptor for event loops. */
#include "fake.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snapsafe.h"

#if defined(__SANITIZE_THREAD__)
#define HAVE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAVE_TSAN 1
#endif
#endif

struct told {
	int calls;
	uint64_t generation;
};

static struct fake_page fake;
static struct snapsafe *s;

static int start(void **state)
{
	(void)state;
	fake_page_init(&fake);
	return snapsafe_open(&s, fake.path);
}

static int stop(void **state)
{
	(void)state;
	snapsafe_close(s);
	fake_page_fini(&fake);
	return 0;
}

static void tell(void *data, uint64_t generation)
{
	struct told *told = data;

	told->calls++;
	told->generation = generation;
}

static void tell_and_leave(void *data, uint64_t generation)
{
	tell(data, generation);
	assert_int_equal(snapsafe_off_change(s, tell_and_leave, data), 0);
}

static void *leak_soon(void *data)
{
	(void)data;
	usleep(50000);
	fake_page_leak(&fake, 1, true);
	return NULL;
}

static void waiting_ends_with_the_time(void **state)
{
	uint64_t generation = 0;

	(void)state;
	assert_int_equal(snapsafe_wait(s, &generation, 0), 0);
	assert_int_equal(snapsafe_wait(s, &generation, 30), 0);
	assert_int_equal(generation, 0);
}

static void waiting_ends_with_a_change(void **state)
{
	uint64_t generation = 0;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, leak_soon, NULL), 0);
	assert_int_equal(snapsafe_wait(s, &generation, 10000), 1);
	assert_int_equal(generation, 1);
	pthread_join(thread, NULL);
}

static void waiting_for_ever_ends_with_a_change(void **state)
{
	uint64_t generation = 0;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, leak_soon, NULL), 0);
	assert_int_equal(snapsafe_wait(s, &generation, -1), 1);
	pthread_join(thread, NULL);
}

static void a_change_before_waiting_is_seen_at_once(void **state)
{
	uint64_t generation = snapsafe_generation(s);

	(void)state;
	fake_page_leak(&fake, 1, true);
	assert_int_equal(snapsafe_wait(s, &generation, -1), 1);
}

static void ignore(int number)
{
	(void)number;
}

static void waiting_is_interrupted_by_signals(void **state)
{
	struct itimerval soon = { .it_value.tv_usec = 30000 };
	struct sigaction act = { .sa_handler = ignore }, before;
	uint64_t generation = 0;

	(void)state;
	sigaction(SIGALRM, &act, &before);
	setitimer(ITIMER_REAL, &soon, NULL);
	assert_int_equal(snapsafe_wait(s, &generation, 10000), -EINTR);
	sigaction(SIGALRM, &before, NULL);
}

static void an_unwatched_counter_is_waited_for(void **state)
{
	(void)state;
	__atomic_store_n(&fake.page->unwatched, 1, __ATOMIC_RELEASE);
	assert_int_equal(snapsafe_wait(s, &(uint64_t){ 0 }, 30), 0);
}

static void callbacks_run_in_dispatch_once_a_change(void **state)
{
	struct told a = { 0 }, b = { 0 };

	(void)state;
	assert_int_equal(snapsafe_on_change(s, tell, &a), 0);
	assert_int_equal(snapsafe_on_change(s, tell, &b), 0);
	assert_int_equal(snapsafe_on_change(s, tell, &b), -EEXIST);
	assert_int_equal(snapsafe_dispatch(s), 0);
	assert_int_equal(a.calls, 0);
	fake_page_leak(&fake, 1, true);
	fake_page_leak(&fake, 2, true);
	assert_int_equal(a.calls, 0);
	assert_int_equal(snapsafe_dispatch(s), 1);
	assert_int_equal(a.calls, 1);
	assert_int_equal(b.generation, 2);
	assert_int_equal(snapsafe_off_change(s, tell, &a), 0);
	assert_int_equal(snapsafe_off_change(s, tell, &a), -ENOENT);
	fake_page_leak(&fake, 3, true);
	assert_int_equal(snapsafe_dispatch(s), 1);
	assert_int_equal(a.calls, 1);
	assert_int_equal(b.calls, 2);
	assert_int_equal(snapsafe_dispatch(s), 0);
}

static void a_change_between_registration_and_dispatch_counts(void **state)
{
	struct told told = { 0 };

	(void)state;
	assert_int_equal(snapsafe_on_change(s, tell, &told), 0);
	fake_page_leak(&fake, 1, true);
	assert_int_equal(snapsafe_dispatch(s), 1);
	assert_int_equal(told.calls, 1);
}

static void a_callback_may_take_itself_away(void **state)
{
	struct told told = { 0 };

	(void)state;
	assert_int_equal(snapsafe_on_change(s, tell_and_leave, &told), 0);
	for (int i = 0; i < 3; i++) {
		fake_page_leak(&fake, 1, true);
		assert_int_equal(snapsafe_dispatch(s), 1);
	}
	assert_int_equal(told.calls, 1);
}

static void there_is_room_for_32_callbacks(void **state)
{
	struct told told[33] = { 0 };

	(void)state;
	for (int i = 0; i < 32; i++)
		assert_int_equal(snapsafe_on_change(s, tell, &told[i]), 0);
	assert_int_equal(snapsafe_on_change(s, tell, &told[32]), -ENOSPC);
	fake_page_leak(&fake, 1, true);
	assert_int_equal(snapsafe_dispatch(s), 1);
	for (int i = 0; i < 32; i++)
		assert_int_equal(told[i].calls, 1);
}

static void the_descriptor_becomes_readable(void **state)
{
	struct pollfd fd = { .events = POLLIN };

	(void)state;
	fd.fd = snapsafe_fd(s);
	assert_true(fd.fd >= 0);
	assert_int_equal(snapsafe_fd(s), fd.fd);
	assert_int_equal(snapsafe_dispatch(s), 0);
	fake_page_leak(&fake, 1, true);
	assert_int_equal(poll(&fd, 1, 5000), 1);
	assert_int_equal(snapsafe_dispatch(s), 1);
	assert_int_equal(poll(&fd, 1, 0), 0);
}

static void a_child_has_a_descriptor_of_its_own(void **state)
{
	struct told told = { 0 };
	int fd = snapsafe_fd(s), status;
	pid_t pid;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(snapsafe_on_change(s, tell, &told), 0);
	pid = fork();
	if (pid == 0) {
		int own = snapsafe_fd(s);

		fake_page_leak(&fake, 1, true);
		if (own < 0 || poll(&(struct pollfd){ .fd = own, .events = POLLIN }, 1, 5000) != 1)
			_exit(1);
		_exit(snapsafe_dispatch(s) == 1 && told.calls == 1 ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(snapsafe_dispatch(s), 1);
}

/* Descriptor numbers from 3 on that this program had closed, and opened files of its own for. */
#define OWN 8

static bool own_files_were_touched(void)
{
	int own[OWN][2];
	char c;

	for (int i = 3; i < 64; i++)
		close(i);
	for (int i = 0; i < OWN; i++)
		if (pipe2(own[i], O_NONBLOCK) < 0 || write(own[i][1], "x", 1) != 1)
			return true;
	snapsafe_dispatch(s);
	if (snapsafe_fd(s) < 0)
		return true;
	snapsafe_close(s);
	for (int i = 0; i < OWN; i++)
		if (read(own[i][0], &c, 1) != 1 || write(own[i][1], "x", 1) != 1)
			return true;
	return false;
}

static int status_of(pid_t pid)
{
	int status;

	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* closed: by a forked child, or by the process that they belong to. plain: a counter that is read. */
static int own_files_status(bool forked, bool plain)
{
	pid_t pid = fork();
	bool touched;

	if (pid)
		return status_of(pid);
	if (plain) {
		snapsafe_close(s);
		if (snapsafe_open(&s, "/proc/swaps"))
			_exit(2);
	}
	if (snapsafe_fd(s) < 0)
		_exit(3);
	pid = forked ? fork() : 0;
	if (pid)
		_exit(WEXITSTATUS(status_of(pid)));
	touched = own_files_were_touched();
	_exit(touched);
}

static void descriptors_of_the_program_are_left_alone(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(own_files_status(i & 1, i & 2), 0);
}

static void a_child_that_closed_nothing_leaks_nothing(void **state)
{
	int before = snapsafe_fd(s), first, last;
	pid_t pid;

	(void)state;
	assert_true(before >= 0);
	first = dup(0);
	close(first);
	pid = fork();
	if (pid == 0) {
		if (snapsafe_fd(s) < 0)
			_exit(1);
		last = dup(0);
		_exit(last == first ? 0 : 2);
	}
	assert_int_equal(status_of(pid), 0);
}

static void *use_watch(void *data)
{
	struct told told = { 0 };

	for (int i = 0; i < 50; i++)
		if (snapsafe_on_change(s, tell, &told) || snapsafe_dispatch(s) < 0 ||
		    snapsafe_off_change(s, tell, &told))
			return data;
	return NULL;
}

static atomic_bool over;
static atomic_int started;

static void *keep_lock_busy(void *data)
{
	atomic_fetch_add(&started, 1);
	while (!atomic_load(&over))
		snapsafe_dispatch(s);
	return data;
}

static int two_threads_of_a_child(void)
{
	pthread_t threads[2];
	void *failed = NULL;
	int bad = 0;

	alarm(20); /* one that waits for a holder that is not there */
	for (int i = 0; i < 2; i++)
		bad |= pthread_create(&threads[i], NULL, use_watch, &failed);
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], &failed);
		bad |= failed != NULL;
	}
	return bad;
}

static void threads_of_a_child_do_not_wait_for_the_parents(void **state)
{
	pthread_t busy[2];

	(void)state;
#ifdef HAVE_TSAN
	return; /* it loses track of threads at a fork() of a process that has several */
#endif
	atomic_store(&over, false);
	atomic_store(&started, 0);
	assert_true(snapsafe_fd(s) >= 0);
	for (int i = 0; i < 2; i++)
		pthread_create(&busy[i], NULL, keep_lock_busy, NULL);
	/* A thread that begins holds locks of ASan, which a child of that moment would wait for. */
	while (atomic_load(&started) < 2)
		sched_yield();
	for (int i = 0; i < 200; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(two_threads_of_a_child());
		assert_int_equal(status_of(pid), 0);
	}
	atomic_store(&over, true);
	for (int i = 0; i < 2; i++)
		pthread_join(busy[i], NULL);
}

/* /proc/swaps: a file that can be polled, of which 8 bytes can be read, and which hardly ever changes. */
static void waiting_does_not_wake(void **state)
{
	struct rusage before, after;
	struct snapsafe *counter;
	uint64_t generation;

	(void)state;
	assert_int_equal(snapsafe_open(&counter, "/proc/swaps"), 0);
	generation = snapsafe_generation(counter);
	getrusage(RUSAGE_THREAD, &before);
	assert_int_equal(snapsafe_wait(counter, &generation, 3500), 0);
	getrusage(RUSAGE_THREAD, &after);
	assert_true(after.ru_nvcsw - before.ru_nvcsw <= 1);
	snapsafe_close(counter);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(waiting_ends_with_the_time, start, stop),
		cmocka_unit_test_setup_teardown(waiting_ends_with_a_change, start, stop),
		cmocka_unit_test_setup_teardown(waiting_for_ever_ends_with_a_change, start, stop),
		cmocka_unit_test_setup_teardown(a_change_before_waiting_is_seen_at_once, start, stop),
		cmocka_unit_test_setup_teardown(waiting_is_interrupted_by_signals, start, stop),
		cmocka_unit_test_setup_teardown(an_unwatched_counter_is_waited_for, start, stop),
		cmocka_unit_test_setup_teardown(callbacks_run_in_dispatch_once_a_change, start, stop),
		cmocka_unit_test_setup_teardown(a_change_between_registration_and_dispatch_counts, start, stop),
		cmocka_unit_test_setup_teardown(a_callback_may_take_itself_away, start, stop),
		cmocka_unit_test_setup_teardown(there_is_room_for_32_callbacks, start, stop),
		cmocka_unit_test_setup_teardown(the_descriptor_becomes_readable, start, stop),
		cmocka_unit_test_setup_teardown(a_child_has_a_descriptor_of_its_own, start, stop),
		cmocka_unit_test_setup_teardown(descriptors_of_the_program_are_left_alone, start, stop),
		cmocka_unit_test_setup_teardown(a_child_that_closed_nothing_leaks_nothing, start, stop),
		cmocka_unit_test_setup_teardown(threads_of_a_child_do_not_wait_for_the_parents, start, stop),
		cmocka_unit_test_setup_teardown(waiting_does_not_wake, start, stop),
	};

	return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
