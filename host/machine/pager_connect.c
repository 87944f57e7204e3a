// SPDX-License-Identifier: Apache-2.0
/*
 * The handshake, as Firecracker has it: one message, a JSON array with an
 * object for each region of memory and the userfaultfd beside it (SCM_RIGHTS).
 * There is no answer. The connection stays open, since a handler may take its
 * end for ours; what it sends is not read.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "machine/pager_internal.h"

#define CONNECT_TRIES	40
#define CONNECT_WAIT_MS 5

#define PAGER_MESSAGE_SIZE (MEM_MAX_REGIONS * 192)

#ifndef SO_PEERPIDFD /* Linux 6.5; Debian 12's headers are older */
#define SO_PEERPIDFD 77
#endif

/* A pidfd of whoever listens, or -1. Linux before 6.5 knows a number only, which is 0 for a process of another PID namespace. */
static int pager_find_process(int socket)
{
	socklen_t len = sizeof(int);
	struct ucred peer;
	int fd;

	if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &len) == 0)
		return fd;
	len = sizeof(peer);
	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.pid <= 0)
		return -1;
	return (int)syscall(SYS_pidfd_open, peer.pid, 0);
}

int pager_connect(struct pager *p, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int tries = CONNECT_TRIES, r;

	if (strlen(p->path) >= sizeof(addr.sun_path))
		return err_set(e, ENAMETOOLONG,
			       "mem_backend: backend_path \"%s\" has %zu bytes, a socket's has at most %zu", p->path,
			       strlen(p->path), sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, p->path, strlen(p->path));
	p->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p->socket < 0)
		return err_errno(e, errno, "cannot create a socket");
	/* EAGAIN: it has not accepted those before us. */
	while ((r = connect(p->socket, (const struct sockaddr *)&addr, sizeof(addr))) < 0 && errno == EAGAIN && tries--)
		(void)poll(NULL, 0, CONNECT_WAIT_MS);
	if (r < 0)
		return err_errno(e, errno, "mem_backend: cannot connect to the page-fault handler at \"%s\"", p->path);
	p->process = pager_find_process(p->socket);
	return 0;
}

/* page_size_kib has bytes, too: so Firecracker sends it, and there are handlers that take it for that. */
static size_t pager_describe(const struct guest_mem *mem, char *text)
{
	unsigned int page_size = mem->huge ? MEM_HUGE_PAGE_SIZE : MEM_PAGE_SIZE;
	size_t len = 0;

	for (unsigned int i = 0; i < mem->num_regions; i++)
		len += (size_t)snprintf(text + len, PAGER_MESSAGE_SIZE - len,
					"%c{\"base_host_virt_addr\":%llu,\"size\":%llu,\"offset\":%llu,"
					"\"page_size\":%u,\"page_size_kib\":%u}",
					i == 0 ? '[' : ',', (unsigned long long)(uintptr_t)mem->regions[i].host,
					(unsigned long long)mem->regions[i].size,
					(unsigned long long)mem->regions[i].file_offset, page_size, page_size);
	return len + (size_t)snprintf(text + len, PAGER_MESSAGE_SIZE - len, "]");
}

int pager_send(struct pager *p, struct err *e)
{
	char text[PAGER_MESSAGE_SIZE];
	union {
		struct cmsghdr header;
		uint8_t room[CMSG_SPACE(sizeof(int))];
	} control = { .room = { 0 } };
	struct iovec iov = { .iov_base = text, .iov_len = pager_describe(p->mem, text) };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.room),
	};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
	ssize_t sent;

	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(rights), &p->uffd, sizeof(int));
	sent = sendmsg(p->socket, &message, MSG_NOSIGNAL);
	if (sent == (ssize_t)iov.iov_len)
		return 0;
	return err_errno(e, sent < 0 ? errno : EIO,
			 "mem_backend: the page-fault handler at \"%s\" does not take the message", p->path);
}
