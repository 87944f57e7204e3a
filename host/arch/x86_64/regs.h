/* SPDX-License-Identifier: Apache-2.0 */
/* Registers of a vCPU before its first instruction. */
#ifndef ARCH_X86_64_REGS_H
#define ARCH_X86_64_REGS_H

#include "arch/x86_64/kernel.h"
#include "base/err.h"
#include "mem/mem.h"

struct vcpu;

/* Writes descriptor table and page tables for the kernel's entry. */
int regs_write_tables(struct guest_mem *mem, const struct kernel_image *image, struct err *e) must_check;
/* What every processor starts with: MSRs, FPU, local interrupt pins. */
int regs_set_common(struct vcpu *vcpu, struct err *e) must_check;
/* The boot processor's way into the kernel. */
int regs_set_entry(struct vcpu *vcpu, const struct kernel_image *image, struct err *e) must_check;

#endif
