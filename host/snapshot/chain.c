// SPDX-License-Identifier: Apache-2.0
#include "snapshot/chain.h"

#include <errno.h>
#include <string.h>

#include "mem/pages.h"
#include "snapshot/format.h"

/* Keys of the state file. The page is in the map of the layer; the top layer's is in the state's own. */
#define CHAIN_LEVEL  "level"
#define CHAIN_LAYERS "layers"
#define CHAIN_UNDER  "under_record"

#define CHAIN_MAX_LEVEL (1ull << 32)

static uint64_t chain_place(uint64_t level)
{
	return SNAPSHOT_RECORD_OFFSET - level % SNAPSHOT_MAX_LAYERS * MEM_PAGE_SIZE;
}

void snapshot_chain_push(const struct snapshot_chain *below, const uint8_t id[SNAPSHOT_ID_LEN],
			 struct snapshot_chain *chain)
{
	uint64_t level = below->num > 0 ? below->level + 1 : 0;
	struct snapshot_chain made = { .level = level };
	struct snapshot_layer *own;
	unsigned int first = below->num == SNAPSHOT_MAX_LAYERS ? 1 : 0;

	for (unsigned int i = first; i < below->num; i++)
		if (below->layers[i].offset != chain_place(level))
			made.layers[made.num++] = below->layers[i];
	own = &made.layers[made.num++];
	memcpy(own->id, id, SNAPSHOT_ID_LEN);
	own->offset = chain_place(level);
	*chain = made;
}

uint64_t snapshot_chain_place_above(uint64_t offset)
{
	return chain_place((SNAPSHOT_RECORD_OFFSET - offset) / MEM_PAGE_SIZE + 1);
}

bool snapshot_chain_has_record_at(const struct snapshot_chain *chain, uint64_t offset)
{
	for (unsigned int i = 0; i < chain->num; i++)
		if (chain->layers[i].offset == offset)
			return true;
	return false;
}

/* The guest's address of the page at an offset of the file, which is less than mem's size. */
static gpa_t chain_gpa(const struct guest_mem *mem, uint64_t offset)
{
	const struct mem_region *region = mem->regions;

	while (offset - region->file_offset >= region->size)
		region++;
	return region->gpa + (offset - region->file_offset);
}

gpa_t snapshot_chain_gpa(const struct guest_mem *mem, const struct snapshot_layer *layer)
{
	return chain_gpa(mem, layer->offset);
}

bool snapshot_chain_gpa_above(const struct guest_mem *mem, const struct snapshot_layer *layer, gpa_t *gpa)
{
	uint64_t above = layer->offset < mem->size ? snapshot_chain_place_above(layer->offset) : mem->size;

	if (above >= mem->size)
		return false;
	*gpa = chain_gpa(mem, above);
	return true;
}

int snapshot_chain_prepare(const struct snapshot_chain *chain, const struct guest_mem *mem)
{
	gpa_t above;
	int r = 0;

	for (unsigned int i = 0; i < chain->num && r == 0; i++)
		if (chain->layers[i].offset < mem->size) /* else of v1.0, behind the memory */
			r = mem_prepare(mem, chain_gpa(mem, chain->layers[i].offset), MEM_PAGE_SIZE);
	if (r == 0 && chain->num > 0 && snapshot_chain_gpa_above(mem, &chain->layers[chain->num - 1], &above))
		r = mem_prepare(mem, above, MEM_PAGE_SIZE);
	return r;
}

static void chain_save_under(const struct guest_mem *mem, uint64_t offset, struct enc *enc)
{
	const uint8_t *page = mem_host(mem, chain_gpa(mem, offset), MEM_PAGE_SIZE);

	enc_bytes(enc, CHAIN_UNDER, page, mem_page_is_zero(page) ? 0 : MEM_PAGE_SIZE);
}

void snapshot_chain_save(const struct snapshot_chain *below, const struct guest_mem *mem, struct enc *enc)
{
	static const uint8_t unknown[SNAPSHOT_ID_LEN]; /* our own, which the header has */
	struct snapshot_chain chain;

	snapshot_chain_push(below, unknown, &chain);
	enc_u64(enc, CHAIN_LEVEL, chain.level);
	enc_array_begin(enc, CHAIN_LAYERS);
	for (unsigned int i = 0; i + 1 < chain.num; i++) {
		enc_item_begin(enc);
		enc_bytes(enc, "id", chain.layers[i].id, SNAPSHOT_ID_LEN);
		enc_u64(enc, "record_offset", chain.layers[i].offset);
		chain_save_under(mem, chain.layers[i].offset, enc);
		enc_item_end(enc);
	}
	enc_array_end(enc);
	chain_save_under(mem, chain.layers[chain.num - 1].offset, enc);
}

static void chain_load_layer(struct dec *dec, uint64_t mem_size, struct snapshot_chain *chain)
{
	struct snapshot_layer *layer = &chain->layers[chain->num];

	dec_bytes(dec, "id", layer->id, sizeof(layer->id));
	layer->offset = dec_u64(dec, "record_offset", 0, mem_size - MEM_PAGE_SIZE);
	if (layer->offset % MEM_PAGE_SIZE != 0 || snapshot_chain_has_record_at(chain, layer->offset))
		dec_fail(dec, "record_offset is %llu, the start of a page is expected that no other layer has",
			 (unsigned long long)layer->offset);
	chain->num++;
}

int snapshot_chain_load(const struct statefile *file, struct snapshot_chain *chain, struct err *e)
{
	struct snapshot_chain loaded = { .level = 0 };
	struct snapshot_layer *own;
	size_t num = 0;
	int r;

	if (file->mark.offset != file->mark.mem_size) {
		loaded.level = dec_u64(file->state, CHAIN_LEVEL, 0, CHAIN_MAX_LEVEL);
		num = dec_array(file->state, CHAIN_LAYERS, SNAPSHOT_MAX_LAYERS - 1);
	}
	for (size_t i = 0; i < num; i++)
		chain_load_layer(dec_item(file->state, CHAIN_LAYERS, i), file->mark.mem_size, &loaded);
	r = dec_error(file->state, e);
	if (r < 0)
		return r;
	if (snapshot_chain_has_record_at(&loaded, file->mark.offset))
		return err_set(e, EINVAL, CHAIN_LAYERS ": one has its record where the snapshot's own is");
	own = &loaded.layers[loaded.num++];
	memcpy(own->id, file->mark.id, sizeof(own->id));
	own->offset = file->mark.offset;
	*chain = loaded;
	return 0;
}

static int chain_put_back_page(struct dec *dec, uint64_t offset, struct guest_mem *mem, struct err *e)
{
	static const uint8_t zero[MEM_PAGE_SIZE];
	size_t len;
	const uint8_t *page = dec_blob(dec, CHAIN_UNDER, 0, MEM_PAGE_SIZE, &len);
	int r = dec_error(dec, e);

	if (r < 0)
		return r;
	if (len != 0 && len != MEM_PAGE_SIZE)
		return err_set(e, EINVAL, CHAIN_UNDER ": has %zu bytes, a page of %u or none are allowed", len,
			       MEM_PAGE_SIZE);
	if (!mem_write(mem, chain_gpa(mem, offset), len > 0 ? page : zero, MEM_PAGE_SIZE))
		return err_set(e, EINVAL, CHAIN_UNDER ": its page is not memory of this machine");
	return 0;
}

static int chain_put_back_layer(struct dec *dec, uint64_t offset, struct guest_mem *mem, struct err *e)
{
	int r = chain_put_back_page(dec, offset, mem, e);

	if (r < 0)
		return r;
	dec_end(dec);
	return dec_error(dec, e);
}

int snapshot_put_back(const struct statefile *file, const struct snapshot_chain *chain, struct guest_mem *mem,
		      struct err *e)
{
	unsigned int top = chain->num - 1;
	int r = 0;

	if (file->mark.offset == file->mark.mem_size)
		return 0;
	for (unsigned int i = 0; i < top && r == 0; i++)
		r = chain_put_back_layer(dec_item(file->state, CHAIN_LAYERS, i), chain->layers[i].offset, mem, e);
	return r < 0 ? r : chain_put_back_page(file->state, chain->layers[top].offset, mem, e);
}
