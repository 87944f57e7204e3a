/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of a restore, for memory of a file (load.c) and of a page-fault handler (load_served.c). */
#ifndef MACHINE_LOAD_H
#define MACHINE_LOAD_H

#include <stdbool.h>

#include "machine/internal.h"
#include "snapshot/statefile.h"

#define LOAD_STATE_FILE "snapshot_path \"%s\"" /* what is wrong with it follows */

/* Zeroed, but for how and target: machine_load_fini() accepts it. */
struct machine_load {
	const struct snapshot_load_config *how; /* borrowed */
	struct vm_config *target;		/* borrowed: what becomes the machine's configuration */
	struct statefile file;
	struct vm_config config; /* owned while has_config; the machine borrows it */
	struct snapshot_chain chain;
	bool is_read, has_config, has_own;
	struct machine *m; /* the caller's to free */
};

/* Reads the state file; then there is a machine without memory. It may be there after an error, too. */
int machine_load_begin(struct machine_load *l, const struct mmds_store *metadata, struct vm_shell **shell,
		       struct loop *loop, struct err *e) must_check;
/* Opens and maps the memory's files; what is to be recorded of it or read ahead is known from then on. */
int machine_load_map(struct machine_load *l, const struct mem_layout *layout, struct err *e) must_check;
/* The memory is there and what it was: makes the rest, and *target the machine's. */
int machine_load_end(struct machine_load *l, struct err *e) must_check;
/* When the machine is loaded, or after it was freed. Then *target is as it was before. */
void machine_load_fini(struct machine_load *l);

#endif
