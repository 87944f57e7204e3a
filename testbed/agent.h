/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTBED_AGENT_H
#define TESTBED_AGENT_H

#include <stddef.h>
#include <stdint.h>

/*
 * Frames, both ways: one byte type, length (u32, little endian), payload.
 * testbed/session.py is the other end.
 */
enum frame {
	/* from the host, before the command starts */
	FRAME_CLOCK = 'T',     /* "seconds nanoseconds" of the wall clock */
	FRAME_DIRECTORY = 'D', /* working directory */
	FRAME_SCRATCH = 'S',   /* where the scratch share is mounted */
	FRAME_ARGUMENT = 'A',  /* one a frame */
	FRAME_VARIABLE = 'E',  /* NAME=VALUE, one a frame */
	FRAME_TERMINAL = 'P',  /* the command gets a terminal */
	FRAME_GO = 'G',
	/* from the host, at any time */
	FRAME_WINDOW = 'W', /* "rows columns" */
	FRAME_INPUT = 'I',  /* standard input; empty: its end */
	/* from the agent */
	FRAME_HELLO = 'H',
	FRAME_ALIVE = 'L', /* every AGENT_BEAT_S seconds while the command runs */
	FRAME_OUTPUT = 'O',
	FRAME_ERROR = 'R',
	FRAME_FAILED = 'F', /* the command was not run; why */
	FRAME_EXIT = 'X',   /* exit status, decimal */
};

#define AGENT_BEAT_S 2

/* Waits for the port to the host; returns its descriptor, for poll(). */
int port_open(void);

void frame_send(enum frame type, const void *data, uint32_t len);

/* Payload with a terminating zero byte; the caller frees it. */
enum frame frame_receive(char **data, size_t *len);

/* Tell the host why the command cannot be run, and wait for the end. */
void agent_fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Kernel modules and device nodes: as far as the port to the host needs them. */
void setup_kernel(void);

/* The host's root under an overlay in memory becomes our root. */
void setup_root(void);

/* What keeps KVM from changing code while other machines run. */
void setup_kvm(void);

/* All processors are there; we and what we start stay off the first. */
void setup_processors(void);

/* The writable share, mounted at the same path as on the host. */
void setup_scratch(const char *path);

/* Everything written to the scratch share is with the host. */
void setup_finish(void);

#endif
