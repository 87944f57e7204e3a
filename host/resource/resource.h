/* SPDX-License-Identifier: Apache-2.0 */
/*
 * THE description of a configurable thing: what it is called, its fields with
 * their limits, where it is stored, what makes a device of it. One const struct
 * resource a file of this directory, listed once, in RESOURCES below. Endpoints,
 * sections of the config file, GET /vm/config, the configuration in a snapshot,
 * devices in boot order, docs/openapi.yaml and what is "not supported yet" are
 * all derived from that list.
 *
 * Three kinds: a single thing (entropy), a list whose instances have an id
 * (drives), and one that takes effect at once and is not stored (logger).
 */
#ifndef RESOURCE_RESOURCE_H
#define RESOURCE_RESOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/metrics.h"
#include "bus/device.h"
#include "bus/platform.h"
#include "config/config.h"
#include "config/json_fields.h"

enum resource_flags {
	RESOURCE_BOOT = 1 << 0,	       /* belongs to a machine that boots: once it was configured, a load is refused */
	RESOURCE_REQUIRED = 1 << 1,    /* a config file must have it */
	RESOURCE_READABLE = 1 << 2,    /* GET on its path shows it, if it is configured */
	RESOURCE_SAVED = 1 << 3,       /* part of the configuration in a snapshot; else the process's own */
	RESOURCE_VIRTIO = 1 << 4,      /* its device is a virtio device */
	RESOURCE_MAY_BE_PATH = 1 << 5, /* its section in a config file may be the path of a file that has it */
};

/* Counts the requests of one method for one thing: drive_count and drive_fails in the metrics' section put_api_requests. */
struct request_counters {
	struct metrics_section section;
	struct metric rows[2];
	_Atomic uint64_t count;
	_Atomic uint64_t fails;
};

#define REQUEST_COUNTERS_(counters, method, thing, num_rows)                                                  \
	static struct request_counters counters = {                                                           \
		.section = { .name = method "_api_requests", .metrics = (counters).rows, .num = (num_rows) }, \
		.rows = { { .name = thing "_count", .value = &(counters).count },                             \
			  { .name = thing "_fails", .value = &(counters).fails } },                           \
	}
#define REQUEST_COUNTERS(counters, method, thing) REQUEST_COUNTERS_(counters, method, thing, 2)
/* For a request that cannot fail. */
#define REQUEST_COUNTER(counters, method, thing) REQUEST_COUNTERS_(counters, method, thing, 1)

/* What a PATCH changes. Before the start it changes the configuration, after it (running) the device, then the configuration. */
struct resource_patch {
	const char *path;    /* endpoint; NULL: the resource's */
	const char *summary; /* NULL: the resource's */
	const struct field_table *fields;
	bool running;
	bool may_be_empty; /* without a body, or with one that gives nothing, all fields have their defaults */
	size_t id;	   /* for a list: where the char *id of the instance is in the struct of fields */
	const char *error; /* NULL: the resource's */
	int (*check)(const void *patch, struct err *e);
	/* Of the device, beside the loop, without the device's lock. */
	int (*update)(struct device *dev, const void *patch, struct err *e);
	/* The same in the configuration; may take what it needs out of *patch. NULL: the configuration has nothing of it. */
	void (*merge)(void *config, void *patch);
	struct request_counters *counters; /* NULL: not counted */
	const struct resource_patch *next; /* another one of the resource, at another path; NULL ends */
};

/* What the device of a resource can be asked: a GET, after the start. For a single thing. */
struct resource_query {
	const char *path; /* endpoint */
	const char *summary;
	const char *error; /* what stands before the text of an error */
	const struct field_table *reply;
	/* Fills in *answer, a zeroed struct of reply. On the loop thread, without the device's lock; does not wait. */
	int (*ask)(struct device *dev, void *answer, struct err *e);
};

struct resource {
	const char *path;    /* endpoint without its first slash; ends with "/{id}" for a list */
	const char *section; /* key in the config file, in GET /vm/config and in a snapshot */
	const char *summary; /* for docs/openapi.yaml */
	const char *error;   /* what stands before the text of an error */
	unsigned int flags;
	const struct field_table *fields;

	/* Where it is in struct vm_config: the struct, or the array of a list. The others are offsets plus one, 0: there is none. */
	size_t offset;
	size_t present;	  /* bool: was configured. Without it the thing is always there, with its defaults */
	size_t count;	  /* unsigned int: how many a list has */
	unsigned int max; /* a list's limit */
	size_t id;	  /* char *: where an instance has its id, in the instance */

	/* Beyond the limits of each field. Judges the API, a config file and a snapshot alike. Optional. */
	int (*check)(const void *config, struct err *e);
	/* Are the files there that it names? For the API and the config file only. Optional. */
	int (*examine)(const void *config, struct err *e);
	/* Does it go together with what is configured already (of the same id: replaced)? Optional. */
	int (*admit)(const struct vm_config *all, const void *config, struct err *e);
	/* It was stored: what contradicts it in the rest goes. Optional. */
	void (*stored)(struct vm_config *all);
	/* A list's instance that stands before all others. Optional. */
	bool (*goes_first)(const void *config);
	/* Takes effect at once; nothing is stored. instance_id is the process's. */
	int (*apply)(const void *config, const char *instance_id, struct err *e);

	/* Name of the device ("entropy"), or what stands before the id ("drive."). Key of its state in a snapshot. */
	const char *device;
	/* Makes the device that config describes; called for each instance, in the order of the list. NULL: no device. */
	int (*create)(const void *config, const char *name, struct platform *p, struct device **dev, struct err *e);

	const struct resource_patch *patch;   /* NULL: cannot be patched */
	const struct resource_query *queries; /* NULL: none; a row without a path ends */
	struct metrics_section *metrics;      /* what its device counts. NULL: nothing */
	struct request_counters *put;	      /* NULL: requests are not counted */
	struct request_counters *get;
};

/* A part of Firecracker's API that is not there yet: refused by name. Each is one row in later.c until it has a file. */
struct resource_later {
	const char *section;	   /* NULL: has none */
	bool is_list;		   /* [] asks for nothing, as null does */
	const char *why;	   /* "there is no network device" */
	const char *endpoints[10]; /* "PUT pmem/{id}"; NULL ends */
	/* What its device would count: zeros, for those who expect the keys. NULL: nothing. */
	struct metrics_section *metrics;
	struct request_counters *get, *put, *patch; /* of all its endpoints with that method. NULL: not counted */
};

/* later.c; a row without why ends. */
extern const struct resource_later resources_later[];

/*
 * THE list: name_resource is what its file exports. In the order in which a config file is applied, and devices of a new
 * machine are made.
 */
#define RESOURCES(R)   \
	R(logger)      \
	R(metrics)     \
	R(machine)     \
	R(cpu)         \
	R(boot_source) \
	R(drive)       \
	R(network)     \
	R(balloon)     \
	R(vsock)       \
	R(entropy)     \
	R(mmds)        \
	R(serial)

#define RESOURCE_DECLARE_(name) extern const struct resource name##_resource;
RESOURCES(RESOURCE_DECLARE_)

/* The same as an array (resource.c). NULL ends. */
extern const struct resource *const resources[];

static inline bool resource_is_list(const struct resource *r)
{
	return r->count != 0;
}

/* The number of instances that are configured, and number i of them. */
unsigned int resource_num(const struct resource *r, const struct vm_config *config);
const void *resource_at(const struct resource *r, const struct vm_config *config, unsigned int i);
/* How many virtio devices a machine of this configuration has. */
unsigned int resource_num_virtio(const struct vm_config *config);
/* As resource_at(), and the place for one that is not there yet. */
void *resource_slot(const struct resource *r, struct vm_config *config, unsigned int i);
/* The instance with this id (of a list), or the one that there is; NULL if there is none. */
void *resource_find(const struct resource *r, struct vm_config *config, const char *id);
/* The id of an instance of a list, NULL for a single thing. */
const char *resource_id(const struct resource *r, const void *instance);
/* The name of an instance's device. */
void resource_device_name(const struct resource *r, const void *instance, char name[DEVICE_NAME_SIZE]);

/*
 * A new struct from a request's body or a section, checked by the tables and by check(). The caller json_fields_free()s it.
 * On error *out is not touched.
 */
int resource_parse(const struct resource *r, json_t *obj, void **out, struct err *e) must_check;

/* Stores what data holds (which is zeroed), in the place of what was there; on error nothing has changed. */
int resource_put(const struct resource *r, struct vm_config *config, void *data, struct err *e) must_check;

#endif
