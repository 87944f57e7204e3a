// SPDX-License-Identifier: Apache-2.0
/* What the guest is answered, by the bytes that it sends: metadata in both formats, tokens, refusals; and the parser's limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "mmds/answer.h"
#include "mmds/metrics.h"

#define S 1000000000ull

static const char metadata[] =
	"{\"latest\":{\"meta-data\":{\"id\":\"i-1\",\"net\":{\"mac\":\"06:00\"},\"ami\":\"x\",\"n\":7,\"f\":1.5,\"t\":"
	"true,"
	"\"z\":null,\"l\":[\"a\",{\"b\":2}],\"\":\"empty\"},\"user-data\":\"line\\nline\"},\"s/l\":{\"~\":\"tilde\"}}";

struct answer {
	unsigned int status;
	char head[512];
	char body[4096];
};

static struct mmds_store store;
static struct mmds_site site;

static int setup(void **state)
{
	json_t *root = json_loads(metadata, 0, NULL);
	struct err e;

	(void)state;
	mmds_store_init(&store, 10000);
	assert_int_equal(mmds_store_put(&store, root, &e), 0);
	json_decref(root);
	site = (struct mmds_site){ .store = &store, .version = MMDS_V1 };
	return mmds_tokens_init(&site.tokens);
}

static int teardown(void **state)
{
	(void)state;
	mmds_store_fini(&store);
	return 0;
}

static struct answer take_apart(const char *bytes, size_t len)
{
	struct answer a = { 0 };
	const char *end = memmem(bytes, len, "\r\n\r\n", 4);
	size_t head = (size_t)(end - bytes) + 4;
	size_t announced;

	assert_non_null(end);
	assert_true(head < sizeof(a.head) && len - head < sizeof(a.body));
	memcpy(a.head, bytes, head);
	memcpy(a.body, bytes + head, len - head);
	assert_int_equal(sscanf(a.head, "HTTP/1.%*u %u", &a.status), 1);
	assert_non_null(strstr(a.head, "Content-Length: "));
	announced = strtoul(strstr(a.head, "Content-Length: ") + 16, NULL, 10);
	assert_int_equal(announced, len - head);
	return a;
}

/* One request, whole. */
static struct answer ask_at(uint64_t now_ns, const char *request)
{
	static struct mmds_http http;
	struct answer a;
	size_t used, len;
	char *bytes;

	mmds_http_init(&http);
	assert_int_equal(mmds_http_feed(&http, (const uint8_t *)request, strlen(request), &used), MMDS_HTTP_REQUEST);
	bytes = mmds_answer(&site, &http.request, now_ns, &len);
	assert_non_null(bytes);
	a = take_apart(bytes, len);
	free(bytes);
	return a;
}

static struct answer ask(const char *request)
{
	return ask_at(0, request);
}

static struct answer get(const char *uri, const char *headers)
{
	char request[1024];

	snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: 169.254.169.254\r\n%s\r\n", uri, headers);
	return ask(request);
}

static void assert_answer(struct answer a, unsigned int status, const char *type, const char *body)
{
	char line[64];

	snprintf(line, sizeof(line), "\r\nContent-Type: %s\r\n", type);
	if (a.status != status || strcmp(a.body, body) != 0 || !strstr(a.head, line))
		fail_msg("%s%s\nexpected %u %s %s", a.head, a.body, status, type, body);
}

static void text_is_imds(void **state)
{
	(void)state;
	assert_answer(get("/", ""), 200, "text/plain", "latest/\ns/l/");
	assert_answer(get("/latest/", ""), 200, "text/plain", "meta-data/\nuser-data");
	assert_answer(get("/latest/meta-data", ""), 200, "text/plain", "\nami\nf\nid\nl\nn\nnet/\nt\nz");
	assert_answer(get("//latest//meta-data//id/", ""), 200, "text/plain", "i-1");
	assert_answer(get("http://169.254.169.254/latest/meta-data/id", ""), 200, "text/plain", "i-1");
	assert_answer(get("/latest/user-data", ""), 200, "text/plain", "line\nline");
	assert_answer(get("/latest/meta-data/l/0", ""), 200, "text/plain", "a");
	assert_answer(get("/s~1l/~0", ""), 200, "text/plain", "tilde");
	assert_answer(get("/latest/meta-data/id", "Accept: */*\r\n"), 200, "text/plain", "i-1");
	assert_answer(get("/latest/meta-data/id", "Accept: text/plain\r\n"), 200, "text/plain", "i-1");
	assert_answer(get("/latest/nothing", ""), 404, "text/plain", "Resource not found: /latest/nothing.");
	assert_answer(get("/latest/user-data/x", ""), 404, "text/plain", "Resource not found: /latest/user-data/x.");
}

static void what_has_no_text_is_refused(void **state)
{
	static const char *const paths[] = { "n", "f", "t", "z", "l", "l/1/b" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		char uri[64];

		snprintf(uri, sizeof(uri), "/latest/meta-data/%s", paths[i]);
		assert_answer(get(uri, ""), 501, "text/plain",
			      "Cannot retrieve value. The value has an unsupported type.");
	}
}

static void json_is_sorted_and_compact(void **state)
{
	const char *json = "Accept: application/json\r\n";

	(void)state;
	assert_answer(get("/latest/meta-data/net", json), 200, "application/json", "{\"mac\":\"06:00\"}");
	assert_answer(get("/latest/meta-data", "aCCEPT:   text/html, application/JSON;q=0.5 \r\n"), 200,
		      "application/json",
		      "{\"\":\"empty\",\"ami\":\"x\",\"f\":1.5,\"id\":\"i-1\",\"l\":[\"a\",{\"b\":2}],\"n\":7,\"net\":{"
		      "\"mac\":\"06:00\"},"
		      "\"t\":true,\"z\":null}");
	assert_answer(get("/latest/meta-data/id", json), 200, "application/json", "\"i-1\"");
	assert_answer(get("/latest/meta-data/n", json), 200, "application/json", "7");
	assert_answer(get("/latest/meta-data/z", json), 200, "application/json", "null");
	assert_answer(get("/nothing", json), 404, "text/plain", "Resource not found: /nothing.");
	assert_answer(get("/latest/meta-data/id", "Accept: application/jsonx\r\n"), 200, "text/plain", "i-1");
	site.imds_compat = true;
	assert_answer(get("/latest/meta-data/id", json), 200, "application/json", "i-1");
	assert_answer(get("/latest/meta-data/n", json), 501, "text/plain",
		      "Cannot retrieve value. The value has an unsupported type.");
}

static void a_store_that_nobody_filled_is_empty(void **state)
{
	(void)state;
	mmds_store_fini(&store);
	assert_answer(get("/", ""), 200, "text/plain", "");
	assert_answer(get("/", "Accept: application/json\r\n"), 200, "application/json", "{}");
	assert_answer(get("/latest", ""), 404, "text/plain", "Resource not found: /latest.");
}

static void other_methods_are_not_allowed(void **state)
{
	static const char *const methods[] = { "POST", "PATCH", "DELETE", "HEAD", "OPTIONS" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		char request[128];
		struct answer a;

		snprintf(request, sizeof(request), "%s /latest HTTP/1.1\r\n\r\n", methods[i]);
		a = ask(request);
		assert_answer(a, 405, "text/plain", "Not allowed HTTP method.");
		assert_non_null(strstr(a.head, "\r\nAllow: GET, PUT\r\n"));
	}
}

static void put_token(const char *headers, uint64_t now_ns, char *token)
{
	char request[256];
	struct answer a;

	snprintf(request, sizeof(request), "PUT /latest/api/token HTTP/1.1\r\n%s\r\n", headers);
	a = ask_at(now_ns, request);
	assert_int_equal(a.status, 200);
	assert_non_null(strstr(a.head, headers));
	assert_int_equal(strlen(a.body), MMDS_TOKEN_LEN);
	memcpy(token, a.body, MMDS_TOKEN_LEN + 1);
}

static void version_2_wants_a_token(void **state)
{
	static const char none[] =
		"No MMDS token provided. Use `X-metadata-token` or `X-aws-ec2-metadata-token` header to "
		"specify the session token.";
	char token[MMDS_TOKEN_LEN + 1], request[256], header[128];
	uint64_t missing = mmds_metrics.rx_no_token, invalid = mmds_metrics.rx_invalid_token;

	(void)state;
	site.version = MMDS_V2;
	assert_answer(get("/latest/meta-data/id", ""), 401, "text/plain", none);
	assert_answer(get("/nothing", ""), 401, "text/plain", none);
	assert_answer(get("/", "X-metadata-token: abc\r\n"), 401, "text/plain", "MMDS token not valid.");
	put_token("X-metadata-token-ttl-seconds: 60\r\n", 100 * S, token);
	snprintf(request, sizeof(request), "GET /latest/meta-data/id HTTP/1.1\r\nX-Metadata-Token: %s  \r\n\r\n",
		 token);
	assert_answer(ask_at(159 * S, request), 200, "text/plain", "i-1");
	assert_answer(ask_at(160 * S, request), 401, "text/plain", "MMDS token not valid.");
	put_token("X-aws-ec2-metadata-token-ttl-seconds: 21600\r\n", 0, token);
	snprintf(header, sizeof(header), "X-aws-ec2-metadata-token: %s\r\n", token);
	assert_answer(get("/latest/meta-data/id", header), 200, "text/plain", "i-1");
	snprintf(header, sizeof(header), "X-metadata-token: %s%s\r\n", token, token);
	assert_answer(get("/latest/meta-data/id", header), 401, "text/plain", "MMDS token not valid.");
	assert_int_equal(mmds_metrics.rx_no_token, missing + 2);
	assert_int_equal(mmds_metrics.rx_invalid_token, invalid + 3);
}

/* A clone's key is another one: what its memory remembers of the original is nothing. */
static void a_clone_does_not_know_the_originals_token(void **state)
{
	char token[MMDS_TOKEN_LEN + 1], header[128];

	(void)state;
	site.version = MMDS_V2;
	put_token("X-metadata-token-ttl-seconds: 60\r\n", 0, token);
	snprintf(header, sizeof(header), "X-metadata-token: %s\r\n", token);
	assert_int_equal(get("/", header).status, 200);
	mmds_tokens_fini(&site.tokens);
	assert_int_equal(mmds_tokens_init(&site.tokens), 0);
	assert_answer(get("/", header), 401, "text/plain", "MMDS token not valid.");
}

static void version_1_only_counts_tokens(void **state)
{
	char token[MMDS_TOKEN_LEN + 1], header[128];
	uint64_t missing = mmds_metrics.rx_no_token, invalid = mmds_metrics.rx_invalid_token;

	(void)state;
	put_token("X-metadata-token-ttl-seconds: 1\r\n", 0, token);
	snprintf(header, sizeof(header), "X-metadata-token: %s\r\n", token);
	assert_int_equal(get("/", header).status, 200);
	assert_int_equal(get("/", "X-metadata-token: no\r\n").status, 200);
	assert_int_equal(get("/", "").status, 200);
	assert_int_equal(mmds_metrics.rx_no_token, missing + 1);
	assert_int_equal(mmds_metrics.rx_invalid_token, invalid + 1);
}

static void a_token_is_not_given_for_every_put(void **state)
{
	static const struct {
		const char *path, *headers;
		unsigned int status;
		const char *body;
	} rows[] = {
		{ "/latest/api/token", "x-forwarded-FOR: 1.2.3.4\r\nX-metadata-token-ttl-seconds: 60\r\n", 400,
		  "Invalid header. Reason: Unsupported header name. Key: x-forwarded-FOR" },
		{ "/token", "X-Forwarded-For: a\r\n", 400,
		  "Invalid header. Reason: Unsupported header name. Key: X-Forwarded-For" },
		{ "/latest/api/tokens", "X-metadata-token-ttl-seconds: 60\r\n", 404,
		  "Resource not found: /latest/api/tokens." },
		{ "/latest/api/toke", "", 404, "Resource not found: /latest/api/toke." },
		{ "/", "", 404, "Resource not found: /." },
		{ "/latest/api/token", "", 400,
		  "Token time to live value not found. Use `X-metadata-token-ttl-seconds` or "
		  "`X-aws-ec2-metadata-token-ttl-seconds` header to specify the token's lifetime." },
		{ "/latest/api/token", "X-Metadata-Token-TTL-Seconds: soon\r\n", 400,
		  "Invalid header. Reason: Invalid value. Key:X-Metadata-Token-TTL-Seconds; Value:soon" },
		{ "/latest/api/token", "X-metadata-token-ttl-seconds: -1\r\n", 400,
		  "Invalid header. Reason: Invalid value. Key:X-metadata-token-ttl-seconds; Value:-1" },
		{ "/latest/api/token", "X-metadata-token-ttl-seconds: 4294967296\r\n", 400,
		  "Invalid header. Reason: Invalid value. Key:X-metadata-token-ttl-seconds; Value:4294967296" },
		{ "/latest/api/token", "X-metadata-token-ttl-seconds:\r\n", 400,
		  "Invalid header. Reason: Invalid value. Key:X-metadata-token-ttl-seconds; Value:" },
		{ "/latest/api/token", "X-metadata-token-ttl-seconds: 0\r\n", 400,
		  "Invalid time to live value provided for token: 0. Please provide a value between 1 and 21600." },
		{ "/latest/api/token", "X-metadata-token-ttl-seconds: 21601\r\n", 400,
		  "Invalid time to live value provided for token: 21601. Please provide a value between 1 and 21600." },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char request[512];

		snprintf(request, sizeof(request), "PUT %s HTTP/1.1\r\nA:\r\n%s\r\n", rows[i].path, rows[i].headers);
		assert_answer(ask(request), rows[i].status, "text/plain", rows[i].body);
	}
	assert_int_equal(ask("PUT //latest/api//token/ HTTP/1.1\r\nX-metadata-token-ttl-seconds: 60\r\n\r\n").status,
			 200);
	assert_int_equal(get("/", "X-Forwarded-For: a\r\n").status, 200); /* a GET may have been forwarded */
}

static void what_is_no_http_is_refused_and_closed(void **state)
{
	static const struct {
		const char *request;
		unsigned int status;
	} rows[] = {
		{ "GET / HTTP/1.1\r\nNo colon\r\n\r\n", 400 },
		{ "GET nonsense HTTP/1.1\r\n\r\n", 400 },
		{ "GET /\r\n\r\nmore\r\n", 501 }, /* HTTP/0.9 */
		{ "NONSENSE / HTTP/1.1\r\n\r\n", 501 },
		{ "get / HTTP/1.1\r\n\r\n", 501 },
		{ "GET / HTTP/2.0\r\n\r\n", 501 },
		{ "GET / HTTP/x\r\n\r\n", 501 },
		{ "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400 },
		{ "\x16\x03\x01\x02", 501 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct answer a = ask(rows[i].request);

		if (a.status != rows[i].status)
			fail_msg("%s: %u %s", rows[i].request, a.status, a.body);
		assert_non_null(strstr(a.head, "\r\nConnection: close\r\n"));
	}
}

static void a_connection_is_kept_as_the_guest_says(void **state)
{
	(void)state;
	assert_non_null(
		strstr(get("/", "").head, "HTTP/1.1 200 OK\r\nServer: Firecracker API\r\nConnection: keep-alive\r\n"));
	assert_non_null(strstr(get("/", "Connection: close\r\n").head, "\r\nConnection: close\r\n"));
	assert_non_null(strstr(ask("GET / HTTP/1.0\r\n\r\n").head, "HTTP/1.0 200 OK\r\n"));
	assert_non_null(strstr(ask("GET / HTTP/1.0\r\n\r\n").head, "\r\nConnection: close\r\n"));
	assert_non_null(strstr(ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").head, ": keep-alive\r\n"));
	assert_non_null(strstr(get("/", "Upgrade: x\r\nConnection: upgrade\r\n").head, "\r\nConnection: close\r\n"));
}

/* Cut anywhere, two requests in a row stay two requests; a body is no request. */
static void requests_come_in_pieces(void **state)
{
	static const char text[] =
		"PUT /latest/api/token HTTP/1.1\r\nX-metadata-token-ttl-seconds: 60\r\nContent-Length: "
		"3\r\n\r\nxyzGET /latest/meta-data/id HTTP/1.1\r\nAccept: application/json\r\n\r\n";
	const size_t len = sizeof(text) - 1;
	static struct mmds_http http;

	(void)state;
	for (size_t cut = 0; cut <= len; cut++) {
		const size_t ends[] = { cut, len };
		unsigned int requests = 0;
		size_t at = 0;

		mmds_http_init(&http);
		for (size_t i = 0; i < 2; i++) {
			while (at < ends[i]) {
				size_t used;

				if (mmds_http_feed(&http, (const uint8_t *)text + at, ends[i] - at, &used) ==
				    MMDS_HTTP_REQUEST)
					requests++;
				at += used;
			}
		}
		assert_int_equal(requests, 2);
		assert_int_equal(http.request.status, 0);
		assert_int_equal(http.request.method, MMDS_GET);
		assert_true(http.request.wants_json);
		assert_false(http.request.ttl.given); /* that of the request before */
		assert_string_equal(http.request.uri, "/latest/meta-data/id");
	}
}

static enum mmds_http_result feed_request_of(size_t len, const char *start, const char *end)
{
	static struct mmds_http http;
	char text[2 * MMDS_REQUEST_MAX];
	size_t used;

	mmds_http_init(&http);
	memset(text, 'x', sizeof(text));
	memcpy(text, start, strlen(start));
	memcpy(text + len - strlen(end), end, strlen(end));
	return mmds_http_feed(&http, (const uint8_t *)text, len, &used);
}

static void a_request_has_a_limit(void **state)
{
	static const char *const starts[] = { "GET /", "GET / HTTP/1.1\r\nName: ", "GET / HTTP/1.1\r\n" };
	static const char *const ends[] = { " HTTP/1.1\r\n\r\n", "\r\n\r\n", ":\r\n\r\n" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
		assert_int_equal(feed_request_of(MMDS_REQUEST_MAX, starts[i], ends[i]), MMDS_HTTP_REQUEST);
		assert_int_equal(feed_request_of(MMDS_REQUEST_MAX + 1, starts[i], ends[i]), MMDS_HTTP_TOO_LONG);
		assert_int_equal(feed_request_of(MMDS_REQUEST_MAX, starts[i], ""), MMDS_HTTP_MORE);
		assert_int_equal(feed_request_of(MMDS_REQUEST_MAX + 1, starts[i], ""), MMDS_HTTP_TOO_LONG);
	}
	assert_int_equal(feed_request_of(3000, "PUT / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n", ""),
			 MMDS_HTTP_TOO_LONG);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(text_is_imds),
		TEST(what_has_no_text_is_refused),
		TEST(json_is_sorted_and_compact),
		TEST(a_store_that_nobody_filled_is_empty),
		TEST(other_methods_are_not_allowed),
		TEST(version_2_wants_a_token),
		TEST(a_clone_does_not_know_the_originals_token),
		TEST(version_1_only_counts_tokens),
		TEST(a_token_is_not_given_for_every_put),
		TEST(what_is_no_http_is_refused_and_closed),
		TEST(a_connection_is_kept_as_the_guest_says),
		TEST(requests_come_in_pieces),
		TEST(a_request_has_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
