/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ARCH_X86_64_ZERO_PAGE_H
#define ARCH_X86_64_ZERO_PAGE_H

#include "arch/x86_64/boot_info.h"
#include "arch/x86_64/kernel.h"
#include "base/err.h"

/* Writes the zero page (Linux protocol). */
int zero_page_write(struct guest_mem *mem, const struct kernel_image *image, const struct boot_info *info,
		    struct err *e) must_check;

#endif
