// SPDX-License-Identifier: Apache-2.0
/* The ACPI tables in guest memory, as a guest's firmware code would walk them. No KVM. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arch/arch.h"
#include "arch/x86_64/acpi.h"

#define MEMORY	    (16ull << 20)
#define VMGENID_GSI 0x17u
#define VMCLOCK_GSI 0x16u

static struct guest_mem memory;

static uint8_t sum_bytes(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	while (len-- > 0)
		sum = (uint8_t)(sum + *p++);
	return sum;
}

static uint64_t read_number(const uint8_t *p, unsigned int len)
{
	uint64_t value = 0;

	memcpy(&value, p, len);
	return value;
}

/* The table at an address: within the reserved range, and its bytes add up. */
static const struct acpi_header *table_at(uint64_t gpa)
{
	const struct acpi_header *table = mem_host(&memory, gpa, sizeof(*table));

	assert_non_null(table);
	assert_true(gpa >= ARCH_ACPI_GPA && gpa + table->length <= ARCH_VMCLOCK_GPA);
	assert_int_equal(sum_bytes(table, table->length), 0);
	assert_memory_equal(table->oem_id, "SNPSAF", 6);
	return table;
}

static const struct acpi_header *xsdt(void)
{
	const uint8_t *rsdp = mem_host(&memory, ARCH_RSDP_GPA, 36);

	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_int_equal(sum_bytes(rsdp, 20), 0);
	assert_int_equal(sum_bytes(rsdp, 36), 0);
	assert_int_equal(rsdp[15], 2);
	return table_at(read_number(rsdp + 24, 8));
}

/* The n-th listed table with a signature, or NULL. */
static const struct acpi_header *find_table(const char *signature, unsigned int n)
{
	const struct acpi_header *root = xsdt();
	const uint8_t *entry = (const uint8_t *)(root + 1);

	for (; entry < (const uint8_t *)root + root->length; entry += 8) {
		const struct acpi_header *table = table_at(read_number(entry, 8));

		if (memcmp(table->signature, signature, 4) == 0 && n-- == 0)
			return table;
	}
	return NULL;
}

static const struct acpi_header *dsdt(void)
{
	const struct acpi_header *fadt = find_table("FACP", 0);

	assert_non_null(fadt);
	return table_at(read_number((const uint8_t *)fadt + 140, 8));
}

/* What follows the only occurrence of some bytes in a table. */
static const uint8_t *after(const struct acpi_header *table, const void *bytes, size_t len)
{
	const uint8_t *end = (const uint8_t *)table + table->length, *found;

	found = memmem(table, table->length, bytes, len);
	assert_non_null(found);
	assert_null(memmem(found + 1, (size_t)(end - found - 1), bytes, len));
	return found + len;
}

static void write_tables_with(unsigned int num_vcpus, unsigned int num_virtio, uint32_t vmgenid_gsi,
			      uint32_t vmclock_gsi)
{
	struct arch_board board = { 0 };
	struct mem_layout layout;
	struct err e;

	assert_int_equal(arch_board_new_places(&board, num_virtio, &e), 0);
	if (vmgenid_gsi != 0)
		board.places[board.num_places++] = (struct arch_place){ .base = ARCH_VMGENID_GPA, .gsi = vmgenid_gsi };
	if (vmclock_gsi != 0)
		board.places[board.num_places++] = (struct arch_place){ .base = ARCH_VMCLOCK_GPA, .gsi = vmclock_gsi };
	arch_mem_layout(MEMORY, &layout);
	assert_int_equal(mem_init_anonymous(&memory, &layout, &e), 0);
	assert_int_equal(acpi_write(&memory, num_vcpus, &board, &e), 0);
}

static void write_tables(unsigned int num_vcpus, unsigned int num_virtio)
{
	write_tables_with(num_vcpus, num_virtio, VMGENID_GSI, VMCLOCK_GSI);
}

static void every_table_is_found_and_adds_up(void **state)
{
	(void)state;
	write_tables(1, 3);
	assert_memory_equal(xsdt()->signature, "XSDT", 4);
	assert_non_null(find_table("FACP", 0));
	assert_non_null(find_table("APIC", 0));
	assert_non_null(find_table("SSDT", 4)); /* three devices, VM Generation ID, VMClock */
	assert_null(find_table("SSDT", 5));
	assert_memory_equal(dsdt()->signature, "DSDT", 4);
	mem_fini(&memory);
}

static void the_fadt_says_hardware_reduced_and_how_to_reset(void **state)
{
	const uint8_t *fadt;

	(void)state;
	write_tables(1, 0);
	fadt = (const uint8_t *)find_table("FACP", 0);
	assert_int_equal(read_number(fadt + 4, 4), 276);
	assert_int_equal(fadt[8], 6);			      /* revision */
	assert_true(read_number(fadt + 112, 4) & (1u << 20)); /* hardware-reduced */
	assert_true(read_number(fadt + 112, 4) & (1u << 10)); /* reset register */
	assert_int_equal(fadt[116], 1);			      /* in port space */
	assert_int_equal(read_number(fadt + 120, 8), ARCH_I8042_PORT + 4);
	assert_int_equal(fadt[128], 0xfe);
	assert_memory_equal(fadt + 268, "SNAPSAFE", 8);
	mem_fini(&memory);
}

static void the_madt_lists_each_processor_and_the_ioapic(void **state)
{
	(void)state;
	for (unsigned int n = 1; n <= 32; n++) {
		const struct acpi_header *madt;
		const uint8_t *p;
		unsigned int cpus = 0, ioapics = 0;

		write_tables(n, 0);
		madt = find_table("APIC", 0);
		p = (const uint8_t *)(madt + 1);
		assert_int_equal(read_number(p, 4), ARCH_LAPIC_BASE);
		for (p += 8; p < (const uint8_t *)madt + madt->length; p += p[1]) {
			if (p[0] == 0) {
				assert_int_equal(p[3], cpus); /* APIC id */
				assert_int_equal(p[4], 1);
				cpus++;
			} else {
				assert_int_equal(p[0], 1);
				assert_int_equal(read_number(p + 4, 4), ARCH_IOAPIC_BASE);
				ioapics++;
			}
		}
		assert_int_equal(cpus, n);
		assert_int_equal(ioapics, 1);
		mem_fini(&memory);
	}
}

/* Encodings: ACPI 6.4, 6.4.3.4 (memory), 6.4.3.6 (interrupt), 20.2 (AML). */
static void each_virtio_device_has_its_own_name_address_and_interrupt(void **state)
{
	static const uint8_t memory32[] = { 0x86, 0x09, 0x00, 0x01 };
	static const uint8_t interrupt[] = { 0x89, 0x06, 0x00, 0x0b /* consumer, edge, high, shared */, 0x01 };

	(void)state;
	write_tables(2, ARCH_MAX_VIRTIO);
	for (unsigned int i = 0; i < ARCH_MAX_VIRTIO; i++) {
		const struct acpi_header *ssdt = find_table("SSDT", i);
		const uint8_t *p;
		char name[5];

		assert_non_null(ssdt);
		snprintf(name, sizeof(name), "V%03u", i);
		(void)after(ssdt, name, 4);
		(void)after(ssdt, "LNRO0005", 9);
		p = after(ssdt, "_UID\x0b", 5);
		assert_int_equal(read_number(p, 2), i);
		p = after(ssdt, memory32, sizeof(memory32));
		assert_int_equal(read_number(p, 4), ARCH_VIRTIO_MMIO_BASE + i * 0x1000ull);
		assert_int_equal(read_number(p + 4, 4), 0x1000);
		p = after(ssdt, interrupt, sizeof(interrupt));
		assert_int_equal(read_number(p, 4), ARCH_GSI_FIRST + i % 17);
	}
	mem_fini(&memory);
}

static void one_table_names_the_generation_id_and_its_event(void **state)
{
	const struct acpi_header *ssdt;
	const uint8_t *p;

	(void)state;
	write_tables(1, 0);
	ssdt = find_table("SSDT", 0);
	assert_non_null(ssdt);
	(void)after(ssdt, "_HID\x0dVMGENCTR", 14);
	(void)after(ssdt, "_CID\x0dVM_Gen_Counter", 20);
	(void)after(ssdt, "ACPI0013", 9);
	p = after(ssdt, "ADDR\x12", 5);
	assert_int_equal(p[1], 2);
	assert_int_equal(p[2], 0x0c);
	assert_int_equal(read_number(p + 3, 4), ARCH_VMGENID_GPA);
	assert_int_equal(p[7], 0x0c);
	assert_int_equal(read_number(p + 8, 4), 0);
	p = after(ssdt, "VGSI\x0c", 5);
	assert_int_equal(read_number(p, 4), VMGENID_GSI);
	p = after(ssdt, "\x89\x06\x00\x03\x01\x17\x00\x00\x00", 9); /* the event device's own interrupt */
	mem_fini(&memory);
}

/* One memory resource, the page, as Linux' driver wants it, and an event device of its own (ACPI 6.4, 6.4.3.5.2). */
static void one_table_names_vmclock_its_page_and_its_event(void **state)
{
	/* A range of memory: consumer, fixed, decoded as it is; cacheable, read-only. */
	static const uint8_t page[] = { 0x87, 0x17, 0x00, 0x00, 0x0d, 0x02 };
	const struct acpi_header *ssdt;
	const uint8_t *p;

	(void)state;
	write_tables(1, 0);
	ssdt = find_table("SSDT", 1);
	assert_non_null(ssdt);
	(void)after(ssdt, "_HID\rAMZNC10C", 14);
	(void)after(ssdt, "_CID\x0dVMCLOCK", 13);
	(void)after(ssdt, "ACPI0013", 9);
	p = after(ssdt, page, sizeof(page));
	assert_int_equal(read_number(p + 4, 4), ARCH_VMCLOCK_GPA);
	assert_int_equal(read_number(p + 8, 4), ARCH_VMCLOCK_GPA + 0xfff);
	assert_int_equal(read_number(p + 12, 4), 0);
	assert_int_equal(read_number(p + 16, 4), 0x1000);
	p = after(ssdt, "CGSI\x0c", 5);
	assert_int_equal(read_number(p, 4), VMCLOCK_GSI);
	(void)after(ssdt, "\x89\x06\x00\x03\x01\x16\x00\x00\x00", 9);
	mem_fini(&memory);
}

static void a_machine_without_generation_id_does_not_name_it(void **state)
{
	const uint8_t *tables;

	(void)state;
	write_tables_with(1, 1, 0, 0);
	assert_non_null(find_table("SSDT", 0));
	assert_null(find_table("SSDT", 1));
	tables = mem_host(&memory, ARCH_ACPI_GPA, ARCH_VMGENID_GPA - ARCH_ACPI_GPA);
	assert_null(memmem(tables, ARCH_VMGENID_GPA - ARCH_ACPI_GPA, "VMGENCTR", 8));
	assert_null(memmem(tables, ARCH_VMGENID_GPA - ARCH_ACPI_GPA, "ACPI0013", 8));
	mem_fini(&memory);
}

static void too_many_processors_or_too_little_memory_is_refused(void **state)
{
	struct arch_board board = { 0 };
	struct mem_layout layout;
	struct err e;

	(void)state;
	arch_mem_layout(512 << 10, &layout);
	assert_int_equal(mem_init_anonymous(&memory, &layout, &e), 0);
	assert_int_equal(acpi_write(&memory, 255, &board, &e), -EINVAL);
	assert_int_equal(acpi_write(&memory, 1, &board, &e), -ENOMEM);
	mem_fini(&memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_table_is_found_and_adds_up),
		cmocka_unit_test(the_fadt_says_hardware_reduced_and_how_to_reset),
		cmocka_unit_test(the_madt_lists_each_processor_and_the_ioapic),
		cmocka_unit_test(each_virtio_device_has_its_own_name_address_and_interrupt),
		cmocka_unit_test(one_table_names_the_generation_id_and_its_event),
		cmocka_unit_test(one_table_names_vmclock_its_page_and_its_event),
		cmocka_unit_test(a_machine_without_generation_id_does_not_name_it),
		cmocka_unit_test(too_many_processors_or_too_little_memory_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
