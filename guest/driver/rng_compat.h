/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Differences between kernels, Linux 6.1 and later: all that this source needs
 * to be built as a module for any of them. What distributions are known to
 * backport is not decided by version: Kbuild looks into the headers and defines
 * RNG_HAVE_*.
 */
#ifndef RNG_COMPAT_H
#define RNG_COMPAT_H

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/shmem_fs.h>
#include <linux/sysfs.h>
#include <linux/version.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#ifndef RNG_HAVE_RANDOM_EPOCH
#include <linux/fs_struct.h>
#endif

/*
 * The trust in the device's bytes, per 1024 bits. Since 6.2 the core assumes
 * the best of a driver that says nothing; before that it assumed nothing.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define RNG_QUALITY 1000
#else
#define RNG_QUALITY 0
#endif

#ifdef RNG_HAVE_CONST_BIN_ATTRIBUTE
#define rng_bin_attribute const struct bin_attribute
#else
#define rng_bin_attribute struct bin_attribute
#endif

static inline int rng_find_vqs(struct virtio_device *vdev, unsigned int n,
			       struct virtqueue *vqs[],
			       vq_callback_t *const callbacks[],
			       const char *const names[])
{
#ifdef RNG_HAVE_VIRTQUEUE_INFO
	struct virtqueue_info info[3] = {};
	unsigned int i;

	if (WARN_ON(n > ARRAY_SIZE(info)))
		return -EINVAL;
	for (i = 0; i < n; i++) {
		info[i].name = names[i];
		info[i].callback = callbacks[i];
	}
	return virtio_find_vqs(vdev, n, vqs, info, NULL);
#else
	return virtio_find_vqs(vdev, n, vqs, (vq_callback_t **)callbacks, names,
			       NULL);
#endif
}

/* A memory file, not accounted for: its one page is there from the start. */
static inline struct file *rng_shmem_file(const char *name, loff_t size)
{
#ifdef RNG_HAVE_VMA_FLAGS
	return shmem_file_setup(name, size, mk_vma_flags(VMA_NORESERVE_BIT));
#else
	return shmem_file_setup(name, size, VM_NORESERVE);
#endif
}

#ifndef RNG_HAVE_RANDOM_EPOCH
/* A file of the first program's root: kernel threads may have one of their own. */
static inline struct file *rng_open(const char *path, int flags)
{
	struct file *file = NULL;

#ifdef RNG_HAVE_INIT_FS
	scoped_with_init_fs()
		file = filp_open(path, flags, 0);
#else
	file = filp_open(path, flags, 0);
#endif
	return file;
}
#endif

/* A mapping that can never become writable, grow, or be dumped. */
static inline void rng_vma_make_readonly(struct vm_area_struct *vma)
{
#ifdef RNG_HAVE_VM_FLAGS_SET
	vm_flags_mod(vma, VM_DONTEXPAND | VM_DONTDUMP, VM_MAYWRITE);
#else
	vma->vm_flags |= VM_DONTEXPAND | VM_DONTDUMP;
	vma->vm_flags &= ~VM_MAYWRITE;
#endif
}

/* Hands the mapping over to the file that it now refers to. */
static inline int rng_call_mmap(struct vm_area_struct *vma)
{
#ifdef RNG_HAVE_VFS_MMAP
	return vfs_mmap(vma->vm_file, vma);
#else
	return call_mmap(vma->vm_file, vma);
#endif
}

#endif /* RNG_COMPAT_H */
