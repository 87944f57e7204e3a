// SPDX-License-Identifier: Apache-2.0
/*
 * Draws random bytes without end, and keeps what it draws in the machine's next
 * life: 1 MiB a stream, from the first request after the restore on.
 *
 * Usage: draw-SOURCE one|fork|threads LEN OUT
 *
 * LEN is the length of a request. Once every stream is warm (generators are made
 * at the first request) the program says DRAWING. From then on a snapshot may
 * fall anywhere, between two requests or into one. In a machine that was
 * restored from it the streams are written to OUT, one behind the other, then
 * the program says DRAWN.
 *
 * Which life it is tells the word of /dev/sysgenid: it changes before the first
 * instruction after the restore. A short request that the restore fell into is
 * not kept: it may have been complete, a few instructions before it was ours. A
 * long one is: nearly all of its time is work that has to notice.
 */
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define STREAM_LEN  (1 << 20)
#define STREAMS	    4
#define LONG_LEN    16384
#define WARM	    100 /* requests */
#define BURST	    64	/* requests of a process between two forks */
#define GENERATIONS "/dev/sysgenid"

struct stream {
	uint8_t bytes[STREAM_LEN];
	size_t have;
	unsigned int requests; /* of the life before, up to WARM */
};

/* Parent and child have it in common. */
struct streams {
	_Atomic int cold;
	struct stream stream[STREAMS];
};

static const volatile uint32_t *generation; /* mapped; the machine's, not ours */
static uint32_t born;			    /* the generation that this program was started in */
static size_t request_len;
static struct streams *streams;

static void die(const char *what)
{
	fprintf(stderr, "draw: %s: %s\n", what, strerror(errno));
	_exit(EXIT_FAILURE);
}

static void stream_warm_up(struct stream *stream)
{
	if (stream->requests < WARM && ++stream->requests == WARM && --streams->cold == 0 && puts("DRAWING") >= 0)
		fflush(stdout);
}

/* One request. True once the stream is whole. */
static bool stream_step(struct stream *stream)
{
	uint8_t request[STREAM_LEN];
	bool before = *generation == born;

	if (source_draw(request, request_len))
		die("no random bytes");
	if (before && (*generation == born || request_len < LONG_LEN)) {
		stream_warm_up(stream);
		return false;
	}
	if (stream->have < STREAM_LEN) {
		memcpy(stream->bytes + stream->have, request, request_len);
		stream->have += request_len;
	}
	return stream->have == STREAM_LEN;
}

static void *stream_fill(void *stream)
{
	while (!stream_step(stream))
		;
	return NULL;
}

static void run_one(void)
{
	stream_fill(&streams->stream[0]);
}

/* Some requests; all of them once this is another life. True if the stream is whole. */
static bool run_burst(struct stream *stream)
{
	for (int i = 0; i < BURST; i++)
		if (stream_step(stream))
			return true;
	if (*generation != born)
		stream_fill(stream);
	return stream->have == STREAM_LEN;
}

/* A child at a time, over and over: it draws beside its parent. */
static void run_fork(void)
{
	bool whole = false;
	int status;

	while (!whole) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (pid == 0) {
			run_burst(&streams->stream[1]);
			_exit(EXIT_SUCCESS);
		}
		whole = run_burst(&streams->stream[0]);
		if (waitpid(pid, &status, 0) != pid || status != 0)
			die("the child has failed");
		whole = whole && streams->stream[1].have == STREAM_LEN;
	}
}

static void run_threads(void)
{
	pthread_t threads[STREAMS];

	for (int i = 0; i < STREAMS; i++)
		if (pthread_create(&threads[i], NULL, stream_fill, &streams->stream[i]))
			die("no thread");
	for (int i = 0; i < STREAMS; i++)
		pthread_join(threads[i], NULL);
}

static const struct shape {
	const char *name;
	void (*run)(void);
	int streams;
} shapes[] = { { "one", run_one, 1 }, { "fork", run_fork, 2 }, { "threads", run_threads, STREAMS } };

static const struct shape *find_shape(const char *name)
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		if (strcmp(shapes[i].name, name) == 0)
			return &shapes[i];
	return NULL;
}

static void map_generation(void)
{
	int fd = open(GENERATIONS, O_RDONLY | O_CLOEXEC);
	const void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*generation), PROT_READ, MAP_SHARED, fd, 0);

	if (page == MAP_FAILED)
		die(GENERATIONS);
	close(fd);
	generation = page;
	born = *generation;
}

static void write_streams(const char *path, int count)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		die(path);
	for (int i = 0; i < count; i++)
		if (pwrite(fd, streams->stream[i].bytes, STREAM_LEN, (off_t)i * STREAM_LEN) != STREAM_LEN)
			die(path);
	if (fsync(fd) < 0 || close(fd) < 0)
		die(path);
}

int main(int argc, char **argv)
{
	const struct shape *shape = argc == 4 ? find_shape(argv[1]) : NULL;

	request_len = shape ? strtoul(argv[2], NULL, 10) : 0;
	if (!request_len || STREAM_LEN % request_len) {
		fprintf(stderr, "usage: draw-SOURCE one|fork|threads LEN OUT\n");
		return 2;
	}
	streams = mmap(NULL, sizeof(*streams), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (streams == MAP_FAILED)
		die("no memory");
	map_generation();
	if (source_init())
		die("no random bytes");
	streams->cold = shape->streams;
	shape->run();
	write_streams(argv[3], shape->streams);
	puts("DRAWN");
	return EXIT_SUCCESS;
}
