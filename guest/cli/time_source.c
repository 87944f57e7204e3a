// SPDX-License-Identifier: Apache-2.0
/*
 * The sources of time that this machine has, and looks at them.
 *
 * Of PTP clocks only those are looked for that a hypervisor gives its guests, and that tell UTC: a network card's may never have
 * been set, and tells TAI if it was. The one that Linux makes of a VMClock is left out, too: the page itself is read.
 */
#include "time_source.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/ptp_clock.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include "vmclock_page.h"

#define PTP_CLASS "/sys/class/ptp/"

#define LOOKS 8 /* of which the quickest counts */

static const char *const ptp_names[] = { "KVM virtual PTP", "hyperv" };

static int64_t ns_of(clockid_t clock)
{
	struct timespec t;

	/* Years that do not fit are no time that can be right. */
	if (clock_gettime(clock, &t) || t.tv_sec < 0 || t.tv_sec > INT64_MAX / TIME_NS_PER_S - 1)
		return -1;
	return t.tv_sec * TIME_NS_PER_S + t.tv_nsec;
}

static uint64_t counter_now(void)
{
#if defined(__x86_64__)
	return __rdtsc();
#else
	return 0; /* ahead of no page's */
#endif
}

/* A page whose number is even, and the same before and after. Linux' read(2) of the device sees to it, too. */
static const char *vmclock_read(int fd, struct vmclock_page *page)
{
	struct vmclock_page again;

	for (int i = 0; i < 100; i++) {
		ssize_t n = pread(fd, page, sizeof(*page), 0);

		if (n < 0)
			return strerror(errno);
		if ((size_t)n < sizeof(*page) || pread(fd, &again, sizeof(again), 0) != n)
			return "is no VMClock page";
		if (page->seq_count % 2 == 0 && page->seq_count == again.seq_count)
			return NULL;
	}
	return "is being changed all the time";
}

static const char *vmclock_look(int fd, struct time_sample *sample)
{
	struct vmclock_page page;
	const char *why = vmclock_read(fd, &page);
	uint64_t counter;

	if (why)
		return why;
	sample->before = ns_of(CLOCK_REALTIME);
	counter = counter_now();
	sample->after = ns_of(CLOCK_REALTIME);
	return time_of_vmclock(&page, counter, &sample->source);
}

/* A PTP clock is a clock by its descriptor (clock_gettime(2), dynamic clocks). */
static const char *ptp_look(int fd, struct time_sample *sample)
{
	clockid_t clock = (clockid_t)((~(unsigned int)fd << 3) | 3);

	sample->before = ns_of(CLOCK_REALTIME);
	sample->source = ns_of(clock);
	sample->after = ns_of(CLOCK_REALTIME);
	return sample->source < 0 ? "cannot be read" : NULL;
}

static const char *look_at(int fd, struct time_sample *best)
{
	struct ptp_clock_caps caps;
	bool is_ptp = ioctl(fd, PTP_CLOCK_GETCAPS, &caps) == 0;
	struct time_sample sample;

	for (int i = 0; i < LOOKS; i++) {
		const char *why = is_ptp ? ptp_look(fd, &sample) : vmclock_look(fd, &sample);

		if (why)
			return why;
		if (i == 0 || sample.after - sample.before < best->after - best->before)
			*best = sample;
	}
	return NULL;
}

static const char *read_path(const char *path, struct time_sample *sample)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	const char *why;

	if (fd < 0)
		return strerror(errno);
	why = look_at(fd, sample);
	close(fd);
	return why;
}

static bool is_hypervisors(const char *name_file)
{
	FILE *f = fopen(name_file, "re");
	char name[64] = "";
	bool found = false;

	if (!f)
		return false;
	if (fgets(name, sizeof(name), f))
		name[strcspn(name, "\n")] = '\0';
	fclose(f);
	for (size_t i = 0; i < sizeof(ptp_names) / sizeof(ptp_names[0]); i++)
		found = found || strcmp(name, ptp_names[i]) == 0;
	return found;
}

/* False if there is none. */
static bool find_ptp(char path[64])
{
	bool found = false;
	glob_t files;

	if (glob(PTP_CLASS "ptp*/clock_name", 0, NULL, &files))
		return false;
	for (size_t i = 0; i < files.gl_pathc && !found; i++) {
		found = is_hypervisors(files.gl_pathv[i]);
		if (found)
			snprintf(path, 64, "/dev/%.*s", (int)strcspn(files.gl_pathv[i] + sizeof(PTP_CLASS) - 1, "/"),
				 files.gl_pathv[i] + sizeof(PTP_CLASS) - 1);
	}
	globfree(&files);
	return found;
}

const char *time_source_read(const char *path, char name[64], struct time_sample *sample, bool *missing)
{
	const char *why;
	char ptp[64];

	*missing = false;
	snprintf(name, 64, "%s", path ? path : "/dev/vmclock0");
	why = read_path(name, sample);
	if (path || !why)
		return why;
	if (find_ptp(ptp)) {
		snprintf(name, 64, "%s", ptp);
		return read_path(ptp, sample);
	}
	*missing = true;
	return why;
}
