/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of the Linux kernel as guest/driver/rng_leak.c and rng_entropy.c
 * need, in user space and in one thread. All headers in linux/ lead here.
 *
 * Every function below that the driver calls is a point at which a vCPU may be
 * stopped: it calls kshim_step(), and the test decides what happens there.
 */
#ifndef TESTS_DRIVER_SHIM_KSHIM_H
#define TESTS_DRIVER_SHIM_KSHIM_H

#include <asm/types.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int gfp_t;

#define GFP_KERNEL 1
#define GFP_ATOMIC 2
#define HZ 100

#define __maybe_unused __attribute__((unused))
#define ____cacheline_aligned __attribute__((aligned(64)))
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
#define barrier() kshim_step()
#define min_t(t, a, b) ((t)(a) < (t)(b) ? (t)(a) : (t)(b))
#define min(a, b) ((a) < (b) ? (a) : (b))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define container_of(p, t, m) ((t *)(void *)((char *)(p) - offsetof(t, m)))
#define array_index_nospec(i, n) ((i) < (n) ? (i) : 0)

/* What the test provides. */
void kshim_step(void);
void kshim_lock(void);
void kshim_unlock(void);
/* The driver waits for something. False: nothing will come in time. */
bool kshim_wait(void);
void kshim_queue_work(void *work, unsigned long delay, bool replace);
void kshim_cancel_work(void *work);
void kshim_flush_work(void *work);
void kshim_warn(const char *text);
void add_device_randomness(const void *buf, size_t len);
extern unsigned long jiffies;

#define time_after(a, b) ((long)((b) - (a)) < 0)

/* linux/device.h */
struct device {
	int unused;
};

#define dev_warn(dev, format, why) ((void)(dev), kshim_warn(why))

/* linux/sched.h */
#define PF_KTHREAD 1
struct task_struct {
	unsigned int flags;
};

extern struct task_struct *current;

/* linux/spinlock.h */
typedef struct {
	int unused;
} spinlock_t;

#define spin_lock_init(l) ((void)(l))
#define spin_lock_irq(l) ((void)(l), kshim_lock())
#define spin_unlock_irq(l) ((void)(l), kshim_unlock())
#define spin_lock_irqsave(l, f) ((f) = 0, (void)(l), kshim_lock())
#define spin_unlock_irqrestore(l, f) ((void)(f), (void)(l), kshim_unlock())

/* linux/wait.h */
typedef struct {
	int unused;
} wait_queue_head_t;

#define init_waitqueue_head(w) ((void)(w))
#define wake_up(w) ((void)(w))
#define wait_event_interruptible_timeout(w, condition, t)               \
	__extension__({                                                 \
		long kshim_left = (t);                                  \
		(void)(w);                                              \
		while (kshim_left > 0 && !(condition))                  \
			kshim_left = kshim_wait() ? kshim_left : 0;     \
		kshim_left;                                             \
	})

#define wait_event_timeout(w, condition, t) wait_event_interruptible_timeout(w, condition, t)

/* linux/workqueue.h */
struct work_struct {
	void (*func)(struct work_struct *work);
};

struct delayed_work {
	struct work_struct work;
};

#define system_highpri_wq NULL
#define INIT_DELAYED_WORK(w, f) ((w)->work.func = (f))
#define to_delayed_work(w) container_of(w, struct delayed_work, work)
#define mod_delayed_work(q, w, d) ((void)(q), kshim_queue_work(w, d, true))
#define queue_delayed_work(q, w, d) ((void)(q), kshim_queue_work(w, d, false))
#define cancel_delayed_work_sync(w) kshim_cancel_work(w)
#define flush_delayed_work(w) kshim_flush_work(w)

/* linux/slab.h, linux/string.h */
static inline void *kzalloc(size_t size, gfp_t gfp)
{
	void *p = aligned_alloc(64, (size + 63) / 64 * 64);

	(void)gfp;
	return p ? memset(p, 0, size) : NULL;
}

#define kfree_sensitive(p) free(p)

static inline void *memchr_inv(const void *p, int c, size_t n)
{
	const u8 *bytes = p;

	for (size_t i = 0; i < n; i++) {
		if (bytes[i] != (u8)c)
			return (void *)(uintptr_t)(bytes + i);
	}
	return NULL;
}

static inline void memzero_explicit(void *p, size_t n)
{
	memset(p, 0, n);
}

/* linux/list.h, linux/random_epoch.h */
struct list_head {
	struct list_head *next, *prev;
};

struct random_epoch_source {
	const unsigned long *word;
};

u64 *random_epoch_vdso_claim(const struct random_epoch_source *source);
u64 random_epoch_vdso_generation(unsigned long event);
void random_epoch_vdso_arm(const struct random_epoch_source *source,
			   unsigned long event);
void random_epoch_vdso_disarm(const struct random_epoch_source *source);
void random_epoch_vdso_release(const struct random_epoch_source *source);

/* linux/scatterlist.h */
struct scatterlist {
	void *buf;
	unsigned int len;
};

static inline void sg_init_one(struct scatterlist *sg, void *buf,
			       unsigned int len)
{
	sg->buf = buf;
	sg->len = len;
}

static inline void sg_init_table(struct scatterlist *sg, unsigned int n)
{
	memset(sg, 0, n * sizeof(*sg));
}

static inline void sg_set_buf(struct scatterlist *sg, void *buf,
			      unsigned int len)
{
	sg_init_one(sg, buf, len);
}

/* linux/virtio.h */
struct virtqueue;
struct virtio_device {
	struct device dev;
};

int virtqueue_add_inbuf(struct virtqueue *vq, struct scatterlist *sg,
			unsigned int n, void *data, gfp_t gfp);
int virtqueue_add_sgs(struct virtqueue *vq, struct scatterlist *sgs[],
		      unsigned int out, unsigned int in, void *data, gfp_t gfp);
bool virtqueue_kick(struct virtqueue *vq);
void *virtqueue_get_buf(struct virtqueue *vq, unsigned int *len);

/* linux/virtio_config.h */
#define VIRTIO_F_ACCESS_PLATFORM 33
bool virtio_has_feature(const struct virtio_device *vdev, unsigned int bit);
u32 virtio_cread32(struct virtio_device *vdev, unsigned int offset);
void virtio_cwrite32(struct virtio_device *vdev, unsigned int offset, u32 value);

#endif /* TESTS_DRIVER_SHIM_KSHIM_H */
