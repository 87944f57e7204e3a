// SPDX-License-Identifier: Apache-2.0
/* snapsafe-snapshot: describes, checks and merges the files of snapshots, without a monitor. */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/libc.h"
#include "snapshot/inspect.h"
#include "tool/tool.h"

static const char usage[] =
	"Usage: snapsafe-snapshot info FILE...\n"
	"       snapsafe-snapshot check FILE...\n"
	"       snapsafe-snapshot check --snapshot-path FILE --memory-path FILE [--layer FILE]...\n"
	"       snapsafe-snapshot rebase --memory-path FILE --diff-path FILE\n"
	"\n"
	"info    describes state files and memory files\n"
	"check   says whether this host can run the machines of state files, and else which features "
	"it lacks; or whether the files make a memory, as a load would have it; layers lie below "
	"the memory file, the bottom first\n"
	"rebase  merges the diff into the memory file that it lies on, which is replaced at once\n";

struct options {
	const char *state_path, *mem_path, *diff_path;
	char *layers; /* owned: one behind the other, the empty one ends */
	size_t layers_len;
};

static int refuse(const char *text)
{
	fprintf(stderr, "snapsafe-snapshot: %s\n", text);
	return 1;
}

static int wrong_usage(void)
{
	fputs(usage, stderr);
	return 2;
}

static bool add_layer(struct options *o, const char *path)
{
	size_t len = strlen(path) + 1;
	char *list = realloc(o->layers, o->layers_len + len + 1);

	if (!list)
		return false;
	memcpy(list + o->layers_len, path, len);
	list[o->layers_len + len] = '\0';
	o->layers = list;
	o->layers_len += len;
	return true;
}

static bool parse(int argc, char **argv, struct options *o)
{
	static const struct option options[] = { { "snapshot-path", required_argument, NULL, 's' },
						 { "memory-path", required_argument, NULL, 'm' },
						 { "diff-path", required_argument, NULL, 'd' },
						 { "layer", required_argument, NULL, 'l' },
						 { NULL, 0, NULL, 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			o->state_path = optarg;
			break;
		case 'm':
			o->mem_path = optarg;
			break;
		case 'd':
			o->diff_path = optarg;
			break;
		case 'l':
			if (!add_layer(o, optarg))
				return false;
			break;
		default:
			return false;
		}
	}
	return optind == argc;
}

static int run_info(int argc, char **argv)
{
	struct err e;
	int code = 0;

	for (int i = 1; i < argc; i++) {
		if (argc > 2)
			printf("%s%s:\n", i > 1 ? "\n" : "", argv[i]);
		if (tool_info(argv[i], &e) < 0)
			code = refuse(e.text);
	}
	return argc > 1 ? code : wrong_usage();
}

static int run_check_host(int argc, char **argv)
{
	struct err e;
	int code = 0;

	for (int i = 1; i < argc; i++)
		if (tool_check_host(argv[i], &e) < 0)
			code = refuse(e.text);
	return code;
}

static int run_check(int argc, char **argv)
{
	struct options o = { .layers = NULL };
	struct err e;
	int code = 0;

	if (argc > 1 && argv[1][0] != '-')
		return run_check_host(argc, argv);
	if (!parse(argc, argv, &o) || !o.state_path || !o.mem_path || o.diff_path)
		code = wrong_usage();
	else if (tool_check(o.state_path, o.mem_path, o.layers, &e) < 0)
		code = refuse(e.text);
	free(o.layers);
	return code;
}

static int run_rebase(int argc, char **argv)
{
	struct options o = { .layers = NULL };
	struct err e;
	int code = 0;

	if (!parse(argc, argv, &o) || !o.mem_path || !o.diff_path || o.state_path || o.layers)
		code = wrong_usage();
	else if (memfile_rebase(o.mem_path, o.diff_path, &e) < 0)
		code = refuse(e.text);
	free(o.layers);
	return code;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} commands[] = { { "info", run_info }, { "check", run_check }, { "rebase", run_rebase } };

	libc_init();
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("snapsafe-snapshot " SNAPSAFE_VERSION);
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		fputs(usage, stdout);
		return 0;
	}
	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	return wrong_usage();
}
