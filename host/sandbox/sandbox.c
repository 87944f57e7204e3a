// SPDX-License-Identifier: Apache-2.0
/*
 * Installing a filter: prctl(2) and the program that the build has made, with
 * the process's own id put in, or the one of a custom filter (custom.h).
 */
#include "sandbox/sandbox.h"

#include <linux/seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "sandbox/asan.h"
#include "sandbox/crash.h"
#include "sandbox/filters.h"

#define FILTER_NAME(id, name) [SANDBOX_##id] = (name),
const char *const sandbox_names[SANDBOX_NUM_FILTERS] = { SANDBOX_FILTERS(FILTER_NAME) };

static bool sandbox_filters;				      /* set once, before there is a second thread */
static bool sandbox_loop_entered;			      /* loop thread only */
static struct sock_fprog sandbox_custom[SANDBOX_NUM_FILTERS]; /* set once, before a second thread; or empty */

int sandbox_init(bool filters, struct err *e)
{
	int r = crash_init(e);

	if (r < 0)
		return r;
	/* Reads the time zone: later, localtime_r(3) opens no file any more. */
	tzset();
	sandbox_filters = filters && !SANDBOX_UNDER_ASAN;
	/* Without this only root may install filters. Nothing that we could execute would gain rights, either. */
	if (sandbox_filters && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(e, errno, "cannot give up the gaining of privileges");
	return 0;
}

static void sandbox_put_own_pid(const struct sock_fprog *prog)
{
	for (unsigned int i = 0; i < prog->len; i++)
		if (prog->filter[i].code == (BPF_JMP | BPF_JEQ | BPF_K) && prog->filter[i].k == SANDBOX_OWN_PID)
			prog->filter[i].k = (uint32_t)getpid();
}

void sandbox_use(const struct sock_fprog programs[SANDBOX_NUM_FILTERS])
{
	memcpy(sandbox_custom, programs, sizeof(sandbox_custom));
	for (unsigned int i = 0; i < SANDBOX_NUM_FILTERS; i++)
		sandbox_put_own_pid(&sandbox_custom[i]);
}

static int sandbox_install(const struct sock_fprog *prog)
{
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, prog) < 0 ? -errno : 0;
}

/* On the stack: a vCPU's thread allocates nothing, so that its list needs nothing for it. */
static int sandbox_install_builtin(const struct sandbox_program *program)
{
	struct sock_filter insns[SANDBOX_MAX_INSNS];
	const struct sock_fprog prog = { .len = program->num_insns, .filter = insns };

	memcpy(insns, program->insns, program->num_insns * sizeof(*insns));
	sandbox_put_own_pid(&prog);
	return sandbox_install(&prog);
}

int sandbox_enter(enum sandbox_filter filter, struct err *e)
{
	/* The loop thread has called us before it enters this one. */
	int r = filter == SANDBOX_LOOP ? 0 : crash_init_thread(e);

	if (r < 0 || !sandbox_filters || (filter == SANDBOX_LOOP && sandbox_loop_entered))
		return r;
	r = sandbox_custom[filter].len ? sandbox_install(&sandbox_custom[filter])
				       : sandbox_install_builtin(&sandbox_programs[filter]);
	if (r < 0)
		return err_errno(e, -r, "cannot install the system call filter \"%s\"; --no-seccomp does without",
				 sandbox_names[filter]);
	if (filter == SANDBOX_LOOP)
		sandbox_loop_entered = true;
	return 0;
}
