/* SPDX-License-Identifier: Apache-2.0 */
/* KVM ioctls with the project's error convention. Only kvm/ and arch/ include this. */
#ifndef KVM_IOCTL_H
#define KVM_IOCTL_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>

/* The ioctl's result, or -errno. A signal that comes in between is no error. */
static inline int kvm_ioctl(int fd, unsigned long request, const void *arg)
{
	int r;

	do
		r = ioctl(fd, request, arg);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

/* For requests whose argument is a number. */
static inline int kvm_ioctl_n(int fd, unsigned long request, unsigned long arg)
{
	int r;

	do
		r = ioctl(fd, request, arg);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

#endif
