/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages have changed since a mark: what the guest wrote, by the log of
 * whoever runs it (KVM), and what the monitor wrote, by its own notes (the
 * writers in mem.h, and mem_discard()).
 *
 * While the machine is paused and its devices are quiet; one thread at a time.
 */
#ifndef MEM_TRACK_H
#define MEM_TRACK_H

#include "mem/mem.h"

/*
 * The guest's log is on from here on; it is copied. Without one, every page that the process has of its own counts as
 * changed: the guest may have written it.
 */
void mem_set_guest_log(struct guest_mem *mem, const struct mem_guest_log *log);

/*
 * Nothing has changed since now. Begins noting what the monitor writes, which costs a bit a page until mem_unmark(). An
 * error (-ENOMEM, or the log's) leaves things as they were, or with more pages that count as changed.
 */
int mem_mark(struct guest_mem *mem, struct err *e) must_check;
void mem_unmark(struct guest_mem *mem);
/* Has what mem_mark() needs, so that that does not fail for want of memory. */
int mem_prepare_mark(struct guest_mem *mem, struct err *e) must_check;

/* 64-bit words of the bitmap for a region: a bit a page, the first page in bit 0 of the first word. */
size_t mem_bitmap_len(const struct mem_region *region);
/*
 * Which pages of region number index may differ from what they were at the mark, into bitmap (mem_bitmap_len() words). The
 * same answer however often it is asked. -EINVAL if there was no mark, -errno of the log.
 */
int mem_changed_since_mark(struct guest_mem *mem, unsigned int index, uint64_t *bitmap, struct err *e) must_check;

#endif
