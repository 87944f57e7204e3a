// SPDX-License-Identifier: Apache-2.0
/*
 * What Firecracker has and we do not yet. It is refused by name, so that a
 * client learns more than "no such path", and its sections are in GET
 * /vm/config for clients that expect the keys. Single fields that are missing
 * are FIELD_LATER in the table where they belong.
 */
#include "resource/resource.h"

const struct resource_later resources_later[] = {
	{ NULL, false, "drives cannot be unplugged", { "DELETE drives/{id}" } },
	{ "cpu-config", false, "there are no CPU templates", { "PUT cpu-config" } },
	{ "network-interfaces",
	  true,
	  "there is no network device",
	  { "PUT network-interfaces/{id}", "PATCH network-interfaces/{id}", "DELETE network-interfaces/{id}" } },
	{ "vsock", false, "there is no vsock device", { "PUT vsock" } },
	{ "mmds-config", false, "there is no network device", { "PUT mmds/config" } },
	{ "pmem", true, "there is no pmem device", { "PUT pmem/{id}", "PATCH pmem/{id}", "DELETE pmem/{id}" } },
	{ "memory-hotplug",
	  false,
	  "memory cannot be plugged",
	  { "GET hotplug/memory", "PUT hotplug/memory", "PATCH hotplug/memory" } },
	{ 0 },
};
