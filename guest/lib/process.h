/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_PROCESS_H
#define LIB_PROCESS_H

#include <stdint.h>

/*
 * A number that no ancestor of this process has had since the library was
 * loaded: changes with fork(), and with nothing else. Signal-safe.
 */
uint64_t sns_process_number(void);

#endif /* LIB_PROCESS_H */
