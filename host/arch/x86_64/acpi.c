// SPDX-License-Identifier: Apache-2.0
/*
 * RSDP -> XSDT -> FADT -> DSDT, MADT, one SSDT a virtio device, one for the VM
 * Generation ID and one for VMClock, one after the other from ARCH_ACPI_GPA on (ACPI 6.4, chapter 5). No port or register of the
 * fixed ACPI hardware exists; the FADT says so, and names the keyboard
 * controller's reset command as reset register.
 */
#include "arch/x86_64/acpi.h"

#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "base/cleanup.h"

#define ACPI_OEM_ID	  "SNPSAF"
#define ACPI_CREATOR_ID	  "SNPS"
#define ACPI_OEM_REVISION 1

struct acpi_address {
	uint8_t space;
	uint8_t width;
	uint8_t offset;
	uint8_t access;
	uint64_t address;
} __attribute__((packed));

struct acpi_rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} __attribute__((packed));

#define ACPI_RSDP_FIRST_LEN 20

struct acpi_fadt {
	struct acpi_header header;
	uint8_t legacy1[9]; /* 32-bit addresses, zero: the 64-bit ones below count */
	uint8_t pm_profile;
	uint8_t legacy2[63]; /* fixed hardware, all absent */
	uint16_t boot_arch;
	uint8_t reserved;
	uint32_t flags;
	struct acpi_address reset_register;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_revision;
	uint64_t x_firmware_ctrl;
	uint64_t x_dsdt;
	struct acpi_address fixed_hardware[8];
	struct acpi_address sleep_control;
	struct acpi_address sleep_status;
	char hypervisor[8];
} __attribute__((packed));

enum acpi_fadt_bits {
	FADT_REVISION = 6,
	FADT_MINOR_REVISION = 4,
	FADT_SPACE_IO = 1,
	FADT_ACCESS_BYTE = 1,
	FADT_BOOT_LEGACY_DEVICES = 1 << 0,
	FADT_BOOT_8042 = 1 << 1,
	FADT_BOOT_NO_VGA = 1 << 2,
	FADT_BOOT_NO_MSI = 1 << 3,
	FADT_BOOT_NO_ASPM = 1 << 4,
	FADT_BOOT_NO_RTC = 1 << 5,
	FADT_FLAG_WBINVD = 1 << 0,
	FADT_FLAG_NO_POWER_BUTTON = 1 << 4,
	FADT_FLAG_NO_SLEEP_BUTTON = 1 << 5,
	FADT_FLAG_RESET_REGISTER = 1 << 10,
	FADT_FLAG_HEADLESS = 1 << 12,
	FADT_FLAG_HW_REDUCED = 1 << 20,
};

/* What the keyboard controller takes as "reset the processor", and where. */
#define ACPI_RESET_PORT	 (ARCH_I8042_PORT + 4)
#define ACPI_RESET_VALUE 0xfe

struct acpi_madt {
	struct acpi_header header;
	uint32_t lapic;
	uint32_t flags;
} __attribute__((packed));

struct acpi_madt_lapic {
	uint8_t type;
	uint8_t length;
	uint8_t processor_uid;
	uint8_t apic_id;
	uint32_t flags;
} __attribute__((packed));

struct acpi_madt_ioapic {
	uint8_t type;
	uint8_t length;
	uint8_t id;
	uint8_t reserved;
	uint32_t address;
	uint32_t gsi_base;
} __attribute__((packed));

enum acpi_madt_values { MADT_REVISION = 5, MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_LAPIC_ENABLED = 1 };

/* FADT, MADT and the SSDTs. */
#define ACPI_MAX_XSDT_ENTRIES (2 + ARCH_MAX_PLACES)
#define ACPI_MAX_VCPUS	      254 /* 8-bit APIC ids, the last of which means all */

struct acpi_xsdt {
	struct acpi_header header;
	uint64_t entries[ACPI_MAX_XSDT_ENTRIES];
} __attribute__((packed));

_Static_assert(sizeof(struct acpi_header) == 36, "ABI");
_Static_assert(sizeof(struct acpi_rsdp) == 36, "ABI");
_Static_assert(sizeof(struct acpi_fadt) == 276, "ABI");
_Static_assert(offsetof(struct acpi_fadt, pm_profile) == 45, "ABI");
_Static_assert(offsetof(struct acpi_fadt, boot_arch) == 109, "ABI");
_Static_assert(offsetof(struct acpi_fadt, x_dsdt) == 140, "ABI");

/* Where the next table goes, and what the XSDT will list. */
struct acpi_writer {
	struct guest_mem *mem;
	gpa_t next;
	struct acpi_xsdt xsdt;
	unsigned int num_entries;
};

void acpi_set_checksum(void *table, size_t len, uint8_t *checksum)
{
	const uint8_t *p = table;
	uint8_t sum = 0;

	*checksum = 0;
	while (len-- > 0)
		sum = (uint8_t)(sum + *p++);
	*checksum = (uint8_t)-sum;
}

static struct acpi_header acpi_header(const char *signature, size_t len, uint8_t revision)
{
	struct acpi_header h = { .length = (uint32_t)len,
				 .revision = revision,
				 .oem_id = ACPI_OEM_ID,
				 .oem_table_id = "SNAPSAFE",
				 .oem_revision = ACPI_OEM_REVISION,
				 .creator_id = ACPI_CREATOR_ID,
				 .creator_revision = ACPI_OEM_REVISION };

	memcpy(h.signature, signature, sizeof(h.signature));
	return h;
}

/* Puts a table into guest memory; *at is its address. */
static int acpi_place(struct acpi_writer *w, const void *table, size_t len, gpa_t *at, struct err *e)
{
	if (len > ARCH_VMCLOCK_GPA - w->next)
		return err_set(e, ENOSPC, "the ACPI tables do not fit between 0x%llx and 0x%llx", ARCH_ACPI_GPA,
			       ARCH_VMCLOCK_GPA);
	if (!mem_write(w->mem, w->next, table, len))
		return err_set(e, ENOMEM, "this machine has too little RAM for firmware tables");
	*at = w->next;
	w->next = (w->next + len + 15) & ~15ull;
	return 0;
}

/* Places a table and lists it in the XSDT. */
static int acpi_place_listed(struct acpi_writer *w, const void *table, size_t len, struct err *e)
{
	gpa_t at = 0;
	int r = acpi_place(w, table, len, &at, e);

	if (r < 0)
		return r;
	w->xsdt.entries[w->num_entries++] = at;
	return 0;
}

static int acpi_write_fadt(struct acpi_writer *w, gpa_t dsdt, struct err *e)
{
	struct acpi_fadt fadt = {
		.header = acpi_header("FACP", sizeof(fadt), FADT_REVISION),
		.boot_arch = FADT_BOOT_LEGACY_DEVICES | FADT_BOOT_8042 | FADT_BOOT_NO_VGA | FADT_BOOT_NO_MSI |
			     FADT_BOOT_NO_ASPM | FADT_BOOT_NO_RTC,
		.flags = FADT_FLAG_WBINVD | FADT_FLAG_NO_POWER_BUTTON | FADT_FLAG_NO_SLEEP_BUTTON |
			 FADT_FLAG_RESET_REGISTER | FADT_FLAG_HEADLESS | FADT_FLAG_HW_REDUCED,
		.reset_register = { .space = FADT_SPACE_IO,
				    .width = 8,
				    .access = FADT_ACCESS_BYTE,
				    .address = ACPI_RESET_PORT },
		.reset_value = ACPI_RESET_VALUE,
		.minor_revision = FADT_MINOR_REVISION,
		.x_dsdt = dsdt,
		.hypervisor = "SNAPSAFE",
	};

	acpi_set_checksum(&fadt, sizeof(fadt), &fadt.header.checksum);
	return acpi_place_listed(w, &fadt, sizeof(fadt), e);
}

static int acpi_write_madt(struct acpi_writer *w, unsigned int num_vcpus, struct err *e)
{
	struct {
		struct acpi_madt madt;
		struct acpi_madt_ioapic ioapic;
		struct acpi_madt_lapic lapics[ACPI_MAX_VCPUS];
	} __attribute__((packed)) table = { 0 };
	size_t len = sizeof(table) - sizeof(table.lapics) + num_vcpus * sizeof(table.lapics[0]);

	table.madt.header = acpi_header("APIC", len, MADT_REVISION);
	table.madt.lapic = (uint32_t)ARCH_LAPIC_BASE;
	table.ioapic = (struct acpi_madt_ioapic){ .type = MADT_IOAPIC,
						  .length = sizeof(table.ioapic),
						  .address = (uint32_t)ARCH_IOAPIC_BASE };
	for (unsigned int i = 0; i < num_vcpus; i++)
		table.lapics[i] = (struct acpi_madt_lapic){ .type = MADT_LAPIC,
							    .length = sizeof(table.lapics[0]),
							    .processor_uid = (uint8_t)i,
							    .apic_id = (uint8_t)i,
							    .flags = MADT_LAPIC_ENABLED };
	acpi_set_checksum(&table, len, &table.madt.header.checksum);
	return acpi_place_listed(w, &table, len, e);
}

static int acpi_write_place(struct acpi_writer *w, const struct arch_place *place, unsigned int *num_virtio,
			    struct err *e)
{
	_cleanup_free_ struct acpi_header *ssdt = NULL;
	int r;

	if (arch_place_is_virtio(place))
		r = acpi_make_virtio_ssdt((*num_virtio)++, place, &ssdt, e);
	else if (place->base == ARCH_VMCLOCK_GPA)
		r = acpi_make_vmclock_ssdt(place->base, place->gsi, &ssdt, e);
	else
		r = acpi_make_vmgenid_ssdt(place->base, place->gsi, &ssdt, e);
	return r < 0 ? r : acpi_place_listed(w, ssdt, ssdt->length, e);
}

/* One table for each device that has a place. */
static int acpi_write_devices(struct acpi_writer *w, const struct arch_board *board, struct err *e)
{
	unsigned int num_virtio = 0;
	int r = 0;

	for (unsigned int i = 0; i < board->num_places && r == 0; i++)
		r = acpi_write_place(w, &board->places[i], &num_virtio, e);
	return r;
}

static int acpi_write_root(struct acpi_writer *w, struct err *e)
{
	struct acpi_rsdp rsdp = {
		.signature = "RSD PTR ", .oem_id = ACPI_OEM_ID, .revision = 2, .length = sizeof(rsdp)
	};
	size_t len = sizeof(w->xsdt.header) + w->num_entries * sizeof(w->xsdt.entries[0]);
	gpa_t xsdt = 0;
	int r;

	w->xsdt.header = acpi_header("XSDT", len, 1);
	acpi_set_checksum(&w->xsdt, len, &w->xsdt.header.checksum);
	r = acpi_place(w, &w->xsdt, len, &xsdt, e);
	if (r < 0)
		return r;
	rsdp.xsdt = xsdt;
	acpi_set_checksum(&rsdp, ACPI_RSDP_FIRST_LEN, &rsdp.checksum);
	acpi_set_checksum(&rsdp, sizeof(rsdp), &rsdp.extended_checksum);
	if (!mem_write(w->mem, ARCH_RSDP_GPA, &rsdp, sizeof(rsdp)))
		return err_set(e, ENOMEM, "this machine has too little RAM for firmware tables");
	return 0;
}

int acpi_write(struct guest_mem *mem, unsigned int num_vcpus, const struct arch_board *board, struct err *e)
{
	struct acpi_writer w = { .mem = mem, .next = ARCH_ACPI_GPA };
	_cleanup_free_ struct acpi_header *dsdt = NULL;
	gpa_t dsdt_at = 0;
	int r;

	if (num_vcpus > ACPI_MAX_VCPUS)
		return err_set(e, EINVAL, "%u vCPUs do not fit the ACPI tables; %d are allowed", num_vcpus,
			       ACPI_MAX_VCPUS);
	r = acpi_make_dsdt(&dsdt, e);
	if (r == 0)
		r = acpi_place(&w, dsdt, dsdt->length, &dsdt_at, e);
	if (r == 0)
		r = acpi_write_fadt(&w, dsdt_at, e);
	if (r == 0)
		r = acpi_write_madt(&w, num_vcpus, e);
	if (r == 0)
		r = acpi_write_devices(&w, board, e);
	return r < 0 ? r : acpi_write_root(&w, e);
}
