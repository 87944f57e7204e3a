/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_PROCESS_H
#define LIB_PROCESS_H

#include <stdint.h>

/*
 * A number that no ancestor of this process has had since the library was
 * loaded: changes with fork(), and with nothing else. Never 0. Signal-safe.
 */
uint64_t sns_process_number(void);

/*
 * Where the number stands: 0 in a forked child that has not asked yet. NULL if
 * the kernel cannot wipe memory in a child. Good for as long as the process lives.
 */
const uint64_t *sns_process_word(void);

/* Makes the memory for it; the first call of sns_process_number() does otherwise. */
void sns_process_init(void);

#endif /* LIB_PROCESS_H */
