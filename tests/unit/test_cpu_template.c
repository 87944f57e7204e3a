// SPDX-License-Identifier: Apache-2.0
/* CPU templates on processors that nobody here has: tables of what KVM gives on them, no KVM. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arch/arch.h"
#include "arch/x86_64/cpu_template.h"
#include "base/cleanup.h"
#include "base/fdio.h"
#include "config/cpu.h"
#include "processors.h"
#include "resource/state.h"
#include "state/codec.h"
#include "resource/resource.h"
#include "resource/vm_config.h"

/* The list that KVM gives. */
static void list_of(const struct processor *p, union cpuid_list *list)
{
	memset(list, 0, sizeof(*list));
	list->cpuid.entries[list->cpuid.nent++] = p->intel ? (struct kvm_cpuid_entry2){ .eax = 0x16,
											.ebx = 0x756e6547,
											.ecx = 0x6c65746e,
											.edx = 0x49656e69 }
							   : (struct kvm_cpuid_entry2){ .eax = 0x10,
											.ebx = 0x68747541,
											.ecx = 0x444d4163,
											.edx = 0x69746e65 };
	for (size_t i = 0; i < PROCESSOR_NUM_REGS; i++) {
		const struct processor_reg *r = &p->regs[i];
		struct kvm_cpuid_entry2 *entry = NULL;
		uint32_t *regs[4];

		for (uint32_t n = 0; n < list->cpuid.nent; n++)
			if (list->cpuid.entries[n].function == r->function && list->cpuid.entries[n].index == r->index)
				entry = &list->cpuid.entries[n];
		if (!entry)
			entry = &list->cpuid.entries[list->cpuid.nent++];
		entry->function = r->function;
		entry->index = r->index;
		regs[0] = &entry->eax;
		regs[1] = &entry->ebx;
		regs[2] = &entry->ecx;
		regs[3] = &entry->edx;
		*regs[r->reg] = r->value;
	}
}

static void fix(union cpuid_list *list)
{
	const struct cpuid_place place = { .num_vcpus = 1, .tsc_deadline = true };

	assert_int_equal(cpuid_fix(&list->cpuid, &place), 0);
}

/* What a guest is given; what cpu_template_apply() says. */
static int given(const struct processor *p, const struct vm_config *config, union cpuid_list *list, struct err *e)
{
	int r;

	list_of(p, list);
	r = cpu_template_apply(config, &list->cpuid, e);
	fix(list);
	return r;
}

static void put_template(struct vm_config *config, const char *text)
{
	struct err e;
	json_t *root;
	void *data;

	assert_int_equal(config_json_parse(text, strlen(text), &root, &e), 0);
	if (resource_parse(&cpu_resource, root, &data, &e) || resource_put(&cpu_resource, config, data, &e))
		fail_msg("%s", e.text);
	json_fields_free(cpu_resource.fields, data);
	json_decref(root);
}

static void put_baseline(struct vm_config *config, bool intel)
{
	_cleanup_free_ char *text = NULL;
	struct err e;
	size_t len;

	assert_int_equal(file_read("template",
				   intel ? SHARE "/cpu-baseline-intel.json" : SHARE "/cpu-baseline-amd.json", 1 << 20,
				   &text, &len, &e),
			 0);
	put_template(config, text);
}

static void bitmaps_are_read_from_the_right(void **state)
{
	static const struct {
		const char *text;
		unsigned int width;
		uint64_t mask, value;
		const char *error; /* NULL: none */
	} rows[] = {
		{ "0b1", 32, 1, 1, NULL },
		{ "0", 32, 1, 0, NULL },
		{ "0bx", 32, 0, 0, NULL },
		{ "0b1x_0x", 32, 0xa, 0x8, NULL },
		{ "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx1", 32, 1, 1, NULL },
		{ "0b11111111_11111111_11111111_11111111", 32, UINT32_MAX, UINT32_MAX, NULL },
		{ "1111111111111111111111111111111111111111111111111111111111111111", 64, UINT64_MAX, UINT64_MAX,
		  NULL },
		{ "0bx11111111111111111111111111111111", 32, 0, 0, "more than 32 digits" },
		{ "0b2", 32, 0, 0, "\"0b2\" is not allowed: expected" },
		{ "0xff", 32, 0, 0, "more than" },
		{ "", 32, 0, 0, "no digits" },
		{ "0b", 32, 0, 0, "no digits" },
		{ "0b_", 32, 0, 0, "no digits" },
	};
	struct cpu_bitmap bitmap;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int r = cpu_bitmap_parse("bitmap", rows[i].text, rows[i].width, &bitmap, &e);

		if (rows[i].error) {
			assert_int_equal(r, -EINVAL);
			assert_true(strstr(e.text, rows[i].error) || !strcmp(rows[i].text, "0xff"));
			continue;
		}
		assert_int_equal(r, 0);
		assert_true(bitmap.mask == rows[i].mask && bitmap.value == rows[i].value);
	}
}

static void numbers_have_three_notations(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint32_t number;
	} rows[] = {
		{ "0x80000001", 0, 0x80000001 },
		{ "0b101", 0, 5 },
		{ "31", 0, 31 },
		{ "0xFFFFFFFF", 0, UINT32_MAX },
		{ "0x100000000", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ "0x", -EINVAL, 0 },
		{ "0b2", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "1f", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
	};
	uint32_t number;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		number = 0;
		assert_int_equal(cpu_number_parse("leaf", rows[i].text, &number, &e), rows[i].r);
		assert_int_equal(number, rows[i].number);
	}
}

/* Which template is for which of the processors, in the order of the table. */
static void static_templates_are_for_some_processors(void **state)
{
	static const struct {
		enum cpu_template which;
		bool allowed[ARRAY_SIZE(processors)];
	} rows[] = {
		{ CPU_TEMPLATE_C3, { true, true } },
		{ CPU_TEMPLATE_T2, { true, true } },
		{ CPU_TEMPLATE_T2S, { true } },
		{ CPU_TEMPLATE_T2CL, { true, true } },
		{ CPU_TEMPLATE_T2A, { [4] = true /* Milan */ } },
	};
	static const uint32_t avx512 = 0xd0030000;
	union cpuid_list list;
	struct vm_config config;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (size_t p = 0; p < ARRAY_SIZE(processors); p++) {
			vm_config_init(&config);
			config.machine.cpu_template = rows[i].which;
			if (!rows[i].allowed[p]) {
				assert_int_equal(given(&processors[p], &config, &list, &e), -ENOTSUP);
				assert_true(strstr(e.text, "CPU vendor mismatched") ||
					    strstr(e.text, "not permitted to apply the CPU template"));
				continue;
			}
			assert_int_equal(given(&processors[p], &config, &list, &e), 0);
			assert_int_equal(cpuid_reg(&list.cpuid, 7, 0, CPUID_EBX) & avx512, 0);
			assert_int_equal(cpuid_reg(&list.cpuid, 0xd, 0, CPUID_EAX), 7);
			assert_int_equal(cpuid_reg(&list.cpuid, 1, 0, CPUID_EAX) & 0xfffff000, 0x30000);
		}
	}
}

static void t2cl_and_t2a_give_the_same_instructions(void **state)
{
	static const struct {
		uint32_t function, index;
		enum cpuid_reg reg;
		uint32_t
			but; /* what a system asks for after the vendor: mitigations; SS, PCID, TSC_ADJUST, which Milan's KVM lacks */
	} regs[] = { { 7, 0, CPUID_ECX, 0 }, { 0xd, 0, CPUID_EAX, 0 }, { 0xd, 1, CPUID_EAX, 0 } };
	union cpuid_list intel, amd;
	struct vm_config config;
	struct err e;

	(void)state;
	vm_config_init(&config);
	config.machine.cpu_template = CPU_TEMPLATE_T2CL;
	assert_int_equal(given(&processors[0], &config, &intel, &e), 0);
	config.machine.cpu_template = CPU_TEMPLATE_T2A;
	assert_int_equal(given(&processors[4], &config, &amd, &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(regs); i++)
		assert_int_equal(cpuid_reg(&intel.cpuid, regs[i].function, regs[i].index, regs[i].reg),
				 cpuid_reg(&amd.cpuid, regs[i].function, regs[i].index, regs[i].reg));
}

/* Does a guest that was started on from run on to? */
static int moves(const struct processor *from, const struct processor *to, const struct vm_config *config,
		 struct err *e)
{
	union cpuid_list *guest = calloc(1, sizeof(*guest)), *supported = calloc(1, sizeof(*supported)),
			 *offered = calloc(1, sizeof(*offered));
	int r;

	assert_true(guest && supported && offered);
	assert_int_equal(given(from, config, guest, e), 0);
	list_of(to, supported);
	*offered = *supported;
	fix(offered);
	r = cpuid_check(&guest->cpuid, &supported->cpuid, &offered->cpuid, e);
	free(guest);
	free(supported);
	free(offered);
	return r;
}

static void the_baseline_makes_a_fleet_one(void **state)
{
	struct vm_config config;
	struct err e;

	(void)state;
	for (size_t from = 0; from < ARRAY_SIZE(processors); from++) {
		for (size_t to = 0; to < ARRAY_SIZE(processors); to++) {
			int r;

			vm_config_init(&config);
			put_baseline(&config, processors[from].intel);
			r = moves(&processors[from], &processors[to], &config, &e);
			vm_config_fini(&config);
			if (processors[from].intel != processors[to].intel)
				assert_true(r == -ENOTSUP && strstr(e.text, "was made on a processor of"));
			else if (r)
				fail_msg("from %s to %s: %s", processors[from].name, processors[to].name, e.text);
		}
	}
}

static void without_a_template_newer_does_not_move_to_older(void **state)
{
	static const struct {
		size_t from, to;
		const char *missing; /* NULL: it moves */
	} rows[] = { { 0, 1, "mpx, xcr0.bndregs" },
		     { 2, 1, "amx_bf16" },
		     { 2, 0, "avx512_vbmi" },
		     { 3, 2, "physical addresses of 52 bits" },
		     { 1, 0, "gfni" },
		     { 5, 4, "physical addresses of 52 bits" },
		     { 4, 5, NULL } };
	struct vm_config config;
	struct err e;

	(void)state;
	vm_config_init(&config);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int r = moves(&processors[rows[i].from], &processors[rows[i].to], &config, &e);

		if (rows[i].missing ? r != -ENOTSUP || !strstr(e.text, rows[i].missing) : r != 0)
			fail_msg("from %s to %s: %d %s", processors[rows[i].from].name, processors[rows[i].to].name, r,
				 r ? e.text : "");
	}
}

/* All features that a guest sees are the same, on whichever processor of the fleet it was started. */
static void the_baseline_hides_which_processor_it_is(void **state)
{
	union cpuid_list first, list;
	struct vm_config config;
	struct err e;

	(void)state;
	for (size_t p = 0; p < ARRAY_SIZE(processors); p++) {
		vm_config_init(&config);
		put_baseline(&config, processors[p].intel);
		assert_int_equal(given(&processors[p], &config, &list, &e), 0);
		assert_int_equal(given(&processors[processors[p].intel ? 0 : 4], &config, &first, &e), 0);
		for (size_t i = 1; i < PROCESSOR_NUM_REGS; i++) { /* [0] is the model */
			const struct processor_reg *r = &processors[p].regs[i];

			if (r->function == 0x40000001) /* of KVM, not of the processor */
				continue;
			if (cpuid_reg(&list.cpuid, r->function, r->index, r->reg) !=
			    cpuid_reg(&first.cpuid, r->function, r->index, r->reg))
				fail_msg("%s: CPUID 0x%x.%u register %u", processors[p].name, r->function, r->index,
					 r->reg);
		}
		vm_config_fini(&config);
	}
}

/* What is promised and not there is found before the guest starts. */
static void a_promise_that_the_host_cannot_keep_is_refused(void **state)
{
	union cpuid_list supported, offered, promised;
	struct vm_config config;
	struct err e;

	(void)state;
	vm_config_init(&config);
	put_template(&config, "{\"cpuid_modifiers\":[{\"leaf\":\"0x7\",\"subleaf\":\"0\",\"flags\":1,\"modifiers\":"
			      "[{\"register\":\"ebx\",\"bitmap\":\"0b1xxxxxxxxxxxxxxxx\"}]}]}");
	list_of(&processors[4], &supported); /* Milan has no AVX-512 */
	offered = supported;
	fix(&offered);
	assert_int_equal(given(&processors[4], &config, &promised, &e), 0);
	assert_int_equal(cpuid_check_template(&promised.cpuid, &supported.cpuid, &offered.cpuid, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "that the CPU template promises: avx512f;"));
	assert_int_equal(given(&processors[0], &config, &promised, &e), 0);
	list_of(&processors[0], &supported);
	assert_int_equal(cpuid_check_template(&promised.cpuid, &supported.cpuid, &supported.cpuid, &e), 0);
	vm_config_fini(&config);
}

static void leaves_that_there_are_not(void **state)
{
	union cpuid_list list;
	struct vm_config config;
	struct err e;

	(void)state;
	vm_config_init(&config);
	put_template(&config, "{\"cpuid_modifiers\":[{\"leaf\":\"0x1e\",\"subleaf\":\"1\",\"flags\":1,\"modifiers\":"
			      "[{\"register\":\"eax\",\"bitmap\":\"0b0000\"}]}]}");
	assert_int_equal(given(&processors[0], &config, &list, &e), 0);
	put_template(&config, "{\"cpuid_modifiers\":[{\"leaf\":\"0x1e\",\"subleaf\":\"1\",\"flags\":1,\"modifiers\":"
			      "[{\"register\":\"eax\",\"bitmap\":\"0b0100\"}]}]}");
	assert_int_equal(given(&processors[0], &config, &list, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "CPUID 0x1e.1, which KVM of this host does not have"));
	vm_config_fini(&config);
}

/* Whatever is forced, on whichever processor: cpuid_fix() comes last, and the request is refused before. */
static void no_template_gives_nested_virtualisation(void **state)
{
	static const struct {
		uint32_t leaf;
		enum cpu_register reg;
		uint32_t ones;
		int r;
	} rows[] = {
		{ 1, CPU_ECX, 1u << 5, -EINVAL },	{ 1, CPU_ECX, ~(1u << 5), 0 },
		{ 1, CPU_EDX, UINT32_MAX, 0 },		{ 0x80000001, CPU_ECX, 1u << 2, -EINVAL },
		{ 0x80000001, CPU_ECX, ~(1u << 2), 0 },
	};
	union cpuid_list list;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(arch_check_cpuid_ones(rows[i].leaf, rows[i].reg, rows[i].ones, &e), rows[i].r);
	for (size_t p = 0; p < ARRAY_SIZE(processors); p++) {
		list_of(&processors[p], &list);
		for (uint32_t i = 0; i < list.cpuid.nent; i++)
			if (list.cpuid.entries[i].function)
				list.cpuid.entries[i].ecx = UINT32_MAX;
		fix(&list);
		assert_int_equal(cpuid_reg(&list.cpuid, 1, 0, CPUID_ECX) & 1u << 5, 0);
		assert_int_equal(cpuid_reg(&list.cpuid, 0x80000001, 0, CPUID_ECX) & 1u << 2, 0);
	}
}

/* A snapshot has the template as data. */
static void a_template_is_saved_and_loaded(void **state)
{
	struct vm_config config, loaded;
	struct enc *enc = enc_new();
	_cleanup_free_ char *before = NULL, *after = NULL;
	json_t *json;
	uint8_t *data;
	struct dec *dec;
	struct err e;
	size_t len;

	(void)state;
	vm_config_init(&config);
	put_baseline(&config, true);
	assert_int_equal(vm_config_save(&config, enc), 0);
	assert_int_equal(enc_finish(enc, &data, &len), 0);
	enc_free(enc);
	assert_int_equal(dec_new(data, len, &dec, &e), 0);
	if (vm_config_load(dec, &loaded, &e))
		fail_msg("%s", e.text);
	json = json_fields_encode(cpu_resource.fields, &config.cpu);
	before = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	json = json_fields_encode(cpu_resource.fields, &loaded.cpu);
	after = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	assert_true(loaded.cpu.present && strlen(after) > 1000);
	assert_string_equal(before, after);
	vm_config_fini(&config);
	vm_config_fini(&loaded);
	dec_free(dec);
	free(data);
}

/* Of a static and a custom template the last one counts. */
static void the_last_template_counts(void **state)
{
	static const char custom[] = "{\"kvm_capabilities\":[\"!1\",\"2\"]}";
	struct vm_config config;
	struct machine_config machine = {
		.vcpu_count = 1, .mem_size_mib = 128, .has_cpu_template = true, .cpu_template = CPU_TEMPLATE_T2
	};
	struct err e;

	(void)state;
	vm_config_init(&config);
	assert_int_equal(resource_put(&machine_resource, &config, &machine, &e), 0);
	assert_int_equal(config.machine.cpu_template, CPU_TEMPLATE_T2);
	put_template(&config, custom);
	assert_true(config.cpu.present);
	assert_int_equal(config.machine.cpu_template, CPU_TEMPLATE_NONE);
	machine = (struct machine_config){ .vcpu_count = 2, .mem_size_mib = 128 };
	assert_int_equal(resource_put(&machine_resource, &config, &machine, &e), 0);
	assert_true(config.cpu.present);
	machine = (struct machine_config){ .vcpu_count = 2, .mem_size_mib = 128, .has_cpu_template = true };
	assert_int_equal(resource_put(&machine_resource, &config, &machine, &e), 0);
	assert_false(config.cpu.present);
	assert_false(config.machine.has_cpu_template);
	vm_config_fini(&config);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(bitmaps_are_read_from_the_right),
		cmocka_unit_test(numbers_have_three_notations),
		cmocka_unit_test(static_templates_are_for_some_processors),
		cmocka_unit_test(t2cl_and_t2a_give_the_same_instructions),
		cmocka_unit_test(the_baseline_makes_a_fleet_one),
		cmocka_unit_test(without_a_template_newer_does_not_move_to_older),
		cmocka_unit_test(the_baseline_hides_which_processor_it_is),
		cmocka_unit_test(a_promise_that_the_host_cannot_keep_is_refused),
		cmocka_unit_test(leaves_that_there_are_not),
		cmocka_unit_test(no_template_gives_nested_virtualisation),
		cmocka_unit_test(a_template_is_saved_and_loaded),
		cmocka_unit_test(the_last_template_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
