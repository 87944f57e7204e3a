// SPDX-License-Identifier: Apache-2.0
/*
 * Processors, one ISA bus, one IOAPIC and its pins (MultiProcessor
 * Specification 1.4, chapter 4). It lies where a kernel looks first: in the
 * last KiB of conventional memory, and must fit there.
 */
#include "arch/x86_64/mptable.h"

#include <string.h>

#include "arch/x86_64/layout.h"

#define MPTABLE_SPEC_1_4      4
#define MPTABLE_APIC_VERSION  0x14
#define MPTABLE_MAX_LEN	      1024u
#define MPTABLE_MAX_VCPUS     32u
#define MPTABLE_ALL_APICS     0xff
#define MPTABLE_CPU_ENABLED   0x01
#define MPTABLE_CPU_BOOT      0x02
#define MPTABLE_CPU_FEATURES  0x201 /* FPU, APIC */
#define MPTABLE_CPU_SIGNATURE 0x600

enum mptable_type { MPTABLE_PROCESSOR, MPTABLE_BUS, MPTABLE_IOAPIC, MPTABLE_INTSRC, MPTABLE_LINTSRC };
enum mptable_irq_type { MPTABLE_INT, MPTABLE_NMI, MPTABLE_SMI, MPTABLE_EXTINT };

struct mptable_floating {
	char signature[4];
	uint32_t table;
	uint8_t length; /* of this, in 16 bytes */
	uint8_t spec;
	uint8_t checksum;
	uint8_t features[5];
};

struct mptable_header {
	char signature[4];
	uint16_t length;
	uint8_t spec;
	uint8_t checksum;
	char oem[8];
	char product[12];
	uint32_t oem_table;
	uint16_t oem_table_len;
	uint16_t num_entries;
	uint32_t lapic;
	uint32_t reserved;
};

struct mptable_processor {
	uint8_t type;
	uint8_t apic_id;
	uint8_t apic_version;
	uint8_t flags;
	uint32_t signature;
	uint32_t features;
	uint32_t reserved[2];
};

struct mptable_bus {
	uint8_t type;
	uint8_t id;
	char name[6];
};

struct mptable_ioapic {
	uint8_t type;
	uint8_t id;
	uint8_t version;
	uint8_t flags;
	uint32_t address;
};

/* Of an IOAPIC's pin and of a local pin alike. */
struct mptable_interrupt {
	uint8_t type;
	uint8_t irq_type;
	uint16_t flags; /* 0: as the bus has it; ISA is edge-triggered, active high */
	uint8_t source_bus;
	uint8_t source_irq;
	uint8_t dest_apic;
	uint8_t dest_pin;
};

_Static_assert(sizeof(struct mptable_floating) == 16, "ABI");
_Static_assert(sizeof(struct mptable_header) == 44, "ABI");
_Static_assert(sizeof(struct mptable_processor) == 20, "ABI");
_Static_assert(sizeof(struct mptable_bus) == 8, "ABI");
_Static_assert(sizeof(struct mptable_ioapic) == 8, "ABI");
_Static_assert(sizeof(struct mptable_interrupt) == 8, "ABI");
_Static_assert(sizeof(struct mptable_floating) + sizeof(struct mptable_header) +
			       MPTABLE_MAX_VCPUS * sizeof(struct mptable_processor) + sizeof(struct mptable_bus) +
			       sizeof(struct mptable_ioapic) +
			       (ARCH_GSI_LAST + 1 + 2) * sizeof(struct mptable_interrupt) <=
		       MPTABLE_MAX_LEN,
	       "the largest table fits");

struct mptable {
	uint8_t bytes[MPTABLE_MAX_LEN];
	size_t len;
	uint16_t num_entries;
};

static void mptable_append(struct mptable *t, const void *entry, size_t len)
{
	memcpy(t->bytes + t->len, entry, len);
	t->len += len;
	t->num_entries++;
}

static uint8_t mptable_checksum(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	while (len-- > 0)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

static void mptable_append_processors(struct mptable *t, unsigned int num_vcpus)
{
	for (unsigned int i = 0; i < num_vcpus; i++) {
		struct mptable_processor cpu = {
			.type = MPTABLE_PROCESSOR,
			.apic_id = (uint8_t)i,
			.apic_version = MPTABLE_APIC_VERSION,
			.flags = MPTABLE_CPU_ENABLED | (i == 0 ? MPTABLE_CPU_BOOT : 0),
			.signature = MPTABLE_CPU_SIGNATURE,
			.features = MPTABLE_CPU_FEATURES,
		};

		mptable_append(t, &cpu, sizeof(cpu));
	}
}

static void mptable_append_interrupts(struct mptable *t, uint8_t ioapic_id)
{
	struct mptable_interrupt extint = { .type = MPTABLE_LINTSRC, .irq_type = MPTABLE_EXTINT };
	struct mptable_interrupt nmi = {
		.type = MPTABLE_LINTSRC, .irq_type = MPTABLE_NMI, .dest_apic = MPTABLE_ALL_APICS, .dest_pin = 1
	};

	for (unsigned int gsi = 0; gsi <= ARCH_GSI_LAST; gsi++) {
		struct mptable_interrupt irq = { .type = MPTABLE_INTSRC,
						 .irq_type = MPTABLE_INT,
						 .source_irq = (uint8_t)gsi,
						 .dest_apic = ioapic_id,
						 .dest_pin = (uint8_t)gsi };

		mptable_append(t, &irq, sizeof(irq));
	}
	mptable_append(t, &extint, sizeof(extint));
	mptable_append(t, &nmi, sizeof(nmi));
}

int mptable_write(struct guest_mem *mem, unsigned int num_vcpus, struct err *e)
{
	struct mptable_floating floating = { .signature = "_MP_",
					     .table = (uint32_t)(ARCH_MPTABLE_GPA + sizeof(floating)),
					     .length = sizeof(floating) / 16,
					     .spec = MPTABLE_SPEC_1_4 };
	struct mptable_header header = { .signature = "PCMP",
					 .spec = MPTABLE_SPEC_1_4,
					 .oem = "SNAPSAFE",
					 .product = "SNAPSAFE-VMM",
					 .lapic = (uint32_t)ARCH_LAPIC_BASE };
	struct mptable_bus bus = { .type = MPTABLE_BUS, .name = "ISA   " };
	struct mptable_ioapic ioapic = { .type = MPTABLE_IOAPIC,
					 .id = (uint8_t)num_vcpus, /* behind the processors' */
					 .version = MPTABLE_APIC_VERSION,
					 .flags = 1,
					 .address = (uint32_t)ARCH_IOAPIC_BASE };
	struct mptable t = { .len = sizeof(header) };

	if (num_vcpus > MPTABLE_MAX_VCPUS)
		return err_set(e, EINVAL, "%u vCPUs are too many for an MP table; %u are allowed", num_vcpus,
			       MPTABLE_MAX_VCPUS);
	mptable_append_processors(&t, num_vcpus);
	mptable_append(&t, &bus, sizeof(bus));
	mptable_append(&t, &ioapic, sizeof(ioapic));
	mptable_append_interrupts(&t, ioapic.id);

	header.length = (uint16_t)t.len;
	header.num_entries = t.num_entries;
	memcpy(t.bytes, &header, sizeof(header));
	header.checksum = mptable_checksum(t.bytes, t.len);
	memcpy(t.bytes, &header, sizeof(header));
	floating.checksum = mptable_checksum(&floating, sizeof(floating));
	if (!mem_write(mem, ARCH_MPTABLE_GPA, &floating, sizeof(floating)) ||
	    !mem_write(mem, floating.table, t.bytes, t.len))
		return err_set(e, ENOMEM, "this machine has too little RAM for firmware tables");
	return 0;
}
