// SPDX-License-Identifier: Apache-2.0
/* Entered by the 64-bit protocol: says so if the zero page is as it should be, and ends by a triple fault. */
#include "guest.h"

/* Offsets in the zero page (Linux Documentation/arch/x86/zero-page.rst). */
#define ZERO_PAGE_RSDP	       0x70
#define ZERO_PAGE_E820_ENTRIES 0x1e8
#define ZERO_PAGE_CMDLINE      0x228
#define ZERO_PAGE_INITRD       0x218
#define ZERO_PAGE_INITRD_LEN   0x21c

static uint32_t hello_read32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static const uint8_t *hello_pointer(const uint8_t *p)
{
	return (const uint8_t *)(uintptr_t)hello_read32(p);
}

void guest_main(const uint8_t *zero_page)
{
	const uint8_t *initrd = hello_pointer(zero_page + ZERO_PAGE_INITRD);
	const uint8_t *rsdp = hello_pointer(zero_page + ZERO_PAGE_RSDP);

	guest_print("long mode\n");
	guest_print((const char *)hello_pointer(zero_page + ZERO_PAGE_CMDLINE));
	guest_print(rsdp[0] == 'R' && rsdp[7] == ' ' ? "\nRSDP\n" : "\nno RSDP\n");
	guest_print(zero_page[ZERO_PAGE_E820_ENTRIES] == 3 ? "3 E820 entries\n" : "wrong E820 map\n");
	guest_outs(PAYLOAD_CONSOLE_PORT, initrd, hello_read32(zero_page + ZERO_PAGE_INITRD_LEN));
	guest_triple_fault();
}
