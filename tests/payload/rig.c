// SPDX-License-Identifier: Apache-2.0
#include "rig.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "arch/arch.h"
#include "arch/x86_64/boot.h"
#include "state/codec.h"
#include "kvm/vcpu.h"
#include "rig_devices.h"

#define RIG_MEMORY    (16ull << 20)
#define RIG_TIMEOUT_S 30
#define RIG_PAUSE_NS  (10ull * 1000 * 1000 * 1000)

/* Says the reason of a failure, which is all that a test can do about it. */
static void rig_must(int r, const struct err *e)
{
	if (r < 0)
		fail_msg("%s", e->text);
}

const char *rig_path(const char *name)
{
	static char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash;

	assert_true(n > 0);
	path[n] = '\0';
	slash = strrchr(path, '/');
	assert_non_null(slash);
	snprintf(slash + 1, sizeof(path) - (size_t)(slash + 1 - path), "%s", name);
	return path;
}

static void rig_on_exit(void *ctx, enum vm_exit why)
{
	struct rig *rig = ctx;

	rig->exit_why = why;
	atomic_fetch_add(&rig->exits, 1);
	sem_post(&rig->event);
}

static struct rig *rig_new(unsigned int num_vcpus)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct mem_layout layout;
	struct err e;

	assert_non_null(rig);
	arch_mem_layout(RIG_MEMORY, &layout);
	rig_must(mem_init_anonymous(&rig->mem, &layout, &e), &e);
	bus_init(&rig->bus);
	sem_init(&rig->event, 0, 0);
	rig_add_devices(rig);
	rig_must(vm_new(&(struct vm_setup){ .arch = &arch_vm_ops, .num_vcpus = num_vcpus }, &rig->bus, &rig->mem,
			rig_on_exit, rig, &rig->vm, &e),
		 &e);
	return rig;
}

struct rig *rig_boot(const char *guest, unsigned int num_vcpus, const char *cmdline, const char *initrd)
{
	struct rig *rig = rig_new(num_vcpus);
	char initrd_path[PATH_MAX];
	const struct arch_board board = { .num_places = 1,
					  .places = { { .base = ARCH_VMGENID_GPA, .gsi = ARCH_GSI_LAST } } };
	struct boot_config config = { .cmdline = cmdline, .board = &board };
	char kernel_path[PATH_MAX];
	struct err e;

	snprintf(kernel_path, sizeof(kernel_path), "%s", rig_path(guest));
	config.kernel_path = kernel_path;
	if (initrd) {
		snprintf(initrd_path, sizeof(initrd_path), "%s", rig_path(initrd));
		config.initrd_path = initrd_path;
	}
	rig_must(boot_machine(rig->vm, &config, &e), &e);
	return rig;
}

/* Takes the KVM state of from over, by way of its encoding. */
static void rig_copy_state(struct rig *to, struct rig *from)
{
	struct enc *enc = enc_new();
	struct arch_clock clock;
	struct dec *dec, *vm;
	uint8_t *data;
	size_t len;
	struct err e;

	assert_non_null(enc);
	enc_array_begin(enc, "vcpus");
	for (unsigned int i = 0; i < from->vm->num_vcpus; i++) {
		enc_item_begin(enc);
		rig_must(arch_vcpu_save(&from->vm->vcpus[i], enc, &e), &e);
		enc_item_end(enc);
	}
	enc_array_end(enc);
	enc_map_begin(enc, "vm");
	rig_must(arch_vm_save(from->vm, enc, &e), &e);
	enc_map_end(enc);
	assert_int_equal(enc_finish(enc, &data, &len), 0);
	enc_free(enc);

	rig_must(dec_new(data, len, &dec, &e), &e);
	free(data);
	vm = dec_map(dec, "vm");
	rig_must(arch_clock_load(to->vm, vm, false, &clock, &e), &e);
	assert_int_equal(dec_array(dec, "vcpus", 32), from->vm->num_vcpus);
	for (unsigned int i = 0; i < from->vm->num_vcpus; i++) {
		struct dec *item = dec_item(dec, "vcpus", i);

		rig_must(arch_vcpu_load(&to->vm->vcpus[i], item, &clock, &e), &e);
		dec_end(item);
	}
	rig_must(arch_vm_load(to->vm, vm, &e), &e);
	dec_end(vm);
	dec_end(dec);
	rig_must(dec_error(dec, &e), &e);
	dec_free(dec);
}

/* All but the device itself, which comes first: a lock is not copied. */
static void rig_copy_counters(struct counters *to, const struct counters *from)
{
	memcpy((char *)to + sizeof(to->dev), (const char *)from + sizeof(from->dev), sizeof(*to) - sizeof(to->dev));
}

struct rig *rig_clone(struct rig *other)
{
	struct rig *rig = rig_new(other->vm->num_vcpus);

	for (unsigned int i = 0; i < other->mem.num_regions; i++)
		memcpy(rig->mem.regions[i].writable, other->mem.regions[i].host, other->mem.regions[i].size);
	rig_copy_state(rig, other);
	rig_copy_counters(&rig->ports, &other->ports);
	rig_copy_counters(&rig->mmio, &other->mmio);
	memcpy(rig->text, other->text, sizeof(rig->text));
	rig->text_len = other->text_len;
	return rig;
}

void rig_pause(struct rig *rig)
{
	struct err e;

	rig_must(vm_pause(rig->vm, RIG_PAUSE_NS, &e), &e);
}

void rig_free(struct rig *rig)
{
	vm_free(rig->vm);
	mem_fini(&rig->mem);
	sem_destroy(&rig->event);
	free(rig);
}

/* False after the time limit. */
static bool rig_wait_event(struct rig *rig)
{
	struct timespec limit;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += RIG_TIMEOUT_S;
	return sem_timedwait(&rig->event, &limit) == 0;
}

void rig_wait_text(struct rig *rig, const char *text)
{
	bool found;

	do {
		device_lock(&rig->console);
		found = strstr(rig->text, text) != NULL;
		device_unlock(&rig->console);
		if (!found && !rig_wait_event(rig))
			fail_msg("the guest did not print '%s' in time; it printed '%s'", text, rig->text);
	} while (!found);
}

void rig_wait_exit(struct rig *rig)
{
	while (atomic_load(&rig->exits) == 0 && !rig->has_reset) {
		if (!rig_wait_event(rig))
			fail_msg("the guest did not end in time; it printed '%s'", rig->text);
	}
}
