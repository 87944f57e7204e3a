// SPDX-License-Identifier: Apache-2.0
/*
 * Links and the loop. A link is where threads meet: its rings have a lock each,
 * everything else of it belongs to the loop, but for a flag that says that
 * frames did not fit.
 */
#include "mmds/mmds.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "mmds/frame_ring.h"
#include "mmds/stack.h"

METRICS_DEFINE(mmds, MMDS_METRICS, false)

#define BATCH 64 /* frames a turn of the loop */

struct mmds_link {
	struct net_backend backend; /* must come first */
	struct mmds *mmds;	    /* borrowed */
	struct mmds_link *next;
	struct frame_ring from_guest, to_guest;
	atomic_bool is_short; /* to_guest was full: tell the loop when it is not any more */
	bool to_tell;	      /* the interface, at the end of the turn */
};

struct mmds {
	char names[CONFIG_LIST_MAX][CONFIG_RESOURCE_ID_MAX + 1]; /* of the interfaces that lead here */
	struct loop *loop;					 /* borrowed */
	uint32_t address;					 /* network order; set once */
	struct mmds_site site;
	struct mmds_stack stack;
	struct mmds_link *links; /* owned by the interfaces */
	int wake_fd;		 /* an eventfd: links have something for the loop */
	struct loop_source *wake;
	struct loop_source *timer;
	bool ticks;
	bool in_turn; /* links are told at its end */
	uint8_t frame[FRAME_MAX];
};

/* Edge-triggered, like doorbells (virtio/mmio.c): each write is an event, and the count is never read. */
static void mmds_wake(struct mmds *mmds)
{
	(void)eventfd_write(mmds->wake_fd, 1);
}

/* Of an ARP frame the address that it asks for, of an IPv4 packet its destination; behind the vnet header. */
#define AT_TYPE	      (NET_HDR_LEN + 12)
#define AT_ARP_TARGET (NET_HDR_LEN + 38)
#define AT_IPV4_TO    (NET_HDR_LEN + 30)

_Static_assert(NET_FRAME_PEEK >= AT_ARP_TARGET + sizeof(uint32_t), "as much as is looked at");

static bool link_wants(struct net_backend *backend, const uint8_t *frame, size_t len)
{
	const struct mmds_link *link = (const struct mmds_link *)backend;
	size_t at;

	if (len < AT_IPV4_TO + sizeof(uint32_t) || frame[AT_TYPE] != 0x08)
		return false;
	if (frame[AT_TYPE + 1] != 0x00 && frame[AT_TYPE + 1] != 0x06)
		return false;
	at = frame[AT_TYPE + 1] ? AT_ARP_TARGET : AT_IPV4_TO;
	return len >= at + sizeof(uint32_t) && !memcmp(frame + at, &link->mmds->address, sizeof(uint32_t));
}

static ssize_t link_send(struct net_backend *backend, const struct iovec *iov, int num)
{
	struct mmds_link *link = (struct mmds_link *)backend;
	bool was_empty;
	ssize_t len = 0;

	for (int i = 0; i < num; i++)
		len += (ssize_t)iov[i].iov_len;
	metric_inc(mmds, rx_accepted);
	if (!frame_ring_push(&link->from_guest, iov, num, NET_HDR_LEN, &was_empty)) {
		metric_inc(mmds, rx_accepted_err);
		net_backend_ready(backend); /* nobody else will say anything about this one */
		return len;		    /* lost, as on any network */
	}
	if (was_empty)
		mmds_wake(link->mmds);
	return len;
}

static size_t iov_put(const struct iovec *iov, int num, const uint8_t *src, size_t len)
{
	size_t done = 0;

	for (int i = 0; i < num && done < len; i++) {
		size_t n = iov[i].iov_len < len - done ? iov[i].iov_len : len - done;

		memcpy(iov[i].iov_base, src + done, n);
		done += n;
	}
	return done;
}

static ssize_t link_receive(struct net_backend *backend, const struct iovec *iov, int num)
{
	struct mmds_link *link = (struct mmds_link *)backend;
	uint8_t frame[NET_HDR_LEN + FRAME_MAX];
	size_t len = frame_ring_pop(&link->to_guest, frame + NET_HDR_LEN);

	if (!len)
		return -EAGAIN;
	memset(frame, 0, NET_HDR_LEN); /* no offloads */
	if (atomic_exchange(&link->is_short, false))
		mmds_wake(link->mmds);
	return (ssize_t)iov_put(iov, num, frame, NET_HDR_LEN + len);
}

static void link_free(struct net_backend *backend)
{
	struct mmds_link *link = (struct mmds_link *)backend;
	struct mmds_link **at = &link->mmds->links;

	while (*at && *at != link)
		at = &(*at)->next;
	if (*at)
		*at = link->next;
	mmds_stack_forget(&link->mmds->stack, link);
	frame_ring_fini(&link->from_guest);
	frame_ring_fini(&link->to_guest);
	free(link);
}

static const struct net_backend_ops link_ops = {
	.wants = link_wants,
	.send = link_send,
	.receive = link_receive,
	.free = link_free,
};

/* mmds_stack.transmit */
static bool link_transmit(struct mmds_link *link, uint8_t *frame, size_t len)
{
	const struct iovec iov = { frame, len };
	bool was_empty;

	if (!frame_ring_push(&link->to_guest, &iov, 1, 0, &was_empty)) {
		atomic_store(&link->is_short, true);
		return false;
	}
	if (link->mmds->in_turn)
		link->to_tell = true;
	else if (was_empty)
		net_backend_ready(&link->backend);
	return true;
}

static bool is_named(const struct mmds *mmds, const char *iface_id)
{
	for (size_t i = 0; i < CONFIG_LIST_MAX; i++) {
		if (mmds->names[i][0] && !strcmp(mmds->names[i], iface_id))
			return true;
	}
	return false;
}

int mmds_new_link(struct mmds *mmds, const char *iface_id, struct net_backend **out, struct err *e)
{
	struct mmds_link *link;

	if (!mmds || !is_named(mmds, iface_id)) {
		*out = NULL;
		return 0;
	}
	link = calloc(1, sizeof(*link));
	if (!link)
		return err_set(e, ENOMEM, "metadata service: out of memory");
	link->backend = (struct net_backend){ .ops = &link_ops, .fd = -1 };
	link->mmds = mmds;
	if (frame_ring_init(&link->from_guest) || frame_ring_init(&link->to_guest)) {
		link_free(&link->backend);
		return err_set(e, ENOMEM, "metadata service: out of memory");
	}
	link->next = mmds->links;
	mmds->links = link;
	*out = &link->backend;
	return 0;
}

/* TCP's timers run while there is a connection. */
static void mmds_mind_timer(struct mmds *mmds)
{
	bool ticks = mmds_stack_is_busy();

	if (ticks != mmds->ticks)
		loop_set_timer(mmds->timer, ticks ? MMDS_TICK_NS : 0, ticks ? MMDS_TICK_NS : 0);
	mmds->ticks = ticks;
}

static void mmds_on_tick(void *ctx, uint32_t events)
{
	(void)events;
	mmds_stack_tick();
	mmds_mind_timer(ctx);
}

/* A link has its turn once, whatever of its frames has an answer: its interface waits for a word about each (net_backend.h). */
static void mmds_tell_links(struct mmds *mmds)
{
	for (struct mmds_link *link = mmds->links; link; link = link->next) {
		if (link->to_tell)
			net_backend_ready(&link->backend);
		link->to_tell = false;
	}
}

static void mmds_on_wake(void *ctx, uint32_t events)
{
	struct mmds *mmds = ctx;
	unsigned int budget = BATCH;

	(void)events;
	mmds->in_turn = true;
	for (struct mmds_link *link = mmds->links; link; link = link->next) {
		size_t len = 1;

		for (; budget && len; budget--) {
			len = frame_ring_pop(&link->from_guest, mmds->frame);
			if (!len)
				continue;
			link->to_tell = true;
			mmds_stack_input(&mmds->stack, link, mmds->frame, len);
		}
	}
	mmds_stack_retry();
	mmds->in_turn = false;
	mmds_tell_links(mmds);
	if (!budget)
		mmds_wake(mmds); /* there may be more, and others have their turn */
	mmds_mind_timer(mmds);
}

static int mmds_init(struct mmds *mmds, const struct mmds_config *config, struct err *e)
{
	int r;

	if (inet_pton(AF_INET, config->ipv4_address, &mmds->address) != 1)
		return err_set(e, EINVAL, "metadata service: \"%s\" is no IPv4 address", config->ipv4_address);
	mmds->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (mmds->wake_fd < 0)
		return err_errno(e, errno, "metadata service: cannot create an eventfd");
	mmds->wake = loop_add(mmds->loop, mmds->wake_fd, EPOLLIN | EPOLLET, mmds_on_wake, mmds);
	mmds->timer = loop_add_timer(mmds->loop, mmds_on_tick, mmds);
	if (!mmds->wake || !mmds->timer)
		return err_errno(e, errno, "metadata service: cannot be watched");
	r = mmds_tokens_init(&mmds->site.tokens);
	if (!r)
		r = mmds_stack_init(&mmds->stack, mmds->address, &mmds->site);
	return r ? err_errno(e, -r, "metadata service: cannot be created") : 0;
}

int mmds_new(const struct mmds_config *config, const struct mmds_store *store, struct loop *loop, struct mmds **out,
	     struct err *e)
{
	struct mmds *mmds = calloc(1, sizeof(*mmds));
	int r;

	if (!mmds)
		return err_set(e, ENOMEM, "metadata service: out of memory");
	for (unsigned int i = 0; i < config->network_interfaces.num; i++)
		snprintf(mmds->names[i], sizeof(mmds->names[i]), "%s", config->network_interfaces.items[i]);
	mmds->loop = loop;
	mmds->wake_fd = -1;
	mmds->site.store = store;
	mmds->site.version = config->version;
	mmds->site.imds_compat = config->imds_compat;
	mmds->stack.transmit = link_transmit;
	r = mmds_init(mmds, config, e);
	if (r)
		mmds_free(mmds);
	else
		*out = mmds;
	return r;
}

void mmds_free(struct mmds *mmds)
{
	if (!mmds)
		return;
	mmds_stack_fini(&mmds->stack);
	mmds_tokens_fini(&mmds->site.tokens);
	loop_remove(mmds->timer);
	loop_remove(mmds->wake);
	cleanup_close(&mmds->wake_fd);
	free(mmds);
}
