// SPDX-License-Identifier: Apache-2.0
/* The log: what is not given stays as it is. */
#include "base/log.h"
#include "resource/resource.h"

static int logger_apply(const void *config, const char *instance_id, struct err *e)
{
	const struct logger_config *c = config;
	bool show_level, show_origin;

	(void)instance_id;
	if (c->log_path) {
		int r = log_set_path(c->log_path, e);

		if (r)
			return r;
	}
	if (c->module)
		log_set_module(c->module);
	if (c->has_level)
		log_set_level(c->level);
	log_get_show(&show_level, &show_origin);
	if (c->has_show_level)
		show_level = c->show_level;
	if (c->has_show_log_origin)
		show_origin = c->show_log_origin;
	log_set_show(show_level, show_origin);
	return 0;
}

static int logger_decode_level(json_t *value, void *at, const char *name, struct err *e)
{
	const char *text = json_string_value(value);

	if (!text || !log_level_parse(text, at))
		return json_field_refuse(
			name, value, "\"Off\", \"Error\", \"Warn\", \"Warning\", \"Info\", \"Debug\" or \"Trace\"", e);
	return 0;
}

static const struct field logger_fields[] = {
	{ "log_path", FIELD_STRING, 0, FIELD_AT(logger_config, log_path), FIELD_PATH, .help = "A file or FIFO." },
	{ "level", FIELD_CUSTOM, 0, FIELD_AT(logger_config, level), FIELD_GIVEN(logger_config, has_level),
	  .custom = logger_decode_level, .help = "Off, Error, Warn, Warning, Info, Debug or Trace, in any case." },
	{ "show_level", FIELD_BOOL, 0, FIELD_AT(logger_config, show_level), FIELD_GIVEN(logger_config, has_show_level),
	  .help = "Show the level in each line." },
	{ "show_log_origin", FIELD_BOOL, 0, FIELD_AT(logger_config, show_log_origin),
	  FIELD_GIVEN(logger_config, has_show_log_origin), .help = "Show file and line in each line." },
	{ "module", FIELD_STRING, 0, FIELD_AT(logger_config, module), .min = 1, .max = LOG_MODULE_MAX,
	  .help = "Only lines from this directory or file of the source, or from this crate of Firecracker's." },
};
static const struct field_table logger_table = FIELD_TABLE(logger_config, logger_fields);

REQUEST_COUNTERS(logger_put_counters, "put", "logger");

const struct resource logger_resource = {
	.path = "logger",
	.section = "logger",
	.summary = "The log of the process",
	.error = "Logger error",
	.fields = &logger_table,
	.apply = logger_apply,
	.put = &logger_put_counters,
};
