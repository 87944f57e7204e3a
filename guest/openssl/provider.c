// SPDX-License-Identifier: Apache-2.0
/*
 * An OpenSSL provider with one algorithm: the random generator "SNAPSAFE".
 *
 * With `random = SNAPSAFE` in openssl.cnf (see openssl.cnf beside this file)
 * RAND_bytes() and all that OpenSSL makes from it comes from libsnapsafe: fresh
 * in each life of the machine, in each process, and different in each clone.
 *
 * OpenSSL builds a tree: a seed source, a primary generator seeded by it, and a
 * public and a private one for each thread, seeded by the primary. That is the
 * very state that a snapshot duplicates and that OpenSSL has no way to notice.
 * Here every node of the tree asks libsnapsafe for every byte and keeps nothing,
 * so there is nothing to seed, to reseed, or to lock: parents, entropy and
 * additional input from outside are accepted and not needed. (libsnapsafe seeds
 * itself from the kernel, and again after each leak and fork.) Only a request
 * with prediction resistance is different: bytes of the kernel's, drawn for this
 * request, are mixed into it.
 *
 * A node can also be the parent of another generator (get_seed, nonce). That
 * generator has a state of its own, which is *not* protected.
 *
 * Uses OpenSSL's headers only: libcrypto calls us, we never call it.
 */
#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "snapsafe.h"

#define MAX_REQUEST (1 << 20) /* libcrypto splits larger ones */
#define STRENGTH    256	      /* bits */

enum reason { REASON_NO_RANDOM = 1 };

struct provider {
	const OSSL_CORE_HANDLE *core;
	OSSL_FUNC_core_new_error_fn *new_error;
	OSSL_FUNC_core_set_error_debug_fn *set_error_debug;
	OSSL_FUNC_core_vset_error_fn *vset_error;
};

struct node {
	struct provider *provider;
	int state; /* EVP_RAND_STATE_* */
};

__attribute__((format(printf, 3, 4))) static void provider_raise(const struct provider *p, enum reason reason,
								 const char *format, ...)
{
	va_list args;

	if (!p->new_error || !p->vset_error)
		return;
	p->new_error(p->core);
	if (p->set_error_debug)
		p->set_error_debug(p->core, __FILE__, __LINE__, __func__);
	va_start(args, format);
	p->vset_error(p->core, (uint32_t)reason, format, args);
	va_end(args);
}

/* OSSL_PARAM is looked up by hand: the helpers for it are in libcrypto. */
static void param_set_number(OSSL_PARAM params[], const char *key, uint64_t value)
{
	for (OSSL_PARAM *p = params; p && p->key; p++) {
		uint32_t small = (uint32_t)value;

		if (strcmp(p->key, key) != 0 ||
		    (p->data_type != OSSL_PARAM_INTEGER && p->data_type != OSSL_PARAM_UNSIGNED_INTEGER))
			continue;
		p->return_size = p->data_size;
		if (p->data && p->data_size == sizeof(small))
			memcpy(p->data, &small, sizeof(small));
		else if (p->data && p->data_size == sizeof(value))
			memcpy(p->data, &value, sizeof(value));
		else
			p->return_size = sizeof(value);
	}
}

static void param_set_text(OSSL_PARAM params[], const char *key, const char *text)
{
	for (OSSL_PARAM *p = params; p && p->key; p++)
		if (strcmp(p->key, key) == 0 && p->data_type == OSSL_PARAM_UTF8_PTR && p->data) {
			memcpy(p->data, &text, sizeof(text));
			p->return_size = strlen(text);
		}
}

static int node_fill(const struct node *node, unsigned char *out, size_t len)
{
	int r = snapsafe_random(NULL, out, len);

	if (r)
		provider_raise(node->provider, REASON_NO_RANDOM, "snapsafe_random: %s", strerror(-r));
	return r == 0;
}

/* All of it or an error. A request that has to wait for the first seed of the kernel may be interrupted. */
static int kernel_draw(unsigned char *out, size_t len)
{
	while (len) {
		long n = syscall(SYS_getrandom, out, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		out += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Bytes that the kernel draws now, on top. */
static int node_mix_kernel(const struct node *node, unsigned char *out, size_t len)
{
	unsigned char fresh[256];
	int r = 0;

	for (size_t done = 0, n; done < len && !r; done += n) {
		n = len - done < sizeof(fresh) ? len - done : sizeof(fresh);
		r = kernel_draw(fresh, n);
		for (size_t i = 0; i < n && !r; i++)
			out[done + i] ^= fresh[i];
	}
	explicit_bzero(fresh, sizeof(fresh));
	if (r)
		provider_raise(node->provider, REASON_NO_RANDOM, "getrandom: %s", strerror(-r));
	return r == 0;
}

static void *rand_newctx(void *provctx, void *parent, const OSSL_DISPATCH *parent_calls)
{
	struct node *node = calloc(1, sizeof(*node));

	(void)parent;
	(void)parent_calls;
	if (node) {
		node->provider = provctx;
		node->state = EVP_RAND_STATE_UNINITIALISED;
	}
	return node;
}

static void rand_freectx(void *ctx)
{
	free(ctx);
}

static int rand_instantiate(void *ctx, unsigned int strength, int prediction_resistance, const unsigned char *pstr,
			    size_t pstr_len, const OSSL_PARAM params[])
{
	struct node *node = ctx;

	(void)prediction_resistance;
	(void)pstr;
	(void)pstr_len;
	(void)params;
	if (strength > STRENGTH)
		return 0;
	node->state = EVP_RAND_STATE_READY;
	return 1;
}

static int rand_uninstantiate(void *ctx)
{
	struct node *node = ctx;

	node->state = EVP_RAND_STATE_UNINITIALISED;
	return 1;
}

static int rand_generate(void *ctx, unsigned char *out, size_t len, unsigned int strength, int prediction_resistance,
			 const unsigned char *adin, size_t adin_len)
{
	const struct node *node = ctx;

	(void)adin;
	(void)adin_len;
	if (node->state != EVP_RAND_STATE_READY || strength > STRENGTH || len > MAX_REQUEST)
		return 0;
	if (node_fill(node, out, len) && (!prediction_resistance || node_mix_kernel(node, out, len)))
		return 1;
	explicit_bzero(out, len);
	return 0;
}

static int rand_reseed(void *ctx, int prediction_resistance, const unsigned char *ent, size_t ent_len,
		       const unsigned char *adin, size_t adin_len)
{
	const struct node *node = ctx;

	(void)prediction_resistance;
	(void)ent;
	(void)ent_len;
	(void)adin;
	(void)adin_len;
	return node->state == EVP_RAND_STATE_READY;
}

static size_t rand_nonce(void *ctx, unsigned char *out, unsigned int strength, size_t min_len, size_t max_len)
{
	(void)max_len;
	if (strength > STRENGTH)
		return 0;
	return !out || node_fill(ctx, out, min_len) ? min_len : 0;
}

static size_t rand_get_seed(void *ctx, unsigned char **seed, int entropy, size_t min_len, size_t max_len,
			    int prediction_resistance, const unsigned char *adin, size_t adin_len)
{
	size_t need = ((size_t)(entropy > 0 ? entropy : 0) + 7) / 8, len = need > min_len ? need : min_len;
	unsigned char *buf;

	if (!len || len > max_len)
		return 0;
	buf = malloc(len);
	if (!buf)
		return 0;
	if (!rand_generate(ctx, buf, len, 0, prediction_resistance, adin, adin_len)) {
		free(buf); /* zeros */
		return 0;
	}
	*seed = buf;
	return len;
}

static void rand_clear_seed(void *ctx, unsigned char *seed, size_t len)
{
	(void)ctx;
	if (seed)
		explicit_bzero(seed, len);
	free(seed);
}

/* Nothing is shared between threads. */
static int rand_enable_locking(void *ctx)
{
	(void)ctx;
	return 1;
}

static int rand_lock(void *ctx)
{
	(void)ctx;
	return 1;
}

static void rand_unlock(void *ctx)
{
	(void)ctx;
}

static int rand_verify_zeroization(void *ctx)
{
	(void)ctx;
	return 1;
}

static int rand_get_ctx_params(void *ctx, OSSL_PARAM params[])
{
	const struct node *node = ctx;

	param_set_number(params, OSSL_RAND_PARAM_STATE, (uint64_t)node->state);
	param_set_number(params, OSSL_RAND_PARAM_STRENGTH, STRENGTH);
	param_set_number(params, OSSL_RAND_PARAM_MAX_REQUEST, MAX_REQUEST);
	return 1;
}

static const OSSL_PARAM *rand_gettable_ctx_params(void *ctx, void *provctx)
{
	static const OSSL_PARAM known[] = {
		{ OSSL_RAND_PARAM_STATE, OSSL_PARAM_INTEGER, NULL, sizeof(int), OSSL_PARAM_UNMODIFIED },
		{ OSSL_RAND_PARAM_STRENGTH, OSSL_PARAM_UNSIGNED_INTEGER, NULL, sizeof(unsigned int),
		  OSSL_PARAM_UNMODIFIED },
		{ OSSL_RAND_PARAM_MAX_REQUEST, OSSL_PARAM_UNSIGNED_INTEGER, NULL, sizeof(size_t),
		  OSSL_PARAM_UNMODIFIED },
		{ 0 },
	};

	(void)ctx;
	(void)provctx;
	return known;
}

#define FUNCTION(id, fn)                 \
	{                                \
		id, (void (*)(void))(fn) \
	}

static const OSSL_DISPATCH rand_functions[] = {
	FUNCTION(OSSL_FUNC_RAND_NEWCTX, rand_newctx),
	FUNCTION(OSSL_FUNC_RAND_FREECTX, rand_freectx),
	FUNCTION(OSSL_FUNC_RAND_INSTANTIATE, rand_instantiate),
	FUNCTION(OSSL_FUNC_RAND_UNINSTANTIATE, rand_uninstantiate),
	FUNCTION(OSSL_FUNC_RAND_GENERATE, rand_generate),
	FUNCTION(OSSL_FUNC_RAND_RESEED, rand_reseed),
	FUNCTION(OSSL_FUNC_RAND_NONCE, rand_nonce),
	FUNCTION(OSSL_FUNC_RAND_GET_SEED, rand_get_seed),
	FUNCTION(OSSL_FUNC_RAND_CLEAR_SEED, rand_clear_seed),
	FUNCTION(OSSL_FUNC_RAND_ENABLE_LOCKING, rand_enable_locking),
	FUNCTION(OSSL_FUNC_RAND_LOCK, rand_lock),
	FUNCTION(OSSL_FUNC_RAND_UNLOCK, rand_unlock),
	FUNCTION(OSSL_FUNC_RAND_VERIFY_ZEROIZATION, rand_verify_zeroization),
	FUNCTION(OSSL_FUNC_RAND_GET_CTX_PARAMS, rand_get_ctx_params),
	FUNCTION(OSSL_FUNC_RAND_GETTABLE_CTX_PARAMS, rand_gettable_ctx_params),
	{ 0 },
};

static const OSSL_ALGORITHM *provider_query(void *ctx, int operation, int *no_store)
{
	static const OSSL_ALGORITHM algorithms[] = {
		{ "SNAPSAFE", "provider=snapsafe", rand_functions, "libsnapsafe" },
		{ 0 },
	};

	(void)ctx;
	*no_store = 0;
	return operation == OSSL_OP_RAND ? algorithms : NULL;
}

static const OSSL_PARAM *provider_gettable_params(void *ctx)
{
	static const OSSL_PARAM known[] = {
		{ OSSL_PROV_PARAM_NAME, OSSL_PARAM_UTF8_PTR, NULL, 0, OSSL_PARAM_UNMODIFIED },
		{ OSSL_PROV_PARAM_VERSION, OSSL_PARAM_UTF8_PTR, NULL, 0, OSSL_PARAM_UNMODIFIED },
		{ OSSL_PROV_PARAM_BUILDINFO, OSSL_PARAM_UTF8_PTR, NULL, 0, OSSL_PARAM_UNMODIFIED },
		{ OSSL_PROV_PARAM_STATUS, OSSL_PARAM_INTEGER, NULL, sizeof(int), OSSL_PARAM_UNMODIFIED },
		{ 0 },
	};

	(void)ctx;
	return known;
}

/* buildinfo is where `openssl list -providers -verbose` can show whether there is a counter. */
static int provider_get_params(void *ctx, OSSL_PARAM params[])
{
	struct snapsafe_info info = { .size = sizeof(info) };

	(void)ctx;
	snapsafe_get_info(NULL, &info);
	param_set_text(params, OSSL_PROV_PARAM_NAME, "snapsafe");
	param_set_text(params, OSSL_PROV_PARAM_VERSION, SNAPSAFE_VERSION);
	param_set_text(params, OSSL_PROV_PARAM_BUILDINFO,
		       info.state == SNAPSAFE_ACTIVE ? "snapshots are noticed" : "snapshots go unnoticed");
	param_set_number(params, OSSL_PROV_PARAM_STATUS, 1);
	return 1;
}

static const OSSL_ITEM *provider_reasons(void *ctx)
{
	static char text[] = "no random bytes"; /* OSSL_ITEM has no const */
	static const OSSL_ITEM reasons[] = { { REASON_NO_RANDOM, text }, { 0, NULL } };

	(void)ctx;
	return reasons;
}

static void provider_teardown(void *ctx)
{
	free(ctx);
}

static const OSSL_DISPATCH provider_functions[] = {
	FUNCTION(OSSL_FUNC_PROVIDER_TEARDOWN, provider_teardown),
	FUNCTION(OSSL_FUNC_PROVIDER_QUERY_OPERATION, provider_query),
	FUNCTION(OSSL_FUNC_PROVIDER_GETTABLE_PARAMS, provider_gettable_params),
	FUNCTION(OSSL_FUNC_PROVIDER_GET_PARAMS, provider_get_params),
	FUNCTION(OSSL_FUNC_PROVIDER_GET_REASON_STRINGS, provider_reasons),
	{ 0 },
};

int OSSL_provider_init(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **ctx)
{
	struct provider *p = calloc(1, sizeof(*p));

	if (!p)
		return 0;
	p->core = core;
	for (; in->function_id; in++) {
		if (in->function_id == OSSL_FUNC_CORE_NEW_ERROR)
			p->new_error = OSSL_FUNC_core_new_error(in);
		if (in->function_id == OSSL_FUNC_CORE_SET_ERROR_DEBUG)
			p->set_error_debug = OSSL_FUNC_core_set_error_debug(in);
		if (in->function_id == OSSL_FUNC_CORE_VSET_ERROR)
			p->vset_error = OSSL_FUNC_core_vset_error(in);
	}
	*out = provider_functions;
	*ctx = p;
	return 1;
}
