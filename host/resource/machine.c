// SPDX-License-Identifier: Apache-2.0
/* Processors and memory. */
#include "arch/arch.h"
#include "resource/resource.h"

static const char *const huge_pages_names[] = { "None", "Transparent", "2M", NULL };
static const char *const cpu_template_names[] = {
	[CPU_TEMPLATE_NONE] = "None",
	[CPU_TEMPLATE_C3] = "C3",
	[CPU_TEMPLATE_T2] = "T2",
	[CPU_TEMPLATE_T2S] = "T2S",
	[CPU_TEMPLATE_T2CL] = "T2CL",
	[CPU_TEMPLATE_T2A] = "T2A",
	NULL,
};

_Static_assert(sizeof(enum huge_pages) == sizeof(unsigned int), "json_fields.c stores an unsigned int");

/* The fields by their tables' limits; this is what one says of another. */
static int machine_check(const void *config, struct err *e)
{
	const struct machine_config *c = config;

	if (c->smt && c->vcpu_count != 1 && c->vcpu_count % 2)
		return err_set(e, EINVAL,
			       "field \"vcpu_count\": %u is not allowed with smt: expected 1 or an even number",
			       c->vcpu_count);
	if (c->huge_pages == HUGE_PAGES_2M && c->mem_size_mib % 2)
		return err_set(
			e, EINVAL,
			"field \"mem_size_mib\": %llu is not allowed with huge_pages 2M: expected an even number",
			(unsigned long long)c->mem_size_mib);
	return 0;
}

/* The balloon may be configured already. */
static int machine_admit(const struct vm_config *all, const void *config, struct err *e)
{
	const struct machine_config *c = config;

	if (!all->balloon.present || all->balloon.amount_mib <= c->mem_size_mib)
		return 0;
	return err_set(e, EINVAL,
		       "field \"mem_size_mib\": %llu is not allowed: the balloon's amount_mib is %u, which is more",
		       (unsigned long long)c->mem_size_mib, all->balloon.amount_mib);
}

/* Of a static and a custom template the last one counts; "None" clears both. */
static void machine_stored(struct vm_config *all)
{
	if (!all->machine.has_cpu_template)
		return;
	json_fields_fini(cpu_resource.fields, &all->cpu);
	all->machine.has_cpu_template = all->machine.cpu_template != CPU_TEMPLATE_NONE;
}

#define VCPU_COUNT  .min = 1, .max = CONFIG_MAX_VCPUS, .help = "Number of vCPUs; 1 or even with smt."
#define MEM_SIZE    .min = 1, .max = ARCH_MAX_MEM_MIB, .help = "Memory, in MiB."
#define SMT	    .help = "Two vCPUs are the threads of one core."
#define TRACK_DIRTY .help = "Keep a log of what the guest writes, for Diff snapshots that have no page too many."
#define HUGE_PAGES  .names = huge_pages_names, .help = "Pages that the guest's memory is made of."
#define CPU_TEMPLATE                 \
	.names = cpu_template_names, \
	.help = "A static CPU template; a start on another processor than it is for is refused."
#define GENERATION .help = "The machine has a VM Generation ID device."

static const struct field machine_fields[] = {
	{ "vcpu_count", FIELD_U32, FIELD_REQUIRED, FIELD_AT(machine_config, vcpu_count), VCPU_COUNT },
	{ "mem_size_mib", FIELD_U64, FIELD_REQUIRED, FIELD_AT(machine_config, mem_size_mib), MEM_SIZE },
	{ "smt", FIELD_BOOL, 0, FIELD_AT(machine_config, smt), SMT },
	{ "track_dirty_pages", FIELD_BOOL, 0, FIELD_AT(machine_config, track_dirty_pages), TRACK_DIRTY },
	{ "huge_pages", FIELD_ENUM, 0, FIELD_AT(machine_config, huge_pages), HUGE_PAGES },
	{ "cpu_template", FIELD_ENUM, FIELD_IF_GIVEN | FIELD_DEPRECATED, FIELD_AT(machine_config, cpu_template),
	  FIELD_GIVEN(machine_config, has_cpu_template), CPU_TEMPLATE },
	{ "vm_generation_id", FIELD_BOOL, FIELD_OURS, FIELD_AT(machine_config, vm_generation_id), GENERATION },
};

static const struct machine_config machine_defaults = {
	.vcpu_count = 1,
	.mem_size_mib = CONFIG_DEFAULT_MEM_MIB,
	.vm_generation_id = true,
};

static const struct field_table machine_table = {
	.fields = machine_fields,
	.num_fields = ARRAY_SIZE(machine_fields),
	.size = sizeof(struct machine_config),
	.defaults = &machine_defaults,
};

#define PATCH_OF(member) FIELD_AT(machine_config_patch, values.member), FIELD_GIVEN(machine_config_patch, has_##member)

static const struct field machine_patch_fields[] = {
	{ "vcpu_count", FIELD_U32, 0, PATCH_OF(vcpu_count), VCPU_COUNT },
	{ "mem_size_mib", FIELD_U64, 0, PATCH_OF(mem_size_mib), MEM_SIZE },
	{ "smt", FIELD_BOOL, 0, PATCH_OF(smt), SMT },
	{ "track_dirty_pages", FIELD_BOOL, 0, PATCH_OF(track_dirty_pages), TRACK_DIRTY },
	{ "huge_pages", FIELD_ENUM, 0, PATCH_OF(huge_pages), HUGE_PAGES },
	{ "cpu_template", FIELD_ENUM, FIELD_DEPRECATED, PATCH_OF(cpu_template), CPU_TEMPLATE },
	{ "vm_generation_id", FIELD_BOOL, 0, PATCH_OF(vm_generation_id), GENERATION },
};
static const struct field_table machine_patch_table = FIELD_TABLE(machine_config_patch, machine_patch_fields);

static void machine_merge(void *config, void *patch)
{
	const struct machine_config_patch *p = patch;
	struct machine_config *c = config;

	if (p->has_vcpu_count)
		c->vcpu_count = p->values.vcpu_count;
	if (p->has_mem_size_mib)
		c->mem_size_mib = p->values.mem_size_mib;
	if (p->has_smt)
		c->smt = p->values.smt;
	if (p->has_track_dirty_pages)
		c->track_dirty_pages = p->values.track_dirty_pages;
	if (p->has_huge_pages)
		c->huge_pages = p->values.huge_pages;
	if (p->has_vm_generation_id)
		c->vm_generation_id = p->values.vm_generation_id;
	if (p->has_cpu_template) {
		c->cpu_template = p->values.cpu_template;
		c->has_cpu_template = true;
	}
}

REQUEST_COUNTERS(machine_put_counters, "put", "machine_cfg");
REQUEST_COUNTERS(machine_patch_counters, "patch", "machine_cfg");
REQUEST_COUNTER(machine_get_counters, "get", "machine_cfg");

static const struct resource_patch machine_patch = {
	.fields = &machine_patch_table,
	.merge = machine_merge,
	.counters = &machine_patch_counters,
};

const struct resource machine_resource = {
	.path = "machine-config",
	.section = "machine-config",
	.summary = "Processors and memory of the machine",
	.error = "Machine config error",
	.flags = RESOURCE_BOOT | RESOURCE_READABLE | RESOURCE_SAVED,
	.fields = &machine_table,
	.offset = offsetof(struct vm_config, machine),
	.check = machine_check,
	.admit = machine_admit,
	.stored = machine_stored,
	.patch = &machine_patch,
	.put = &machine_put_counters,
	.get = &machine_get_counters,
};
