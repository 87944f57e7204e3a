// SPDX-License-Identifier: Apache-2.0
/*
 * A lock a device: which accesses wait for whom, and (built with
 * ThreadSanitizer) that vCPUs and the loop share a device without races.
 */
#include "virtio_driver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "config/config.h"
#include "virtio/rng.h"

#define NUM_VCPUS   4
#define ANSWER_S    30 /* a test that fails waits so long */
#define STRESS_MS   500
#define BUFFERS_GPA DRV_DATA_GPA

struct rig {
	struct fake_platform fp;
	struct virtio_driver a, b;
};

struct access {
	struct rig *rig;
	void (*touch)(struct rig *rig);
	pthread_t thread;
};

static _Atomic bool stress_ends;

static void plug(struct rig *rig, struct virtio_driver *drv, const char *name)
{
	const struct entropy_config config = { .present = true };
	struct virtio_dev *vdev;
	struct err e;

	assert_int_equal(rng_new(&config, &rig->fp.p, &vdev, &e), 0);
	drv_plug(drv, &rig->fp, vdev, name);
	drv_start(drv, 0, 1);
}

static int setup(void **state)
{
	static struct rig rig;

	memset(&rig, 0, sizeof(rig));
	fake_platform_init(&rig.fp);
	plug(&rig, &rig.a, "a");
	plug(&rig, &rig.b, "b");
	*state = &rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	drv_unplug(&rig->a);
	drv_unplug(&rig->b);
	fake_platform_fini(&rig->fp);
	return 0;
}

static void *access_thread(void *arg)
{
	struct access *access = arg;

	access->touch(access->rig);
	return NULL;
}

/* Does it come back while this thread holds a's lock? */
static bool answers_while_a_is_locked(struct rig *rig, void (*touch)(struct rig *rig))
{
	struct access access = { .rig = rig, .touch = touch };
	struct timespec until;
	bool answered;

	device_lock(rig->a.dev);
	assert_int_equal(pthread_create(&access.thread, NULL, access_thread, &access), 0);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ANSWER_S;
	answered = pthread_timedjoin_np(access.thread, NULL, &until) == 0;
	device_unlock(rig->a.dev);
	if (!answered)
		pthread_join(access.thread, NULL);
	return answered;
}

static void touch_interrupt_status(struct rig *rig)
{
	(void)drv_read(&rig->a, VIRTIO_MMIO_INTERRUPT_STATUS);
	drv_write(&rig->a, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_INT_USED);
}

/* As on a host without doorbells: the write reaches the registers. */
static void touch_notify(struct rig *rig)
{
	uint32_t q = 0;

	assert_true(bus_write(&rig->fp.bus, BUS_MMIO, rig->a.base + VIRTIO_MMIO_QUEUE_NOTIFY, &q, sizeof(q)));
}

static void touch_other_device(struct rig *rig)
{
	assert_int_equal(drv_read(&rig->b, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_DRIVER_OK);
}

static void an_interrupt_handler_waits_for_no_device(void **state)
{
	assert_true(answers_while_a_is_locked(*state, touch_interrupt_status));
	assert_true(answers_while_a_is_locked(*state, touch_notify));
}

static void a_device_that_is_busy_holds_up_no_other(void **state)
{
	assert_true(answers_while_a_is_locked(*state, touch_other_device));
}

static void an_acknowledgement_takes_only_its_own_bits(void **state)
{
	struct rig *rig = *state;

	device_lock(rig->a.dev);
	virtio_notify_config(rig->a.vdev);
	rig->a.vdev->interrupt(rig->a.vdev->transport, VIRTIO_INT_USED);
	device_unlock(rig->a.dev);
	assert_int_equal(drv_read(&rig->a, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_INT_USED | VIRTIO_INT_CONFIG);
	drv_write(&rig->a, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_INT_USED);
	assert_int_equal(drv_read(&rig->a, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_INT_CONFIG);
}

/* What an interrupt handler and a curious driver do; one of the threads also resets its device and sets it up anew. */
static void touch_everything(struct rig *rig)
{
	uint64_t value;

	while (!atomic_load(&stress_ends)) {
		touch_interrupt_status(rig);
		touch_notify(rig);
		(void)drv_read(&rig->a, VIRTIO_MMIO_STATUS);
		(void)drv_read(&rig->a, VIRTIO_MMIO_CONFIG_GENERATION);
		value = 0;
		(void)bus_read(&rig->fp.bus, BUS_MMIO, rig->a.base + VIRTIO_MMIO_CONFIG, &value, 4);
		touch_notify(rig);
	}
}

/* By registers alone: the rings (both devices have the same) keep their one request, which is carried out each time. */
static void touch_reset(struct rig *rig)
{
	struct virtio_driver *b = &rig->b;

	while (!atomic_load(&stress_ends)) {
		drv_reset(b);
		(void)drv_negotiate(b, 0);
		drv_write(b, VIRTIO_MMIO_QUEUE_SEL, 0);
		drv_write(b, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)b->rings[0].desc);
		drv_write(b, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)b->rings[0].avail);
		drv_write(b, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)b->rings[0].used);
		drv_write(b, VIRTIO_MMIO_QUEUE_READY, 1);
		drv_ready(b);
		drv_write(b, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	}
}

static void vcpus_and_the_loop_share_devices(void **state)
{
	struct rig *rig = *state;
	const struct ring_buf buf = { .gpa = BUFFERS_GPA, .len = 64 };
	struct access vcpus[NUM_VCPUS];

	ring_add(&rig->b.rings[0], NULL, 0, &buf, 1);
	atomic_store(&stress_ends, false);
	for (unsigned int i = 0; i < NUM_VCPUS; i++) {
		vcpus[i] = (struct access){ .rig = rig, .touch = i ? touch_everything : touch_reset };
		assert_int_equal(pthread_create(&vcpus[i].thread, NULL, access_thread, &vcpus[i]), 0);
	}
	fake_run_ms(&rig->fp, STRESS_MS);
	atomic_store(&stress_ends, true);
	for (unsigned int i = 0; i < NUM_VCPUS; i++)
		assert_int_equal(pthread_join(vcpus[i].thread, NULL), 0);
	fake_run(&rig->fp);
	assert_int_equal(drv_read(&rig->a, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
	assert_int_equal(drv_read(&rig->b, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_interrupt_handler_waits_for_no_device),
		TEST(a_device_that_is_busy_holds_up_no_other),
		TEST(an_acknowledgement_takes_only_its_own_bits),
		TEST(vcpus_and_the_loop_share_devices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
