// SPDX-License-Identifier: Apache-2.0
/*
 * libmicrohttpd without threads of its own: its epoll descriptor is one source
 * in our loop, and a hook before each wait gives it the turns that it asks for
 * by MHD_get_timeout(). Requests are carried out one after the other on the
 * loop thread, between two rounds of the devices' callbacks. One that waits for
 * files goes on beside the loop; its connection is suspended until then, and so
 * are those whose requests would change something meanwhile.
 *
 * We accept connections ourselves, so that the one that is too many gets an
 * answer instead of waiting in a queue. A body may be longer than allowed by
 * API_DISCARD_MAX bytes that are read and thrown away, so that its sender can
 * read our answer before the connection goes; beyond that it is cut off.
 * There are few connections: who stops in the middle of a request loses its own
 * after a while, also who has closed its side (libmicrohttpd sees an end that
 * comes together with data only by the clock).
 */
#include "api/server.h"

#include <errno.h>
#include <limits.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/framing.h"
#include "api/refusal.h"
#include "api/request.h"
#include "api/routes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/unix_listener.h"

#define API_MAX_CONNECTIONS 10
#define API_DISCARD_MAX	    (1024 * 1024) /* bytes */
#define API_ACCEPT_RETRY_NS (100ull * 1000 * 1000)
/* A client that says nothing for so long in the middle of a request, or does not read its answer, gives its place to another. */
#define API_SILENCE_S 10
#define API_IDLE_S    600 /* the same between two requests: it may come back */

struct api_server {
	struct unix_listener socket;
	struct vmm *vmm;   /* borrowed */
	struct loop *loop; /* borrowed */
	size_t max_payload;
	unsigned int connections;
	struct MHD_Daemon *http;
	struct loop_source *http_source;
	struct loop_source *listen_source;
	struct api_request *waiting;	  /* a list; their connections are suspended */
	bool hooked;			  /* the loop's hook is ours */
	struct loop_source *accept_timer; /* ends a pause after accept() failed for want of descriptors */
};

enum api_send_flags {
	API_CLOSE_AFTER = 1 << 0, /* nothing more is read from the connection */
	API_DEPRECATED = 1 << 1,  /* the request had a field that clients should not use any more */
};

/* body is given away. */
static enum MHD_Result api_send(struct MHD_Connection *connection, unsigned int status, char *body, unsigned int flags)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(body ? strlen(body) : 0, body, MHD_RESPMEM_MUST_FREE);
	enum MHD_Result result;

	if (!response) {
		free(body);
		return MHD_NO;
	}
	if (flags & API_CLOSE_AFTER)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	else
		MHD_set_response_options(response, MHD_RF_SEND_KEEP_ALIVE_HEADER, MHD_RO_END);
	MHD_add_response_header(response, MHD_HTTP_HEADER_SERVER, "Firecracker API");
	if (flags & API_DEPRECATED)
		MHD_add_response_header(response, "Deprecation", "true");
	if (body)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result api_send_error(struct MHD_Connection *connection, unsigned int status, const char *text,
				      unsigned int flags)
{
	char *body = api_refusal_body(status, text);

	return body ? api_send(connection, status, body, flags) : MHD_NO;
}

static enum MHD_Result api_send_too_large(struct api_server *server, struct MHD_Connection *connection,
					  unsigned long long size)
{
	struct err e;

	err_set(&e, EFBIG, "Request payload with size %llu is larger than the limit of %zu allowed by server.", size,
		server->max_payload);
	return api_send_error(connection, MHD_HTTP_BAD_REQUEST, e.text, 0);
}

/* "Put" for "PUT": as clients of Firecracker find it in the log. */
static void api_log_request(const char *method, const struct api_request *request)
{
	char name[16] = "";

	for (size_t i = 0; method[i] && i + 1 < sizeof(name); i++)
		name[i] = i && method[i] >= 'A' && method[i] <= 'Z' ? (char)(method[i] + 'a' - 'A') : method[i];
	if (request->len && !api_route_is_secret(method, request->target))
		log_info("The API server received a %s request on \"%s\" with body \"%.*s\".", name, request->target,
			 (int)(request->len < INT_MAX ? request->len : INT_MAX), request->body);
	else
		log_info("The API server received a %s request on \"%s\".", name, request->target);
}

/* Until what is under way is done: then we are called again. Later requests of the connection stay behind it. */
static enum MHD_Result api_wait(struct api_server *server, struct MHD_Connection *connection,
				struct api_request *request)
{
	request->connection = connection;
	request->next = server->waiting;
	server->waiting = request;
	MHD_suspend_connection(connection);
	return MHD_YES;
}

static void api_resume_all(struct api_server *server)
{
	while (server->waiting) {
		struct api_request *request = server->waiting;

		server->waiting = request->next;
		MHD_resume_connection(request->connection);
	}
}

/* vmm's on_idle. The first that begins something anew lets the others wait again. */
static void api_on_idle(void *ctx)
{
	struct api_server *server = ctx;
	json_t *none;

	for (struct api_request *request = server->waiting; request; request = request->next) {
		if (!request->is_later)
			continue;
		request->is_later = false;
		request->is_done = true;
		request->result = api_route_result(server->vmm, &none, &request->error);
	}
	api_resume_all(server);
	MHD_run(server->http); /* else it would not look before something else comes */
}

static int api_carry_out(struct api_server *server, const char *method, struct api_request *request, json_t **reply,
			 struct err *e)
{
	uint64_t start_ns = clock_now_ns();
	int r;

	if (request->is_done) {
		*reply = NULL;
		*e = request->error;
		return request->result;
	}
	if (!request->is_logged)
		api_log_request(method, request);
	request->is_logged = true;
	r = api_route_request(server->vmm, method, request->target, request->body, request->len, reply,
			      &request->deprecated, e);
	request->is_later = r == API_LATER;
	log_debug("Total previous API call duration: %llu us.", (unsigned long long)(clock_now_ns() - start_ns) / 1000);
	return r;
}

static enum MHD_Result api_answer(struct api_server *server, struct MHD_Connection *connection, const char *method,
				  struct api_request *request)
{
	unsigned int flags;
	json_t *reply;
	struct err e;
	char *body;
	int r;

	if (request->received > server->max_payload)
		return api_send_too_large(server, connection, request->received);
	r = api_carry_out(server, method, request, &reply, &e);
	if (r == API_LATER || r == API_WAIT)
		return api_wait(server, connection, request);
	flags = request->deprecated ? API_DEPRECATED : 0;
	if (r)
		return api_send_error(connection, r == -EMSGSIZE ? MHD_HTTP_CONTENT_TOO_LARGE : MHD_HTTP_BAD_REQUEST,
				      e.text, flags); /* -EMSGSIZE: metadata (mmds/store.h) */
	if (!reply) {
		log_info("The request was executed successfully. Status code: 204 No Content.");
		return api_send(connection, MHD_HTTP_NO_CONTENT, NULL, flags);
	}
	body = json_to_text(reply, JSON_COMPACT);
	json_decref(reply);
	if (!body)
		return MHD_NO;
	log_info("The request was executed successfully. Status code: 200 OK.");
	return api_send(connection, MHD_HTTP_OK, body, flags);
}

/*
 * The headers are there. A body whose end is not clear, or that is announced as hopelessly long, is refused before any of it is
 * read.
 */
static enum MHD_Result api_begin(struct api_server *server, struct MHD_Connection *connection,
				 struct api_request *request)
{
	const char *expect = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_EXPECT);
	uint64_t size;
	struct err e;

	request->begun = true;
	if (api_check_framing(connection, &size, &e) < 0)
		return api_send_error(connection, MHD_HTTP_BAD_REQUEST, e.text, API_CLOSE_AFTER);
	if (size > server->max_payload && (expect || size - server->max_payload > API_DISCARD_MAX))
		return api_send_too_large(server, connection, size);
	return MHD_YES;
}

/* Called once when the headers are there, then for each piece of the body, then once more at the end. */
static enum MHD_Result api_on_request(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
				      const char *version, const char *data, size_t *len, void **request_ctx)
{
	struct api_server *server = ctx;
	struct api_request *request = *request_ctx;

	(void)url;
	(void)version;
	if (!request)
		return MHD_NO;
	if (!request->begun)
		return api_begin(server, connection, request);
	if (!*len)
		return api_answer(server, connection, method, request);
	if (api_request_append(request, data, *len, server->max_payload) < 0 ||
	    (request->received > server->max_payload && request->received - server->max_payload > API_DISCARD_MAX))
		return MHD_NO;
	*len = 0;
	return MHD_YES;
}

static void api_set_patience(struct MHD_Connection *connection, unsigned int seconds)
{
	MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, seconds);
}

/* The first that is heard of a request; what is returned becomes its context. */
static void *api_on_target(void *ctx, const char *target, struct MHD_Connection *connection)
{
	(void)ctx;
	api_set_patience(connection, API_SILENCE_S);
	return api_request_new(target);
}

static void api_on_completed(void *ctx, struct MHD_Connection *connection, void **request_ctx,
			     enum MHD_RequestTerminationCode code)
{
	(void)ctx;
	api_request_free(*request_ctx);
	*request_ctx = NULL;
	if (code == MHD_REQUEST_TERMINATED_COMPLETED_OK)
		api_set_patience(connection, API_IDLE_S);
}

static void api_on_connection(void *ctx, struct MHD_Connection *connection, void **socket_ctx,
			      enum MHD_ConnectionNotificationCode code)
{
	struct api_server *server = ctx;

	(void)connection;
	(void)socket_ctx;
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		server->connections++;
	else
		server->connections--;
}

static void api_on_log(void *ctx, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

static void api_on_log(void *ctx, const char *format, va_list args)
{
	char text[512];

	(void)ctx;
	/* It takes a connection that it did not accept itself for TCP, and complains that this cannot be tuned. */
	if (strstr(format, "TCP_") || strstr(format, "push the data"))
		return;
	vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\n")] = '\0';
	log_debug("libmicrohttpd: %s", text);
}

static void api_refuse_connection(int fd)
{
	static const char body[] = "{\"fault_message\":\"Too many open connections: at most 10 are allowed.\"}";
	char answer[256];
	int len = snprintf(answer, sizeof(answer),
			   "HTTP/1.1 503 Service Unavailable\r\n"
			   "Server: Firecracker API\r\n"
			   "Connection: close\r\n"
			   "Content-Type: application/json\r\n"
			   "Content-Length: %zu\r\n\r\n%s",
			   sizeof(body) - 1, body);

	_Static_assert(API_MAX_CONNECTIONS == 10, "the text says 10");
	(void)!send(fd, answer, (size_t)len, MSG_NOSIGNAL); /* fd does not block */
	close(fd);
}

static void api_on_accept(void *ctx, uint32_t events)
{
	struct api_server *server = ctx;
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	int fd = accept4(server->socket.fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			log_error("cannot accept a connection to the API: %s", strerror(errno));
			loop_set_events(server->listen_source, 0);
			loop_set_timer(server->accept_timer, API_ACCEPT_RETRY_NS, 0);
		}
		return;
	}
	/* Connections that their clients have closed count until libmicrohttpd has looked at them. */
	if (server->connections >= API_MAX_CONNECTIONS)
		MHD_run(server->http);
	if (server->connections >= API_MAX_CONNECTIONS)
		api_refuse_connection(fd);
	else
		MHD_add_connection(server->http, fd, (struct sockaddr *)&peer, len); /* closes fd if it fails */
}

static void api_on_accept_timer(void *ctx, uint32_t events)
{
	struct api_server *server = ctx;

	(void)events;
	loop_set_events(server->listen_source, EPOLLIN);
}

static void api_on_http(void *ctx, uint32_t events)
{
	struct api_server *server = ctx;

	(void)events;
	MHD_run(server->http);
}

/* libmicrohttpd may have work that no descriptor tells of: data that it has read and not looked at yet. */
static int api_before_wait(void *ctx)
{
	struct api_server *server = ctx;
	MHD_UNSIGNED_LONG_LONG ms;

	if (MHD_get_timeout(server->http, &ms) == MHD_YES && !ms)
		MHD_run(server->http);
	if (MHD_get_timeout(server->http, &ms) != MHD_YES)
		return -1;
	return ms < INT_MAX ? (int)ms : INT_MAX;
}

static int api_server_start(struct api_server *server, struct err *e)
{
	const union MHD_DaemonInfo *info;

	server->http = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG |
			MHD_USE_SUPPRESS_DATE_NO_CLOCK,
		0, NULL, NULL, api_on_request, server, MHD_OPTION_EXTERNAL_LOGGER, api_on_log, NULL,
		MHD_OPTION_URI_LOG_CALLBACK, api_on_target, NULL, MHD_OPTION_NOTIFY_COMPLETED, api_on_completed, NULL,
		MHD_OPTION_NOTIFY_CONNECTION, api_on_connection, server, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned int)API_MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)API_SILENCE_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)API_CONNECTION_MEMORY, MHD_OPTION_END);
	info = server->http ? MHD_get_daemon_info(server->http, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info)
		return err_set(e, EIO, "cannot start the API server: libmicrohttpd cannot use epoll");
	server->http_source = loop_add(server->loop, info->epoll_fd, EPOLLIN, api_on_http, server);
	server->listen_source = loop_add(server->loop, server->socket.fd, EPOLLIN, api_on_accept, server);
	server->accept_timer = loop_add_timer(server->loop, api_on_accept_timer, server);
	if (!server->http_source || !server->listen_source || !server->accept_timer)
		return err_errno(e, errno, "cannot start the API server");
	vmm_set_on_idle(server->vmm, api_on_idle, server);
	loop_set_hook(server->loop, api_before_wait, server);
	server->hooked = true;
	log_info("API server started.");
	return 0;
}

int api_server_new(const char *path, size_t max_payload, struct vmm *vmm, struct loop *loop, struct api_server **server,
		   struct err *e)
{
	struct api_server *made = calloc(1, sizeof(*made));
	int r;

	if (!made)
		return err_errno(e, ENOMEM, "cannot start the API server");
	made->vmm = vmm;
	made->loop = loop;
	made->max_payload = max_payload;
	r = unix_listener_open(&made->socket, "API socket", path, e);
	if (!r)
		r = api_server_start(made, e);
	if (r) {
		api_server_free(made);
		return r;
	}
	*server = made;
	return 0;
}

void api_server_free(struct api_server *server)
{
	if (!server)
		return;
	if (server->hooked) {
		loop_set_hook(server->loop, NULL, NULL);
		vmm_set_on_idle(server->vmm, NULL, NULL);
	}
	api_resume_all(server); /* a connection that is suspended cannot be closed */
	loop_remove(server->accept_timer);
	loop_remove(server->listen_source);
	loop_remove(server->http_source);
	if (server->http)
		MHD_stop_daemon(server->http);
	unix_listener_close(&server->socket);
	free(server);
}
