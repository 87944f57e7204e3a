// SPDX-License-Identifier: Apache-2.0
/*
 * lwIP gets frames that are for the service and that are sound: ARP requests, and
 * TCP in whole IPv4 packets from an address that an answer can go to. Everything
 * else that it could do (forward, fragments, ICMP, IPv6, loopback) is out of the
 * guest's reach, and of no use here.
 *
 * It is used by its raw API from one thread: no thread of its own is started, and
 * of its timers only TCP's runs.
 */
#include "mmds/stack.h"

#include <endian.h>
#include <string.h>

#include <lwip/inet_chksum.h>
#include <lwip/init.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/prot/etharp.h>
#include <lwip/prot/ip4.h>
#include <lwip/prot/tcp.h>
#include <netif/ethernet.h>
#include <pthread.h>

#include "mmds/connection.h"
#include "mmds/frame_ring.h"
#include "mmds/metrics.h"

#define MTU		1500
#define HWTYPE_ETHERNET 1 /* RFC 826 */

enum verdict { FRAME_ARP, FRAME_TCP, FRAME_UNUSUAL, FRAME_BAD };

static const struct eth_addr own_mac = { { 0x06, 0x01, 0x23, 0x45, 0x67, 0x01 } };

static struct mmds_peer *peer_find(struct mmds_stack *stack, const ip4_addr_t *ip)
{
	for (size_t i = 0; i < MMDS_PEERS; i++) {
		if (stack->peers[i].link && ip4_addr_cmp(&stack->peers[i].ip, ip))
			return &stack->peers[i];
	}
	return NULL;
}

/* That address is reached by this link now. The one that was used least recently makes room. */
static void peer_learn(struct mmds_stack *stack, const ip4_addr_t *ip, const struct eth_addr *mac,
		       struct mmds_link *link)
{
	struct mmds_peer *peer = peer_find(stack, ip);

	for (size_t i = 0; !peer && i < MMDS_PEERS; i++) {
		if (!stack->peers[i].link)
			peer = &stack->peers[i];
	}
	if (!peer) {
		peer = &stack->peers[0];
		for (size_t i = 1; i < MMDS_PEERS; i++) {
			if (stack->clock - stack->peers[i].used > stack->clock - peer->used)
				peer = &stack->peers[i];
		}
	}
	*peer = (struct mmds_peer){ .ip = *ip, .mac = *mac, .link = link, .used = stack->clock++ };
}

/* netif.output: to the address of a packet. */
static err_t stack_output(struct netif *netif, struct pbuf *p, const ip4_addr_t *ip)
{
	struct mmds_stack *stack = netif->state;
	struct mmds_peer *peer = peer_find(stack, ip);

	if (!peer)
		return ERR_RTE;
	stack->out = peer->link;
	return ethernet_output(netif, p, &own_mac, &peer->mac, ETHTYPE_IP);
}

/* netif.linkoutput */
static err_t stack_linkoutput(struct netif *netif, struct pbuf *p)
{
	struct mmds_stack *stack = netif->state;
	uint8_t frame[MTU + sizeof(struct eth_hdr)];

	if (!stack->out || p->tot_len > sizeof(frame))
		return ERR_IF;
	pbuf_copy_partial(p, frame, p->tot_len, 0);
	if (!stack->transmit(stack->out, frame, p->tot_len)) {
		metric_inc(mmds, tx_errors);
		return ERR_MEM;
	}
	metric_inc(mmds, tx_count);
	metric_inc(mmds, tx_frames);
	metric_add(mmds, tx_bytes, p->tot_len);
	return ERR_OK;
}

static err_t stack_netif_init(struct netif *netif)
{
	netif->name[0] = 'm';
	netif->name[1] = 'd';
	netif->mtu = MTU;
	netif->hwaddr_len = sizeof(own_mac);
	memcpy(netif->hwaddr, &own_mac, sizeof(own_mac));
	netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_LINK_UP;
	netif->output = stack_output;
	netif->linkoutput = stack_linkoutput;
	return ERR_OK;
}

static int stack_listen(struct mmds_stack *stack)
{
	struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_V4);

	if (!pcb)
		return -ENOMEM;
	if (tcp_bind(pcb, netif_ip_addr4(&stack->netif), MMDS_PORT) == ERR_OK)
		stack->listener = tcp_listen(pcb);
	if (!stack->listener) {
		(void)tcp_close(pcb);
		return -ENOMEM;
	}
	tcp_arg(stack->listener, stack);
	tcp_accept(stack->listener, mmds_connection_accept);
	return 0;
}

int mmds_stack_init(struct mmds_stack *stack, uint32_t address, struct mmds_site *site)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const ip4_addr_t own = { address }, mask = { IPADDR_BROADCAST }, none = { IPADDR_ANY };
	int r;

	pthread_once(&once, lwip_init);
	stack->site = site;
	if (!netif_add(&stack->netif, &own, &mask, &none, stack, stack_netif_init, ethernet_input))
		return -ENOMEM;
	netif_set_default(&stack->netif); /* no route leads elsewhere */
	netif_set_up(&stack->netif);
	r = stack_listen(stack);
	if (r)
		mmds_stack_fini(stack);
	return r;
}

void mmds_stack_fini(struct mmds_stack *stack)
{
	if (!stack->netif.state)
		return;
	stack->out = NULL;
	memset(stack->peers, 0, sizeof(stack->peers)); /* nobody is told */
	while (tcp_active_pcbs)
		tcp_abort(tcp_active_pcbs);
	while (tcp_tw_pcbs)
		tcp_abort(tcp_tw_pcbs);
	if (stack->listener)
		(void)tcp_close(stack->listener);
	netif_remove(&stack->netif);
	memset(stack, 0, sizeof(*stack));
}

void mmds_stack_forget(struct mmds_stack *stack, const struct mmds_link *link)
{
	for (size_t i = 0; i < MMDS_PEERS; i++) {
		if (stack->peers[i].link == link)
			stack->peers[i].link = NULL;
	}
	if (stack->out == link)
		stack->out = NULL;
}

static enum verdict judge_arp(const uint8_t *frame, size_t len)
{
	struct etharp_hdr arp;

	if (len < SIZEOF_ETH_HDR + SIZEOF_ETHARP_HDR)
		return FRAME_BAD;
	memcpy(&arp, frame + SIZEOF_ETH_HDR, sizeof(arp));
	if (arp.hwtype != htobe16(HWTYPE_ETHERNET) || arp.proto != htobe16(ETHTYPE_IP) || arp.hwlen != ETH_HWADDR_LEN ||
	    arp.protolen != sizeof(ip4_addr_t))
		return FRAME_BAD;
	return arp.opcode == htobe16(ARP_REQUEST) ? FRAME_ARP : FRAME_UNUSUAL;
}

/* An address that a host may have, and not ours: lwIP would talk to itself, by a thread that is not there. */
static bool is_peer_address(const struct mmds_stack *stack, uint32_t address)
{
	const ip4_addr_t ip = { address };

	return !ip4_addr_isany_val(ip) && !ip4_addr_ismulticast(&ip) && !ip4_addr_isloopback(&ip) &&
	       address != IPADDR_BROADCAST && be32toh(address) < 0xf0000000 &&
	       !ip4_addr_cmp(&ip, netif_ip4_addr(&stack->netif));
}

/* A whole IPv4 packet with a whole TCP header in it. What is behind, Ethernet's padding, does not matter. */
static enum verdict judge_ipv4(const struct mmds_stack *stack, const uint8_t *frame, size_t len)
{
	struct ip_hdr ip;
	size_t total, header;

	if (len < MMDS_FRAME_HEADERS)
		return FRAME_BAD;
	memcpy(&ip, frame + SIZEOF_ETH_HDR, sizeof(ip));
	total = be16toh(ip._len);
	header = IPH_HL_BYTES(&ip);
	if (IPH_V(&ip) != 4 || header < IP_HLEN || total > len - SIZEOF_ETH_HDR || total < header)
		return FRAME_BAD;
	if (ip._proto != IP_PROTO_TCP || be16toh(ip._offset) & (IP_MF | IP_OFFMASK) || total < header + TCP_HLEN ||
	    ip.dest.addr != netif_ip4_addr(&stack->netif)->addr || !is_peer_address(stack, ip.src.addr))
		return FRAME_UNUSUAL;
	return FRAME_TCP;
}

static enum verdict judge(const struct mmds_stack *stack, const uint8_t *frame, size_t len)
{
	struct eth_hdr eth;

	if (len < sizeof(eth))
		return FRAME_BAD;
	memcpy(&eth, frame, sizeof(eth));
	if (eth.src.addr[0] & 1)
		return FRAME_BAD;
	if (eth.type == htobe16(ETHTYPE_ARP))
		return judge_arp(frame, len);
	return eth.type == htobe16(ETHTYPE_IP) ? judge_ipv4(stack, frame, len) : FRAME_BAD;
}

/* Closed connections that are still remembered: the oldest, which is the last of the list, goes. */
static void forget_closed(void)
{
	struct tcp_pcb *last = NULL;
	unsigned int num = 0;

	for (struct tcp_pcb *pcb = tcp_tw_pcbs; pcb; pcb = pcb->next, num++)
		last = pcb;
	if (num >= MMDS_MAX_REMEMBERED)
		tcp_abort(last);
}

/* Is there room for a connection more, or can room be made? */
static bool make_room(void)
{
	struct tcp_pcb *idle = NULL;
	unsigned int num = 0;

	forget_closed();
	for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next, num++) {
		if (!idle || tcp_ticks - pcb->tmr > tcp_ticks - idle->tmr)
			idle = pcb;
	}
	if (num < MMDS_MAX_CONNECTIONS)
		return true;
	if ((tcp_ticks - idle->tmr) * TCP_SLOW_INTERVAL < MMDS_IDLE_S * 1000)
		return false;
	tcp_abort(idle);
	return true;
}

/* p begins with the TCP header. False: it was answered, or is to be forgotten. */
static bool admit_segment(struct pbuf *p, const ip_addr_t *from, const ip_addr_t *to)
{
	struct tcp_hdr tcp;
	uint16_t checksum;

	/* The guest's driver leaves it to the device; between us and the guest's memory nothing gets lost. */
	memset((uint8_t *)p->payload + offsetof(struct tcp_hdr, chksum), 0, sizeof(checksum));
	checksum = ip_chksum_pseudo(p, IP_PROTO_TCP, p->tot_len, from, to);
	memcpy((uint8_t *)p->payload + offsetof(struct tcp_hdr, chksum), &checksum, sizeof(checksum));
	memcpy(&tcp, p->payload, sizeof(tcp));
	if ((TCPH_FLAGS(&tcp) & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN || make_room())
		return true;
	tcp_rst(NULL, 0, be32toh(tcp.seqno) + 1, to, from, be16toh(tcp.dest), be16toh(tcp.src));
	return false;
}

/* A segment that comes too early is not kept: it would be one of thousands. The guest sends it again. */
static void drop_early_segments(void)
{
	for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next)
		tcp_free_ooseq(pcb);
}

static void input_tcp(struct mmds_stack *stack, struct mmds_link *link, struct pbuf *p)
{
	size_t header;
	struct eth_hdr eth;
	struct ip_hdr ip;
	ip_addr_t from = IPADDR4_INIT(0), to = IPADDR4_INIT(0);

	memcpy(&eth, p->payload, sizeof(eth));
	memcpy(&ip, (uint8_t *)p->payload + SIZEOF_ETH_HDR, sizeof(ip));
	header = SIZEOF_ETH_HDR + IPH_HL_BYTES(&ip);
	ip_2_ip4(&from)->addr = ip.src.addr;
	ip_2_ip4(&to)->addr = ip.dest.addr;
	peer_learn(stack, ip_2_ip4(&from), &eth.src, link);
	pbuf_realloc(p, (u16_t)(SIZEOF_ETH_HDR + be16toh(ip._len)));
	if (pbuf_remove_header(p, header) || !admit_segment(p, &from, &to) || pbuf_add_header(p, header)) {
		pbuf_free(p);
		return;
	}
	if (stack->netif.input(p, &stack->netif) != ERR_OK)
		pbuf_free(p);
	drop_early_segments();
	metric_inc(mmds, rx_count);
}

void mmds_stack_input(struct mmds_stack *stack, struct mmds_link *link, const uint8_t *frame, size_t len)
{
	enum verdict verdict = judge(stack, frame, len);
	struct pbuf *p;

	if (verdict == FRAME_BAD)
		metric_inc(mmds, rx_bad_eth);
	if (verdict == FRAME_UNUSUAL)
		metric_inc(mmds, rx_accepted_unusual);
	if (verdict != FRAME_ARP && verdict != FRAME_TCP)
		return;
	p = len <= FRAME_MAX ? pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM) : NULL;
	if (!p) {
		metric_inc(mmds, rx_accepted_err);
		return;
	}
	pbuf_take(p, frame, (u16_t)len);
	stack->out = link;
	if (verdict == FRAME_TCP)
		input_tcp(stack, link, p);
	else if (stack->netif.input(p, &stack->netif) != ERR_OK)
		pbuf_free(p);
}

bool mmds_stack_is_busy(void)
{
	return tcp_active_pcbs || tcp_tw_pcbs;
}

void mmds_stack_tick(void)
{
	tcp_tmr();
}

void mmds_stack_retry(void)
{
	for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next)
		(void)tcp_output(pcb);
}
