/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal that the process has put into raw mode. There is one at most, standard input, and whoever ends the
 * process has to put it right: the serial console at a normal end, the handler of a fatal signal otherwise.
 */
#ifndef BASE_TERMINAL_H
#define BASE_TERMINAL_H

#include <stdbool.h>

/*
 * Whether fd is our controlling terminal and belongs to others for now. Who touches it then is stopped by the kernel, or, as
 * SIGTTIN and SIGTTOU are blocked, gets an error. false for what is no terminal. Async-signal-safe.
 */
bool terminal_in_background(int fd);

/*
 * Puts the terminal behind fd, if it is one, into raw mode: the guest gets each key, Ctrl-C too. fd is borrowed until
 * terminal_restore(). Again, it does so again: a shell sets its own modes while a job is stopped. Any thread.
 */
void terminal_make_raw(int fd);

/*
 * Puts back the settings that terminal_make_raw() found first, once; but not under the eyes of a shell that has the terminal
 * and its own settings in it. Any thread; async-signal-safe.
 */
void terminal_restore(void);

/*
 * The same where the process ends while threads that read the terminal still run: what they make raw from now on they put back
 * at once. May be called again. Any thread; async-signal-safe.
 */
void terminal_end(void);

#endif
