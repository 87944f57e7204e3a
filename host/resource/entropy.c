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
	.metrics = &entropy_metrics_section,
};
