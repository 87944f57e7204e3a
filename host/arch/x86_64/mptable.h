/* SPDX-License-Identifier: Apache-2.0 */
/* Intel MultiProcessor table, for kernels without ACPI. */
#ifndef ARCH_X86_64_MPTABLE_H
#define ARCH_X86_64_MPTABLE_H

#include "base/err.h"
#include "mem/mem.h"

/* Writes floating pointer and configuration table to ARCH_MPTABLE_GPA. */
int mptable_write(struct guest_mem *mem, unsigned int num_vcpus, struct err *e) must_check;

#endif
