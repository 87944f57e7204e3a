// SPDX-License-Identifier: Apache-2.0
/*
 * The agent's connection to the host: frames over a virtio-serial port. There
 * is nobody else to report to, so an error on the port ends the machine.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define PORT_PATH "/dev/vport0p1"
#define FRAME_MAX (256 * 1024) /* one argument is at most 128 KiB */

static int port_fd = -1;

static void port_wait(short events)
{
	struct pollfd p = { .fd = port_fd, .events = events };

	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
}

/* The host is gone: so is the reason for this machine. */
static void host_gone(void)
{
	reboot(RB_POWER_OFF);
	_exit(1);
}

static void port_write(const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(port_fd, p, len);

		if (n > 0) {
			p += n;
			len -= n;
		} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
			host_gone();
		} else {
			port_wait(POLLOUT);
		}
	}
}

static void port_read(void *data, size_t len)
{
	char *p = data;

	while (len > 0) {
		ssize_t n = read(port_fd, p, len);

		if (n > 0) {
			p += n;
			len -= n;
		} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			host_gone();
		} else {
			port_wait(POLLIN);
		}
	}
}

/* The device announces the port, and that the host has it open, in its own time. */
int port_open(void)
{
	const struct timespec moment = { .tv_nsec = 2 * 1000 * 1000 };
	struct pollfd p = { .fd = -1, .events = POLLIN };

	for (int tries = 0; tries < 5000; tries++, nanosleep(&moment, NULL)) {
		if (p.fd < 0)
			p.fd = open(PORT_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		if (p.fd >= 0 && poll(&p, 1, 0) >= 0 && !(p.revents & POLLHUP)) {
			port_fd = p.fd;
			return port_fd;
		}
	}
	agent_fail("the port %s does not come up", PORT_PATH);
}

void frame_send(enum frame type, const void *data, uint32_t len)
{
	unsigned char head[5] = { type };
	uint32_t le = htole32(len);

	memcpy(head + 1, &le, sizeof(le));
	port_write(head, sizeof(head));
	port_write(data, len);
}

enum frame frame_receive(char **data, size_t *len)
{
	unsigned char head[5];
	uint32_t le;

	port_read(head, sizeof(head));
	memcpy(&le, head + 1, sizeof(le));
	*len = le32toh(le);
	if (*len > FRAME_MAX)
		host_gone();
	*data = malloc(*len + 1);
	if (!*data)
		host_gone();
	port_read(*data, *len);
	(*data)[*len] = '\0';
	return head[0];
}

void agent_fail(const char *format, ...)
{
	char text[512];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (n >= (int)sizeof(text))
		n = sizeof(text) - 1;
	if (port_fd < 0) {
		/* To the console, which the host shows when we never said hello. */
		dprintf(STDERR_FILENO, "testbed agent: %s\n", text);
		reboot(RB_POWER_OFF);
	}
	frame_send(FRAME_FAILED, text, n);
	for (;;)
		pause();
}
