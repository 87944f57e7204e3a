/* SPDX-License-Identifier: Apache-2.0 */
/* One vCPU and its thread. */
#ifndef KVM_VCPU_H
#define KVM_VCPU_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/metrics.h"
#include "base/thread.h"

struct vm;

/* Of all vCPUs together. */
#define VCPU_METRICS(M)          \
	M(vcpu, exit_io_in)      \
	M(vcpu, exit_io_out)     \
	M(vcpu, exit_mmio_read)  \
	M(vcpu, exit_mmio_write) \
	M(vcpu, failures)        \
	M(vcpu, kvmclock_ctrl_fails)
#define VCPU_TIMES(T)               \
	T(vcpu, exit_io_in_agg)     \
	T(vcpu, exit_io_out_agg)    \
	T(vcpu, exit_mmio_read_agg) \
	T(vcpu, exit_mmio_write_agg)
METRICS_DECLARE_TIMED(vcpu, VCPU_METRICS, VCPU_TIMES)

enum vcpu_state { VCPU_PAUSED, VCPU_RUNNING, VCPU_STOPPED };

struct vcpu {
	struct vm *vm;	     /* borrowed */
	unsigned int index;  /* also its APIC id */
	int fd;		     /* owned */
	struct kvm_run *run; /* owned mapping */
	struct thread thread;
	bool has_thread;
	pthread_mutex_t lock; /* guards wanted and state */
	pthread_cond_t cond;
	enum vcpu_state wanted;
	enum vcpu_state state;
	char name[16]; /* "fc_vcpu 0", as clients of Firecracker look for */
};

int vcpu_init(struct vcpu *vcpu, struct vm *vm, unsigned int index, struct err *e) must_check;
int vcpu_start_thread(struct vcpu *vcpu, struct err *e) must_check;
void vcpu_fini(struct vcpu *vcpu); /* stops and joins the thread; accepts half-built */
/* Asks for a state. */
void vcpu_want(struct vcpu *vcpu, enum vcpu_state state);
/* Waits until the state that was asked for has been reached: true; or until deadline_ns (clock_now_ns()): false. */
bool vcpu_wait(struct vcpu *vcpu, uint64_t deadline_ns) must_check;

#endif
