// SPDX-License-Identifier: Apache-2.0
/* Threads that draw while another one makes leaks, more of them than there are processors. */
#include "fake.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
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

#define THREADS 12
#define DRAWS	20000

static struct fake_page fake;
static struct snapsafe *s;
static atomic_bool over;
static atomic_int held;
static uint8_t bytes[THREADS][DRAWS][16];

static void *draw(void *data)
{
	uint8_t(*own)[16] = data;

	for (int i = 0; i < DRAWS; i++) {
		struct snapsafe_token token = snapsafe_token(s);

		if (snapsafe_random(s, own[i], 16))
			return own;
		atomic_fetch_add(&held, snapsafe_holds(s, &token));
	}
	return NULL;
}

static void *leak(void *data)
{
	(void)data;
	for (uint64_t i = 1; !atomic_load(&over); i++) {
		fake_page_leak(&fake, i, i % 4 != 0);
		usleep(200);
	}
	return NULL;
}

static void *dispatch(void *data)
{
	(void)data;
	while (!atomic_load(&over)) {
		snapsafe_dispatch(s);
		usleep(500);
	}
	return NULL;
}

static int start(void **state)
{
	(void)state;
	atomic_store(&over, false);
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

static void threads_share_nothing(void **state)
{
	pthread_t threads[THREADS], leaker, dispatcher;
	struct fake_seen seen;
	void *failed;

	(void)state;
	pthread_create(&leaker, NULL, leak, NULL);
	pthread_create(&dispatcher, NULL, dispatch, NULL);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, draw, bytes[i]), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	assert_true(atomic_load(&held) > 0);
	atomic_store(&over, true);
	pthread_join(leaker, NULL);
	pthread_join(dispatcher, NULL);

	fake_seen_init(&seen, THREADS * DRAWS);
	for (int i = 0; i < THREADS; i++)
		for (int k = 0; k < DRAWS; k++)
			assert_true(fake_seen_add(&seen, bytes[i][k]));
	fake_seen_fini(&seen);
}

/* Children are made while other threads hold slots and locks. */
static void children_of_threads_work_and_share_nothing(void **state)
{
	uint8_t(*out)[16] = fake_shared(64 * 16);
	pthread_t threads[4];
	struct fake_seen seen;
	int status;

	(void)state;
#ifdef HAVE_TSAN
	return; /* it loses track of threads at a fork() of a process that has several */
#endif
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, draw, bytes[i]), 0);
	for (int i = 0; i < 64; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(snapsafe_random(s, out[i], 16) || snapsafe_dispatch(s) < 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	fake_seen_init(&seen, 4 * DRAWS + 64);
	for (int i = 0; i < 64; i++)
		assert_true(fake_seen_add(&seen, out[i]));
	for (int i = 0; i < 4; i++)
		for (int k = 0; k < DRAWS; k++)
			assert_true(fake_seen_add(&seen, bytes[i][k]));
	fake_seen_fini(&seen);
}

static void *use_default(void *data)
{
	if (snapsafe_init())
		return data;
	return snapsafe_random(NULL, data, 16) || snapsafe_generation(NULL) != 0 ? data : NULL;
}

static void threads_may_race_for_the_default_handle(void **state)
{
	pthread_t threads[THREADS];
	void *failed;

	(void)state;
	setenv("SNAPSAFE_DEVICE", fake.path, 1);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_default, bytes[i]), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(threads_may_race_for_the_default_handle, start, stop),
		cmocka_unit_test_setup_teardown(threads_share_nothing, start, stop),
		cmocka_unit_test_setup_teardown(children_of_threads_work_and_share_nothing, start, stop),
	};

	return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
