/* SPDX-License-Identifier: Apache-2.0 */
/* The answer to a request that is refused: a status and one sentence, as Firecracker's clients expect it. */
#ifndef API_REFUSAL_H
#define API_REFUSAL_H

struct MHD_Response;

/* Bytes that a connection has for the request line and the headers, and for the answer's. */
#define API_CONNECTION_MEMORY (16 * 1024)

/* {"fault_message": text}, malloc'ed, and a line in the log. NULL when out of memory. */
char *api_refusal_body(unsigned int status, const char *text);

/*
 * libmicrohttpd's answer to what is no HTTP: ours in place of its page of HTML, whose words it keeps. The library that
 * tools/static-libs builds calls it by this name (tools/libmicrohttpd.patch); Debian's own knows nothing of it. NULL when out of
 * memory: the connection is closed.
 */
struct MHD_Response *MHD_app_error_response(unsigned int status, const char *page);

#endif
