/* SPDX-License-Identifier: Apache-2.0 */
/* The C library uses this one too: only kshim.h adds to it. */
#include_next <linux/errno.h>
