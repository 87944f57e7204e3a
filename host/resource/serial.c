// SPDX-License-Identifier: Apache-2.0
/* Where the serial console goes: the process's business, not the snapshot's. */
#include "arch/arch.h"
#include "base/unix_listener.h"
#include "config/limiter_fields.h"
#include "devices/devices.h"
#include "resource/resource.h"

static int serial_create(const void *config, const char *name, struct platform *p, struct device **dev, struct err *e)
{
	(void)name; /* it has one of its own */
	return serial_new(config, ARCH_SERIAL_PORT, ARCH_SERIAL_GSI, p, dev, e);
}

static int serial_check(const void *config, struct err *e)
{
	const struct serial_config *c = config;

	if (c->serial_out_path && c->serial_socket_path)
		return err_set(e, EINVAL,
			       "fields \"serial_out_path\" and \"serial_socket_path\": only one of them may be given");
	return 0;
}

static int serial_examine(const void *config, struct err *e)
{
	const struct serial_config *c = config;

	return c->serial_socket_path ? unix_listener_check("serial_socket_path", c->serial_socket_path, e) : 0;
}

static const struct field serial_fields[] = {
	{ "serial_out_path", FIELD_STRING, 0, FIELD_AT(serial_config, serial_out_path), FIELD_PATH,
	  .help = "A file or FIFO for the output; stdin and stdout if absent." },
	{ "serial_socket_path", FIELD_STRING, 0, FIELD_AT(serial_config, serial_socket_path), .min = 1,
	  .max = UNIX_PATH_MAX, .help = "A Unix socket for input and output, one client at a time. It is ours." },
	{ "rate_limiter", FIELD_OBJECT, FIELD_ZERO_NULL, FIELD_AT(serial_config, rate_limiter),
	  .sub = &token_bucket_table, .help = "Limits the bytes that the guest may print." },
};
static const struct field_table serial_table = FIELD_TABLE(serial_config, serial_fields);

REQUEST_COUNTERS(serial_put_counters, "put", "serial");

const struct resource serial_resource = {
	.path = "serial",
	.section = "serial",
	.summary = "The serial console",
	.error = "Serial config error",
	.fields = &serial_table,
	.offset = offsetof(struct vm_config, serial),
	.check = serial_check,
	.examine = serial_examine,
	.device = "serial",
	.create = serial_create,
	.metrics = &uart_metrics_section,
	.put = &serial_put_counters,
};
