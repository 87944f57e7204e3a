/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TCP/IP stack that the guest talks to: lwIP, with one interface that has the
 * service's address, one listening socket, and nobody else's traffic. The guest's
 * interfaces are ways to it: a frame's answer goes where frames of its address
 * came from last, to the MAC address that they came from.
 *
 * lwIP's state is the process's: one stack at a time. Loop thread only.
 *
 * What a hostile guest can make it hold is bounded: connections, those that are
 * closed and still remembered, what waits to be sent on each, what was received
 * and not read. lwIP, as Debian builds it, takes all of its memory from malloc(3)
 * and bounds nothing of it itself.
 */
#ifndef MMDS_STACK_H
#define MMDS_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lwip/netif.h>
#include <lwip/prot/ethernet.h>
#include <lwip/tcp.h>

#include "base/err.h"
#include "mmds/answer.h"

#define MMDS_PORT	     80
#define MMDS_MAX_CONNECTIONS 30 /* of all interfaces together */
#define MMDS_MAX_REMEMBERED  64 /* closed ones in TIME-WAIT */
#define MMDS_IDLE_S	     15 /* when there are too many, one that was idle for so long makes room */
#define MMDS_PEERS	     32
#define MMDS_TICK_NS	     (250ull * 1000 * 1000)
#define MMDS_FRAME_HEADERS   54 /* Ethernet, IPv4 and TCP without options */

struct mmds_link;

/* How to reach an address of the guest's. */
struct mmds_peer {
	ip4_addr_t ip;
	struct eth_addr mac;
	struct mmds_link *link; /* borrowed; NULL: the place is free */
	uint32_t used;		/* when, by the stack's clock */
};

struct mmds_stack {
	struct netif netif;
	struct tcp_pcb *listener;
	struct mmds_site *site; /* borrowed */
	/* Sends a frame; false: there is no room, it is lost unless it is sent again. */
	bool (*transmit)(struct mmds_link *link, uint8_t *frame, size_t len);
	struct mmds_link *out; /* where the next frame goes */
	struct mmds_peer peers[MMDS_PEERS];
	uint32_t clock;
	size_t answers_len; /* bytes of answers that wait to be sent, of all connections */
};

/* address in network order. -errno. */
int mmds_stack_init(struct mmds_stack *stack, uint32_t address, struct mmds_site *site) must_check;
void mmds_stack_fini(struct mmds_stack *stack); /* resets all connections */

/* A frame of the guest's that came by way of link. */
void mmds_stack_input(struct mmds_stack *stack, struct mmds_link *link, const uint8_t *frame, size_t len);
/* The link goes away. */
void mmds_stack_forget(struct mmds_stack *stack, const struct mmds_link *link);

/* Is there anything that wants a tick each MMDS_TICK_NS? */
bool mmds_stack_is_busy(void);
void mmds_stack_tick(void);
/* There is room again for frames that could not be transmitted. */
void mmds_stack_retry(void);

#endif
