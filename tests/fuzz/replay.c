// SPDX-License-Identifier: Apache-2.0
/*
 * Usage: replay_TARGET CORPUS...
 *
 * Runs a target on every input of packed corpora (one input a line, base64,
 * "#" starts a comment) and on files that hold one input, as libFuzzer leaves them.
 */
#include <string.h>

#include "fuzz.h"

static unsigned int replayed;

/* A copy of exactly that size, so that a sanitizer sees a read beyond its end. */
static void replay_one(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	fuzz_expect(copy);
	memcpy(copy, data, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
	replayed++;
}

static int base64_digit(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* Decodes in place; the number of bytes. */
static size_t base64_decode(char *text)
{
	uint32_t bits = 0;
	unsigned int num_bits = 0;
	size_t len = 0;

	for (const char *c = text; base64_digit(*c) >= 0; c++) {
		bits = bits << 6 | (uint32_t)base64_digit(*c);
		num_bits += 6;
		if (num_bits < 8)
			continue;
		num_bits -= 8;
		text[len++] = (char)(bits >> num_bits);
	}
	return len;
}

static void replay_packed(FILE *f)
{
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, f) > 0) {
		if (line[0] != '#')
			replay_one((const uint8_t *)line, base64_decode(line));
	}
	free(line);
}

static void replay_raw(FILE *f)
{
	static uint8_t data[1 << 20];

	replay_one(data, fread(data, 1, sizeof(data), f));
}

int main(int argc, char **argv)
{
	LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++) {
		const char *end = strrchr(argv[i], '.');
		FILE *f = fopen(argv[i], "re");

		if (!f) {
			perror(argv[i]);
			return 1;
		}
		if (end && !strcmp(end, ".b64"))
			replay_packed(f);
		else
			replay_raw(f);
		fclose(f);
	}
	fprintf(stderr, "%u inputs replayed\n", replayed);
	return replayed ? 0 : 1;
}
