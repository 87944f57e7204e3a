/* SPDX-License-Identifier: Apache-2.0 */
/* What measuring programs print: "name: median unit min max" a line, as bench/run wants it. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdbool.h>
#include <stddef.h>

/* The program's end, with what and errno, if it does not hold. */
void expect(bool ok, const char *what);

/* Sorts the values. */
void report(const char *name, double *values, size_t num, const char *unit);

/* Two ways that are measured in turns: a line for each, and one for the first in percent of the second. */
void report_against(const char *name, double *ours, const char *other, double *theirs, size_t num, const char *unit);

#endif
