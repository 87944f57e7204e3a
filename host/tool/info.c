// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "snapshot/chain.h"
#include "snapshot/format.h"
#include "snapshot/inspect.h"
#include "snapshot/layers.h"
#include "snapshot/statefile.h"
#include "tool/tool.h"

static void print_id(const char *label, const uint8_t id[SNAPSHOT_ID_LEN])
{
	char text[SNAPSHOT_ID_TEXT_LEN];

	snapshot_id_text(id, text);
	printf("%s: %s\n", label, text);
}

static bool starts_as_state(const char *path)
{
	char magic[sizeof(SNAPSHOT_STATE_MAGIC) - 1];
	struct err ignored;
	uint64_t size;
	int fd, r;

	if (file_open_regular("file", path, O_RDONLY, &fd, &size, &ignored) < 0)
		return false;
	r = fd_pread_all(fd, magic, sizeof(magic), 0);
	close(fd);
	return r == 0 && memcmp(magic, SNAPSHOT_STATE_MAGIC, sizeof(magic)) == 0;
}

static int info_state(const char *path, struct err *e)
{
	struct snapshot_chain chain;
	struct statefile file;
	int r = statefile_read(path, &file, e);

	if (r < 0)
		return r;
	r = snapshot_chain_load(&file, &chain, e);
	if (r == 0) {
		printf("kind: state file\nformat: v%u.%u.%u\nmemory: %" PRIu64 " bytes\nlevel: %" PRIu64 "\n",
		       file.version.major, file.version.minor, file.version.patch, file.mark.mem_size, chain.level);
		for (unsigned int i = 0; i + 1 < chain.num; i++)
			print_id("lies on", chain.layers[i].id);
		print_id("id", file.mark.id);
	}
	statefile_fini(&file);
	return r;
}

static int info_memory(const char *path, struct err *e)
{
	struct memfile_facts facts;
	const struct memfile_layer *top;
	uint64_t data = 0;
	int r = memfile_inspect(path, &facts, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < facts.runs.num; i++)
		data += facts.runs.list[i].len;
	top = &facts.layers[facts.num_layers - 1];
	printf("kind: %s\nmemory: %" PRIu64 " bytes\ndata: %" PRIu64 " bytes in %zu runs\nlevel: %" PRIu64 "\n",
	       facts.is_diff	   ? "diff"
	       : facts.has_trailer ? "memory file of format v1.0"
				   : "memory file",
	       facts.mem_size, data, facts.runs.num, top->level);
	if (facts.is_diff) {
		print_id("lies on", facts.layers[0].base_id);
		printf("holes: %s\n", facts.has_right_holes ? "as written" : "not as written: it cannot be used");
	}
	for (unsigned int i = 0; i + 1 < facts.num_layers; i++)
		print_id("merged in", facts.layers[i].id);
	print_id("id", top->id);
	memfile_facts_fini(&facts);
	return 0;
}

int tool_info(const char *path, struct err *e)
{
	return starts_as_state(path) ? info_state(path, e) : info_memory(path, e);
}

int tool_check(const char *state_path, const char *mem_path, const char *below, struct err *e)
{
	struct mem_layout layout = { .num_regions = 1 };
	struct snapshot_chain chain;
	struct guest_mem mem;
	struct statefile file;
	int r = statefile_read(state_path, &file, e);

	if (r < 0)
		return r;
	layout.regions[0].size = file.mark.mem_size;
	r = snapshot_chain_load(&file, &chain, e);
	if (r == 0)
		r = snapshot_map_memory(&file, &chain, mem_path, below, &layout, &mem, e);
	if (r == 0) {
		r = snapshot_put_back(&file, &chain, &mem, e);
		mem_fini(&mem);
	}
	if (r == 0)
		print_id("fits", file.mark.id);
	statefile_fini(&file);
	return r;
}
