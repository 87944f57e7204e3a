// SPDX-License-Identifier: Apache-2.0
/*
 * Everything that can be configured, in the order in which a config file is
 * applied. Devices are created in this order, too: it is the order of their
 * addresses.
 */
#include "resource/resource.h"

const struct resource *const resources[] = {
	&logger_resource, &metrics_resource, &machine_resource, &boot_source_resource,
	&drive_resource,  &entropy_resource, &serial_resource,	NULL,
};
