// SPDX-License-Identifier: Apache-2.0
/* The board's devices: serial console, keyboard controller, VM Generation ID. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/codec.h"
#include "devices/devices.h"
#include "fake_platform.h"

#define PORT 0x3F8
#define GSI  5 /* the first that the fake platform gives */

struct rig {
	struct fake_platform fp;
	struct device *dev;
	int host_in; /* what the person types into */
	int saved_stdin;
	char out_path[64];
};

static uint8_t in8(struct rig *rig, uint64_t port)
{
	uint8_t value = 0xAA;

	bus_read(&rig->fp.bus, BUS_PIO, port, &value, 1);
	return value;
}

static void out8(struct rig *rig, uint64_t port, uint8_t value)
{
	assert_true(bus_write(&rig->fp.bus, BUS_PIO, port, &value, 1));
}

static void resume(struct rig *rig, bool on)
{
	struct err e;

	if (on) {
		device_resume(rig->dev);
		return;
	}
	device_pause(rig->dev);
	assert_int_equal(device_drain(rig->dev, 0, &e), 0);
}

/* A console on pipes: standard input is a pipe, output goes to a file. */
static struct rig *serial_rig(const struct token_bucket_config *limit, bool to_path)
{
	static struct rig rig;
	struct serial_config config = { 0 };
	struct err e = { "" };
	int fds[2];

	memset(&rig, 0, sizeof(rig));
	fake_platform_init(&rig.fp);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	rig.saved_stdin = dup(0);
	dup2(fds[0], 0);
	close(fds[0]);
	rig.host_in = fds[1];
	strcpy(rig.out_path, "/tmp/snapsafe-serial-XXXXXX");
	close(mkstemp(rig.out_path));
	if (to_path)
		config.serial_out_path = rig.out_path;
	if (limit)
		config.rate_limiter = *limit;
	assert_int_equal(serial_new(&config, PORT, 0, &rig.fp.p, &rig.dev, &e), 0);
	resume(&rig, true);
	return &rig;
}

static void rig_free(struct rig *rig)
{
	rig->dev->ops->free(rig->dev);
	fake_platform_fini(&rig->fp);
	dup2(rig->saved_stdin, 0);
	close(rig->saved_stdin);
	close(rig->host_in);
	unlink(rig->out_path);
}

/* Frees the rig. Another thread writes the output: it gets its time, however busy the host is. */
static void assert_output_is(struct rig *rig, const char *wanted)
{
	char text[64];
	int fd = open(rig->out_path, O_RDONLY);
	struct stat st = { 0 };
	ssize_t n;

	for (int i = 0; i < 5000 && st.st_size < (off_t)strlen(wanted); i++) {
		fake_run_ms(&rig->fp, 1);
		assert_int_equal(fstat(fd, &st), 0);
	}
	rig_free(rig);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n < 0 ? 0 : n] = 0;
	assert_string_equal(text, wanted);
}

/* Runs the loop until the guest sees a byte: another thread reads it from the host. */
static void wait_for_input(struct rig *rig)
{
	for (int i = 0; i < 5000 && !(in8(rig, PORT + 5) & 1); i++)
		fake_run_ms(&rig->fp, 1);
	assert_int_equal(in8(rig, PORT + 5) & 1, 1);
}

static void what_the_guest_transmits_reaches_the_file_and_raises_tx_empty(void **state)
{
	struct rig *rig = serial_rig(NULL, true);

	(void)state;
	out8(rig, PORT + 1, 0x02);
	assert_int_equal(fake_irqs(&rig->fp, GSI), 1);
	assert_int_equal(in8(rig, PORT + 2) & 0x0F, 0x02);
	assert_int_equal(in8(rig, PORT + 2) & 0x0F, 0x01); /* reading IIR takes the reason away */
	out8(rig, PORT, 'h');
	out8(rig, PORT, 'i');
	assert_true(fake_irqs(&rig->fp, GSI) > 0);
	assert_int_equal(in8(rig, PORT + 5), 0x60);
	assert_output_is(rig, "hi");
}

static void a_path_means_no_input(void **state)
{
	struct rig *rig = serial_rig(NULL, true);

	(void)state;
	assert_int_equal(write(rig->host_in, "x", 1), 1);
	fake_run_ms(&rig->fp, 50);
	assert_int_equal(in8(rig, PORT + 5) & 1, 0);
	rig_free(rig);
}

static void input_arrives_in_order_and_none_is_lost_when_the_fifo_is_full(void **state)
{
	struct rig *rig = serial_rig(NULL, false);
	char typed[200];

	(void)state;
	for (size_t i = 0; i < sizeof(typed); i++)
		typed[i] = (char)('0' + i % 64);
	out8(rig, PORT + 1, 0x01);
	assert_int_equal(write(rig->host_in, typed, sizeof(typed)), sizeof(typed));
	close(rig->host_in); /* a hang-up with bytes still to be read */
	rig->host_in = -1;
	for (size_t i = 0; i < sizeof(typed); i++) {
		wait_for_input(rig);
		assert_int_equal(in8(rig, PORT), typed[i]);
	}
	fake_run(&rig->fp);
	assert_int_equal(in8(rig, PORT + 5) & 1, 0);
	assert_true(fake_irqs(&rig->fp, GSI) > 0);
	rig_free(rig);
}

static void a_paused_machine_takes_no_input(void **state)
{
	struct rig *rig = serial_rig(NULL, false);

	(void)state;
	resume(rig, false);
	assert_int_equal(write(rig->host_in, "x", 1), 1);
	fake_run_ms(&rig->fp, 50);
	assert_int_equal(in8(rig, PORT + 5) & 1, 0);
	resume(rig, true);
	wait_for_input(rig);
	assert_int_equal(in8(rig, PORT), 'x');
	rig_free(rig);
}

static void loopback_shows_that_a_uart_is_there(void **state)
{
	struct rig *rig = serial_rig(NULL, true);

	(void)state;
	out8(rig, PORT + 4, 0x10 | 0x0A); /* OUT2 and RTS come back as DCD and CTS */
	assert_int_equal(in8(rig, PORT + 6) & 0xF0, 0x90);
	out8(rig, PORT, 'z');
	assert_int_equal(in8(rig, PORT), 'z');
	out8(rig, PORT + 4, 0);
	assert_output_is(rig, "");
}

static void output_beyond_the_limit_is_dropped(void **state)
{
	struct token_bucket_config limit = { .size = 3, .refill_time_ms = 3600 * 1000 };
	struct rig *rig = serial_rig(&limit, true);

	(void)state;
	for (int i = 0; i < 10; i++)
		out8(rig, PORT, (uint8_t)('0' + i));
	assert_output_is(rig, "012");
}

static void copy_state(struct device *from, struct device *to)
{
	struct enc *enc = enc_new();
	struct err e = { "" };
	struct dec *dec;
	uint8_t *data;
	size_t len;

	from->ops->save(from, enc);
	assert_int_equal(enc_finish(enc, &data, &len), 0);
	enc_free(enc);
	assert_int_equal(dec_new(data, len, &dec, &e), 0);
	to->ops->load(to, dec);
	dec_end(dec);
	assert_int_equal(dec_error(dec, &e), 0);
	dec_free(dec);
	free(data);
}

static void registers_and_received_bytes_survive_a_snapshot(void **state)
{
	struct rig *rig = serial_rig(NULL, false);
	struct serial_config config = { .serial_out_path = rig->out_path };
	struct device *copy;
	struct err e;
	uint8_t byte;

	(void)state;
	out8(rig, PORT + 1, 0x01);
	out8(rig, PORT + 7, 0x5A);
	assert_int_equal(write(rig->host_in, "ab", 2), 2);
	wait_for_input(rig);
	assert_int_equal(serial_new(&config, 0x2F8, 0, &rig->fp.p, &copy, &e), 0);
	copy_state(rig->dev, copy);
	assert_int_equal(in8(rig, 0x2F8 + 7), 0x5A);
	assert_int_equal(in8(rig, 0x2F8 + 1), 0x01);
	byte = in8(rig, 0x2F8);
	assert_int_equal(byte, 'a');
	assert_int_equal(in8(rig, 0x2F8), 'b');
	copy->ops->free(copy);
	rig_free(rig);
}

static int resets;

static void count_reset(void *ctx)
{
	(void)ctx;
	resets++;
}

static struct rig *i8042_rig(void)
{
	static struct rig rig;
	struct err e = { "" };

	memset(&rig, 0, sizeof(rig));
	fake_platform_init(&rig.fp);
	assert_int_equal(i8042_new(0x60, 0, &rig.fp.p, count_reset, NULL, &rig.dev, &e), 0);
	return &rig;
}

static void i8042_rig_free(struct rig *rig)
{
	rig->dev->ops->free(rig->dev);
	fake_platform_fini(&rig->fp);
}

static void the_reset_command_ends_the_machine(void **state)
{
	struct rig *rig = i8042_rig();

	(void)state;
	resets = 0;
	out8(rig, 0x64, 0xFE);
	assert_int_equal(resets, 1);
	i8042_rig_free(rig);
}

static void ctrl_alt_del_is_typed_once_the_keyboard_interrupt_is_on(void **state)
{
	static const uint8_t keys[] = { 0x14, 0x11, 0xE0, 0x71 };
	struct rig *rig = i8042_rig();
	struct err e = { "" };

	(void)state;
	out8(rig, 0x64, 0x60); /* write the command byte */
	out8(rig, 0x60, 0x01);
	assert_int_equal(i8042_ctrl_alt_del(rig->dev, &e), 0);
	assert_true(fake_irqs(&rig->fp, GSI) > 0);
	for (size_t i = 0; i < sizeof(keys); i++) {
		assert_int_equal(in8(rig, 0x64) & 1, 1);
		assert_int_equal(in8(rig, 0x60), keys[i]);
	}
	assert_int_equal(in8(rig, 0x64) & 1, 0);
	i8042_rig_free(rig);
}

static void keys_that_nobody_reads_are_refused_in_the_end(void **state)
{
	struct rig *rig = i8042_rig();
	struct err e = { "" };
	int r = 0;

	(void)state;
	for (int i = 0; i < 5 && !r; i++)
		r = i8042_ctrl_alt_del(rig->dev, &e);
	assert_int_equal(r, -EBUSY);
	assert_string_equal(e.text, "the guest has not read the keys that were sent before");
	i8042_rig_free(rig);
}

static void keyboard_state_survives_a_snapshot(void **state)
{
	struct rig *rig = i8042_rig();
	struct device *copy;
	struct err e = { "" };
	uint8_t byte = 0;

	(void)state;
	assert_int_equal(i8042_ctrl_alt_del(rig->dev, &e), 0);
	assert_int_equal(i8042_new(0x160, 0, &rig->fp.p, count_reset, NULL, &copy, &e), 0);
	copy_state(rig->dev, copy);
	bus_read(&rig->fp.bus, BUS_PIO, 0x160, &byte, 1);
	assert_int_equal(byte, 0x14);
	copy->ops->free(copy);
	i8042_rig_free(rig);
}

/* KVM may not have delivered it when the interrupt controllers were saved. */
static void keys_typed_just_before_a_snapshot_interrupt_the_clone(void **state)
{
	struct rig *rig = i8042_rig();
	struct device *copy;
	struct err e = { "" };

	(void)state;
	assert_int_equal(i8042_new(0x160, 0, &rig->fp.p, count_reset, NULL, &copy, &e), 0);
	out8(rig, 0x64, 0x60);
	out8(rig, 0x60, 0x01);
	copy_state(rig->dev, copy);
	copy->ops->resume(copy);
	assert_int_equal(fake_irqs(&rig->fp, GSI + 1), 0); /* nothing was typed */

	assert_int_equal(i8042_ctrl_alt_del(rig->dev, &e), 0);
	copy_state(rig->dev, copy);
	copy->ops->resume(copy);
	assert_int_equal(fake_irqs(&rig->fp, GSI + 1), 1);

	out8(rig, 0x64, 0x60); /* off again: the guest polls */
	out8(rig, 0x60, 0x00);
	copy_state(rig->dev, copy);
	copy->ops->resume(copy);
	assert_int_equal(fake_irqs(&rig->fp, GSI + 1), 0);
	copy->ops->free(copy);
	i8042_rig_free(rig);
}

static void a_leak_gives_a_new_identifier_and_an_interrupt(void **state)
{
	static struct fake_platform fp;
	uint8_t ids[3][16];
	struct device *dev;
	struct err e = { "" };

	(void)state;
	fake_platform_init(&fp);
	assert_int_equal(vmgenid_new(0x8000, GSI, &fp.p, &dev, &e), 0);
	assert_true(mem_read(&fp.mem, 0x8000, ids[0], 16));
	assert_int_equal(fake_irqs(&fp, GSI), 0);
	for (int i = 1; i < 3; i++) {
		assert_int_equal(dev->ops->leak(dev, &e), 0);
		assert_int_equal(fake_irqs(&fp, GSI), 1);
		assert_true(mem_read(&fp.mem, 0x8000, ids[i], 16));
		assert_memory_not_equal(ids[i], ids[i - 1], 16);
	}
	dev->ops->free(dev);
	fake_platform_fini(&fp);
}

/* It has nothing to load, and is in a snapshot of a machine that was loaded and has not run. */
static void a_device_without_state_can_be_loaded_and_saved(void **state)
{
	struct fake_platform fp;
	struct device *dev;
	struct err e = { "" };

	(void)state;
	fake_platform_init(&fp);
	assert_int_equal(vmgenid_new(0x8000, GSI, &fp.p, &dev, &e), 0);
	device_load(dev, NULL);
	assert_int_equal(device_flush(dev, &e), 0);
	assert_int_equal(device_leak(dev, &e), 0);
	device_resume(dev);
	dev->ops->free(dev);
	fake_platform_fini(&fp);
}

static void an_event_without_a_handler_waits_for_one(void **state)
{
	struct fake_platform fp;
	struct device *dev;
	uint8_t ids[2][16];
	struct err e = { "" };

	(void)state;
	fake_platform_init(&fp);
	assert_int_equal(vmgenid_new(0x8000, GSI, &fp.p, &dev, &e), 0);
	assert_true(mem_read(&fp.mem, 0x8000, ids[0], 16));
	fp.pins_masked = true;
	assert_int_equal(dev->ops->leak(dev, &e), 0);
	assert_int_equal(fake_irqs(&fp, GSI), 0);
	assert_int_equal(fp.num_waiting, 1);
	assert_true(mem_read(&fp.mem, 0x8000, ids[1], 16)); /* the identifier itself does not wait */
	assert_memory_not_equal(ids[1], ids[0], 16);
	dev->ops->free(dev);
	fake_platform_fini(&fp);
}

static void what_the_console_has_to_say_at_a_resume_waits_for_a_handler(void **state)
{
	struct rig *rig = serial_rig(NULL, true);

	(void)state;
	out8(rig, PORT + 1, 0x02);
	assert_int_equal(fake_irqs(&rig->fp, GSI), 1);
	resume(rig, false);
	rig->fp.pins_masked = true;
	resume(rig, true);
	assert_int_equal(fake_irqs(&rig->fp, GSI), 0);
	assert_int_equal(rig->fp.num_waiting, 1);
	assert_int_equal(in8(rig, PORT + 2) & 0x0F, 0x02);
	resume(rig, false);
	resume(rig, true);
	assert_int_equal(rig->fp.num_waiting, 1); /* there is no reason left */
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_guest_transmits_reaches_the_file_and_raises_tx_empty),
		cmocka_unit_test(a_path_means_no_input),
		cmocka_unit_test(input_arrives_in_order_and_none_is_lost_when_the_fifo_is_full),
		cmocka_unit_test(a_paused_machine_takes_no_input),
		cmocka_unit_test(loopback_shows_that_a_uart_is_there),
		cmocka_unit_test(output_beyond_the_limit_is_dropped),
		cmocka_unit_test(registers_and_received_bytes_survive_a_snapshot),
		cmocka_unit_test(what_the_console_has_to_say_at_a_resume_waits_for_a_handler),
		cmocka_unit_test(an_event_without_a_handler_waits_for_one),
		cmocka_unit_test(a_device_without_state_can_be_loaded_and_saved),
		cmocka_unit_test(the_reset_command_ends_the_machine),
		cmocka_unit_test(ctrl_alt_del_is_typed_once_the_keyboard_interrupt_is_on),
		cmocka_unit_test(keys_that_nobody_reads_are_refused_in_the_end),
		cmocka_unit_test(keyboard_state_survives_a_snapshot),
		cmocka_unit_test(keys_typed_just_before_a_snapshot_interrupt_the_clone),
		cmocka_unit_test(a_leak_gives_a_new_identifier_and_an_interrupt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
