// SPDX-License-Identifier: Apache-2.0
/* The memory balloon. */
#include "arch/arch.h"
#include "resource/resource.h"
#include "virtio/balloon.h"
#include "virtio/mmio.h"

/* The machine's memory may be configured later: resource/machine.c then looks at the balloon. */
static int balloon_admit(const struct vm_config *all, const void *config, struct err *e)
{
	const struct balloon_config *c = config;

	if (c->amount_mib <= all->machine.mem_size_mib)
		return 0;
	return err_set(e, EINVAL,
		       "field \"amount_mib\": %u is not allowed: the machine has %llu MiB of memory (mem_size_mib)",
		       c->amount_mib, (unsigned long long)all->machine.mem_size_mib);
}

static int balloon_create(const void *config, const char *name, struct platform *p, struct device **dev, struct err *e)
{
	struct virtio_dev *vdev;
	int r = balloon_new(config, p, &vdev, e);

	return r ? r : virtio_mmio_new(vdev, name, p, dev, e);
}

#define AMOUNT .max = ARCH_MAX_MEM_MIB, .help = "Memory that the guest is to give back, in MiB."
#define INTERVAL \
	.max = UINT16_MAX, .help = "Seconds from one look at the guest's statistics to the next; 0: there are none."

static const struct field balloon_fields[] = {
	{ "amount_mib", FIELD_U32, FIELD_REQUIRED, FIELD_AT(balloon_config, amount_mib), AMOUNT },
	{ "deflate_on_oom", FIELD_BOOL, FIELD_REQUIRED, FIELD_AT(balloon_config, deflate_on_oom),
	  .help = "The guest may take memory back when it has no other." },
	{ "stats_polling_interval_s", FIELD_U32, 0, FIELD_AT(balloon_config, stats_polling_interval_s), INTERVAL },
	{ "free_page_hinting", FIELD_BOOL, 0, FIELD_AT(balloon_config, free_page_hinting),
	  .help = "The guest names its free pages when it is asked to." },
	{ "free_page_reporting", FIELD_BOOL, 0, FIELD_AT(balloon_config, free_page_reporting),
	  .help = "The guest reports its free pages by itself." },
};
static const struct field_table balloon_table = FIELD_TABLE(balloon_config, balloon_fields);

static const struct field update_fields[] = {
	{ "amount_mib", FIELD_U32, FIELD_REQUIRED, FIELD_AT(balloon_update, amount_mib), AMOUNT },
};
static const struct field_table update_table = FIELD_TABLE(balloon_update, update_fields);

static int update_device(struct device *dev, const void *patch, struct err *e)
{
	return balloon_set_size(virtio_mmio_vdev(dev), ((const struct balloon_update *)patch)->amount_mib, e);
}

static void update_merge(void *config, void *patch)
{
	((struct balloon_config *)config)->amount_mib = ((const struct balloon_update *)patch)->amount_mib;
}

static const struct field stats_update_fields[] = {
	{ "stats_polling_interval_s", FIELD_U32, FIELD_REQUIRED,
	  FIELD_AT(balloon_stats_update, stats_polling_interval_s), INTERVAL },
};
static const struct field_table stats_update_table = FIELD_TABLE(balloon_stats_update, stats_update_fields);

static int stats_update_device(struct device *dev, const void *patch, struct err *e)
{
	const struct balloon_stats_update *p = patch;

	return balloon_set_interval(virtio_mmio_vdev(dev), p->stats_polling_interval_s, e);
}

static void stats_update_merge(void *config, void *patch)
{
	((struct balloon_config *)config)->stats_polling_interval_s =
		((const struct balloon_stats_update *)patch)->stats_polling_interval_s;
}

static const struct field start_fields[] = {
	{ "acknowledge_on_stop", FIELD_BOOL, 0, FIELD_AT(balloon_hinting_start, acknowledge_on_stop),
	  .help = "The guest has its pages back as soon as it has named all of them." },
};
static const struct balloon_hinting_start start_defaults = { .acknowledge_on_stop = true };
static const struct field_table start_table = {
	.fields = start_fields,
	.num_fields = ARRAY_SIZE(start_fields),
	.size = sizeof(struct balloon_hinting_start),
	.defaults = &start_defaults,
};

static int start_device(struct device *dev, const void *patch, struct err *e)
{
	const struct balloon_hinting_start *p = patch;

	return balloon_start_hinting(virtio_mmio_vdev(dev), p->acknowledge_on_stop, e);
}

static const struct field_table stop_table = { .size = 1 }; /* nothing can be said */

static int stop_device(struct device *dev, const void *patch, struct err *e)
{
	(void)patch;
	return balloon_stop_hinting(virtio_mmio_vdev(dev), e);
}

static const char update_error[] = "Balloon update error";

static const struct resource_patch stop_patch = {
	.path = "balloon/hinting/stop",
	.summary = "Ends a run of free page hinting: the guest has its pages back",
	.fields = &stop_table,
	.running = true,
	.may_be_empty = true,
	.error = update_error,
	.update = stop_device,
};
static const struct resource_patch start_patch = {
	.path = "balloon/hinting/start",
	.summary = "Begins a run of free page hinting: the guest names its free pages, and keeps them until the end",
	.fields = &start_table,
	.running = true,
	.may_be_empty = true,
	.error = update_error,
	.update = start_device,
	.next = &stop_patch,
};
static const struct resource_patch stats_patch = {
	.path = "balloon/statistics",
	.summary = "How often the guest is asked for statistics; cannot be turned on or off",
	.fields = &stats_update_table,
	.running = true,
	.error = update_error,
	.update = stats_update_device,
	.merge = stats_update_merge,
	.next = &start_patch,
};
static const struct resource_patch update_patch = {
	.summary = "How much memory the guest is to give back",
	.fields = &update_table,
	.running = true,
	.error = update_error,
	.update = update_device,
	.merge = update_merge,
	.next = &stats_patch,
};

#define STATISTIC(tag, name, meaning)                        \
	{ #name,                                             \
	  FIELD_U64,                                         \
	  FIELD_IF_GIVEN,                                    \
	  FIELD_AT(balloon_statistics, guest[tag].value),    \
	  FIELD_GIVEN(balloon_statistics, guest[tag].known), \
	  FIELD_ANY_U64,                                     \
	  .help = (meaning) },

static const struct field statistics_fields[] = {
	{ "target_pages", FIELD_U32, FIELD_REQUIRED, FIELD_AT(balloon_statistics, target_pages), .max = UINT32_MAX,
	  .help = "Pages of 4 KiB that the guest is to give back." },
	{ "actual_pages", FIELD_U32, FIELD_REQUIRED, FIELD_AT(balloon_statistics, actual_pages), .max = UINT32_MAX,
	  .help = "Pages of 4 KiB that it says it has given." },
	{ "target_mib", FIELD_U32, FIELD_REQUIRED, FIELD_AT(balloon_statistics, target_mib), .max = UINT32_MAX,
	  .help = "target_pages in MiB." },
	{ "actual_mib", FIELD_U32, FIELD_REQUIRED, FIELD_AT(balloon_statistics, actual_mib), .max = UINT32_MAX,
	  .help = "actual_pages in MiB." },
	BALLOON_STATS(STATISTIC)
};
static const struct field_table statistics_table = FIELD_TABLE(balloon_statistics, statistics_fields);

static int statistics_ask(struct device *dev, void *answer, struct err *e)
{
	return balloon_get_statistics(virtio_mmio_vdev(dev), answer, e);
}

static const struct field hinting_fields[] = {
	{ "host_cmd", FIELD_U32, FIELD_REQUIRED, FIELD_AT(balloon_hinting, host_cmd), .max = UINT32_MAX,
	  .help = "The run that was begun last; 0: none so far, 1: it has ended." },
	{ "guest_cmd", FIELD_U32, 0, FIELD_AT(balloon_hinting, guest_cmd), FIELD_GIVEN(balloon_hinting, has_guest_cmd),
	  .max = UINT32_MAX, .help = "The run that the guest is in; 0: it is through. null: it has said nothing yet." },
};
static const struct field_table hinting_table = FIELD_TABLE(balloon_hinting, hinting_fields);

static int hinting_ask(struct device *dev, void *answer, struct err *e)
{
	return balloon_get_hinting(virtio_mmio_vdev(dev), answer, e);
}

static const struct resource_query balloon_queries[] = {
	{ .path = "balloon/statistics",
	  .summary = "What the guest has told of its memory, last",
	  .error = "Internal VMM error",
	  .reply = &statistics_table,
	  .ask = statistics_ask },
	{ .path = "balloon/hinting/status",
	  .summary = "How far a run of free page hinting is",
	  .error = update_error,
	  .reply = &hinting_table,
	  .ask = hinting_ask },
	{ 0 },
};

const struct resource balloon_resource = {
	.path = "balloon",
	.section = "balloon",
	.summary = "The memory balloon",
	.error = "Balloon config error",
	.flags = RESOURCE_BOOT | RESOURCE_READABLE | RESOURCE_SAVED | RESOURCE_VIRTIO,
	.fields = &balloon_table,
	.offset = offsetof(struct vm_config, balloon),
	.present = offsetof(struct vm_config, balloon.present) + 1,
	.admit = balloon_admit,
	.device = "balloon",
	.create = balloon_create,
	.metrics = &balloon_metrics_section,
	.patch = &update_patch,
	.queries = balloon_queries,
};
