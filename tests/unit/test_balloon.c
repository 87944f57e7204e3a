// SPDX-License-Identifier: Apache-2.0
/* The balloon by its rules: virtio 1.2, section 5.5. */
#include "virtio/balloon_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include <linux/virtio_balloon.h>

#include "guest_ram.h"
#include "virtio_driver.h"

#define PAGE	  MEM_PAGE_SIZE
#define PFNS_GPA  DRV_DATA_GPA /* lists of page numbers */
#define FIRST	  0x800u       /* the number of the first page that tests are about */
#define FIRST_GPA ((gpa_t)FIRST * PAGE)
#define SNAPSHOT  0x53 /* each byte of a memory file */
#define GUEST	  0x47 /* what a guest has written */
#define STATS	  VIRTIO_BALLOON_F_STATS_VQ
#define HINTS	  VIRTIO_BALLOON_F_FREE_PAGE_HINT
#define REPORTS	  VIRTIO_BALLOON_F_REPORTING
#define ALL	  (FEATURE(STATS) | FEATURE(HINTS) | FEATURE(REPORTS))
#define MIB_PAGES 256u

struct fixture {
	struct fake_platform fp;
	struct virtio_driver drv;
	struct balloon *b;
};

static struct err e;

static const struct balloon_config everything = {
	.present = true,
	.amount_mib = 2,
	.stats_polling_interval_s = 1,
	.free_page_hinting = true,
	.free_page_reporting = true,
};

static void plug(struct fixture *f, const struct balloon_config *config)
{
	struct virtio_dev *vdev;

	assert_int_equal(balloon_new(config, &f->fp.p, &vdev, &e), 0);
	drv_plug(&f->drv, &f->fp, vdev, "balloon");
	f->b = (struct balloon *)vdev;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_platform_init(&f->fp);
	fake_platform_anonymous_mem(&f->fp);
	plug(f, &everything);
	*state = f;
	return 0;
}

/* As setup(), of memory that a snapshot was loaded into. */
static int setup_clone(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_platform_init(&f->fp);
	fake_platform_file_mem(&f->fp, SNAPSHOT);
	plug(f, &everything);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	drv_unplug(&f->drv);
	fake_platform_fini(&f->fp);
	free(f);
	return 0;
}

static void replug(struct fixture *f, const struct balloon_config *config)
{
	drv_unplug(&f->drv);
	fake_platform_fini(&f->fp);
	fake_platform_init(&f->fp);
	fake_platform_anonymous_mem(&f->fp);
	plug(f, config);
}

static struct ring_driver *ring(struct fixture *f, unsigned int q)
{
	return &f->drv.rings[q];
}

static uint32_t config_word(struct fixture *f, unsigned int offset)
{
	return drv_read(&f->drv, VIRTIO_MMIO_CONFIG + offset);
}

static uint32_t status(struct fixture *f)
{
	return drv_read(&f->drv, VIRTIO_MMIO_STATUS);
}

static void fill_pages(struct fixture *f, unsigned int pfn, unsigned int num, uint8_t value)
{
	memset(guest_ram(&f->fp.mem, (gpa_t)pfn * PAGE, num * (uint64_t)PAGE), value, (size_t)num * PAGE);
}

static void assert_pages(struct fixture *f, unsigned int pfn, unsigned int num, uint8_t value)
{
	const uint8_t *at = mem_host(&f->fp.mem, (gpa_t)pfn * PAGE, num * (uint64_t)PAGE);

	assert_non_null(at);
	for (size_t i = 0; i < (size_t)num * PAGE; i++)
		if (at[i] != value)
			fail_msg("byte %zu of page %#x is %#x, not %#x", i % PAGE, pfn + (unsigned int)(i / PAGE),
				 at[i], value);
}

/* Page numbers at gpa. */
static struct ring_buf list(struct fixture *f, gpa_t gpa, const uint32_t *pfns, unsigned int num)
{
	assert_true(guest_write(&f->fp.mem, gpa, pfns, num * sizeof(*pfns)));
	return (struct ring_buf){ gpa, num * (uint32_t)sizeof(*pfns) };
}

static void inflate(struct fixture *f, const uint32_t *pfns, unsigned int num)
{
	struct ring_buf buf = list(f, PFNS_GPA, pfns, num);

	ring_add(ring(f, BALLOON_INFLATE), &buf, 1, NULL, 0);
	drv_kick(&f->drv, BALLOON_INFLATE);
}

static unsigned int num_used(struct fixture *f, unsigned int q)
{
	struct ring_used used;
	unsigned int num = 0;

	while (ring_get_used(ring(f, q), &used)) {
		assert_int_equal(used.len, 0);
		num++;
	}
	return num;
}

/* Section 5.5.6.1: the driver gives pages up by their numbers; the device may have them then. */
static void pages_in_the_balloon_are_zero_when_they_come_again(void **state)
{
	const uint32_t pfns[] = { FIRST + 5, FIRST + 1, FIRST + 3, FIRST + 2 };
	struct fixture *f = *state;

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	fill_pages(f, FIRST, 7, GUEST);
	inflate(f, pfns, 4);
	assert_int_equal(num_used(f, BALLOON_INFLATE), 1);
	assert_pages(f, FIRST, 1, GUEST);
	assert_pages(f, FIRST + 1, 3, 0);
	assert_pages(f, FIRST + 4, 1, GUEST);
	assert_pages(f, FIRST + 5, 1, 0);
	assert_pages(f, FIRST + 6, 1, GUEST);
	fill_pages(f, FIRST + 1, 3, GUEST); /* in use again */
	assert_pages(f, FIRST + 1, 3, GUEST);
}

static void pages_of_a_clone_have_nothing_of_the_snapshot(void **state)
{
	const uint32_t pfns[] = { FIRST, FIRST + 1, FIRST + 9, (uint32_t)(FAKE_HIGH_GPA / PAGE) };
	struct fixture *f = *state;

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	assert_pages(f, FIRST, 10, SNAPSHOT);
	fill_pages(f, FIRST + 9, 1, GUEST);
	inflate(f, pfns, 4);
	assert_pages(f, FIRST, 2, 0);
	assert_pages(f, FIRST + 2, 7, SNAPSHOT);
	assert_pages(f, FIRST + 9, 1, 0);
	assert_pages(f, (unsigned int)(FAKE_HIGH_GPA / PAGE), 1, 0);
	ring_add(ring(f, BALLOON_DEFLATE), &(struct ring_buf){ PFNS_GPA, 16 }, 1, NULL, 0);
	drv_kick(&f->drv, BALLOON_DEFLATE);
	assert_int_equal(num_used(f, BALLOON_DEFLATE), 1);
	assert_pages(f, FIRST, 2, 0); /* still */
	fill_pages(f, FIRST, 1, GUEST);
	inflate(f, pfns, 1); /* once more: it has a page of its own now */
	assert_pages(f, FIRST, 2, 0);
}

/* Section 5.5.6.1.1: the driver may not use a page before the device has used the buffer. So what is in it is free by then. */
static void a_buffer_is_given_back_after_its_pages(void **state)
{
	struct fixture *f = *state;
	uint32_t pfns[BALLOON_TURN_RANGES + 10];
	const unsigned int num = sizeof(pfns) / sizeof(*pfns);
	struct ring_buf buf;

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	for (unsigned int i = 0; i < num; i++)
		pfns[i] = FIRST + i % 100;
	pfns[num - 1] = FIRST + 200;
	fill_pages(f, FIRST, 201, GUEST);
	buf = list(f, PFNS_GPA, pfns, num);
	ring_add(ring(f, BALLOON_INFLATE), &buf, 1, NULL, 0);
	virtio_lock(&f->b->vdev);
	assert_int_equal(balloon_inflate(f->b, &f->b->vdev.queues[BALLOON_INFLATE], BALLOON_INFLATE), 0);
	virtio_unlock(&f->b->vdev);
	/* One turn: bounded, and the buffer is still the device's. */
	assert_int_equal(num_used(f, BALLOON_INFLATE), 0);
	assert_pages(f, FIRST, 100, 0);
	assert_pages(f, FIRST + 200, 1, GUEST);
	fake_run(&f->fp); /* it has asked for another */
	assert_int_equal(num_used(f, BALLOON_INFLATE), 1);
	assert_pages(f, FIRST + 200, 1, 0);
	assert_int_equal(f->b->inflate.done, 0);
}

/* More buffers than a turn, and each of them is used. */
static void every_buffer_is_used_however_many_there_are(void **state)
{
	struct fixture *f = *state;
	uint32_t pfns[256];
	struct ring_buf buf;

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	for (unsigned int i = 0; i < 256; i++)
		pfns[i] = FIRST + i;
	fill_pages(f, FIRST, 256, GUEST);
	buf = list(f, PFNS_GPA, pfns, 256);
	for (unsigned int i = 0; i < 200; i++)
		ring_add(ring(f, BALLOON_INFLATE), &buf, 1, NULL, 0);
	drv_kick(&f->drv, BALLOON_INFLATE);
	assert_int_equal(num_used(f, BALLOON_INFLATE), 200);
	assert_pages(f, FIRST, 256, 0);
	for (unsigned int i = 0; i < 200; i++)
		ring_add(ring(f, BALLOON_DEFLATE), &buf, 1, NULL, 0);
	drv_kick(&f->drv, BALLOON_DEFLATE);
	assert_int_equal(num_used(f, BALLOON_DEFLATE), 200);
}

static void page_numbers_may_be_anything(void **state)
{
	const uint32_t last = (uint32_t)(FAKE_MEM_SIZE / PAGE) - 1;
	const uint32_t pfns[] = { UINT32_MAX, last + 1, FIRST, FIRST, last, UINT32_MAX - 1, 0x80000000u, FIRST };
	struct fixture *f = *state;
	uint64_t fails = balloon_metrics.event_fails;

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	fill_pages(f, FIRST, 2, GUEST);
	fill_pages(f, last, 1, GUEST);
	inflate(f, pfns, 8);
	assert_int_equal(num_used(f, BALLOON_INFLATE), 1);
	assert_pages(f, FIRST, 1, 0);
	assert_pages(f, FIRST + 1, 1, GUEST);
	assert_pages(f, last, 1, 0);
	assert_true(balloon_metrics.event_fails > fails);
	assert_int_equal(status(f) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
}

static void buffers_that_make_no_sense_are_given_back(void **state)
{
	const uint32_t pfn = FIRST;
	struct fixture *f = *state;
	struct ring_buf good = { PFNS_GPA, 4 };
	uint64_t fails = balloon_metrics.event_fails;

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	fill_pages(f, FIRST, 1, GUEST);
	(void)list(f, PFNS_GPA, &pfn, 1);
	ring_add(ring(f, BALLOON_INFLATE), NULL, 0, &good, 1);
	ring_add(ring(f, BALLOON_INFLATE), &good, 1, &good, 1);
	ring_add(ring(f, BALLOON_INFLATE), &(struct ring_buf){ PFNS_GPA, 5 }, 1, NULL, 0);
	ring_add(ring(f, BALLOON_INFLATE), &(struct ring_buf){ FAKE_MEM_SIZE, 4 }, 1, NULL, 0);
	ring_add(ring(f, BALLOON_INFLATE), &(struct ring_buf){ UINT64_MAX - 2, 4 }, 1, NULL, 0);
	ring_add(ring(f, BALLOON_INFLATE), &(struct ring_buf){ PFNS_GPA, 0 }, 1, NULL, 0);
	drv_kick(&f->drv, BALLOON_INFLATE);
	assert_int_equal(num_used(f, BALLOON_INFLATE), 6);
	assert_int_equal(balloon_metrics.event_fails, fails + 5);
	assert_pages(f, FIRST, 1, GUEST);
	/* A number that is in two buffers is one. */
	ring_add(ring(f, BALLOON_INFLATE),
		 (struct ring_buf[]){ { PFNS_GPA, 1 }, { PFNS_GPA + 1, 2 }, { PFNS_GPA + 3, 1 } }, 3, NULL, 0);
	drv_kick(&f->drv, BALLOON_INFLATE);
	assert_pages(f, FIRST, 1, 0);
}

/* A guest that gives its own queues away has broken them, and nothing else. */
static void the_page_of_the_ring_itself(void **state)
{
	struct fixture *f = *state;
	uint32_t pfns[3];

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	for (unsigned int i = 0; i < 3; i++)
		pfns[i] = DRV_RINGS_GPA / PAGE + i;
	inflate(f, pfns, 3);
	drv_kick(&f->drv, BALLOON_INFLATE);
	assert_int_equal(status(f) & VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_CONFIG_S_NEEDS_RESET);
	drv_reset(&f->drv);
	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	fill_pages(f, FIRST, 1, GUEST);
	pfns[0] = FIRST;
	inflate(f, pfns, 1);
	assert_int_equal(num_used(f, BALLOON_INFLATE), 1);
	assert_pages(f, FIRST, 1, 0);
}

/* Section 5.5.4. */
static void the_configuration_space(void **state)
{
	struct fixture *f = *state;

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	assert_int_equal(config_word(f, 0), 2 * MIB_PAGES);
	assert_int_equal(config_word(f, 4), 0);
	assert_int_equal(config_word(f, 8), VIRTIO_BALLOON_CMD_ID_STOP);
	assert_int_equal(config_word(f, 12), 0); /* VIRTIO_BALLOON_F_PAGE_POISON is not offered */
	for (unsigned int at = 0; at < 16; at += 4)
		drv_write(&f->drv, VIRTIO_MMIO_CONFIG + at, 0x01020304 + at);
	assert_int_equal(config_word(f, 0), 2 * MIB_PAGES);
	assert_int_equal(config_word(f, 4), 0x01020308); /* the only one that is the driver's */
	assert_int_equal(config_word(f, 8), VIRTIO_BALLOON_CMD_ID_STOP);
	assert_int_equal(config_word(f, 12), 0);
	fake_write(&f->fp, f->drv.base + VIRTIO_MMIO_CONFIG + 7, 0xee, 1);
	assert_int_equal(config_word(f, 4), 0xee020308);
	fake_write(&f->fp, f->drv.base + VIRTIO_MMIO_CONFIG, 0x1122334455667788ull, 8);
	assert_int_equal(config_word(f, 0), 2 * MIB_PAGES);
	assert_int_equal(config_word(f, 4), 0x11223344);
	drv_reset(&f->drv);
	assert_int_equal(config_word(f, 4), 0);
}

static void another_size_is_a_configuration_change(void **state)
{
	struct fixture *f = *state;
	uint32_t generation;

	assert_int_equal(balloon_set_size(&f->b->vdev, 1, &e), -EINVAL);
	assert_string_equal(e.text, "Balloon: Device not activated yet.");
	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	generation = drv_read(&f->drv, VIRTIO_MMIO_CONFIG_GENERATION);
	fake_irqs(&f->fp, f->drv.gsi);
	assert_int_equal(balloon_set_size(&f->b->vdev, 16, &e), 0);
	assert_int_equal(config_word(f, 0), 16 * MIB_PAGES);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 1);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_INT_CONFIG);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_CONFIG_GENERATION), generation + 1);
	assert_int_equal(balloon_set_size(&f->b->vdev, 17, &e), -EINVAL);
	assert_non_null(strstr(e.text, "\"amount_mib\": 17 is not allowed: the machine has 16 MiB of memory"));
	assert_int_equal(balloon_set_size(&f->b->vdev, UINT32_MAX, &e), -EINVAL);
	assert_int_equal(config_word(f, 0), 16 * MIB_PAGES);
	assert_int_equal(balloon_set_size(&f->b->vdev, 0, &e), 0);
	assert_int_equal(config_word(f, 0), 0);
}

static bool queue_exists(struct fixture *f, unsigned int q)
{
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_SEL, q);
	return drv_read(&f->drv, VIRTIO_MMIO_QUEUE_NUM_MAX) != 0;
}

/* Section 5.5.3: what the configuration asks for, and nothing else. */
static void features_follow_the_configuration(void **state)
{
	static const struct {
		struct balloon_config config;
		uint64_t features;
	} rows[] = {
		{ { .amount_mib = 1 }, 0 },
		{ { .deflate_on_oom = true }, FEATURE(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) },
		{ { .stats_polling_interval_s = 65535 }, FEATURE(STATS) },
		{ { .free_page_hinting = true }, FEATURE(HINTS) },
		{ { .free_page_reporting = true }, FEATURE(REPORTS) },
		{ { .deflate_on_oom = true,
		    .stats_polling_interval_s = 1,
		    .free_page_hinting = true,
		    .free_page_reporting = true },
		  ALL | FEATURE(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		replug(f, &rows[i].config);
		assert_int_equal(f->b->vdev.offered, rows[i].features | FEATURE(VIRTIO_F_VERSION_1));
	}
}

/* Section 5.5.2: queues of features that are not negotiated do not exist. */
static void queues_follow_the_features(void **state)
{
	struct fixture *f = *state;

	assert_true(drv_negotiate(&f->drv, 0));
	for (unsigned int q = 0; q < 8; q++)
		assert_int_equal(queue_exists(f, q), q < 2);
	drv_reset(&f->drv);
	assert_true(drv_negotiate(&f->drv, ALL));
	for (unsigned int q = 0; q < 8; q++)
		assert_int_equal(queue_exists(f, q), q < 5);
	drv_reset(&f->drv);
	/* With a gap, where section 5.5.2 has them, and where Linux on MMIO has them. */
	assert_true(drv_negotiate(&f->drv, FEATURE(REPORTS)));
	for (unsigned int q = 0; q < 8; q++)
		assert_int_equal(queue_exists(f, q), q < 3 || q == 4);
}

static void report_one(struct fixture *f, unsigned int q)
{
	struct ring_buf range = { FIRST_GPA, 2 * PAGE };

	fill_pages(f, FIRST, 3, GUEST);
	ring_add(ring(f, q), NULL, 0, &range, 1);
	drv_kick(&f->drv, q);
	assert_int_equal(num_used(f, q), 1);
	assert_pages(f, FIRST, 2, 0);
	assert_pages(f, FIRST + 2, 1, GUEST);
}

static void queues_that_follow_each_other(void **state)
{
	struct fixture *f = *state;

	drv_start(&f->drv, FEATURE(REPORTS), 3);
	report_one(f, 2);
	drv_reset(&f->drv);
	drv_start(&f->drv, FEATURE(STATS) | FEATURE(REPORTS), 4);
	report_one(f, 3);
	drv_reset(&f->drv);
	drv_start(&f->drv, ALL, 5);
	report_one(f, 4);
}

static void queues_that_have_their_numbers(void **state)
{
	struct fixture *f = *state;

	assert_true(drv_negotiate(&f->drv, FEATURE(HINTS) | FEATURE(REPORTS)));
	for (unsigned int q = 0; q < 5; q++)
		assert_int_equal(q == 2 || drv_set_up_queue(&f->drv, q, 256), true);
	drv_ready(&f->drv);
	report_one(f, 4);
	assert_int_equal(balloon_start_hinting(&f->b->vdev, true, &e), 0);
	assert_true(guest_write(&f->fp.mem, PFNS_GPA, &(uint32_t){ 2 }, 4));
	ring_add(ring(f, 3), &(struct ring_buf){ PFNS_GPA, 4 }, 1, NULL, 0);
	drv_kick(&f->drv, 3);
	assert_int_equal(f->b->hint.cmd.guest_cmd, 2);
	drv_reset(&f->drv);
	drv_start(&f->drv, FEATURE(REPORTS), 3); /* another driver */
	report_one(f, 2);
}

/* Section 5.5.6.7. */
static void reported_pages_are_zero_when_they_come_again(void **state)
{
	const struct ring_buf ranges[] = { { FIRST_GPA, 512 * PAGE }, { FIRST_GPA + 600 * PAGE, 4 * PAGE } };
	struct fixture *f = *state;
	uint64_t freed = balloon_metrics.free_page_report_freed, count = balloon_metrics.free_page_report_count;

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	fill_pages(f, FIRST, 700, GUEST);
	ring_add(ring(f, BALLOON_REPORTING), NULL, 0, ranges, 2);
	drv_kick(&f->drv, BALLOON_REPORTING);
	assert_int_equal(num_used(f, BALLOON_REPORTING), 1);
	assert_pages(f, FIRST, 512, 0);
	assert_pages(f, FIRST + 512, 88, GUEST);
	assert_pages(f, FIRST + 600, 4, 0);
	assert_pages(f, FIRST + 604, 96, GUEST);
	assert_int_equal(balloon_metrics.free_page_report_freed, freed + 516 * PAGE);
	assert_int_equal(balloon_metrics.free_page_report_count, count + 1);
}

static void a_report_of_more_than_a_turn(void **state)
{
	const struct ring_buf most = { FIRST_GPA, (uint32_t)(FAKE_MEM_SIZE - FIRST_GPA) };
	const struct ring_buf ranges[] = { most, most, { UINT64_MAX - PAGE, 3 * PAGE }, { 0, 0 }, most };
	struct fixture *f = *state;
	uint64_t fails = balloon_metrics.free_page_report_fails;
	struct virtq *q = &f->b->vdev.queues[BALLOON_REPORTING];

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	fill_pages(f, FIRST, most.len / PAGE, GUEST);
	ring_add(ring(f, BALLOON_REPORTING), NULL, 0, ranges, 5);
	virtio_lock(&f->b->vdev);
	assert_int_equal(balloon_report(f->b, q, BALLOON_REPORTING), 0);
	assert_int_equal(f->b->reporting.seg, 4);
	virtio_unlock(&f->b->vdev);
	assert_int_equal(num_used(f, BALLOON_REPORTING), 0);
	fake_run(&f->fp);
	assert_int_equal(num_used(f, BALLOON_REPORTING), 1);
	assert_pages(f, FIRST, most.len / PAGE, 0);
	assert_int_equal(balloon_metrics.free_page_report_fails, fails + 1);
	/* A reset forgets what was half done. */
	ring_add(ring(f, BALLOON_REPORTING), NULL, 0, ranges, 5);
	virtio_lock(&f->b->vdev);
	assert_int_equal(balloon_report(f->b, q, BALLOON_REPORTING), 0);
	virtio_unlock(&f->b->vdev);
	drv_reset(&f->drv);
	assert_int_equal(f->b->reporting.seg, 0);
}

static void only_whole_pages_of_memory_are_given_back(void **state)
{
	const struct ring_buf ranges[] = { { FIRST_GPA + 1, 2 * PAGE },
					   { FIRST_GPA + 4 * PAGE, PAGE - 1 },
					   { FAKE_MEM_SIZE - PAGE, 8 * PAGE },
					   { FAKE_HIGH_GPA - PAGE, 2 * PAGE } };
	struct fixture *f = *state;
	uint64_t fails = balloon_metrics.free_page_report_fails;

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	fill_pages(f, FIRST, 5, GUEST);
	fill_pages(f, (unsigned int)(FAKE_HIGH_GPA / PAGE), 2, GUEST);
	ring_add(ring(f, BALLOON_REPORTING), NULL, 0, ranges, 4);
	drv_kick(&f->drv, BALLOON_REPORTING);
	assert_int_equal(num_used(f, BALLOON_REPORTING), 1);
	assert_pages(f, FIRST, 1, GUEST);
	assert_pages(f, FIRST + 1, 1, 0);
	assert_pages(f, FIRST + 2, 3, GUEST);
	assert_pages(f, (unsigned int)(FAKE_HIGH_GPA / PAGE), 1, 0);
	assert_pages(f, (unsigned int)(FAKE_HIGH_GPA / PAGE) + 1, 1, GUEST);
	assert_int_equal(balloon_metrics.free_page_report_fails, fails + 4);
}

/* Section 5.5.6.5: a command, and pages, as the driver sends them. */
static void guest_says(struct fixture *f, uint32_t cmd)
{
	assert_true(guest_write(&f->fp.mem, PFNS_GPA, &cmd, sizeof(cmd)));
	ring_add(ring(f, BALLOON_HINTING), &(struct ring_buf){ PFNS_GPA, sizeof(cmd) }, 1, NULL, 0);
	drv_kick(&f->drv, BALLOON_HINTING);
	assert_int_equal(num_used(f, BALLOON_HINTING), 1);
}

static void guest_hints(struct fixture *f, unsigned int pfn, unsigned int num)
{
	ring_add(ring(f, BALLOON_HINTING), NULL, 0, &(struct ring_buf){ (gpa_t)pfn * PAGE, num * PAGE }, 1);
	drv_kick(&f->drv, BALLOON_HINTING);
	assert_int_equal(num_used(f, BALLOON_HINTING), 1);
}

static void assert_hinting(struct fixture *f, uint32_t host, int64_t guest)
{
	struct balloon_hinting hinting;

	assert_int_equal(balloon_get_hinting(&f->b->vdev, &hinting, &e), 0);
	assert_int_equal(hinting.host_cmd, host);
	assert_int_equal(config_word(f, 8), host);
	assert_int_equal(hinting.has_guest_cmd, guest >= 0);
	if (guest >= 0)
		assert_int_equal(hinting.guest_cmd, guest);
}

static void hinted_pages_are_zero_when_they_come_again(void **state)
{
	struct fixture *f = *state;
	uint64_t freed = balloon_metrics.free_page_hint_freed;

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	assert_hinting(f, VIRTIO_BALLOON_CMD_ID_STOP, -1);
	fill_pages(f, FIRST, 10, GUEST);
	guest_hints(f, FIRST, 1); /* nobody has asked */
	assert_pages(f, FIRST, 1, GUEST);
	fake_irqs(&f->fp, f->drv.gsi);
	assert_int_equal(balloon_start_hinting(&f->b->vdev, true, &e), 0);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 1);
	assert_hinting(f, 2, -1);
	guest_hints(f, FIRST, 1); /* not in this run */
	assert_pages(f, FIRST, 1, GUEST);
	guest_says(f, 2);
	assert_hinting(f, 2, 2);
	guest_hints(f, FIRST, 4);
	guest_hints(f, FIRST + 5, 1);
	assert_pages(f, FIRST, 4, 0);
	assert_pages(f, FIRST + 4, 1, GUEST);
	assert_pages(f, FIRST + 5, 1, 0);
	assert_int_equal(balloon_metrics.free_page_hint_freed, freed + 5 * PAGE);
	guest_says(f, VIRTIO_BALLOON_CMD_ID_STOP);
	assert_hinting(f, VIRTIO_BALLOON_CMD_ID_DONE, VIRTIO_BALLOON_CMD_ID_STOP);
	assert_true(drv_read(&f->drv, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_INT_CONFIG);
}

/* After DONE the guest has its pages again, and after another id those of the run before. */
static void hints_of_a_run_that_has_ended_are_ignored(void **state)
{
	struct fixture *f = *state;

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	fill_pages(f, FIRST, 10, GUEST);
	assert_int_equal(balloon_start_hinting(&f->b->vdev, false, &e), 0);
	guest_says(f, 2);
	guest_hints(f, FIRST, 1);
	assert_int_equal(balloon_start_hinting(&f->b->vdev, false, &e), 0);
	guest_hints(f, FIRST + 1, 1);		   /* still the old run's */
	guest_says(f, VIRTIO_BALLOON_CMD_ID_STOP); /* its end, not that of the new one */
	assert_hinting(f, 3, VIRTIO_BALLOON_CMD_ID_STOP);
	guest_says(f, 3);
	guest_hints(f, FIRST + 2, 1);
	guest_says(f, VIRTIO_BALLOON_CMD_ID_STOP);
	assert_hinting(f, 3, VIRTIO_BALLOON_CMD_ID_STOP); /* the client has not asked for an end */
	guest_hints(f, FIRST + 3, 1);
	guest_says(f, 3);
	assert_int_equal(balloon_stop_hinting(&f->b->vdev, &e), 0);
	assert_hinting(f, VIRTIO_BALLOON_CMD_ID_DONE, 3);
	guest_hints(f, FIRST + 4, 1);
	assert_pages(f, FIRST, 1, 0);
	assert_pages(f, FIRST + 1, 1, GUEST);
	assert_pages(f, FIRST + 2, 1, 0);
	assert_pages(f, FIRST + 3, 2, GUEST);
	assert_int_equal(balloon_stop_hinting(&f->b->vdev, &e), 0);
	guest_says(f, VIRTIO_BALLOON_CMD_ID_DONE); /* a run cannot be called so */
	guest_hints(f, FIRST + 4, 1);
	assert_pages(f, FIRST + 4, 1, GUEST);
}

static void a_stop_of_an_old_run_does_not_end_the_new_one(void **state)
{
	struct fixture *f = *state;

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	assert_int_equal(balloon_start_hinting(&f->b->vdev, true, &e), 0);
	guest_says(f, 2);
	assert_int_equal(balloon_start_hinting(&f->b->vdev, true, &e), 0);
	guest_says(f, VIRTIO_BALLOON_CMD_ID_STOP);
	assert_hinting(f, 3, VIRTIO_BALLOON_CMD_ID_STOP);
}

/* 0 and 1 are commands: a run is never called so. */
static void ids_of_runs_wrap_past_the_commands(void **state)
{
	struct fixture *f = *state;

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	f->b->hint.last = UINT32_MAX - 1;
	assert_int_equal(balloon_start_hinting(&f->b->vdev, true, &e), 0);
	assert_hinting(f, UINT32_MAX, -1);
	assert_int_equal(balloon_start_hinting(&f->b->vdev, true, &e), 0);
	assert_hinting(f, 2, -1);
}

static void hints_that_make_no_sense(void **state)
{
	struct fixture *f = *state;
	uint64_t fails = balloon_metrics.free_page_hint_fails;

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	assert_int_equal(balloon_start_hinting(&f->b->vdev, true, &e), 0);
	guest_says(f, 2);
	fill_pages(f, FIRST, 2, GUEST);
	ring_add(ring(f, BALLOON_HINTING), &(struct ring_buf){ PFNS_GPA, 5 }, 1, NULL, 0);
	ring_add(ring(f, BALLOON_HINTING), &(struct ring_buf){ UINT64_MAX, 4 }, 1, NULL, 0);
	ring_add(ring(f, BALLOON_HINTING), NULL, 0, &(struct ring_buf){ FAKE_MEM_SIZE, 4 * PAGE }, 1);
	ring_add(ring(f, BALLOON_HINTING), &(struct ring_buf){ PFNS_GPA, 8 }, 1, &(struct ring_buf){ FIRST_GPA, PAGE },
		 1);
	drv_kick(&f->drv, BALLOON_HINTING);
	assert_int_equal(num_used(f, BALLOON_HINTING), 4);
	assert_int_equal(balloon_metrics.free_page_hint_fails, fails + 4);
	assert_pages(f, FIRST, 1, GUEST);
	assert_hinting(f, 2, 2);
	/* A command and pages in one chain do. */
	ring_add(ring(f, BALLOON_HINTING), &(struct ring_buf){ PFNS_GPA, 4 }, 1, &(struct ring_buf){ FIRST_GPA, PAGE },
		 1);
	drv_kick(&f->drv, BALLOON_HINTING);
	assert_pages(f, FIRST, 1, 0);
}

static void hinting_is_refused_where_there_is_none(void **state)
{
	static const struct balloon_config plain = { .amount_mib = 1 };
	struct balloon_hinting hinting;
	struct fixture *f = *state;

	assert_int_equal(balloon_start_hinting(&f->b->vdev, true, &e), -EINVAL);
	assert_string_equal(e.text, "Balloon: Device not activated yet.");
	drv_start(&f->drv, FEATURE(STATS), 3);
	assert_int_equal(balloon_start_hinting(&f->b->vdev, true, &e), -EINVAL);
	assert_int_equal(balloon_stop_hinting(&f->b->vdev, &e), -EINVAL);
	replug(f, &plain);
	drv_start(&f->drv, 0, 2);
	assert_int_equal(balloon_start_hinting(&f->b->vdev, true, &e), -EINVAL);
	assert_string_equal(e.text, "Balloon: Attempting to use hinting when not enabled");
	assert_int_equal(balloon_stop_hinting(&f->b->vdev, &e), -EINVAL);
	assert_int_equal(balloon_get_hinting(&f->b->vdev, &hinting, &e), -EINVAL);
}

struct entry {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed));

static void tell(struct fixture *f, gpa_t gpa, const struct entry *entries, unsigned int num)
{
	struct ring_buf buf = { gpa, num * (uint32_t)sizeof(*entries) };

	assert_true(guest_write(&f->fp.mem, gpa, entries, buf.len));
	ring_add(ring(f, BALLOON_STATS), &buf, 1, NULL, 0);
	drv_kick(&f->drv, BALLOON_STATS);
}

static void assert_statistic(struct fixture *f, unsigned int tag, int64_t value)
{
	struct balloon_statistics s;

	assert_int_equal(balloon_get_statistics(&f->b->vdev, &s, &e), 0);
	assert_int_equal(s.guest[tag].known, value >= 0);
	if (value >= 0)
		assert_int_equal(s.guest[tag].value, value);
}

/* Section 5.5.6.4: the driver gives one buffer, and has it back when it is to tell anew. */
static void statistics(void **state)
{
	const struct entry first[] = { { VIRTIO_BALLOON_S_MEMFREE, 1000 }, { VIRTIO_BALLOON_S_MEMTOT, 2000 } };
	const struct entry second[] = { { VIRTIO_BALLOON_S_MEMFREE, 900 }, { 15, UINT64_MAX } };
	struct balloon_statistics s;
	struct fixture *f = *state;

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	drv_write(&f->drv, VIRTIO_MMIO_CONFIG + 4, 300);
	assert_int_equal(balloon_get_statistics(&f->b->vdev, &s, &e), 0);
	assert_int_equal(s.target_pages, 2 * MIB_PAGES);
	assert_int_equal(s.target_mib, 2);
	assert_int_equal(s.actual_pages, 300);
	assert_int_equal(s.actual_mib, 1);
	for (unsigned int tag = 0; tag < BALLOON_NUM_STATS; tag++)
		assert_statistic(f, tag, -1);
	tell(f, PFNS_GPA, first, 2);
	assert_int_equal(num_used(f, BALLOON_STATS), 0);
	assert_statistic(f, VIRTIO_BALLOON_S_MEMFREE, 1000);
	assert_statistic(f, VIRTIO_BALLOON_S_MEMTOT, 2000);
	fake_run_ms(&f->fp, 1100);
	assert_int_equal(num_used(f, BALLOON_STATS), 1);
	fake_run_ms(&f->fp, 1100); /* the guest is slow: there is nothing to give back */
	assert_int_equal(num_used(f, BALLOON_STATS), 0);
	tell(f, PFNS_GPA, second, 2);
	assert_statistic(f, VIRTIO_BALLOON_S_MEMFREE, 900);
	assert_statistic(f, VIRTIO_BALLOON_S_MEMTOT, 2000); /* what it does not tell is as it was */
	assert_statistic(f, 15, INT64_MAX);		    /* what JSON can say */
	drv_reset(&f->drv);
	assert_statistic(f, VIRTIO_BALLOON_S_MEMFREE, -1);
}

/* Linux does so while it sets its queues up. */
static void a_buffer_that_is_there_before_the_driver_is_ready(void **state)
{
	struct fixture *f = *state;

	assert_true(drv_negotiate(&f->drv, FEATURE(STATS)));
	for (unsigned int q = 0; q < 3; q++)
		assert_true(drv_set_up_queue(&f->drv, q, 256));
	tell(f, PFNS_GPA, &(struct entry){ 0, 7 }, 1);
	assert_statistic(f, 0, -1);
	drv_ready(&f->drv);
	fake_run(&f->fp);
	assert_statistic(f, 0, 7);
}

/* In any order, any number of times: the ranges are right. */
static void pages_in_any_order(void **state)
{
	struct fixture *f = *state;
	uint32_t pfns[1000], seed = 1;
	bool given[2000] = { false };

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	for (unsigned int num = 1; num <= 1000; num = num * 3 + 1) {
		memset(given, 0, sizeof(given));
		fill_pages(f, FIRST, 2000, GUEST);
		for (unsigned int i = 0; i < num; i++) {
			seed = seed * 1103515245 + 12345;
			pfns[i] = FIRST + (seed >> 16) % 2000;
			given[pfns[i] - FIRST] = true;
		}
		inflate(f, pfns, num);
		assert_int_equal(num_used(f, BALLOON_INFLATE), 1);
		for (unsigned int i = 0; i < 2000; i++)
			assert_pages(f, FIRST + i, 1, given[i] ? 0 : GUEST);
	}
}

static void another_interval_asks_at_once(void **state)
{
	const struct entry entry = { VIRTIO_BALLOON_S_MEMFREE, 1000 };
	struct fixture *f = *state;

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	tell(f, PFNS_GPA, &entry, 1);
	assert_int_equal(balloon_set_interval(&f->b->vdev, 1, &e), 0); /* the same: nothing happens */
	fake_run(&f->fp);
	assert_int_equal(num_used(f, BALLOON_STATS), 0);
	assert_int_equal(balloon_set_interval(&f->b->vdev, 65535, &e), 0);
	fake_run(&f->fp);
	assert_int_equal(num_used(f, BALLOON_STATS), 1);
	tell(f, PFNS_GPA, &entry, 1);
	fake_run_ms(&f->fp, 1100);
	assert_int_equal(num_used(f, BALLOON_STATS), 0); /* the old interval is over */
	assert_int_equal(balloon_set_interval(&f->b->vdev, 0, &e), -EINVAL);
	assert_string_equal(e.text, "Balloon: Statistics cannot be enabled/disabled after activation.");
}

static void statistics_are_refused_where_there_are_none(void **state)
{
	static const struct balloon_config plain = { .amount_mib = 1 };
	struct balloon_statistics s;
	struct fixture *f = *state;

	replug(f, &plain);
	drv_start(&f->drv, 0, 2);
	assert_int_equal(balloon_get_statistics(&f->b->vdev, &s, &e), -EINVAL);
	assert_string_equal(e.text, "Balloon: Received stats query when stats are disabled.");
	assert_int_equal(balloon_set_interval(&f->b->vdev, 0, &e), 0);
	assert_int_equal(balloon_set_interval(&f->b->vdev, 1, &e), -EINVAL);
}

static void statistics_that_make_no_sense(void **state)
{
	static struct entry many[257];
	const struct entry unknown[] = { { 16, 1 }, { 0xffff, 2 }, { VIRTIO_BALLOON_S_SWAP_IN, 3 } };
	struct fixture *f = *state;
	uint64_t fails = balloon_metrics.stats_update_fails;

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	tell(f, PFNS_GPA, unknown, 3); /* section 5.5.6.4.2: what is not known is ignored */
	assert_statistic(f, VIRTIO_BALLOON_S_SWAP_IN, 3);
	assert_int_equal(balloon_metrics.stats_update_fails, fails + 2);
	tell(f, PFNS_GPA + PAGE, many, 257);
	assert_int_equal(num_used(f, BALLOON_STATS), 1); /* the driver may have one only */
	assert_int_equal(balloon_metrics.stats_update_fails, fails + 3);
	assert_statistic(f, VIRTIO_BALLOON_S_SWAP_IN, 3);
	ring_add(ring(f, BALLOON_STATS), &(struct ring_buf){ PFNS_GPA, 11 }, 1, NULL, 0);
	ring_add(ring(f, BALLOON_STATS), &(struct ring_buf){ FAKE_MEM_SIZE, 10 }, 1, NULL, 0);
	ring_add(ring(f, BALLOON_STATS), NULL, 0, &(struct ring_buf){ PFNS_GPA, 10 }, 1);
	drv_kick(&f->drv, BALLOON_STATS);
	assert_int_equal(num_used(f, BALLOON_STATS), 3);
	assert_int_equal(balloon_metrics.stats_update_fails, fails + 5);
	assert_int_equal(status(f) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
}

/* Section 2.1.2: a broken ring is found by the timer, too. */
static void a_broken_ring_of_statistics(void **state)
{
	struct fixture *f = *state;

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	tell(f, PFNS_GPA, &(struct entry){ 0, 1 }, 1);
	ring_set_avail_idx(ring(f, BALLOON_STATS), 300);
	fake_run_ms(&f->fp, 1100);
	assert_int_equal(status(f) & VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_CONFIG_S_NEEDS_RESET);
	drv_reset(&f->drv);
	fake_run_ms(&f->fp, 1100); /* the timer finds nothing to do */
	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	tell(f, PFNS_GPA, &(struct entry){ 0, 2 }, 1);
	assert_statistic(f, 0, 2);
}

/* What a machine of the snapshot is: another device in another platform, with the memory as it was. */
static void clone_of(struct fixture *f, struct fixture *clone)
{
	size_t len;
	uint8_t *data;

	drv_pause(&f->drv);
	data = drv_save(&f->drv, &len);
	fake_platform_init(&clone->fp);
	fake_platform_anonymous_mem(&clone->fp);
	guest_copy(&clone->fp.mem, &f->fp.mem);
	plug(clone, &everything);
	drv_pause(&clone->drv);
	assert_int_equal(drv_load(&clone->drv, &f->drv, data, len, &e), 0);
	free(data);
}

/* Is the driver told of a configuration change? */
static bool changes(struct fixture *f)
{
	return drv_read(&f->drv, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_INT_CONFIG;
}

static void a_balloon_that_is_half_inflated_is_restored(void **state)
{
	const struct entry entry = { VIRTIO_BALLOON_S_MEMFREE, 1000 };
	const uint32_t pfns[] = { FIRST, FIRST + 1 };
	struct fixture *f = *state, *clone = calloc(1, sizeof(*clone));

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	fill_pages(f, FIRST, 4, GUEST);
	inflate(f, pfns, 2);
	assert_int_equal(num_used(f, BALLOON_INFLATE), 1);
	drv_write(&f->drv, VIRTIO_MMIO_CONFIG + 4, 2);
	tell(f, PFNS_GPA + PAGE, &entry, 1);
	assert_int_equal(balloon_start_hinting(&f->b->vdev, true, &e), 0);
	guest_says(f, 2);
	drv_write(&f->drv, VIRTIO_MMIO_INTERRUPT_ACK, 3);
	clone_of(f, clone);

	assert_int_equal(config_word(clone, 0), 2 * MIB_PAGES);
	assert_int_equal(config_word(clone, 4), 2);
	assert_statistic(clone, VIRTIO_BALLOON_S_MEMFREE, 1000);
	assert_hinting(clone, VIRTIO_BALLOON_CMD_ID_DONE, 2);
	fake_irqs(&clone->fp, clone->drv.gsi);
	drv_resume(&clone->drv);
	assert_true(fake_irqs(&clone->fp, clone->drv.gsi) > 0);
	assert_int_equal(changes(clone), 1);
	drv_write(&clone->drv, VIRTIO_MMIO_INTERRUPT_ACK, 3);
	guest_hints(clone, FIRST + 2, 1); /* the run is over */
	assert_pages(clone, FIRST, 2, 0);
	assert_pages(clone, FIRST + 2, 2, GUEST);
	fake_run_ms(&clone->fp, 1100); /* the driver's buffer of statistics is there */
	assert_int_equal(num_used(clone, BALLOON_STATS), 1);
	assert_int_equal(balloon_start_hinting(&clone->b->vdev, true, &e), 0);
	assert_hinting(clone, 3, 2); /* not an id that the guest knows */
	drv_write(&clone->drv, VIRTIO_MMIO_INTERRUPT_ACK, 3);
	drv_pause(&clone->drv);
	drv_resume(&clone->drv); /* once: this one was not loaded; but its run has ended */
	assert_hinting(clone, VIRTIO_BALLOON_CMD_ID_DONE, 2);
	assert_int_equal(changes(clone), 1);
	drv_write(&clone->drv, VIRTIO_MMIO_INTERRUPT_ACK, 3);
	drv_pause(&clone->drv);
	drv_resume(&clone->drv);
	assert_int_equal(changes(clone), 0);
	drv_unplug(&clone->drv);
	fake_platform_fini(&clone->fp);
	free(clone);
}

/* What was asked for before the snapshot, and not done, is done after it. */
static void buffers_that_wait_at_a_snapshot_are_used_after_it(void **state)
{
	const uint32_t pfns[] = { FIRST, FIRST + 1 };
	struct fixture *f = *state, *clone = calloc(1, sizeof(*clone));
	struct ring_buf buf;

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	fill_pages(f, FIRST, 2, GUEST);
	buf = list(f, PFNS_GPA, pfns, 2);
	drv_pause(&f->drv);
	ring_add(ring(f, BALLOON_INFLATE), &buf, 1, NULL, 0);
	ring_add(ring(f, BALLOON_DEFLATE), &buf, 1, NULL, 0);
	clone_of(f, clone);
	drv_resume(&clone->drv);
	fake_run(&clone->fp);
	assert_int_equal(num_used(clone, BALLOON_INFLATE), 1);
	assert_int_equal(num_used(clone, BALLOON_DEFLATE), 1);
	assert_pages(clone, FIRST, 2, 0);
	drv_unplug(&clone->drv);
	fake_platform_fini(&clone->fp);
	free(clone);
}

/* Half of a chain was done: all of it is, once more, where it is restored. */
static void a_chain_that_is_half_done_at_a_snapshot(void **state)
{
	struct fixture *f = *state, *clone = calloc(1, sizeof(*clone));
	const unsigned int num = BALLOON_TURN_RANGES + 1;
	uint32_t *pfns = calloc(num, sizeof(*pfns));
	struct ring_buf buf;

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	for (unsigned int i = 0; i < num; i++)
		pfns[i] = FIRST + i % 64;
	buf = list(f, PFNS_GPA, pfns, num);
	ring_add(ring(f, BALLOON_INFLATE), &buf, 1, NULL, 0);
	virtio_lock(&f->b->vdev);
	assert_int_equal(balloon_inflate(f->b, &f->b->vdev.queues[BALLOON_INFLATE], BALLOON_INFLATE), 0);
	virtio_unlock(&f->b->vdev);
	assert_int_equal(f->b->inflate.done, BALLOON_TURN_RANGES);
	clone_of(f, clone);
	assert_int_equal(clone->b->inflate.done, 0);
	drv_resume(&clone->drv);
	fake_run(&clone->fp);
	assert_int_equal(num_used(clone, BALLOON_INFLATE), 1);
	drv_resume(&f->drv); /* the original goes on where it was */
	fake_run(&f->fp);
	assert_int_equal(num_used(f, BALLOON_INFLATE), 1);
	drv_unplug(&clone->drv);
	fake_platform_fini(&clone->fp);
	free(clone);
	free(pfns);
}

static void the_timer_stands_still_while_the_machine_is_paused(void **state)
{
	struct fixture *f = *state;

	drv_start(&f->drv, ALL, BALLOON_NUM_QUEUES);
	tell(f, PFNS_GPA, &(struct entry){ 0, 1 }, 1);
	drv_pause(&f->drv);
	assert_int_equal(balloon_set_interval(&f->b->vdev, 2, &e), 0);
	fake_run_ms(&f->fp, 1100);
	assert_int_equal(num_used(f, BALLOON_STATS), 0);
	drv_resume(&f->drv);
	assert_int_equal(num_used(f, BALLOON_STATS), 1); /* the change of the interval has waited */
}

#define TEST(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
#define CLONE(name) cmocka_unit_test_setup_teardown(name, setup_clone, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pages_in_the_balloon_are_zero_when_they_come_again),
		CLONE(pages_in_the_balloon_are_zero_when_they_come_again),
		CLONE(pages_of_a_clone_have_nothing_of_the_snapshot),
		TEST(a_buffer_is_given_back_after_its_pages),
		TEST(every_buffer_is_used_however_many_there_are),
		CLONE(every_buffer_is_used_however_many_there_are),
		TEST(page_numbers_may_be_anything),
		CLONE(page_numbers_may_be_anything),
		TEST(buffers_that_make_no_sense_are_given_back),
		TEST(the_page_of_the_ring_itself),
		CLONE(the_page_of_the_ring_itself),
		TEST(the_configuration_space),
		TEST(another_size_is_a_configuration_change),
		TEST(features_follow_the_configuration),
		TEST(queues_follow_the_features),
		TEST(queues_that_follow_each_other),
		TEST(queues_that_have_their_numbers),
		TEST(reported_pages_are_zero_when_they_come_again),
		CLONE(reported_pages_are_zero_when_they_come_again),
		TEST(a_report_of_more_than_a_turn),
		TEST(only_whole_pages_of_memory_are_given_back),
		TEST(hinted_pages_are_zero_when_they_come_again),
		CLONE(hinted_pages_are_zero_when_they_come_again),
		TEST(hints_of_a_run_that_has_ended_are_ignored),
		TEST(a_stop_of_an_old_run_does_not_end_the_new_one),
		TEST(ids_of_runs_wrap_past_the_commands),
		TEST(hints_that_make_no_sense),
		TEST(hinting_is_refused_where_there_is_none),
		TEST(statistics),
		TEST(a_buffer_that_is_there_before_the_driver_is_ready),
		TEST(pages_in_any_order),
		CLONE(pages_in_any_order),
		TEST(another_interval_asks_at_once),
		TEST(statistics_are_refused_where_there_are_none),
		TEST(statistics_that_make_no_sense),
		TEST(a_broken_ring_of_statistics),
		TEST(a_balloon_that_is_half_inflated_is_restored),
		TEST(buffers_that_wait_at_a_snapshot_are_used_after_it),
		TEST(a_chain_that_is_half_done_at_a_snapshot),
		TEST(the_timer_stands_still_while_the_machine_is_paused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
