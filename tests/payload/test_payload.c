// SPDX-License-Identifier: Apache-2.0
/*
 * Guests without an operating system on real KVM, through kvm/ and arch/ alone.
 * Exits with 77 and a reason where the processor offers no virtualisation.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "arch/arch.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "state/codec.h"
#include "kvm/vcpu.h"
#include "ports.h"
#include "rig.h"

#define EXIT_SKIPPED 77

/* Enough to hit every instruction of the counting guest at every stage. */
#define PAUSES	     3000
#define CLONES	     30
#define MAX_DELAY_NS 400000

static void sleep_random(unsigned int *seed)
{
	struct timespec delay = { .tv_nsec = rand_r(seed) % MAX_DELAY_NS };

	nanosleep(&delay, NULL);
}

static void assert_counts_agree(const struct rig *rig)
{
	assert_int_equal(rig->ports.verdict, 0);
	assert_int_equal(rig->ports.errors, 0);
	assert_int_equal(rig->mmio.errors, 0);
	assert_int_equal(rig->exits, 0);
}

static void a_64_bit_elf_finds_its_boot_parameters_and_a_triple_fault_is_a_crash(void **state)
{
	struct rig *rig = rig_boot("guest_hello", 1, "a=b --", "guest_initrd");

	(void)state;
	vm_run(rig->vm);
	rig_wait_exit(rig);
	rig_pause(rig);
	assert_string_equal(rig->text, "long mode\na=b --\nRSDP\n3 E820 entries\nThis is the initrd.\n");
	assert_int_equal(rig->exits, 1);
	assert_int_equal(rig->exit_why, VM_EXIT_ERROR);
	rig_free(rig);
}

static void a_pvh_kernel_starts_in_protected_mode_with_start_info(void **state)
{
	struct rig *rig = rig_boot("guest_pvh", 1, "console=hvc0", NULL);

	(void)state;
	vm_run(rig->vm);
	rig_wait_exit(rig);
	rig_pause(rig);
	assert_string_equal(rig->text, "protected mode\nconsole=hvc0");
	assert_true(rig->has_reset);
	rig_free(rig);
}

static void pausing_thousands_of_times_loses_and_doubles_no_access(void **state)
{
	struct rig *rig = rig_boot("guest_count", 2, "", NULL); /* the second processor is never started */
	unsigned int seed = 1;
	uint32_t before = 0;

	(void)state;
	for (int i = 0; i < PAUSES; i++) {
		vm_run(rig->vm);
		sleep_random(&seed);
		rig_pause(rig);
		assert_counts_agree(rig);
	}
	assert_true(rig->ports.next_write > 100);
	before = rig->ports.next_write;
	sleep_random(&seed);
	assert_int_equal(rig->ports.next_write, before); /* paused means paused */
	print_message("%d pauses, %u rounds of the guest\n", PAUSES, before);
	rig_free(rig);
}

static void a_machine_goes_on_in_another_one_where_it_was_saved(void **state)
{
	struct rig *rig = rig_boot("guest_count", 2, "", NULL);
	unsigned int seed = 2;
	uint32_t before;

	(void)state;
	for (int i = 0; i < CLONES; i++) {
		struct rig *clone;

		before = rig->ports.next_write;
		vm_run(rig->vm);
		do {
			sleep_random(&seed);
			device_lock(&rig->ports.dev);
			device_unlock(&rig->ports.dev);
		} while (rig->ports.next_write < before + 3);
		rig_pause(rig);
		assert_counts_agree(rig);
		clone = rig_clone(rig);
		rig_free(rig);
		rig = clone;
	}
	rig_free(rig);
}

static void a_vcpu_that_does_not_come_is_not_waited_for(void **state)
{
	struct rig *rig = rig_boot("guest_halt", 2, "", NULL);
	uint64_t start_ns;
	struct err e;
	sem_t hold;

	(void)state;
	sem_init(&hold, 0, 0);
	rig->hold = &hold;
	vm_run(rig->vm);
	assert_int_equal(sem_wait(&rig->event), 0);
	start_ns = clock_now_ns();
	assert_int_equal(vm_pause(rig->vm, 200ull * 1000 * 1000, &e), -ETIMEDOUT);
	assert_in_range(clock_now_ns() - start_ns, 200ull * 1000 * 1000, 2000ull * 1000 * 1000);
	assert_non_null(strstr(e.text, "vCPU 0 does not stop"));
	vm_run(rig->vm); /* as if nobody had asked */
	rig->hold = NULL;
	sem_post(&hold);
	rig_wait_text(rig, "halt");
	rig_pause(rig);
	rig_free(rig);
	sem_destroy(&hold);
}

static void a_halted_machine_pauses_saves_and_ends(void **state)
{
	struct rig *rig = rig_boot("guest_halt", 2, "", NULL);
	struct rig *clone;

	(void)state;
	vm_run(rig->vm);
	rig_wait_text(rig, "halt");
	for (int i = 0; i < 200; i++) {
		rig_pause(rig);
		rig_pause(rig);
		vm_run(rig->vm);
		vm_run(rig->vm);
	}
	rig_pause(rig);
	clone = rig_clone(rig);
	rig_free(rig);
	vm_run(clone->vm);
	rig_pause(clone);
	vm_run(clone->vm);
	rig_free(clone); /* while it runs */
}

/* A vCPU's state with one string replaced: by one of another size, or by all ones. */
static int load_with(struct rig *rig, struct dec *good, const char *replaced, bool all_ones, struct err *e)
{
	static const char *const keys[] = { "regs",  "sregs", "xsave", "xcrs",	"debugregs",
					    "lapic", "cpuid", "msrs",  "events" };
	const struct arch_clock clock = { .at_ns = clock_now_ns() };
	struct enc *enc = enc_new();
	struct dec *dec;
	uint8_t *data;
	size_t len;
	int r;

	enc_u64(enc, "tsc_khz", dec_u64(good, "tsc_khz", 0, UINT64_MAX));
	enc_u64(enc, "mp_state", dec_u64(good, "mp_state", 0, UINT64_MAX));
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const uint8_t *blob = dec_blob(good, keys[i], 0, 1 << 20, &len);
		uint8_t *copy = malloc(len + 1);

		assert_non_null(copy);
		memcpy(copy, blob, len);
		if (strcmp(keys[i], replaced) == 0 && all_ones)
			memset(copy, 0xff, len);
		else if (strcmp(keys[i], replaced) == 0)
			copy[len++] = 0;
		enc_bytes(enc, keys[i], copy, len);
		free(copy);
	}
	assert_int_equal(enc_finish(enc, &data, &len), 0);
	enc_free(enc);
	assert_int_equal(dec_new(data, len, &dec, e), 0);
	free(data);
	r = arch_vcpu_load(&rig->vm->vcpus[0], dec, &clock, e);
	dec_free(dec);
	return r;
}

static struct dec *save_vcpu(struct rig *rig)
{
	struct enc *enc = enc_new();
	struct dec *dec;
	uint8_t *data;
	size_t len;
	struct err e;

	assert_int_equal(arch_vcpu_save(&rig->vm->vcpus[0], enc, &e), 0);
	assert_int_equal(enc_finish(enc, &data, &len), 0);
	enc_free(enc);
	assert_int_equal(dec_new(data, len, &dec, &e), 0);
	free(data);
	return dec;
}

static void a_hostile_vcpu_state_is_refused_by_name_or_harms_only_the_guest(void **state)
{
	static const char *const sized[] = { "regs", "sregs", "xcrs", "debugregs", "lapic", "cpuid", "msrs", "events" };
	static const char *const any[] = { "regs", "sregs", "xsave", "debugregs", "lapic", "cpuid", "msrs", "events" };
	struct rig *rig = rig_boot("guest_count", 1, "", NULL);
	struct dec *good = save_vcpu(rig);
	unsigned int seed = 3;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sized); i++) {
		assert_int_equal(load_with(rig, good, sized[i], false, &e), -EINVAL);
		if (!strstr(e.text, sized[i]))
			fail_msg("'%s' does not name '%s'", e.text, sized[i]);
	}
	rig_free(rig);
	for (size_t i = 0; i < ARRAY_SIZE(any); i++) {
		rig = rig_boot("guest_count", 1, "", NULL);
		if (load_with(rig, good, any[i], true, &e) < 0)
			print_message("%s\n", e.text);
		vm_run(rig->vm);
		sleep_random(&seed);
		rig_pause(rig);
		rig_free(rig);
	}
	dec_free(good);
}

/* delay_ns: how long the machine is stopped before it is saved; the timer's time passes or does not. */
static void save_and_wait_for_timer(long delay_ns)
{
	struct timespec delay = { .tv_sec = delay_ns / 1000000000, .tv_nsec = delay_ns % 1000000000 };
	struct rig *rig = rig_boot("guest_timer", 1, "", NULL), *clone;

	vm_run(rig->vm);
	rig_wait_text(rig, "armed");
	rig_pause(rig);
	nanosleep(&delay, NULL);
	clone = rig_clone(rig);
	rig_free(rig);
	vm_run(clone->vm);
	rig_wait_text(clone, "timer");
	rig_free(clone);
}

static void a_timer_that_is_armed_comes_after_the_load(void **state)
{
	(void)state;
	save_and_wait_for_timer(0);
}

static void a_timer_that_ran_out_while_the_machine_stood_comes_after_the_load(void **state)
{
	(void)state;
	save_and_wait_for_timer(1500000000);
}

static uint64_t vcpu_tsc(const struct rig *rig)
{
	union {
		struct kvm_msrs msrs;
		uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	} tsc = { .msrs.nmsrs = 1 };

	tsc.msrs.entries[0].index = 0x10;
	assert_int_equal(ioctl(rig->vm->vcpus[0].fd, KVM_GET_MSRS, &tsc), 1);
	return tsc.msrs.entries[0].data;
}

/* If it did not, timers would come minutes late: this happens where Linux has refined the frequency after KVM was loaded. */
static void the_tsc_runs_in_the_eyes_of_kvm(void **state)
{
	struct rig *rig = rig_boot("guest_halt", 1, "", NULL);
	uint64_t first = vcpu_tsc(rig);

	(void)state;
	assert_true(vcpu_tsc(rig) > first);
	rig_free(rig);
}

static void an_eventfd_interrupts_the_guest_and_a_doorbell_rings_an_eventfd(void **state)
{
	struct rig *rig = rig_boot("guest_irq", 1, "", NULL);
	int irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	eventfd_t rings = 0;
	struct err e;

	(void)state;
	assert_int_equal(vm_irqfd(rig->vm, PAYLOAD_GSI, irq, &e), 0);
	assert_int_equal(vm_ioeventfd(rig->vm, PAYLOAD_DOORBELL_GPA, PAYLOAD_DOORBELL_VALUE, doorbell, true, &e), 0);
	vm_run(rig->vm);
	rig_wait_text(rig, "ready\n");
	assert_null(strstr(rig->text, "interrupt"));
	assert_int_equal(eventfd_write(irq, 1), 0);
	rig_wait_exit(rig);
	assert_non_null(strstr(rig->text, "interrupt\n"));
	assert_int_equal(eventfd_read(doorbell, &rings), 0);
	assert_int_equal(rings, 1);
	assert_int_equal(vm_ioeventfd(rig->vm, PAYLOAD_DOORBELL_GPA, PAYLOAD_DOORBELL_VALUE, doorbell, false, &e), 0);
	rig_free(rig);
	close(irq);
	close(doorbell);
}

static struct kvm_irqchip get_chip(const struct rig *rig, uint32_t id)
{
	struct kvm_irqchip chip = { .chip_id = id };

	assert_int_equal(ioctl(rig->vm->fd, KVM_GET_IRQCHIP, &chip), 0);
	return chip;
}

static void set_chip(const struct rig *rig, struct kvm_irqchip *chip)
{
	assert_int_equal(ioctl(rig->vm->fd, KVM_SET_IRQCHIP, chip), 0);
}

/* An edge on every line; then bit n is set if line n has asked one of the two 8259. */
static uint32_t raise_all_and_look(const struct rig *rig)
{
	for (uint32_t gsi = 0; gsi <= ARCH_GSI_LAST; gsi++) {
		struct kvm_irq_level line = { .irq = gsi, .level = 1 };

		assert_int_equal(ioctl(rig->vm->fd, KVM_IRQ_LINE, &line), 0);
		line.level = 0;
		assert_int_equal(ioctl(rig->vm->fd, KVM_IRQ_LINE, &line), 0);
	}
	return get_chip(rig, KVM_IRQCHIP_PIC_MASTER).chip.pic.irr |
	       (uint32_t)get_chip(rig, KVM_IRQCHIP_PIC_SLAVE).chip.pic.irr << 8;
}

#define PIC_LEGACY (1u | 1u << ARCH_I8042_GSI | 1u << ARCH_SERIAL_GSI)

static void no_device_reaches_an_8259_and_those_start_masked(void **state)
{
	struct rig *rig = rig_boot("guest_halt", 1, "", NULL);

	(void)state;
	assert_int_equal(get_chip(rig, KVM_IRQCHIP_PIC_MASTER).chip.pic.imr, 0xff);
	assert_int_equal(get_chip(rig, KVM_IRQCHIP_PIC_SLAVE).chip.pic.imr, 0xff);
	assert_int_equal(raise_all_and_look(rig), PIC_LEGACY);
	rig_free(rig);
}

/* As version 1.0 left it: every line at the 8259, nothing masked, an interrupt of a device already there. */
static void a_snapshot_from_before_the_routing_is_quiet_too(void **state)
{
	struct rig *rig = rig_boot("guest_halt", 1, "", NULL), *clone;
	struct kvm_irqchip master = get_chip(rig, KVM_IRQCHIP_PIC_MASTER);

	(void)state;
	master.chip.pic.imr = 0;
	master.chip.pic.irr = 1u << 7;
	set_chip(rig, &master);
	clone = rig_clone(rig);
	master = get_chip(clone, KVM_IRQCHIP_PIC_MASTER);
	assert_int_equal(master.chip.pic.imr, 0xff);
	assert_int_equal(master.chip.pic.irr, 0);
	assert_int_equal(raise_all_and_look(clone), PIC_LEGACY);
	rig_free(clone);
	rig_free(rig);
}

static void a_snapshot_whose_guest_has_programmed_the_8259_keeps_its_lines(void **state)
{
	struct rig *rig = rig_boot("guest_halt", 1, "", NULL), *clone;
	struct kvm_irqchip master = get_chip(rig, KVM_IRQCHIP_PIC_MASTER);

	(void)state;
	master.chip.pic.irq_base = 0x30;
	master.chip.pic.imr = 0xdb; /* open: the second 8259, line 5 */
	set_chip(rig, &master);
	assert_false(arch_irq_is_open(rig->vm, 4));
	assert_true(arch_irq_is_open(rig->vm, 5));
	clone = rig_clone(rig);
	assert_int_equal(get_chip(clone, KVM_IRQCHIP_PIC_MASTER).chip.pic.imr, 0xdb);
	assert_int_equal(raise_all_and_look(clone) & ~(1u << 2), 0xfffb);
	rig_free(clone);
	rig_free(rig);
}

static void an_interrupt_is_open_once_its_ioapic_pin_is(void **state)
{
	struct rig *rig = rig_boot("guest_halt", 1, "", NULL);
	struct kvm_irqchip ioapic = get_chip(rig, KVM_IRQCHIP_IOAPIC);

	(void)state;
	for (uint32_t gsi = 0; gsi <= ARCH_GSI_LAST; gsi++)
		assert_false(arch_irq_is_open(rig->vm, gsi));
	ioapic.chip.ioapic.redirtbl[ARCH_GSI_LAST].bits = 0x40;
	set_chip(rig, &ioapic);
	assert_true(arch_irq_is_open(rig->vm, ARCH_GSI_LAST));
	assert_false(arch_irq_is_open(rig->vm, ARCH_GSI_LAST - 1));
	rig_free(rig);
}

/* NULL, or why guests cannot run here. That /dev/kvm opens proves nothing. */
static const char *reason_to_skip(void)
{
	bool has_flag = false;
	char *line = NULL;
	size_t size = 0;
	FILE *f;

	if (access("/dev/kvm", R_OK | W_OK) < 0)
		return "/dev/kvm cannot be opened";
	f = fopen("/proc/cpuinfo", "re");
	while (f && !has_flag && getline(&line, &size, f) > 0)
		has_flag = strncmp(line, "flags", 5) == 0 &&
			   (strstr(line, " vmx") != NULL || strstr(line, " svm") != NULL);
	free(line);
	if (f)
		fclose(f);
	return has_flag ? NULL : "the processor has neither VMX nor SVM";
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_64_bit_elf_finds_its_boot_parameters_and_a_triple_fault_is_a_crash),
		cmocka_unit_test(a_pvh_kernel_starts_in_protected_mode_with_start_info),
		cmocka_unit_test(pausing_thousands_of_times_loses_and_doubles_no_access),
		cmocka_unit_test(a_machine_goes_on_in_another_one_where_it_was_saved),
		cmocka_unit_test(a_halted_machine_pauses_saves_and_ends),
		cmocka_unit_test(a_vcpu_that_does_not_come_is_not_waited_for),
		cmocka_unit_test(a_hostile_vcpu_state_is_refused_by_name_or_harms_only_the_guest),
		cmocka_unit_test(a_timer_that_is_armed_comes_after_the_load),
		cmocka_unit_test(a_timer_that_ran_out_while_the_machine_stood_comes_after_the_load),
		cmocka_unit_test(the_tsc_runs_in_the_eyes_of_kvm),
		cmocka_unit_test(no_device_reaches_an_8259_and_those_start_masked),
		cmocka_unit_test(a_snapshot_from_before_the_routing_is_quiet_too),
		cmocka_unit_test(a_snapshot_whose_guest_has_programmed_the_8259_keeps_its_lines),
		cmocka_unit_test(an_interrupt_is_open_once_its_ioapic_pin_is),
		cmocka_unit_test(an_eventfd_interrupts_the_guest_and_a_doorbell_rings_an_eventfd),
	};
	const char *reason = reason_to_skip();

	if (reason) {
		printf("skipped: %s\n", reason);
		return EXIT_SKIPPED;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
