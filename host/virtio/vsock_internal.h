/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the socket device share:
 *   vsock.c        the device: features, configuration space, life, snapshot
 *   vsock_queue.c  the three queues: packets out of and into guest memory
 *   vsock_mux.c    which connection a packet is for; the set of connections
 *   vsock_conn.c   one connection as the guest sees it: states, credit, closing
 *   vsock_stream.c its stream on the host: bytes to and from a Unix socket
 *   vsock_host.c   how streams come: the listening socket, CONNECT, connect(2)
 *
 * Everything runs on the device's loop with its lock held, but for the calls
 * of struct virtio_ops that say otherwise, and vsock_host_work(), which lets go
 * of the lock while it connects. So only the device's loop changes the set of
 * connections; others leave a note (cut), and it does what they want.
 */
#ifndef VIRTIO_VSOCK_INTERNAL_H
#define VIRTIO_VSOCK_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <linux/virtio_vsock.h>

#include "base/unix_listener.h"
#include "virtio/queue.h"
#include "virtio/virtio.h"

#define VSOCK_RXQ	 0u
#define VSOCK_TXQ	 1u
#define VSOCK_EVQ	 2u
#define VSOCK_NUM_QUEUES 3u
#define VSOCK_QUEUE_SIZE 256u

#define VSOCK_HOST_CID	   2u
#define VSOCK_HDR_LEN	   sizeof(struct virtio_vsock_hdr)
#define VSOCK_MAX_DATA	   (64u * 1024) /* bytes of a packet */
#define VSOCK_BUF_ALLOC	   (64u * 1024) /* what a guest may send ahead of the host's reader, a connection */
#define VSOCK_MAX_CONNS	   1023u	/* streams of the host, whatever their state */
#define VSOCK_MAX_RSTS	   256u		/* answers to packets of no connection that wait for a buffer */
#define VSOCK_NUM_BUCKETS  256u
#define VSOCK_FIRST_PORT   (1u << 30) /* of the host's side, for connections that it begins */
#define VSOCK_MAX_GREETING 32u	      /* bytes of "CONNECT <port>\n" */

/* Ticks pass while the machine runs, and somebody waits for one. */
#define VSOCK_TICK_NS	    (100ull * 1000 * 1000)
#define VSOCK_CONNECT_TICKS 100u /* how long the guest may take to answer a REQUEST, and a host's server to accept */
#define VSOCK_SHUTDOWN_TICKS \
	20u		     /* how long the guest may take to end what the host has closed, and the other way round */
#define VSOCK_ACK_TICKS 300u /* how long the guest may take over the transport reset: it may be slow, and busy */

enum vsock_state {
	VSOCK_GREETING,	  /* a client of the host has not said which port yet; the guest knows nothing of it */
	VSOCK_CONNECTING, /* the guest has asked; the host is asked */
	VSOCK_REQUESTING, /* the host has asked; the guest is asked */
	VSOCK_OPEN,
	VSOCK_CLOSING,	/* nothing is left but to tell the guest */
	VSOCK_DRAINING, /* the guest is done; what it had sent goes to the host */
};

/* What is to be told to the guest; data comes between the first four and the last two. */
enum vsock_wants {
	VSOCK_WANTS_RST = 1 << 0,
	VSOCK_WANTS_RESPONSE = 1 << 1,
	VSOCK_WANTS_REQUEST = 1 << 2,
	VSOCK_WANTS_CREDIT_REQUEST = 1 << 3,
	VSOCK_WANTS_SHUTDOWN = 1 << 4,
	VSOCK_WANTS_CREDIT_UPDATE = 1 << 5,
};

#define VSOCK_SHUTDOWN_BOTH ((uint32_t)(VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND))

struct vsock;

struct vsock_conn {
	struct vsock *vsock;	     /* borrowed */
	TAILQ_ENTRY(vsock_conn) all; /* by age */
	TAILQ_ENTRY(vsock_conn) ready;
	LIST_ENTRY(vsock_conn) bucket;
	bool is_ready;	/* among those that have something for the guest */
	bool is_hashed; /* the guest knows it by its ports */
	enum vsock_state state;
	uint32_t host_port, guest_port;
	unsigned int ticks; /* left; 0: nothing waits for time */

	int fd;			    /* owned, -1: none (any more) */
	struct loop_source *source; /* owned; edge-triggered */
	bool readable, sendable;    /* as far as is known: no call has said otherwise since the last event */
	bool hung_up;		    /* the host's side is closed, and not only for writing */
	bool eof;		    /* nothing more comes from the host */
	bool sink;		    /* nobody reads on the host: what the guest sends is dropped */
	bool host_told_eof;	    /* the host knows that nothing more comes from the guest */
	bool host_told_deaf;	    /* the host knows that the guest takes nothing more */

	unsigned int wants;
	bool credit_asked;
	uint32_t guest_shut; /* VIRTIO_VSOCK_SHUTDOWN_*, as the guest has said */
	uint32_t host_shut;  /* as the guest has been told, or is about to be */

	/* Credit (section 5.10.6.3): free-running counts of bytes. */
	uint32_t peer_buf_alloc, peer_fwd_cnt; /* the guest's */
	uint32_t sent;			       /* to the guest */
	uint32_t fwd_cnt, told_fwd_cnt;	       /* gone on to the host; as the guest knows */

	/* What the guest has sent and the host's socket does not take: a ring of VSOCK_BUF_ALLOC bytes, there while it is needed. */
	uint8_t *buf; /* owned */
	uint32_t buf_at, buf_len;
};

TAILQ_HEAD(vsock_list, vsock_conn);
LIST_HEAD(vsock_bucket, vsock_conn);

struct vsock_rst {
	uint32_t host_port, guest_port;
};

struct vsock {
	struct virtio_dev vdev; /* must be first */
	uint64_t cid;
	struct unix_listener listener;
	struct loop_source *accept_source;
	bool acceptable;    /* clients may be waiting to be accepted */
	bool accept_failed; /* for lack of descriptors or memory: tried again */
	struct loop_source *timer;
	bool ticking;

	struct vsock_list conns;
	unsigned int num_conns;
	struct vsock_list ready;
	struct vsock_bucket buckets[VSOCK_NUM_BUCKETS];
	bool to_connect;    /* work has connections to make */
	uint32_t last_port; /* that was given to a connection of the host's */

	struct vsock_rst rsts[VSOCK_MAX_RSTS]; /* a ring */
	unsigned int rst_at, num_rsts;
	bool tx_held; /* the transmit queue waits for room in it */

	bool cut;		/* connections that the guest knows are to be closed: others have made them void */
	bool reset_wanted;	/* the guest is to be told so (VIRTIO_VSOCK_EVENT_TRANSPORT_RESET) */
	bool reset_late;	/* there was no buffer for that */
	unsigned int ack_ticks; /* left, until the guest is believed to have done so; 0: nothing is awaited */
	uint32_t told;		/* how often it was told, and has not answered by a new buffer yet */
	uint32_t ack_avail;	/* buffers in the event queue when that was counted */
};

static inline struct vsock *vsock_from_vdev(struct virtio_dev *vdev)
{
	return (struct vsock *)vdev;
}

/* vsock_queue.c: virtio_ops. */
int vsock_notify(struct virtio_dev *vdev, unsigned int q) must_check;
/* Gives the guest what there is for it, as far as it has buffers, within a turn. A broken ring ends in virtio_fail(). */
void vsock_serve(struct vsock *v);

/* vsock_mux.c: the set of connections. */
struct vsock_conn *vsock_find(struct vsock *v, uint32_t host_port, uint32_t guest_port);
/* With no descriptor; NULL: there are too many, or no memory. */
struct vsock_conn *vsock_add(struct vsock *v, enum vsock_state state);
/* From now on the guest can name it. */
void vsock_hash(struct vsock_conn *c, uint32_t host_port, uint32_t guest_port);
void vsock_unhash(struct vsock_conn *c);
/* Closes and frees it. */
void vsock_remove(struct vsock_conn *c);
/* It has something for the guest: it has its turn among others. */
void vsock_make_ready(struct vsock_conn *c);
void vsock_not_ready(struct vsock_conn *c);
/* A packet of the guest's: its header, in the chain that has its data behind that. False: there is no room for an answer, do it again later. */
bool vsock_receive(struct vsock *v, const struct virtio_vsock_hdr *hdr, const struct virtq_chain *chain) must_check;
/* Closes what others have made void; the first call of each turn. */
void vsock_catch_up(struct vsock *v);
/* Time passes, from the next tick on. */
void vsock_tick_on(struct vsock *v);
void vsock_on_tick(void *ctx, uint32_t events);

/* vsock_conn.c: the guest's side of one. */
void vsock_conn_receive(struct vsock_conn *c, const struct virtio_vsock_hdr *hdr, const struct virtq_chain *chain);
/* Has it anything for the guest? */
bool vsock_conn_has_packet(const struct vsock_conn *c);
/*
 * Puts its next packet into the chain, which has room for a header. Returns the bytes of it, or 0 if there is nothing after
 * all; after that it may be gone.
 */
uint32_t vsock_conn_send(struct vsock_conn *c, const struct virtq_chain *chain);
/* The stream has become readable, writable or closed. May be gone after that. */
void vsock_conn_go_on(struct vsock_conn *c);
/* A tick; its time may be up. May be gone after that. */
void vsock_conn_tick(struct vsock_conn *c);
/* Ends it: the host's side at once, and the guest gets an RST. */
void vsock_conn_kill(struct vsock_conn *c);
/* The guest is to be told that bit; it has its turn. */
void vsock_conn_want(struct vsock_conn *c, unsigned int wants);
/* A header as the specification has it; vsock_queue.c. */
void vsock_header(const struct vsock *v, uint32_t host_port, uint32_t guest_port, uint16_t op,
		  struct virtio_vsock_hdr *hdr);

/* vsock_stream.c: the host's side of one. */
/* Takes over fd and watches it. -errno: fd is closed. */
int vsock_stream_open(struct vsock_conn *c, int fd) must_check;
void vsock_stream_close(struct vsock_conn *c);
/* At most len bytes into the chain, from offset on: their number; 0 when there are none (any more: eof). */
uint32_t vsock_stream_read(struct vsock_conn *c, const struct virtq_chain *chain, uint64_t offset, uint32_t len);
/* len bytes of the chain go to the host, or into the buffer. False: the guest has sent more than it may. */
bool vsock_stream_write(struct vsock_conn *c, const struct virtq_chain *chain, uint64_t offset,
			uint32_t len) must_check;
/* What is in the buffer goes to the host, as far as it takes it. */
void vsock_stream_flush(struct vsock_conn *c);
/* What the guest does not do any more is told to the host, when it has all that came before. */
void vsock_stream_pass_shutdown(struct vsock_conn *c);

/* vsock_host.c */
void vsock_on_accept(void *ctx, uint32_t events);
void vsock_host_accept(struct vsock *v);
/* The stream of a client that has not said CONNECT yet is readable. May be gone after that. */
void vsock_host_greet(struct vsock_conn *c);
/* The guest has answered: the client is told. False: it cannot be. */
bool vsock_host_welcome(struct vsock_conn *c) must_check;
/* virtio_ops: connects, without the lock. */
bool vsock_host_work(struct virtio_dev *vdev) must_check;

#endif
