// SPDX-License-Identifier: Apache-2.0
/*
 * One virtio-mmio device. Each device of a machine is a copy of this table with
 * its own name, number, address and interrupt (acpi_aml.c).
 */
DefinitionBlock ("", "SSDT", 2, "SNPSAF", "VIRTIO", 1)
{
	Scope (\_SB)
	{
		Device (VIRT)
		{
			Name (_HID, "LNRO0005")
			Name (_UID, 0xA5A5)
			Name (_CCA, One)
			Name (_CRS, ResourceTemplate ()
			{
				Memory32Fixed (ReadWrite, 0xA5A5A5A5, 0x00001000, MMIO)
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Shared, , , INTR) { 0x5A5A5A5A }
			})
		}
	}
}
