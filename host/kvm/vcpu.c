// SPDX-License-Identifier: Apache-2.0
/*
 * A vCPU's thread: parked on a condition variable, or in KVM_RUN.
 *
 * Theory of operation. kvm_run->immediate_exit always says "wanted is not
 * RUNNING"; it changes only together with wanted, under the lock. Whoever wants
 * the vCPU out of the guest sets both and then sends the kick signal:
 *   - the thread is in the guest: the signal ends KVM_RUN with EINTR;
 *   - it is on its way into KVM_RUN, or handles an exit: the signal is spent
 *     for nothing, but KVM_RUN sees immediate_exit and returns EINTR at once.
 * So a wake-up cannot get lost, and the signal handler has nothing to do.
 *
 * It is a standard signal: those of real time are queued, and cannot be sent
 * when the user's RLIMIT_SIGPENDING is used up, by whomever. Whoever waits kicks
 * again now and then, for what nobody has thought of, and not for ever: the
 * thread may be in a system call that a disk or a server does not answer.
 *
 * KVM finishes a port or MMIO access that we have answered at the beginning of
 * the next KVM_RUN, before it looks at immediate_exit, and gives out the rest
 * of an access in pieces as further exits. The thread therefore leaves its loop
 * by EINTR alone: when it parks, the registers are those between two
 * instructions and no access is lost or done twice.
 */
#include "kvm/vcpu.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "kvm/exit.h"
#include "kvm/ioctl.h"
#include "kvm/vm.h"
#include "sandbox/sandbox.h"

#define VCPU_KICK_SIGNAL   SIGUSR1
#define VCPU_KICK_AGAIN_NS (20ull * 1000 * 1000)

/* Smaller than a huge page: the 8 MiB that are usual would get one, 2 MiB for a vCPU that uses some KiB of its stack. */
#define VCPU_STACK_SIZE (512u * 1024)

static void vcpu_kick_handler(int signal_number)
{
	(void)signal_number; /* having interrupted KVM_RUN is all that it is for */
}

static int vcpu_install_kick_handler(struct err *e)
{
	struct sigaction sa = { .sa_handler = vcpu_kick_handler }; /* no SA_RESTART: KVM_RUN must return */

	sigemptyset(&sa.sa_mask);
	if (sigaction(VCPU_KICK_SIGNAL, &sa, NULL) < 0)
		return err_errno(e, errno, "cannot install the handler of the vCPU kick signal");
	return 0;
}

int vcpu_init(struct vcpu *vcpu, struct vm *vm, unsigned int index, struct err *e)
{
	void *run;
	int r;

	*vcpu = (struct vcpu){ .vm = vm, .index = index, .fd = -1, .wanted = VCPU_PAUSED, .state = VCPU_PAUSED };
	pthread_mutex_init(&vcpu->lock, NULL);
	thread_init_cond(&vcpu->cond);
	snprintf(vcpu->name, sizeof(vcpu->name), "fc_vcpu %u", index);

	r = kvm_ioctl_n(vm->fd, KVM_CREATE_VCPU, index); /* KVM's descriptors are O_CLOEXEC by themselves */
	if (r < 0)
		return err_errno(e, -r, "KVM cannot create vCPU %u", index);
	vcpu->fd = r;
	run = mmap(NULL, (size_t)vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (run == MAP_FAILED)
		return err_errno(e, errno, "cannot map the run area of vCPU %u", index);
	vcpu->run = run;
	vcpu->run->immediate_exit = 1;
	return vm->arch_ops->vcpu_init(vcpu, e);
}

/* Runs guest code until it is wanted to stop (true) or has ended for good (false). */
static bool vcpu_run_guest(struct vcpu *vcpu)
{
	enum exit_verdict verdict = EXIT_CONTINUE;

	while (verdict == EXIT_CONTINUE) {
		if (ioctl(vcpu->fd, KVM_RUN, 0) == 0) {
			verdict = exit_handle(vcpu);
		} else if (errno == EINTR) {
			return true;
		} else if (errno != EAGAIN) { /* EAGAIN: a waiting secondary processor was started */
			log_error("vCPU %u: KVM cannot run it: %s", vcpu->index, strerror(errno));
			verdict = EXIT_FAILED;
		}
	}
	if (verdict == EXIT_FAILED)
		metric_inc(vcpu, failures);
	vm_report_exit(vcpu->vm, verdict == EXIT_RESET ? VM_EXIT_RESET : VM_EXIT_ERROR);
	return false;
}

static void vcpu_set_state(struct vcpu *vcpu, enum vcpu_state state)
{
	vcpu->state = state;
	pthread_cond_broadcast(&vcpu->cond);
}

/* Waits until the vCPU should run (true) or its thread should end (false). */
static bool vcpu_park(struct vcpu *vcpu, bool ended)
{
	bool run;

	pthread_mutex_lock(&vcpu->lock);
	/* One whose guest has ended stays here, and says of itself what is wanted so that nobody waits for it. */
	while (vcpu->wanted == VCPU_PAUSED || (ended && vcpu->wanted == VCPU_RUNNING)) {
		vcpu_set_state(vcpu, vcpu->wanted);
		pthread_cond_wait(&vcpu->cond, &vcpu->lock);
	}
	run = vcpu->wanted == VCPU_RUNNING;
	vcpu_set_state(vcpu, vcpu->wanted);
	pthread_mutex_unlock(&vcpu->lock);
	return run;
}

/* A guest does not run without its sandbox. */
static bool vcpu_enter_sandbox(struct vcpu *vcpu)
{
	struct err e;

	if (sandbox_enter(SANDBOX_VCPU, &e) == 0)
		return true;
	log_error("vCPU %u: %s", vcpu->index, e.text);
	vm_report_exit(vcpu->vm, VM_EXIT_ERROR);
	return false;
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;
	bool ended;
	sigset_t kick;

	thread_set_name(vcpu->name);
	sigemptyset(&kick);
	sigaddset(&kick, VCPU_KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	ended = !vcpu_enter_sandbox(vcpu);

	while (vcpu_park(vcpu, ended)) {
		if (!vcpu_run_guest(vcpu))
			ended = true;
		vcpu->vm->arch_ops->paused(vcpu);
	}
	return NULL;
}

int vcpu_start_thread(struct vcpu *vcpu, struct err *e)
{
	int r = vcpu_install_kick_handler(e);

	if (r < 0)
		return r;
	r = thread_start(&vcpu->thread, VCPU_STACK_SIZE, vcpu_thread, vcpu);
	if (r < 0)
		return err_errno(e, -r, "cannot start the thread of vCPU %u", vcpu->index);
	vcpu->has_thread = true;
	return 0;
}

/* Under the lock. */
static void vcpu_kick(struct vcpu *vcpu)
{
	int r = thread_signal(vcpu->thread.tid, VCPU_KICK_SIGNAL);

	if (r < 0)
		log_warn("vCPU %u: the kick signal cannot be sent: %s", vcpu->index, strerror(-r));
}

void vcpu_want(struct vcpu *vcpu, enum vcpu_state state)
{
	pthread_mutex_lock(&vcpu->lock);
	vcpu->wanted = state;
	__atomic_store_n(&vcpu->run->immediate_exit, state != VCPU_RUNNING, __ATOMIC_SEQ_CST);
	if (vcpu->has_thread && state != VCPU_RUNNING && vcpu->state == VCPU_RUNNING)
		vcpu_kick(vcpu);
	pthread_mutex_unlock(&vcpu->lock);
	/* Whoever is woken under the lock goes to sleep again, for the lock. */
	pthread_cond_broadcast(&vcpu->cond);
}

bool vcpu_wait(struct vcpu *vcpu, uint64_t deadline_ns)
{
	bool reached;

	pthread_mutex_lock(&vcpu->lock);
	while (vcpu->has_thread && vcpu->state != vcpu->wanted && clock_now_ns() < deadline_ns) {
		uint64_t again_ns = clock_now_ns() + VCPU_KICK_AGAIN_NS;
		const struct timespec until = { .tv_sec = (time_t)(again_ns / 1000000000u),
						.tv_nsec = (long)(again_ns % 1000000000u) };

		if (pthread_cond_timedwait(&vcpu->cond, &vcpu->lock, &until) == ETIMEDOUT &&
		    vcpu->state == VCPU_RUNNING && vcpu->wanted != VCPU_RUNNING)
			vcpu_kick(vcpu);
	}
	reached = !vcpu->has_thread || vcpu->state == vcpu->wanted;
	pthread_mutex_unlock(&vcpu->lock);
	return reached;
}

void vcpu_fini(struct vcpu *vcpu)
{
	if (!vcpu->vm) /* never initialised */
		return;
	if (vcpu->has_thread) {
		vcpu_want(vcpu, VCPU_STOPPED);
		pthread_join(vcpu->thread.id, NULL);
		vcpu->has_thread = false;
	}
	if (vcpu->run)
		munmap(vcpu->run, (size_t)vcpu->vm->run_size);
	if (vcpu->fd >= 0)
		close(vcpu->fd);
	pthread_cond_destroy(&vcpu->cond);
	pthread_mutex_destroy(&vcpu->lock);
	*vcpu = (struct vcpu){ .fd = -1 };
}
