/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A KVM that costs nothing: the real one takes some ten milliseconds to end a virtual machine, and thousands are made here.
 * Its descriptors are memory files, so that they are counted and can be mapped as the real ones.
 */
#ifndef TESTS_FAKE_KVM_H
#define TESTS_FAKE_KVM_H

/* What open("/dev/kvm") gives. */
int fake_kvm_open(void);

/* Any of its ioctls: what is set is read, what is got is zero but for what the monitor has to know. -1 with errno. */
int fake_kvm_ioctl(unsigned long request, void *arg);

#endif
