/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_CODEC_SCAN_H
#define BASE_CODEC_SCAN_H

#include <stddef.h>

#include "base/err.h"

/*
 * Looks through data once without allocating: is it one CBOR item of the restricted form that the state file uses
 * (definite lengths; integers, booleans, null, byte and text strings, arrays, maps), within CODEC_MAX_*, and nothing
 * after it? Only then is it safe to let a parser allocate what the lengths in it say. -EINVAL with a sentence.
 */
int codec_scan(const void *data, size_t len, struct err *e) must_check;

#endif
