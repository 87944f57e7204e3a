// SPDX-License-Identifier: Apache-2.0
/*
 * Defaults, ownership and limits of the configuration. The checks know nothing
 * of where a value came from: the API, a config file and a snapshot file all
 * pass through them, and none of the three is trusted.
 */
#include "config/config.h"

#include <stdlib.h>
#include <string.h>

static bool config_is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool config_is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

void vm_config_init(struct vm_config *config)
{
	memset(config, 0, sizeof(*config));
	config->machine.vcpu_count = 1;
	config->machine.mem_size_mib = CONFIG_DEFAULT_MEM_MIB;
	config->machine.vm_generation_id = true;
	config->entropy.leak_reporting = true;
}

void vm_config_fini(struct vm_config *config)
{
	boot_source_config_fini(&config->boot_source);
	for (unsigned int i = 0; i < config->num_drives; i++)
		drive_config_fini(&config->drives[i]);
	serial_config_fini(&config->serial);
	memset(config, 0, sizeof(*config));
}

void boot_source_config_fini(struct boot_source_config *c)
{
	free(c->kernel_image_path);
	free(c->initrd_path);
	free(c->boot_args);
	memset(c, 0, sizeof(*c));
}

void drive_config_fini(struct drive_config *c)
{
	free(c->drive_id);
	free(c->path_on_host);
	free(c->partuuid);
	memset(c, 0, sizeof(*c));
}

void drive_update_fini(struct drive_update *c)
{
	free(c->drive_id);
	free(c->path_on_host);
	memset(c, 0, sizeof(*c));
}

void serial_config_fini(struct serial_config *c)
{
	free(c->serial_out_path);
	memset(c, 0, sizeof(*c));
}

void logger_config_fini(struct logger_config *c)
{
	free(c->log_path);
	memset(c, 0, sizeof(*c));
}

void metrics_config_fini(struct metrics_config *c)
{
	free(c->metrics_path);
	free(c->properties_json);
	memset(c, 0, sizeof(*c));
}

void snapshot_create_config_fini(struct snapshot_create_config *c)
{
	free(c->snapshot_path);
	free(c->mem_file_path);
	memset(c, 0, sizeof(*c));
}

void snapshot_load_config_fini(struct snapshot_load_config *c)
{
	free(c->snapshot_path);
	free(c->mem_file_path);
	memset(c, 0, sizeof(*c));
}

int boot_source_config_check(const struct boot_source_config *c, struct err *e)
{
	size_t len;

	if (!c->boot_args)
		return 0;
	len = strlen(c->boot_args);
	if (len > CONFIG_BOOT_ARGS_MAX)
		return err_set(e, EINVAL, "field \"boot_args\": %zu bytes are too many: at most %d", len,
			       CONFIG_BOOT_ARGS_MAX);
	/* The kernel splits the line at blanks; what is not printable can only be a mistake or an attack on a log. */
	for (size_t i = 0; i < len; i++) {
		unsigned char ch = (unsigned char)c->boot_args[i];

		if (ch < ' ' || ch > '~')
			return err_set(e, EINVAL,
				       "field \"boot_args\": byte 0x%02x at position %zu is not allowed: expected "
				       "printable ASCII characters",
				       ch, i);
	}
	return 0;
}

int machine_config_check(const struct machine_config *c, struct err *e)
{
	if (c->vcpu_count < 1 || c->vcpu_count > CONFIG_MAX_VCPUS)
		return err_set(e, EINVAL, "field \"vcpu_count\": %u is not allowed: expected an integer from 1 to %d",
			       c->vcpu_count, CONFIG_MAX_VCPUS);
	if (c->smt && c->vcpu_count != 1 && c->vcpu_count % 2)
		return err_set(e, EINVAL,
			       "field \"vcpu_count\": %u is not allowed with smt: expected 1 or an even number",
			       c->vcpu_count);
	if (c->mem_size_mib < 1 || c->mem_size_mib > CONFIG_MAX_MEM_MIB)
		return err_set(e, EINVAL,
			       "field \"mem_size_mib\": %llu is not allowed: expected an integer from 1 to %llu",
			       (unsigned long long)c->mem_size_mib, CONFIG_MAX_MEM_MIB);
	if (c->track_dirty_pages)
		return err_set(e, EINVAL, "field \"track_dirty_pages\": true is not supported yet: allowed is false");
	if (c->huge_pages != HUGE_PAGES_NONE)
		return err_set(e, EINVAL, "field \"huge_pages\": only \"None\" is supported yet");
	return 0;
}

int drive_id_check(const char *id, struct err *e)
{
	size_t len = strlen(id);

	if (!len)
		return err_set(e, EINVAL, "The ID cannot be empty.");
	if (len > CONFIG_DRIVE_ID_MAX)
		return err_set(e, EINVAL, "field \"drive_id\": %zu characters are too many: at most %d", len,
			       CONFIG_DRIVE_ID_MAX);
	for (const char *p = id; *p; p++) {
		if (!config_is_alnum(*p) && *p != '_')
			return err_set(e, EINVAL,
				       "API Resource IDs can only contain alphanumeric characters and underscores: "
				       "\"%s\" is not allowed.",
				       id);
	}
	return 0;
}

/* The value goes onto the kernel's command line: nothing may end the word or start another one. */
static int drive_partuuid_check(const char *partuuid, struct err *e)
{
	size_t len = strlen(partuuid);

	for (const char *p = partuuid; *p; p++) {
		if (!config_is_hex(*p) && *p != '-')
			len = 0;
	}
	if (len < 1 || len > 36)
		return err_set(e, EINVAL,
			       "field \"partuuid\": \"%.64s\" is not allowed: expected 1 to 36 hexadecimal digits and "
			       "'-', such as 0eaa91a0-01",
			       partuuid);
	return 0;
}

int drive_config_check(const struct drive_config *c, struct err *e)
{
	int r;

	if (!c->drive_id)
		return err_set(e, EINVAL, "missing field \"drive_id\"");
	r = drive_id_check(c->drive_id, e);
	if (r)
		return r;
	if (!c->path_on_host || !c->path_on_host[0])
		return err_set(e, EINVAL, "missing field \"path_on_host\"");
	if (c->partuuid)
		r = drive_partuuid_check(c->partuuid, e);
	if (!r && c->io_engine != IO_ENGINE_SYNC)
		return err_set(e, EINVAL, "field \"io_engine\": \"Async\" is not supported yet: allowed is \"Sync\"");
	return r;
}

int instance_id_check(const char *id, struct err *e)
{
	size_t len = strlen(id);

	if (len < 1 || len > CONFIG_ID_MAX)
		return err_set(e, EINVAL, "instance id \"%.80s\" has %zu characters: allowed are 1 to %d", id, len,
			       CONFIG_ID_MAX);
	for (const char *p = id; *p; p++) {
		if (!config_is_alnum(*p) && *p != '-')
			return err_set(e, EINVAL,
				       "instance id \"%s\" is not allowed: expected letters, digits and '-' only", id);
	}
	return 0;
}

/* Moves *drive into slot at, after making room there. */
static void vm_config_insert_drive(struct vm_config *config, unsigned int at, struct drive_config *drive)
{
	memmove(&config->drives[at + 1], &config->drives[at], (config->num_drives - at) * sizeof(*drive));
	config->drives[at] = *drive;
	config->num_drives++;
	memset(drive, 0, sizeof(*drive));
}

static void vm_config_remove_drive(struct vm_config *config, unsigned int at)
{
	drive_config_fini(&config->drives[at]);
	config->num_drives--;
	memmove(&config->drives[at], &config->drives[at + 1], (config->num_drives - at) * sizeof(config->drives[0]));
	memset(&config->drives[config->num_drives], 0, sizeof(config->drives[0]));
}

int vm_config_put_drive(struct vm_config *config, struct drive_config *drive, struct err *e)
{
	unsigned int at = config->num_drives;
	int r = drive_config_check(drive, e);

	if (r)
		return r;
	for (unsigned int i = 0; i < config->num_drives; i++) {
		const struct drive_config *old = &config->drives[i];

		if (!strcmp(old->drive_id, drive->drive_id))
			at = i;
		else if (old->is_root_device && drive->is_root_device)
			return err_set(
				e, EINVAL,
				"A root block device already exists! It is drive \"%s\", so drive \"%s\" must have "
				"is_root_device false",
				old->drive_id, drive->drive_id);
	}
	if (at == CONFIG_MAX_DRIVES)
		return err_set(e, EINVAL, "drive \"%s\" is one too many: at most %d are allowed", drive->drive_id,
			       CONFIG_MAX_DRIVES);
	if (at < config->num_drives)
		vm_config_remove_drive(config, at);
	vm_config_insert_drive(config, drive->is_root_device ? 0 : at, drive);
	return 0;
}
