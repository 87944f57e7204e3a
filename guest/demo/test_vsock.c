// SPDX-License-Identifier: Apache-2.0
/*
 * Sockets between guest and host (AF_VSOCK), for trying out the monitor's vsock
 * device (docs/vsock.md).
 *
 * Usage: test_vsock listen PORT echo|sum|deaf
 *        test_vsock connect PORT BYTES
 *
 * listen serves each connection by a process of its own: echo sends back what it
 * gets, sum tells at its end how many bytes there were and their Adler-32
 * checksum, deaf never reads. connect connects to the host, sends that many bytes
 * (0, 1, ... 250, 0, ...), closes its sending half, reads until the end, and
 * prints what it has sent and got.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define CHUNK 65536u

static unsigned char buf[CHUNK];

struct sum {
	unsigned long long len;
	uint32_t a, b;
};

static void die(const char *what)
{
	fprintf(stderr, "test_vsock: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void sum_add(struct sum *sum, const unsigned char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		sum->a = (sum->a + data[i]) % 65521;
		sum->b = (sum->b + sum->a) % 65521;
	}
	sum->len += len;
}

static uint32_t sum_value(const struct sum *sum)
{
	return sum->b << 16 | sum->a;
}

static void write_all(int fd, const unsigned char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0)
			die("write");
		data += n;
		len -= (size_t)n;
	}
}

static void read_all(int fd, struct sum *sum, int echo)
{
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		sum_add(sum, buf, (size_t)n);
		if (echo)
			write_all(fd, buf, (size_t)n);
	}
	if (n < 0)
		die("read");
}

static void serve(int fd, const char *mode)
{
	struct sum sum = { .a = 1 };
	char text[64];

	if (!strcmp(mode, "deaf")) {
		for (;;)
			pause();
	}
	read_all(fd, &sum, !strcmp(mode, "echo"));
	if (!strcmp(mode, "sum")) {
		int len = snprintf(text, sizeof(text), "%llu %08x\n", sum.len, sum_value(&sum));

		write_all(fd, (unsigned char *)text, (size_t)len);
	}
	exit(0);
}

static void listen_to(unsigned int port, const char *mode)
{
	struct sockaddr_vm addr = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port };
	int server = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (server < 0 || bind(server, (struct sockaddr *)&addr, sizeof(addr)) || listen(server, 64))
		die("cannot listen");
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int fd = accept(server, NULL, NULL);
		pid_t pid = fd >= 0 ? fork() : -1;

		if (pid == 0) {
			close(server);
			serve(fd, mode);
		}
		if (pid < 0)
			fprintf(stderr, "test_vsock: a connection is not served: %s\n", strerror(errno));
		if (fd >= 0)
			close(fd);
	}
}

static int connect_to(unsigned int port, unsigned long long len)
{
	struct sockaddr_vm addr = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = port };
	struct sum sent = { .a = 1 }, got = { .a = 1 };
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		die("cannot connect");
	while (sent.len < len) {
		size_t n = len - sent.len < CHUNK ? (size_t)(len - sent.len) : CHUNK;

		for (size_t i = 0; i < n; i++)
			buf[i] = (unsigned char)((sent.len + i) % 251);
		write_all(fd, buf, n);
		sum_add(&sent, buf, n);
	}
	if (shutdown(fd, SHUT_WR))
		die("shutdown");
	read_all(fd, &got, 0);
	printf("sent %llu %08x got %llu %08x\n", sent.len, sum_value(&sent), got.len, sum_value(&got));
	return 0;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN); /* from Linux 6.7 on a write to a socket that the host has closed raises it */
	if (argc == 4 && !strcmp(argv[1], "listen") &&
	    (!strcmp(argv[3], "echo") || !strcmp(argv[3], "sum") || !strcmp(argv[3], "deaf")))
		listen_to((unsigned int)strtoul(argv[2], NULL, 10), argv[3]); /* for ever */
	if (argc == 4 && !strcmp(argv[1], "connect"))
		return connect_to((unsigned int)strtoul(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
	fprintf(stderr, "Usage: test_vsock listen PORT echo|sum|deaf | connect PORT BYTES\n");
	return 2;
}
