/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of the guest: bytes of a connection to a struct, by http-parser. */
#ifndef MMDS_HTTP_H
#define MMDS_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <http_parser.h>

#include "mmds/token.h"

#define MMDS_REQUEST_MAX 2499 /* bytes, from the method to the end of the headers, and of a body, which is ignored */
#define MMDS_NAME_MAX	 40   /* the longest name of a header that means something here, and more */
#define MMDS_VALUE_MAX	 255  /* what is behind is cut off, and known to have been there */

enum mmds_method { MMDS_GET, MMDS_PUT, MMDS_OTHER };

struct mmds_header {
	bool given;
	char name[MMDS_NAME_MAX + 1]; /* as the guest spells it */
	char value[MMDS_VALUE_MAX + 1];
};

struct mmds_request {
	enum mmds_method method;
	unsigned int http_minor; /* of HTTP/1.x */
	bool keep_alive;
	bool wants_json;
	char uri[MMDS_REQUEST_MAX + 1];
	struct mmds_header token, ttl, forwarded_for;
	unsigned int status;   /* of a request that cannot be parsed: 400 or 501; else 0 */
	const char *complaint; /* then; static */
};

struct mmds_http {
	http_parser parser;
	struct mmds_request request;
	size_t received; /* bytes of the request so far */
	size_t uri_len;
	struct mmds_header header; /* the one that arrives */
	size_t name_len, value_len;
	bool in_value;
	bool complete;
};

enum mmds_http_result {
	MMDS_HTTP_MORE, /* all was taken, and it is not a whole request yet */
	MMDS_HTTP_REQUEST, /* h->request is one; it may be one that cannot be parsed, and then the last of this connection */
	MMDS_HTTP_TOO_LONG, /* longer than MMDS_REQUEST_MAX: nothing more can be told of this connection */
};

void mmds_http_init(struct mmds_http *h);
/* Takes bytes until a request is whole; *used: how many. The request is good until the next call. */
enum mmds_http_result mmds_http_feed(struct mmds_http *h, const uint8_t *data, size_t len, size_t *used);

#endif
