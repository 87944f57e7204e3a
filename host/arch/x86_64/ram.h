/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ARCH_X86_64_RAM_H
#define ARCH_X86_64_RAM_H

#include "mem/mem.h"

/* The first address behind the RAM that starts at 0: everything that boot code touches lies below it. */
gpa_t ram_low_end(const struct guest_mem *mem);

#endif
