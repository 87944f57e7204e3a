// SPDX-License-Identifier: Apache-2.0
/* Which sections of the metrics there are below main.c: what is counted of requests is told by the endpoints. */
#include "machine/machine.h"
#include "vmm/endpoint.h"
#include "vmm/vmm.h"

METRICS_DEFINE(vmm, VMM_METRICS, true)

void vmm_add_metrics(void)
{
	struct endpoint ep;

	for (unsigned int i = 0; endpoint_at(i, &ep); i++) {
		if (ep.counters)
			metrics_add(&ep.counters->section);
	}
	metrics_add(&vmm_metrics_section);
	machine_add_metrics();
}
