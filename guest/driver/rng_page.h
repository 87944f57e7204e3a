/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The counter pages that programs map: abi/snapsafe_page.h, one for each N of
 * virtio_rng.N.
 */
#ifndef RNG_PAGE_H
#define RNG_PAGE_H

#include <linux/types.h>

#include "rng_gen.h"

struct file;
struct page;
struct vm_area_struct;

struct rng_page {
	struct file *file; /* owned; the memory file */
	struct page *page; /* owned */
	struct snapsafe_page *content;
};

struct rng_page *rng_page_get(int index, bool *reused);
void rng_page_free_all(void);

unsigned long *rng_page_word(struct rng_page *p);
unsigned long rng_page_generation(const struct rng_page *p);
bool rng_page_is_watched(const struct rng_page *p);
void rng_page_set_watched(struct rng_page *p, bool watched);
unsigned long rng_page_reseeded(const struct rng_page *p);
void rng_page_set_reseeded(struct rng_page *p, unsigned long value);
void rng_page_clear_identity(struct rng_page *p);
void rng_page_read_identity(const struct rng_page *p,
			    u8 id[RNG_GEN_IDENTITY_LEN]);

int rng_page_mmap(struct rng_page *p, struct vm_area_struct *vma);

#endif /* RNG_PAGE_H */
