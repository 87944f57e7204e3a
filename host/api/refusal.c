// SPDX-License-Identifier: Apache-2.0
#include "api/refusal.h"

#include <jansson.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/utf8.h"

/* What a client sent may stand in a text, and JSON has to be UTF-8: other bytes become '?'. */
static json_t *refusal_text_to_json(const char *text)
{
	char copy[sizeof(((struct err *)0)->text)];

	snprintf(copy, sizeof(copy), "%s", text);
	for (char *p = copy; *p;) {
		size_t len = utf8_char_len(p, strlen(p));

		if (!len)
			*p = '?';
		p += len ? len : 1;
	}
	return json_string(copy);
}

char *api_refusal_body(unsigned int status, const char *text)
{
	json_t *fault = json_pack("{so}", "fault_message", refusal_text_to_json(text));
	char *body = fault ? json_to_text(fault, JSON_COMPACT) : NULL;

	json_decref(fault);
	log_error("Received Error. Status code: %u %s. Message: %s", status, MHD_get_reason_phrase_for(status), text);
	return body;
}

/* What a page of HTML says, without its marks. */
static void refusal_words_of(const char *page, char *text, size_t size)
{
	static const char quote[] = "&quot;";
	const char *body = strstr(page, "<body>");
	size_t len = 0;

	for (const char *p = body ? body : page; *p && len + 1 < size; p++) {
		if (*p == '<') {
			p += strcspn(p, ">");
			if (!*p)
				break;
		} else if (!strncmp(p, quote, sizeof(quote) - 1)) {
			text[len++] = '"';
			p += sizeof(quote) - 2;
		} else {
			text[len++] = *p;
		}
	}
	text[len] = '\0';
}

/* The library's words, and what is allowed where they do not say it. */
static void refusal_sentence(unsigned int status, const char *page, struct err *e)
{
	char words[200];

	switch (status) {
	case MHD_HTTP_URI_TOO_LONG:
		(void)err_set(e, EINVAL, "The request line is too big: it and the headers have %u bytes at most.",
			      API_CONNECTION_MEMORY);
		return;
	case MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE:
		(void)err_set(e, EINVAL, "The headers are too big: they and the request line have %u bytes at most.",
			      API_CONNECTION_MEMORY);
		return;
	case MHD_HTTP_HTTP_VERSION_NOT_SUPPORTED:
		(void)err_set(e, EINVAL, "The HTTP version is not supported: 1.0 and 1.1 are.");
		return;
	}
	refusal_words_of(page, words, sizeof(words));
	(void)err_set(e, EINVAL, "%s", *words ? words : MHD_get_reason_phrase_for(status));
}

struct MHD_Response *MHD_app_error_response(unsigned int status, const char *page)
{
	struct MHD_Response *response;
	struct err e;
	char *body;

	refusal_sentence(status, page, &e);
	body = api_refusal_body(status, e.text);
	if (!body)
		return NULL;
	response = MHD_create_response_from_buffer(strlen(body), body, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(body);
		return NULL;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_SERVER, "Firecracker API");
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	return response;
}
