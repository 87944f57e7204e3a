/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state file: a fixed header (magic, format version, architecture, length,
 * the random id that binds it to its memory file), a CBOR map, and a checksum
 * over all of it. docs/snapshot-format.md is the normative text.
 *
 * Nothing is interpreted before the checksum over the raw bytes is right; it
 * guards against damage, not against an attacker, so every value is checked
 * again where it is used.
 */
#ifndef SNAPSHOT_STATEFILE_H
#define SNAPSHOT_STATEFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "state/codec.h"
#include "base/err.h"

#define SNAPSHOT_ID_LEN	   16
#define STATEFILE_MAX_SIZE (16u * 1024 * 1024)

/* Format version, vMAJOR.MINOR.PATCH: loads if major is equal and minor is not newer. */
#define SNAPSHOT_VERSION_MAJOR 1
#define SNAPSHOT_VERSION_MINOR 1
#define SNAPSHOT_VERSION_PATCH 0

struct snapshot_version {
	uint16_t major, minor, patch;
};

/* By what the memory file that belongs to a state file is known. */
struct memfile_mark {
	uint8_t id[SNAPSHOT_ID_LEN];
	uint64_t mem_size; /* bytes of RAM */
	uint64_t offset;   /* of its record: in place of a page of RAM; up to v1.0 behind the RAM, at mem_size */
};

struct statefile {
	struct snapshot_version version;
	struct memfile_mark mark;
	struct dec *state; /* the map; owned */
};

/* Reads, checks and parses. Every refusal names the file and what is wrong with it. */
int statefile_read(const char *path, struct statefile *file, struct err *e) must_check;
void statefile_fini(struct statefile *file);

/* --describe-snapshot: checks the whole file as statefile_read() does. */
int statefile_version(const char *path, struct snapshot_version *version, struct err *e) must_check;

#endif
