/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest with a network interface, as far as the metadata service sees it: whole
 * frames that a test writes, and TCP connections that know how to behave, and how
 * not to. Checksums that a driver leaves to the device are wrong.
 */
#ifndef TCP_GUEST_H
#define TCP_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fake_platform.h"
#include "virtio/net_backend.h"

#define GUEST_ADDRESS	0xac100002u /* 172.16.0.2 */
#define SERVICE_ADDRESS 0xa9fea9feu /* 169.254.169.254 */
#define GUEST_TCPS	128
#define GUEST_INPUT	(128u * 1024)

#define GUEST_FIN 0x01
#define GUEST_SYN 0x02
#define GUEST_RST 0x04
#define GUEST_ACK 0x10

struct guest_tcp {
	uint16_t port;
	uint32_t seq, ack;
	bool established, reset, finished; /* what the service has done */
	bool mute;			   /* acknowledges nothing */
	unsigned int frames;
	char *input; /* owned; NUL-terminated */
	size_t input_len;
};

struct tcp_guest {
	struct fake_platform *fp;    /* borrowed; its loop is the service's */
	struct net_backend *backend; /* borrowed */
	uint32_t address;
	uint8_t mac[6];
	unsigned int ready;	  /* calls of the backend's */
	unsigned int arp_replies; /* that say where the service is */
	unsigned int strays;	  /* segments of no connection */
	unsigned int lose;	  /* so many frames get lost on their way to the guest */
	struct guest_tcp *tcps[GUEST_TCPS];
};

void guest_init(struct tcp_guest *g, struct fake_platform *fp, struct net_backend *backend);
void guest_fini(struct tcp_guest *g);

/* Sends a frame (without a vnet header), if the service wants it; whether it did. */
bool guest_send_frame(struct tcp_guest *g, const void *frame, size_t len);
size_t guest_make_arp(struct tcp_guest *g, uint32_t target, uint8_t frame[64]);
/* An IPv4 packet with TCP in it: returns the frame's length. */
size_t guest_make_tcp(struct tcp_guest *g, uint16_t port, uint32_t seq, uint32_t ack, uint8_t flags, const void *data,
		      size_t len, uint8_t *frame);

/* Lets the service work and takes what it sends, until there is nothing. */
void guest_run(struct tcp_guest *g);

/* A connection from this port: SYN, and the rest if it is answered. */
struct guest_tcp *guest_connect(struct tcp_guest *g, uint16_t port);
void guest_segment(struct tcp_guest *g, struct guest_tcp *t, uint8_t flags, const void *data, size_t len);
/* Sends data in segments of at most 1460 bytes, and takes the answer. */
void guest_say(struct tcp_guest *g, struct guest_tcp *t, const char *text);

#endif
