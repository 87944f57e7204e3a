// SPDX-License-Identifier: Apache-2.0
/*
 * Everything that a vCPU is, to and from a map of a snapshot. Keys:
 *   cpuid       array of struct kvm_cpuid_entry2     tsc_khz    number
 *   mp_state    number, KVM_MP_STATE_*               regs       struct kvm_regs
 *   sregs       struct kvm_sregs                     xsave      KVM_GET_XSAVE2's buffer
 *   xcrs        struct kvm_xcrs, or empty            debugregs  struct kvm_debugregs
 *   lapic       struct kvm_lapic_state               msrs       array of struct kvm_msr_entry
 *   events      struct kvm_vcpu_events
 * The structures are byte strings as Linux' <asm/kvm.h> has them: a stable ABI.
 *
 * On load nothing is believed but the sizes; KVM checks each value, and what it
 * refuses ends the load with a sentence that names the state.
 */
#include <linux/kvm.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/x86_64/cpuid_list.h"
#include "arch/x86_64/msr.h"
#include "base/cleanup.h"
#include "base/codec.h"
#include "base/log.h"
#include "base/metrics.h"
#include "kvm/ioctl.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"

/* struct kvm_xsave's old size is the least; with all of today's extensions it has 11 KiB. */
#define VCPU_XSAVE_MIN sizeof(struct kvm_xsave)
#define VCPU_XSAVE_MAX (64u << 10)

/* Guests cannot tell a clock that is off by less: 250 parts in a million is what NTP corrects. */
#define VCPU_TSC_TOLERANCE_PPM 250

/* Structures of fixed size that are just read, and just written. */
struct vcpu_part {
	const char *key;
	unsigned long get;
	unsigned long set;
	size_t size;
};

#define VCPU_PART(key, name, type)                                \
	{                                                         \
		key, KVM_GET_##name, KVM_SET_##name, sizeof(type) \
	}
static const struct vcpu_part part_regs = VCPU_PART("regs", REGS, struct kvm_regs);
static const struct vcpu_part part_sregs = VCPU_PART("sregs", SREGS, struct kvm_sregs);
static const struct vcpu_part part_debugregs = VCPU_PART("debugregs", DEBUGREGS, struct kvm_debugregs);
static const struct vcpu_part part_lapic = VCPU_PART("lapic", LAPIC, struct kvm_lapic_state);
static const struct vcpu_part part_events = VCPU_PART("events", VCPU_EVENTS, struct kvm_vcpu_events);

union vcpu_part_data {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_debugregs debugregs;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
};

static int vcpu_err_get(struct err *e, int r, const char *key, const struct vcpu *vcpu)
{
	return err_errno(e, -r, "KVM does not give the state \"%s\" of vCPU %u", key, vcpu->index);
}

static int vcpu_err_set(struct err *e, int r, const char *key, const struct vcpu *vcpu)
{
	return err_errno(e, -r, "KVM refuses the state \"%s\" of vCPU %u", key, vcpu->index);
}

static int vcpu_save_part(struct vcpu *vcpu, const struct vcpu_part *part, struct enc *enc, struct err *e)
{
	union vcpu_part_data data = { 0 };
	int r = kvm_ioctl(vcpu->fd, part->get, &data);

	if (r < 0)
		return vcpu_err_get(e, r, part->key, vcpu);
	enc_bytes(enc, part->key, &data, part->size);
	return 0;
}

static int vcpu_load_part(struct vcpu *vcpu, const struct vcpu_part *part, struct dec *dec, struct err *e)
{
	union vcpu_part_data data;
	int r;

	dec_bytes(dec, part->key, &data, part->size);
	r = dec_error(dec, e);
	if (r < 0)
		return r;
	r = kvm_ioctl(vcpu->fd, part->set, &data);
	return r < 0 ? vcpu_err_set(e, r, part->key, vcpu) : 0;
}

/* Room for any processor's. */
struct vcpu_xsave {
	uint8_t bytes[VCPU_XSAVE_MAX] __attribute__((aligned(64)));
};

/* *size: bytes of this VM's XSAVE buffer; *get: the request that reads all of it. */
static int vcpu_xsave_size(const struct vcpu *vcpu, size_t *size, unsigned long *get, struct err *e)
{
	int cap = kvm_ioctl_n(vcpu->vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);

	*get = cap > 0 ? KVM_GET_XSAVE2 : KVM_GET_XSAVE;
	*size = cap > (int)VCPU_XSAVE_MIN ? (size_t)cap : VCPU_XSAVE_MIN;
	if (*size > VCPU_XSAVE_MAX)
		return err_set(e, ENOTSUP, "this host's processor has %zu bytes of XSAVE state; %u are supported",
			       *size, VCPU_XSAVE_MAX);
	return 0;
}

static int vcpu_save_xsave(struct vcpu *vcpu, struct enc *enc, struct err *e)
{
	struct vcpu_xsave xsave = { 0 };
	unsigned long get;
	size_t size = 0;
	int r;

	r = vcpu_xsave_size(vcpu, &size, &get, e);
	if (r < 0)
		return r;
	r = kvm_ioctl(vcpu->fd, get, &xsave);
	if (r < 0)
		return vcpu_err_get(e, r, "xsave", vcpu);
	enc_bytes(enc, "xsave", xsave.bytes, size);
	return 0;
}

/* KVM reads as many bytes as this host's processor has state, whatever the snapshot has. */
static int vcpu_load_xsave(struct vcpu *vcpu, struct dec *dec, struct err *e)
{
	struct vcpu_xsave xsave = { 0 };
	const uint8_t *data;
	unsigned long get;
	size_t size = 0, len;
	int r;

	data = dec_blob(dec, "xsave", VCPU_XSAVE_MIN, VCPU_XSAVE_MAX, &len);
	r = dec_error(dec, e);
	if (r == 0)
		r = vcpu_xsave_size(vcpu, &size, &get, e);
	if (r < 0)
		return r;
	if (len > size)
		return err_set(e, EINVAL,
			       "the state \"xsave\" of vCPU %u has %zu bytes; this host's processor has room for %zu",
			       vcpu->index, len, size);
	memcpy(xsave.bytes, data, len);
	r = kvm_ioctl(vcpu->fd, KVM_SET_XSAVE, &xsave);
	return r < 0 ? vcpu_err_set(e, r, "xsave", vcpu) : 0;
}

static bool vcpu_has_xcrs(const struct vcpu *vcpu)
{
	return kvm_ioctl_n(vcpu->vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_XCRS) > 0;
}

/* A processor without XSAVE has no such registers: an empty string. */
static int vcpu_save_xcrs(struct vcpu *vcpu, struct enc *enc, struct err *e)
{
	struct kvm_xcrs xcrs = { 0 };
	bool has_xcrs = vcpu_has_xcrs(vcpu);
	int r = has_xcrs ? kvm_ioctl(vcpu->fd, KVM_GET_XCRS, &xcrs) : 0;

	if (r < 0)
		return vcpu_err_get(e, r, "xcrs", vcpu);
	enc_bytes(enc, "xcrs", &xcrs, has_xcrs ? sizeof(xcrs) : 0);
	return 0;
}

static int vcpu_load_xcrs(struct vcpu *vcpu, struct dec *dec, struct err *e)
{
	struct kvm_xcrs xcrs;
	size_t len;
	const uint8_t *data = dec_blob(dec, "xcrs", 0, sizeof(xcrs), &len);
	int r = dec_error(dec, e);

	if (r < 0 || (len == 0 && !vcpu_has_xcrs(vcpu)))
		return r;
	if (len != sizeof(xcrs))
		return err_set(e, EINVAL, "the state \"xcrs\" of vCPU %u has %zu bytes; this host's processor has %zu",
			       vcpu->index, len, sizeof(xcrs));
	memcpy(&xcrs, data, sizeof(xcrs));
	r = kvm_ioctl(vcpu->fd, KVM_SET_XCRS, &xcrs);
	return r < 0 ? vcpu_err_set(e, r, "xcrs", vcpu) : 0;
}

static int vcpu_save_cpuid(struct vcpu *vcpu, struct enc *enc, struct err *e)
{
	union cpuid_list list = { .cpuid.nent = CPUID_MAX_ENTRIES };
	int r = kvm_ioctl(vcpu->fd, KVM_GET_CPUID2, &list);

	if (r < 0)
		return vcpu_err_get(e, r, "cpuid", vcpu);
	enc_bytes(enc, "cpuid", list.cpuid.entries, list.cpuid.nent * sizeof(list.cpuid.entries[0]));
	return 0;
}

static void vcpu_warn_other_vendor(const struct vcpu *vcpu, const struct kvm_cpuid2 *cpuid)
{
	static const char vendors[][13] = { "GenuineIntel", "AuthenticAMD", "HygonGenuine" };
	const struct kvm_cpuid2 *host = cpuid_get_supported(vcpu->vm);

	for (size_t i = 0; i < ARRAY_SIZE(vendors); i++) {
		if (cpuid_is_vendor(cpuid, vendors[i]) && !cpuid_is_vendor(host, vendors[i]))
			log_warn("the snapshot was made on a processor of another vendor (%s); the guest may fail",
				 vendors[i]);
	}
}

/* An array of items of one size; NULL with an error if what is there is not a whole number of them. */
static const uint8_t *vcpu_load_array(const struct vcpu *vcpu, struct dec *dec, const char *key, size_t item_size,
				      size_t max_items, size_t *n, struct err *e)
{
	size_t len;
	const uint8_t *data = dec_blob(dec, key, 0, max_items * item_size, &len);

	if (dec_error(dec, e) < 0)
		return NULL;
	*n = len / item_size;
	if (len % item_size == 0)
		return data;
	(void)err_set(e, EINVAL, "the state \"%s\" of vCPU %u has %zu bytes; a multiple of %zu is allowed", key,
		      vcpu->index, len, item_size);
	return NULL;
}

static int vcpu_load_cpuid(struct vcpu *vcpu, struct dec *dec, struct err *e)
{
	union cpuid_list list = { .cpuid.nent = 0 };
	size_t n = 0;
	const uint8_t *data =
		vcpu_load_array(vcpu, dec, "cpuid", sizeof(list.cpuid.entries[0]), CPUID_MAX_ENTRIES, &n, e);
	int r;

	if (data == NULL)
		return -EINVAL;
	list.cpuid.nent = (uint32_t)n;
	memcpy(list.cpuid.entries, data, n * sizeof(list.cpuid.entries[0]));
	if (vcpu->index == 0)
		vcpu_warn_other_vendor(vcpu, &list.cpuid);
	r = kvm_ioctl(vcpu->fd, KVM_SET_CPUID2, &list);
	return r < 0 ? vcpu_err_set(e, r, "cpuid", vcpu) : 0;
}

static int vcpu_save_msrs(struct vcpu *vcpu, struct enc *enc, struct err *e)
{
	struct msr_set set = { .n = 0 };
	int r = msr_get_all(vcpu, &set, e);

	if (r < 0)
		return r;
	enc_bytes(enc, "msrs", set.entries, set.n * sizeof(set.entries[0]));
	return 0;
}

static int vcpu_load_msrs(struct vcpu *vcpu, struct dec *dec, struct err *e)
{
	struct msr_set set = { .n = 0 };
	const uint8_t *data = vcpu_load_array(vcpu, dec, "msrs", sizeof(set.entries[0]), MSR_MAX_SAVED, &set.n, e);

	if (data == NULL)
		return -EINVAL;
	memcpy(set.entries, data, set.n * sizeof(set.entries[0]));
	return msr_set_all(vcpu, &set, e);
}

static int vcpu_save_mp_state(struct vcpu *vcpu, struct enc *enc, struct err *e)
{
	struct kvm_mp_state mp = { 0 };
	int r = kvm_ioctl(vcpu->fd, KVM_GET_MP_STATE, &mp);

	if (r < 0)
		return vcpu_err_get(e, r, "mp_state", vcpu);
	enc_u64(enc, "mp_state", mp.mp_state);
	return 0;
}

static int vcpu_load_mp_state(struct vcpu *vcpu, struct dec *dec, struct err *e)
{
	struct kvm_mp_state mp = { .mp_state = (uint32_t)dec_u64(dec, "mp_state", 0, UINT32_MAX) };
	int r = dec_error(dec, e);

	if (r < 0)
		return r;
	r = kvm_ioctl(vcpu->fd, KVM_SET_MP_STATE, &mp);
	return r < 0 ? vcpu_err_set(e, r, "mp_state", vcpu) : 0;
}

static int vcpu_save_tsc_khz(struct vcpu *vcpu, struct enc *enc, struct err *e)
{
	int khz = kvm_ioctl_n(vcpu->fd, KVM_GET_TSC_KHZ, 0);

	if (khz <= 0)
		return vcpu_err_get(e, khz < 0 ? khz : -EIO, "tsc_khz", vcpu);
	enc_u64(enc, "tsc_khz", (uint64_t)khz);
	return 0;
}

static int vcpu_load_tsc_khz(struct vcpu *vcpu, struct dec *dec, struct err *e)
{
	uint64_t khz = dec_u64(dec, "tsc_khz", 1, INT32_MAX), host_khz, difference;
	int r = dec_error(dec, e);

	if (r < 0)
		return r;
	r = kvm_ioctl_n(vcpu->fd, KVM_GET_TSC_KHZ, 0);
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
int arch_vcpu_save(struct vcpu *vcpu, struct enc *enc, struct err *e)
{
	int r;

	r = vcpu_save_mp_state(vcpu, enc, e);
	if (r == 0)
		r = vcpu_save_part(vcpu, &part_regs, enc, e);
	if (r == 0)
		r = vcpu_save_part(vcpu, &part_sregs, enc, e);
	if (r == 0)
		r = vcpu_save_xsave(vcpu, enc, e);
	if (r == 0)
		r = vcpu_save_xcrs(vcpu, enc, e);
	if (r == 0)
		r = vcpu_save_part(vcpu, &part_debugregs, enc, e);
	if (r == 0)
		r = vcpu_save_part(vcpu, &part_lapic, enc, e);
	if (r == 0)
		r = vcpu_save_tsc_khz(vcpu, enc, e);
	if (r == 0)
		r = vcpu_save_cpuid(vcpu, enc, e);
	if (r == 0)
		r = vcpu_save_msrs(vcpu, enc, e);
	return r < 0 ? r : vcpu_save_part(vcpu, &part_events, enc, e);
}

/*
 * The order matters: features decide which values KVM takes; a timer deadline needs its local APIC; the TSC needs its
 * frequency. Restoring has taken time, of which the guest's watchdogs should know nothing.
 */
int arch_vcpu_load(struct vcpu *vcpu, struct dec *dec, struct err *e)
{
	int r;

	r = vcpu_load_tsc_khz(vcpu, dec, e);
	if (r == 0)
		r = vcpu_load_cpuid(vcpu, dec, e);
	if (r == 0)
		r = vcpu_load_mp_state(vcpu, dec, e);
	if (r == 0)
		r = vcpu_load_part(vcpu, &part_regs, dec, e);
	if (r == 0)
		r = vcpu_load_part(vcpu, &part_sregs, dec, e);
	if (r == 0)
		r = vcpu_load_xsave(vcpu, dec, e);
	if (r == 0)
		r = vcpu_load_xcrs(vcpu, dec, e);
	if (r == 0)
		r = vcpu_load_part(vcpu, &part_debugregs, dec, e);
	if (r == 0)
		r = vcpu_load_part(vcpu, &part_lapic, dec, e);
	if (r == 0)
		r = vcpu_load_msrs(vcpu, dec, e);
	if (r == 0)
		r = vcpu_load_part(vcpu, &part_events, dec, e);
	if (r < 0)
		return r;
	vcpu_tell_guest_paused(vcpu);
	return 0;
}
