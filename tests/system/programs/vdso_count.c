// SPDX-License-Identifier: Apache-2.0
/*
 * Counts the system calls getrandom(2) that a program makes while it draws
 * DRAWS times 16 bytes by getrandom() of the vDSO: by tracing it, so that it
 * need not say so itself. One draw before gets the key.
 *
 * Usage: vdso_count
 *
 * Prints "calls N of DRAWS". The vDSO asks for a new key when the kernel has
 * one, which is now and then.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vdso.h"

#define DRAWS 1000
#define LEN   16

static void die(const char *what)
{
	printf("vdso_count: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static void draw(struct vdso_getrandom *v, int times)
{
	uint8_t bytes[LEN];

	for (int i = 0; i < times; i++) {
		if (vdso_getrandom(v, bytes, LEN, 0) != LEN)
			_exit(EXIT_FAILURE);
	}
}

/* Whether the child is alive, and stopped. */
static int wait_for_stop(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS)
		return 0;
	if (!WIFSTOPPED(status)) {
		errno = ECHILD;
		die("what draws has failed");
	}
	return 1;
}

int main(void)
{
	struct vdso_getrandom *v = vdso_getrandom_new();
	struct user_regs_struct regs;
	int stops = 0;
	pid_t pid;

	if (!v)
		die("no getrandom() in the vDSO");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		draw(v, 1);
		raise(SIGSTOP);
		draw(v, DRAWS);
		_exit(EXIT_SUCCESS);
	}
	while (wait_for_stop(pid)) {
		if (ptrace(PTRACE_GETREGS, pid, NULL, &regs))
			die("PTRACE_GETREGS");
		stops += regs.orig_rax == SYS_getrandom;
		if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL))
			die("PTRACE_SYSCALL");
	}
	printf("calls %d of %d\n", stops / 2, DRAWS); /* it stops before and after each */
	return EXIT_SUCCESS;
}
