// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a get_random_u32() costs, which no program can call: loading the module
 * with calls=CALLS samples=SAMPLES measures, and
 * /sys/module/getrandom_u32/parameters/tenths_ns has the tenths of nanoseconds
 * of a call, a number a sample. In cycles is what the time stamp counter says:
 * the least of a call, and the least of a batch of them, in which one makes the
 * integers that the others take.
 */
#include <linux/ktime.h>
#include <linux/limits.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/timex.h>

#define SAMPLES_MAX 512
#define BATCH	    24 /* integers that the kernel makes at a time */
#define TIMED	    2000

static unsigned int calls = 100000;
module_param(calls, uint, 0400);
static unsigned int samples = 150;
module_param(samples, uint, 0400);
static unsigned int tenths_ns[SAMPLES_MAX];
static unsigned int measured;
module_param_array(tenths_ns, uint, &measured, 0400);
static unsigned int cycles[2] = { UINT_MAX, UINT_MAX }; /* of a call, of a batch */
module_param_array(cycles, uint, NULL, 0400);

static u32 sink; /* so that the calls are made */

/* Each call by itself: what an interrupt falls into is not among the least. */
static void time_calls(void)
{
	static unsigned int took[TIMED];
	unsigned int i, sum = 0, clock = UINT_MAX;
	cycles_t start;
	u32 drawn;

	for (i = 0; i < TIMED; i++) {
		start = get_cycles();
		clock = min(clock, (unsigned int)(get_cycles() - start));
	}
	for (i = 0; i < TIMED; i++) {
		start = get_cycles();
		drawn = get_random_u32();
		took[i] = get_cycles() - start;
		sink ^= drawn;
	}
	for (i = 0; i < TIMED; i++) {
		took[i] -= clock;
		cycles[0] = min(cycles[0], took[i]);
		sum += took[i];
		if (i >= BATCH)
			sum -= took[i - BATCH];
		if (i >= BATCH - 1)
			cycles[1] = min(cycles[1], sum);
	}
}

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
	time_calls();
	return 0;
}
module_init(getrandom_u32_init);

static void __exit getrandom_u32_exit(void)
{
}
module_exit(getrandom_u32_exit);

MODULE_DESCRIPTION("What a get_random_u32() costs");
MODULE_LICENSE("GPL");
