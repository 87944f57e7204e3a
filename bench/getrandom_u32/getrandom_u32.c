// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a get_random_u32() costs, which no program can call: loading the module
 * with calls=CALLS samples=SAMPLES measures, and
 * /sys/module/getrandom_u32/parameters/tenths_ns has the tenths of nanoseconds
 * of a call, a number a sample.
 */
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/sched.h>

#define SAMPLES_MAX 512

static unsigned int calls = 100000;
module_param(calls, uint, 0400);
static unsigned int samples = 150;
module_param(samples, uint, 0400);
static unsigned int tenths_ns[SAMPLES_MAX];
static unsigned int measured;
module_param_array(tenths_ns, uint, &measured, 0400);

static u32 sink; /* so that the calls are made */

static int __init getrandom_u32_init(void)
{
	unsigned int i, k;
	u64 start;

	if (!calls || samples > SAMPLES_MAX)
		return -EINVAL;
	for (i = 0; i < samples; i++) {
		start = ktime_get_ns();
		for (k = 0; k < calls; k++)
			sink ^= get_random_u32();
		tenths_ns[i] = div_u64((ktime_get_ns() - start) * 10, calls);
		cond_resched();
	}
	measured = samples;
	return 0;
}
module_init(getrandom_u32_init);

static void __exit getrandom_u32_exit(void)
{
}
module_exit(getrandom_u32_exit);

MODULE_DESCRIPTION("What a get_random_u32() costs");
MODULE_LICENSE("GPL");
