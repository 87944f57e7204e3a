// SPDX-License-Identifier: Apache-2.0
/* The provider's own code, on a kernel that is interrupted, gives less than asked for, or refuses. */
#define syscall test_syscall
long test_syscall(long number, ...);
#include "../../guest/openssl/provider.c"
#undef syscall

#include <setjmp.h>
#include <cmocka.h>
#include <stdbool.h>

static int interruptions, calls;
static bool refuses;
static unsigned char *last_buffer;

/* Bytes of 0x11. Half of what is asked for at a time. */
long test_syscall(long number, ...)
{
	va_list args;
	size_t len;

	assert_int_equal(number, SYS_getrandom);
	va_start(args, number);
	last_buffer = va_arg(args, unsigned char *);
	len = va_arg(args, size_t);
	va_end(args);
	calls++;
	if (interruptions) {
		interruptions--;
		errno = EINTR;
		return -1;
	}
	if (refuses && calls > 3) {
		errno = EPERM;
		return -1;
	}
	len = len > 1 ? len / 2 : len;
	memset(last_buffer, 0x11, len);
	return (long)len;
}

static struct provider provider; /* without functions of a libcrypto: errors are not kept */
static struct node node = { .provider = &provider, .state = EVP_RAND_STATE_READY };

static int start(void **state)
{
	(void)state;
	interruptions = calls = 0;
	refuses = false;
	return 0;
}

static int generate(unsigned char *out, size_t len)
{
	return rand_generate(&node, out, len, STRENGTH, 1, NULL, 0);
}

static void an_interrupted_kernel_is_asked_again(void **state)
{
	unsigned char buf[600] = { 0 };

	(void)state;
	interruptions = 2;
	assert_int_equal(generate(buf, sizeof(buf)), 1);
	assert_true(calls > 5);
}

static void every_byte_is_mixed(void **state)
{
	unsigned char out[600] = { 0 };

	(void)state;
	assert_int_equal(node_mix_kernel(&node, out, sizeof(out)), 1);
	for (size_t i = 0; i < sizeof(out); i++)
		assert_int_equal(out[i], 0x11);
}

static void what_failed_half_way_is_wiped(void **state)
{
	unsigned char buf[600], *seed = NULL;
	static const unsigned char zeros[sizeof(buf)];

	(void)state;
	refuses = true;
	memset(buf, 1, sizeof(buf));
	assert_int_equal(generate(buf, sizeof(buf)), 0);
	assert_memory_equal(buf, zeros, sizeof(buf));
	assert_int_equal(rand_get_seed(&node, &seed, 256, 32, 64, 1, NULL, 0), 0);
	assert_null(seed);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(HAVE_SANITIZER)
/* The kernel's bytes are not left on the stack either. */
static void the_kernels_bytes_are_wiped(void **state)
{
	unsigned char out[600] = { 0 }, copy[16];
	const unsigned char *volatile stale;

	(void)state;
	refuses = true;
	assert_int_equal(node_mix_kernel(&node, out, sizeof(out)), 0);
	/* where getrandom was last asked to write: behind bytes that it had written */
	stale = last_buffer - sizeof(copy);
	for (size_t i = 0; i < sizeof(copy); i++)
		copy[i] = ((const volatile unsigned char *)stale)[i];
	for (size_t i = 0; i < sizeof(copy); i++)
		assert_int_not_equal(copy[i], 0x11);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(an_interrupted_kernel_is_asked_again, start),
		cmocka_unit_test_setup(every_byte_is_mixed, start),
		cmocka_unit_test_setup(what_failed_half_way_is_wiped, start),
#if !defined(__SANITIZE_ADDRESS__) && !defined(HAVE_SANITIZER)
		cmocka_unit_test_setup(the_kernels_bytes_are_wiped, start),
#endif
	};

	return cmocka_run_group_tests_name("provider", tests, NULL, NULL);
}
