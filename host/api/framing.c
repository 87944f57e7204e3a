// SPDX-License-Identifier: Apache-2.0
/*
 * libmicrohttpd (0.9.75) takes the first Content-Length of several, reads to the
 * end of the connection for a Transfer-Encoding that it does not know, and
 * ignores a Content-Length beside one. Each is refused here instead.
 */
#include "api/framing.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct framing {
	const char *length;   /* the first Content-Length; NULL: none */
	const char *encoding; /* the first Transfer-Encoding; NULL: none */
	int r;		      /* the verdict so far */
	struct err *e;
};

static int framing_note_length(struct framing *f, const char *value)
{
	if (f->length)
		return err_set(f->e, EINVAL,
			       "The header Content-Length is there more than once (\"%s\" and \"%s\"): one is allowed.",
			       f->length, value);
	if (!*value || value[strspn(value, "0123456789")])
		return err_set(f->e, EINVAL, "The header Content-Length is \"%s\": a decimal number is allowed.",
			       value);
	f->length = value;
	return 0;
}

static int framing_note_encoding(struct framing *f, const char *value)
{
	if (f->encoding)
		return err_set(
			f->e, EINVAL,
			"The header Transfer-Encoding is there more than once (\"%s\" and \"%s\"): one is allowed.",
			f->encoding, value);
	if (strcasecmp(value, "chunked") != 0)
		return err_set(f->e, EINVAL, "The header Transfer-Encoding is \"%s\": \"chunked\" is allowed.", value);
	f->encoding = value;
	return 0;
}

static enum MHD_Result framing_note(void *ctx, enum MHD_ValueKind kind, const char *key, const char *value)
{
	struct framing *f = ctx;

	(void)kind;
	if (strcasecmp(key, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0)
		f->r = framing_note_length(f, value ? value : "");
	else if (strcasecmp(key, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0)
		f->r = framing_note_encoding(f, value ? value : "");
	return f->r < 0 ? MHD_NO : MHD_YES;
}

int api_check_framing(struct MHD_Connection *connection, uint64_t *length, struct err *e)
{
	struct framing f = { .e = e };

	MHD_get_connection_values(connection, MHD_HEADER_KIND, framing_note, &f);
	if (f.r < 0)
		return f.r;
	if (f.length && f.encoding)
		return err_set(e, EINVAL,
			       "The headers Content-Length and Transfer-Encoding are both there: one is allowed.");
	*length = f.length ? strtoull(f.length, NULL, 10) : 0; /* one that is too large becomes the largest */
	return 0;
}
