/* SPDX-License-Identifier: Apache-2.0 */
/* The devices of the board itself; constructors only, the rest is the device contract (bus/device.h). */
#ifndef DEVICES_DEVICES_H
#define DEVICES_DEVICES_H

#include <stdint.h>

#include "base/err.h"
#include "base/metrics.h"
#include "bus/device.h"
#include "bus/platform.h"
#include "config/config.h"

/* The serial console. */
#define UART_METRICS(M)             \
	M(uart, error_count)        \
	M(uart, flush_count)        \
	M(uart, missed_read_count)  \
	M(uart, missed_write_count) \
	M(uart, read_count)         \
	M(uart, write_count)        \
	M(uart, rate_limiter_dropped_bytes)
METRICS_DECLARE(uart, UART_METRICS)

/* The keyboard controller. */
#define I8042_METRICS(M)             \
	M(i8042, error_count)        \
	M(i8042, missed_read_count)  \
	M(i8042, missed_write_count) \
	M(i8042, read_count)         \
	M(i8042, reset_count)        \
	M(i8042, write_count)
METRICS_DECLARE(i8042, I8042_METRICS)

/* The VM Generation ID. */
#define VMGENID_METRICS(M) M(vmgenid, update_count)
METRICS_DECLARE(vmgenid, VMGENID_METRICS)

/* VMClock. */
#define VMCLOCK_METRICS(M) M(vmclock, update_count)
METRICS_DECLARE(vmclock, VMCLOCK_METRICS)

/*
 * 16550A UART at port (8 ports). With config->serial_socket_path both directions are that socket's client's. Else output goes
 * to config->serial_out_path or to standard output, and input comes from standard input when there is no path and it is a
 * terminal (put into raw mode from the first resume until free), a pipe or a socket.
 */
int serial_new(const struct serial_config *config, uint64_t port, uint32_t gsi, struct platform *p, struct device **dev,
	       struct err *e) must_check;

/* Keyboard controller at port (5 ports): reset command, Ctrl-Alt-Del. on_reset is called on a vCPU thread. */
int i8042_new(uint64_t port, uint32_t gsi, struct platform *p, void (*on_reset)(void *ctx), void *ctx,
	      struct device **dev, struct err *e) must_check;
/* Types Ctrl-Alt-Del. -EBUSY if the guest has not read what was typed before. */
int i8042_ctrl_alt_del(struct device *dev, struct err *e) must_check;

/*
 * VM Generation ID: 16 random bytes at gpa, new ones at every leak event, with an interrupt that ACPI turns into
 * Notify(VGEN, 0x80).
 */
int vmgenid_new(gpa_t gpa, uint32_t gsi, struct platform *p, struct device **dev, struct err *e) must_check;

/*
 * VMClock: a page at gpa (abi/vmclock_page.h) whose generation and disruption marker are one more after each leak event, with an
 * interrupt that ACPI turns into Notify(VCLK, 0x80). No time: what the host knows of it is not enough.
 */
int vmclock_new(gpa_t gpa, uint32_t gsi, struct platform *p, struct device **dev, struct err *e) must_check;

/* One MMIO page: a guest that writes 123 gets its boot time, since now, into the log. */
int boot_timer_new(gpa_t base, struct platform *p, struct device **dev, struct err *e) must_check;

#endif
