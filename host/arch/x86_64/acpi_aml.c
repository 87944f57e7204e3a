// SPDX-License-Identifier: Apache-2.0
/* Tables with code: copies of what iasl compiled from *.asl, with numbers put in at the offsets that iasl gave. */
#include "arch/x86_64/acpi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/x86_64/dsdt_aml.h"
#include "arch/x86_64/virtio_aml.h"
#include "arch/x86_64/vmclock_aml.h"
#include "arch/x86_64/vmgenid_aml.h"
#include "vmclock_page.h"

static void acpi_patch(void *table, size_t offset, uint64_t value, size_t size)
{
	memcpy((uint8_t *)table + offset, &value, size); /* AML is little endian, as this architecture is */
}

#define ACPI_PATCH(table, field, value) acpi_patch((table), field, (value), field##_SIZE)

static struct acpi_header *acpi_copy(const uint8_t *aml, size_t len, struct err *e)
{
	struct acpi_header *table = malloc(len);

	if (!table)
		(void)err_errno(e, ENOMEM, "cannot make the ACPI tables");
	else
		memcpy(table, aml, len);
	return table;
}

int acpi_make_dsdt(struct acpi_header **table, struct err *e)
{
	struct acpi_header *dsdt = acpi_copy(dsdt_aml, sizeof(dsdt_aml), e);

	if (!dsdt)
		return -ENOMEM;
	*table = dsdt;
	return 0;
}

int acpi_make_vmgenid_ssdt(gpa_t vmgenid, uint32_t gsi, struct acpi_header **table, struct err *e)
{
	struct acpi_header *ssdt = acpi_copy(vmgenid_aml, sizeof(vmgenid_aml), e);

	if (!ssdt)
		return -ENOMEM;
	ACPI_PATCH(ssdt, VMGENID_ADDR_LOW, vmgenid & UINT32_MAX);
	ACPI_PATCH(ssdt, VMGENID_ADDR_HIGH, vmgenid >> 32);
	ACPI_PATCH(ssdt, VMGENID_GED_INTERRUPT, gsi);
	ACPI_PATCH(ssdt, VMGENID_GED_GSI, gsi);
	acpi_set_checksum(ssdt, sizeof(vmgenid_aml), &ssdt->checksum);
	*table = ssdt;
	return 0;
}

int acpi_make_vmclock_ssdt(gpa_t vmclock, uint32_t gsi, struct acpi_header **table, struct err *e)
{
	struct acpi_header *ssdt = acpi_copy(vmclock_aml, sizeof(vmclock_aml), e);

	if (!ssdt)
		return -ENOMEM;
	ACPI_PATCH(ssdt, VMCLOCK_FIRST_BYTE, vmclock);
	ACPI_PATCH(ssdt, VMCLOCK_LAST_BYTE, vmclock + VMCLOCK_PAGE_SIZE - 1);
	ACPI_PATCH(ssdt, VMCLOCK_GED_INTERRUPT, gsi);
	ACPI_PATCH(ssdt, VMCLOCK_GED_GSI, gsi);
	acpi_set_checksum(ssdt, sizeof(vmclock_aml), &ssdt->checksum);
	*table = ssdt;
	return 0;
}

int acpi_make_virtio_ssdt(unsigned int index, const struct arch_place *place, struct acpi_header **table, struct err *e)
{
	struct acpi_header *ssdt = acpi_copy(virtio_aml, sizeof(virtio_aml), e);
	char name[VIRTIO_NAME_SIZE + 1];

	if (!ssdt)
		return -ENOMEM;
	snprintf(name, sizeof(name), "V%03u", index % 1000);
	memcpy((uint8_t *)ssdt + VIRTIO_NAME, name, VIRTIO_NAME_SIZE);
	ACPI_PATCH(ssdt, VIRTIO_UID, index);
	ACPI_PATCH(ssdt, VIRTIO_BASE, place->base);
	ACPI_PATCH(ssdt, VIRTIO_INTERRUPT, place->gsi);
	acpi_set_checksum(ssdt, sizeof(virtio_aml), &ssdt->checksum);
	*table = ssdt;
	return 0;
}
