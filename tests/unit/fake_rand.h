/* SPDX-License-Identifier: Apache-2.0 */
/* Takes the place of base/rand.c in a test program: real random bytes, until they are told to run out. */
#ifndef FAKE_RAND_H
#define FAKE_RAND_H

/* So many more calls succeed; -1: all. */
void fake_rand_set_calls_left(int calls);
/* Calls since the last time this was asked. */
unsigned int fake_rand_calls(void);

#endif
