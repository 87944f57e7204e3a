// SPDX-License-Identifier: Apache-2.0
#include "report.h"

#include <stdio.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void expect(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(EXIT_FAILURE);
}

void report(const char *name, double *values, size_t num, const char *unit)
{
	qsort(values, num, sizeof(*values), compare);
	printf("%s: %.3f %s %.3f %.3f\n", name, values[num / 2], unit, values[0], values[num - 1]);
}

void report_against(const char *name, double *ours, const char *other, double *theirs, size_t num, const char *unit)
{
	double *ratios = calloc(num, sizeof(*ratios));
	char text[128];

	expect(ratios != NULL, "memory");
	for (size_t i = 0; i < num; i++)
		ratios[i] = ours[i] / theirs[i] * 100;
	report(name, ours, num, unit);
	snprintf(text, sizeof(text), "%s, %s", name, other);
	report(text, theirs, num, unit);
	snprintf(text, sizeof(text), "%s, ratio", name);
	report(text, ratios, num, "%");
	free(ratios);
}
