/* SPDX-License-Identifier: Apache-2.0 */
/*
 * userfaultfd(2): the first touch of a page of MEM_HANDLER waits until somebody
 * who has the descriptor serves it. The process keeps the descriptor, too: if
 * the last one were closed the kernel would show zeroes.
 */
#ifndef MEM_USERFAULT_H
#define MEM_USERFAULT_H

#include "mem/mem.h"

/*
 * A new descriptor, the caller's, as Firecracker's handlers expect it: non-blocking, with the event UFFD_EVENT_REMOVE. The
 * kernel has to allow faults in kernel mode, since KVM touches the memory.
 */
int userfault_open(int *fd, struct err *e) must_check;
/* From here on whoever touches mem (mem_init_handler()) for the first time waits. */
int userfault_register(int fd, const struct guest_mem *mem, struct err *e) must_check;
/* Nobody waits any more: what has not been served is zero. For memory that is about to go. */
void userfault_unregister(int fd, const struct guest_mem *mem);
/*
 * Gives pages back. The handler is told (UFFD_EVENT_REMOVE), and not asked for them again: they have zeroes from here on.
 * Waits until the handler has read the event. -errno: some may still have what they had.
 */
int userfault_discard(int fd, const struct mem_region *region, uint64_t offset, uint64_t len) must_check;
/* The same for huge memory, which stays: zeroes, MEM_HUGE_PAGE_SIZE, is what whole pages get. The handler is not told. */
int userfault_discard_huge(int fd, const struct guest_mem *mem, const struct mem_region *region, uint64_t offset,
			   uint64_t len, const uint8_t *zeroes) must_check;
/* Puts bytes into [offset, offset + len), one page of the mapping, and lets go on who waits for it. -EEXIST: it is there. */
int userfault_copy(int fd, const struct mem_region *region, uint64_t offset, const uint8_t *bytes,
		   uint64_t len) must_check;

#endif
