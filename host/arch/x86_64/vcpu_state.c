// SPDX-License-Identifier: Apache-2.0
/*
 * Everything that a vCPU is, to and from a map of a snapshot: KVM's structures
 * are byte strings as Linux' <asm/kvm.h> has them, a stable ABI. vcpu_fields is
 * the list of keys.
 *
 * On load nothing is believed but the sizes; KVM checks each value, and what it
 * refuses ends the load with a sentence that names the state.
 */
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "arch/arch.h"
#include "arch/x86_64/clock.h"
#include "arch/x86_64/cpuid_list.h"
#include "arch/x86_64/exit.h"
#include "arch/x86_64/msr.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "kvm/ioctl.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"
#include "mem/pages.h"
#include "state/codec.h"
#include "state/table.h"

/* struct kvm_xsave's old size is the least; with all of today's extensions it has 11 KiB. */
#define VCPU_XSAVE_MIN sizeof(struct kvm_xsave)
#define VCPU_XSAVE_MAX (64u << 10)

/* Guests cannot tell a clock that is off by less: 250 parts in a million is what NTP corrects. */
#define VCPU_TSC_TOLERANCE_PPM 250

/* struct pvclock_vcpu_time_info of Linux. */
#define VCPU_CLOCK_LEN 32

/* Linux 6.18: KVM_X86_REG_KVM(KVM_REG_GUEST_SSP); Debian's headers are older. */
#define VCPU_REG_GUEST_SSP (KVM_REG_X86 | KVM_REG_SIZE_U64 | 3ull << 32)

struct vcpu_image {
	uint8_t xsave[VCPU_XSAVE_MAX] __attribute__((aligned(64)));
	unsigned int xsave_len;
	uint32_t mp_state; /* KVM_MP_STATE_* */
	uint32_t tsc_khz;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_debugregs debugregs;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	struct kvm_xcrs xcrs; /* a processor without XSAVE has none */
	unsigned int xcrs_len;
	struct kvm_cpuid_entry2 cpuid[CPUID_MAX_ENTRIES];
	unsigned int cpuid_len;
	struct kvm_msr_entry msrs[MSR_MAX_SAVED];
	unsigned int msrs_len;
	uint64_t ssp; /* shadow-stack pointer; 0 without CET */
};

static const struct state_field vcpu_fields[] = {
	STATE_UINT_FIELD(struct vcpu_image, mp_state, 0, UINT32_MAX),
	STATE_UINT_FIELD(struct vcpu_image, tsc_khz, 1, INT32_MAX),
	STATE_BYTES_FIELD(struct vcpu_image, regs),
	STATE_BYTES_FIELD(struct vcpu_image, sregs),
	STATE_BLOB_FIELD(struct vcpu_image, xsave, xsave_len, 1, VCPU_XSAVE_MIN, VCPU_XSAVE_MAX),
	STATE_BLOB_FIELD(struct vcpu_image, xcrs, xcrs_len, sizeof(struct kvm_xcrs), 0, sizeof(struct kvm_xcrs)),
	STATE_BYTES_FIELD(struct vcpu_image, debugregs),
	STATE_BYTES_FIELD(struct vcpu_image, lapic),
	STATE_BLOB_FIELD(struct vcpu_image, cpuid, cpuid_len, sizeof(struct kvm_cpuid_entry2), 0,
			 CPUID_MAX_ENTRIES * sizeof(struct kvm_cpuid_entry2)),
	STATE_BLOB_FIELD(struct vcpu_image, msrs, msrs_len, sizeof(struct kvm_msr_entry), 0,
			 MSR_MAX_SAVED * sizeof(struct kvm_msr_entry)),
	STATE_BYTES_FIELD(struct vcpu_image, events),
	STATE_UINT_FIELD(struct vcpu_image, ssp, 0, UINT64_MAX, .since = 1),
};
static const struct state_table vcpu_table = STATE_TABLE(vcpu_fields);

static int vcpu_err_get(struct err *e, int r, const char *key, const struct vcpu *vcpu)
{
	return err_errno(e, -r, "KVM does not give the state \"%s\" of vCPU %u", key, vcpu->index);
}

static int vcpu_err_set(struct err *e, int r, const char *key, const struct vcpu *vcpu)
{
	return err_errno(e, -r, "KVM refuses the state \"%s\" of vCPU %u", key, vcpu->index);
}

static int vcpu_get(struct vcpu *vcpu, unsigned long request, const char *key, void *data, struct err *e)
{
	int r = kvm_ioctl(vcpu->fd, request, data);

	return r < 0 ? vcpu_err_get(e, r, key, vcpu) : 0;
}

static int vcpu_set(struct vcpu *vcpu, unsigned long request, const char *key, void *data, struct err *e)
{
	int r = kvm_ioctl(vcpu->fd, request, data);

	return r < 0 ? vcpu_err_set(e, r, key, vcpu) : 0;
}

/* *size: bytes of this VM's XSAVE buffer; *get: the request that reads all of it. */
static int vcpu_xsave_size(const struct vcpu *vcpu, unsigned int *size, unsigned long *get, struct err *e)
{
	int cap = kvm_ioctl_n(vcpu->vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);

	*get = cap > 0 ? KVM_GET_XSAVE2 : KVM_GET_XSAVE;
	*size = cap > (int)VCPU_XSAVE_MIN ? (unsigned int)cap : VCPU_XSAVE_MIN;
	if (*size > VCPU_XSAVE_MAX)
		return err_set(e, ENOTSUP, "this host's processor has %u bytes of XSAVE state; %u are supported", *size,
			       VCPU_XSAVE_MAX);
	return 0;
}

static int vcpu_get_xsave(struct vcpu *vcpu, struct vcpu_image *state, struct err *e)
{
	unsigned long get;
	int r = vcpu_xsave_size(vcpu, &state->xsave_len, &get, e);

	return r < 0 ? r : vcpu_get(vcpu, get, "xsave", state->xsave, e);
}

/* KVM reads as many bytes as this host's processor has state, whatever the snapshot has. */
static int vcpu_set_xsave(struct vcpu *vcpu, struct vcpu_image *state, struct err *e)
{
	unsigned long get;
	unsigned int size;
	int r = vcpu_xsave_size(vcpu, &size, &get, e);

	if (r < 0)
		return r;
	if (state->xsave_len > size)
		return err_set(e, EINVAL,
			       "the state \"xsave\" of vCPU %u has %u bytes; this host's processor has room for %u",
			       vcpu->index, state->xsave_len, size);
	memset(state->xsave + state->xsave_len, 0, VCPU_XSAVE_MAX - state->xsave_len);
	return vcpu_set(vcpu, KVM_SET_XSAVE, "xsave", state->xsave, e);
}

static bool vcpu_has_xcrs(const struct vcpu *vcpu)
{
	return kvm_ioctl_n(vcpu->vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_XCRS) > 0;
}

static int vcpu_get_xcrs(struct vcpu *vcpu, struct vcpu_image *state, struct err *e)
{
	if (!vcpu_has_xcrs(vcpu))
		return 0;
	state->xcrs_len = sizeof(state->xcrs);
	return vcpu_get(vcpu, KVM_GET_XCRS, "xcrs", &state->xcrs, e);
}

static int vcpu_set_xcrs(struct vcpu *vcpu, struct vcpu_image *state, struct err *e)
{
	if (state->xcrs_len == 0 && !vcpu_has_xcrs(vcpu))
		return 0;
	if (state->xcrs_len == 0)
		return err_set(e, EINVAL, "the state \"xcrs\" of vCPU %u has 0 bytes; this host's processor has %zu",
			       vcpu->index, sizeof(state->xcrs));
	return vcpu_set(vcpu, KVM_SET_XCRS, "xcrs", &state->xcrs, e);
}

static int vcpu_get_cpuid(struct vcpu *vcpu, struct vcpu_image *state, struct err *e)
{
	union cpuid_list list = { .cpuid.nent = CPUID_MAX_ENTRIES };
	int r = vcpu_get(vcpu, KVM_GET_CPUID2, "cpuid", &list, e);

	if (r < 0)
		return r;
	state->cpuid_len = (unsigned int)(list.cpuid.nent * sizeof(state->cpuid[0]));
	memcpy(state->cpuid, list.cpuid.entries, state->cpuid_len);
	return 0;
}

static void vcpu_cpuid_list(const struct vcpu_image *state, union cpuid_list *list)
{
	memset(list, 0, sizeof(*list));
	list->cpuid.nent = (uint32_t)(state->cpuid_len / sizeof(state->cpuid[0]));
	memcpy(list->cpuid.entries, state->cpuid, state->cpuid_len);
}

static int vcpu_set_cpuid(struct vcpu *vcpu, struct vcpu_image *state, struct err *e)
{
	union cpuid_list list;
	int r;

	vcpu_cpuid_list(state, &list);
	r = cpuid_check_loaded(vcpu, &list.cpuid, e);
	return r < 0 ? r : vcpu_set(vcpu, KVM_SET_CPUID2, "cpuid", &list, e);
}

static int vcpu_get_msrs(struct vcpu *vcpu, struct vcpu_image *state, struct err *e)
{
	struct msr_set set = { .n = 0 };
	union cpuid_list list;
	int r;

	vcpu_cpuid_list(state, &list);
	r = msr_get_all(vcpu, &list.cpuid, &set, e);
	if (r < 0)
		return r;
	state->msrs_len = (unsigned int)(set.n * sizeof(state->msrs[0]));
	memcpy(state->msrs, set.entries, state->msrs_len);
	return 0;
}

/* What the TSC is at now_ns. One that would go beyond its end by itself is left alone, as a processor's would begin again. */
static int vcpu_move_tsc(const struct vcpu *vcpu, const struct vcpu_image *state, const struct arch_clock *clock,
			 uint64_t now_ns, struct msr_set *set, struct err *e)
{
	struct kvm_msr_entry *tsc = msr_find(set, MSR_TSC);
	uint64_t value = tsc ? tsc->data : 0;

	if (!tsc)
		return 0;
	if (clock_move_tsc(clock, state->tsc_khz, now_ns, &value) < 0 && clock->moved_ns > 0)
		return err_set(
			e, EINVAL,
			"the TSC of vCPU %u, 0x%llx at %u kHz, cannot be moved on by the %llu s since the snapshot: "
			"it has 64 bits",
			vcpu->index, tsc->data, state->tsc_khz, (unsigned long long)(clock->moved_ns / 1000000000));
	tsc->data = value;
	return 0;
}

static int vcpu_set_msrs(struct vcpu *vcpu, struct vcpu_image *state, const struct arch_clock *clock, bool old,
			 struct err *e)
{
	struct msr_set set = { .n = state->msrs_len / sizeof(state->msrs[0]) };
	const struct arch_clock since = { .at_ns = clock_now_ns() };
	union cpuid_list list;
	int r;

	vcpu_cpuid_list(state, &list);
	memcpy(set.entries, state->msrs, state->msrs_len);
	r = vcpu_move_tsc(vcpu, state, clock, since.at_ns, &set, e);
	if (r == 0)
		r = msr_forget_creation_tsc(vcpu, &set, e);
	if (r == 0) /* that took time, too */
		r = vcpu_move_tsc(vcpu, state, &since, clock_now_ns(), &set, e);
	return r < 0 ? r : msr_set_all(vcpu, &list.cpuid, old, &set, e);
}

/* Leaf 7, CET_SS: a KVM that gives the feature has the register. */
static bool vcpu_has_ssp(const struct vcpu_image *state)
{
	union cpuid_list list;

	vcpu_cpuid_list(state, &list);
	return cpuid_reg(&list.cpuid, 0x7, 0, CPUID_ECX) & 1u << 7;
}

static int vcpu_get_ssp(struct vcpu *vcpu, struct vcpu_image *state, struct err *e)
{
	struct kvm_one_reg reg = { .id = VCPU_REG_GUEST_SSP, .addr = (uint64_t)(uintptr_t)&state->ssp };

	return vcpu_has_ssp(state) ? vcpu_get(vcpu, KVM_GET_ONE_REG, "ssp", &reg, e) : 0;
}

static int vcpu_set_ssp(struct vcpu *vcpu, struct vcpu_image *state, struct err *e)
{
	struct kvm_one_reg reg = { .id = VCPU_REG_GUEST_SSP, .addr = (uint64_t)(uintptr_t)&state->ssp };

	return vcpu_has_ssp(state) ? vcpu_set(vcpu, KVM_SET_ONE_REG, "ssp", &reg, e) : 0;
}

static int vcpu_get_mp_state(struct vcpu *vcpu, struct vcpu_image *state, struct err *e)
{
	struct kvm_mp_state mp = { 0 };
	int r = vcpu_get(vcpu, KVM_GET_MP_STATE, "mp_state", &mp, e);

	state->mp_state = mp.mp_state;
	return r;
}

static int vcpu_set_mp_state(struct vcpu *vcpu, struct vcpu_image *state, struct err *e)
{
	struct kvm_mp_state mp = { .mp_state = state->mp_state };

	return vcpu_set(vcpu, KVM_SET_MP_STATE, "mp_state", &mp, e);
}

static int vcpu_get_tsc_khz(struct vcpu *vcpu, struct vcpu_image *state, struct err *e)
{
	int khz = kvm_ioctl_n(vcpu->fd, KVM_GET_TSC_KHZ, 0);

	if (khz <= 0)
		return vcpu_err_get(e, khz < 0 ? khz : -EIO, "tsc_khz", vcpu);
	state->tsc_khz = (uint32_t)khz;
	return 0;
}

static int vcpu_set_tsc_khz(struct vcpu *vcpu, struct vcpu_image *state, struct err *e)
{
	uint64_t khz = state->tsc_khz, host_khz, difference;
	int r = kvm_ioctl_n(vcpu->fd, KVM_GET_TSC_KHZ, 0);

	if (r <= 0)
		return vcpu_err_get(e, r < 0 ? r : -EIO, "tsc_khz", vcpu);
	host_khz = (uint64_t)r;
	difference = khz > host_khz ? khz - host_khz : host_khz - khz;
	if (difference * 1000000 <= khz * VCPU_TSC_TOLERANCE_PPM)
		return 0;
	r = kvm_ioctl_n(vcpu->fd, KVM_SET_TSC_KHZ, khz);
	if (r < 0)
		return err_errno(
			e, -r, "the guest's clock runs at %llu kHz, this host's at %llu kHz, and KVM cannot convert it",
			(unsigned long long)khz, (unsigned long long)host_khz);
	return 0;
}

/*
 * mp_state first: reading it makes KVM take pending INIT and SIPI into account, which changes other state. events last:
 * reading the local APIC may move an interrupt.
 */
static int vcpu_get_state(struct vcpu *vcpu, struct vcpu_image *state, struct err *e)
{
	int r = vcpu_get_mp_state(vcpu, state, e);

	if (r == 0)
		r = vcpu_get(vcpu, KVM_GET_REGS, "regs", &state->regs, e);
	if (r == 0)
		r = vcpu_get(vcpu, KVM_GET_SREGS, "sregs", &state->sregs, e);
	if (r == 0)
		r = vcpu_get_xsave(vcpu, state, e);
	if (r == 0)
		r = vcpu_get_xcrs(vcpu, state, e);
	if (r == 0)
		r = vcpu_get(vcpu, KVM_GET_DEBUGREGS, "debugregs", &state->debugregs, e);
	if (r == 0)
		r = vcpu_get(vcpu, KVM_GET_LAPIC, "lapic", &state->lapic, e);
	if (r == 0)
		r = vcpu_get_tsc_khz(vcpu, state, e);
	if (r == 0)
		r = vcpu_get_cpuid(vcpu, state, e);
	if (r == 0)
		r = vcpu_get_msrs(vcpu, state, e);
	if (r == 0)
		r = vcpu_get_ssp(vcpu, state, e);
	return r < 0 ? r : vcpu_get(vcpu, KVM_GET_VCPU_EVENTS, "events", &state->events, e);
}

/*
 * The order matters: features decide which values KVM takes; a timer deadline needs its local APIC; the TSC needs its
 * frequency.
 */
static int vcpu_set_state(struct vcpu *vcpu, struct vcpu_image *state, const struct arch_clock *clock, bool old,
			  struct err *e)
{
	int r = vcpu_set_tsc_khz(vcpu, state, e);

	if (r == 0)
		r = vcpu_set_cpuid(vcpu, state, e);
	if (r == 0)
		r = vcpu_set_mp_state(vcpu, state, e);
	if (r == 0)
		r = vcpu_set(vcpu, KVM_SET_REGS, "regs", &state->regs, e);
	if (r == 0)
		r = vcpu_set(vcpu, KVM_SET_SREGS, "sregs", &state->sregs, e);
	if (r == 0)
		r = vcpu_set_xsave(vcpu, state, e);
	if (r == 0)
		r = vcpu_set_xcrs(vcpu, state, e);
	if (r == 0)
		r = vcpu_set(vcpu, KVM_SET_DEBUGREGS, "debugregs", &state->debugregs, e);
	if (r == 0)
		r = vcpu_set(vcpu, KVM_SET_LAPIC, "lapic", &state->lapic, e);
	if (r == 0)
		r = vcpu_set_msrs(vcpu, state, clock, old, e);
	if (r == 0)
		r = vcpu_set_ssp(vcpu, state, e);
	return r < 0 ? r : vcpu_set(vcpu, KVM_SET_VCPU_EVENTS, "events", &state->events, e);
}

/* Zeroed. It has room for more than any processor has; pages that nobody touches are never there. */
static struct vcpu_image *vcpu_image_new(struct err *e)
{
	struct vcpu_image *state =
		mmap(NULL, sizeof(*state), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (state != MAP_FAILED)
		return state;
	(void)err_errno(e, errno, "the state of a vCPU");
	return NULL;
}

static void vcpu_image_free(struct vcpu_image **state)
{
	if (*state)
		munmap(*state, sizeof(**state));
}

#define _vcpu_image_free_ __attribute__((cleanup(vcpu_image_free)))

int arch_vcpu_save(struct vcpu *vcpu, struct enc *enc, struct err *e)
{
	_vcpu_image_free_ struct vcpu_image *state = vcpu_image_new(e);
	int r = state ? vcpu_get_state(vcpu, state, e) : -ENOMEM;

	if (r == 0)
		state_save(&vcpu_table, state, enc);
	return r;
}

/* Restoring has taken time, of which the guest's watchdogs should know nothing. */
int arch_vcpu_load(struct vcpu *vcpu, struct dec *dec, const struct arch_clock *clock, struct err *e)
{
	_vcpu_image_free_ struct vcpu_image *state = vcpu_image_new(e);
	int r;

	if (!state)
		return -ENOMEM;
	state_load(&vcpu_table, state, dec);
	r = dec_error(dec, e);
	if (r == 0)
		r = vcpu_set_state(vcpu, state, clock, dec_version(dec) == 0, e);
	if (r == 0)
		exit_tell_kvmclock(vcpu);
	return r;
}

bool arch_vcpu_state_has_pmu(struct dec *dec)
{
	size_t len;
	const uint8_t *data = dec_blob(dec, "cpuid", 0, STATE_SIZE(struct vcpu_image, cpuid), &len);
	struct kvm_cpuid_entry2 entry;

	for (size_t at = 0; data && at + sizeof(entry) <= len; at += sizeof(entry)) {
		memcpy(&entry, data + at, sizeof(entry));
		if (entry.function == 0x80000001 && entry.ecx & 1u << 23) /* AMD's counters of the core */
			return true;
	}
	return false;
}

int arch_vcpu_prepare(struct dec *dec, const struct guest_mem *mem)
{
	static const uint32_t clocks[] = { 0x12, 0x4b564d01 }; /* MSR_KVM_SYSTEM_TIME, and its successor */
	struct kvm_msr_entry entry;
	struct kvm_sregs sregs;
	size_t len;
	const uint8_t *data = dec_blob(dec, "msrs", 0, STATE_SIZE(struct vcpu_image, msrs), &len);
	int r = 0;

	for (size_t at = 0; data && at + sizeof(entry) <= len && r == 0; at += sizeof(entry)) {
		memcpy(&entry, data + at, sizeof(entry));
		for (size_t i = 0; i < ARRAY_SIZE(clocks) && r == 0; i++)
			if (entry.index == clocks[i] && entry.data & 1)
				r = mem_prepare(mem, entry.data - 1, VCPU_CLOCK_LEN);
	}
	/* Page tables: with PAE KVM reads the first of them at once. */
	data = dec_blob(dec, "sregs", sizeof(sregs), sizeof(sregs), &len);
	if (!data || r < 0)
		return r;
	memcpy(&sregs, data, sizeof(sregs));
	return mem_prepare(mem, sregs.cr3 / MEM_PAGE_SIZE * MEM_PAGE_SIZE, MEM_PAGE_SIZE);
}
