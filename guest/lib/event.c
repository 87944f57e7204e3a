// SPDX-License-Identifier: Apache-2.0
/*
 * Files in sysfs are always readable; a change is told by POLLPRI, and taken
 * note of by reading the file again through the same open file. A device
 * (SysGenID) is readable after a change, and stays so for those who may not
 * write: opening it again takes note. An epoll descriptor around either makes
 * "readable" mean a change, so that any event loop can use it.
 *
 * Files that cannot be polled at all, and those that were taken away, get a
 * timer: it is readable ten times a second.
 */
#include "event.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* Ours is known by it among all timers: nobody else has this interval. */
#define TIMER_NS 100000457

static int event_add(struct sns_event *event, int fd, uint32_t what)
{
	struct epoll_event e = { .events = what };

	return epoll_ctl(event->epoll, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

/* What it says does not matter: a counter, a number of ticks, or that the device has gone. */
static void event_read(int fd)
{
	uint64_t value;

	if (pread(fd, &value, sizeof(value), 0) < 0 && errno == ESPIPE && read(fd, &value, sizeof(value)) < 0)
		return;
}

static bool event_is_pending(int fd, uint32_t what)
{
	struct pollfd p = { .fd = fd, .events = (short)what };

	return poll(&p, 1, 0) != 0;
}

static uint32_t event_of_file(mode_t mode)
{
	return S_ISCHR(mode) ? POLLIN : POLLPRI;
}

/* -EAGAIN: there is none now, or it has gone, or will not be quiet. */
static int event_add_file(struct sns_event *event, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), r;
	struct stat st;
	uint32_t what;

	if (fd < 0)
		return -EAGAIN;
	r = fstat(fd, &st) < 0 ? -errno : 0;
	/* Something else stands there now, the end of somebody's pipe perhaps: not to be read. */
	if (!r && !S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
		r = -EAGAIN;
	what = event_of_file(st.st_mode);
	if (!r)
		r = event_add(event, fd, what);
	if (!r) {
		event_read(fd);
		r = event_is_pending(fd, what) ? -EAGAIN : 0;
	}
	if (r) {
		close(fd);
		return r;
	}
	event->inner = fd;
	event->timer = false;
	event->dev = st.st_dev;
	event->ino = st.st_ino;
	return 0;
}

static int event_add_timer(struct sns_event *event, bool again)
{
	struct itimerspec every = { .it_interval.tv_nsec = TIMER_NS, .it_value.tv_nsec = TIMER_NS };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	int r;

	if (fd < 0)
		return -errno;
	r = timerfd_settime(fd, 0, &every, NULL) < 0 ? -errno : event_add(event, fd, EPOLLIN);
	if (r) {
		close(fd);
		return r;
	}
	event->inner = fd;
	event->timer = true;
	event->again = again;
	return 0;
}

/* A path that cannot be opened any more, after chroot() for example, is no reason to miss changes. */
static int event_attach(struct sns_event *event, const char *path)
{
	int r = event_add_file(event, path);

	return r ? event_add_timer(event, r == -EAGAIN) : 0;
}

int sns_event_open(struct sns_event *event, const char *path)
{
	int r;

	event->inner = -1;
	event->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (event->epoll < 0)
		return -errno;
	r = event_attach(event, path);
	if (r)
		sns_event_close(event);
	return r;
}

static bool event_inner_is_ours(const struct sns_event *event)
{
	struct itimerspec every;
	struct stat st;

	if (event->inner < 0)
		return false;
	if (event->timer)
		return timerfd_gettime(event->inner, &every) == 0 && every.it_interval.tv_sec == 0 &&
		       every.it_interval.tv_nsec == TIMER_NS;
	return fstat(event->inner, &st) == 0 && st.st_dev == event->dev && st.st_ino == event->ino;
}

/* All epoll descriptors have one inode: ours is the one that has our other descriptor in it. */
static bool event_epoll_is_ours(const struct sns_event *event)
{
	struct epoll_event e = { .events = EPOLLIN };
	struct stat st;

	if (event->epoll < 0)
		return false;
	if (!event->timer) {
		if (fstat(event->inner, &st) < 0)
			return false;
		e.events = event_of_file(st.st_mode);
	}
	return epoll_ctl(event->epoll, EPOLL_CTL_MOD, event->inner, &e) == 0;
}

bool sns_event_is_ours(const struct sns_event *event)
{
	int saved = errno;
	bool ours = event_inner_is_ours(event) && event_epoll_is_ours(event);

	errno = saved;
	return ours;
}

void sns_event_close(struct sns_event *event)
{
	bool inner = event_inner_is_ours(event), epoll = inner && event_epoll_is_ours(event);

	/* Nothing in it yet: it was opened a moment ago. */
	if (event->inner < 0)
		epoll = event->epoll >= 0;
	if (inner)
		close(event->inner);
	if (epoll)
		close(event->epoll);
	event->inner = -1;
	event->epoll = -1;
}

int sns_event_move(struct sns_event *event, const char *path)
{
	if (event->inner >= 0)
		close(event->inner);
	event->inner = -1;
	return event_attach(event, path);
}

void sns_event_clear(struct sns_event *event, const char *path)
{
	struct stat st;

	event_read(event->inner);
	if (event->timer ? event->again
			 : fstat(event->inner, &st) == 0 && event_is_pending(event->inner, event_of_file(st.st_mode)))
		(void)sns_event_move(event, path);
}
