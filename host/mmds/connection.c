// SPDX-License-Identifier: Apache-2.0
/*
 * One answer at a time: while it is being sent, what the guest asks next waits in
 * a buffer of fixed size, and then in the guest, as lwIP does not acknowledge
 * what is refused. All functions that lwIP calls say ERR_ABRT once the
 * connection is aborted.
 */
#include "mmds/connection.h"

#include <stdlib.h>
#include <string.h>

#include <lwip/tcp.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "mmds/http.h"
#include "mmds/metrics.h"
#include "mmds/stack.h"

#define INPUT_MAX	 (8u * 1024)
#define ANSWERS_MAX(max) (8u * (max) + 64 * 1024) /* bytes that wait on all connections, by what the store may have */
#define POLL_INTERVAL	 2			  /* of lwIP's slow ticks: a second */

struct connection {
	struct tcp_pcb *pcb;
	struct mmds_stack *stack; /* borrowed */
	struct mmds_http http;
	uint8_t input[INPUT_MAX];
	size_t input_len, input_at; /* what is before was parsed */
	char *answer;		    /* owned; NULL: none is being sent */
	size_t answer_len, answer_at;
	bool close; /* after the answer */
	bool guest_is_done;
};

static void connection_drop_answer(struct connection *c)
{
	c->stack->answers_len -= c->answer_len;
	free(c->answer);
	c->answer = NULL;
	c->answer_len = c->answer_at = 0;
}

static void connection_free(struct connection *c)
{
	connection_drop_answer(c);
	free(c);
	metric_inc(mmds, connections_destroyed);
}

/* lwIP goes on without us. */
static struct tcp_pcb *connection_detach(struct connection *c)
{
	struct tcp_pcb *pcb = c->pcb;

	tcp_arg(pcb, NULL);
	tcp_recv(pcb, NULL);
	tcp_sent(pcb, NULL);
	tcp_err(pcb, NULL);
	tcp_poll(pcb, NULL, 0);
	connection_free(c);
	return pcb;
}

static err_t connection_abort(struct connection *c)
{
	tcp_abort(connection_detach(c));
	return ERR_ABRT;
}

static err_t connection_close(struct connection *c)
{
	struct tcp_pcb *pcb = connection_detach(c);

	if (tcp_close(pcb) == ERR_OK)
		return ERR_OK;
	tcp_abort(pcb);
	return ERR_ABRT;
}

/* lwIP has freed the connection. */
static void connection_on_error(void *arg, err_t err)
{
	(void)err;
	connection_free(arg);
}

/* As much as lwIP takes. A guest whose segments are tiny has room for few of them: halves are tried. */
static void connection_send(struct connection *c)
{
	while (c->answer_at < c->answer_len) {
		size_t left = c->answer_len - c->answer_at, room = tcp_sndbuf(c->pcb);
		size_t n = left < room ? left : room;
		err_t err = n ? ERR_MEM : ERR_OK;

		if (n > UINT16_MAX)
			n = UINT16_MAX;
		for (; n && err == ERR_MEM; n = err == ERR_MEM ? n / 2 : n)
			err = tcp_write(c->pcb, c->answer + c->answer_at, (u16_t)n, TCP_WRITE_FLAG_COPY);
		if (err != ERR_OK || !n)
			break;
		c->answer_at += n;
	}
	(void)tcp_output(c->pcb);
}

/* A request is whole. False: there is no memory for the answer. */
static bool connection_answer(struct connection *c)
{
	struct mmds_stack *stack = c->stack;
	const struct mmds_request *request = &c->http.request;

	c->answer = mmds_answer(stack->site, request, clock_now_ns(), &c->answer_len);
	if (!c->answer) {
		c->answer_len = 0;
		return false;
	}
	stack->answers_len += c->answer_len;
	c->close = !request->keep_alive;
	return stack->answers_len <= ANSWERS_MAX(stack->site->store->max_len);
}

/* Parses what is there. False: there is no hope for this connection. */
static bool connection_parse(struct connection *c)
{
	size_t used = 0;
	enum mmds_http_result result =
		mmds_http_feed(&c->http, c->input + c->input_at, c->input_len - c->input_at, &used);

	c->input_at += used;
	if (c->input_at == c->input_len)
		c->input_at = c->input_len = 0;
	if (result == MMDS_HTTP_REQUEST && connection_answer(c))
		return true;
	return result == MMDS_HTTP_MORE;
}

/* Whatever can be done now. */
static err_t connection_advance(struct connection *c)
{
	for (;;) {
		if (c->answer) {
			connection_send(c);
			if (c->answer_at < c->answer_len)
				return ERR_OK;
			connection_drop_answer(c);
			if (c->close)
				return connection_close(c);
		} else if (c->input_len) {
			if (!connection_parse(c))
				return connection_abort(c);
		} else {
			return c->guest_is_done ? connection_close(c) : ERR_OK;
		}
	}
}

/* Makes room behind what was not parsed yet. */
static size_t connection_room(struct connection *c)
{
	memmove(c->input, c->input + c->input_at, c->input_len - c->input_at);
	c->input_len -= c->input_at;
	c->input_at = 0;
	return INPUT_MAX - c->input_len;
}

/* p is ours if ERR_OK or ERR_ABRT is returned. NULL: the guest sends no more. */
static err_t connection_on_data(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct connection *c = arg;

	(void)err;
	if (!p) {
		c->guest_is_done = true;
		return connection_advance(c);
	}
	if (p->tot_len > connection_room(c)) {
		if (p->tot_len <= INPUT_MAX)
			return ERR_MEM; /* lwIP gives it again */
		pbuf_free(p);
		return connection_abort(c);
	}
	c->input_len += pbuf_copy_partial(p, c->input + c->input_len, p->tot_len, 0);
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	return connection_advance(c);
}

static err_t connection_on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	(void)pcb;
	(void)len;
	return connection_advance(arg);
}

static err_t connection_on_poll(void *arg, struct tcp_pcb *pcb)
{
	(void)pcb;
	return connection_advance(arg);
}

err_t mmds_connection_accept(void *stack, struct tcp_pcb *pcb, err_t err)
{
	struct connection *c;

	if (err != ERR_OK || !pcb)
		return ERR_VAL;
	c = calloc(1, sizeof(*c));
	if (!c) {
		tcp_abort(pcb);
		return ERR_ABRT;
	}
	c->pcb = pcb;
	c->stack = stack;
	mmds_http_init(&c->http);
	metric_inc(mmds, connections_created);
	tcp_nagle_disable(pcb);
	tcp_arg(pcb, c);
	tcp_recv(pcb, connection_on_data);
	tcp_sent(pcb, connection_on_sent);
	tcp_err(pcb, connection_on_error);
	tcp_poll(pcb, connection_on_poll, POLL_INTERVAL);
	return ERR_OK;
}
