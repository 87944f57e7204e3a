/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI tables of a machine: hardware-reduced, so that no fixed hardware has to be emulated. */
#ifndef ARCH_X86_64_ACPI_H
#define ARCH_X86_64_ACPI_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "mem/mem.h"

struct arch_board;
struct arch_place;

/* Common head of all tables but the RSDP (ACPI 6.4, 5.2.6). */
struct acpi_header {
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum; /* all bytes of the table add up to 0 */
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));

/* Writes all tables for num_vcpus processors and the devices of board, and the RSDP at ARCH_RSDP_GPA. */
int acpi_write(struct guest_mem *mem, unsigned int num_vcpus, const struct arch_board *board, struct err *e) must_check;

/* Makes the first len bytes of a table add up to 0 by means of the byte at *checksum. */
void acpi_set_checksum(void *table, size_t len, uint8_t *checksum);

/* Compiled tables with their fields filled in. The caller frees *table. */
int acpi_make_dsdt(struct acpi_header **table, struct err *e) must_check;
int acpi_make_vmgenid_ssdt(gpa_t vmgenid, uint32_t gsi, struct acpi_header **table, struct err *e) must_check;
int acpi_make_vmclock_ssdt(gpa_t vmclock, uint32_t gsi, struct acpi_header **table, struct err *e) must_check;
int acpi_make_virtio_ssdt(unsigned int index, const struct arch_place *place, struct acpi_header **table,
			  struct err *e) must_check;

#endif
