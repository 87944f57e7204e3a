// SPDX-License-Identifier: Apache-2.0
/*
 * What a guest does on a network while bench/reference_network.py measures at the
 * other end. Static: it gets into the guest on a drive of its own.
 *
 * Usage: bench_tcp send ADDRESS PORT SECONDS
 *        bench_tcp receive ADDRESS PORT
 *        bench_tcp get ADDRESS PORT PATH REQUESTS kept|new
 *
 * send      connects, and sends as much as it can for so long.
 * receive   connects, reads to the end, and says so by a byte.
 * get       asks by HTTP for PATH so often, on one connection or on a new one each time, and prints the seconds that it took.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BLOCK	     (128u * 1024)
#define ANSWER_ROOM  8192u
#define LENGTH_FIELD "Content-Length:"

static char block[BLOCK];

static void die(const char *what)
{
	fprintf(stderr, "bench_tcp: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int connect_to(const char *address, const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1)
		die("address");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("connect");
	return fd;
}

static void write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n <= 0)
			die("write");
		data += n;
		len -= (size_t)n;
	}
}

static void send_for(int fd, double seconds)
{
	double end = now_s() + seconds;

	while (now_s() < end)
		write_all(fd, block, sizeof(block));
}

static void receive(int fd)
{
	ssize_t n;

	while ((n = read(fd, block, sizeof(block))) > 0) {
	}
	if (n < 0)
		die("read");
	write_all(fd, "!", 1);
}

/* How long the answer is whose first len bytes are here; 0: its header is not there yet. */
static size_t answer_len(const char *answer, size_t len)
{
	const char *end = memmem(answer, len, "\r\n\r\n", 4), *field;
	size_t body = 0;

	if (!end)
		return 0;
	for (field = answer; field < end; field = strstr(field, "\r\n") + 2)
		if (!strncasecmp(field, LENGTH_FIELD, strlen(LENGTH_FIELD)))
			body = strtoul(field + strlen(LENGTH_FIELD), NULL, 10);
	return (size_t)(end - answer) + 4 + body;
}

static void expect_answer(int fd)
{
	char answer[ANSWER_ROOM + 1];
	size_t len = 0, whole = 0;

	while (!whole || len < whole) {
		ssize_t n = len < ANSWER_ROOM ? read(fd, answer + len, ANSWER_ROOM - len) : -1;

		if (n <= 0)
			die("an answer");
		len += (size_t)n;
		answer[len] = '\0';
		whole = answer_len(answer, len);
	}
	if (!strstr(answer, " 200"))
		die(answer);
}

static void get(const char *address, const char *port, const char *path, long requests, bool kept)
{
	double begin = now_s();
	char request[512];
	int fd = -1, len = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, address);

	if (len < 0 || (size_t)len >= sizeof(request))
		die("path");
	for (long i = 0; i < requests; i++) {
		if (fd < 0)
			fd = connect_to(address, port);
		write_all(fd, request, (size_t)len);
		expect_answer(fd);
		if (!kept) {
			close(fd);
			fd = -1;
		}
	}
	printf("took %.6f\n", now_s() - begin);
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "send"))
		send_for(connect_to(argv[2], argv[3]), atof(argv[4]));
	else if (argc == 4 && !strcmp(argv[1], "receive"))
		receive(connect_to(argv[2], argv[3]));
	else if (argc == 7 && !strcmp(argv[1], "get"))
		get(argv[2], argv[3], argv[4], atol(argv[5]), !strcmp(argv[6], "kept"));
	else
		die("usage: see the source");
	return EXIT_SUCCESS;
}
