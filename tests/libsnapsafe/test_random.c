// SPDX-License-Identifier: Apache-2.0
/*
 * What snapsafe_random() promises across leaks, clones and forks, with the event
 * between any two steps of it. A clone is a child that keeps all memory, on a
 * kernel that repeats itself.
 */
#include "fake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snapsafe.h"

#define STREAM_LEN (1 << 20)
#define SHORT_LEN  (128 << 10) /* more than comes from one seed */

static struct fake_page fake;
static struct snapsafe *s;

static int start(void **state)
{
	(void)state;
	fake_page_init(&fake);
	return snapsafe_open(&s, fake.path);
}

static int start_unwiped(void **state)
{
	fake_wipe_unsupported(true);
	return start(state);
}

static int start_vdso(void **state)
{
	fake_vdso(true);
	return start(state);
}

static int start_cloning(void **state)
{
	fake_fork_clones(true);
	fake_kernel_repeats(true);
	return start(state);
}

static int stop(void **state)
{
	(void)state;
	snapsafe_close(s);
	fake_page_fini(&fake);
	fake_fork_clones(false);
	fake_kernel_repeats(false);
	fake_kernel_fails(0);
	fake_wipe_unsupported(false);
	fake_vdso(false);
	sns_test_hook = NULL;
	return 0;
}

static size_t drawn; /* where draw() is */

static void draw(uint8_t *buf, size_t len, size_t each)
{
	for (drawn = 0; drawn + each <= len; drawn += each)
		if (snapsafe_random(s, buf + drawn, each))
			_exit(99);
}

static void run_child(pid_t pid)
{
	int status;

	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void bytes_do_not_repeat(void **state)
{
	struct fake_seen seen;
	uint8_t buf[16];

	(void)state;
	fake_seen_init(&seen, 200000);
	for (int i = 0; i < 200000; i++) {
		assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
		assert_true(fake_seen_add(&seen, buf));
	}
	fake_seen_fini(&seen);
}

static void any_length_is_filled_and_nothing_more(void **state)
{
	static const size_t lengths[] = { 0, 1, 15, 16, 31, 511, 512, 513, 1504, 1505, 4096, 1 << 20 };
	uint8_t *buf = malloc((1 << 20) + 1);

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		size_t len = lengths[i], zeros = 0, most_zeros = 0; /* in a row */

		memset(buf, 0, len);
		buf[len] = 0x5c;
		assert_int_equal(snapsafe_random(s, buf, len), 0);
		assert_int_equal(buf[len], 0x5c);
		for (size_t k = 0; k < len; k++) {
			zeros = buf[k] ? 0 : zeros + 1;
			most_zeros = zeros > most_zeros ? zeros : most_zeros;
		}
		assert_true(most_zeros < 8); /* of random bytes: once in 2^44 calls with a mebibyte */
	}
	free(buf);
}

static void the_kernel_is_asked_once_for_many(void **state)
{
	uint64_t calls = fake_kernel_calls();
	uint8_t buf[16];

	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
	assert_int_equal(fake_kernel_calls() - calls, 1);
	for (int i = 0; i < 10000; i++)
		assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
	assert_true(fake_kernel_calls() - calls > 1);
}

static void a_leak_throws_the_buffer_away(void **state)
{
	uint64_t calls;
	uint8_t buf[16];

	(void)state;
	assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
	calls = fake_kernel_calls();
	fake_page_leak(&fake, 1, true);
	assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
	assert_int_equal(fake_kernel_calls() - calls, 1);
}

static void nothing_is_kept_until_the_kernel_is_fresh(void **state)
{
	uint64_t calls = fake_kernel_calls();
	uint8_t buf[16];

	(void)state;
	fake_page_leak(&fake, 1, false);
	for (int i = 0; i < 10; i++)
		assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
	assert_int_equal(fake_kernel_calls() - calls, 10);
	fake_page_set_generation(&fake, 1);
	for (int i = 0; i < 10; i++)
		assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
	assert_int_equal(fake_kernel_calls() - calls, 11);
}

/* Runs the library in two machines that were one until now. same: nothing tells them apart. */
static bool clones_share(bool same, bool reseeded, size_t each)
{
	uint8_t *streams = fake_shared(2 * STREAM_LEN);
	uint64_t generation = fake.page->generation, reseeded_before = fake.page->reseeded;
	bool common;

	for (int i = 0; i < 2; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			if (!same)
				fake_page_leak(&fake, (uint64_t)i + 100, reseeded);
			draw(streams + i * STREAM_LEN, STREAM_LEN, each);
			_exit(0);
		}
		run_child(pid);
		fake.page->generation = generation;
		fake.page->reseeded = reseeded_before;
	}
	common = fake_have_common(streams, streams + STREAM_LEN, STREAM_LEN);
	munmap(streams, 2 * STREAM_LEN);
	return common;
}

/* Shows that the tests below would notice. */
static void machines_that_nobody_tells_apart_do_repeat(void **state)
{
	uint8_t buf[16];

	(void)state;
	assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
	assert_true(clones_share(true, true, 16));
	assert_true(clones_share(true, true, 1024));
}

static void clones_share_nothing_in_a_megabyte(void **state)
{
	uint8_t buf[16];

	(void)state;
	assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
	assert_false(clones_share(false, true, 16));
	assert_false(clones_share(false, true, 1024));
}

static void clones_share_nothing_while_their_kernels_are_stale(void **state)
{
	uint8_t buf[16];

	(void)state;
	assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
	assert_false(clones_share(false, false, 16));
	assert_false(clones_share(false, false, 1024));
}

/* The snapshot is taken at this point, and at none after it. */
static enum sns_point snapshot_point;
static uint8_t *other_stream; /* of the clone */
static pid_t other;
static size_t parted; /* what was handed out before is in both machines, by nature */

static void snapshot_here(enum sns_point point)
{
	uint64_t generation = fake.page->generation;

	if (point != snapshot_point)
		return;
	sns_test_hook = NULL;
	parted = drawn;
	other = fork();
	if (other == 0) {
		fake_page_leak(&fake, 200, false);
		return;
	}
	run_child(other);
	fake.page->generation = generation;
	fake_page_leak(&fake, 300, false);
}

static void snapshot_at(enum sns_point point, size_t each, bool prefill)
{
	uint8_t *own = malloc(SHORT_LEN);
	uint8_t buf[16];

	fake_page_set_generation(&fake, 0);
	if (prefill)
		assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
	other_stream = fake_shared(SHORT_LEN);
	other = -1;
	snapshot_point = point;
	sns_test_hook = snapshot_here;
	draw(own, SHORT_LEN, each);
	if (other == 0) {
		memcpy(other_stream, own, SHORT_LEN);
		_exit(0);
	}
	assert_true(other > 0); /* the point was passed */
	assert_true(parted <= SHORT_LEN / 2 || point == SNS_POINT_SEED);
	assert_false(fake_have_common(own + parted, other_stream + parted, SHORT_LEN - parted));
	munmap(other_stream, SHORT_LEN);
	free(own);
}

static void a_snapshot_at_any_step_is_harmless(void **state)
{
	static const enum sns_point points[] = { SNS_POINT_SEED, SNS_POINT_REFILL, SNS_POINT_COPY, SNS_POINT_CHECK };

	(void)state;
	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		snapshot_at(points[i], 16, false);
		snapshot_at(points[i], 512, true);
	}
	snapshot_at(SNS_POINT_SEED, 4096, true);
	snapshot_at(SNS_POINT_DIRECT, 4096, true);
}

/* The same with fork(), in a signal handler as it were. */
static void fork_here(enum sns_point point)
{
	if (point != snapshot_point)
		return;
	sns_test_hook = NULL;
	parted = drawn;
	other = fork();
	if (other > 0)
		run_child(other);
}

static void fork_at(enum sns_point point, size_t each)
{
	uint8_t *own = malloc(SHORT_LEN);

	fake_page_set_generation(&fake, fake.page->generation + 1);
	other_stream = fake_shared(SHORT_LEN);
	other = -1;
	snapshot_point = point;
	sns_test_hook = fork_here;
	draw(own, SHORT_LEN, each);
	if (other == 0) {
		memcpy(other_stream, own, SHORT_LEN);
		_exit(0);
	}
	assert_true(other > 0);
	assert_true(parted <= SHORT_LEN / 2 || point == SNS_POINT_SEED);
	assert_false(fake_have_common(own + parted, other_stream + parted, SHORT_LEN - parted));
	munmap(other_stream, SHORT_LEN);
	free(own);
}

static void a_fork_at_any_step_is_harmless(void **state)
{
	(void)state;
	fake_kernel_repeats(true); /* parent and child: nothing but the process tells them apart */
	for (enum sns_point point = SNS_POINT_SEED; point <= SNS_POINT_CHECK; point++)
		fork_at(point, 16);
	fork_at(SNS_POINT_SEED, 4096);
	fork_at(SNS_POINT_DIRECT, 4096);
}

static void children_and_grandchildren_share_nothing(void **state)
{
	uint8_t *streams = fake_shared(4 * SHORT_LEN);
	uint8_t buf[16];
	pid_t pid;

	(void)state;
	assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
	for (int i = 0; i < 2; i++) {
		pid = fork();
		if (pid == 0) {
			pid_t grandchild = i == 0 ? fork() : -1;

			if (grandchild > 0)
				waitpid(grandchild, NULL, 0);
			draw(streams + (grandchild == 0 ? 3 : i) * SHORT_LEN, SHORT_LEN, 16);
			_exit(0);
		}
		run_child(pid);
	}
	draw(streams + 2 * SHORT_LEN, SHORT_LEN, 16);
	for (int a = 0; a < 4; a++)
		for (int b = a + 1; b < 4; b++)
			assert_false(fake_have_common(streams + a * SHORT_LEN, streams + b * SHORT_LEN, SHORT_LEN));
	munmap(streams, 4 * SHORT_LEN);
}

static void tokens_end_with_leaks_and_forks(void **state)
{
	struct snapsafe_token token = snapsafe_token(s), child;
	pid_t pid;

	(void)state;
	assert_true(snapsafe_holds(s, &token));
	pid = fork();
	if (pid == 0) {
		child = snapsafe_token(s);
		_exit(snapsafe_holds(s, &token) || !snapsafe_holds(s, &child));
	}
	run_child(pid);
	assert_true(snapsafe_holds(s, &token));
	fake_page_leak(&fake, 1, false);
	assert_false(snapsafe_holds(s, &token));
	token = snapsafe_token(s);
	assert_true(snapsafe_holds(s, &token));
}

static void tokens_of_another_counter_do_not_hold(void **state)
{
	struct snapsafe_token token = snapsafe_token(s);
	struct snapsafe *same;

	(void)state;
	assert_int_equal(snapsafe_open(&same, fake.path), 0);
	assert_false(snapsafe_holds(same, &token));
	snapsafe_close(same);
}

static void a_kernel_that_refuses_is_an_error_and_zeros(void **state)
{
	static const size_t lengths[] = { 16, 4096 };
	static const uint8_t zeros[4096];
	uint8_t buf[4096];

	(void)state;
	fake_kernel_fails(EPERM);
	for (int i = 0; i < 2; i++) {
		memset(buf, 1, sizeof(buf));
		fake_page_leak(&fake, 1, i == 0);
		errno = 1234;
		assert_int_equal(snapsafe_random(s, buf, lengths[i]), -EPERM);
		assert_int_equal(errno, 1234);
		assert_memory_equal(buf, zeros, lengths[i]);
	}
}

static void leak_again(enum sns_point point)
{
	if (point == SNS_POINT_CHECK || point == SNS_POINT_DIRECT)
		fake_page_leak(&fake, 7, true);
}

static void a_counter_that_never_stands_still_is_eagain(void **state)
{
	uint8_t buf[16], zeros[16] = { 0 };

	(void)state;
	sns_test_hook = leak_again;
	assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), -EAGAIN);
	assert_memory_equal(buf, zeros, sizeof(buf));
	sns_test_hook = NULL;
	assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
}

static void without_wiped_memory_nothing_is_kept(void **state)
{
	uint64_t calls = fake_kernel_calls();
	uint8_t buf[16];

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
	assert_int_equal(fake_kernel_calls() - calls, 10);
}

/* 60 s, as the kernel's own; a program that draws a byte a day does not keep a key. */
static void a_seed_does_not_get_old(void **state)
{
	uint64_t calls = fake_kernel_calls();
	uint8_t buf[16];

	(void)state;
	for (int i = 0; i < 6; i++) {
		assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
		fake_time_passes(59);
		assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
		assert_int_equal(fake_kernel_calls() - calls, i + 1);
		fake_time_passes(1);
	}
}

static size_t page_to_drop;

static void drop_here(enum sns_point point)
{
	if (point == snapshot_point)
		fake_drop_page(page_to_drop);
}

/* Each page at each step, again and again: nothing repeats, nothing is zeros, no neighbour is hurt. */
static void pages_may_vanish_at_any_step(void **state)
{
	uint8_t *own = malloc(SHORT_LEN);
	struct fake_seen seen;

	(void)state;
	assert_true(fake_secret_pages() > 1);
	fake_seen_init(&seen, fake_secret_pages() * 4 * 8);
	for (page_to_drop = 0; page_to_drop < fake_secret_pages(); page_to_drop++)
		for (snapshot_point = SNS_POINT_SEED; snapshot_point <= SNS_POINT_CHECK; snapshot_point++) {
			sns_test_hook = drop_here;
			draw(own, 8 * 16, 16);
			sns_test_hook = NULL;
			for (size_t i = 0; i < 8; i++)
				assert_true(fake_seen_add(&seen, own + i * 16));
		}
	fake_seen_fini(&seen);
	free(own);
}

/* What smaps says of the memory with a slot's bytes. */
static bool secrets_have_flag(const char *flag)
{
	FILE *maps = fopen("/proc/self/smaps", "r");
	char line[512];
	bool wiped = false, flagged = false;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps) && !flagged)
		if (strncmp(line, "VmFlags:", 8) == 0) {
			wiped = strstr(line, " wf") != NULL;
			flagged = wiped && strstr(line, flag);
		}
	fclose(maps);
	return flagged;
}

static void secrets_are_not_swapped(void **state)
{
	void *p = mmap(NULL, 4096, PROT_READ, MAP_ANONYMOUS | 0x08, -1, 0); /* MAP_DROPPABLE */
	uint8_t buf[16];

	(void)state;
	assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
	assert_true(secrets_have_flag(p == MAP_FAILED ? " lo" : " dp"));
	if (p != MAP_FAILED)
		munmap(p, 4096);
}

static void a_vdso_is_used_as_it_is(void **state)
{
	static const size_t lengths[] = { 1, 16, 512 };
	uint64_t calls = fake_vdso_calls(), all = fake_kernel_calls();
	uint8_t buf[4096];

	(void)state;
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(snapsafe_random(s, buf, lengths[i]), 0);
	assert_int_equal(fake_vdso_calls() - calls, 3);
	assert_int_equal(fake_kernel_calls() - all, 3);
	/* a large one: a key of its own, and a faster cipher */
	assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
	assert_int_equal(fake_vdso_calls() - calls, 3);
	assert_int_equal(fake_kernel_calls() - all, 4);
	/* a kernel that may repeat itself: by system call, with the identity in it */
	fake_page_leak(&fake, 1, false);
	assert_int_equal(snapsafe_random(s, buf, 16), 0);
	assert_int_equal(fake_vdso_calls() - calls, 3);
	assert_int_equal(fake_kernel_calls() - all, 5);
}

static void leak_once(enum sns_point point)
{
	sns_test_hook = NULL;
	if (point == SNS_POINT_DIRECT)
		fake_page_leak(&fake, 9, true);
}

static void bytes_of_the_vdso_are_checked_too(void **state)
{
	uint64_t calls = fake_vdso_calls();
	uint8_t buf[16];

	(void)state;
	sns_test_hook = leak_once;
	assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
	assert_int_equal(fake_vdso_calls() - calls, 2);
}

static void clones_share_nothing_by_the_vdso(void **state)
{
	uint8_t buf[16];

	(void)state;
	assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
	assert_false(clones_share(false, false, 16));
}

static int start_cloning_vdso(void **state)
{
	fake_vdso(true);
	return start_cloning(state);
}

static jmp_buf escape;

static void jump_out(enum sns_point point)
{
	if (point == SNS_POINT_COPY)
		longjmp(escape, 1);
}

/* As a signal handler might: each costs a slot; when all are gone there is the direct way. */
static void leaving_by_longjmp_costs_speed_only(void **state)
{
	uint64_t calls;
	uint8_t buf[16];

	(void)state;
	sns_test_hook = jump_out;
	for (volatile int i = 0; i < 200; i++)
		if (setjmp(escape) == 0)
			assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
	sns_test_hook = NULL;
	calls = fake_kernel_calls();
	for (int i = 0; i < 10; i++)
		assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
	assert_int_equal(fake_kernel_calls() - calls, 10);
}

/*
 * Looks through all writable memory of this process but the stack, as who reads
 * a core dump would. By a copy: sanitizers watch over the original.
 */
static bool memory_holds(const uint8_t *bytes, size_t len)
{
	FILE *maps = fopen("/proc/self/maps", "r"), *mem = fopen("/proc/self/mem", "r");
	size_t max = 64 << 20;
	uint8_t *copy = malloc(max);
	char line[512], access[8];
	unsigned long from, to;
	bool found = false;

	assert_non_null(maps);
	assert_non_null(mem);
	assert_non_null(copy);
	setvbuf(mem, NULL, _IONBF, 0);
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %7s", &from, &to, access) != 3 || strncmp(access, "rw", 2) != 0)
			continue;
		if (strstr(line, "[stack]") || to - from > max)
			continue;
		if (fseek(mem, (long)from, SEEK_SET) == 0)
			found |= memmem(copy, fread(copy, 1, to - from, mem), bytes, len) != NULL;
	}
	free(copy);
	fclose(mem);
	fclose(maps);
	return found;
}

static uint8_t planted[64];

/* Without the sanitizer, which keeps variables elsewhere. */
__attribute__((no_sanitize_address)) static void used_bytes_are_erased(void **state)
{
	uint8_t buf[64]; /* on the stack, which is not searched */

	(void)state;
	assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
	assert_false(memory_holds(buf, sizeof(buf)));
	memcpy(planted, buf, sizeof(buf));
	assert_memory_equal(planted, buf, sizeof(buf)); /* or the compiler leaves the copy out */
	assert_true(memory_holds(buf, sizeof(buf)));
}

#define CASE(test)	 cmocka_unit_test_setup_teardown(test, start, stop)
#define CLONE_CASE(test) cmocka_unit_test_setup_teardown(test, start_cloning, stop)

/* Clones first: whether memory is wiped is decided once in a process. */
int main(int argc, char **argv)
{
	const struct CMUnitTest clone_tests[] = {
		CLONE_CASE(machines_that_nobody_tells_apart_do_repeat),
		CLONE_CASE(clones_share_nothing_in_a_megabyte),
		CLONE_CASE(clones_share_nothing_while_their_kernels_are_stale),
		CLONE_CASE(a_snapshot_at_any_step_is_harmless),
		cmocka_unit_test_setup_teardown(clones_share_nothing_by_the_vdso, start_cloning_vdso, stop),
	};
	const struct CMUnitTest tests[] = {
		CASE(bytes_do_not_repeat),
		CASE(any_length_is_filled_and_nothing_more),
		CASE(the_kernel_is_asked_once_for_many),
		CASE(a_leak_throws_the_buffer_away),
		CASE(nothing_is_kept_until_the_kernel_is_fresh),
		CASE(a_fork_at_any_step_is_harmless),
		CASE(children_and_grandchildren_share_nothing),
		CASE(tokens_end_with_leaks_and_forks),
		CASE(tokens_of_another_counter_do_not_hold),
		CASE(a_kernel_that_refuses_is_an_error_and_zeros),
		CASE(a_counter_that_never_stands_still_is_eagain),
		cmocka_unit_test_setup_teardown(without_wiped_memory_nothing_is_kept, start_unwiped, stop),
		CASE(a_seed_does_not_get_old),
		CASE(pages_may_vanish_at_any_step),
		CASE(secrets_are_not_swapped),
		cmocka_unit_test_setup_teardown(a_vdso_is_used_as_it_is, start_vdso, stop),
		cmocka_unit_test_setup_teardown(bytes_of_the_vdso_are_checked_too, start_vdso, stop),
		CASE(leaving_by_longjmp_costs_speed_only),
		CASE(used_bytes_are_erased),
	};

	(void)argv;
	setenv("SNAPSAFE_DEVICE", "none", 1);
	if (argc > 1)
		return cmocka_run_group_tests_name("clones", clone_tests, NULL, NULL);
	return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}
