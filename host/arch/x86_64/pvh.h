/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ARCH_X86_64_PVH_H
#define ARCH_X86_64_PVH_H

#include "arch/x86_64/boot_info.h"
#include "base/err.h"

/* Writes start info, module list and memory map (PVH). */
int pvh_write(struct guest_mem *mem, const struct boot_info *info, struct err *e) must_check;

#endif
