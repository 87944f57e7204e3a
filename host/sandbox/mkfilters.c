// SPDX-License-Identifier: Apache-2.0
/*
 * Usage: mkfilters FILTERS.c JSON.c RULES.txt
 *
 * Runs at build time: makes the filters' programs of the lists of rules by libseccomp, as
 * C source, so that the monitor only has to hand them to the kernel; the same lists
 * as the text that --print-seccomp-filter prints (mkjson.c); and a list
 * of the rules for the test that compares it with what the monitor does:
 *   FILTER CALL ERROR WHY-OR-"-" then ARGUMENT MASK VALUE for each condition
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sandbox/filters.h"
#include "sandbox/mkfilters.h"
#include "sandbox/rules.h"

#define MAX_SYSCALL 512

const struct listed_filter filters[SANDBOX_NUM_FILTERS] = {
	[SANDBOX_SETUP] = { "setup", RULE_SETUP,
			    "the loop thread; those below that it starts have it besides their own" },
	[SANDBOX_LOOP] = { "loop", RULE_LOOP, "the loop thread besides, from before a guest first runs" },
	[SANDBOX_VCPU] = { "vcpu", RULE_VCPU, "fc_vcpu N" },
	[SANDBOX_IO] = { "io", RULE_IO, "fc_io DRIVE, fc_io INTERFACE" },
	[SANDBOX_FILES] = { "files", RULE_LOOP,
			    "fc_files, fc_record, and the threads of served memory: fc_pages, fc_watch, fc_fill" },
	[SANDBOX_STREAM] = { "stream", RULE_STREAM, "fc_log, fc_metrics, fc_console, fc_input" },
	[SANDBOX_SOCKETS] = { "sockets", RULE_IO | RULE_SOCKETS, "fc_vsock" },
	[SANDBOX_AHEAD] = { "ahead", RULE_AHEAD, "fc_read_ahead" },
};

size_t num_all_rules(void)
{
	return num_rules + num_arch_rules;
}

const struct rule *rule_at(size_t i)
{
	return i < num_rules ? &rules[i] : &arch_rules[i - num_rules];
}

bool is_in_filter(const struct rule *rule, enum rule_where where)
{
	return where == RULE_SETUP || rule->where & where;
}

static int add_rule(scmp_filter_ctx ctx, const struct rule *rule)
{
	uint32_t action = rule->error ? SCMP_ACT_ERRNO((uint16_t)rule->error) : SCMP_ACT_ALLOW;

	return seccomp_rule_add_exact_array(ctx, action, rule->call, rule->num_args, rule->args);
}

/* A negative error number. What is not allowed, and a program of another architecture, raises SIGSYS. */
static int make_filter(enum rule_where where, FILE *binary)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_TRAP);
	int r = ctx ? seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_TRAP) : -ENOMEM;

	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, SANDBOX_OPTIMIZE);
	for (size_t i = 0; i < num_all_rules() && r == 0; i++) {
		if (!is_in_filter(rule_at(i), where))
			continue;
		r = add_rule(ctx, rule_at(i));
		if (r < 0)
			fprintf(stderr, "mkfilters: rule %zu, %s: error %d\n", i, rule_at(i)->name, -r);
	}
	if (r == 0)
		r = seccomp_export_bpf(ctx, fileno(binary));
	seccomp_release(ctx);
	return r;
}

static int print_program(const char *name, FILE *binary, FILE *out)
{
	struct sock_filter insn;
	unsigned int num = 0;

	rewind(binary);
	fprintf(out, "static const struct sock_filter %s_insns[] = {\n", name);
	for (; fread(&insn, sizeof(insn), 1, binary) == 1; num++)
		fprintf(out, "\t{ 0x%02x, %u, %u, 0x%08x },\n", insn.code, insn.jt, insn.jf, insn.k);
	fprintf(out, "};\n\n");
	if (num == 0 || num > SANDBOX_MAX_INSNS) {
		fprintf(stderr, "mkfilters: filter %s has %u instructions, 1 to %u are allowed\n", name, num,
			SANDBOX_MAX_INSNS);
		return -EFBIG;
	}
	return 0;
}

static void print_names(FILE *out)
{
	fprintf(out, "static const char *const names[] = {\n");
	for (int i = 0; i < MAX_SYSCALL; i++) {
		_cleanup_free_ char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, i);

		if (name)
			fprintf(out, "\t[%d] = \"%s\",\n", i, name);
	}
	fprintf(out, "};\n\n"
		     "const char *sandbox_syscall_name(int number)\n"
		     "{\n"
		     "\treturn number >= 0 && number < (int)(sizeof(names) / sizeof(names[0])) ? names[number] : 0;\n"
		     "}\n");
}

static int print_source(FILE *out)
{
	int r = 0;

	fprintf(out, "/* Made by mkfilters from the lists of rules. */\n#include \"sandbox/filters.h\"\n\n");
	for (unsigned int f = 0; f < SANDBOX_NUM_FILTERS && r == 0; f++) {
		FILE *binary = tmpfile();

		if (!binary)
			return -errno;
		r = make_filter(filters[f].where, binary);
		if (r == 0)
			r = print_program(filters[f].name, binary, out);
		fclose(binary);
	}
	fprintf(out, "const struct sandbox_program sandbox_programs[] = {\n");
	for (unsigned int f = 0; f < SANDBOX_NUM_FILTERS; f++)
		fprintf(out, "\t{ %s_insns, sizeof(%s_insns) / sizeof(%s_insns[0]) },\n", filters[f].name,
			filters[f].name, filters[f].name);
	fprintf(out, "};\n\n");
	print_names(out);
	return r;
}

static void print_rules(FILE *out)
{
	for (unsigned int f = 0; f < SANDBOX_NUM_FILTERS; f++) {
		for (size_t i = 0; i < num_all_rules(); i++) {
			const struct rule *rule = rule_at(i);

			if (!is_in_filter(rule, filters[f].where))
				continue;
			fprintf(out, "%s\t%s\t%d\t%s", filters[f].name, rule->name, rule->error,
				rule->why ? rule->why : "-");
			for (unsigned int a = 0; a < rule->num_args; a++)
				fprintf(out, "\t%u %#jx %#jx", rule->args[a].arg, (uintmax_t)rule->args[a].datum_a,
					(uintmax_t)rule->args[a].datum_b);
			fputc('\n', out);
		}
	}
}

int main(int argc, char **argv)
{
	FILE *source, *json, *list;
	int r;

	if (argc != 4) {
		fprintf(stderr, "usage: mkfilters FILTERS.c JSON.c RULES.txt\n");
		return 2;
	}
	source = fopen(argv[1], "we");
	json = fopen(argv[2], "we");
	list = fopen(argv[3], "we");
	r = source && json && list ? print_source(source) : -errno;
	if (r == 0 && json && list) {
		print_json_source(json);
		print_rules(list);
	}
	if ((source && fclose(source) != 0) || (json && fclose(json) != 0) || (list && fclose(list) != 0) || r < 0) {
		fprintf(stderr, "mkfilters: cannot make the filters: error %d\n", -r);
		return 1;
	}
	return 0;
}
