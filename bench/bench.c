// SPDX-License-Identifier: Apache-2.0
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/loop.h"

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

struct rounds {
	struct loop *loop;
	unsigned int left;
};

static int stop_after(void *ctx)
{
	struct rounds *rounds = ctx;

	if (rounds->left-- == 0)
		loop_stop(rounds->loop, 0);
	return 0;
}

void loop_once(struct fake_platform *fp)
{
	struct rounds rounds = { .loop = fp->p.loop, .left = 1 };

	loop_set_hook(fp->p.loop, stop_after, &rounds);
	(void)loop_run(fp->p.loop);
	loop_set_hook(fp->p.loop, NULL, NULL);
}

void serve(struct virtio_driver *drv, unsigned int q, uint16_t used)
{
	drv_write(drv, VIRTIO_MMIO_QUEUE_NOTIFY, q);
	while (ring_used_idx(&drv->rings[q]) != used)
		loop_once(drv->fp);
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
