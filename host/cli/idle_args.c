// SPDX-License-Identifier: Apache-2.0
/* Options that clients give and that have no effect here: each is said once, in the log. */
#include "base/log.h"
#include "cli/args.h"

void args_note_idle(const struct args *args)
{
	if (args->enable_pci)
		log_warn("--enable-pci has no effect: all virtio devices are on MMIO, and none can be plugged.");
}
