// SPDX-License-Identifier: Apache-2.0
/*
 * Which MSRs are part of a machine's state: of those that KVM lists, the ones
 * below. Everything else is either no state (feature descriptions), or not ours
 * to carry (performance counters, Hyper-V, nested virtualisation).
 */
#include "arch/x86_64/msr.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "kvm/ioctl.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"

/* One request to KVM; its own limit is 256 registers. */
#define MSR_CHUNK      64u
#define MSR_MAX_LISTED 4096u

struct msr_range {
	uint32_t first;
	uint32_t last;
	bool unlisted; /* KVM has them, but not all versions say so in their list */
};

static const struct msr_range msr_saved[] = {
	{ 0x10, 0x10, false },	 /* TSC */
	{ 0x1b, 0x1b, false },	 /* APIC_BASE */
	{ 0x3a, 0x3b, false },	 /* FEATURE_CONTROL, TSC_ADJUST */
	{ 0x48, 0x49, false },	 /* SPEC_CTRL, PRED_CMD */
	{ 0x10a, 0x10a, false }, /* ARCH_CAPABILITIES */
	{ 0x122, 0x122, false }, /* TSX_CTRL */
	{ 0x140, 0x140, false }, /* MISC_FEATURES_ENABLES */
	{ 0x174, 0x176, false }, /* SYSENTER_CS, _ESP, _EIP */
	{ 0x179, 0x17a, false }, /* MCG_CAP, MCG_STATUS */
	{ 0x1a0, 0x1a0, false }, /* MISC_ENABLE */
	{ 0x1d9, 0x1d9, false }, /* DEBUGCTL */
	{ 0x200, 0x20f, true },	 /* variable MTRRs */
	{ 0x250, 0x250, true },	 /* fixed MTRRs */
	{ 0x258, 0x259, true },	 /* fixed MTRRs */
	{ 0x268, 0x26f, true },	 /* fixed MTRRs */
	{ 0x277, 0x277, true },	 /* PAT */
	{ 0x2ff, 0x2ff, true },	 /* MTRRdefType */
	{ 0x400, 0x47f, true },	 /* machine-check banks */
	{ 0x4d0, 0x4d0, false }, /* MCG_EXT_CTL */
	{ MSR_TSC_DEADLINE, MSR_TSC_DEADLINE, false },
	{ 0x800, 0xbff, false },	   /* x2APIC */
	{ 0xda0, 0xda0, false },	   /* XSS */
	{ 0x4b564d00, 0x4b564dff, false }, /* KVM's own: clocks, steal time, asynchronous page faults */
	{ 0xc0000080, 0xc0000084, false }, /* EFER, STAR, LSTAR, CSTAR, SYSCALL_MASK */
	{ 0xc0000100, 0xc0000103, false }, /* FS_BASE, GS_BASE, KERNEL_GS_BASE, TSC_AUX */
	{ 0xc0010015, 0xc0010015, false }, /* HWCR */
};

union msr_request {
	struct kvm_msrs msrs;
	uint8_t room[sizeof(struct kvm_msrs) + MSR_CHUNK * sizeof(struct kvm_msr_entry)];
};

union msr_listed {
	struct kvm_msr_list list;
	uint8_t room[sizeof(struct kvm_msr_list) + MSR_MAX_LISTED * sizeof(uint32_t)];
};

struct msr_list {
	uint32_t indices[MSR_MAX_SAVED];
	size_t n;
};

static bool msr_is_saved(uint32_t index)
{
	for (size_t i = 0; i < ARRAY_SIZE(msr_saved); i++) {
		if (index >= msr_saved[i].first && index <= msr_saved[i].last)
			return true;
	}
	return false;
}

static void msr_list_add(struct msr_list *list, uint32_t index)
{
	for (size_t i = 0; i < list->n; i++) {
		if (list->indices[i] == index)
			return;
	}
	if (list->n < ARRAY_SIZE(list->indices))
		list->indices[list->n++] = index;
}

static int msr_list_fill(struct vcpu *vcpu, struct msr_list *list, struct err *e)
{
	union msr_listed listed = { .list.nmsrs = MSR_MAX_LISTED };
	int r = kvm_ioctl(vcpu->vm->kvm_fd, KVM_GET_MSR_INDEX_LIST, &listed);

	if (r < 0)
		return err_errno(e, -r, "KVM does not give the list of MSRs");

	for (uint32_t i = 0; i < listed.list.nmsrs; i++) {
		if (msr_is_saved(listed.list.indices[i]) && listed.list.indices[i] != MSR_TSC_DEADLINE)
			msr_list_add(list, listed.list.indices[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(msr_saved); i++) {
		for (uint32_t index = msr_saved[i].first; msr_saved[i].unlisted && index <= msr_saved[i].last; index++)
			msr_list_add(list, index);
	}
	msr_list_add(list, MSR_TSC_DEADLINE);
	return 0;
}

int msr_set(struct vcpu *vcpu, const struct kvm_msr_entry *entries, size_t n, struct err *e)
{
	union msr_request request;

	for (size_t done = 0; done < n;) {
		size_t chunk = n - done < MSR_CHUNK ? n - done : MSR_CHUNK;
		int r;

		memset(&request, 0, sizeof(request.msrs));
		request.msrs.nmsrs = (uint32_t)chunk;
		memcpy(request.msrs.entries, entries + done, chunk * sizeof(*entries));
		r = kvm_ioctl(vcpu->fd, KVM_SET_MSRS, &request);
		if (r < 0)
			return err_errno(e, -r, "KVM refuses the MSRs of vCPU %u", vcpu->index);
		if ((size_t)r < chunk)
			return err_set(e, EINVAL, "KVM refuses the value 0x%llx for MSR 0x%x of vCPU %u",
				       entries[done + (size_t)r].data, entries[done + (size_t)r].index, vcpu->index);
		done += chunk;
	}
	return 0;
}

/* Reads the registers from list[*done] on into entries; steps over one that cannot be read. */
static int msr_get_chunk(struct vcpu *vcpu, const struct msr_list *list, size_t *done, struct msr_set *set)
{
	size_t chunk = list->n - *done < MSR_CHUNK ? list->n - *done : MSR_CHUNK;
	union msr_request request;
	int r;

	memset(&request, 0, sizeof(request));
	request.msrs.nmsrs = (uint32_t)chunk;
	for (size_t i = 0; i < chunk; i++)
		request.msrs.entries[i].index = list->indices[*done + i];
	r = kvm_ioctl(vcpu->fd, KVM_GET_MSRS, &request);
	if (r < 0)
		return r;
	memcpy(set->entries + set->n, request.msrs.entries, (size_t)r * sizeof(set->entries[0]));
	set->n += (size_t)r;
	*done += (size_t)r < chunk ? (size_t)r + 1 : chunk;
	return 0;
}

static struct kvm_msr_entry *msr_find(struct msr_set *set, uint32_t index)
{
	for (size_t i = 0; i < set->n; i++) {
		if (set->entries[i].index == index)
			return &set->entries[i];
	}
	return NULL;
}

/*
 * A deadline that has passed while the vCPU was leaving reads as 0, "no timer",
 * and its interrupt would never come. The present moment instead makes it come
 * at once; a guest that had no timer armed ignores the extra one.
 */
static void msr_fix_deadline(struct msr_set *set)
{
	struct kvm_msr_entry *deadline = msr_find(set, MSR_TSC_DEADLINE), *tsc = msr_find(set, MSR_TSC);

	if (deadline != NULL && tsc != NULL && deadline->data == 0)
		deadline->data = tsc->data;
}

int msr_get_all(struct vcpu *vcpu, struct msr_set *set, struct err *e)
{
	struct msr_list list = { .n = 0 };
	int r = msr_list_fill(vcpu, &list, e);

	if (r < 0)
		return r;
	set->n = 0;
	for (size_t done = 0; done < list.n;) {
		r = msr_get_chunk(vcpu, &list, &done, set);
		if (r < 0)
			return err_errno(e, -r, "KVM does not give the MSRs of vCPU %u", vcpu->index);
	}
	msr_fix_deadline(set);
	return 0;
}

/*
 * KVM takes a TSC that differs by less than a second from what the machine would have by now for an attempt to keep
 * processors in step, and ignores it: wanted between the processors, but before Linux 6.7 it also compares with the
 * machine's creation, and the clock of a guest that had just started would go back. A value from far away, first, and
 * for one processor only, makes KVM forget the creation.
 */
static int msr_forget_creation_tsc(struct vcpu *vcpu, const struct kvm_msr_entry *tsc, struct err *e)
{
	struct kvm_msr_entry far = { .index = MSR_TSC, .data = tsc->data + (1ull << 40) };

	return msr_set(vcpu, &far, 1, e);
}

int msr_set_all(struct vcpu *vcpu, struct msr_set *set, struct err *e)
{
	const struct kvm_msr_entry *tsc = msr_find(set, MSR_TSC);
	int r = 0;

	for (size_t i = 0; i < set->n; i++) {
		if (!msr_is_saved(set->entries[i].index))
			return err_set(e, EINVAL, "MSR 0x%x of vCPU %u is none that a snapshot may set",
				       set->entries[i].index, vcpu->index);
	}
	if (tsc != NULL && vcpu->index == 0)
		r = msr_forget_creation_tsc(vcpu, tsc, e);
	return r < 0 ? r : msr_set(vcpu, set->entries, set->n, e);
}
