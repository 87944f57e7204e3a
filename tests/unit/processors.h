/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What KVM of Linux 6.1 gives a guest on processors that nobody here has: the registers that cpuid_check() looks at, as the
 * Firecracker project has measured and published them (its fingerprints, 2025). A table of facts.
 */
#ifndef TESTS_PROCESSORS_H
#define TESTS_PROCESSORS_H

#include <stdbool.h>
#include <stdint.h>

#include "arch/x86_64/cpuid_list.h"

struct processor_reg {
	uint32_t function, index;
	enum cpuid_reg reg;
	uint32_t value;
};

#define PROCESSOR_NUM_REGS 20

static const struct processor {
	const char *name;
	bool intel;
	struct processor_reg regs[PROCESSOR_NUM_REGS];
} processors[] = {
	{ "Cascade Lake",
	  true,
	  {
		  { 0x1, 0, CPUID_EAX, 0x00050657 },	    { 0x1, 0, CPUID_ECX, 0xf7fa3203 },
		  { 0x1, 0, CPUID_EDX, 0x0f8bfbff },	    { 0x7, 0, CPUID_EBX, 0xd19f67eb },
		  { 0x7, 0, CPUID_ECX, 0x0000080c },	    { 0x7, 0, CPUID_EDX, 0xac000400 },
		  { 0x7, 1, CPUID_EAX, 0x00000000 },	    { 0x7, 1, CPUID_EDX, 0x00000000 },
		  { 0x7, 2, CPUID_EDX, 0x00000000 },	    { 0xd, 0, CPUID_EAX, 0x000002ff },
		  { 0xd, 1, CPUID_EAX, 0x0000000f },	    { 0xd, 1, CPUID_ECX, 0x00000000 },
		  { 0x14, 0, CPUID_EBX, 0x00000000 },	    { 0x40000001, 0, CPUID_EAX, 0x01007efb },
		  { 0x80000001, 0, CPUID_ECX, 0x00000121 }, { 0x80000001, 0, CPUID_EDX, 0x2c100800 },
		  { 0x80000007, 0, CPUID_EDX, 0x00000100 }, { 0x80000008, 0, CPUID_EAX, 0x0000302e },
		  { 0x80000008, 0, CPUID_EBX, 0x0100d000 }, { 0x80000021, 0, CPUID_EAX, 0x00000000 },
	  } },
	{ "Ice Lake",
	  true,
	  {
		  { 0x1, 0, CPUID_EAX, 0x000606a6 },	    { 0x1, 0, CPUID_ECX, 0xf7fa3207 },
		  { 0x1, 0, CPUID_EDX, 0x0fabfbff },	    { 0x7, 0, CPUID_EBX, 0xf1bf27eb },
		  { 0x7, 0, CPUID_ECX, 0x00415f4e },	    { 0x7, 0, CPUID_EDX, 0xac000410 },
		  { 0x7, 1, CPUID_EAX, 0x00000000 },	    { 0x7, 1, CPUID_EDX, 0x00000000 },
		  { 0x7, 2, CPUID_EDX, 0x00000001 },	    { 0xd, 0, CPUID_EAX, 0x000002e7 },
		  { 0xd, 1, CPUID_EAX, 0x0000000f },	    { 0xd, 1, CPUID_ECX, 0x00000000 },
		  { 0x14, 0, CPUID_EBX, 0x00000000 },	    { 0x40000001, 0, CPUID_EAX, 0x01007efb },
		  { 0x80000001, 0, CPUID_ECX, 0x00000121 }, { 0x80000001, 0, CPUID_EDX, 0x2c100800 },
		  { 0x80000007, 0, CPUID_EDX, 0x00000100 }, { 0x80000008, 0, CPUID_EAX, 0x0000392e },
		  { 0x80000008, 0, CPUID_EBX, 0x0100d200 }, { 0x80000021, 0, CPUID_EAX, 0x00000000 },
	  } },
	{ "Sapphire Rapids",
	  true,
	  {
		  { 0x1, 0, CPUID_EAX, 0x000806f8 },	    { 0x1, 0, CPUID_ECX, 0xf7fa3203 },
		  { 0x1, 0, CPUID_EDX, 0x0f8bfbff },	    { 0x7, 0, CPUID_EBX, 0xf1bf27eb },
		  { 0x7, 0, CPUID_ECX, 0x1b415f4e },	    { 0x7, 0, CPUID_EDX, 0xafc14410 },
		  { 0x7, 1, CPUID_EAX, 0x00000030 },	    { 0x7, 1, CPUID_EDX, 0x00000000 },
		  { 0x7, 2, CPUID_EDX, 0x00000017 },	    { 0xd, 0, CPUID_EAX, 0x000602e7 },
		  { 0xd, 1, CPUID_EAX, 0x0000001f },	    { 0xd, 1, CPUID_ECX, 0x00000000 },
		  { 0x14, 0, CPUID_EBX, 0x00000000 },	    { 0x40000001, 0, CPUID_EAX, 0x01007efb },
		  { 0x80000001, 0, CPUID_ECX, 0x00000121 }, { 0x80000001, 0, CPUID_EDX, 0x2c100800 },
		  { 0x80000007, 0, CPUID_EDX, 0x00000100 }, { 0x80000008, 0, CPUID_EAX, 0x0000392e },
		  { 0x80000008, 0, CPUID_EBX, 0x0100d200 }, { 0x80000021, 0, CPUID_EAX, 0x00000000 },
	  } },
	{ "Granite Rapids",
	  true,
	  {
		  { 0x1, 0, CPUID_EAX, 0x000a06d1 },	    { 0x1, 0, CPUID_ECX, 0xf7fa3203 },
		  { 0x1, 0, CPUID_EDX, 0x0f8bfbff },	    { 0x7, 0, CPUID_EBX, 0xf1bf27eb },
		  { 0x7, 0, CPUID_ECX, 0x1b415f4e },	    { 0x7, 0, CPUID_EDX, 0xafc14410 },
		  { 0x7, 1, CPUID_EAX, 0x00000030 },	    { 0x7, 1, CPUID_EDX, 0x00000000 },
		  { 0x7, 2, CPUID_EDX, 0x0000003f },	    { 0xd, 0, CPUID_EAX, 0x000602e7 },
		  { 0xd, 1, CPUID_EAX, 0x0000001f },	    { 0xd, 1, CPUID_ECX, 0x00000000 },
		  { 0x14, 0, CPUID_EBX, 0x00000000 },	    { 0x40000001, 0, CPUID_EAX, 0x01007efb },
		  { 0x80000001, 0, CPUID_ECX, 0x00000121 }, { 0x80000001, 0, CPUID_EDX, 0x2c100800 },
		  { 0x80000007, 0, CPUID_EDX, 0x00000100 }, { 0x80000008, 0, CPUID_EAX, 0x00003934 },
		  { 0x80000008, 0, CPUID_EBX, 0x0100d200 }, { 0x80000021, 0, CPUID_EAX, 0x00000000 },
	  } },
	{ "Milan",
	  false,
	  {
		  { 0x1, 0, CPUID_EAX, 0x00a00f11 },	    { 0x1, 0, CPUID_ECX, 0xf7fa3203 },
		  { 0x1, 0, CPUID_EDX, 0x078bfbff },	    { 0x7, 0, CPUID_EBX, 0x219c05ab },
		  { 0x7, 0, CPUID_ECX, 0x0040060c },	    { 0x7, 0, CPUID_EDX, 0x8c000000 },
		  { 0x7, 1, CPUID_EAX, 0x00000000 },	    { 0x7, 1, CPUID_EDX, 0x00000000 },
		  { 0x7, 2, CPUID_EDX, 0x00000000 },	    { 0xd, 0, CPUID_EAX, 0x00000207 },
		  { 0xd, 1, CPUID_EAX, 0x0000000f },	    { 0xd, 1, CPUID_ECX, 0x00000000 },
		  { 0x14, 0, CPUID_EBX, 0x00000000 },	    { 0x40000001, 0, CPUID_EAX, 0x01007efb },
		  { 0x80000001, 0, CPUID_ECX, 0x00c003f3 }, { 0x80000001, 0, CPUID_EDX, 0x2fd3fbff },
		  { 0x80000007, 0, CPUID_EDX, 0x00000100 }, { 0x80000008, 0, CPUID_EAX, 0x00003030 },
		  { 0x80000008, 0, CPUID_EBX, 0x1302d205 }, { 0x80000021, 0, CPUID_EAX, 0x00000265 },
	  } },
	{ "Genoa",
	  false,
	  {
		  { 0x1, 0, CPUID_EAX, 0x00a10f11 },	    { 0x1, 0, CPUID_ECX, 0xf7fa3203 },
		  { 0x1, 0, CPUID_EDX, 0x078bfbff },	    { 0x7, 0, CPUID_EBX, 0xf1bf07ab },
		  { 0x7, 0, CPUID_ECX, 0x00415f4e },	    { 0x7, 0, CPUID_EDX, 0x8c000010 },
		  { 0x7, 1, CPUID_EAX, 0x00000020 },	    { 0x7, 1, CPUID_EDX, 0x00000000 },
		  { 0x7, 2, CPUID_EDX, 0x00000000 },	    { 0xd, 0, CPUID_EAX, 0x000002e7 },
		  { 0xd, 1, CPUID_EAX, 0x0000000f },	    { 0xd, 1, CPUID_ECX, 0x00000000 },
		  { 0x14, 0, CPUID_EBX, 0x00000000 },	    { 0x40000001, 0, CPUID_EAX, 0x01007efb },
		  { 0x80000001, 0, CPUID_ECX, 0x00c003f3 }, { 0x80000001, 0, CPUID_EDX, 0x2fd3fbff },
		  { 0x80000007, 0, CPUID_EDX, 0x00000100 }, { 0x80000008, 0, CPUID_EAX, 0x00003934 },
		  { 0x80000008, 0, CPUID_EBX, 0x1302d205 }, { 0x80000021, 0, CPUID_EAX, 0x00000265 },
	  } },
};

#endif
