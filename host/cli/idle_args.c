// SPDX-License-Identifier: Apache-2.0
/* Options that clients give and that have no effect here, or none yet: each is said once, in the log. */
#include <jansson.h>

#include "base/cleanup.h"
#include "base/fdio.h"
#include "base/log.h"
#include "cli/args.h"
#include "config/json_fields.h"

int args_check_idle(const struct args *args, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	json_t *root;
	size_t len;
	bool is_object;
	int r;

	if (args->enable_pci)
		log_warn("--enable-pci has no effect: all virtio devices are on MMIO, and none can be plugged.");
	if (!args->metadata)
		return 0;
	r = file_read("metadata", args->metadata, (size_t)args->mmds_size_limit, &text, &len, e);
	if (r < 0)
		return r;
	r = config_json_parse(text, len, &root, e);
	if (r < 0)
		return err_wrap(e, r, "metadata \"%s\"", args->metadata);
	is_object = json_is_object(root);
	json_decref(root);
	if (!is_object)
		return err_set(e, EINVAL, "metadata \"%s\" holds no JSON object", args->metadata);
	log_warn("--metadata has no effect: there is no metadata service yet, the guest gets nothing of \"%s\".",
		 args->metadata);
	return 0;
}
