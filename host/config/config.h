/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a user configures, as plain data. Strings are owned by the struct that
 * holds them and may be NULL where a field is optional. What a thing is called,
 * its fields, limits and defaults are in its file in host/resource/.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "base/rate_limiter.h"
#include "config/cpu_config.h"
#include "config/lists.h"

#define CONFIG_MAX_VCPUS       32
#define CONFIG_MAX_DRIVES      16
#define CONFIG_MAX_NETWORKS    8
#define CONFIG_TAP_NAME_MAX    15
#define CONFIG_DEFAULT_MEM_MIB 128
#define CONFIG_ID_MAX	       64
#define CONFIG_RESOURCE_ID_MAX 80 /* "drive.<id>" is the name of a device (bus/device.h) */
#define CONFIG_PATH_MAX	       4095
#define CONFIG_SOCKET_PATH_MAX 107 /* bytes of a Unix socket's path */

struct boot_source_config {
	bool present;
	char *kernel_image_path;
	char *initrd_path; /* NULL: none */
	char *boot_args;   /* NULL: the default command line */
};

enum huge_pages { HUGE_PAGES_NONE, HUGE_PAGES_TRANSPARENT, HUGE_PAGES_2M };

struct machine_config {
	uint32_t vcpu_count;
	uint64_t mem_size_mib;
	bool smt;
	bool track_dirty_pages;	    /* KVM logs what the guest writes, for Diff snapshots */
	enum huge_pages huge_pages; /* 2M: mem_size_mib is even */
	bool vm_generation_id;	    /* extension, default true: the machine has a VM Generation ID device */
	bool has_cpu_template;
	enum cpu_template cpu_template; /* NONE if there is a struct cpu_config */
};

/* A PATCH of the machine configuration: has_* says what is given. */
struct machine_config_patch {
	bool has_vcpu_count, has_mem_size_mib, has_smt, has_track_dirty_pages, has_huge_pages, has_vm_generation_id,
		has_cpu_template;
	struct machine_config values;
};

enum cache_type { CACHE_UNSAFE, CACHE_WRITEBACK };
enum io_engine { IO_ENGINE_SYNC, IO_ENGINE_ASYNC };

struct drive_config {
	char *drive_id;
	char *path_on_host;
	char *partuuid; /* NULL: none */
	bool is_root_device;
	bool is_read_only;
	enum cache_type cache_type;
	enum io_engine io_engine;
	struct rate_limiter_config rate_limiter; /* all zero: no limit */
};

/* PATCH /drives/{id}: what is absent stays as it is. */
struct drive_update {
	char *drive_id;
	char *path_on_host; /* NULL: unchanged */
	bool has_bandwidth; /* a bucket that is given replaces the old one and starts full */
	bool has_ops;
	struct rate_limiter_config rate_limiter;
};

struct network_config {
	char *iface_id;
	char *host_dev_name;			    /* a tap */
	char *guest_mac;			    /* NULL: the guest's choice; lower case */
	uint32_t mtu;				    /* 0: the guest is not told one */
	struct rate_limiter_config rx_rate_limiter; /* what the guest receives; all zero: no limit */
	struct rate_limiter_config tx_rate_limiter;
};

/* PATCH /network-interfaces/{id}: what is absent stays as it is. */
struct network_update {
	char *iface_id;
	bool has_rx_bandwidth, has_rx_ops, has_tx_bandwidth, has_tx_ops;
	struct rate_limiter_config rx_rate_limiter, tx_rate_limiter;
};

/* A load: other taps for interfaces of the snapshot; of several for one the last counts. */
struct network_overrides {
	unsigned int num;
	struct network_override {
		char iface_id[CONFIG_RESOURCE_ID_MAX + 1];
		char host_dev_name[CONFIG_TAP_NAME_MAX + 1];
	} items[CONFIG_MAX_NETWORKS];
};

struct entropy_config {
	bool present;
	bool leak_reporting; /* extension, default true: offer VIRTIO_RNG_F_LEAK */
	struct rate_limiter_config rate_limiter;
};

struct balloon_config {
	bool present;
	uint32_t amount_mib;		   /* that the guest is to give back */
	bool deflate_on_oom;		   /* the guest may take memory back when it has no other */
	uint32_t stats_polling_interval_s; /* 0: no statistics */
	bool free_page_hinting;
	bool free_page_reporting;
};

/* PATCH /balloon, /balloon/statistics and /balloon/hinting/start. */
struct balloon_update {
	uint32_t amount_mib;
};
struct balloon_stats_update {
	uint32_t stats_polling_interval_s;
};
struct balloon_hinting_start {
	bool acknowledge_on_stop; /* default true: when the guest is through its pages it gets them back at once */
};

struct vsock_config {
	bool present;
	uint32_t guest_cid;
	char *uds_path; /* of the socket that clients of the host connect to */
	char *vsock_id; /* means nothing */
};

enum mmds_version { MMDS_V1, MMDS_V2 };

struct mmds_config {
	bool present;
	enum mmds_version version;
	struct string_list network_interfaces;
	char *ipv4_address;
	bool imds_compat;
};

struct serial_config {
	char *serial_out_path;	  /* both NULL: stdin and stdout */
	char *serial_socket_path; /* extension */
	struct token_bucket_config rate_limiter;
};

struct logger_config {
	char *log_path; /* NULL: unchanged */
	bool has_level;
	enum log_level level;
	char *module; /* NULL: unchanged */
	bool has_show_level, show_level;
	bool has_show_log_origin, show_log_origin;
};

struct metrics_config {
	char *metrics_path;
	bool emit_id;
	char *properties_json; /* NULL, or a serialised JSON object of strings */
};

/* Everything that makes a machine; logger and metrics belong to the process. */
struct vm_config {
	struct boot_source_config boot_source;
	struct machine_config machine;
	struct cpu_config cpu;
	unsigned int num_drives;
	struct drive_config drives[CONFIG_MAX_DRIVES]; /* root device first, else in the order they came */
	unsigned int num_networks;
	struct network_config networks[CONFIG_MAX_NETWORKS];
	struct balloon_config balloon;
	struct entropy_config entropy;
	struct mmds_config mmds;
	struct vsock_config vsock;
	struct serial_config serial;
};

enum snapshot_type { SNAPSHOT_FULL, SNAPSHOT_DIFF };

struct snapshot_create_config {
	enum snapshot_type type;
	char *snapshot_path;
	char *mem_file_path;
};

/* What a restored machine's memory is made of: the pages that the snapshot's had, or others. */
enum load_huge_pages {
	LOAD_HUGE_PAGES_SNAPSHOT,
	LOAD_HUGE_PAGES_NONE,
	LOAD_HUGE_PAGES_TRANSPARENT,
	LOAD_HUGE_PAGES_2M
};

#define LOAD_MAX_LAYERS 15

/* What is done with the file that says which pages a restored machine needs first. */
enum working_set_use { WORKING_SET_USE, WORKING_SET_RECORD, WORKING_SET_IGNORE };

struct snapshot_load_config {
	char *snapshot_path;
	char *mem_file_path; /* from mem_file_path or mem_backend.backend_path */
	bool is_served;	     /* mem_file_path is not the memory's file, but the socket of who serves it (Uffd) */
	char *layers; /* from mem_backend: memory files that it lies on, one behind the other, the empty one ends; or NULL */
	enum working_set_use working_set;
	char *working_set_path;	 /* NULL: beside the memory file */
	uint32_t working_set_ms; /* how long it is recorded; 0: until the machine is paused */
	bool track_dirty_pages;	 /* or enable_diff_snapshots */
	enum load_huge_pages huge_pages;
	bool resume_vm;
	uint32_t reseed_timeout_ms; /* extension, 0: the answer does not wait for the guest's word */
	char *vsock_uds_path;	    /* in place of the snapshot's; NULL: as it was */
	bool clock_realtime;	    /* advance the guest's clocks by the host time that has passed since the snapshot */
	struct network_overrides network_overrides;
};

/* A copy of value takes the place of what a struct above owns at *at. -ENOMEM, and *at is as it was. */
int config_replace_string(char **at, const char *value, struct err *e) must_check;

/* 1 to CONFIG_RESOURCE_ID_MAX characters, letters, digits and '_'. */
int resource_id_check(const char *id, struct err *e) must_check;
/* 1 to 64 characters, letters, digits and '-'. */
int instance_id_check(const char *id, struct err *e) must_check;

#endif
