// SPDX-License-Identifier: Apache-2.0
/*
 * Statuses and texts are Firecracker's, which are EC2's where that has them.
 *
 * Metadata come in two formats. JSON is compact, with sorted keys. IMDS is text: of
 * an object its sorted keys, a line each, with a '/' behind those of objects; of a
 * string itself; other values have no such form.
 */
#include "mmds/answer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/json_text.h"
#include "mmds/metrics.h"

#define TOKEN_PATH "/latest/api/token"

#define NO_TOKEN                                                                                                      \
	"No MMDS token provided. Use `X-metadata-token` or `X-aws-ec2-metadata-token` header to specify the session " \
	"token."
#define NO_TTL                                                                       \
	"Token time to live value not found. Use `X-metadata-token-ttl-seconds` or " \
	"`X-aws-ec2-metadata-token-ttl-seconds` header to specify the token's lifetime."

struct reply {
	unsigned int status;
	bool is_json;
	bool allow;	      /* says which methods are allowed */
	const char *ttl_name; /* NULL, or a header that tells how long the token lives */
	unsigned int ttl;     /* s */
	char *body;	      /* owned; NULL: out of memory */
};

static const char *status_text(unsigned int status)
{
	static const struct {
		unsigned int status;
		const char *text;
	} texts[] = {
		{ 200, "OK" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 501, "Not Implemented" },
		{ 503, "Service Unavailable" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (texts[i].status == status)
			return texts[i].text;
	}
	return "";
}

static void reply_text(struct reply *reply, unsigned int status, const char *text)
{
	reply->status = status;
	reply->is_json = false;
	reply->body = strdup(text);
}

static void reply_about(struct reply *reply, unsigned int status, const char *format, const char *what)
	__attribute__((format(printf, 3, 0)));

/* format has one %s */
static void reply_about(struct reply *reply, unsigned int status, const char *format, const char *what)
{
	char *text;

	reply->status = status;
	reply->is_json = false;
	reply->body = asprintf(&text, format, what) < 0 ? NULL : text;
}

static void reply_not_found(struct reply *reply, const char *uri)
{
	reply_about(reply, 404, "Resource not found: %s.", uri);
}

/* The path of a request's target, which may have the host in front. */
static const char *path_of(const char *uri)
{
	if (strncasecmp(uri, "http://", 7) != 0)
		return uri;
	uri = strchr(uri + 7, '/');
	return uri ? uri : "";
}

/* Several slashes are one, and one at the end is none. */
static bool is_token_path(const char *path)
{
	const char *want = TOKEN_PATH;

	while (*want && *path == *want) {
		if (*path == '/')
			path += strspn(path, "/");
		else
			path++;
		want++;
	}
	return !*want && !path[strspn(path, "/")];
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* NULL when out of memory. */
static char *list_keys(json_t *object)
{
	size_t num = json_object_size(object), n = 0, len = 1;
	_cleanup_free_ const char **keys = calloc(num + 1, sizeof(*keys));
	const char *key;
	json_t *value;
	char *text, *at;

	if (!keys)
		return NULL;
	json_object_foreach (object, key, value) {
		keys[n++] = key;
		len += strlen(key) + 2;
	}
	qsort(keys, num, sizeof(*keys), by_text);
	at = text = malloc(len);
	if (!text)
		return NULL;
	for (n = 0; n < num; n++) {
		at = stpcpy(at, keys[n]);
		if (json_is_object(json_object_get(object, keys[n])))
			*at++ = '/';
		if (n + 1 < num)
			*at++ = '\n';
	}
	*at = '\0';
	return text;
}

static void reply_value(const struct mmds_site *site, const struct mmds_request *request, json_t *value,
			struct reply *reply)
{
	reply->status = 200;
	reply->is_json = request->wants_json;
	if (request->wants_json && !site->imds_compat)
		reply->body = json_to_text(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	else if (json_is_object(value))
		reply->body = list_keys(value);
	else if (json_is_string(value))
		reply->body = strdup(json_string_value(value));
	else
		reply_text(reply, 501, "Cannot retrieve value. The value has an unsupported type.");
}

/* With version 1 a token is only looked at. */
static bool is_refused(struct mmds_site *site, const struct mmds_request *request, uint64_t now_ns, struct reply *reply)
{
	bool valid = request->token.given && strlen(request->token.value) <= MMDS_TOKEN_MAX &&
		     mmds_token_is_valid(&site->tokens, request->token.value, now_ns);

	if (valid)
		return false;
	if (request->token.given)
		metric_inc(mmds, rx_invalid_token);
	else
		metric_inc(mmds, rx_no_token);
	if (site->version == MMDS_V1)
		return false;
	reply_text(reply, 401, request->token.given ? "MMDS token not valid." : NO_TOKEN);
	return true;
}

static void reply_get(struct mmds_site *site, const struct mmds_request *request, uint64_t now_ns, struct reply *reply)
{
	json_t *value;

	if (is_refused(site, request, now_ns, reply))
		return;
	value = mmds_store_find(site->store, path_of(request->uri));
	if (value)
		reply_value(site, request, value, reply);
	else
		reply_not_found(reply, path_of(request->uri));
	json_decref(value);
}

/* Digits that are a 32-bit number. */
static bool parse_ttl(const char *text, uint32_t *ttl)
{
	size_t digits = strspn(text, "0123456789");
	uintmax_t value;

	if (!digits || text[digits] || digits > 10)
		return false;
	value = strtoumax(text, NULL, 10);
	*ttl = (uint32_t)value;
	return value <= UINT32_MAX;
}

static void reply_token(struct mmds_site *site, const struct mmds_header *header, uint64_t now_ns, struct reply *reply)
{
	char text[MMDS_NAME_MAX + MMDS_VALUE_MAX + 128];
	char token[MMDS_TOKEN_LEN + 1];
	uint32_t ttl;

	if (!parse_ttl(header->value, &ttl)) {
		snprintf(text, sizeof(text), "Invalid header. Reason: Invalid value. Key:%s; Value:%s", header->name,
			 header->value);
		reply_text(reply, 400, text);
		return;
	}
	if (!ttl || ttl > MMDS_TTL_MAX_S) {
		snprintf(text, sizeof(text),
			 "Invalid time to live value provided for token: %" PRIu32
			 ". Please provide a value between 1 and %u.",
			 ttl, MMDS_TTL_MAX_S);
		reply_text(reply, 400, text);
		return;
	}
	if (mmds_token_make(&site->tokens, ttl, now_ns, token) < 0) {
		reply_text(reply, 503, "The host has no random bytes for a token.");
		return;
	}
	reply_text(reply, 200, token);
	reply->ttl_name = header->name;
	reply->ttl = ttl;
}

static void reply_put(struct mmds_site *site, const struct mmds_request *request, uint64_t now_ns, struct reply *reply)
{
	if (request->forwarded_for.given)
		reply_about(reply, 400, "Invalid header. Reason: Unsupported header name. Key: %s",
			    request->forwarded_for.name);
	else if (!is_token_path(path_of(request->uri)))
		reply_not_found(reply, path_of(request->uri));
	else if (!request->ttl.given)
		reply_text(reply, 400, NO_TTL);
	else
		reply_token(site, &request->ttl, now_ns, reply);
}

static void reply_to(struct mmds_site *site, const struct mmds_request *request, uint64_t now_ns, struct reply *reply)
{
	if (request->status) {
		reply_text(reply, request->status, request->complaint);
	} else if (!path_of(request->uri)[0]) {
		reply_text(reply, 400, "Invalid URI.");
	} else if (request->method == MMDS_GET) {
		reply_get(site, request, now_ns, reply);
	} else if (request->method == MMDS_PUT) {
		reply_put(site, request, now_ns, reply);
	} else {
		reply_text(reply, 405, "Not allowed HTTP method.");
		reply->allow = true;
	}
}

/* NULL when out of memory. */
static char *reply_to_bytes(const struct reply *reply, const struct mmds_request *request, size_t *len)
{
	size_t body_len = strlen(reply->body);
	char ttl[MMDS_NAME_MAX + 32] = "", head[512];
	int head_len;
	char *bytes;

	if (reply->ttl_name)
		snprintf(ttl, sizeof(ttl), "%s: %u\r\n", reply->ttl_name, reply->ttl);
	head_len = snprintf(head, sizeof(head),
			    "HTTP/1.%u %u %s\r\n"
			    "Server: Firecracker API\r\n"
			    "Connection: %s\r\n"
			    "%s%s"
			    "Content-Type: %s\r\n"
			    "Content-Length: %zu\r\n\r\n",
			    request->http_minor, reply->status, status_text(reply->status),
			    request->keep_alive ? "keep-alive" : "close", reply->allow ? "Allow: GET, PUT\r\n" : "",
			    ttl, reply->is_json ? "application/json" : "text/plain", body_len);
	bytes = malloc((size_t)head_len + body_len);
	if (!bytes)
		return NULL;
	memcpy(bytes, head, (size_t)head_len);
	memcpy(bytes + head_len, reply->body, body_len);
	*len = (size_t)head_len + body_len;
	return bytes;
}

char *mmds_answer(struct mmds_site *site, const struct mmds_request *request, uint64_t now_ns, size_t *len)
{
	struct reply reply = { .status = 200 };
	char *bytes;

	reply_to(site, request, now_ns, &reply);
	bytes = reply.body ? reply_to_bytes(&reply, request, len) : NULL;
	free(reply.body);
	return bytes;
}
