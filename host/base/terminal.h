/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal that the process has put into raw mode. There is one at most, standard input, and whoever ends the
 * process has to put it right: the serial console at a normal end, the handler of a fatal signal otherwise.
 */
#ifndef BASE_TERMINAL_H
#define BASE_TERMINAL_H

/*
 * Puts the terminal behind fd, if it is one, into raw mode: the guest gets each key, Ctrl-C too. fd is borrowed until
 * terminal_restore(). Does nothing while a terminal is raw already.
 */
void terminal_make_raw(int fd);

/* Puts back the settings that terminal_make_raw() found, once. Any thread; async-signal-safe. */
void terminal_restore(void);

#endif
