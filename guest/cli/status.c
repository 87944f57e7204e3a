// SPDX-License-Identifier: Apache-2.0
/* `snapsafe status` and `snapsafe id`. */
#include "cli.h"

#include <inttypes.h>
#include <string.h>

static const char *const state_names[] = {
	[SNAPSAFE_ABSENT] = "absent",
	[SNAPSAFE_ACTIVE] = "active",
	[SNAPSAFE_UNWATCHED] = "unwatched",
	[SNAPSAFE_LOST] = "lost",
};

static const char *const state_texts[] = {
	[SNAPSAFE_ABSENT] = "absent: snapshots and restores go unnoticed",
	[SNAPSAFE_ACTIVE] = "active: every snapshot and restore is noticed",
	[SNAPSAFE_UNWATCHED] = "unwatched: the counter is there, but its device or driver is not",
	[SNAPSAFE_LOST] = "lost: the counter has gone",
};

static void print_json_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if ((unsigned char)*text < 0x20)
			printf("\\u%04x", (unsigned char)*text);
		else
			putchar(*text);
	}
	putchar('"');
}

static const char *json_bool(unsigned int value)
{
	return value ? "true" : "false";
}

static void print_json(const struct snapsafe_info *info, uint64_t generation, const char *identity)
{
	printf("{\"state\":\"%s\",\"path\":", state_names[info->state]);
	print_json_string(info->path);
	printf(",\"generation\":%" PRIu64 ",\"identity\":", generation);
	if (identity)
		print_json_string(identity);
	else
		fputs("null", stdout);
	printf(",\"mapped\":%s,\"reseeded\":%s,\"buffered\":%s,\"vdso\":%s}\n",
	       json_bool(info->features & SNAPSAFE_F_MAPPED), json_bool(info->features & SNAPSAFE_F_RESEEDED),
	       json_bool(info->features & SNAPSAFE_F_BUFFERED), json_bool(info->features & SNAPSAFE_F_VDSO));
}

/* How small requests are served. */
static const char *random_text(unsigned int features)
{
	if (features & SNAPSAFE_F_BUFFERED)
		return "buffered";
	return features & SNAPSAFE_F_VDSO ? "the kernel's, without a system call" : "a system call each time";
}

static void print_text(const struct snapsafe_info *info, uint64_t generation, const char *identity)
{
	bool mapped = info->features & SNAPSAFE_F_MAPPED, reseeded = info->features & SNAPSAFE_F_RESEEDED;

	printf("state:       %s\n", state_texts[info->state]);
	printf("counter:     %s (%s)\n", info->path, mapped ? "mapped" : "read at each look");
	printf("generation:  %" PRIu64 "\n", generation);
	printf("identity:    %s\n", identity ? identity : "none");
	printf("kernel:      %s\n",
	       reseeded ? "reseeded in this generation" : "not known to be reseeded in this generation");
	printf("random:      %s\n", random_text(info->features));
}

int cli_status(const struct cli *cli)
{
	struct snapsafe_info info = { .size = sizeof(info) };
	char hex[2 * SNAPSAFE_IDENTITY_LEN + 1];
	uint64_t generation;
	bool identity;

	snapsafe_get_info(cli->handle, &info);
	if (info.state == SNAPSAFE_ABSENT) {
		if (cli->json)
			print_json(&info, 0, NULL);
		else
			cli_have_counter(cli, &info);
		return EXIT_NO_COUNTER;
	}
	generation = snapsafe_generation(cli->handle);
	identity = cli_identity_hex(cli, hex);
	if (cli->json)
		print_json(&info, generation, identity ? hex : NULL);
	else
		print_text(&info, generation, identity ? hex : NULL);
	return info.state == SNAPSAFE_ACTIVE ? EXIT_OK : EXIT_NOT_SAFE;
}

int cli_id(const struct cli *cli)
{
	char hex[2 * SNAPSAFE_IDENTITY_LEN + 1];
	struct snapsafe_info info;

	if (!cli_have_counter(cli, &info))
		return EXIT_NO_COUNTER;
	if (!cli_identity_hex(cli, hex)) {
		cli_complain("the counter %s has no identity", info.path);
		return EXIT_NOT_SAFE;
	}
	puts(hex);
	return EXIT_OK;
}
