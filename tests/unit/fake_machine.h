/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for machine/ under the controller and the API: no guest, only a
 * record of what was asked, and failures on demand.
 */
#ifndef TESTS_FAKE_MACHINE_H
#define TESTS_FAKE_MACHINE_H

#include "bus/device.h"
#include "machine/machine.h"

struct fake_machine {
	char calls[1024]; /* names of the functions called, in order: "boot pause save " */
	const char *fail; /* NULL, or the name of the function that fails, with -EIO and "the fake fails" */
	unsigned int alive;
	char path[256];	  /* the last save's or load's snapshot_path, or the last update's path_on_host */
	char serial[256]; /* serial_out_path in the configuration that a load was given */
	bool is_served;	  /* a page-fault handler has the memory */
	bool is_slow;	  /* what is beside the loop is done when fake_machine_finish() is called */
	machine_done_fn *done;
	void *done_arg;
	int done_r;
	struct err done_error;
	struct leak_progress progress; /* what the guest says; driver SILENT: it never will */
	uint32_t reseed_timeout_ms;    /* of the last wait; "reseed" fails it, and then the machine is paused */
	const char *on_load;	       /* the configuration in the "snapshot": text for vm_config_from_text() */
};

extern struct fake_machine fake;

void fake_machine_finish(void);

/* Forgets everything. A machine must not be alive. */
void fake_machine_reset(void);

#endif
