/* SPDX-License-Identifier: Apache-2.0 */
/* A machine of memory, bus, KVM and the devices that the payload guests talk to: nothing else of the monitor. */
#ifndef PAYLOAD_RIG_H
#define PAYLOAD_RIG_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bus/bus.h"
#include "kvm/vm.h"
#include "mem/mem.h"

/* One of the two register blocks of ports.h. Guarded by its device's lock. */
struct counters {
	struct device dev; /* first */
	uint32_t next_write;
	uint32_t next_read;
	uint32_t modified;
	uint64_t next_write64;
	uint8_t next_string_in;
	uint8_t next_string_out;
	uint32_t errors;
	uint32_t verdict; /* last check that failed in the guest */
};

struct rig {
	struct bus bus;
	struct guest_mem mem;
	struct vm *vm; /* owned */
	struct device console;
	struct device reset;
	struct counters ports;
	struct counters mmio;
	char text[4096]; /* what the guest has printed; NUL-terminated */
	size_t text_len;
	bool has_reset;	     /* by the reset port */
	sem_t *_Atomic hold; /* not NULL: a write to the console waits for it, as for a disk that does not answer */
	sem_t event;	     /* posted at each line, reset and exit */
	_Atomic int exits;
	enum vm_exit exit_why;
};

/* Builds the machine and boots a guest by its file name (beside this program). Fails the test that calls it. */
struct rig *rig_boot(const char *guest, unsigned int num_vcpus, const char *cmdline, const char *initrd);
/* A new machine with other's memory, devices and KVM state; other is paused and may be freed. */
struct rig *rig_clone(struct rig *other);
/* The vCPUs have ten seconds to stop. */
void rig_pause(struct rig *rig);
void rig_free(struct rig *rig);

/* Wait at most 30 s. */
void rig_wait_text(struct rig *rig, const char *text);
void rig_wait_exit(struct rig *rig);

/* Path of a file beside this program, in a static buffer. */
const char *rig_path(const char *name);

#endif
