/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What writer and reader of CBOR agree on, so that nothing is written that is
 * not read again. They bound what a hostile file can cost: about 50 MiB of
 * memory and a second of time.
 */
#ifndef STATE_CODEC_LIMITS_H
#define STATE_CODEC_LIMITS_H

#define CODEC_MAX_SIZE	(16u * 1024 * 1024) /* bytes of the whole map */
#define CODEC_MAX_DEPTH 16		    /* nested maps and arrays */
#define CODEC_MAX_KEY	96		    /* bytes of a key; 64 up to v1.1 of the format */
#define CODEC_MAX_KEYS	512		    /* keys of one map: duplicates are looked for pair by pair */
#define CODEC_MAX_ITEMS (512u * 1024)	    /* keys and values altogether */

#endif
