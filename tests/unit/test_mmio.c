// SPDX-License-Identifier: Apache-2.0
/* The MMIO transport with a device type that only writes down what it is told. */
#include "virtio/mmio.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "state/codec.h"
#include "base/metrics.h"
#include "virtio/mmio_internal.h"
#include "virtio_driver.h"

#define PROBE_FEATURE	5u /* a queue needs it */
#define PROBE_SELECTIVE 2u /* that queue */
#define PROBE_OFFERED	(FEATURE(PROBE_FEATURE) | FEATURE(VIRTIO_RING_F_INDIRECT_DESC) | FEATURE(40))
#define PROBE_CONFIG	8u /* bytes of configuration space */

/* The device type under the transport. */
struct probe {
	struct virtio_dev vdev;
	unsigned int activated, resets, pauses, notified[3];
	int notify_result;
	uint8_t config[PROBE_CONFIG];
	uint64_t own_state;
	bool *freed;
};

static struct probe *probe_from_vdev(struct virtio_dev *vdev)
{
	return (struct probe *)vdev;
}

static void probe_activate(struct virtio_dev *vdev)
{
	probe_from_vdev(vdev)->activated++;
}

static int probe_notify(struct virtio_dev *vdev, unsigned int q)
{
	struct probe *probe = probe_from_vdev(vdev);

	assert_true(vdev->driver_ok && vdev->queues[q].ready);
	probe->notified[q]++;
	return probe->notify_result;
}

static void probe_config_read(struct virtio_dev *vdev, uint64_t offset, void *data, unsigned int len)
{
	for (unsigned int i = 0; i < len; i++)
		((uint8_t *)data)[i] = offset + i < PROBE_CONFIG ? probe_from_vdev(vdev)->config[offset + i] : 0;
}

static void probe_config_write(struct virtio_dev *vdev, uint64_t offset, const void *data, unsigned int len)
{
	for (unsigned int i = 0; i < len; i++) {
		if (offset + i < PROBE_CONFIG)
			probe_from_vdev(vdev)->config[offset + i] = ((const uint8_t *)data)[i];
	}
}

static void probe_reset(struct virtio_dev *vdev)
{
	probe_from_vdev(vdev)->resets++;
}

static void probe_pause(struct virtio_dev *vdev)
{
	probe_from_vdev(vdev)->pauses++;
}

static void probe_save(struct virtio_dev *vdev, struct enc *enc)
{
	enc_u64(enc, "own", probe_from_vdev(vdev)->own_state);
}

static void probe_load(struct virtio_dev *vdev, struct dec *dec)
{
	probe_from_vdev(vdev)->own_state = dec_u64(dec, "own", 0, 100);
}

static void probe_free(struct virtio_dev *vdev)
{
	*probe_from_vdev(vdev)->freed = true;
	free(vdev);
}

static const struct virtio_ops probe_ops = {
	.type = "probe",
	.device_id = 42,
	.num_queues = 3,
	.queue_needs = { [PROBE_SELECTIVE] = FEATURE(PROBE_FEATURE) },
	.activate = probe_activate,
	.notify = probe_notify,
	.config_read = probe_config_read,
	.config_write = probe_config_write,
	.reset = probe_reset,
	.pause = probe_pause,
	.save = probe_save,
	.load = probe_load,
	.free = probe_free,
};

struct fixture {
	struct fake_platform fp;
	struct probe *probe;
	struct virtio_driver drv;
	struct probe *other_probe; /* a second device */
	struct virtio_driver other;
	bool freed, other_freed;
};

static struct probe *probe_new(struct fixture *f, bool *freed)
{
	struct probe *probe = calloc(1, sizeof(*probe));

	assert_int_equal(virtio_dev_init(&probe->vdev, &probe_ops, &f->fp.p, PROBE_OFFERED, 128), 0);
	probe->freed = freed;
	return probe;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_platform_init(&f->fp);
	f->probe = probe_new(f, &f->freed);
	drv_plug(&f->drv, &f->fp, &f->probe->vdev, "probe");
	f->other_probe = probe_new(f, &f->other_freed);
	drv_plug(&f->other, &f->fp, &f->other_probe->vdev, "other");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	drv_unplug(&f->drv);
	drv_unplug(&f->other);
	assert_true(f->freed && f->other_freed);
	fake_platform_fini(&f->fp);
	free(f);
	return 0;
}

static uint32_t status(struct fixture *f)
{
	return drv_read(&f->drv, VIRTIO_MMIO_STATUS);
}

static void set_status(struct fixture *f, uint32_t value)
{
	drv_write(&f->drv, VIRTIO_MMIO_STATUS, value);
}

/* Ready for traffic with all three queues (of 128 entries: the device's maximum). */
static void start(struct fixture *f)
{
	assert_true(drv_negotiate(&f->drv, FEATURE(PROBE_FEATURE)));
	for (unsigned int q = 0; q < 3; q++)
		assert_true(drv_set_up_queue(&f->drv, q, 128));
	drv_ready(&f->drv);
}

static void device_introduces_itself(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_VERSION), 2);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_DEVICE_ID), 42);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_SHM_LEN_LOW), 0xffffffff);
	assert_int_not_equal(f->drv.base, f->other.base);
	assert_int_not_equal(f->drv.gsi, f->other.gsi);
}

static void features_are_offered_in_halves(void **state)
{
	struct fixture *f = *state;
	const uint64_t offered = PROBE_OFFERED | FEATURE(VIRTIO_F_VERSION_1);

	drv_write(&f->drv, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_DEVICE_FEATURES), (uint32_t)offered);
	drv_write(&f->drv, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_DEVICE_FEATURES), (uint32_t)(offered >> 32));
	drv_write(&f->drv, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_DEVICE_FEATURES), 0);
}

static void start_up_in_order_activates_the_device(void **state)
{
	struct fixture *f = *state;

	start(f);
	assert_int_equal(status(f), 15);
	assert_int_equal(f->probe->activated, 1);
	assert_true(f->probe->vdev.driver_ok);
	assert_int_equal(f->probe->vdev.features, FEATURE(PROBE_FEATURE) | FEATURE(VIRTIO_F_VERSION_1));
}

static void all_steps_may_come_in_one_write(void **state)
{
	struct fixture *f = *state;

	set_status(f, 3);
	drv_write(&f->drv, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	drv_write(&f->drv, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	set_status(f, 15);
	assert_int_equal(status(f), 15);
}

static void unoffered_features_are_refused(void **state)
{
	struct fixture *f = *state;

	for (unsigned int bit = 0; bit < 64; bit++) {
		bool offered = (PROBE_OFFERED | FEATURE(VIRTIO_F_VERSION_1)) >> bit & 1;

		assert_int_equal(drv_negotiate(&f->drv, FEATURE(bit)), offered);
		if (!offered) {
			set_status(f, 15); /* the sequence ends here, whatever else is set */
			assert_int_equal(status(f), 3);
			assert_int_equal(f->probe->vdev.features, 0);
		}
		drv_reset(&f->drv);
	}
}

static void driver_without_version_1_is_refused(void **state)
{
	struct fixture *f = *state;

	set_status(f, 1);
	set_status(f, 3);
	drv_write(&f->drv, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	drv_write(&f->drv, VIRTIO_MMIO_DRIVER_FEATURES, 1u << PROBE_FEATURE);
	set_status(f, 11);
	assert_int_equal(status(f), 3);
}

static void features_are_final_after_features_ok(void **state)
{
	struct fixture *f = *state;

	assert_true(drv_negotiate(&f->drv, 0));
	drv_write(&f->drv, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	drv_write(&f->drv, VIRTIO_MMIO_DRIVER_FEATURES, 1u << PROBE_FEATURE);
	drv_ready(&f->drv);
	assert_int_equal(f->probe->vdev.features, FEATURE(VIRTIO_F_VERSION_1));
}

static void status_out_of_order_is_ignored(void **state)
{
	static const struct {
		uint32_t from, write, then;
	} cases[] = {
		{ 0, 2, 0 },	  { 0, 4, 0 },	  { 0, 8, 0 },	   { 1, 9, 1 },
		{ 1, 5, 1 },	  { 3, 7, 3 },	  { 3, 1, 3 },	   { 3, 2, 3 },
		{ 3, 3, 3 },	  { 1, 0x41, 1 }, { 1, 0x31, 1 },  { 1, 0x101, 1 },
		{ 3, 0x83, 131 }, { 3, 0x80, 3 }, { 3, 0x103, 3 }, { 1, 0xffffffff, 129 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		drv_reset(&f->drv);
		if (cases[i].from)
			set_status(f, cases[i].from);
		set_status(f, cases[i].write);
		assert_int_equal(status(f), cases[i].then);
	}
}

static void driver_that_gives_up_silences_the_device(void **state)
{
	struct fixture *f = *state;

	start(f);
	set_status(f, 15 | VIRTIO_CONFIG_S_FAILED);
	drv_kick(&f->drv, 0);
	assert_int_equal(f->probe->notified[0], 0);
	virtio_notify_config(&f->probe->vdev);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 0);
	set_status(f, 15); /* there is no way back but a reset */
	assert_int_equal(status(f), 15 | VIRTIO_CONFIG_S_FAILED);
}

static void reset_forgets_everything(void **state)
{
	struct fixture *f = *state;
	struct virtio_mmio fresh = *(struct virtio_mmio *)f->other.dev, *t = (struct virtio_mmio *)f->drv.dev;

	start(f);
	virtio_notify_config(&f->probe->vdev);
	drv_reset(&f->drv);
	assert_int_equal(f->probe->resets, 1);
	assert_int_equal(status(f), 0);
	assert_false(f->probe->vdev.driver_ok);
	assert_int_equal(f->probe->vdev.features, 0);
	assert_int_equal(t->interrupt_status, fresh.interrupt_status);
	assert_int_equal(t->driver_features, fresh.driver_features);
	assert_int_equal(t->queue_sel, fresh.queue_sel);
	assert_memory_equal(f->probe->vdev.queues, f->other_probe->vdev.queues, sizeof(f->probe->vdev.queues));
	drv_kick(&f->drv, 0);
	assert_int_equal(f->probe->notified[0], 0);
	start(f);
	drv_kick(&f->drv, 0);
	assert_int_equal(f->probe->notified[0], 1);
}

static void queue_that_does_not_exist_has_no_size(void **state)
{
	static const uint32_t bad[] = { 3, 4, 255, 0x7fffffff, 0xffffffff };
	struct fixture *f = *state;

	assert_true(drv_negotiate(&f->drv, FEATURE(PROBE_FEATURE)));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		drv_write(&f->drv, VIRTIO_MMIO_QUEUE_SEL, bad[i]);
		assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
		drv_write(&f->drv, VIRTIO_MMIO_QUEUE_NUM, 16);
		drv_write(&f->drv, VIRTIO_MMIO_QUEUE_DESC_HIGH, 0xdead);
		drv_write(&f->drv, VIRTIO_MMIO_QUEUE_READY, 1);
		assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_QUEUE_READY), 0);
	}
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_SEL, 1);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_QUEUE_NUM_MAX), 128);
}

static void queue_that_needs_a_feature_exists_only_with_it(void **state)
{
	struct fixture *f = *state;

	assert_true(drv_negotiate(&f->drv, 0));
	assert_true(drv_set_up_queue(&f->drv, 0, 128));
	assert_false(drv_set_up_queue(&f->drv, PROBE_SELECTIVE, 128));
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	drv_ready(&f->drv);
	drv_kick(&f->drv, PROBE_SELECTIVE);
	assert_int_equal(f->probe->notified[PROBE_SELECTIVE], 0);

	drv_reset(&f->drv);
	assert_true(drv_negotiate(&f->drv, FEATURE(PROBE_FEATURE)));
	assert_true(drv_set_up_queue(&f->drv, PROBE_SELECTIVE, 128));
}

static void bad_queues_are_not_enabled(void **state)
{
	struct fixture *f = *state;

	assert_true(drv_negotiate(&f->drv, 0));
	assert_false(drv_set_up_queue(&f->drv, 0, 256)); /* more than the device has */
	assert_false(drv_set_up_queue(&f->drv, 0, 100));
	assert_false(drv_set_up_queue(&f->drv, 0, 0));
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_NUM, 0x10080); /* 128 in the low 16 bits */
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_READY, 1);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_QUEUE_READY), 0);
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_NUM, 128);
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_USED_HIGH, 0xffffffff);
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_READY, 1);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_QUEUE_READY), 0);
	assert_true(drv_set_up_queue(&f->drv, 0, 1));
}

static void queue_in_use_cannot_be_changed(void **state)
{
	struct fixture *f = *state;
	const struct virtq *q = &f->probe->vdev.queues[0];

	assert_true(drv_negotiate(&f->drv, 0));
	assert_true(drv_set_up_queue(&f->drv, 0, 64));
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_NUM, 32);
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_DESC_LOW, 0);
	assert_int_equal(q->size, 64);
	assert_int_equal(q->desc, f->drv.rings[0].desc);
	drv_ready(&f->drv);
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_USED_LOW, 0);
	assert_int_equal(q->used, f->drv.rings[0].used);

	/* It can be stopped, and then it is stopped until the next reset. */
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_READY, 0);
	drv_kick(&f->drv, 0);
	assert_int_equal(f->probe->notified[0], 0);
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_READY, 1);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_QUEUE_READY), 0);
}

static void queues_are_not_set_up_before_features_ok(void **state)
{
	struct fixture *f = *state;

	assert_false(drv_set_up_queue(&f->drv, 0, 64));
	set_status(f, 3);
	assert_false(drv_set_up_queue(&f->drv, 0, 64));
}

static void doorbell_is_served_only_while_everything_is_ready(void **state)
{
	struct fixture *f = *state;

	drv_kick(&f->drv, 0);
	assert_true(drv_negotiate(&f->drv, FEATURE(PROBE_FEATURE)));
	assert_true(drv_set_up_queue(&f->drv, 1, 64));
	drv_kick(&f->drv, 1);
	assert_int_equal(f->probe->notified[1], 0);
	drv_ready(&f->drv);
	drv_kick(&f->drv, 0); /* not set up */
	drv_kick(&f->drv, 1);
	drv_kick(&f->drv, 1);
	assert_int_equal(f->probe->notified[0], 0);
	assert_int_equal(f->probe->notified[1], 2);
	assert_int_equal(f->other_probe->notified[1], 0);
}

static void notification_through_the_register_takes_the_same_road(void **state)
{
	struct fixture *f = *state;
	uint32_t value = 1;

	start(f);
	assert_true(bus_write(&f->fp.bus, BUS_MMIO, f->drv.base + VIRTIO_MMIO_QUEUE_NOTIFY, &value, 4));
	assert_int_equal(f->probe->notified[1], 0); /* not on this thread */
	fake_run(&f->fp);
	assert_int_equal(f->probe->notified[1], 1);
	for (value = 3; value; value <<= 1)
		assert_true(bus_write(&f->fp.bus, BUS_MMIO, f->drv.base + VIRTIO_MMIO_QUEUE_NOTIFY, &value, 4));
	fake_run(&f->fp);
	assert_int_equal(f->probe->notified[0] + f->probe->notified[1] + f->probe->notified[2], 1);
}

static void device_can_ask_for_another_turn(void **state)
{
	struct fixture *f = *state;

	start(f);
	virtio_kick(&f->probe->vdev, 2);
	fake_run(&f->fp);
	assert_int_equal(f->probe->notified[2], 1);
}

static void interrupts_are_raised_and_acknowledged(void **state)
{
	struct fixture *f = *state;
	struct virtq *q = &f->probe->vdev.queues[0];

	start(f);
	virtio_notify_used(&f->probe->vdev, q); /* nothing was used */
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 0);
	virtq_push(q, 0, 0);
	virtio_notify_used(&f->probe->vdev, q);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 1);
	assert_int_equal(fake_irqs(&f->fp, f->other.gsi), 0);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_INT_USED);
	virtio_notify_config(&f->probe->vdev);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_INTERRUPT_STATUS), 3);
	drv_write(&f->drv, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_INT_USED);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_INT_CONFIG);
	drv_write(&f->drv, VIRTIO_MMIO_INTERRUPT_ACK, 0xffffffff);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

static void nothing_is_sent_before_driver_ok(void **state)
{
	struct fixture *f = *state;
	uint32_t generation = drv_read(&f->drv, VIRTIO_MMIO_CONFIG_GENERATION);

	assert_true(drv_negotiate(&f->drv, 0));
	virtio_notify_config(&f->probe->vdev);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 0);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_CONFIG_GENERATION), generation + 1);
}

static void failing_device_needs_a_reset(void **state)
{
	struct fixture *f = *state;
	uint64_t before = virtio_metrics.needs_reset_count;

	start(f);
	f->probe->notify_result = -EINVAL;
	drv_kick(&f->drv, 0);
	assert_int_equal(status(f), 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(virtio_metrics.needs_reset_count, before + 1);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_INT_CONFIG);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 1);
	virtio_fail(&f->probe->vdev); /* said once */
	assert_int_equal(virtio_metrics.needs_reset_count, before + 1);

	/* Silent, also after pause and resume, and whatever the driver writes. */
	f->probe->notify_result = 0;
	drv_kick(&f->drv, 0);
	set_status(f, 15);
	drv_pause(&f->drv);
	drv_resume(&f->drv);
	assert_int_equal(f->probe->notified[0], 1);
	assert_int_equal(status(f), 15 | VIRTIO_CONFIG_S_NEEDS_RESET);

	drv_reset(&f->drv);
	start(f);
	drv_kick(&f->drv, 0);
	assert_int_equal(f->probe->notified[0], 2);
}

static void paused_device_looks_again_when_it_resumes(void **state)
{
	struct fixture *f = *state;

	start(f);
	drv_pause(&f->drv);
	assert_int_equal(f->probe->pauses, 1);
	drv_kick(&f->drv, 0);
	virtio_kick(&f->probe->vdev, 1);
	fake_run(&f->fp);
	assert_int_equal(f->probe->notified[0] + f->probe->notified[1], 0);
	drv_resume(&f->drv);
	for (unsigned int q = 0; q < 3; q++)
		assert_int_equal(f->probe->notified[q], 1);
	fake_run(&f->fp); /* the doorbells are spent */
	assert_int_equal(f->probe->notified[0], 1);
}

static void pending_interrupt_is_raised_again_at_resume(void **state)
{
	struct fixture *f = *state;

	start(f);
	virtio_notify_config(&f->probe->vdev);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 1);
	drv_pause(&f->drv);
	drv_resume(&f->drv);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 1);
	drv_pause(&f->drv);
	f->fp.pins_masked = true; /* a masked pin would forget the edge */
	drv_resume(&f->drv);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 0);
	assert_int_equal(f->fp.num_waiting, 1);
	f->fp.pins_masked = false;
	drv_write(&f->drv, VIRTIO_MMIO_INTERRUPT_ACK, 3);
	drv_pause(&f->drv);
	drv_resume(&f->drv);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 0);
}

static void registers_are_32_bits_wide(void **state)
{
	struct fixture *f = *state;
	const unsigned int regs[] = { VIRTIO_MMIO_MAGIC_VALUE, VIRTIO_MMIO_DEVICE_ID, VIRTIO_MMIO_STATUS };

	for (size_t i = 0; i < ARRAY_SIZE(regs); i++) {
		assert_int_equal(fake_read(&f->fp, f->drv.base + regs[i], 1), 0);
		assert_int_equal(fake_read(&f->fp, f->drv.base + regs[i], 2), 0);
		assert_int_equal(fake_read(&f->fp, f->drv.base + regs[i], 8), 0);
		assert_int_equal(fake_read(&f->fp, f->drv.base + regs[i] + 1, 4), 0);
	}
	fake_write(&f->fp, f->drv.base + VIRTIO_MMIO_STATUS, 1, 1);
	fake_write(&f->fp, f->drv.base + VIRTIO_MMIO_STATUS, 1, 8);
	assert_int_equal(status(f), 0);
}

static void every_register_survives_any_access(void **state)
{
	static const uint64_t values[] = { 0, 1, 2, 15, 64, 0xffffffff, UINT64_MAX };
	static const unsigned int widths[] = { 1, 2, 4, 8 };
	struct fixture *f = *state;

	for (unsigned int reg = 0; reg < 0x1000; reg++) {
		for (size_t i = 0; i < ARRAY_SIZE(values) * ARRAY_SIZE(widths); i++) {
			unsigned int len = widths[i % ARRAY_SIZE(widths)];

			fake_write(&f->fp, f->drv.base + reg, values[i / ARRAY_SIZE(widths)], len);
			(void)fake_read(&f->fp, f->drv.base + reg, len);
		}
	}
	fake_run(&f->fp);
	drv_reset(&f->drv);
	start(f);
	assert_int_equal(status(f), 15);
}

static void configuration_space_has_any_width(void **state)
{
	struct fixture *f = *state;
	gpa_t config = f->drv.base + VIRTIO_MMIO_CONFIG;

	fake_write(&f->fp, config, 0x1122334455667788ull, 8);
	assert_int_equal(fake_read(&f->fp, config + 3, 1), 0x55);
	assert_int_equal(fake_read(&f->fp, config + 2, 2), 0x5566);
	fake_write(&f->fp, config + 6, 0xabcd, 2);
	assert_true(fake_read(&f->fp, config, 8) == 0xabcd334455667788ull);
	assert_int_equal(fake_read(&f->fp, config + 6, 4), 0xabcd);
	assert_int_equal(fake_read(&f->fp, config + PROBE_CONFIG, 4), 0);
}

/* Snapshots */

/* Saves the device, loads that into a fresh one in a machine of its own, and compares what that one saves. */
static void assert_survives(struct fixture *f)
{
	struct fixture *g = calloc(1, sizeof(*g));
	uint8_t *data, *again;
	size_t len, again_len;
	struct err e;

	fake_platform_init(&g->fp);
	g->probe = probe_new(g, &g->freed);
	drv_plug(&g->drv, &g->fp, &g->probe->vdev, "probe");
	drv_pause(&g->drv);
	f->probe->own_state = 77;
	data = drv_save(&f->drv, &len);
	assert_int_equal(drv_load(&g->drv, &f->drv, data, len, &e), 0);
	again = drv_save(&g->drv, &again_len);
	assert_int_equal(again_len, len);
	assert_memory_equal(again, data, len);
	assert_int_equal(g->probe->own_state, 77);
	assert_int_equal(g->probe->vdev.driver_ok, f->probe->vdev.driver_ok);
	assert_int_equal(g->probe->activated, f->probe->vdev.driver_ok);
	assert_int_equal(fake_irqs(&g->fp, g->drv.gsi), 0);
	drv_resume(&g->drv);
	/* The driver looks at its queues once, whatever was lost on the way; only before DRIVER_OK nothing is sent. */
	if (f->probe->vdev.driver_ok)
		assert_true(drv_read(&g->drv, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_INT_USED);
	assert_int_equal(fake_irqs(&g->fp, g->drv.gsi), !!drv_read(&g->drv, VIRTIO_MMIO_INTERRUPT_STATUS));
	free(data);
	free(again);
	drv_unplug(&g->drv);
	fake_platform_fini(&g->fp);
	free(g);
}

static void device_survives_a_snapshot_at_every_step(void **state)
{
	struct fixture *f = *state;

	assert_survives(f);
	set_status(f, 3);
	drv_write(&f->drv, VIRTIO_MMIO_DRIVER_FEATURES, 0xffffffff); /* not yet accepted */
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_SEL, 0xffffffff);
	assert_survives(f);
	drv_reset(&f->drv);
	assert_true(drv_negotiate(&f->drv, FEATURE(PROBE_FEATURE)));
	assert_survives(f);
	assert_true(drv_set_up_queue(&f->drv, 2, 32));
	assert_survives(f);
	drv_ready(&f->drv);
	assert_survives(f);
	virtio_notify_config(&f->probe->vdev);
	assert_survives(f);
	virtio_fail(&f->probe->vdev);
	assert_survives(f);
	set_status(f, status(f) | VIRTIO_CONFIG_S_FAILED);
	assert_survives(f);
}

typedef void forge_fn(struct virtio_mmio *t, struct virtio_dev *vdev);

static void forge_base(struct virtio_mmio *t, struct virtio_dev *vdev)
{
	(void)vdev;
	t->base += 0x1000;
}

static void forge_gsi(struct virtio_mmio *t, struct virtio_dev *vdev)
{
	(void)vdev;
	t->irq.gsi++;
}

static void forge_type(struct virtio_mmio *t, struct virtio_dev *vdev)
{
	static struct virtio_ops ops;

	(void)t;
	ops = *vdev->ops;
	ops.type = "probf";
	vdev->ops = &ops;
}

static void forge_unoffered(struct virtio_mmio *t, struct virtio_dev *vdev)
{
	(void)vdev;
	t->driver_features |= FEATURE(33);
}

static void forge_no_version_1(struct virtio_mmio *t, struct virtio_dev *vdev)
{
	(void)vdev;
	t->driver_features = 0;
}

static void forge_status_gap(struct virtio_mmio *t, struct virtio_dev *vdev)
{
	(void)vdev;
	t->status &= ~(uint32_t)VIRTIO_CONFIG_S_FEATURES_OK;
}

static void forge_status_unknown(struct virtio_mmio *t, struct virtio_dev *vdev)
{
	(void)vdev;
	t->status |= 16;
}

static void forge_status_too_early(struct virtio_mmio *t, struct virtio_dev *vdev)
{
	(void)vdev;
	t->status = 3; /* and yet the queues are ready */
}

static void forge_interrupt(struct virtio_mmio *t, struct virtio_dev *vdev)
{
	(void)vdev;
	t->interrupt_status = 4;
}

static void forge_queue_without_feature(struct virtio_mmio *t, struct virtio_dev *vdev)
{
	(void)vdev;
	t->driver_features = FEATURE(VIRTIO_F_VERSION_1);
}

static void forge_queue_size(struct virtio_mmio *t, struct virtio_dev *vdev)
{
	(void)t;
	vdev->queues[1].size = 256;
}

static void forge_queue_count(struct virtio_mmio *t, struct virtio_dev *vdev)
{
	static struct virtio_ops ops;

	(void)t;
	ops = *vdev->ops;
	ops.num_queues = 2;
	vdev->ops = &ops;
}

static void forge_own(struct virtio_mmio *t, struct virtio_dev *vdev)
{
	(void)t;
	probe_from_vdev(vdev)->own_state = 101;
}

static void forged_device_state_is_refused(void **state)
{
	static forge_fn *const forges[] = {
		forge_base,
		forge_gsi,
		forge_type,
		forge_unoffered,
		forge_no_version_1,
		forge_status_gap,
		forge_status_unknown,
		forge_status_too_early,
		forge_interrupt,
		forge_queue_without_feature,
		forge_queue_size,
		forge_queue_count,
		forge_own,
	};
	struct fixture *f = *state;
	struct virtio_mmio *t = (struct virtio_mmio *)f->drv.dev, good;
	struct probe good_probe;

	start(f);
	good = *t;
	good_probe = *f->probe;
	for (size_t i = 0; i < ARRAY_SIZE(forges); i++) {
		struct err e = { .text = "" };
		uint8_t *data;
		size_t len;

		forges[i](t, &f->probe->vdev);
		data = drv_save(&f->drv, &len);
		*t = good;
		*f->probe = good_probe;
		assert_int_equal(drv_load(&f->drv, &f->drv, data, len, &e), -EINVAL);
		assert_true(strlen(e.text) > 20);
		assert_false(f->probe->vdev.driver_ok);
		free(data);
		*t = good;
		*f->probe = good_probe;
	}
}

static void state_of_another_device_is_refused(void **state)
{
	struct fixture *f = *state;
	struct err e;
	size_t len;
	uint8_t *data = drv_save(&f->drv, &len);

	assert_int_equal(drv_load(&f->other, &f->drv, data, len, &e), -EINVAL);
	free(data);
}

static void failed_creation_leaves_nothing_behind(void **state)
{
	struct fixture *f = *state;
	struct device *dev;
	struct err e;

	for (unsigned int step = 0; step < 5; step++) {
		bool freed = false;
		struct probe *probe = probe_new(f, &freed);

		f->fp.windows_left = step == 0 ? 0 : -1;
		f->fp.irqs_left = step == 1 ? 0 : -1;
		f->fp.bells_left = step >= 2 ? (int)step - 2 : -1;
		e.text[0] = '\0';
		assert_int_equal(virtio_mmio_new(&probe->vdev, "third", &f->fp.p, &dev, &e), -ENOSPC);
		assert_true(freed);
		assert_non_null(strstr(e.text, "third"));
		assert_int_equal(f->fp.num_bells, 6);
	}
}

static void occupied_addresses_are_refused(void **state)
{
	struct fixture *f = *state;
	bool freed = false;
	struct probe *probe = probe_new(f, &freed);
	struct device *dev;
	struct err e;

	assert_int_equal(bus_add(&f->fp.bus, BUS_MMIO, FAKE_MMIO_BASE + 2 * 4096 + 8, 1, f->drv.dev), 0);
	assert_int_equal(virtio_mmio_new(&probe->vdev, "third", &f->fp.p, &dev, &e), -EEXIST);
	assert_true(freed);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(device_introduces_itself),
		T(features_are_offered_in_halves),
		T(start_up_in_order_activates_the_device),
		T(all_steps_may_come_in_one_write),
		T(unoffered_features_are_refused),
		T(driver_without_version_1_is_refused),
		T(features_are_final_after_features_ok),
		T(status_out_of_order_is_ignored),
		T(driver_that_gives_up_silences_the_device),
		T(reset_forgets_everything),
		T(queue_that_does_not_exist_has_no_size),
		T(queue_that_needs_a_feature_exists_only_with_it),
		T(bad_queues_are_not_enabled),
		T(queue_in_use_cannot_be_changed),
		T(queues_are_not_set_up_before_features_ok),
		T(doorbell_is_served_only_while_everything_is_ready),
		T(notification_through_the_register_takes_the_same_road),
		T(device_can_ask_for_another_turn),
		T(interrupts_are_raised_and_acknowledged),
		T(nothing_is_sent_before_driver_ok),
		T(failing_device_needs_a_reset),
		T(paused_device_looks_again_when_it_resumes),
		T(pending_interrupt_is_raised_again_at_resume),
		T(registers_are_32_bits_wide),
		T(every_register_survives_any_access),
		T(configuration_space_has_any_width),
		T(device_survives_a_snapshot_at_every_step),
		T(forged_device_state_is_refused),
		T(state_of_another_device_is_refused),
		T(failed_creation_leaves_nothing_behind),
		T(occupied_addresses_are_refused),
	};

	return cmocka_run_group_tests_name("mmio", tests, NULL, NULL);
}
