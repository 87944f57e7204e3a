/* SPDX-License-Identifier: (GPL-2.0-or-later OR Apache-2.0) */
/*
 * The fixed parts of the two files of a snapshot. docs/snapshot-format.md has
 * the rules. All numbers are little endian; reserved bytes are zero.
 *
 * State file:  struct snapshot_state_header, CBOR map, struct snapshot_checksum
 * Memory file: RAM (zero pages may be holes), in which struct snapshot_mem_record takes the place of a page, whose contents are
 *              in the CBOR map; up to v1.0 it stands behind the RAM
 *
 * Working set: struct snapshot_working_set, num_runs of struct snapshot_run, struct snapshot_checksum
 *
 * In every format version, past and to come, magic, version and arch of the
 * state file stay where they are and its last bytes are the checksum.
 */
#ifndef ABI_SNAPSHOT_FORMAT_H
#define ABI_SNAPSHOT_FORMAT_H

#include <linux/types.h>

#define SNAPSHOT_STATE_MAGIC "SNAPSAFE" /* 8 bytes, no NUL */
#define SNAPSHOT_MEM_MAGIC   "SNAPSMEM"
#define SNAPSHOT_WSET_MAGIC  "SNAPWSET"

/* The processor that the state belongs to: the number that ELF files use. */
enum snapshot_arch {
	SNAPSHOT_ARCH_X86_64 = 62,
	SNAPSHOT_ARCH_AARCH64 = 183,
};

/* XXH3, 128 bits, seed 0, over all bytes of the file (of the record) before it. */
struct snapshot_checksum {
	__le64 low;
	__le64 high;
} __attribute__((packed));

struct snapshot_state_header {
	__u8 magic[8];
	__le16 version_major;
	__le16 version_minor;
	__le16 version_patch;
	__le16 arch;
	__le32 header_len; /* of this struct */
	__le32 reserved0;
	__le64 payload_len;   /* bytes of the CBOR map */
	__le64 mem_size;      /* bytes of RAM in the memory file */
	__u8 id[16];	      /* random; the memory file has the same */
	__le64 record_offset; /* of the record in the memory file; 0 up to v1.0, which had it behind the RAM */
} __attribute__((packed));

/* Where a writer puts the record, and those of diffs in the pages below: for x86_64 reserved for the monitor in the guest's memory map. */
#define SNAPSHOT_RECORD_OFFSET 0xDD000ull

struct snapshot_mem_record {
	__u8 magic[8];
	__le64 mem_size;
	__u8 id[16];
	__u8 base_id[16]; /* of a diff: the layer below it; zeroes up to v1.0 and in a full snapshot, as what follows */
	__le64 level;	  /* diffs that it is above the full snapshot */
	__le64 num_runs; /* runs of pages that this file has, if it is a diff's alone; and over offset and length of each (__le64): */
	struct snapshot_checksum runs;
	__u8 reserved[4000];
	struct snapshot_checksum checksum;
} __attribute__((packed));

#define SNAPSHOT_WSET_VERSION 1

/* Which pages of a memory file a machine needs first. Whoever does not know the version goes without. */
struct snapshot_working_set {
	__u8 magic[8];
	__le32 version;
	__le32 header_len; /* of this struct */
	__le64 mem_size;   /* bytes of RAM in the memory file */
	__u8 id[16];	   /* the memory file's */
	__le64 num_runs;
	__u8 reserved[16];
} __attribute__((packed));

/* Pages that follow each other in the memory file; bytes, whole pages. */
struct snapshot_run {
	__le64 offset;
	__le64 len;
} __attribute__((packed));

#define SNAPSHOT_ASSERT_OFFSET(type, field, offset) \
	_Static_assert(__builtin_offsetof(struct type, field) == (offset), #type "." #field " has moved")

_Static_assert(sizeof(struct snapshot_checksum) == 16, "snapshot_checksum has 16 bytes");
_Static_assert(sizeof(struct snapshot_state_header) == 64, "snapshot_state_header has 64 bytes");
_Static_assert(sizeof(struct snapshot_mem_record) == 4096, "snapshot_mem_record is a page");
_Static_assert(sizeof(struct snapshot_working_set) == 64, "snapshot_working_set has 64 bytes");
_Static_assert(sizeof(struct snapshot_run) == 16, "snapshot_run has 16 bytes");
SNAPSHOT_ASSERT_OFFSET(snapshot_working_set, id, 24);
SNAPSHOT_ASSERT_OFFSET(snapshot_working_set, num_runs, 40);
SNAPSHOT_ASSERT_OFFSET(snapshot_checksum, low, 0);
SNAPSHOT_ASSERT_OFFSET(snapshot_checksum, high, 8);
SNAPSHOT_ASSERT_OFFSET(snapshot_state_header, magic, 0);
SNAPSHOT_ASSERT_OFFSET(snapshot_state_header, version_major, 8);
SNAPSHOT_ASSERT_OFFSET(snapshot_state_header, version_minor, 10);
SNAPSHOT_ASSERT_OFFSET(snapshot_state_header, version_patch, 12);
SNAPSHOT_ASSERT_OFFSET(snapshot_state_header, arch, 14);
SNAPSHOT_ASSERT_OFFSET(snapshot_state_header, header_len, 16);
SNAPSHOT_ASSERT_OFFSET(snapshot_state_header, reserved0, 20);
SNAPSHOT_ASSERT_OFFSET(snapshot_state_header, payload_len, 24);
SNAPSHOT_ASSERT_OFFSET(snapshot_state_header, mem_size, 32);
SNAPSHOT_ASSERT_OFFSET(snapshot_state_header, id, 40);
SNAPSHOT_ASSERT_OFFSET(snapshot_state_header, record_offset, 56);
SNAPSHOT_ASSERT_OFFSET(snapshot_mem_record, magic, 0);
SNAPSHOT_ASSERT_OFFSET(snapshot_mem_record, mem_size, 8);
SNAPSHOT_ASSERT_OFFSET(snapshot_mem_record, id, 16);
SNAPSHOT_ASSERT_OFFSET(snapshot_mem_record, base_id, 32);
SNAPSHOT_ASSERT_OFFSET(snapshot_mem_record, level, 48);
SNAPSHOT_ASSERT_OFFSET(snapshot_mem_record, num_runs, 56);
SNAPSHOT_ASSERT_OFFSET(snapshot_mem_record, runs, 64);
SNAPSHOT_ASSERT_OFFSET(snapshot_mem_record, reserved, 80);
SNAPSHOT_ASSERT_OFFSET(snapshot_mem_record, checksum, 4080);

#endif /* ABI_SNAPSHOT_FORMAT_H */
