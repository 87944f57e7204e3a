// SPDX-License-Identifier: Apache-2.0
/*
 * Custom filters: what needs more than one field to be checked, and libseccomp,
 * which makes programs of them while the process starts, before there is a
 * filter that would have to allow that.
 */
#include "sandbox/custom.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/fdio.h"
#include "sandbox/custom_json.h"

#define FILE_MAX_LEN (1024u * 1024)
#define MAX_INSNS    4096 /* the kernel's BPF_MAXINSNS */

static const struct custom_rule *rule_at(const struct custom_filter *f, unsigned int i)
{
	return (const struct custom_rule *)f->rules.items + i;
}

static uint32_t action_of(const struct custom_filter *f, const struct custom_rule *rule)
{
	return rule->has_action ? rule->action : f->filter_action;
}

/* A number that the argument's type cannot have, or the mask takes away, would make a rule that never matches. */
static int check_arg(const struct custom_arg *arg, struct err *e)
{
	uint64_t all = arg->type == CUSTOM_DWORD ? UINT32_MAX : INT64_MAX;

	if (arg->op.mask > all)
		return err_set(e, EINVAL,
			       "field \"op\": {\"masked_eq\": %llu} is not allowed with type \"dword\": expected a "
			       "mask from 1 to %llu",
			       (unsigned long long)arg->op.mask, (unsigned long long)all);
	if (arg->val > all)
		return err_set(e, EINVAL,
			       "field \"val\": %llu is not allowed with type \"dword\": expected an integer from 0 "
			       "to %llu",
			       (unsigned long long)arg->val, (unsigned long long)all);
	if (arg->op.compare == SCMP_CMP_MASKED_EQ && arg->val & ~arg->op.mask)
		return err_set(e, EINVAL, "field \"val\": %llu is not allowed: expected none but bits of the mask %llu",
			       (unsigned long long)arg->val, (unsigned long long)arg->op.mask);
	return 0;
}

/* As seccompiler does it: eq of a dword is the lower half's, since the kernel ignores the upper one of an int. */
static struct scmp_arg_cmp compare_of(const struct custom_arg *arg)
{
	if (arg->op.compare == SCMP_CMP_MASKED_EQ)
		return SCMP_CMP64(arg->index, SCMP_CMP_MASKED_EQ, arg->op.mask, arg->val);
	if (arg->op.compare == SCMP_CMP_EQ && arg->type == CUSTOM_DWORD)
		return SCMP_CMP64(arg->index, SCMP_CMP_MASKED_EQ, UINT32_MAX, arg->val);
	return SCMP_CMP64(arg->index, arg->op.compare, arg->val, 0);
}

/* libseccomp does not say which of two rules counts when both match and their actions differ. */
static int check_action(const struct custom_filter *f, unsigned int i, struct err *e)
{
	uint32_t action = action_of(f, rule_at(f, i));

	if (action == f->default_action)
		return err_set(e, EINVAL, "its action is not allowed: expected another one than the default_action");
	for (unsigned int j = 0; j < i; j++)
		if (rule_at(f, j)->call == rule_at(f, i)->call && action_of(f, rule_at(f, j)) != action)
			return err_set(e, EINVAL,
				       "its action is not allowed: expected that of filter[%u], which has the same "
				       "system call",
				       j);
	return 0;
}

static int add_rule(scmp_filter_ctx ctx, const struct custom_filter *f, unsigned int i, struct err *e)
{
	const struct custom_rule *rule = rule_at(f, i);
	struct scmp_arg_cmp args[CUSTOM_MAX_ARGS];
	unsigned int seen = 0;
	int r;

	r = check_action(f, i, e);
	if (r < 0)
		return r;
	for (unsigned int a = 0; a < rule->args.num; a++) {
		const struct custom_arg *arg = (const struct custom_arg *)rule->args.items + a;

		r = check_arg(arg, e);
		if (!r && seen & 1u << arg->index)
			r = err_set(e, EINVAL, "field \"index\": %u is not allowed a second time", arg->index);
		if (r < 0)
			return err_wrap(e, r, "args[%u]", a);
		seen |= 1u << arg->index;
		args[a] = compare_of(arg);
	}
	r = seccomp_rule_add_exact_array(ctx, action_of(f, rule), rule->call, rule->args.num, args);
	return r < 0 ? err_errno(e, -r, "libseccomp rejected it") : 0;
}

/* Whatever its arguments are. */
static bool always_allows(const struct custom_filter *f, int call)
{
	bool is_named = false;

	for (unsigned int i = 0; i < f->rules.num; i++) {
		uint32_t action = action_of(f, rule_at(f, i));

		if (rule_at(f, i)->call != call)
			continue;
		is_named = true;
		if (!rule_at(f, i)->args.num && (action == SCMP_ACT_ALLOW || action == SCMP_ACT_LOG))
			return true;
	}
	return !is_named && (f->default_action == SCMP_ACT_ALLOW || f->default_action == SCMP_ACT_LOG);
}

/* By which threads end, and the process when a thread has made a forbidden call. */
static int check_ends(const struct custom_filter *f, struct err *e)
{
	static const struct {
		const char *name;
		int call;
	} ends[] = { { "exit", SCMP_SYS(exit) }, { "exit_group", SCMP_SYS(exit_group) } };

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (!always_allows(f, ends[i].call))
			return err_set(e, EINVAL,
				       "%s is not allowed by it: each filter has to allow exit and exit_group, "
				       "whatever their arguments",
				       ends[i].name);
	return 0;
}

/* libseccomp writes to a descriptor only. */
static int export_program(scmp_filter_ctx ctx, struct sock_fprog *program, struct err *e)
{
	_cleanup_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
	struct sock_filter *insns;
	off_t len;
	int r = fd < 0 ? -errno : seccomp_export_bpf(ctx, fd);

	if (r < 0)
		return err_errno(e, -r, "cannot compile it");
	len = lseek(fd, 0, SEEK_END);
	if (len < 0)
		return err_errno(e, errno, "cannot compile it");
	if ((size_t)len > MAX_INSNS * sizeof(*insns))
		return err_set(e, E2BIG, "it has %zu instructions when compiled, allowed are %d",
			       (size_t)len / sizeof(*insns), MAX_INSNS);
	insns = malloc((size_t)len);
	if (!insns)
		return err_set(e, ENOMEM, "out of memory");
	r = fd_pread_all(fd, insns, (size_t)len, 0);
	if (r < 0) {
		free(insns);
		return err_errno(e, -r, "cannot compile it");
	}
	*program = (struct sock_fprog){ (unsigned short)((size_t)len / sizeof(*insns)), insns };
	return 0;
}

/* A program of another architecture, or with x32's numbers, raises SIGSYS whatever the filter says, as with the built-in ones. */
static int compile(const struct custom_filter *f, struct sock_fprog *program, struct err *e)
{
	scmp_filter_ctx ctx;
	int r = check_ends(f, e);

	if (r < 0)
		return r;
	ctx = seccomp_init(f->default_action);
	r = ctx ? seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_TRAP) : -ENOMEM;
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, SANDBOX_OPTIMIZE);
	if (r < 0)
		err_errno(e, -r, "libseccomp failed");
	for (unsigned int i = 0; i < f->rules.num && r == 0; i++) {
		r = add_rule(ctx, f, i, e);
		if (r < 0)
			err_wrap(e, r, "filter[%u]", i);
	}
	if (r == 0)
		r = export_program(ctx, program, e);
	seccomp_release(ctx);
	return r;
}

static void free_programs(struct sock_fprog *programs)
{
	for (unsigned int i = 0; i < SANDBOX_NUM_FILTERS; i++)
		free(programs[i].filter);
}

int sandbox_custom_compile(const char *text, size_t len, struct sock_fprog programs[SANDBOX_NUM_FILTERS], struct err *e)
{
	struct sock_fprog made[SANDBOX_NUM_FILTERS] = { { 0, NULL } };
	struct custom_filters *filters;
	int r;

	/* A map in seccompiler's output begins with the number of its keys, in 8 bytes; no text has a NUL. */
	if (memchr(text, '\0', len))
		return err_set(
			e, EINVAL,
			"it is not text, as a filter that seccompiler-bin has compiled: expected the JSON that such a "
			"filter is made of, with the filters that --print-seccomp-filter prints");
	r = custom_json_parse(text, len, &filters, e);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < SANDBOX_NUM_FILTERS && r == 0; i++) {
		r = compile(&filters->filters[i], &made[i], e);
		if (r < 0)
			err_wrap(e, r, "filter \"%s\"", sandbox_names[i]);
	}
	custom_json_free(filters);
	if (r < 0)
		free_programs(made);
	else
		memcpy(programs, made, sizeof(made));
	return r;
}

int sandbox_custom_load(const char *path, struct err *e)
{
	struct sock_fprog programs[SANDBOX_NUM_FILTERS];
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = file_read("filter", path, FILE_MAX_LEN, &text, &len, e);

	if (!r)
		r = sandbox_custom_compile(text, len, programs, e);
	if (r < 0)
		return err_wrap(e, r, "seccomp-filter: \"%.200s\"", path);
	sandbox_use(programs);
	return 0;
}
