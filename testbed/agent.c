// SPDX-License-Identifier: Apache-2.0
/*
 * First process of the testbed's outer machine, and the only program in its
 * initramfs. Loads the kernel modules, puts the host's root (9p, read-only)
 * under an overlay in memory, runs one command there and carries its standard
 * streams over a virtio-serial port to testbed/session.py on the host.
 *
 * The machine is ended by the host: the agent only waits after it has sent the
 * exit status, so nothing that is still on its way out can be lost.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define STRINGS_MAX 65536 /* arguments, or variables */

struct strings {
	char **v;
	size_t n;
};

static int port_fd = -1; /* for poll(); frames go through port.c */
static struct strings arguments, variables;
static char *directory;
static bool want_terminal;
static struct winsize window;

/* The command's streams. -1: closed. With a terminal all three are its master. */
static int in_fd = -1, out_fd = -1, err_fd = -1;
static pid_t command_pid;

/* Standard input that the command has not taken yet; we read no frame meanwhile. */
static char *input;
static size_t input_len, input_done;

static void strings_add(struct strings *s, char *text)
{
	if (s->n >= STRINGS_MAX)
		agent_fail("more than %d arguments or variables", STRINGS_MAX);
	s->v = realloc(s->v, (s->n + 2) * sizeof(*s->v));
	if (!s->v)
		agent_fail("out of memory");
	s->v[s->n++] = text;
	s->v[s->n] = NULL;
}

static void clock_set(const char *text)
{
	struct timespec now;

	if (sscanf(text, "%ld %ld", &now.tv_sec, &now.tv_nsec) == 2)
		clock_settime(CLOCK_REALTIME, &now);
}

static void window_set(const char *text)
{
	if (sscanf(text, "%hu %hu", &window.ws_row, &window.ws_col) != 2)
		return;
	if (want_terminal && in_fd >= 0)
		ioctl(in_fd, TIOCSWINSZ, &window);
}

/* Everything that the host says before FRAME_GO. */
static void receive_task(void)
{
	char *data;
	size_t len;

	for (;;) {
		switch ((int)frame_receive(&data, &len)) {
		case FRAME_CLOCK:
			clock_set(data);
			break;
		case FRAME_DIRECTORY:
			directory = data;
			continue;
		case FRAME_SCRATCH:
			setup_scratch(data);
			break;
		case FRAME_ARGUMENT:
			strings_add(&arguments, data);
			continue;
		case FRAME_VARIABLE:
			strings_add(&variables, data);
			continue;
		case FRAME_TERMINAL:
			want_terminal = true;
			break;
		case FRAME_WINDOW:
			window_set(data);
			break;
		case FRAME_GO:
			free(data);
			return;
		}
		free(data);
	}
}

/* In the child; never returns. */
static void command_exec(int in, int out, int err)
{
	sigset_t none;

	setsid();
	if (want_terminal)
		ioctl(in, TIOCSCTTY, 0);
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);

	environ = variables.v;
	execvp(arguments.v[0], arguments.v);
	dprintf(STDERR_FILENO, "testbed: %s: %s\n", arguments.v[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

static void open_terminal(int child[3])
{
	in_fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (in_fd < 0 || unlockpt(in_fd) < 0)
		agent_fail("cannot open a terminal: %s", strerror(errno));
	ioctl(in_fd, TIOCSWINSZ, &window);
	child[0] = open(ptsname(in_fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (child[0] < 0)
		agent_fail("cannot open %s: %s", ptsname(in_fd), strerror(errno));
	child[1] = child[2] = child[0];
	out_fd = in_fd;
}

static void open_pipes(int child[3])
{
	int in[2], out[2], err[2];

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
		agent_fail("cannot open a pipe: %s", strerror(errno));
	child[0] = in[0];
	in_fd = in[1];
	out_fd = out[0];
	child[1] = out[1];
	err_fd = err[0];
	child[2] = err[1];
	/* Only our ends: a program that finds its stdin non-blocking would be surprised. */
	fcntl(in_fd, F_SETFL, O_NONBLOCK);
}

static void command_start(void)
{
	int child[3];

	if (arguments.n == 0)
		agent_fail("there is no command");
	if (want_terminal)
		open_terminal(child);
	else
		open_pipes(child);

	command_pid = fork();
	if (command_pid < 0)
		agent_fail("cannot start a process: %s", strerror(errno));
	if (command_pid == 0)
		command_exec(child[0], child[1], child[2]);
	close(child[0]);
	if (!want_terminal) {
		close(child[1]);
		close(child[2]);
	}
}

static void input_close(void)
{
	/* A terminal's end of input is the ^D that the person typed. */
	if (!want_terminal && in_fd >= 0) {
		close(in_fd);
		in_fd = -1;
	}
	free(input);
	input = NULL;
}

static void input_pass_on(void)
{
	ssize_t n = write(in_fd, input + input_done, input_len - input_done);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		input_close();
		return;
	}
	input_done += n;
	if (input_done == input_len) {
		free(input);
		input = NULL;
	}
}

static void host_says(void)
{
	char *data;
	size_t len;
	enum frame type = frame_receive(&data, &len);

	if (type == FRAME_INPUT && len == 0) {
		input_close();
	} else if (type == FRAME_INPUT && in_fd >= 0) {
		input = data;
		input_len = len;
		input_done = 0;
		input_pass_on();
		return;
	} else if (type == FRAME_WINDOW) {
		window_set(data);
	}
	free(data);
}

/* Returns false at the end of the stream. */
static bool output_pass_on(int fd, enum frame type)
{
	static char buf[64 * 1024];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n > 0)
		frame_send(type, buf, n);
	/* A terminal that nobody has open any more reads as EIO. */
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void output_drain(int fd, enum frame type)
{
	if (fd < 0)
		return;
	fcntl(fd, F_SETFL, 0);
	while (output_pass_on(fd, type))
		;
}

/* Reaps whatever ended. Returns true when the command itself did, with its status. */
static bool command_ended(int *status)
{
	bool ended = false;
	int wstatus;
	pid_t pid;

	while ((pid = waitpid(-1, &wstatus, WNOHANG)) > 0) {
		if (pid != command_pid)
			continue;
		ended = true;
		*status = WIFSIGNALED(wstatus) ? 128 + WTERMSIG(wstatus) : WEXITSTATUS(wstatus);
	}
	return ended;
}

static int beat_start(void)
{
	const struct itimerspec beat = { .it_interval.tv_sec = AGENT_BEAT_S, .it_value.tv_sec = AGENT_BEAT_S };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	if (fd < 0 || timerfd_settime(fd, 0, &beat, NULL) < 0)
		agent_fail("cannot start a timer: %s", strerror(errno));
	return fd;
}

static void event_loop(int sigchld_fd, int beat_fd, int *status)
{
	enum { PORT, CHILD, OUT, ERR, IN, BEAT, NUM };
	struct signalfd_siginfo info;
	uint64_t beats;

	for (;;) {
		struct pollfd p[] = {
			[PORT] = { .fd = input ? -1 : port_fd, .events = POLLIN },
			[CHILD] = { .fd = sigchld_fd, .events = POLLIN },
			[OUT] = { .fd = out_fd, .events = POLLIN },
			[ERR] = { .fd = err_fd, .events = POLLIN },
			[IN] = { .fd = input ? in_fd : -1, .events = POLLOUT },
			[BEAT] = { .fd = beat_fd, .events = POLLIN },
		};

		if (poll(p, NUM, -1) < 0)
			continue;
		if (p[BEAT].revents && read(beat_fd, &beats, sizeof(beats)) > 0)
			frame_send(FRAME_ALIVE, "", 0);
		if (p[OUT].revents && !output_pass_on(out_fd, FRAME_OUTPUT))
			out_fd = -1;
		if (p[ERR].revents && !output_pass_on(err_fd, FRAME_ERROR))
			err_fd = -1;
		if (p[IN].revents)
			input_pass_on();
		else if (p[PORT].revents)
			host_says();
		if (p[CHILD].revents && read(sigchld_fd, &info, sizeof(info)) > 0 && command_ended(status))
			return;
	}
}

int main(void)
{
	sigset_t sigchld;
	int sigchld_fd, beat_fd, status = 0;
	char text[16];

	setup_kernel();
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&sigchld);
	sigaddset(&sigchld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &sigchld, NULL);
	sigchld_fd = signalfd(-1, &sigchld, SFD_CLOEXEC);

	port_fd = port_open();
	frame_send(FRAME_HELLO, "", 0);
	setup_root();
	setup_kvm();
	setup_processors();
	receive_task();
	if (chdir(directory ? directory : "/") < 0)
		agent_fail("cannot enter the directory %s: %s", directory, strerror(errno));

	beat_fd = beat_start();
	signal(SIGPIPE, SIG_DFL); /* for the command */
	command_start();
	signal(SIGPIPE, SIG_IGN);
	event_loop(sigchld_fd, beat_fd, &status);

	/* What the command left running ends with it, or its streams would never end. */
	kill(-1, SIGKILL);
	output_drain(out_fd, FRAME_OUTPUT);
	output_drain(err_fd, FRAME_ERROR);
	setup_finish();
	snprintf(text, sizeof(text), "%d", status);
	frame_send(FRAME_EXIT, text, strlen(text));
	for (;;)
		pause();
}
