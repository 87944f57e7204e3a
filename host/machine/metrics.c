// SPDX-License-Identifier: Apache-2.0
/* Which sections of the metrics a machine has: a device's is in its description. */
#include "kvm/vcpu.h"
#include "machine/internal.h"
#include "resource/resource.h"
#include "virtio/virtio.h"

METRICS_DEFINE(latencies_us, LATENCIES_US_METRICS, true)

void machine_add_metrics(void)
{
	metrics_add(&latencies_us_metrics_section);
	metrics_add(&vcpu_metrics_section);
	metrics_add(&virtio_metrics_section);
	metrics_add(&interrupts_metrics_section);
	for (size_t i = 0; i < arch_num_board_devices; i++) {
		if (arch_board_devices[i].metrics)
			metrics_add(arch_board_devices[i].metrics);
	}
	for (size_t i = 0; resources[i]; i++) {
		if (resources[i]->metrics)
			metrics_add(resources[i]->metrics);
	}
	for (const struct resource_later *later = resources_later; later->why; later++) {
		if (later->metrics)
			metrics_add(later->metrics);
	}
}
