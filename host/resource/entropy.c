// SPDX-License-Identifier: Apache-2.0
/* The entropy device. */
#include "config/limiter_fields.h"
#include "resource/resource.h"
#include "virtio/mmio.h"
#include "virtio/rng.h"

static int entropy_create(const void *config, const char *name, struct platform *p, struct device **dev, struct err *e)
{
	struct virtio_dev *vdev;
	int r = rng_new(config, p, &vdev, e);

	return r ? r : virtio_mmio_new(vdev, name, p, dev, e);
}

static const struct field entropy_fields[] = {
	{ "rate_limiter", FIELD_OBJECT, FIELD_ZERO_NULL, FIELD_AT(entropy_config, rate_limiter),
	  .sub = &rate_limiter_table, .help = "Limits what the guest may draw." },
	{ "leak_reporting", FIELD_BOOL, FIELD_OURS, FIELD_AT(entropy_config, leak_reporting),
	  .help = "Offer leak queues (VIRTIO_RNG_F_LEAK)." },
};

static const struct entropy_config entropy_defaults = { .leak_reporting = true };

static const struct field_table entropy_table = {
	.fields = entropy_fields,
	.num_fields = ARRAY_SIZE(entropy_fields),
	.size = sizeof(struct entropy_config),
	.defaults = &entropy_defaults,
};

static const char *const leak_driver_names[] = {
	[LEAK_DRIVER_NONE] = "None",
	[LEAK_DRIVER_SILENT] = "Silent",
	[LEAK_DRIVER_CONFIRMS] = "Confirms",
	NULL,
};
_Static_assert(sizeof(enum leak_driver) == sizeof(unsigned int), "json_fields.c reads an unsigned int");

static const struct field progress_fields[] = {
	{ "generation", FIELD_U32, FIELD_REQUIRED, FIELD_AT(leak_progress, generation), .max = UINT32_MAX,
	  .help = "Leak events that this machine and its ancestors have had; wraps." },
	{ "handled", FIELD_U32, FIELD_REQUIRED, FIELD_AT(leak_progress, handled), .max = UINT32_MAX,
	  .help = "The last of them after which the guest says that it has reseeded." },
	{ "late", FIELD_BOOL, FIELD_REQUIRED, FIELD_AT(leak_progress, late),
	  .help = "The last event waits for the guest's driver." },
	{ "driver", FIELD_ENUM, FIELD_REQUIRED, FIELD_AT(leak_progress, driver), .names = leak_driver_names,
	  .help = "The guest's driver: none, one that does not say when it has reseeded, or one that does." },
};
static const struct field_table progress_table = FIELD_TABLE(leak_progress, progress_fields);

static int entropy_ask(struct device *dev, void *answer, struct err *e)
{
	if (device_leak_progress(dev, answer))
		return 0;
	return err_set(e, ENODEV, "\"leak_reporting\" is false: the guest is told of no leaks");
}

static const struct resource_query entropy_queries[] = {
	{ .path = "entropy",
	  .summary = "How far the guest is with its leaks",
	  .error = "Entropy error",
	  .reply = &progress_table,
	  .ask = entropy_ask },
	{ 0 },
};

const struct resource entropy_resource = {
	.path = "entropy",
	.section = "entropy",
	.summary = "The entropy device",
	.error = "Entropy config error",
	.flags = RESOURCE_BOOT | RESOURCE_SAVED | RESOURCE_VIRTIO,
	.fields = &entropy_table,
	.offset = offsetof(struct vm_config, entropy),
	.present = offsetof(struct vm_config, entropy.present) + 1,
	.device = "entropy",
	.create = entropy_create,
	.queries = entropy_queries,
	.metrics = &entropy_metrics_section,
};
