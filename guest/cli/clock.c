// SPDX-License-Identifier: Apache-2.0
/* `snapsafe clock`: CLOCK_REALTIME as the host has it, by one step, which nothing but --back takes back. */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/timex.h>

#include "time_source.h"

/* What is less is for a time service, which does not step. */
#define CLOCK_RIGHT_NS (TIME_NS_PER_S / 100)

static int clock_step(int64_t offset_ns)
{
	struct timex step = { .modes = ADJ_SETOFFSET | ADJ_NANO };

	step.time.tv_sec = offset_ns / TIME_NS_PER_S;
	step.time.tv_usec = offset_ns % TIME_NS_PER_S; /* nanoseconds, by ADJ_NANO */
	if (step.time.tv_usec < 0) {
		step.time.tv_sec--;
		step.time.tv_usec += TIME_NS_PER_S;
	}
	return adjtimex(&step) < 0 ? -errno : 0;
}

static int64_t magnitude(int64_t ns)
{
	return ns < 0 ? -ns : ns;
}

static void print_offset(const char *name, int64_t offset_ns, const char *done)
{
	int64_t ms = magnitude(offset_ns) / 1000000;

	printf("CLOCK_REALTIME is %" PRId64 ".%03" PRId64 " s %s %s%s\n", ms / 1000, ms % 1000,
	       offset_ns < 0 ? "ahead of" : "behind", name, done);
}

static int set_clock(const struct cli *cli, const char *name, int64_t offset_ns)
{
	int r;

	if (magnitude(offset_ns) < CLOCK_RIGHT_NS) {
		print_offset(name, offset_ns, ": right");
		return EXIT_OK;
	}
	if (cli->check) {
		print_offset(name, offset_ns, "");
		return EXIT_NOT_SAFE;
	}
	if (offset_ns < 0 && !cli->back) {
		print_offset(name, offset_ns, ": it is not set back without --back");
		return EXIT_NOT_SAFE;
	}
	r = clock_step(offset_ns);
	if (r) {
		cli_complain("cannot set CLOCK_REALTIME: %s", strerror(-r));
		return EXIT_NOT_SAFE;
	}
	print_offset(name, offset_ns, ": set");
	return EXIT_OK;
}

int cli_clock(const struct cli *cli)
{
	struct time_sample sample;
	int64_t offset_ns;
	const char *why;
	char name[64];
	bool missing;

	why = time_source_read(cli->source, name, &sample, &missing);
	if (why && missing) {
		cli_complain("this machine cannot ask its host for the time: %s: %s; and there is no PTP clock of a "
			     "hypervisor (is the module ptp_kvm loaded?)",
			     name, why);
		return EXIT_NO_SOURCE;
	}
	if (!why)
		why = time_judge(&sample, &offset_ns);
	if (why) {
		cli_complain("the time of %s cannot be used: %s", name, why);
		return EXIT_NOT_SAFE;
	}
	return set_clock(cli, name, offset_ns);
}
