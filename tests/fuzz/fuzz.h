/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzz targets have in common. A target is one function that takes
 * bytes; libFuzzer calls it, or replay.c with the inputs of the corpus. What it
 * does depends on the bytes alone, so that an input that fails once fails again.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* The names are libFuzzer's. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise that must hold whatever the input is. */
#define fuzz_expect(condition)                                                                              \
	do {                                                                                                \
		if (!(condition)) {                                                                         \
			fprintf(stderr, "%s:%d: this does not hold: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                                            \
		}                                                                                           \
	} while (0)

/* Takes the input apart from its start; behind its end there are zeros. */
struct fuzz_input {
	const uint8_t *data;
	size_t len;
};

bool fuzz_done(const struct fuzz_input *in);
/* A number of bytes bytes (8 at most), little endian. */
uint64_t fuzz_number(struct fuzz_input *in, unsigned int bytes);
static inline uint8_t fuzz_u8(struct fuzz_input *in)
{
	return (uint8_t)fuzz_number(in, 1);
}
static inline uint16_t fuzz_u16(struct fuzz_input *in)
{
	return (uint16_t)fuzz_number(in, 2);
}
static inline uint32_t fuzz_u32(struct fuzz_input *in)
{
	return (uint32_t)fuzz_number(in, 4);
}
/* Mostly small, and every value is possible. */
uint64_t fuzz_value(struct fuzz_input *in);
/* The next max bytes, or what is left of them. */
const uint8_t *fuzz_bytes(struct fuzz_input *in, size_t max, size_t *len);

/* An anonymous file with that content, under a path that lives as long as the descriptor. */
struct fuzz_file {
	int fd;
	char path[32];
};
void fuzz_file_init(struct fuzz_file *file, const void *data, size_t len);
void fuzz_file_fini(struct fuzz_file *file);

/* The host's random bytes: the same ones after each call of fuzz_rand_start(), and calls of them; -1: no end. */
void fuzz_rand_start(void);
void fuzz_rand_set_calls_left(int calls);

#endif
