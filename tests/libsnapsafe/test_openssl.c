// SPDX-License-Identifier: Apache-2.0
/*
 * The OpenSSL provider, as a program sees it that knows nothing of it: all is
 * in the environment. OPENSSL_CONF and OPENSSL_MODULES come from the build.
 */
#include "fake.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 4
#define DRAWS	20000

static struct fake_page fake;
static uint8_t drawn[THREADS][DRAWS][16];

static bool is_ours(EVP_RAND_CTX *ctx)
{
	return strcmp(EVP_RAND_get0_name(EVP_RAND_CTX_get0_rand(ctx)), "SNAPSAFE") == 0;
}

static void every_generator_of_a_program_is_ours(void **state)
{
	(void)state;
	assert_true(is_ours(RAND_get0_primary(NULL)));
	assert_true(is_ours(RAND_get0_public(NULL)));
	assert_true(is_ours(RAND_get0_private(NULL)));
	assert_int_equal(RAND_status(), 1);
}

static void *draw(void *data)
{
	uint8_t(*own)[16] = data;

	for (int i = 0; i < DRAWS; i++)
		if ((i % 2 ? RAND_bytes : RAND_priv_bytes)(own[i], 16) != 1)
			return own;
	return NULL;
}

static void threads_draw_different_bytes_across_leaks(void **state)
{
	pthread_t threads[THREADS];
	struct fake_seen seen;
	void *failed;

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, draw, drawn[i]), 0);
	for (uint64_t i = 0; i < 50; i++) {
		fake_page_leak(&fake, i + 1, i % 2);
		usleep(100);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	fake_seen_init(&seen, THREADS * DRAWS);
	for (int i = 0; i < THREADS; i++)
		for (int k = 0; k < DRAWS; k++)
			assert_true(fake_seen_add(&seen, drawn[i][k]));
	fake_seen_fini(&seen);
}

static void a_child_draws_other_bytes(void **state)
{
	uint8_t *shared = fake_shared(4096), own[2048];
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(RAND_bytes(own, 16), 1);
	pid = fork();
	if (pid == 0)
		_exit(RAND_bytes(shared, sizeof(own)) != 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(RAND_bytes(own, sizeof(own)), 1);
	assert_false(fake_have_common(own, shared, sizeof(own)));
}

static void large_requests_are_filled(void **state)
{
	size_t len = 3 << 20;
	uint8_t *buf = calloc(1, len);

	(void)state;
	assert_int_equal(RAND_bytes(buf, (int)len), 1);
	assert_false(fake_have_common(buf, buf + len / 2, len / 2));
	free(buf);
}

static void prediction_resistance_and_input_are_accepted(void **state)
{
	EVP_RAND_CTX *ctx = RAND_get0_public(NULL);
	unsigned char buf[1000] = { 0 }, input[] = "input";

	(void)state;
	assert_int_equal(EVP_RAND_generate(ctx, buf, sizeof(buf), 256, 1, input, sizeof(input)), 1);
	assert_int_equal(EVP_RAND_reseed(ctx, 1, input, sizeof(input), NULL, 0), 1);
	RAND_add(input, sizeof(input), 1.0);
	assert_int_equal(EVP_RAND_generate(ctx, buf, sizeof(buf), 257, 0, NULL, 0), 0);
}

static void it_can_seed_another_generator(void **state)
{
	EVP_RAND *type = EVP_RAND_fetch(NULL, "CTR-DRBG", NULL);
	EVP_RAND_CTX *ctx = EVP_RAND_CTX_new(type, RAND_get0_primary(NULL));
	char cipher[] = "AES-256-CTR";
	OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_DRBG_PARAM_CIPHER, cipher, 0),
				OSSL_PARAM_construct_end() };
	unsigned char buf[64];

	(void)state;
	assert_non_null(ctx);
	assert_int_equal(EVP_RAND_instantiate(ctx, 256, 0, NULL, 0, params), 1);
	assert_int_equal(EVP_RAND_generate(ctx, buf, sizeof(buf), 256, 0, NULL, 0), 1);
	assert_int_equal(EVP_RAND_reseed(ctx, 0, NULL, 0, NULL, 0), 1);
	EVP_RAND_CTX_free(ctx);
	EVP_RAND_free(type);
}

static void keys_can_be_made(void **state)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");

	(void)state;
	assert_non_null(key);
	EVP_PKEY_free(key);
}

#ifndef HAVE_SANITIZER
static void without_a_counter_it_works_as_well(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		setenv("SNAPSAFE_DEVICE", "none", 1);
		execlp("openssl", "openssl", "rand", "-out", "/dev/null", "16", (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}
#endif

/* Where all algorithms must be a FIPS module's: ours is found, as the configuration names it, and claims nothing. */
static void a_fips_default_does_not_hide_it(void **state)
{
	EVP_RAND *claims = EVP_RAND_fetch(NULL, "SNAPSAFE", "fips=yes");
	uint8_t bytes[32];

	(void)state;
	assert_null(claims);
	assert_null(EVP_MD_fetch(NULL, "SHA256", NULL)); /* the default is in force */
	assert_true(is_ours(RAND_get0_public(NULL)));
	assert_true(is_ours(RAND_get0_private(NULL)));
	assert_int_equal(RAND_bytes(bytes, sizeof(bytes)), 1);
	assert_int_equal(RAND_priv_bytes(bytes, sizeof(bytes)), 1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest fips_tests[] = {
		cmocka_unit_test(a_fips_default_does_not_hide_it),
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_generator_of_a_program_is_ours),
		cmocka_unit_test(threads_draw_different_bytes_across_leaks),
		cmocka_unit_test(a_child_draws_other_bytes),
		cmocka_unit_test(large_requests_are_filled),
		cmocka_unit_test(prediction_resistance_and_input_are_accepted),
		cmocka_unit_test(it_can_seed_another_generator),
		cmocka_unit_test(keys_can_be_made),
#ifndef HAVE_SANITIZER
		cmocka_unit_test(without_a_counter_it_works_as_well),
#endif
	};

	(void)argv;
	fake_page_init(&fake);
	setenv("SNAPSAFE_DEVICE", fake.path, 1);
	if (argc > 1)
		return cmocka_run_group_tests_name("openssl_fips", fips_tests, NULL, NULL);
	return cmocka_run_group_tests_name("openssl", tests, NULL, NULL);
}
