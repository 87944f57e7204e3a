// SPDX-License-Identifier: Apache-2.0
/*
 * VM Generation ID and the event device that announces its changes. Numbers
 * that begin with 0xA5 or 0x5A are replaced when a machine is built (acpi_aml.c).
 */
DefinitionBlock ("", "SSDT", 2, "SNPSAF", "VMGENID", 1)
{
	Scope (\_SB)
	{
		// Microsoft's "Virtual Machine Generation ID": ADDR is the low and the high half of the address of 16 bytes.
		Device (VGEN)
		{
			Name (_HID, "VMGENCTR")
			Name (_CID, "VM_Gen_Counter")
			Name (_DDN, "VM_Gen_Counter")
			Name (ADDR, Package () { 0xA5A5A5A5, 0x5A5A5A5A })
		}

		// Generic Event Device: an interrupt that means a notification.
		Device (GED0)
		{
			Name (_HID, "ACPI0013")
			Name (_UID, Zero)
			Name (VGSI, 0xA5A5A5A5)
			Name (_CRS, ResourceTemplate ()
			{
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, , , INTR) { 0x5A5A5A5A }
			})

			Method (_EVT, 1, Serialized)
			{
				If ((Arg0 == VGSI))
				{
					Notify (VGEN, 0x80)
				}
			}
		}
	}
}
