/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP connection of the guest's to the service: requests in, answers out, one after the other. */
#ifndef MMDS_CONNECTION_H
#define MMDS_CONNECTION_H

#include <lwip/err.h>

struct tcp_pcb;

/* lwIP's callback for a new connection; stack is the struct mmds_stack. */
err_t mmds_connection_accept(void *stack, struct tcp_pcb *pcb, err_t err);

#endif
