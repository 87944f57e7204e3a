// SPDX-License-Identifier: Apache-2.0
/*
 * Files in sysfs are always readable; a change is told by POLLPRI, and taken
 * note of by reading the file again through the same open file. An epoll
 * descriptor around it makes "readable" mean a change, so that any event loop
 * can use it. Files that cannot be polled at all get a timer: it is readable
 * ten times a second.
 */
#include "event.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define TIMER_NS 100000000

static int event_add(struct sns_event *event, int fd, uint32_t what)
{
	struct epoll_event e = { .events = what };

	if (epoll_ctl(event->epoll, EPOLL_CTL_ADD, fd, &e) < 0)
		return -errno;
	event->inner = fd;
	return 0;
}

static int event_add_file(struct sns_event *event, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int r;

	if (fd < 0)
		return -errno;
	r = event_add(event, fd, EPOLLPRI);
	if (r)
		close(fd);
	return r;
}

static int event_add_timer(struct sns_event *event)
{
	struct itimerspec every = { .it_interval.tv_nsec = TIMER_NS, .it_value.tv_nsec = TIMER_NS };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	int r;

	if (fd < 0)
		return -errno;
	r = timerfd_settime(fd, 0, &every, NULL) < 0 ? -errno : event_add(event, fd, EPOLLIN);
	if (r)
		close(fd);
	return r;
}

/* A path that cannot be opened any more, after chroot() for example, is no reason to miss changes. */
static int event_attach(struct sns_event *event, const char *path)
{
	if (event_add_file(event, path) == 0)
		return 0;
	return event_add_timer(event);
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
	else
		sns_event_clear(event);
	return r;
}

void sns_event_close(struct sns_event *event)
{
	if (event->inner >= 0)
		close(event->inner);
	if (event->epoll >= 0)
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

void sns_event_clear(struct sns_event *event)
{
	uint64_t value;

	/* What it says does not matter: a counter, a number of ticks, or that the device has gone. */
	if (event->inner >= 0 && pread(event->inner, &value, sizeof(value), 0) < 0 && errno == ESPIPE &&
	    read(event->inner, &value, sizeof(value)) < 0)
		return;
}
