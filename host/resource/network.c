// SPDX-License-Identifier: Apache-2.0
/* Network interfaces: a list, each over a tap of the host. */
#include "resource/network.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/limiter_fields.h"
#include "config/mac.h"
#include "mmds/mmds.h"
#include "resource/resource.h"
#include "virtio/mmio.h"
#include "virtio/net.h"

#define MAC_MULTICAST 0x01u /* in the first byte */

_Static_assert(CONFIG_TAP_NAME_MAX == NET_TAP_NAME_MAX, "the kernel's limit");

/* As the kernel's dev_valid_name(); a '%' would be a pattern for it to fill in. */
static int network_check_tap(const char *name, struct err *e)
{
	bool ok = strcmp(name, ".") != 0 && strcmp(name, "..") != 0;

	for (const char *p = name; *p; p++)
		ok = ok && !strchr("/:%", *p) && !isspace((unsigned char)*p);
	if (ok)
		return 0;
	return err_set(
		e, EINVAL,
		"field \"host_dev_name\": \"%s\" is not allowed: expected the name of a tap, without '/', ':', '%%' "
		"and white space",
		name);
}

static int network_check_mac(const char *text, struct err *e)
{
	static const uint8_t zero[6];
	uint8_t mac[6];

	if (!mac_parse(text, mac))
		return err_set(
			e, EINVAL,
			"field \"guest_mac\": \"%s\" is not allowed: expected six groups of two hexadecimal digits "
			"with ':' between them: The provided MAC address is invalid.",
			text);
	if (mac[0] & MAC_MULTICAST || !memcmp(mac, zero, sizeof(mac)))
		return err_set(
			e, EINVAL,
			"field \"guest_mac\": \"%s\" is not allowed: expected the address of one interface, not a "
			"multicast address or zero",
			text);
	return 0;
}

static int network_check(const void *config, struct err *e)
{
	const struct network_config *c = config;
	int r = resource_id_check(c->iface_id, e);

	if (!r)
		r = network_check_tap(c->host_dev_name, e);
	if (!r && c->guest_mac)
		r = network_check_mac(c->guest_mac, e);
	return r;
}

/* The tap is held from the start of the machine on; until then somebody else may take it. */
static int network_examine(const void *config, struct err *e)
{
	const struct network_config *c = config;
	struct net_backend *tap;
	int r = net_tap_new(c->host_dev_name, &tap, e);

	if (r)
		return err_wrap(e, r, "network interface \"%s\"", c->iface_id);
	tap->ops->free(tap);
	return 0;
}

static int network_refuse_shared(const struct network_config *c, const struct network_config *other, struct err *e)
{
	if (!strcmp(other->host_dev_name, c->host_dev_name))
		return err_set(e, EINVAL, "tap \"%s\" cannot be that of interface \"%s\": it is that of \"%s\"",
			       c->host_dev_name, c->iface_id, other->iface_id);
	if (c->guest_mac && other->guest_mac && !strcmp(other->guest_mac, c->guest_mac))
		return err_set(
			e, EINVAL,
			"The MAC address is already in use: %s cannot be that of interface \"%s\": it is that of "
			"\"%s\"",
			c->guest_mac, c->iface_id, other->iface_id);
	return 0;
}

static int network_admit(const struct vm_config *all, const void *config, struct err *e)
{
	const struct network_config *c = config;
	int r = 0;

	for (unsigned int i = 0; i < all->num_networks && !r; i++)
		if (strcmp(all->networks[i].iface_id, c->iface_id) != 0)
			r = network_refuse_shared(c, &all->networks[i], e);
	return r;
}

/* The metadata service stands behind those interfaces that its configuration names. */
static int network_add_service(struct device *dev, const char *iface_id, struct mmds *mmds, struct err *e)
{
	struct net_backend *service;
	int r = mmds_new_link(mmds, iface_id, &service, e);

	if (!r && service)
		net_add_service(virtio_mmio_vdev(dev), service);
	return r;
}

static int network_create(const void *config, const char *name, struct platform *p, struct device **dev, struct err *e)
{
	const struct network_config *c = config;
	struct virtio_dev *vdev;
	struct device *made;
	int r = net_new(c, p, &vdev, e);

	if (!r)
		r = virtio_mmio_new(vdev, name, p, &made, e);
	if (r)
		return r;
	r = network_add_service(made, c->iface_id, p->mmds, e);
	if (r)
		made->ops->free(made);
	else
		*dev = made;
	return r;
}

/* One form for an address, in which it is compared and shown. */
static void network_finish(void *obj)
{
	struct network_config *c = obj;

	for (char *p = c->guest_mac; p && *p; p++)
		*p = (char)tolower((unsigned char)*p);
}

#define NETWORK_ID .min = 1, .max = CONFIG_RESOURCE_ID_MAX, .help = "The same as in the path."

static const struct field network_fields[] = {
	{ "iface_id", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(network_config, iface_id), NETWORK_ID },
	{ "host_dev_name", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(network_config, host_dev_name), .min = 1,
	  .max = CONFIG_TAP_NAME_MAX, .help = "The tap on the host." },
	{ "guest_mac", FIELD_STRING, 0, FIELD_AT(network_config, guest_mac), .min = 1, .max = 64,
	  .help = "The guest's MAC address, as 06:00:ac:10:00:02; without one the guest chooses." },
	{ "rx_rate_limiter", FIELD_OBJECT, FIELD_ZERO_NULL, FIELD_AT(network_config, rx_rate_limiter),
	  .sub = &rate_limiter_table, .help = "Limits bytes and frames that the guest receives." },
	{ "tx_rate_limiter", FIELD_OBJECT, FIELD_ZERO_NULL, FIELD_AT(network_config, tx_rate_limiter),
	  .sub = &rate_limiter_table, .help = "Limits bytes and frames that the guest sends." },
	{ "mtu", FIELD_U32, FIELD_ZERO_NULL, FIELD_AT(network_config, mtu), .min = 68, .max = 65535,
	  .help = "The MTU that the guest is told; the tap's own is the host's affair." },
};
static const struct field_table network_table = {
	.fields = network_fields,
	.num_fields = ARRAY_SIZE(network_fields),
	.size = sizeof(struct network_config),
	.finish = network_finish,
};

/* The update's limiters tell which buckets were given, so their fields are those of the update itself. */
#define NETWORK_LIMITER_FIELDS(direction)                                                                     \
	static const struct field direction##_limiter_fields[] = {                                            \
		{ "bandwidth", FIELD_OBJECT, 0, FIELD_AT(network_update, direction##_rate_limiter.bandwidth), \
		  FIELD_GIVEN(network_update, has_##direction##_bandwidth), .sub = &token_bucket_table,       \
		  .help = "Limits bytes." },                                                                  \
		{ "ops", FIELD_OBJECT, 0, FIELD_AT(network_update, direction##_rate_limiter.ops),             \
		  FIELD_GIVEN(network_update, has_##direction##_ops), .sub = &token_bucket_table,             \
		  .help = "Limits frames." },                                                                 \
	};                                                                                                    \
	static const struct field_table direction##_limiter_table = FIELD_SUBTABLE(direction##_limiter_fields)

NETWORK_LIMITER_FIELDS(rx);
NETWORK_LIMITER_FIELDS(tx);

static const struct field network_update_fields[] = {
	{ "iface_id", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(network_update, iface_id), NETWORK_ID },
	{ "rx_rate_limiter", FIELD_OBJECT, 0, 0, .sub = &rx_limiter_table,
	  .help = "A bucket that is given replaces the old one and starts full." },
	{ "tx_rate_limiter", FIELD_OBJECT, 0, 0, .sub = &tx_limiter_table,
	  .help = "A bucket that is given replaces the old one and starts full." },
};
static const struct field_table network_update_table = FIELD_TABLE(network_update, network_update_fields);

static int network_check_update(const void *patch, struct err *e)
{
	return resource_id_check(((const struct network_update *)patch)->iface_id, e);
}

static int network_update_device(struct device *dev, const void *patch, struct err *e)
{
	(void)e;
	net_update(virtio_mmio_vdev(dev), patch);
	return 0;
}

static void network_merge(void *config, void *patch)
{
	struct network_config *c = config;
	const struct network_update *p = patch;

	if (p->has_rx_bandwidth)
		c->rx_rate_limiter.bandwidth = p->rx_rate_limiter.bandwidth;
	if (p->has_rx_ops)
		c->rx_rate_limiter.ops = p->rx_rate_limiter.ops;
	if (p->has_tx_bandwidth)
		c->tx_rate_limiter.bandwidth = p->tx_rate_limiter.bandwidth;
	if (p->has_tx_ops)
		c->tx_rate_limiter.ops = p->tx_rate_limiter.ops;
}

REQUEST_COUNTERS(network_put_counters, "put", "network");
REQUEST_COUNTERS(network_patch_counters, "patch", "network");

static const struct resource_patch network_patch = {
	.fields = &network_update_table,
	.running = true,
	.id = offsetof(struct network_update, iface_id),
	.error = "Unable to update the net device",
	.check = network_check_update,
	.update = network_update_device,
	.merge = network_merge,
	.counters = &network_patch_counters,
};

const struct resource network_resource = {
	.path = "network-interfaces/{id}",
	.section = "network-interfaces",
	.summary = "A network interface",
	.error = "Network config error",
	.flags = RESOURCE_BOOT | RESOURCE_SAVED | RESOURCE_VIRTIO,
	.fields = &network_table,
	.offset = offsetof(struct vm_config, networks),
	.count = offsetof(struct vm_config, num_networks) + 1,
	.max = CONFIG_MAX_NETWORKS,
	.id = offsetof(struct network_config, iface_id),
	.check = network_check,
	.examine = network_examine,
	.admit = network_admit,
	.device = "net.",
	.create = network_create,
	.metrics = &net_metrics_section,
	.patch = &network_patch,
	.put = &network_put_counters,
};

/* An item of network_overrides: strings of its own, until it is copied. */
struct override_item {
	char *iface_id;
	char *host_dev_name;
};

static const struct field override_fields[] = {
	{ "iface_id", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(override_item, iface_id), .min = 1,
	  .max = CONFIG_RESOURCE_ID_MAX, .help = "The interface." },
	{ "host_dev_name", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(override_item, host_dev_name), .min = 1,
	  .max = CONFIG_TAP_NAME_MAX, .help = "Its tap." },
};
const struct field_table network_override_table = FIELD_TABLE(override_item, override_fields);

/* Which of two taps were meant for it nobody could tell. */
static int override_refuse_twice(const struct network_overrides *all, const struct override_item *item, struct err *e)
{
	for (unsigned int i = 0; i < all->num; i++)
		if (!strcmp(all->items[i].iface_id, item->iface_id))
			return err_set(
				e, EINVAL,
				"field \"iface_id\": \"%s\" is not allowed: this interface has its tap in an entry "
				"before",
				item->iface_id);
	return 0;
}

static int override_decode(json_t *value, struct network_overrides *all, struct err *e)
{
	struct network_override *to = &all->items[all->num];
	void *decoded;
	int r = json_fields_new(&network_override_table, value, &decoded, e);
	const struct override_item *item = decoded;

	if (r)
		return r;
	r = network_check_tap(item->host_dev_name, e);
	if (!r)
		r = override_refuse_twice(all, item, e);
	if (!r) {
		snprintf(to->iface_id, sizeof(to->iface_id), "%s", item->iface_id);
		snprintf(to->host_dev_name, sizeof(to->host_dev_name), "%s", item->host_dev_name);
		all->num++;
	}
	json_fields_free(&network_override_table, decoded);
	return r;
}

int network_overrides_decode(json_t *value, void *at, const char *name, struct err *e)
{
	struct network_overrides *all = at;
	json_t *item;
	size_t i;

	if (!json_is_array(value) || json_array_size(value) > CONFIG_MAX_NETWORKS)
		return json_field_refuse(name, value, "an array of at most 8 objects", e);
	all->num = 0;
	json_array_foreach (value, i, item) {
		int r = override_decode(item, all, e);

		if (r)
			return err_wrap(e, r, "%s[%zu]", name, i);
	}
	return 0;
}

static int override_apply(struct vm_config *config, const struct network_override *override, struct err *e)
{
	struct network_config *c = resource_find(&network_resource, config, override->iface_id);

	if (!c)
		return err_set(e, EINVAL,
			       "network_overrides: the snapshot has no interface \"%s\": Unknown Network Device.",
			       override->iface_id);
	return config_replace_string(&c->host_dev_name, override->host_dev_name, e);
}

int network_override(struct vm_config *config, const struct network_overrides *overrides, struct err *e)
{
	int r = 0;

	for (unsigned int i = 0; i < overrides->num && !r; i++)
		r = override_apply(config, &overrides->items[i], e);
	/* Not before all have theirs: two may change places. */
	for (unsigned int i = 0; i < config->num_networks && !r && overrides->num; i++) {
		r = network_admit(config, &config->networks[i], e);
		if (r)
			err_wrap(e, r, "network_overrides");
	}
	return r;
}
