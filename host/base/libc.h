/* SPDX-License-Identifier: Apache-2.0 */
/* Where C libraries differ: the monitor is linked to musl, its unit tests to glibc. System calls: base/syscalls.h. */
#ifndef BASE_LIBC_H
#define BASE_LIBC_H

/*
 * First of all in a program. What the dynamic linker has put in place becomes read-only, which is left to the program where
 * musl is linked statically; and threads share one heap, as a heap of its own for a thread takes calls that a running machine
 * does not make (sandbox/rules.c), which glibc has to be told.
 */
void libc_init(void);
/* Where much has been freed: what is read and taken apart is more than a machine keeps, and clones are many. musl does it itself. */
void libc_trim_heap(void);

#endif
