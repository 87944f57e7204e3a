/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_CODEC_TREE_H
#define BASE_CODEC_TREE_H

#include <stddef.h>

#include <cbor.h>

#include "base/err.h"

/*
 * Parses all of data: a map whose keys, and those of all maps in it, are different texts of 1 to CODEC_MAX_KEY bytes.
 * *tree is the caller's to cbor_decref(). -EINVAL with a sentence, or -ENOMEM.
 */
int codec_tree_new(const void *data, size_t len, cbor_item_t **tree, struct err *e) must_check;

#endif
