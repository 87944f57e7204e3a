// SPDX-License-Identifier: Apache-2.0
/* The terminal that is put into raw mode and back: base/terminal.c, on a pseudo-terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "base/terminal.h"

struct pty {
	int controller;
	int terminal;
};

static void pty_open(struct pty *p)
{
	p->controller = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(p->controller >= 0);
	assert_int_equal(grantpt(p->controller), 0);
	assert_int_equal(unlockpt(p->controller), 0);
	p->terminal = open(ptsname(p->controller), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(p->terminal >= 0);
}

static void pty_close(struct pty *p)
{
	close(p->terminal);
	close(p->controller);
}

static bool is_raw(const struct pty *p)
{
	struct termios now;

	assert_int_equal(tcgetattr(p->terminal, &now), 0);
	return !(now.c_lflag & ICANON);
}

static void the_settings_come_back_and_may_be_raw_again(void **state)
{
	struct pty p;

	(void)state;
	pty_open(&p);
	for (int i = 0; i < 2; i++) {
		terminal_make_raw(p.terminal);
		terminal_make_raw(p.terminal);
		assert_true(is_raw(&p));
		terminal_restore();
		assert_false(is_raw(&p));
	}
	pty_close(&p);
}

/* The thread that reads standard input makes the terminal raw whenever it waits: also after a fatal signal's handler. */
static void nobody_makes_it_raw_once_the_process_ends(void **state)
{
	struct pty p;

	(void)state;
	pty_open(&p);
	terminal_make_raw(p.terminal);
	terminal_end();
	assert_false(is_raw(&p));
	terminal_make_raw(p.terminal);
	assert_false(is_raw(&p));
	terminal_end();
	assert_false(is_raw(&p));
	pty_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_settings_come_back_and_may_be_raw_again),
		cmocka_unit_test(nobody_makes_it_raw_once_the_process_ends), /* for good: the last one */
	};

	return cmocka_run_group_tests_name("terminal", tests, NULL, NULL);
}
