// SPDX-License-Identifier: Apache-2.0
/* Random bytes drawn by a signal handler that interrupts drawing, with leaks in between. */
#include "fake.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "snapsafe.h"

#define IN_HANDLER 4000
#define IN_MAIN	   400000

static struct fake_page fake;
static struct snapsafe *s;
static uint8_t handler_bytes[IN_HANDLER][16];
static volatile sig_atomic_t handler_calls, handler_failed;

static void on_alarm(int number)
{
	int n = handler_calls;

	(void)number;
	if (n >= IN_HANDLER)
		return;
	if (n % 16 == 0)
		fake_page_leak(&fake, (uint64_t)n + 1, n % 32 == 0);
	if (snapsafe_random(s, handler_bytes[n], 16))
		handler_failed = 1;
	handler_calls = n + 1;
}

static void handlers_and_what_they_interrupt_share_nothing(void **state)
{
	struct itimerval often = { .it_interval.tv_usec = 50, .it_value.tv_usec = 50 }, never = { 0 };
	struct sigaction act = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	uint8_t(*bytes)[16] = malloc(IN_MAIN * sizeof(*bytes));
	struct fake_seen seen;

	(void)state;
	fake_page_init(&fake);
	assert_int_equal(snapsafe_open(&s, fake.path), 0);
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < IN_MAIN; i++)
		assert_int_equal(snapsafe_random(s, bytes[i], 16), 0);
	setitimer(ITIMER_REAL, &never, NULL);
	assert_false(handler_failed);
	assert_true(handler_calls > 10);

	fake_seen_init(&seen, IN_MAIN + IN_HANDLER);
	for (int i = 0; i < IN_MAIN; i++)
		assert_true(fake_seen_add(&seen, bytes[i]));
	for (int i = 0; i < handler_calls; i++)
		assert_true(fake_seen_add(&seen, handler_bytes[i]));
	fake_seen_fini(&seen);
	free(bytes);
	snapsafe_close(s);
	fake_page_fini(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handlers_and_what_they_interrupt_share_nothing),
	};

	setenv("SNAPSAFE_DEVICE", "none", 1);
	return cmocka_run_group_tests_name("signals", tests, NULL, NULL);
}
