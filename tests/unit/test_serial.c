// SPDX-License-Identifier: Apache-2.0
/*
 * The console where several threads are at it: nobody waits for a lock, every
 * byte goes its way once, and (built with ThreadSanitizer) there are no races.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "devices/devices.h"
#include "devices/serial_fifo.h"
#include "fake_platform.h"

#define PORT	   0x3F8
#define NUM_VCPUS  4
#define BYTES	   20000u /* of each that puts */
#define ANSWER_S   30	  /* a test that fails waits so long */
#define STRESS_MS  500
#define LSR_DATA   0x01
#define MCR_LOOP   0x10
#define FCR_CLEARS 0x03

static void the_fifo_is_full_and_empty_in_order(void **state)
{
	struct serial_fifo fifo;
	uint8_t byte, all[SERIAL_FIFO];

	(void)state;
	serial_fifo_init(&fifo);
	for (unsigned int round = 0; round < 5; round++) {
		assert_true(serial_fifo_is_empty(&fifo));
		assert_false(serial_fifo_take(&fifo, &byte));
		for (unsigned int i = 0; i < SERIAL_FIFO; i++) {
			assert_int_equal(serial_fifo_room(&fifo), SERIAL_FIFO - i);
			assert_true(serial_fifo_put(&fifo, (uint8_t)(round + i)));
		}
		assert_false(serial_fifo_put(&fifo, 0));
		assert_int_equal(serial_fifo_room(&fifo), 0);
		assert_int_equal(serial_fifo_copy(&fifo, all), SERIAL_FIFO);
		for (unsigned int i = 0; i < SERIAL_FIFO; i++) {
			assert_int_equal(all[i], (uint8_t)(round + i));
			assert_true(serial_fifo_take(&fifo, &byte));
			assert_int_equal(byte, (uint8_t)(round + i));
		}
		/* The next round begins in the middle of the slots. */
		assert_true(serial_fifo_put(&fifo, 1) && serial_fifo_take(&fifo, &byte));
	}
}

static void positions_run_over(void **state)
{
	struct serial_fifo fifo;
	uint8_t byte;

	(void)state;
	serial_fifo_init(&fifo);
	/* As after 2^32 - 64 bytes: the turns of the slots have run over 256 times. */
	atomic_store(&fifo.head, 0u - SERIAL_FIFO);
	atomic_store(&fifo.tail, 0u - SERIAL_FIFO);
	for (uint32_t i = 0; i < SERIAL_FIFO; i++)
		atomic_store(&fifo.slots[i], (0u - SERIAL_FIFO + i) << 8);
	for (unsigned int i = 0; i < 3 * SERIAL_FIFO; i++) {
		assert_true(serial_fifo_put(&fifo, (uint8_t)i));
		assert_false(serial_fifo_is_empty(&fifo));
		assert_true(serial_fifo_take(&fifo, &byte));
		assert_int_equal(byte, (uint8_t)i);
		assert_true(serial_fifo_is_empty(&fifo));
	}
}

struct shared {
	struct serial_fifo fifo;
	_Atomic unsigned int put, taken[2]; /* how many; of each kind of byte */
};

static void *put_bytes(void *arg)
{
	static _Atomic uint8_t kinds;
	uint8_t kind = atomic_fetch_add(&kinds, 1) % 2;
	struct shared *shared = arg;

	for (unsigned int i = 0; i < BYTES;)
		i += serial_fifo_put(&shared->fifo, kind);
	atomic_fetch_add(&shared->put, BYTES);
	return NULL;
}

static void *take_bytes(void *arg)
{
	struct shared *shared = arg;
	uint8_t byte;

	while (shared->put < 2 * BYTES || !serial_fifo_is_empty(&shared->fifo)) {
		if (serial_fifo_take(&shared->fifo, &byte))
			shared->taken[byte]++;
	}
	return NULL;
}

static void each_byte_is_taken_once_whoever_puts_and_takes(void **state)
{
	static struct shared shared;
	pthread_t threads[4];

	(void)state;
	serial_fifo_init(&shared.fifo);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, i % 2 ? put_bytes : take_bytes, &shared), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(shared.taken[0], BYTES);
	assert_int_equal(shared.taken[1], BYTES);
}

struct rig {
	struct fake_platform fp;
	struct device *dev;
	int host_in, saved_stdin, saved_stdout;
};

static void rig_init(struct rig *rig)
{
	const struct serial_config config = { .serial_out_path = NULL };
	struct err e = { "" };
	int fds[2], null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	memset(rig, 0, sizeof(*rig));
	fake_platform_init(&rig->fp);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	rig->saved_stdin = dup(STDIN_FILENO);
	rig->saved_stdout = dup(STDOUT_FILENO);
	dup2(fds[0], STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	close(fds[0]);
	rig->host_in = fds[1];
	assert_int_equal(serial_new(&config, PORT, 0, &rig->fp.p, &rig->dev, &e), 0);
	dup2(rig->saved_stdout, STDOUT_FILENO);
	close(rig->saved_stdout);
	close(null);
	device_resume(rig->dev);
}

static void rig_fini(struct rig *rig)
{
	rig->dev->ops->free(rig->dev);
	fake_platform_fini(&rig->fp);
	dup2(rig->saved_stdin, STDIN_FILENO);
	close(rig->saved_stdin);
	close(rig->host_in);
}

static uint8_t in8(struct rig *rig, unsigned int reg)
{
	uint8_t value;

	bus_read(&rig->fp.bus, BUS_PIO, PORT + reg, &value, 1);
	return value;
}

static void out8(struct rig *rig, unsigned int reg, uint8_t value)
{
	bus_write(&rig->fp.bus, BUS_PIO, PORT + reg, &value, 1);
}

/* All registers, in the order in which a driver uses them, and more printing than anything else. */
static void touch_registers(struct rig *rig)
{
	out8(rig, 1, 0x0F);
	for (int i = 0; i < 8; i++)
		out8(rig, 0, '.');
	for (unsigned int reg = 0; reg < 8; reg++)
		(void)in8(rig, reg);
	out8(rig, 7, 0x5A);
	out8(rig, 2, FCR_CLEARS);
	out8(rig, 4, MCR_LOOP);
	out8(rig, 0, 'l');
	(void)in8(rig, 0);
	out8(rig, 4, 0);
	out8(rig, 1, 0x01);
}

static void *touch_once(void *arg)
{
	touch_registers(arg);
	return NULL;
}

static void a_vcpu_and_input_do_not_wait_for_who_has_the_device(void **state)
{
	struct timespec until;
	struct rig rig;
	pthread_t vcpu;
	bool answered;

	(void)state;
	rig_init(&rig);
	device_lock(rig.dev);
	assert_int_equal(pthread_create(&vcpu, NULL, touch_once, &rig), 0);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ANSWER_S;
	answered = pthread_timedjoin_np(vcpu, NULL, &until) == 0;
	/* Would not come back from the loop if it took the lock: it is this thread's. */
	assert_int_equal(write(rig.host_in, "x", 1), 1);
	for (unsigned int i = 0; answered && i < ANSWER_S * 1000 && !(in8(&rig, 5) & LSR_DATA); i++)
		fake_run_ms(&rig.fp, 1);
	device_unlock(rig.dev);
	assert_true(answered);
	assert_int_equal(in8(&rig, 0), 'x');
	rig_fini(&rig);
}

static _Atomic bool ends;

static void *touch_without_end(void *arg)
{
	while (!atomic_load(&ends))
		touch_registers(arg);
	return NULL;
}

static void vcpus_and_the_loop_share_the_console(void **state)
{
	pthread_t vcpus[NUM_VCPUS];
	struct rig rig;
	bool types = true;

	(void)state;
	rig_init(&rig);
	assert_int_equal(fcntl(rig.host_in, F_SETFL, O_NONBLOCK), 0);
	atomic_store(&ends, false);
	for (int i = 0; i < NUM_VCPUS; i++)
		assert_int_equal(pthread_create(&vcpus[i], NULL, touch_without_end, &rig), 0);
	for (int ms = 0; ms < STRESS_MS; ms += 5) {
		types = types && write(rig.host_in, "0123456789", 10) == 10;
		fake_run_ms(&rig.fp, 5);
	}
	atomic_store(&ends, true);
	for (int i = 0; i < NUM_VCPUS; i++)
		pthread_join(vcpus[i], NULL);
	/* It still does what it is for. */
	assert_int_equal(write(rig.host_in, "y", 1), 1);
	for (unsigned int i = 0; i < ANSWER_S * 1000 && in8(&rig, 0) != 'y'; i++)
		fake_run_ms(&rig.fp, 1);
	assert_int_equal(in8(&rig, 5) & LSR_DATA, 0);
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_fifo_is_full_and_empty_in_order),
		cmocka_unit_test(positions_run_over),
		cmocka_unit_test(each_byte_is_taken_once_whoever_puts_and_takes),
		cmocka_unit_test(a_vcpu_and_input_do_not_wait_for_who_has_the_device),
		cmocka_unit_test(vcpus_and_the_loop_share_the_console),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
