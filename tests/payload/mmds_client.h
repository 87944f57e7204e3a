/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of ARP, IPv4 and TCP as a guest without an operating system needs to talk to the metadata service, well or badly. A
 * frame is built in place, in the next buffer of the transmit queue, and may be spoilt there before it is sent.
 */
#ifndef PAYLOAD_MMDS_CLIENT_H
#define PAYLOAD_MMDS_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#define MMDS_HEADERS   54u /* Ethernet, IPv4 and TCP without options */
#define MMDS_ARP_LEN   42u
#define MMDS_FRAME_MAX 0xf000u
#define MMDS_SERVICE   0xa9fea9feu /* 169.254.169.254 */
#define MMDS_GUEST     0xac100002u
#define MMDS_HEARD_MAX 512u
#define MMDS_WINDOW    0xffffu

#define TCP_FIN 1u
#define TCP_SYN 2u
#define TCP_RST 4u
#define TCP_PSH 8u
#define TCP_ACK 16u

/* A connection of the guest's. What it hears goes to one place, and counts there while `heard_by` is this one. */
struct mmds_tcp {
	uint16_t port;
	uint16_t window; /* told with each segment */
	uint32_t seq;	 /* of the next byte that is sent: what this side believes */
	uint32_t asked;	 /* the last acknowledgement that came: what the service believes */
	uint32_t ack;	 /* of the next byte that comes */
	uint32_t seen;	 /* segments that came */
	bool accepted;	 /* the SYN was answered */
	bool over;	 /* a RST came */
};

/* Sets the device up with a full receive queue, and forgets all connections. */
bool mmds_begin(void);
/* Where the next frame is to be built. */
volatile uint8_t *mmds_frame(void);
/* Sends len bytes of it, whatever they are, after a header without offloads. False: the device does not give buffers back. */
bool mmds_send(uint32_t len);
/* Takes what has come. */
void mmds_take(void);

/* An ARP request for the service. */
void mmds_build_arp(volatile uint8_t *frame);
/* All headers of a segment of t with len bytes of data, which are not touched; then only what the caller has spoilt is wrong. */
void mmds_build_tcp(volatile uint8_t *frame, const struct mmds_tcp *t, uint32_t seq, uint8_t flags, uint32_t len);
/* The header's checksum, for an IPv4 header that has been spoilt otherwise. */
void mmds_sum_ipv4(volatile uint8_t *frame);
void mmds_put16(volatile uint8_t *at, uint32_t value);
void mmds_put32(volatile uint8_t *at, uint32_t value);

/* A SYN from a port that was never used. t is listened for until mmds_begin(). */
bool mmds_call(struct mmds_tcp *t, uint16_t window);
/* Until it is accepted or refused, or for seconds. */
void mmds_await(struct mmds_tcp *t);
/* Both, and it must be accepted. */
bool mmds_open(struct mmds_tcp *t, uint16_t window);
/* A segment with data at t->seq + offset; data == NULL: len bytes of chance. t->seq stays. */
bool mmds_segment(struct mmds_tcp *t, uint32_t offset, uint8_t flags, const char *data, uint32_t len);
/* Data in segments of at most 1460 bytes, which are believed to be taken. */
bool mmds_say(struct mmds_tcp *t, const char *data, uint32_t len);
/* Resets it, wherever its sequence numbers are by now: what holds a place at the service must not outlive an attack. */
bool mmds_drop(struct mmds_tcp *t);

uint32_t mmds_text_len(const char *text);
/* From now on what comes to t is kept, from its beginning. */
void mmds_listen(const struct mmds_tcp *t);
/* Waits, for some seconds, until that is part of what has come. */
bool mmds_hears(const char *text);

/* The service is there by ARP, takes a connection, and answers a request for /a with "b". */
bool mmds_works(void);

/* Used buffers of the transmit queue since mmds_begin(). */
unsigned int mmds_num_used(void);

#endif
