// SPDX-License-Identifier: Apache-2.0
/*
 * Memory of several files: each layer's runs of pages are mapped over what the
 * layers below it have. Nothing is copied, but for runs that are too many: the
 * kernel allows a process 65530 mappings, and the shortest runs are cheapest to
 * copy. Copied pages are the process's own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fdio.h"
#include "mem/internal.h"
#include "mem/mem.h"

/* Mapped runs of all layers together; each splits a mapping in three. What is left is for mem_discard(). */
#define MEM_MAX_MAPPED_RUNS 8192u

int mem_file_at(const struct guest_mem *mem, const struct mem_region *region, uint64_t offset, uint64_t *run)
{
	uint64_t page = offset / MEM_PAGE_SIZE, end = page + *run / MEM_PAGE_SIZE, next = page + 1;
	uint8_t layer;

	if (!region->layers)
		return mem->backing_fd;
	layer = region->layers[page];
	while (next < end && region->layers[next] == layer)
		next++;
	*run = (next - page) * MEM_PAGE_SIZE;
	return layer == 0 ? mem->backing_fd : mem->layer_fds[layer - 1];
}

static int layers_alloc(struct guest_mem *mem)
{
	for (unsigned int i = 0; i < mem->num_regions; i++) {
		struct mem_region *region = &mem->regions[i];

		if (!region->layers)
			region->layers = calloc(region->size / MEM_PAGE_SIZE, 1);
		if (!region->layers)
			return -ENOMEM;
	}
	return 0;
}

static size_t layers_count(const struct mem_run *runs, size_t num_runs, uint64_t least)
{
	size_t num = 0;

	for (size_t i = 0; i < num_runs; i++)
		num += runs[i].len >= least;
	return num;
}

/* The shortest run that is mapped, so that there are not too many. */
static uint64_t layers_shortest(const struct mem_run *runs, size_t num_runs, size_t allowed)
{
	uint64_t shortest = MEM_PAGE_SIZE; /* no run is shorter */

	for (size_t num = num_runs; num > allowed; num = layers_count(runs, num_runs, shortest))
		shortest *= 2;
	return shortest;
}

static int layers_map(const struct mem_region *region, uint64_t offset, uint64_t len, int fd)
{
	uint8_t *host = region->writable + offset;

	if (mmap(host, (size_t)len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, fd,
		 (off_t)(region->file_offset + offset)) == MAP_FAILED)
		return -errno;
	(void)madvise(host, (size_t)len, MADV_DONTDUMP);
	return 0;
}

/* The part of run that lies in the region. */
static int layers_put(struct guest_mem *mem, const struct mem_region *region, const struct mem_run *run,
		      uint64_t shortest)
{
	uint64_t start = run->offset > region->file_offset ? run->offset : region->file_offset;
	uint64_t run_end = run->offset + run->len, region_end = region->file_offset + region->size;
	uint64_t end = run_end < region_end ? run_end : region_end, offset = start - region->file_offset;
	int fd = mem->layer_fds[mem->num_layers - 1];

	if (start >= end)
		return 0;
	memset(region->layers + offset / MEM_PAGE_SIZE, (int)mem->num_layers, (end - start) / MEM_PAGE_SIZE);
	if (mem->huge) /* it is copied at the first touch */
		return 0;
	if (run->len < shortest)
		return fd_pread_all(fd, region->writable + offset, (size_t)(end - start), (off_t)start);
	mem->num_mapped_runs++;
	return layers_map(region, offset, end - start, fd);
}

int mem_add_layer(struct guest_mem *mem, int fd, const struct mem_run *runs, size_t num_runs, struct err *e)
{
	unsigned int used = mem->num_mapped_runs;
	uint64_t shortest;
	int r;

	if (mem->num_layers == MEM_MAX_LAYERS) {
		close(fd);
		return err_set(e, EINVAL, "memory of more than %u layers", MEM_MAX_LAYERS + 1);
	}
	mem->layer_fds[mem->num_layers++] = fd;
	shortest = layers_shortest(runs, num_runs, used < MEM_MAX_MAPPED_RUNS ? MEM_MAX_MAPPED_RUNS - used : 0);
	r = layers_alloc(mem);
	for (size_t i = 0; i < num_runs && r == 0; i++)
		for (unsigned int n = 0; n < mem->num_regions && r == 0; n++)
			r = layers_put(mem, &mem->regions[n], &runs[i], shortest);
	return r < 0 ? err_errno(e, -r, "cannot map a layer of guest memory") : 0;
}
