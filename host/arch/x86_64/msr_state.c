// SPDX-License-Identifier: Apache-2.0
/*
 * Reading and setting MSRs. Which of them are part of a machine's state is in
 * msr_list.c.
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

static void msr_list_add(struct msr_list *list, uint32_t index)
{
	for (size_t i = 0; i < list->n; i++) {
		if (list->indices[i] == index)
			return;
	}
	if (list->n < ARRAY_SIZE(list->indices))
		list->indices[list->n++] = index;
}

static int msr_list_fill(struct vcpu *vcpu, const struct kvm_cpuid2 *cpuid, struct msr_list *list, struct err *e)
{
	union msr_listed listed = { .list.nmsrs = MSR_MAX_LISTED };
	int r = kvm_ioctl(vcpu->vm->kvm_fd, KVM_GET_MSR_INDEX_LIST, &listed);

	if (r < 0)
		return err_errno(e, -r, "KVM does not give the list of MSRs");

	for (uint32_t i = 0; i < listed.list.nmsrs; i++) {
		uint32_t index = listed.list.indices[i];

		if (index != MSR_TSC_DEADLINE && msr_is_state(cpuid, vcpu->vm->has_pmu, index))
			msr_list_add(list, index);
	}
	for (size_t i = 0; i < msr_num_unlisted; i++) {
		for (uint32_t index = msr_unlisted[i].first; index <= msr_unlisted[i].last; index++)
			if (msr_is_state(cpuid, vcpu->vm->has_pmu, index))
				msr_list_add(list, index);
	}
	if (msr_is_state(cpuid, vcpu->vm->has_pmu, MSR_TSC_DEADLINE))
		msr_list_add(list, MSR_TSC_DEADLINE);
	return 0;
}

int msr_get_one(struct vcpu *vcpu, struct kvm_msr_entry *entry)
{
	union msr_request request;

	memset(&request, 0, sizeof(request));
	request.msrs.nmsrs = 1;
	request.msrs.entries[0].index = entry->index;
	if (kvm_ioctl(vcpu->fd, KVM_GET_MSRS, &request) != 1)
		return -ENXIO;
	entry->data = request.msrs.entries[0].data;
	return 0;
}

/* Has this register the value already? */
static bool msr_has_value(struct vcpu *vcpu, const struct kvm_msr_entry *entry)
{
	struct kvm_msr_entry now = { .index = entry->index };

	return msr_get_one(vcpu, &now) == 0 && now.data == entry->data;
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
		done += (size_t)r;
		if ((size_t)r == chunk)
			continue;
		/* What KVM lists may be for reading only: nothing is to be done where nothing differs. */
		if (!msr_has_value(vcpu, &entries[done]))
			return err_set(e, EINVAL, "KVM refuses the value 0x%llx for MSR 0x%x of vCPU %u",
				       entries[done].data, entries[done].index, vcpu->index);
		done++;
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

struct kvm_msr_entry *msr_find(struct msr_set *set, uint32_t index)
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

	if (deadline && tsc && deadline->data == 0)
		deadline->data = tsc->data;
}

int msr_get_all(struct vcpu *vcpu, const struct kvm_cpuid2 *cpuid, struct msr_set *set, struct err *e)
{
	struct msr_list list = { .n = 0 };
	int r = msr_list_fill(vcpu, cpuid, &list, e);

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

int msr_forget_creation_tsc(struct vcpu *vcpu, struct msr_set *set, struct err *e)
{
	const struct kvm_msr_entry *tsc = msr_find(set, MSR_TSC);
	struct kvm_msr_entry far = { .index = MSR_TSC };

	if (!tsc || vcpu->index != 0)
		return 0;
	far.data = tsc->data + (1ull << 40);
	return msr_set(vcpu, &far, 1, e);
}

/* What a snapshot may not set is an error, or goes. */
static int msr_judge(struct vcpu *vcpu, const struct kvm_cpuid2 *cpuid, bool old, struct msr_set *set, struct err *e)
{
	size_t kept = 0;

	for (size_t i = 0; i < set->n; i++) {
		if (msr_is_state(cpuid, vcpu->vm->has_pmu, set->entries[i].index))
			set->entries[kept++] = set->entries[i];
		else if (!old)
			return err_set(e, EINVAL, "MSR 0x%x of vCPU %u is none that a snapshot of this guest may set",
				       set->entries[i].index, vcpu->index);
	}
	set->n = kept;
	return 0;
}

int msr_set_all(struct vcpu *vcpu, const struct kvm_cpuid2 *cpuid, bool old, struct msr_set *set, struct err *e)
{
	int r = msr_judge(vcpu, cpuid, old, set, e);

	return r < 0 ? r : msr_set(vcpu, set->entries, set->n, e);
}
