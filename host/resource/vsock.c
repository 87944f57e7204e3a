// SPDX-License-Identifier: Apache-2.0
/* The socket device: the guest's vsock, Unix sockets on the host. */
#include "base/unix_listener.h"
#include "resource/resource.h"
#include "virtio/mmio.h"
#include "virtio/vsock.h"

_Static_assert(CONFIG_SOCKET_PATH_MAX == UNIX_PATH_MAX, "what the kernel takes");

/* Section 5.10.4 of virtio 1.2: 0 to 2 and the last are reserved. */
#define VSOCK_FIRST_CID 3u
#define VSOCK_LAST_CID	0xfffffffeu

/* The socket is made when the machine starts; here it is told whether that could be. */
static int vsock_examine(const void *config, struct err *e)
{
	return unix_listener_check("uds_path", ((const struct vsock_config *)config)->uds_path, e);
}

static int vsock_create(const void *config, const char *name, struct platform *p, struct device **dev, struct err *e)
{
	struct virtio_dev *vdev;
	int r = vsock_new(config, p, &vdev, e);

	return r ? r : virtio_mmio_new(vdev, name, p, dev, e);
}

static const struct field vsock_fields[] = {
	{ "guest_cid", FIELD_U32, FIELD_REQUIRED, FIELD_AT(vsock_config, guest_cid), .min = VSOCK_FIRST_CID,
	  .max = VSOCK_LAST_CID, .help = "The guest's address." },
	{ "uds_path", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(vsock_config, uds_path), .min = 1,
	  .max = CONFIG_SOCKET_PATH_MAX,
	  .help = "The socket for connections to the guest; those of the guest go to <uds_path>_<port>." },
	{ "vsock_id", FIELD_STRING, FIELD_DEPRECATED | FIELD_NOT_WRITTEN, FIELD_AT(vsock_config, vsock_id),
	  .max = CONFIG_PATH_MAX, .help = "Without effect." },
};
static const struct field_table vsock_table = FIELD_TABLE(vsock_config, vsock_fields);

REQUEST_COUNTERS(vsock_put_counters, "put", "vsock");

const struct resource vsock_resource = {
	.path = "vsock",
	.section = "vsock",
	.summary = "The socket device",
	.error = "Vsock config error",
	.flags = RESOURCE_BOOT | RESOURCE_SAVED | RESOURCE_VIRTIO,
	.fields = &vsock_table,
	.offset = offsetof(struct vm_config, vsock),
	.present = offsetof(struct vm_config, vsock.present) + 1,
	.examine = vsock_examine,
	.device = "vsock",
	.create = vsock_create,
	.metrics = &vsock_metrics_section,
	.put = &vsock_put_counters,
};
