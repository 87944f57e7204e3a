// SPDX-License-Identifier: Apache-2.0
/* Every field of every body, right and wrong: one row each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "config/json_fields.h"
#include "resource/resource.h"
#include "resource/state.h"
#include "resource/vm_config.h"
#include "state/codec.h"
#include "vmm/snapshot_request.h"

enum body {
	BOOT,
	MACHINE,
	MACHINE_PATCH,
	DRIVE,
	DRIVE_UPDATE,
	ENTROPY,
	SERIAL,
	LOGGER,
	METRICS,
	METADATA,
	CREATE,
	LOAD
};

union config {
	struct boot_source_config boot;
	struct machine_config machine;
	struct machine_config_patch machine_patch;
	struct drive_config drive;
	struct drive_update drive_update;
	struct entropy_config entropy;
	struct serial_config serial;
	struct logger_config logger;
	struct metrics_config metrics;
	struct mmds_config mmds;
	struct snapshot_create_config create;
	struct snapshot_load_config load;
};

struct form {
	const struct field_table *fields;
	int (*check)(const void *c, struct err *e);
};

static struct form form_of(enum body body)
{
	static const struct resource *const of[] = {
		[BOOT] = &boot_source_resource, [MACHINE] = &machine_resource,	  [MACHINE_PATCH] = &machine_resource,
		[DRIVE] = &drive_resource,	[DRIVE_UPDATE] = &drive_resource, [ENTROPY] = &entropy_resource,
		[SERIAL] = &serial_resource,	[LOGGER] = &logger_resource,	  [METRICS] = &metrics_resource,
		[METADATA] = &mmds_resource,
	};

	switch (body) {
	case CREATE:
		return (struct form){ &snapshot_create_table, snapshot_create_check };
	case LOAD:
		return (struct form){ &snapshot_load_table, snapshot_load_check };
	case MACHINE_PATCH:
	case DRIVE_UPDATE:
		return (struct form){ of[body]->patch->fields, of[body]->patch->check };
	default:
		return (struct form){ of[body]->fields, of[body]->check };
	}
}

static int decode(enum body body, json_t *root, union config *c, struct err *e)
{
	struct form form = form_of(body);
	void *decoded = NULL;
	int r = json_fields_new(form.fields, root, &decoded, e);

	if (!r && form.check)
		r = form.check(decoded, e);
	if (r) {
		json_fields_free(form.fields, decoded);
		return r;
	}
	if (body == LOAD)
		c->load = *snapshot_load_request_config(decoded);
	else
		memcpy(c, decoded, form.fields->size);
	free(decoded); /* what it owns is now the copy's */
	return 0;
}

static void fini(enum body body, union config *c)
{
	if (body == LOAD) {
		free(c->load.snapshot_path);
		free(c->load.mem_file_path);
		free(c->load.layers);
		free(c->load.vsock_uds_path);
	} else {
		json_fields_fini(form_of(body).fields, c);
	}
}

/* Text is JSON with ' for ". */
static int parse(enum body body, const char *text, union config *c, struct err *e)
{
	char *json = strdup(text);
	json_t *root;
	int r;

	memset(c, 0, sizeof(*c));
	for (char *p = json; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	r = config_json_parse(json, strlen(json), &root, e);
	free(json);
	if (r)
		return r;
	r = decode(body, root, c, e);
	json_decref(root);
	return r;
}

struct row {
	enum body body;
	const char *text;
	const char *error; /* part of the sentence; NULL: accepted */
};

static const struct row rows[] = {
	{ METADATA, "{'network_interfaces':['eth0']}", NULL },
	{ METADATA, "{'version':'V2','network_interfaces':['a','b'],'ipv4_address':'169.254.1.0','imds_compat':true}",
	  NULL },
	{ METADATA, "{'network_interfaces':['a'],'ipv4_address':'169.254.254.255'}", NULL },
	{ METADATA, "{'network_interfaces':['a'],'ipv4_address':null,'version':null,'imds_compat':null}", NULL },
	{ METADATA, "{}", "missing field \"network_interfaces\"" },
	{ METADATA, "{'network_interfaces':null}",
	  "\"network_interfaces\": null is not allowed: expected an array of 0 to 8 strings" },
	{ METADATA, "{'network_interfaces':'eth0'}",
	  "\"network_interfaces\": \"eth0\" is not allowed: expected an array" },
	{ METADATA, "{'network_interfaces':[]}",
	  "The list of network interface IDs that allow forwarding MMDS requests is empty." },
	{ METADATA, "{'network_interfaces':['1','2','3','4','5','6','7','8','9']}", "an array of 9 is not allowed" },
	{ METADATA, "{'network_interfaces':['a',1]}",
	  "\"network_interfaces\": 1 is not allowed: expected strings in it" },
	{ METADATA, "{'network_interfaces':['']}", "\"\" is not allowed: expected strings in it" },
	{ METADATA, "{'network_interfaces':['a'],'version':'V3'}", "\"V3\" is not allowed: expected \"V1\" or \"V2\"" },
	{ METADATA, "{'network_interfaces':['a'],'ipv4_address':'169.254.0.255'}",
	  "\"169.254.0.255\" is not allowed: The MMDS IPv4 address is not link local. Allowed are 169.254.1.0 to "
	  "169.254.254.255" },
	{ METADATA, "{'network_interfaces':['a'],'ipv4_address':'169.254.255.0'}",
	  "The MMDS IPv4 address is not link local." },
	{ METADATA, "{'network_interfaces':['a'],'ipv4_address':'10.0.0.1'}",
	  "The MMDS IPv4 address is not link local." },
	{ METADATA, "{'network_interfaces':['a'],'ipv4_address':'169.254.1'}",
	  "The MMDS IPv4 address is not link local." },
	{ METADATA, "{'network_interfaces':['a'],'ipv4_address':'169.254.169.2545'}", "a string of 7 to 15 bytes" },
	{ METADATA, "{'network_interfaces':['a'],'imds_compat':1}",
	  "\"imds_compat\": 1 is not allowed: expected true or false" },
	{ METADATA, "{'network_interfaces':['a'],'data':{}}", "unknown field \"data\"" },
	{ BOOT, "{'kernel_image_path':'k'}", NULL },
	{ BOOT, "{'kernel_image_path':'k','initrd_path':null,'boot_args':null}", NULL },
	{ BOOT, "{'kernel_image_path':'k','initrd_path':'i','boot_args':''}", NULL },
	{ BOOT, "{}", "missing field \"kernel_image_path\"" },
	{ BOOT, "[]", "an array of 0 is not allowed here: expected a JSON object" },
	{ BOOT, "{'kernel_image_path':null}",
	  "field \"kernel_image_path\": null is not allowed: expected a string of 1 to 4095" },
	{ BOOT, "{'kernel_image_path':''}", "field \"kernel_image_path\": \"\" is not allowed" },
	{ BOOT, "{'kernel_image_path':5}", "field \"kernel_image_path\": 5 is not allowed" },
	{ BOOT, "{'kernel_image_path':['a']}", "field \"kernel_image_path\": an array of 1 is not allowed" },
	{ BOOT, "{'kernel_image_path':'k','initrd_path':1}", "\"initrd_path\": 1" },
	{ BOOT, "{'kernel_image_path':'k','boot_args':true}", "\"boot_args\": true" },
	{ BOOT, "{'kernel_image_path':'k','boot_args':'a\\nb'}", "\"boot_args\": byte 0x0a" },
	{ BOOT, "{'kernel_image_path':'k','boot_arg':'a'}",
	  "unknown field \"boot_arg\": allowed are kernel_image_path, initrd_path, boot_args" },
	{ BOOT, "{'kernel_image_path':'k','kernel_image_path':'l'}",
	  "duplicate object key near '\"kernel_image_path\"'" },
	{ BOOT, "{'kernel_image_path':'a\\u0000b'}", "invalid JSON at line 1" },
	{ BOOT, "", "invalid JSON" },
	{ BOOT, "{", "invalid JSON" },
	{ BOOT, "{'kernel_image_path':'k'} x", "invalid JSON" },
	{ BOOT, "'kernel_image_path'", "invalid JSON" },

	{ MACHINE, "{'vcpu_count':1,'mem_size_mib':128}", NULL },
	{ MACHINE,
	  "{'vcpu_count':32,'mem_size_mib':261120,'smt':true,'track_dirty_pages':false,'huge_pages':'None','cpu_"
	  "template':'None'}",
	  NULL },
	{ MACHINE,
	  "{'vcpu_count':1,'mem_size_mib':1,'smt':null,'track_dirty_pages':null,'huge_pages':null,'cpu_template':null}",
	  NULL },
	{ MACHINE, "{'mem_size_mib':1}", "missing field \"vcpu_count\"" },
	{ MACHINE, "{'vcpu_count':1}", "missing field \"mem_size_mib\"" },
	{ MACHINE, "{'vcpus':1}",
	  "unknown field \"vcpus\": allowed are vcpu_count, mem_size_mib, smt, track_dirty_pages, huge_pages, "
	  "cpu_template, vm_generation_id" },
	{ MACHINE, "{'vcpu_count':null,'mem_size_mib':1}",
	  "\"vcpu_count\": null is not allowed: expected an integer from 1 to 32" },
	{ MACHINE, "{'vcpu_count':0,'mem_size_mib':1}",
	  "\"vcpu_count\": 0 is not allowed: expected an integer from 1 to 32" },
	{ MACHINE, "{'vcpu_count':33,'mem_size_mib':1}", "\"vcpu_count\": 33" },
	{ MACHINE, "{'vcpu_count':-1,'mem_size_mib':1}", "\"vcpu_count\": -1" },
	{ MACHINE, "{'vcpu_count':4294967297,'mem_size_mib':1}", "\"vcpu_count\": 4294967297" },
	{ MACHINE, "{'vcpu_count':1.0,'mem_size_mib':1}", "\"vcpu_count\": 1.0" },
	{ MACHINE, "{'vcpu_count':'2','mem_size_mib':1}", "\"vcpu_count\": \"2\"" },
	{ MACHINE, "{'vcpu_count':{},'mem_size_mib':1}", "\"vcpu_count\": an object" },
	{ MACHINE, "{'vcpu_count':1,'mem_size_mib':0}", "\"mem_size_mib\": 0" },
	{ MACHINE, "{'vcpu_count':1,'mem_size_mib':261121}",
	  "\"mem_size_mib\": 261121 is not allowed: expected an integer from 1 to 261120" },
	{ MACHINE, "{'vcpu_count':1,'mem_size_mib':9223372036854775807}", "\"mem_size_mib\": 9223372036854775807" },
	{ MACHINE, "{'vcpu_count':1,'mem_size_mib':18446744073709551616}", "numbers may be up to 9223372036854775807" },
	{ MACHINE, "{'vcpu_count':1,'mem_size_mib':1e999}", "invalid JSON" },
	{ MACHINE, "{'vcpu_count':1,'mem_size_mib':1,'smt':1}", "\"smt\": 1 is not allowed: expected true or false" },
	{ MACHINE, "{'vcpu_count':3,'mem_size_mib':1,'smt':true}", "\"vcpu_count\": 3 is not allowed with smt" },
	{ MACHINE, "{'vcpu_count':1,'mem_size_mib':1,'track_dirty_pages':true,'huge_pages':'Transparent'}", NULL },
	{ MACHINE, "{'vcpu_count':1,'mem_size_mib':1,'track_dirty_pages':'no'}", "\"track_dirty_pages\": \"no\"" },
	{ MACHINE, "{'vcpu_count':1,'mem_size_mib':1,'vm_generation_id':0}",
	  "\"vm_generation_id\": 0 is not allowed: expected true or false" },
	{ MACHINE, "{'vcpu_count':1,'mem_size_mib':2,'huge_pages':'2M'}", NULL },
	{ MACHINE, "{'vcpu_count':1,'mem_size_mib':3,'huge_pages':'2M'}",
	  "field \"mem_size_mib\": 3 is not allowed with huge_pages 2M: expected an even number" },
	{ MACHINE, "{'vcpu_count':1,'mem_size_mib':1,'huge_pages':'1G'}",
	  "\"huge_pages\": \"1G\" is not allowed: expected \"None\", \"Transparent\" or \"2M\"" },
	{ MACHINE, "{'vcpu_count':1,'mem_size_mib':1,'huge_pages':false}", "\"huge_pages\": false" },
	{ MACHINE, "{'vcpu_count':1,'mem_size_mib':1,'cpu_template':'T3'}",
	  "field \"cpu_template\": \"T3\" is not allowed: expected \"None\", \"C3\", \"T2\", \"T2S\", \"T2CL\" or "
	  "\"T2A\"" },

	{ MACHINE_PATCH, "{}", NULL },
	{ MACHINE_PATCH, "{'vcpu_count':null}", NULL },
	{ MACHINE_PATCH,
	  "{'vcpu_count':2,'mem_size_mib':5,'smt':true,'track_dirty_pages':false,'huge_pages':'None','cpu_template':'"
	  "None'}",
	  NULL },
	{ MACHINE_PATCH, "{'vcpu_count':33}", "\"vcpu_count\": 33" },
	{ MACHINE_PATCH, "{'mem_size_mib':'x'}", "\"mem_size_mib\": \"x\"" },
	{ MACHINE_PATCH, "{'track_dirty_pages':true}", NULL },
	{ MACHINE_PATCH, "{'huge_pages':'2M'}", NULL },
	{ MACHINE_PATCH, "{'cpu_template':'V1N1'}", "is not allowed: expected" },
	{ MACHINE_PATCH, "{'vm_generation_id':'no'}", "\"vm_generation_id\": \"no\"" },
	{ MACHINE_PATCH, "{'memory':1}", "unknown field \"memory\"" },

	{ DRIVE, "{'drive_id':'1','path_on_host':'p','is_root_device':true}", NULL },
	{ DRIVE,
	  "{'drive_id':'1','path_on_host':'share/"
	  "al2.img','is_root_device':true,'partuuid':null,'is_read_only':false,'cache_type':'Unsafe','rate_limiter':"
	  "null,'io_engine':'Sync','socket':null}",
	  NULL },
	{ DRIVE,
	  "{'drive_id':'1','path_on_host':'p','is_root_device':false,'cache_type':'Writeback','partuuid':'0eaa91a0-01',"
	  "'rate_limiter':{}}",
	  NULL },
	{ DRIVE,
	  "{'drive_id':'1','path_on_host':'p','is_root_device':false,'rate_limiter':{'bandwidth':null,'ops':null}}",
	  NULL },
	{ DRIVE,
	  "{'drive_id':'1','path_on_host':'p','is_root_device':false,'rate_limiter':{'ops':{'size':1,'refill_time':2,'"
	  "one_time_burst':null}}}",
	  NULL },
	{ DRIVE, "{'path_on_host':'p','is_root_device':true}", "missing field \"drive_id\"" },
	{ DRIVE, "{'drive_id':'1','is_root_device':true}", "missing field \"path_on_host\"" },
	{ DRIVE, "{'drive_id':'1','path_on_host':'p'}", "missing field \"is_root_device\"" },
	{ DRIVE, "{'drive_id':'','path_on_host':'p','is_root_device':true}",
	  "\"drive_id\": \"\" is not allowed: expected a string of 1 to 80 bytes" },
	{ DRIVE, "{'drive_id':'a-b','path_on_host':'p','is_root_device':true}", "alphanumeric" },
	{ DRIVE, "{'drive_id':1,'path_on_host':'p','is_root_device':true}", "\"drive_id\": 1" },
	{ DRIVE, "{'drive_id':'1','path_on_host':'','is_root_device':true}", "\"path_on_host\": \"\"" },
	{ DRIVE, "{'drive_id':'1','path_on_host':'p','is_root_device':'true'}", "\"is_root_device\": \"true\"" },
	{ DRIVE, "{'drive_id':'1','path_on_host':'p','is_root_device':null}", "\"is_root_device\": null" },
	{ DRIVE, "{'drive_id':'1','path_on_host':'p','is_root_device':true,'is_read_only':0}", "\"is_read_only\": 0" },
	{ DRIVE, "{'drive_id':'1','path_on_host':'p','is_root_device':true,'cache_type':'unsafe'}",
	  "\"cache_type\": \"unsafe\" is not allowed: expected \"Unsafe\" or \"Writeback\"" },
	{ DRIVE, "{'drive_id':'1','path_on_host':'p','is_root_device':true,'io_engine':'async'}",
	  "\"io_engine\": \"async\" is not allowed: expected \"Sync\" or \"Async\"" },
	{ DRIVE, "{'drive_id':'1','path_on_host':'p','is_root_device':true,'partuuid':'x y'}",
	  "\"partuuid\": \"x y\"" },
	{ DRIVE, "{'drive_id':'1','path_on_host':'p','is_root_device':true,'partuuid':''}", "\"partuuid\": \"\"" },
	{ DRIVE,
	  "{'drive_id':'1','path_on_host':'p','is_root_device':true,'partuuid':'0123456789012345678901234567890123456'"
	  "}",
	  "\"partuuid\": \"0123" },
	{ DRIVE, "{'drive_id':'1','is_root_device':true,'socket':'s'}",
	  "field \"socket\": \"s\" is not supported yet: allowed is null" },
	{ DRIVE, "{'drive_id':'1','path_on_host':'p','is_root_device':true,'rate_limiter':[]}",
	  "\"rate_limiter\": an array of 0 is not allowed: expected an object" },
	{ DRIVE, "{'drive_id':'1','path_on_host':'p','is_root_device':true,'rate_limiter':{'bytes':{}}}",
	  "unknown field \"bytes\" in \"rate_limiter\": allowed are bandwidth, ops" },
	{ DRIVE, "{'drive_id':'1','path_on_host':'p','is_root_device':true,'rate_limiter':{'ops':{'size':1}}}",
	  "missing field \"rate_limiter.ops.refill_time\"" },
	{ DRIVE, "{'drive_id':'1','path_on_host':'p','is_root_device':true,'rate_limiter':{'ops':{'refill_time':1}}}",
	  "missing field \"rate_limiter.ops.size\"" },
	{ DRIVE,
	  "{'drive_id':'1','path_on_host':'p','is_root_device':true,'rate_limiter':{'ops':{'size':-1,'refill_time':1}}"
	  "}",
	  "\"rate_limiter.ops.size\": -1" },
	{ DRIVE,
	  "{'drive_id':'1','path_on_host':'p','is_root_device':true,'rate_limiter':{'ops':{'size':1,'refill_time':1,'"
	  "burst':1}}}",
	  "unknown field \"burst\" in \"rate_limiter.ops\"" },
	{ DRIVE, "{'drive_id':'1','path_on_host':'p','is_root_device':true,'foo':1}", "unknown field \"foo\"" },

	{ DRIVE_UPDATE, "{'drive_id':'1'}", NULL },
	{ DRIVE_UPDATE, "{'drive_id':'1','path_on_host':'p','rate_limiter':{'bandwidth':{'size':1,'refill_time':1}}}",
	  NULL },
	{ DRIVE_UPDATE, "{'drive_id':'1','path_on_host':null,'rate_limiter':null}", NULL },
	{ DRIVE_UPDATE, "{}", "missing field \"drive_id\"" },
	{ DRIVE_UPDATE, "{'drive_id':'a b'}", "alphanumeric" },
	{ DRIVE_UPDATE, "{'drive_id':'1','path_on_host':3}", "\"path_on_host\": 3" },
	{ DRIVE_UPDATE, "{'drive_id':'1','is_read_only':true}",
	  "unknown field \"is_read_only\": allowed are drive_id, path_on_host, rate_limiter" },
	{ DRIVE_UPDATE, "{'drive_id':'1','rate_limiter':{'bandwidth':{'size':1}}}",
	  "missing field \"rate_limiter.bandwidth.refill_time\"" },

	{ ENTROPY, "{}", NULL },
	{ ENTROPY, "{'rate_limiter':null}", NULL },
	{ ENTROPY, "{'rate_limiter':{'bandwidth':null,'ops':null}}", NULL },
	{ ENTROPY, "{'leak_reporting':false}", NULL },
	{ ENTROPY, "{'leak_reporting':'false'}",
	  "\"leak_reporting\": \"false\" is not allowed: expected true or false" },
	{ ENTROPY, "{'rate_limiter':5}", "\"rate_limiter\": 5" },
	{ ENTROPY, "{'rate':5}", "unknown field \"rate\": allowed are rate_limiter, leak_reporting" },
	{ ENTROPY, "null", "invalid JSON" },

	{ SERIAL, "{}", NULL },
	{ SERIAL, "{'serial_out_path':'o','rate_limiter':{'size':1,'refill_time':1}}", NULL },
	{ SERIAL, "{'serial_out_path':null,'rate_limiter':null}", NULL },
	{ SERIAL, "{'serial_out_path':''}", "\"serial_out_path\": \"\"" },
	{ SERIAL, "{'rate_limiter':{'bandwidth':null}}",
	  "unknown field \"bandwidth\" in \"rate_limiter\": allowed are size, one_time_burst, refill_time" },
	{ SERIAL, "{'out':'x'}", "unknown field \"out\"" },

	{ LOGGER, "{}", NULL },
	{ LOGGER, "{'log_path':'l','level':'Debug','show_level':true,'show_log_origin':false,'module':null}", NULL },
	{ LOGGER, "{'level':'wARNing'}", NULL },
	{ LOGGER, "{'level':'Loud'}",
	  "\"level\": \"Loud\" is not allowed: expected \"Off\", \"Error\", \"Warn\", \"Warning\", \"Info\", \"Debug\" "
	  "or \"Trace\"" },
	{ LOGGER, "{'level':3}", "\"level\": 3" },
	{ LOGGER, "{'log_path':false}", "\"log_path\": false" },
	{ LOGGER, "{'show_level':'yes'}", "\"show_level\": \"yes\"" },
	{ LOGGER, "{'show_log_origin':1}", "\"show_log_origin\": 1" },
	{ LOGGER, "{'module':'api'}", NULL },
	{ LOGGER, "{'module':''}", "field \"module\": \"\" is not allowed: expected a string of 1 to 64 bytes" },
	{ LOGGER, "{'path':'x'}", "unknown field \"path\"" },

	{ METRICS, "{'metrics_path':'m'}", NULL },
	{ METRICS, "{'metrics_path':'m','emit_id':true,'properties':{'a':'b','c':''}}", NULL },
	{ METRICS, "{'metrics_path':'m','properties':null}", NULL },
	{ METRICS, "{}", "missing field \"metrics_path\"" },
	{ METRICS, "{'metrics_path':'m','emit_id':'x'}", "\"emit_id\": \"x\"" },
	{ METRICS, "{'metrics_path':'m','properties':{'a':1}}",
	  "\"properties\": 1 is not allowed: expected an object of strings" },
	{ METRICS, "{'metrics_path':'m','properties':[]}", "\"properties\": an array of 0" },
	{ METRICS, "{'metrics_path':'m','x':1}", "unknown field \"x\"" },

	{ CREATE, "{'snapshot_path':'s','mem_file_path':'m'}", NULL },
	{ CREATE, "{'snapshot_path':'s','mem_file_path':'m','snapshot_type':'Full'}", NULL },
	{ CREATE, "{'snapshot_path':'s','mem_file_path':'m','snapshot_type':null}", NULL },
	{ CREATE, "{'snapshot_path':'s'}", "missing field \"mem_file_path\"" },
	{ CREATE, "{'mem_file_path':'m'}", "missing field \"snapshot_path\"" },
	{ CREATE, "{'snapshot_path':'s','mem_file_path':'s'}", "two different files" },
	{ CREATE, "{'snapshot_path':'s','mem_file_path':'m','snapshot_type':'Diff'}", NULL },
	{ CREATE, "{'snapshot_path':'s','mem_file_path':'m','snapshot_type':'full'}",
	  "\"snapshot_type\": \"full\" is not allowed: expected \"Full\"" },
	{ CREATE, "{'snapshot_path':'s','mem_file_path':'m','version':'1.0.0'}", "unknown field \"version\"" },

	{ LOAD, "{'snapshot_path':'s','mem_file_path':'m'}", NULL },
	{ LOAD, "{'snapshot_path':'s','mem_backend':{'backend_path':'m','backend_type':'File'}}", NULL },
	{ LOAD,
	  "{'snapshot_path':'s','mem_file_path':'m','mem_backend':null,'enable_diff_snapshots':false,'track_dirty_"
	  "pages':false,'resume_vm':true,'clock_realtime':true,'network_overrides':[],'vsock_override':null,'huge_"
	  "pages':'Snapshot'}",
	  NULL },
	{ LOAD, "{'snapshot_path':'s','mem_file_path':'m','huge_pages':'None','network_overrides':null}", NULL },
	{ LOAD, "{'mem_file_path':'m'}", "missing field \"snapshot_path\"" },
	{ LOAD, "{'snapshot_path':'s'}", "missing field: either `mem_backend` or `mem_file_path` is required" },
	{ LOAD, "{'snapshot_path':'s','mem_file_path':'m','mem_backend':{'backend_path':'m','backend_type':'File'}}",
	  "too many fields: either `mem_backend` or `mem_file_path`" },
	{ LOAD, "{'snapshot_path':'s','mem_backend':{'backend_path':'m','backend_type':'Uffd','layers':['b']}}",
	  "field \"layers\" of mem_backend is not allowed with Uffd: the handler serves the whole memory" },
	{ LOAD, "{'snapshot_path':'s','mem_backend':{'backend_path':'m','backend_type':'File','layers':['full','d1']}}",
	  NULL },
	{ LOAD, "{'snapshot_path':'s','mem_backend':{'backend_path':'m','backend_type':'File','layers':'full'}}",
	  "field \"mem_backend.layers\": \"full\" is not allowed: expected an array of at most 15 paths" },
	{ LOAD, "{'snapshot_path':'s','mem_backend':{'backend_path':'m','backend_type':'File','layers':['']}}",
	  "field \"mem_backend.layers\"" },
	{ LOAD, "{'snapshot_path':'s','mem_backend':{'backend_path':'m'}}",
	  "missing field \"mem_backend.backend_type\"" },
	{ LOAD, "{'snapshot_path':'s','mem_backend':{'backend_type':'File'}}",
	  "missing field \"mem_backend.backend_path\"" },
	{ LOAD, "{'snapshot_path':'s','mem_backend':'m'}",
	  "\"mem_backend\": \"m\" is not allowed: expected an object" },
	{ LOAD, "{'snapshot_path':'s','mem_file_path':'m','enable_diff_snapshots':true}", NULL },
	{ LOAD, "{'snapshot_path':'s','mem_file_path':'m','track_dirty_pages':true}", NULL },
	{ LOAD, "{'snapshot_path':'s','mem_file_path':'m','track_dirty_pages':1}",
	  "\"track_dirty_pages\": 1 is not allowed" },
	{ LOAD, "{'snapshot_path':'s','mem_file_path':'m','huge_pages':'Transparent'}", NULL },
	{ LOAD, "{'snapshot_path':'s','mem_file_path':'m','network_overrides':[{'iface_id':'1','host_dev_name':'t'}]}",
	  NULL },
	{ LOAD, "{'snapshot_path':'s','mem_file_path':'m','network_overrides':{}}",
	  "field \"network_overrides\": an object is not allowed: expected an array of at most 8 objects" },
	{ LOAD, "{'snapshot_path':'s','mem_file_path':'m','network_overrides':[1,2,3,4,5,6,7,8,9]}",
	  "field \"network_overrides\": an array of 9 is not allowed: expected an array of at most 8 objects" },
	{ LOAD, "{'snapshot_path':'s','mem_file_path':'m','network_overrides':[{'iface_id':'1'}]}",
	  "network_overrides[0]: missing field \"host_dev_name\"" },
	{ LOAD,
	  "{'snapshot_path':'s','mem_file_path':'m','network_overrides':[{'iface_id':'1','host_dev_name':'t'},"
	  "{'iface_id':'2','host_dev_name':'0123456789abcdef'}]}",
	  "network_overrides[1]: field \"host_dev_name\": \"0123456789abcdef\" is not allowed: expected a string of 1 "
	  "to 15 "
	  "bytes" },
	{ LOAD,
	  "{'snapshot_path':'s','mem_file_path':'m','network_overrides':[{'iface_id':'1','host_dev_name':'a/b'}]}",
	  "field \"host_dev_name\": \"a/b\" is not allowed" },
	{ LOAD,
	  "{'snapshot_path':'s','mem_file_path':'m','network_overrides':[{'iface_id':'1','host_dev_name':'t'},"
	  "{'iface_id':'1','host_dev_name':'u'}]}",
	  "network_overrides[1]: field \"iface_id\": \"1\" is not allowed: this interface has its tap in an entry "
	  "before" },
	{ LOAD, "{'snapshot_path':'s','mem_file_path':'m','vsock_override':{'uds_path':'u'}}", NULL },
	{ LOAD, "{'snapshot_path':'s','mem_file_path':'m','vsock_override':{}}",
	  "missing field \"vsock_override.uds_path\"" },
	{ LOAD, "{'snapshot_path':'s','mem_file_path':'m','vsock_override':{'uds_path':''}}",
	  "field \"vsock_override.uds_path\": \"\" is not allowed" },
	{ LOAD, "{'snapshot_path':'s','mem_file_path':'m','vsock_override':'u'}",
	  "field \"vsock_override\": \"u\" is not allowed: expected an object" },
	{ LOAD, "{'snapshot_path':'s','mem_file_path':'m','huge_pages':'2M'}", NULL },
	{ LOAD, "{'snapshot_path':'s','mem_file_path':'m','huge_pages':'1G'}",
	  "field \"huge_pages\": \"1G\" is not allowed: expected \"Snapshot\", \"None\", \"Transparent\" or \"2M\"" },
	{ LOAD, "{'snapshot_path':'s','mem_file_path':'m','resume_vm':1}", "\"resume_vm\": 1" },
	{ LOAD, "{'snapshot_path':'s','mem_file_path':'m','clock_realtime':'x'}", "\"clock_realtime\": \"x\"" },
	{ LOAD, "{'snapshot_path':'s','mem_file_path':'m','resume':true}", "unknown field \"resume\"" },
};

static void every_field_right_and_wrong(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err e = { "" };
		union config c, zero;
		int r = parse(rows[i].body, rows[i].text, &c, &e);

		if (r != (rows[i].error ? -EINVAL : 0) || (r && !strstr(e.text, rows[i].error)))
			fail_msg("%s: got %d: %s", rows[i].text, r, e.text);
		if (r) {
			memset(&zero, 0, sizeof(zero));
			assert_memory_equal(&c, &zero, sizeof(c)); /* nothing is left to be freed */
		}
		if (!r)
			fini(rows[i].body, &c);
	}
}

static void values_arrive_in_their_fields(void **state)
{
	struct err e;
	union config c;

	(void)state;
	assert_int_equal(parse(MACHINE, "{'vcpu_count':4,'mem_size_mib':4096,'smt':true}", &c, &e), 0);
	assert_int_equal(c.machine.vcpu_count, 4);
	assert_int_equal(c.machine.mem_size_mib, 4096);
	assert_true(c.machine.smt);

	assert_int_equal(parse(MACHINE_PATCH, "{'mem_size_mib':7}", &c, &e), 0);
	assert_true(c.machine_patch.has_mem_size_mib && !c.machine_patch.has_vcpu_count && !c.machine_patch.has_smt);
	assert_int_equal(c.machine_patch.values.mem_size_mib, 7);

	assert_int_equal(parse(DRIVE,
			       "{'drive_id':'d','path_on_host':'p','is_root_device':true,'is_read_only':true,"
			       "'cache_type':'Writeback','rate_limiter':{'bandwidth':{'size':1,'one_time_burst':2,"
			       "'refill_time':3},'ops':{'size':0,'refill_time':9,'one_time_burst':9}}}",
			       &c, &e),
			 0);
	assert_string_equal(c.drive.drive_id, "d");
	assert_string_equal(c.drive.path_on_host, "p");
	assert_true(c.drive.is_root_device && c.drive.is_read_only && c.drive.cache_type == CACHE_WRITEBACK);
	assert_int_equal(c.drive.rate_limiter.bandwidth.size, 1);
	assert_int_equal(c.drive.rate_limiter.bandwidth.one_time_burst, 2);
	assert_int_equal(c.drive.rate_limiter.bandwidth.refill_time_ms, 3);
	assert_int_equal(c.drive.rate_limiter.ops.refill_time_ms, 0); /* size 0: no limit, in one form */
	fini(DRIVE, &c);

	assert_int_equal(
		parse(DRIVE_UPDATE, "{'drive_id':'d','rate_limiter':{'ops':{'size':5,'refill_time':6}}}", &c, &e), 0);
	assert_true(c.drive_update.has_ops && !c.drive_update.has_bandwidth && !c.drive_update.path_on_host);
	assert_int_equal(c.drive_update.rate_limiter.ops.size, 5);
	fini(DRIVE_UPDATE, &c);

	assert_int_equal(parse(MACHINE, "{'vcpu_count':1,'mem_size_mib':1}", &c, &e), 0);
	assert_true(c.machine.vm_generation_id);
	assert_int_equal(parse(MACHINE, "{'vcpu_count':1,'mem_size_mib':1,'vm_generation_id':false}", &c, &e), 0);
	assert_false(c.machine.vm_generation_id);

	assert_int_equal(parse(ENTROPY, "{}", &c, &e), 0);
	assert_true(c.entropy.leak_reporting);
	assert_int_equal(parse(ENTROPY, "{'leak_reporting':false}", &c, &e), 0);
	assert_false(c.entropy.leak_reporting);

	assert_int_equal(parse(LOGGER, "{'level':'Debug','show_level':false}", &c, &e), 0);
	assert_true(c.logger.has_level && c.logger.has_show_level && !c.logger.has_show_log_origin);
	assert_int_equal(c.logger.level, LOG_LEVEL_DEBUG);

	assert_int_equal(parse(METRICS, "{'metrics_path':'m','properties':{'a':'b'}}", &c, &e), 0);
	assert_string_equal(c.metrics.properties_json, "{\"a\":\"b\"}");
	fini(METRICS, &c);

	assert_int_equal(parse(LOAD,
			       "{'snapshot_path':'s','mem_backend':{'backend_path':'m','backend_type':'File'},'clock_"
			       "realtime':true}",
			       &c, &e),
			 0);
	assert_string_equal(c.load.mem_file_path, "m");
	assert_true(c.load.clock_realtime && !c.load.resume_vm);
	fini(LOAD, &c);
}

/* len bytes of filler between head and tail. */
static char *text_with(const char *head, const char *filler, size_t times, const char *tail)
{
	size_t len = strlen(filler);
	char *text = malloc(strlen(head) + len * times + strlen(tail) + 1), *p = text;

	p = stpcpy(p, head);
	for (size_t i = 0; i < times; i++)
		p = stpcpy(p, filler);
	strcpy(p, tail);
	return text;
}

static void huge_and_deep_input_is_refused_with_a_short_sentence(void **state)
{
	static const struct {
		const char *head, *filler, *tail, *error;
	} inputs[] = {
		{ "{'kernel_image_path':'", "x", "'}", "is not allowed: expected a string of 1 to 4095 bytes" },
		{ "{'", "\\u00e9", "':1}", "allowed are kernel_image_path" },
		{ "{'kernel_image_path':", "[", "", "invalid JSON" },
		{ "{'kernel_image_path':", "{'a':", "", "invalid JSON" },
		{ "{'kernel_image_path':'k','boot_args':'", "y", "'}", "\"boot_args\"" },
		{ "", "9", "", "invalid JSON" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++) {
		_cleanup_free_ char *text = text_with(inputs[i].head, inputs[i].filler, 100000, inputs[i].tail);
		struct err e = { "" };
		union config c;

		assert_int_equal(parse(BOOT, text, &c, &e), -EINVAL);
		assert_non_null(strstr(e.text, inputs[i].error));
		assert_true(strlen(e.text) < 500);
	}
}

static void bytes_that_are_not_utf8_are_refused(void **state)
{
	struct err e;
	union config c;

	(void)state;
	assert_int_equal(parse(BOOT, "{'kernel_image_path':'\xff\xfe'}", &c, &e), -EINVAL);
	assert_int_equal(parse(BOOT, "{'kernel_image_path':'\xc0\x80'}", &c, &e), -EINVAL);
	assert_int_equal(parse(BOOT, "{'kernel_image_path':'\\ud800'}", &c, &e), -EINVAL);
}

static void fill(struct vm_config *config)
{
	struct drive_config root = { .drive_id = strdup("rootfs"),
				     .path_on_host = strdup("/a"),
				     .is_root_device = true,
				     .partuuid = strdup("0eaa91a0-01"),
				     .cache_type = CACHE_WRITEBACK,
				     .rate_limiter.ops = { 10, 0, 100 } };
	struct drive_config data = { .drive_id = strdup("data"), .path_on_host = strdup("/b"), .is_read_only = true };
	struct err e;

	vm_config_init(config);
	config->boot_source = (struct boot_source_config){ true, strdup("/k"), NULL, strdup("console=ttyS0") };
	config->machine.vcpu_count = 2;
	assert_int_equal(resource_put(&drive_resource, config, &data, &e), 0);
	assert_int_equal(resource_put(&drive_resource, config, &root, &e), 0);
	config->entropy = (struct entropy_config){ true, true, { .bandwidth = { 1000, 5, 100 } } };
	config->serial.serial_out_path = strdup("/out");
}

static void the_whole_configuration_has_the_shape_of_a_config_file(void **state)
{
	static const char expected[] =
		"{\"logger\":null,\"metrics\":null,\"machine-config\":{\"vcpu_count\":2,\"mem_size_mib\":128,"
		"\"smt\":false,\"track_dirty_pages\":false,\"huge_pages\":\"None\"},\"cpu-config\":null,\"boot-"
		"source\":"
		"{\"kernel_image_path\":\"/k\",\"initrd_path\":null,\"boot_args\":\"console=ttyS0\"},"
		"\"drives\":[{\"drive_id\":\"rootfs\",\"partuuid\":\"0eaa91a0-01\","
		"\"is_root_device\":true,\"cache_type\":\"Writeback\",\"is_read_only\":false,\"path_on_host\":\"/a\","
		"\"rate_limiter\":{\"bandwidth\":null,\"ops\":{\"size\":10,\"one_time_burst\":null,\"refill_time\":100}"
		"},"
		"\"io_engine\":\"Sync\",\"socket\":null},{\"drive_id\":\"data\",\"partuuid\":null,"
		"\"is_root_device\":false,\"cache_type\":\"Unsafe\",\"is_read_only\":true,\"path_on_host\":\"/b\","
		"\"rate_limiter\":null,\"io_engine\":\"Sync\",\"socket\":null}],\"network-interfaces\":[],\"balloon\":"
		"null,\"vsock\":null,"
		"\"entropy\":{\"rate_"
		"limiter\":"
		"{\"bandwidth\":{\"size\":1000,\"one_time_burst\":5,\"refill_time\":100},\"ops\":null}},"
		"\"mmds-config\":null,"
		"\"pmem\":[],\"memory-hotplug\":null}";
	struct vm_config config;
	json_t *json;
	char *text;

	(void)state;
	fill(&config);
	json = vm_config_to_json(&config);
	text = json_dumps(json, JSON_COMPACT);
	assert_string_equal(text, expected);
	free(text);
	json_decref(json);
	vm_config_fini(&config);

	vm_config_init(&config);
	json = vm_config_to_json(&config);
	assert_true(json_is_null(json_object_get(json, "boot-source")));
	assert_true(json_is_null(json_object_get(json, "entropy")));
	assert_int_equal(json_array_size(json_object_get(json, "drives")), 0);
	json_decref(json);
	vm_config_fini(&config);
}

static uint8_t *config_bytes(const struct vm_config *config, size_t *len)
{
	struct enc *enc = enc_new();
	uint8_t *data;

	assert_int_equal(vm_config_save(config, enc), 0);
	assert_int_equal(enc_finish(enc, &data, len), 0);
	enc_free(enc);
	return data;
}

static int config_from_bytes(const uint8_t *data, size_t len, struct vm_config *config, struct err *e)
{
	struct dec *dec;
	int r;

	assert_int_equal(dec_new(data, len, &dec, e), 0);
	r = vm_config_load(dec, config, e);
	dec_free(dec);
	return r;
}

static void a_configuration_survives_a_snapshot(void **state)
{
	_cleanup_free_ uint8_t *first = NULL, *second = NULL;
	struct vm_config config, copy;
	size_t first_len, second_len;
	struct err e;

	(void)state;
	fill(&config);
	config.entropy.leak_reporting = false;
	config.machine.vm_generation_id = false;
	config.machine.smt = true;
	first = config_bytes(&config, &first_len);
	assert_int_equal(config_from_bytes(first, first_len, &copy, &e), 0);
	second = config_bytes(&copy, &second_len);
	assert_int_equal(first_len, second_len);
	assert_memory_equal(first, second, first_len);
	assert_null(copy.serial.serial_out_path); /* the process's, not the snapshot's */
	assert_false(copy.entropy.leak_reporting || copy.machine.vm_generation_id);
	assert_true(copy.boot_source.present && copy.entropy.present && copy.machine.smt);
	assert_int_equal(copy.num_drives, config.num_drives);
	vm_config_fini(&config);
	vm_config_fini(&copy);
}

/* Puts a section's text into the configuration, as a config file would. */
static int put_section(const struct resource *r, const char *text, struct vm_config *config, struct err *e)
{
	json_t *root = json_loads(text, 0, NULL);
	void *data;
	int err;

	assert_non_null(root);
	err = resource_parse(r, root, &data, e);
	json_decref(root);
	if (err)
		return err;
	err = resource_put(r, config, data, e);
	json_fields_free(r->fields, data);
	return err;
}

static void the_metadata_services_configuration_survives_a_snapshot(void **state)
{
	static const char expected[] = "{\"version\":\"V2\",\"network_interfaces\":[\"eth0\",\"eth1\"],"
				       "\"ipv4_address\":\"169.254.169.254\",\"imds_compat\":true}";
	_cleanup_free_ uint8_t *bytes = NULL;
	_cleanup_free_ char *text = NULL;
	struct vm_config config, copy;
	json_t *json;
	size_t len;
	struct err e;

	(void)state;
	vm_config_init(&config);
	assert_int_equal(
		put_section(&network_resource, "{\"iface_id\":\"eth0\",\"host_dev_name\":\"t0\"}", &config, &e), 0);
	assert_int_equal(put_section(&mmds_resource, "{\"network_interfaces\":[\"eth0\",\"eth1\"]}", &config, &e),
			 -EINVAL);
	assert_string_equal(e.text, "The list of network interface IDs provided contains at least one ID that does not "
				    "correspond to any existing network interface. \"eth1\" is none.");
	assert_false(config.mmds.present);
	assert_int_equal(
		put_section(&network_resource, "{\"iface_id\":\"eth1\",\"host_dev_name\":\"t1\"}", &config, &e), 0);
	assert_int_equal(
		put_section(&mmds_resource,
			    "{\"network_interfaces\":[\"eth0\",\"eth1\"],\"version\":\"V2\",\"imds_compat\":true}",
			    &config, &e),
		0);
	bytes = config_bytes(&config, &len);
	vm_config_fini(&config);
	assert_int_equal(config_from_bytes(bytes, len, &copy, &e), 0);
	json = vm_config_to_json(&copy);
	text = json_dumps(json_object_get(json, "mmds-config"), JSON_COMPACT);
	assert_string_equal(text, expected);
	json_decref(json);
	vm_config_fini(&copy);
}

/* Written before there was this kind of device. */
static void a_list_that_a_snapshot_does_not_have_is_empty(void **state)
{
	_cleanup_free_ uint8_t *data = NULL;
	struct enc *enc = enc_new();
	struct vm_config config;
	struct err e;
	size_t len;

	(void)state;
	enc_map_begin(enc, "machine-config");
	enc_u64(enc, "vcpu_count", 3);
	enc_u64(enc, "mem_size_mib", 128);
	enc_map_end(enc);
	assert_int_equal(enc_finish(enc, &data, &len), 0);
	enc_free(enc);
	if (config_from_bytes(data, len, &config, &e))
		fail_msg("%s", e.text);
	assert_int_equal(config.num_drives, 0);
	vm_config_fini(&config);
}

/* One wrong thing in the map of a good configuration. */
struct wrong_map {
	const char *section, *key, *text; /* text NULL: value */
	uint64_t value;
	const char *error;
};

static void wrong_value_save(const struct wrong_map *wrong, struct enc *enc)
{
	if (wrong->text)
		enc_str(enc, wrong->key, wrong->text);
	else if (!strcmp(wrong->key, "smt"))
		enc_bool(enc, wrong->key, wrong->value);
	else
		enc_u64(enc, wrong->key, wrong->value);
}

static void wrong_map_save(const struct wrong_map *wrong, struct enc *enc)
{
	bool is_machine = !strcmp(wrong->section, "machine-config");

	enc_map_begin(enc, "machine-config");
	if (strcmp(wrong->key, "vcpu_count") != 0)
		enc_u64(enc, "vcpu_count", 3);
	enc_u64(enc, "mem_size_mib", 128);
	if (is_machine)
		wrong_value_save(wrong, enc);
	enc_map_end(enc);
	if (!is_machine) {
		enc_map_begin(enc, wrong->section);
		wrong_value_save(wrong, enc);
		enc_map_end(enc);
	}
	enc_array_begin(enc, "drives");
	enc_array_end(enc);
}

static void a_hostile_configuration_of_a_snapshot_is_refused(void **state)
{
	static const struct wrong_map inputs[] = {
		{ "machine-config", "vcpu_count", NULL, 200, "config.machine-config: field \"vcpu_count\": 200" },
		{ "machine-config", "vcpu_count", "1", 0, "machine-config.vcpu_count must be an unsigned integer" },
		{ "machine-config", "vcpu_count", NULL, UINT64_MAX,
		  "machine-config.vcpu_count is 18446744073709551615" },
		{ "machine-config", "smt", NULL, 1, "field \"vcpu_count\": 3 is not allowed with smt" },
		{ "machine-config", "huge_pages", "1G", 0, "\"huge_pages\": \"1G\" is not allowed" },
		{ "machine-config", "new_key", NULL, 1, "machine-config: there is an unknown key \"new_key\"" },
		{ "entropy", "rate_limiter", NULL, 1, "entropy.rate_limiter must be a map" },
		{ "boot-source", "boot_args", "quiet", 0, "config.boot-source: missing field \"kernel_image_path\"" },
		{ "section", "key", NULL, 1, "there is an unknown key \"section\"" },
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++) {
		struct enc *enc = enc_new();
		struct vm_config config;
		uint8_t *data;
		size_t len;

		wrong_map_save(&inputs[i], enc);
		assert_int_equal(enc_finish(enc, &data, &len), 0);
		enc_free(enc);
		assert_int_equal(config_from_bytes(data, len, &config, &e), -EINVAL);
		if (!strstr(e.text, inputs[i].error))
			fail_msg("%zu: %s", i, e.text);
		free(data);
	}
}

static void smt_in_the_text_of_an_old_snapshot_is_ignored_as_it_was(void **state)
{
	static const char text[] = "{\"machine-config\":{\"vcpu_count\":3,\"mem_size_mib\":128,\"smt\":true}}";
	struct vm_config config;
	struct err e;

	(void)state;
	assert_int_equal(vm_config_from_text(text, strlen(text), &config, &e), 0);
	assert_false(config.machine.smt);
	vm_config_fini(&config);
}

static void hostile_text_of_a_snapshot_is_refused(void **state)
{
	static const struct {
		const char *text, *error;
	} inputs[] = {
		{ "", "invalid JSON" },
		{ "[]", "expected a JSON object" },
		{ "{}", "missing section \"machine-config\"" },
		{ "{'machine-config':null}", "machine-config" },
		{ "{'machine-config':{'vcpu_count':200,'mem_size_mib':1}}",
		  "machine-config: field \"vcpu_count\": 200" },
		{ "{'machine-config':{'vcpu_count':1,'mem_size_mib':9999999999}}", "\"mem_size_mib\": 9999999999" },
		{ "{'machine-config':{'vcpu_count':1,'mem_size_mib':1},'x':1}", "x: unknown section" },
		{ "{'machine-config':{'vcpu_count':1,'mem_size_mib':1},'drives':null}", "\"drives\": null" },
		{ "{'machine-config':{'vcpu_count':1,'mem_size_mib':1},'drives':[{'drive_id':'a','path_on_host':'p',"
		  "'is_root_device':true},{'drive_id':'b','path_on_host':'p','is_root_device':true}]}",
		  "drives[1]: A root block device already exists!" },
		{ "{'machine-config':{'vcpu_count':1,'mem_size_mib':1},'boot-source':{}}", "boot-source: missing" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++) {
		struct vm_config untouched, config;
		char *json = strdup(inputs[i].text);
		struct err e = { "" };

		for (char *p = json; *p; p++)
			*p = *p == '\'' ? '"' : *p;
		memset(&config, 0x55, sizeof(config));
		untouched = config;
		assert_int_equal(vm_config_from_text(json, strlen(json), &config, &e), -EINVAL);
		if (!strstr(e.text, inputs[i].error))
			fail_msg("%s: %s", inputs[i].text, e.text);
		assert_memory_equal(&config, &untouched, sizeof(config));
		free(json);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_right_and_wrong),
		cmocka_unit_test(values_arrive_in_their_fields),
		cmocka_unit_test(huge_and_deep_input_is_refused_with_a_short_sentence),
		cmocka_unit_test(bytes_that_are_not_utf8_are_refused),
		cmocka_unit_test(the_whole_configuration_has_the_shape_of_a_config_file),
		cmocka_unit_test(a_configuration_survives_a_snapshot),
		cmocka_unit_test(a_list_that_a_snapshot_does_not_have_is_empty),
		cmocka_unit_test(the_metadata_services_configuration_survives_a_snapshot),
		cmocka_unit_test(a_hostile_configuration_of_a_snapshot_is_refused),
		cmocka_unit_test(smt_in_the_text_of_an_old_snapshot_is_ignored_as_it_was),
		cmocka_unit_test(hostile_text_of_a_snapshot_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
