// SPDX-License-Identifier: Apache-2.0
/* The metrics file. */
#include "base/json_text.h"
#include "base/metrics.h"
#include "resource/resource.h"

static int metrics_apply(const void *config, const char *instance_id, struct err *e)
{
	const struct metrics_config *c = config;

	if (metrics_is_open())
		return err_set(e, EEXIST, "Reinitialization of metrics not allowed.");
	return metrics_open(c->metrics_path, c->emit_id ? instance_id : NULL, c->properties_json, e);
}

static int metrics_decode_properties(json_t *value, void *at, const char *name, struct err *e)
{
	char **text = at;
	const char *key;
	json_t *property;
	char *made;

	if (!json_is_object(value))
		return json_field_refuse(name, value, "an object of strings", e);
	json_object_foreach (value, key, property) {
		if (!json_is_string(property))
			return json_field_refuse(name, property, "an object of strings", e);
	}
	made = json_to_text(value, JSON_COMPACT);
	if (!made)
		return err_set(e, ENOMEM, "out of memory");
	*text = made;
	return 0;
}

static const struct field metrics_fields[] = {
	{ "metrics_path", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(metrics_config, metrics_path), FIELD_PATH,
	  .help = "A file or FIFO." },
	{ "emit_id", FIELD_BOOL, 0, FIELD_AT(metrics_config, emit_id),
	  .help = "Put the instance's id into each line." },
	{ "properties", FIELD_CUSTOM, FIELD_OWNED, FIELD_AT(metrics_config, properties_json),
	  .custom = metrics_decode_properties, .help = "Strings that are put into each line." },
};
static const struct field_table metrics_table = FIELD_TABLE(metrics_config, metrics_fields);

REQUEST_COUNTERS(metrics_put_counters, "put", "metrics");

const struct resource metrics_resource = {
	.path = "metrics",
	.section = "metrics",
	.summary = "The metrics of the process; can be set once",
	.error = "Metrics error",
	.fields = &metrics_table,
	.apply = metrics_apply,
	.put = &metrics_put_counters,
};
