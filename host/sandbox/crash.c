// SPDX-License-Identifier: Apache-2.0
/*
 * Handlers of fatal signals. They run on any thread, in any state, with every
 * signal blocked, and never return: terminal, log and metrics have functions
 * for them that take no lock. All that they call is in every filter.
 *
 * A fault inside a handler ends the process at once, by the signal itself: the
 * kernel does not deliver a fault that is blocked. Hence the terminal first.
 */
#include "sandbox/crash.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/terminal.h"
#include "base/textbuf.h"
#include "base/thread.h"
#include "sandbox/asan.h"
#include "sandbox/filters.h"

METRICS_DEFINE(seccomp, SECCOMP_METRICS, false)

#define CRASH_CODE_SECCOMP 1 /* SYS_SECCOMP of <asm-generic/siginfo.h> */

static const struct crash_signal {
	int number;
	bool is_fault; /* AddressSanitizer has a better report for it */
	enum crash_exit exit_code;
	_Atomic uint64_t *count;
} crash_signals[] = {
	{ SIGSYS, false, CRASH_EXIT_SIGSYS, &seccomp_metrics.num_faults },
	{ SIGBUS, true, CRASH_EXIT_SIGBUS, &signals_metrics.sigbus },
	{ SIGSEGV, true, CRASH_EXIT_SIGSEGV, &signals_metrics.sigsegv },
	{ SIGILL, true, CRASH_EXIT_SIGILL, &signals_metrics.sigill },
	{ SIGXCPU, false, CRASH_EXIT_SIGXCPU, &signals_metrics.sigxcpu },
	{ SIGXFSZ, false, CRASH_EXIT_SIGXFSZ, &signals_metrics.sigxfsz },
};

static const struct crash_signal *crash_find(int number)
{
	for (size_t i = 0; i < ARRAY_SIZE(crash_signals); i++)
		if (crash_signals[i].number == number)
			return &crash_signals[i];
	return NULL;
}

static void crash_log_signal(const siginfo_t *info)
{
	char text[128];
	struct textbuf line = { .text = text, .size = sizeof(text) - 1 };

	textbuf_str(&line, "Shutting down VM after intercepting signal ");
	textbuf_u64(&line, (uint64_t)info->si_signo, 1);
	textbuf_str(&line, ", code ");
	if (info->si_code < 0) /* sent by a process */
		textbuf_str(&line, "-");
	textbuf_u64(&line, (uint64_t)(info->si_code < 0 ? -(int64_t)info->si_code : info->si_code), 1);
	textbuf_str(&line, ".");
	text[line.len] = '\0';
	log_crash(text);
}

static void crash_log_syscall(int call)
{
	char text[128];
	struct textbuf line = { .text = text, .size = sizeof(text) - 1 };
	const char *name = sandbox_syscall_name(call);

	textbuf_str(&line, "Shutting down VM after intercepting a bad syscall (");
	textbuf_u64(&line, (uint32_t)call, 1);
	if (name) {
		textbuf_str(&line, ", ");
		textbuf_str(&line, name);
	}
	textbuf_str(&line, ").");
	text[line.len] = '\0';
	log_crash(text);
}

static void crash_handler(int number, siginfo_t *info, void *context)
{
	const struct crash_signal *signal = crash_find(number);

	(void)context;
	terminal_end();
	crash_log_signal(info);
	if (number == SIGSYS && info->si_code == CRASH_CODE_SECCOMP)
		crash_log_syscall(info->si_syscall);
	if (signal)
		atomic_fetch_add_explicit(signal->count, 1, memory_order_relaxed);
	metrics_flush_crash();
	terminal_end(); /* again: a thread may have been on its way to make it raw */
	_exit(signal ? signal->exit_code : CRASH_EXIT_UNEXPECTED);
}

int crash_init(struct err *e)
{
	struct sigaction sa = { .sa_sigaction = crash_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigfillset(&sa.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(crash_signals); i++) {
		if (crash_signals[i].is_fault && SANDBOX_UNDER_ASAN)
			continue;
		if (sigaction(crash_signals[i].number, &sa, NULL) < 0)
			return err_errno(e, errno, "cannot install the handler of signal %d", crash_signals[i].number);
	}
	return 0;
}

int crash_init_thread(struct err *e)
{
	/* The kernel saves up to 11 KiB of registers there (AMX); a line of the log is built in half a KiB. */
	const stack_t stack = { .ss_sp = thread_signal_stack(), .ss_size = THREAD_SIGNAL_STACK_SIZE };
	sigset_t set;

	/* A sanitizer has given the thread a stack of its own. */
	if (!SANDBOX_UNDER_ASAN && sigaltstack(&stack, NULL) < 0)
		return err_errno(e, errno, "cannot set a stack for signal handlers");
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(crash_signals); i++)
		sigaddset(&set, crash_signals[i].number);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	return 0;
}

_Noreturn void crash_leave(const char *text, int number)
{
	sigset_t set;

	terminal_end();
	log_crash(text);
	metrics_flush_crash();
	terminal_end();
	if (number) {
		sigemptyset(&set);
		sigaddset(&set, number);
		pthread_sigmask(SIG_UNBLOCK, &set, NULL); /* it is delivered here */
	}
	/* The first process of a PID namespace does not die of its own signals. */
	_exit(number ? 128 + number : 1);
}
