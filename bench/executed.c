// SPDX-License-Identifier: Apache-2.0
/*
 * Which of a program's instructions are carried out, by single-stepping all of
 * its threads: tools/startup-order makes of it which functions lie together.
 *
 * Usage: bench_executed FILE PROGRAM [ARGUMENT...]
 *
 * Writes to FILE where each is, a hexadecimal line the first time, counted from where the program begins. Ends with it.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "report.h"

#define MAX_PROGRAM (16u * 1024 * 1024)

static bool seen[MAX_PROGRAM];

/* Where the kernel has put the program's file: the first mapping of a file. Those of the vDSO can be below it. */
static uint64_t program_base(pid_t pid)
{
	unsigned long long base = 0, inode = 0;
	char path[64], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "re");
	expect(f != NULL, path);
	while (inode == 0 && fgets(line, sizeof(line), f))
		expect(sscanf(line, "%llx-%*x %*s %*s %*s %llu", &base, &inode) == 2, path);
	expect(inode != 0, path);
	fclose(f);
	return base;
}

static void note(pid_t thread, uint64_t base, FILE *out)
{
	struct user_regs_struct regs;
	uint64_t at;

	if (ptrace(PTRACE_GETREGS, thread, 0, &regs) < 0)
		return; /* it was killed meanwhile */
	at = regs.rip - base;
	if (at >= sizeof(seen) || seen[at])
		return;
	seen[at] = true;
	fprintf(out, "%llx\n", (unsigned long long)at);
	fflush(out);
}

static pid_t start(char **argv)
{
	pid_t pid = fork();
	int status;

	expect(pid >= 0, "fork");
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, 0, 0) == 0)
			execv(argv[0], argv);
		_exit(127);
	}
	expect(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status), argv[0]);
	expect(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL) == 0, "ptrace");
	return pid;
}

static void step_to_the_end(pid_t pid, FILE *out)
{
	uint64_t base = program_base(pid);
	pid_t thread = pid;
	int status, number = 0;

	do {
		if (thread > 0) {
			note(thread, base, out);
			/* One that is gone is met again by waitpid(). */
			(void)ptrace(PTRACE_SINGLESTEP, thread, 0, number);
		}
		thread = waitpid(-1, &status, __WALL);
		expect(thread > 0, "waitpid");
		if (!WIFSTOPPED(status)) {
			if (thread == pid)
				return;
			thread = 0;
			continue;
		}
		number = WSTOPSIG(status) == SIGTRAP || WSTOPSIG(status) == SIGSTOP ? 0 : WSTOPSIG(status);
	} while (true);
}

int main(int argc, char **argv)
{
	FILE *out;

	errno = EINVAL;
	expect(argc >= 3, "usage: bench_executed FILE PROGRAM [ARGUMENT...]");
	out = fopen(argv[1], "we");
	expect(out != NULL, argv[1]);
	step_to_the_end(start(argv + 2), out);
	return EXIT_SUCCESS;
}
