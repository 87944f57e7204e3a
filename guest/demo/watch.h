/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What test_mmap, test_poll and test_read share: command line, the counter
 * file, the line that they print, and a clean end on SIGINT and SIGTERM.
 */
#ifndef GUEST_TOOLS_WATCH_H
#define GUEST_TOOLS_WATCH_H

#include <stdbool.h>

/* The counter file's word: the guest kernel's unsigned long. */
typedef unsigned long watch_word;

/*
 * Checks argv, opens the counter file and arranges for signals. Prints one
 * line and exits with status 1 if that cannot be done.
 */
int watch_open(int argc, char **argv, const char *how);

/* One line on stderr, with errno's text if err is not 0; exit status 1. */
_Noreturn void watch_fail(int err, const char *what);

/* True once SIGINT or SIGTERM has come. */
bool watch_is_over(void);

/*
 * The counter, read at the current offset. False if the file has nothing new
 * there. Ends the program on an error or a file that is too short.
 */
bool watch_read(int fd, watch_word *value);

/*
 * Waits until the file announces a change (fd >= 0) or the time is over
 * (ms >= 0). A signal that ends the program ends the wait, and is not held
 * back by anything else.
 */
void watch_wait(int fd, long ms);

/* Prints the line if the value has changed, and remembers it. */
void watch_report(watch_word *known, watch_word now);

#endif /* GUEST_TOOLS_WATCH_H */
