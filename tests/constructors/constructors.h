/* SPDX-License-Identifier: Apache-2.0 */
/* The table of test_constructors.c: what host/ makes, how it is unmade. */
#ifndef TESTS_CONSTRUCTORS_H
#define TESTS_CONSTRUCTORS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct constructor {
	const char *name; /* of the function in host/, or of a request of the API */
	/* What has to be there, and goes away again. Nothing fails in them. Optional. */
	void (*before)(const struct constructor *c);
	void (*after)(const struct constructor *c);
	/* Sets *out on success only. A reason is a sentence in e. */
	int (*make)(const struct constructor *c, void **out, struct err *e);
	void (*unmake)(void *out); /* optional */
	const void *arg;
	const char *optional; /* calls that it does without, with a blank behind each; NULL: none */
	bool lasts;	      /* what it makes stays for the life of the process: there is no second attempt */
};

extern const struct constructor constructors_of_parts[];
extern const size_t num_constructors_of_parts;
extern const struct constructor constructors_of_machines[];
extern const size_t num_constructors_of_machines;

/* The current directory is a scratch directory with these files. */
#define KERNEL_FILE	"kernel"
#define DISK_FILE	"disk"
#define STATE_FILE	"state"
#define MEM_FILE	"mem"
#define DIFF_STATE_FILE "diff.state"
#define DIFF_MEM_FILE	"diff.mem"
#define TEXT_FILE	"text"

/* A memory file may have been renamed meanwhile: memfile_open() looks again before it gives up. */
#define MEMFILE_IS_TRIED_AGAIN "open fstat64 fcntl pread64 "

/* An out-parameter that is no pointer keeps this after a failure. */
#define UNTOUCHED (-77)

#endif
