/* SPDX-License-Identifier: Apache-2.0 */
/* The notations of a CPU template: numbers, and bitmaps of bits that are forced or left alone. */
#ifndef CONFIG_CPU_H
#define CONFIG_CPU_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* "0x1f", "0b101" or "31". -EINVAL with a sentence that calls it what. */
int cpu_number_parse(const char *what, const char *text, uint32_t *number, struct err *e) must_check;

/* What becomes of a register: (old & ~mask) | value. */
struct cpu_bitmap {
	uint64_t mask; /* bits that are forced */
	uint64_t value;
};

/*
 * "0bx10_1xxx": the last digit is bit 0; x and what is not there leave a bit alone; "0b" may be missing, _ means nothing.
 * width: 32 or 64, digits at most. -EINVAL with a sentence.
 */
int cpu_bitmap_parse(const char *what, const char *text, unsigned int width, struct cpu_bitmap *bitmap,
		     struct err *e) must_check;

#endif
