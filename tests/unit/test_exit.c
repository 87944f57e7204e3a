// SPDX-License-Identifier: Apache-2.0
/* What ends a guest, and how its end is told: a crash must not look like a reboot. */
#include "kvm/exit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "arch/arch.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"

static enum exit_verdict verdict_of(uint32_t reason, uint32_t type)
{
	struct kvm_run run;
	struct vm vm = { .arch_ops = &arch_vm_ops };
	struct vcpu vcpu = { .vm = &vm, .run = &run };

	memset(&run, 0, sizeof(run));
	run.exit_reason = reason;
	if (reason == KVM_EXIT_SYSTEM_EVENT)
		run.system_event.type = type;
	return exit_handle(&vcpu);
}

static void a_crash_is_no_reset(void **state)
{
	(void)state;
	assert_int_equal(verdict_of(KVM_EXIT_SHUTDOWN, 0), EXIT_FAILED); /* a triple fault */
	assert_int_equal(verdict_of(KVM_EXIT_SYSTEM_EVENT, KVM_SYSTEM_EVENT_CRASH), EXIT_FAILED);
	assert_int_equal(verdict_of(KVM_EXIT_INTERNAL_ERROR, 0), EXIT_FAILED);
	assert_int_equal(verdict_of(KVM_EXIT_FAIL_ENTRY, 0), EXIT_FAILED);
	assert_int_equal(verdict_of(KVM_EXIT_UNKNOWN, 0), EXIT_FAILED);
}

static void what_the_guest_asks_for_is_a_reset(void **state)
{
	(void)state;
	assert_int_equal(verdict_of(KVM_EXIT_SYSTEM_EVENT, KVM_SYSTEM_EVENT_RESET), EXIT_RESET);
	assert_int_equal(verdict_of(KVM_EXIT_SYSTEM_EVENT, KVM_SYSTEM_EVENT_SHUTDOWN), EXIT_RESET);
	assert_int_equal(verdict_of(KVM_EXIT_INTR, 0), EXIT_CONTINUE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_crash_is_no_reset),
		cmocka_unit_test(what_the_guest_asks_for_is_a_reset),
	};

	return cmocka_run_group_tests_name("exit", tests, NULL, NULL);
}
