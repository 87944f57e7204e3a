/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page-fault handler of a restored machine: a process outside, at a Unix
 * socket, that serves each page of guest memory when it is touched first
 * (mem_backend Uffd; docs/page-fault-handler.md). Firecracker's protocol. Or a
 * thread of ours that copies huge pages from the memory's files (mem/copied.h).
 *
 * Whoever touches a page that has not been served waits for that. So
 * there is one thread that does nothing else, and others ask it: those that may
 * wait (mem_populate(), which has a bound), and those that must not, who are told
 * (mem/populated.h). And one that watches: the handler, whose end is the machine's,
 * and the loop, which should never have touched such a page.
 */
#ifndef MACHINE_PAGER_H
#define MACHINE_PAGER_H

#include "base/err.h"
#include "base/loop.h"
#include "mem/mem.h"

struct pager;

/* Connects to the handler at path, and does not wait. Nothing is sent yet. Loop thread, as everything here. */
int pager_new(const char *path, struct loop *loop, struct pager **out, struct err *e) must_check;
/* The handler is to be a thread of ours; path, of the memory file, is for sentences. */
int pager_new_own(const char *path, struct loop *loop, struct pager **out, struct err *e) must_check;
/* Makes *mem, which stays where it is as long as the pager, and hands it to the handler. */
int pager_map(struct pager *p, const struct mem_layout *layout, struct guest_mem *mem, struct err *e) must_check;
/* The same of pager_new_own(), for huge memory of mem_init_file() that nobody has touched. */
int pager_serve_files(struct pager *p, struct guest_mem *mem, struct err *e) must_check;
/* From here on there is a machine, and the end of the handler is its end, with the process. An error: the end has come already. */
int pager_start(struct pager *p, struct err *e) must_check;
/* The sentence for -errno that mem_populate() gave for this memory. Any thread. */
int pager_explain(struct pager *p, int r, struct err *e);
/* The end: nobody waits for pages any more, but get an error. */
void pager_give_up(struct pager *p);
/* Before mem_fini(), when no vCPU runs and no device is there. Nobody waits for pages any more that nothing depends on. */
void pager_stop(struct pager *p);
/* After it. NULL is fine, for both. */
void pager_free(struct pager *p);

#endif
