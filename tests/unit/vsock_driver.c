// SPDX-License-Identifier: Apache-2.0
#include "vsock_driver.h"

#include <assert.h>
#include <string.h>

#include "guest_ram.h"

void vg_start(struct vsock_guest *g, uint64_t features)
{
	drv_start(&g->drv, features, 3);
	g->rx_slot = g->tx_slot = 0;
	g->fwd_cnt = 0;
	g->buf_alloc = VSOCK_PEER_BUFFER;
	for (unsigned int i = 0; i < 8; i++)
		vg_give_event(g);
}

void vg_give(struct vsock_guest *g, unsigned int num)
{
	for (unsigned int i = 0; i < num; i++) {
		struct ring_buf buf = { VSOCK_RX_GPA + g->rx_slot++ % VSOCK_RX_NUM * VSOCK_RX_LEN, VSOCK_RX_LEN };

		ring_add(&g->drv.rings[VSOCK_RX], NULL, 0, &buf, 1);
	}
	drv_kick(&g->drv, VSOCK_RX);
}

void vg_give_event(struct vsock_guest *g)
{
	struct ring_buf buf = { VSOCK_EV_GPA + 64u * g->drv.rings[VSOCK_EV].next_desc,
				sizeof(struct virtio_vsock_event) };

	ring_add(&g->drv.rings[VSOCK_EV], NULL, 0, &buf, 1);
	drv_kick(&g->drv, VSOCK_EV);
}

bool vg_get(struct vsock_guest *g, struct vsock_packet *p)
{
	struct ring_driver *ring = &g->drv.rings[VSOCK_RX];
	struct ring_used used;
	struct vring_desc desc;
	bool ok;

	if (!ring_get_used(ring, &used) || used.len < sizeof(p->hdr))
		return false;
	ok = mem_read(ring->mem, ring->desc + used.id * sizeof(desc), &desc, sizeof(desc));
	p->len = used.len - (uint32_t)sizeof(p->hdr);
	ok = ok && p->len <= sizeof(p->data) && mem_read(ring->mem, desc.addr, &p->hdr, sizeof(p->hdr)) &&
	     (!p->len || mem_read(ring->mem, desc.addr + sizeof(p->hdr), p->data, p->len));
	assert(ok && p->hdr.len == p->len);
	(void)ok;
	ring_add(ring, NULL, 0, &(struct ring_buf){ desc.addr, desc.len }, 1);
	drv_kick(&g->drv, VSOCK_RX);
	return true;
}

int vg_get_event(struct vsock_guest *g)
{
	struct ring_driver *ring = &g->drv.rings[VSOCK_EV];
	struct ring_used used;
	struct vring_desc desc;
	uint32_t id;
	bool ok;

	if (!ring_get_used(ring, &used))
		return -1;
	ok = used.len == sizeof(id) && mem_read(ring->mem, ring->desc + used.id * sizeof(desc), &desc, sizeof(desc)) &&
	     mem_read(ring->mem, desc.addr, &id, sizeof(id));
	assert(ok);
	(void)ok;
	return (int)id;
}

void vg_send_raw(struct vsock_guest *g, const struct virtio_vsock_hdr *hdr, const void *data, uint32_t len)
{
	gpa_t gpa = VSOCK_TX_GPA + g->tx_slot++ % 16 * 0x20000u;
	struct ring_buf buf[] = { { gpa, sizeof(*hdr) }, { gpa + 0x1000, len } };
	struct ring_used used;
	bool ok = guest_write(g->drv.rings[VSOCK_TX].mem, gpa, hdr, sizeof(*hdr)) &&
		  (!len || guest_write(g->drv.rings[VSOCK_TX].mem, gpa + 0x1000, data, len));

	assert(ok);
	(void)ok;
	ring_add(&g->drv.rings[VSOCK_TX], buf, len ? 2 : 1, NULL, 0);
	drv_kick(&g->drv, VSOCK_TX);
	while (ring_get_used(&g->drv.rings[VSOCK_TX], &used))
		assert(used.len == 0);
}

void vg_send(struct vsock_guest *g, uint16_t op, uint32_t host_port, uint32_t guest_port, uint32_t flags,
	     const void *data, uint32_t len)
{
	const struct virtio_vsock_hdr hdr = {
		.src_cid = GUEST_CID,
		.dst_cid = 2,
		.src_port = guest_port,
		.dst_port = host_port,
		.len = len,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.flags = flags,
		.buf_alloc = g->buf_alloc,
		.fwd_cnt = g->fwd_cnt,
	};

	vg_send_raw(g, &hdr, data, len);
}
