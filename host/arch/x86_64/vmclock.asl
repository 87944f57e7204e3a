// SPDX-License-Identifier: Apache-2.0
/*
 * VMClock and the event device that announces its changes. Numbers that begin with 0xA5, 0x5A or 0xC3 are replaced when a
 * machine is built (acpi_aml.c).
 */
DefinitionBlock ("", "SSDT", 2, "SNPSAF", "VMCLOCK", 1)
{
	Scope (\_SB)
	{
		// Linux looks for either id, and for one memory resource: the page.
		Device (VCLK)
		{
			Name (_HID, "AMZNC10C")
			Name (_CID, "VMCLOCK")
			Name (_DDN, "VMCLOCK")
			Name (_STA, 0x0F)
			Name (_CRS, ResourceTemplate ()
			{
				DWordMemory (ResourceConsumer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadOnly,
					0, 0xA5A5A000, 0xA5A5AFFF, 0, 0x1000, , , PAGE)
			})
		}

		Device (GED1)
		{
			Name (_HID, "ACPI0013")
			Name (_UID, One)
			Name (CGSI, 0xC3C3C3C3)
			Name (_CRS, ResourceTemplate ()
			{
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, , , INTR) { 0x5A5A5A5A }
			})

			Method (_EVT, 1, Serialized)
			{
				If ((Arg0 == CGSI))
				{
					Notify (VCLK, 0x80)
				}
			}
		}
	}
}
