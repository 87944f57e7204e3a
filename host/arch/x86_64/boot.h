/* SPDX-License-Identifier: Apache-2.0 */
/* Booting, in its parts: the command line, and what is loaded into memory. */
#ifndef ARCH_X86_64_BOOT_H
#define ARCH_X86_64_BOOT_H

#include <stdio.h>

#include "base/err.h"

struct arch_board;
struct vm;
struct vm_config;

struct boot_config {
	const char *kernel_path;
	const char *initrd_path; /* NULL: none */
	const char *cmdline;	 /* complete */
	const struct arch_board *board;
};

/* boot.c: arch_boot() with a command line that is there already. */
int boot_machine(struct vm *vm, const struct boot_config *config, struct err *e) must_check;

/* cmdline.c: the kernel command line for this configuration and these devices; malloc'ed, the caller's if there was no error. */
int cmdline_make(const struct vm_config *config, const struct arch_board *board, char **cmdline,
		 struct err *e) must_check;

/* boot_words.c: prints the first len bytes of boot_args, but for words that would leave the guest without interrupts. */
void boot_words_print(FILE *f, const char *args, size_t len);
/* A warning in the log for each of those words. */
void boot_words_warn(const char *args);

#endif
