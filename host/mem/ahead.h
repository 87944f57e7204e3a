/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Having pages of a memory file before somebody needs them. That
 * changes nothing that anybody could see but time: a page is mapped as the file
 * has it, and stays the file's (MEM_AS_FILE) until somebody writes to it.
 *
 * Neither takes a lock, and neither needs one against mem_discard(): a page that
 * was given back has another mapping, and only a mapping says what a page has.
 * Any thread, while the machine runs.
 */
#ifndef MEM_AHEAD_H
#define MEM_AHEAD_H

#include "mem/mem.h"

/* Can memory of this kind be had ahead? -EOPNOTSUPP, with a sentence, if some of it is not mapped from a file. */
int mem_check_ahead(const struct guest_mem *mem, struct err *e) must_check;
/* Has the kernel begin to read what lies at [offset, offset + len) of the memory file, whole pages, and waits for nothing. */
void mem_will_need(const struct guest_mem *mem, uint64_t offset, uint64_t len);
/*
 * Maps it, and waits until it has been read. Pages that were given back are left out. -errno: -EINVAL if the kernel cannot do
 * it (Linux before 5.14), -EFAULT where the file was cut.
 */
int mem_map_ahead(const struct guest_mem *mem, uint64_t offset, uint64_t len) must_check;

#endif
