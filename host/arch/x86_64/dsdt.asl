// SPDX-License-Identifier: Apache-2.0
/*
 * The part of the platform that every machine has: serial port and keyboard
 * controller.
 */
DefinitionBlock ("", "DSDT", 2, "SNPSAF", "PLATFORM", 1)
{
	Scope (\_SB)
	{
		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, Zero)
			Name (_DDN, "COM1")
			Name (_CRS, ResourceTemplate ()
			{
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 4 }
				IO (Decode16, 0x03F8, 0x03F8, 0x01, 0x08)
			})
		}

		Device (KBD0)
		{
			Name (_HID, EisaId ("PNP0303"))
			Name (_CRS, ResourceTemplate ()
			{
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 1 }
				IO (Decode16, 0x0060, 0x0060, 0x01, 0x01)
				IO (Decode16, 0x0064, 0x0064, 0x01, 0x01)
			})
		}
	}
}
