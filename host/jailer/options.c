// SPDX-License-Identifier: Apache-2.0
/* What becomes a name below the chroot base or a cgroup's mount is judged here: afterwards no name leads upwards. */
#include "jailer/options.h"

#include <string.h>

#include "cli/words.h"
#include "config/config.h"

#define DEFAULT_CHROOT_BASE    "/srv/jailer"
#define DEFAULT_MAX_OPEN_FILES 2048

enum option_id {
	OPT_ID,
	OPT_EXEC_FILE,
	OPT_UID,
	OPT_GID,
	OPT_CHROOT_BASE,
	OPT_NETNS,
	OPT_DAEMONIZE,
	OPT_NEW_PID_NS,
	OPT_CGROUP,
	OPT_CGROUP_VERSION,
	OPT_PARENT_CGROUP,
	OPT_RESOURCE_LIMIT,
	OPT_VERSION,
	OPT_HELP,
	NUM_OPTIONS,
};

/* In the order of enum option_id. */
static const struct cli_option options_table[NUM_OPTIONS] = {
	{ "id", "ID", "name of the jail and of the instance: 1 to 64 letters, digits and '-'" },
	{ "exec-file", "PATH", "the monitor, a static program; it is copied into the jail" },
	{ "uid", "NUMBER", "user that the monitor runs as" },
	{ "gid", "NUMBER", "group that the monitor runs as" },
	{ "chroot-base-dir", "PATH", "directory that jails are made in [" DEFAULT_CHROOT_BASE "]" },
	{ "netns", "PATH", "network namespace to join" },
	{ "daemonize", NULL, "a session of its own, standard streams on /dev/null" },
	{ "new-pid-ns", NULL, "run the monitor in a new PID namespace" },
	{ "cgroup", "FILE=VALUE", "file of the jail's cgroup and what to write to it; may be repeated" },
	{ "cgroup-version", "NUMBER", "1 or 2 [1]" },
	{ "parent-cgroup", "NAME", "cgroup that the jail's is made in [the name of exec-file]" },
	{ "resource-limit", "NAME=NUMBER", "fsize (bytes) or no-file (descriptors) [no-file=2048]; may be repeated" },
	{ "version", NULL, "print the version and exit" },
	{ "help", NULL, "print this and exit" },
};

void jailer_print_help(FILE *out)
{
	fputs("Usage: snapsafe-jailer --id ID --exec-file PATH --uid NUMBER --gid NUMBER [OPTION]... [-- "
	      "ARGUMENT...]\n\n"
	      "Runs snapsafe-vmm as an unprivileged user in a directory that has nothing but its files. What stands "
	      "behind\n"
	      "\"--\" is handed to it.\n\n",
	      out);
	cli_print_options(out, options_table, NUM_OPTIONS);
	fputs("\nAn option's value may also follow '='.\n", out);
}

/* Names between slashes, of which none is empty, "." or "..". */
static bool is_relative_path(const char *path)
{
	for (const char *p = path;; p++) {
		size_t len = strcspn(p, "/");

		if (!len || (len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		p += len;
		if (!*p)
			return true;
	}
}

static int take_cgroup(struct jailer_options *options, const char *text, struct err *e)
{
	const char *equals = strchr(text, '=');
	const char *dot = strchr(text, '.');

	if (!equals || strchr(equals + 1, '=') || !equals[1])
		return err_set(e, EINVAL, "cgroup is \"%s\", expected FILE=VALUE, as in \"cpuset.cpus=0-1\"", text);
	if (!dot || dot >= equals || dot == text || memchr(text, '/', (size_t)(equals - text)))
		return err_set(
			e, EINVAL,
			"cgroup is \"%s\": expected the name of a file with its controller, as in \"cpuset.cpus\"",
			text);
	if (options->num_cgroups == JAILER_MAX_CGROUPS)
		return err_set(e, EINVAL, "cgroup is given more than %d times", JAILER_MAX_CGROUPS);
	options->cgroups[options->num_cgroups++] = (struct jailer_cgroup){
		.file = text,
		.file_len = (int)(equals - text),
		.value = equals + 1,
	};
	return 0;
}

static int take_limit(struct jailer_options *options, const char *text, struct err *e)
{
	if (strncmp(text, "fsize=", 6) == 0) {
		options->limits_file_size = true;
		return cli_number("resource-limit fsize", text + 6, 0, UINT64_MAX, &options->max_file_size, e);
	}
	if (strncmp(text, "no-file=", 8) == 0)
		return cli_number("resource-limit no-file", text + 8, 0, UINT64_MAX, &options->max_open_files, e);
	return err_set(e, EINVAL, "resource-limit is \"%s\", expected fsize=NUMBER or no-file=NUMBER", text);
}

/* UINT32_MAX stands for "leave it as it is" in the kernel. */
static int take_user(const char *name, const char *text, uint32_t *id, struct err *e)
{
	uint64_t number;
	int r = cli_number(name, text, 0, UINT32_MAX - 1, &number, e);

	if (r < 0)
		return r;
	*id = (uint32_t)number;
	return 0;
}

static int take_option(struct jailer_options *options, enum option_id id, const char *value, struct err *e)
{
	switch (id) {
	case OPT_ID:
		options->id = value;
		return instance_id_check(value, e);
	case OPT_EXEC_FILE:
		options->exec_file = value;
		break;
	case OPT_UID:
		return take_user("uid", value, &options->uid, e);
	case OPT_GID:
		return take_user("gid", value, &options->gid, e);
	case OPT_CHROOT_BASE:
		options->chroot_base = value;
		break;
	case OPT_NETNS:
		options->netns = value;
		break;
	case OPT_DAEMONIZE:
		options->daemonize = true;
		break;
	case OPT_NEW_PID_NS:
		options->new_pid_ns = true;
		break;
	case OPT_CGROUP:
		return take_cgroup(options, value, e);
	case OPT_CGROUP_VERSION:
		return cli_number("cgroup-version", value, 1, 2, &options->cgroup_version, e);
	case OPT_PARENT_CGROUP:
		options->parent_cgroup = value;
		if (is_relative_path(value))
			break;
		return err_set(e, EINVAL,
			       "parent-cgroup is \"%s\", expected names between slashes, none of them \".\" or \"..\"",
			       value);
	case OPT_RESOURCE_LIMIT:
		return take_limit(options, value, e);
	case OPT_VERSION:
	case OPT_HELP:
	case NUM_OPTIONS:
		break;
	}
	return 0;
}

int jailer_options_parse(int argc, char **argv, struct jailer_options *options, struct err *e)
{
	static const enum option_id required[] = { OPT_ID, OPT_EXEC_FILE, OPT_UID, OPT_GID };
	struct cli_words words = {
		.argv = argv,
		.argc = argc,
		.options = options_table,
		.num_options = NUM_OPTIONS,
		.may_repeat = 1ull << OPT_CGROUP | 1ull << OPT_RESOURCE_LIMIT,
		.next = 1,
	};
	uint64_t given = 0;
	const char *value;
	int id;
	int r;

	*options = (struct jailer_options){
		.chroot_base = DEFAULT_CHROOT_BASE,
		.cgroup_version = 1,
		.max_open_files = DEFAULT_MAX_OPEN_FILES,
		.args = argv + argc,
	};
	cli_words_find_help(&words, &options->help, &options->version);
	if (options->help || options->version)
		return 0;
	r = cli_words_check(&words, e);
	while (!r && (id = cli_words_next(&words, &value)) >= 0) {
		given |= 1ull << id;
		r = take_option(options, (enum option_id)id, value, e);
	}
	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++)
		if (!(given & 1ull << required[i]))
			return err_set(e, EINVAL, "Argument '%s' required, but not found.",
				       options_table[required[i]].name);
	if (words.next < argc)
		options->args = argv + words.next + 1;
	return 0;
}
