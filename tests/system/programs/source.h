/* SPDX-License-Identifier: Apache-2.0 */
/* Where the bytes of a draw-* program come from; one of source_*.c is linked to draw.c. */
#ifndef SOURCE_H
#define SOURCE_H

#include <stddef.h>

/* Called once, before the first fork or thread. Both: 0, or -1 if there are no bytes. */
int source_init(void);
int source_draw(void *buf, size_t len);

#endif /* SOURCE_H */
