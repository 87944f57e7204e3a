// SPDX-License-Identifier: Apache-2.0
/* A console on a Unix socket: clients that come, go, never read, type too much, and one too many. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "devices/devices.h"
#include "devices/serial_socket.h"
#include "fake_platform.h"
#include "tmpdir.h"

#define PORT 0x3F8

static struct fake_platform fp;
static struct tmpdir dir;
static struct device *dev;
static struct err e;
static char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
static uint8_t buffer[1 << 20];

static struct serial_config config(void)
{
	return (struct serial_config){ .serial_socket_path = path };
}

static int setup(void **state)
{
	struct serial_config c = config();

	(void)state;
	if (tmpdir_make(&dir))
		return -1;
	if (strlen(tmpdir_file(&dir, "console")) >= sizeof(path))
		return -1;
	strcpy(path, dir.file);
	fake_platform_init(&fp);
	if (serial_new(&c, PORT, 0, &fp.p, &dev, &e))
		return -1;
	device_resume(dev);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	dev->ops->free(dev);
	fake_platform_fini(&fp);
	assert_int_equal(access(path, F_OK), -1);
	tmpdir_remove(&dir);
	return 0;
}

static int client(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(addr.sun_path, path, strlen(path) + 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	fake_run(&fp);
	return fd;
}

static void guest_prints(const char *text, size_t len)
{
	while (len-- > 0)
		assert_true(bus_write(&fp.bus, BUS_PIO, PORT, text++, 1));
}

static void guest_says(const char *text)
{
	guest_prints(text, strlen(text));
	fake_run(&fp);
}

static uint8_t in8(unsigned int reg)
{
	uint8_t value = 0;

	assert_true(bus_read(&fp.bus, BUS_PIO, PORT + reg, &value, 1));
	return value;
}

/* What the guest finds in its receiver until there is nothing more. */
static const char *guest_reads(void)
{
	size_t len = 0;

	for (fake_run(&fp); in8(5) & 1; fake_run(&fp)) /* the loop fills the FIFO again */
		buffer[len++] = in8(0);
	buffer[len] = '\0';
	return (const char *)buffer;
}

/* Everything that can be read from fd, running the loop meanwhile. */
static size_t client_reads(int fd)
{
	size_t len = 0;
	ssize_t n;

	do {
		fake_run(&fp);
		n = recv(fd, buffer + len, sizeof(buffer) - 1 - len, 0);
		len += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	buffer[len] = '\0';
	return len;
}

static void assert_client_reads(int fd, const char *text)
{
	(void)client_reads(fd);
	assert_string_equal((char *)buffer, text);
}

static void a_client_gets_what_the_guest_prints_and_types_what_it_reads(void **state)
{
	int fd = client();

	(void)state;
	guest_says("login: ");
	assert_client_reads(fd, "login: ");
	assert_int_equal(send(fd, "root\n", 5, 0), 5);
	assert_string_equal(guest_reads(), "root\n");
	guest_says("# ");
	assert_client_reads(fd, "# ");
	close(fd);
}

static void a_late_client_gets_what_was_printed_before(void **state)
{
	int fd;

	(void)state;
	guest_says("Linux version 6.1\n");
	fd = client();
	assert_client_reads(fd, "Linux version 6.1\n");
	close(fd);
	fake_run(&fp);
	guest_says("more");
	fd = client();
	assert_client_reads(fd, "more");
	close(fd);
}

static void nobody_who_listens_means_the_last_64_kib_are_kept(void **state)
{
	uint64_t lost = uart_metrics.missed_write_count;
	size_t len;
	int fd;

	(void)state;
	for (unsigned int i = 0; i < 20000; i++) {
		char line[16];

		snprintf(line, sizeof(line), "line %05u\n", i);
		guest_says(line);
	}
	assert_int_equal(uart_metrics.missed_write_count - lost, 20000 * 11 - SERIAL_SOCKET_KEPT);
	fd = client();
	len = client_reads(fd);
	assert_int_equal(len, SERIAL_SOCKET_KEPT);
	assert_string_equal((char *)buffer + len - 11, "line 19999\n");
	close(fd);
}

/* The guest prints far more than socket and ring hold; each byte is taken at once, and the loop has time for others. */
static void a_client_that_never_reads_stops_nobody(void **state)
{
	int fd = client();
	size_t len;

	(void)state;
	memset(buffer, 'x', sizeof(buffer));
	for (unsigned int i = 0; i < 4; i++) {
		guest_prints((char *)buffer, 256 * 1024);
		fake_run(&fp);
	}
	guest_says("end");
	len = client_reads(fd);
	assert_true(len >= SERIAL_SOCKET_KEPT && len < 4 * 256 * 1024);
	assert_string_equal((char *)buffer + len - 3, "end");
	guest_says("again");
	assert_client_reads(fd, "again");
	close(fd);
}

static void a_second_client_is_turned_away_until_the_first_has_gone(void **state)
{
	int first = client(), second = client();
	uint8_t byte;

	(void)state;
	assert_int_equal(recv(second, &byte, 1, 0), 0);
	close(second);
	guest_says("one");
	assert_client_reads(first, "one");
	close(first); /* and at the same moment: */
	second = client();
	guest_says("two");
	assert_client_reads(second, "two");
	close(second);
}

static void what_was_typed_before_the_client_went_is_not_lost(void **state)
{
	char text[1001];
	int fd = client();

	(void)state;
	for (unsigned int i = 0; i < 1000; i++)
		text[i] = (char)('a' + i % 26);
	text[1000] = '\0';
	assert_int_equal(send(fd, text, 1000, 0), 1000);
	close(fd);
	assert_string_equal(guest_reads(), text);
	fd = client();
	assert_int_equal(send(fd, "next", 4, 0), 4);
	assert_string_equal(guest_reads(), "next");
	close(fd);
}

/* Typed by the next client while the guest has not read what the one before has left: that is gone. */
static void a_client_that_is_there_comes_before_one_that_has_gone(void **state)
{
	char text[1000];
	int fd = client();

	(void)state;
	memset(text, 'o', sizeof(text));
	assert_int_equal(send(fd, text, sizeof(text), 0), sizeof(text));
	close(fd);
	fake_run(&fp);
	fd = client();
	assert_int_equal(send(fd, "new", 3, 0), 3);
	assert_int_equal(strspn(guest_reads(), "o"), 64); /* what the FIFO had */
	assert_string_equal((char *)buffer + 64, "new");
	close(fd);
}

static void a_client_that_types_no_more_still_gets_the_output(void **state)
{
	int fd = client();

	(void)state;
	assert_int_equal(send(fd, "date\n", 5, 0), 5);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_string_equal(guest_reads(), "date\n");
	guest_says("Thursday\n");
	assert_client_reads(fd, "Thursday\n");
	close(fd);
	fake_run(&fp);
	fd = client();
	guest_says("hello");
	assert_client_reads(fd, "hello");
	close(fd);
}

static void a_paused_machine_takes_no_input(void **state)
{
	int fd = client();

	(void)state;
	device_pause(dev);
	assert_int_equal(device_drain(dev, 0, &e), 0);
	assert_int_equal(send(fd, "x", 1, 0), 1);
	assert_string_equal(guest_reads(), "");
	device_resume(dev);
	assert_string_equal(guest_reads(), "x");
	close(fd);
}

static void a_path_in_use_is_refused_and_nothing_is_left_of_it(void **state)
{
	struct serial_config c = config();
	struct device *other = NULL;
	char nowhere[] = "/nonexistent/console";

	(void)state;
	assert_int_equal(serial_new(&c, 0x2F8, 0, &fp.p, &other, &e), -EADDRINUSE);
	assert_non_null(strstr(e.text, "serial_socket_path"));
	assert_int_equal(access(path, F_OK), 0);
	c.serial_socket_path = nowhere;
	assert_true(serial_new(&c, 0x2F8, 0, &fp.p, &other, &e) < 0);
	assert_null(other);
	(void)tmpdir_file(&dir, "other");
	c.serial_socket_path = dir.file;
	assert_true(serial_new(&c, PORT, 0, &fp.p, &other, &e) < 0); /* the port is taken */
	assert_int_equal(access(tmpdir_file(&dir, "other"), F_OK), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_client_gets_what_the_guest_prints_and_types_what_it_reads),
		TEST(a_late_client_gets_what_was_printed_before),
		TEST(nobody_who_listens_means_the_last_64_kib_are_kept),
		TEST(a_client_that_never_reads_stops_nobody),
		TEST(a_second_client_is_turned_away_until_the_first_has_gone),
		TEST(what_was_typed_before_the_client_went_is_not_lost),
		TEST(a_client_that_is_there_comes_before_one_that_has_gone),
		TEST(a_client_that_types_no_more_still_gets_the_output),
		TEST(a_paused_machine_takes_no_input),
		TEST(a_path_in_use_is_refused_and_nothing_is_left_of_it),
	};

	return cmocka_run_group_tests_name("serial_socket", tests, NULL, NULL);
}
