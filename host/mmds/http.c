// SPDX-License-Identifier: Apache-2.0
/*
 * http-parser finds requests and headers; here their pieces become a struct of
 * fixed size. Headers that mean nothing here are looked at by the parser alone.
 */
#include "mmds/http.h"

#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

static void append(char *text, size_t max, size_t *len, const char *data, size_t data_len)
{
	size_t room = max - (*len < max ? *len : max);
	size_t n = data_len < room ? data_len : room;

	if (n)
		memcpy(text + *len, data, n);
	*len += data_len; /* what was cut off counts */
	text[*len < max ? *len : max] = '\0';
}

static int on_begin(http_parser *parser)
{
	struct mmds_http *h = parser->data;

	memset(&h->request, 0, sizeof(h->request));
	memset(&h->header, 0, sizeof(h->header));
	h->uri_len = h->name_len = h->value_len = 0;
	h->in_value = false;
	return 0;
}

static int on_url(http_parser *parser, const char *at, size_t len)
{
	struct mmds_http *h = parser->data;

	append(h->request.uri, MMDS_REQUEST_MAX, &h->uri_len, at, len);
	return 0;
}

/* Is application/json among the media types of a list? What else is there, and how much it is liked, does not matter. */
static bool accepts_json(const char *list)
{
	static const char json[] = "application/json";

	while (*list) {
		const char *type = list + strspn(list, " \t,");
		size_t len = strcspn(type, " \t,;");

		if (len == sizeof(json) - 1 && !strncasecmp(type, json, len))
			return true;
		list = type + strcspn(type, ",");
	}
	return false;
}

/* The header that has arrived, if it means something. */
static void take_header(struct mmds_http *h)
{
	struct mmds_request *r = &h->request;
	const struct {
		const char *name;
		struct mmds_header *header;
	} known[] = {
		{ "X-metadata-token", &r->token },	     { "X-aws-ec2-metadata-token", &r->token },
		{ "X-metadata-token-ttl-seconds", &r->ttl }, { "X-aws-ec2-metadata-token-ttl-seconds", &r->ttl },
		{ "X-Forwarded-For", &r->forwarded_for },
	};
	char *value = h->header.value;

	for (size_t len = strlen(value); len && strchr(" \t", value[len - 1]); len--)
		value[len - 1] = '\0';
	if (!strcasecmp(h->header.name, "Accept"))
		r->wants_json = accepts_json(value);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (strcasecmp(h->header.name, known[i].name) != 0)
			continue;
		*known[i].header = h->header;
		known[i].header->given = true;
	}
	h->name_len = h->value_len = 0;
	h->in_value = false;
	h->header.name[0] = value[0] = '\0';
}

static int on_header_name(http_parser *parser, const char *at, size_t len)
{
	struct mmds_http *h = parser->data;

	if (h->in_value)
		take_header(h);
	append(h->header.name, MMDS_NAME_MAX, &h->name_len, at, len);
	return 0;
}

static int on_header_value(http_parser *parser, const char *at, size_t len)
{
	struct mmds_http *h = parser->data;

	h->in_value = true;
	append(h->header.value, MMDS_VALUE_MAX, &h->value_len, at, len);
	return 0;
}

static int on_headers(http_parser *parser)
{
	struct mmds_http *h = parser->data;

	if (h->in_value)
		take_header(h);
	return 0;
}

static int on_complete(http_parser *parser)
{
	struct mmds_http *h = parser->data;
	struct mmds_request *r = &h->request;

	r->method = parser->method == HTTP_GET ? MMDS_GET : parser->method == HTTP_PUT ? MMDS_PUT : MMDS_OTHER;
	r->http_minor = parser->http_minor;
	r->keep_alive = http_should_keep_alive(parser) && !parser->upgrade;
	h->complete = true;
	http_parser_pause(parser, 1);
	return 0;
}

static const http_parser_settings settings = {
	.on_message_begin = on_begin,
	.on_url = on_url,
	.on_header_field = on_header_name,
	.on_header_value = on_header_value,
	.on_headers_complete = on_headers,
	.on_message_complete = on_complete,
};

void mmds_http_init(struct mmds_http *h)
{
	memset(h, 0, sizeof(*h));
	http_parser_init(&h->parser, HTTP_REQUEST);
	h->parser.data = h;
}

static enum mmds_http_result complain(struct mmds_http *h, unsigned int status, const char *complaint)
{
	h->request.status = status;
	h->request.complaint = complaint;
	h->request.http_minor = 1;
	h->request.keep_alive = false;
	return MMDS_HTTP_REQUEST;
}

enum mmds_http_result mmds_http_feed(struct mmds_http *h, const uint8_t *data, size_t len, size_t *used)
{
	enum http_errno error;
	size_t parsed;

	h->complete = false;
	http_parser_pause(&h->parser, 0);
	parsed = http_parser_execute(&h->parser, &settings, (const char *)data, len);
	error = HTTP_PARSER_ERRNO(&h->parser);
	h->received += parsed;
	if (h->received > MMDS_REQUEST_MAX)
		return MMDS_HTTP_TOO_LONG;
	*used = parsed;
	if (h->complete) {
		h->received = 0;
		if (h->parser.http_major != 1 || h->parser.http_minor > 1)
			return complain(h, 501, "The version of HTTP is none of 1.0 and 1.1.");
		return MMDS_HTTP_REQUEST;
	}
	if (error == HPE_OK && parsed == len)
		return MMDS_HTTP_MORE;
	*used = len;
	if (error == HPE_INVALID_METHOD || error == HPE_INVALID_VERSION)
		return complain(h, 501, http_errno_description(error));
	return complain(h, 400, http_errno_description(error));
}
