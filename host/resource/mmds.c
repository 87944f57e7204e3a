// SPDX-License-Identifier: Apache-2.0
/* The metadata service: where the guest finds it, and how it has to ask. What it serves is the process's (mmds/store.h). */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "mmds/metrics.h"
#include "resource/resource.h"

#define MMDS_DEFAULT_ADDRESS "169.254.169.254"
#define MMDS_FIRST_ADDRESS   0xa9fe0100u /* 169.254.1.0: RFC 3927 keeps what is before and behind for itself */
#define MMDS_LAST_ADDRESS    0xa9fefeffu /* 169.254.254.255 */

static int mmds_check(const void *config, struct err *e)
{
	const struct mmds_config *c = config;
	struct in_addr address;

	if (!c->ipv4_address)
		return err_set(e, ENOMEM, "out of memory");
	if (inet_pton(AF_INET, c->ipv4_address, &address) != 1 || ntohl(address.s_addr) < MMDS_FIRST_ADDRESS ||
	    ntohl(address.s_addr) > MMDS_LAST_ADDRESS)
		return err_set(
			e, EINVAL,
			"field \"ipv4_address\": \"%s\" is not allowed: The MMDS IPv4 address is not link local. "
			"Allowed are 169.254.1.0 to 169.254.254.255",
			c->ipv4_address);
	if (!c->network_interfaces.num)
		return err_set(
			e, EINVAL,
			"field \"network_interfaces\": The list of network interface IDs that allow forwarding MMDS "
			"requests is empty.");
	return 0;
}

static bool mmds_has_interface(const struct vm_config *all, const char *id)
{
	for (unsigned int i = 0; i < all->num_networks; i++) {
		if (!strcmp(all->networks[i].iface_id, id))
			return true;
	}
	return false;
}

static int mmds_admit(const struct vm_config *all, const void *config, struct err *e)
{
	const struct string_list *list = &((const struct mmds_config *)config)->network_interfaces;

	for (unsigned int i = 0; i < list->num; i++) {
		if (!mmds_has_interface(all, list->items[i]))
			return err_set(
				e, EINVAL,
				"The list of network interface IDs provided contains at least one ID that does not "
				"correspond to any existing network interface. \"%.80s\" is none.",
				list->items[i]);
	}
	return 0;
}

static void mmds_finish(void *obj)
{
	struct mmds_config *c = obj;

	if (!c->ipv4_address)
		c->ipv4_address = strdup(MMDS_DEFAULT_ADDRESS);
}

static const char *const mmds_versions[] = { [MMDS_V1] = "V1", [MMDS_V2] = "V2", NULL };

static const struct field mmds_fields[] = {
	{ "version", FIELD_ENUM, 0, FIELD_AT(mmds_config, version), .names = mmds_versions, .old = 1u << MMDS_V1,
	  .help = "V2: the guest needs a token for each request. V1 should not be used any more." },
	{ "network_interfaces", FIELD_STRINGS, FIELD_REQUIRED, FIELD_AT(mmds_config, network_interfaces),
	  .max = CONFIG_MAX_NETWORKS,
	  .help = "Network interfaces of the machine that lead to the service; at least one." },
	{ "ipv4_address", FIELD_STRING, 0, FIELD_AT(mmds_config, ipv4_address), .min = 7, .max = 15,
	  .help = "The service's address, a link-local one; 169.254.169.254 if absent." },
	{ "imds_compat", FIELD_BOOL, 0, FIELD_AT(mmds_config, imds_compat),
	  .help = "Answers are in EC2's text format, whatever the guest accepts." },
};

static const struct mmds_config mmds_defaults = { .version = MMDS_V1 };

static const struct field_table mmds_table = {
	.fields = mmds_fields,
	.num_fields = ARRAY_SIZE(mmds_fields),
	.size = sizeof(struct mmds_config),
	.defaults = &mmds_defaults,
	.finish = mmds_finish,
};

REQUEST_COUNTERS(mmds_config_counters, "put", "mmds");

const struct resource mmds_resource = {
	.path = "mmds/config",
	.section = "mmds-config",
	.summary = "The metadata service",
	.error = "MMDS config error",
	.flags = RESOURCE_BOOT | RESOURCE_SAVED,
	.fields = &mmds_table,
	.offset = offsetof(struct vm_config, mmds),
	.present = offsetof(struct vm_config, mmds.present) + 1,
	.check = mmds_check,
	.admit = mmds_admit,
	.metrics = &mmds_metrics_section,
	.put = &mmds_config_counters,
};
