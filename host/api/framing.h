/* SPDX-License-Identifier: Apache-2.0 */
/* Where a request's body ends, by its headers. */
#ifndef API_FRAMING_H
#define API_FRAMING_H

#include <stdint.h>

#include "base/err.h"

struct MHD_Connection;

/*
 * *length: the bytes of body that are announced, 0 if none or if it comes in chunks. -EINVAL if the headers leave more than one
 * reading (RFC 9112, 6.1 and 6.3): several Content-Lengths, one that is no number, one beside a Transfer-Encoding, or a
 * Transfer-Encoding other than "chunked". What follows on such a connection is not known to be body or next request: close it.
 */
int api_check_framing(struct MHD_Connection *connection, uint64_t *length, struct err *e) must_check;

#endif
