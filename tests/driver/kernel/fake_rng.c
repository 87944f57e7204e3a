// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A virtio entropy device that lives in the kernel which it serves, so that
 * the driver can be tried on a real kernel without any virtual machine
 * monitor that knows leak queues. Never load it on a machine that matters.
 *
 * A leak event is delivered with all processors stopped, as a monitor would.
 * Kicks are served by another thread, as with an ioeventfd.
 *
 * Files in /sys/module/fake_rng/parameters:
 *	event	   write N: N leak events in one stop
 *	events	   how many there were
 *	late	   how many of them found nothing armed
 *	waits	   whether one of those still does
 *	fault	   how the device breaks the rules, enum fake_fault
 *	last_seed  SHA-256 of the last seed given out
 *	requests   how often it has given bytes on the request queue
 *	sleep	   write N: suspend and resume, with N leak events in between
 *	unreported, generation, handled: the numbers in the configuration space
 * and if the kernel's generator has epochs:
 *	epoch	   the current one
 *	restless   write 1, 0: another source of epochs, one that never holds still
 *
 * Every byte that the request queue gives is the number of events so far, so a
 * reader can tell from when a byte is. Only an identity is random.
 */
#include <crypto/sha2.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/stop_machine.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <linux/workqueue.h>
#ifdef RNG_HAVE_RANDOM_EPOCH
#include <linux/kthread.h>
#include <linux/random_epoch.h>
#endif

#include "virtio_rng_leak.h"

#define FAKE_QUEUE_SIZE	  8
#define FAKE_SEED_MAX	  256
#define FAKE_IDENTITY_LEN 16

enum fake_fault {
	FAKE_OBEYS,
	FAKE_REFUSES_COPY,  /* used length 0 */
	FAKE_GIVES_NOTHING, /* request queue: used length 0 */
	FAKE_IS_DEAF,	    /* never answers on any queue */
	FAKE_USES_AT_ONCE,  /* whatever is armed, for ever */
	FAKE_OVERSTATES,    /* used length far beyond the buffer */
	FAKE_FILLS_SHORT,   /* only the first buffer of a fill request */
	FAKE_GOES_BACK,	    /* copies a value that is lower than the one before */
};

struct fake_queue {
	struct virtqueue *vq;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	u16 next; /* avail entry to look at */
	bool irq;
};

static struct {
	struct virtio_device vdev;
	struct device *parent;
	spinlock_t lock; /* guards all below */
	u8 status;
	struct fake_queue queue[VIRTIO_RNG_NUM_QUEUES];
	unsigned int active;
	unsigned int signalled; /* 0: none */
	bool late;		/* an event found nothing, and still waits */
	unsigned long events, late_events, requests;
	u32 unreported, generation, handled;
	u8 seed_digest[SHA256_DIGEST_SIZE];
	struct work_struct kick;
} fake;

static unsigned int fault;
module_param(fault, uint, 0600);
static bool leak = true;
module_param(leak, bool, 0400);
static bool count = true; /* of what it could not report */
module_param(count, bool, 0400);
static bool asks = true; /* what the driver has handled */
module_param(asks, bool, 0400);

static struct vring_desc *fake_chain(struct fake_queue *q, u16 head, unsigned int *n)
{
	struct vring_desc *d = &q->desc[head % FAKE_QUEUE_SIZE];
	struct vring_desc *all;
	unsigned int i = 0;

	if (le16_to_cpu((__force __le16)d->flags) & VRING_DESC_F_INDIRECT) {
		*n = (__force u32)d->len / sizeof(*d);
		return phys_to_virt((__force u64)d->addr);
	}
	/* Copied into a row, so that both kinds look alike. */
	all = kcalloc(FAKE_QUEUE_SIZE, sizeof(*all), GFP_ATOMIC);
	if (!all)
		return NULL;
	for (;; d = &q->desc[(__force u16)d->next % FAKE_QUEUE_SIZE]) {
		all[i++] = *d;
		if (!((__force u16)d->flags & VRING_DESC_F_NEXT) || i == FAKE_QUEUE_SIZE)
			break;
	}
	*n = i;
	return all;
}

static void *fake_ptr(const struct vring_desc *d)
{
	return phys_to_virt((__force u64)d->addr);
}

/* New bytes in each buffer. What comes first is the seed. */
static u32 fake_fill(const struct vring_desc *d, unsigned int n)
{
	u8 bytes[FAKE_SEED_MAX];
	u32 len, total = 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		if (i && fault == FAKE_FILLS_SHORT)
			break;
		len = min_t(u32, (__force u32)d[i].len, sizeof(bytes));
		get_random_bytes(bytes, len);
		memcpy(fake_ptr(&d[i]), bytes, len);
		if (!i)
			sha256(bytes, len, fake.seed_digest);
		total += len;
	}
	return total;
}

/* One buffer with a word for each of those that follow: the counter page, and the vDSO's where the kernel lets us. */
static u32 fake_copy(const struct vring_desc *d, unsigned int n)
{
	const unsigned long *from = fake_ptr(&d[0]);
	u32 len = (__force u32)d[0].len;
	unsigned long value;
	unsigned int i;

	if (fault == FAKE_REFUSES_COPY || len != (n - 1) * sizeof(long))
		return 0;
	for (i = 1; i < n; i++) {
		if ((__force u32)d[i].len != sizeof(long))
			return 0;
		value = READ_ONCE(from[i - 1]);
		WRITE_ONCE(*(unsigned long *)fake_ptr(&d[i]), fault == FAKE_GOES_BACK ? value / 2 : value);
	}
	return len;
}

static u32 fake_serve(unsigned int index, struct vring_desc *d, unsigned int n)
{
	u32 len = (__force u32)d[0].len;

	if (index == VIRTIO_RNG_REQUESTQ) {
		if (fault == FAKE_GIVES_NOTHING)
			return 0;
		fake.requests++;
		if (len == FAKE_IDENTITY_LEN)
			get_random_bytes(fake_ptr(d), len);
		else
			memset(fake_ptr(d), (u8)fake.events, len);
	} else if ((__force u16)d[0].flags & VRING_DESC_F_WRITE) {
		len = fake_fill(d, n);
	} else {
		len = fake_copy(d, n);
		if (!len)
			return 0;
	}
	return fault == FAKE_OVERSTATES ? len + 0x10000 : len;
}

/* Uses all that the queue holds. The lock is held. */
static bool fake_use_all(unsigned int index)
{
	struct fake_queue *q = &fake.queue[index];
	bool any = false;

	if (!q->vq || !(fake.status & VIRTIO_CONFIG_S_DRIVER_OK) || fault == FAKE_IS_DEAF)
		return false;
	while (q->next != (__force u16)READ_ONCE(q->avail->idx)) {
		u16 used = (__force u16)q->used->idx % FAKE_QUEUE_SIZE, head;
		struct vring_desc *d;
		unsigned int n;

		smp_rmb(); /* the entry was written before the index */
		head = (__force u16)q->avail->ring[q->next % FAKE_QUEUE_SIZE];
		d = fake_chain(q, head, &n);
		if (!d)
			break;
		q->next++;
		q->used->ring[used].id = (__force __virtio32)(u32)head;
		q->used->ring[used].len = (__force __virtio32)fake_serve(index, d, n);
		if (!((__force u16)q->desc[head].flags & VRING_DESC_F_INDIRECT))
			kfree(d);
		smp_wmb(); /* the entry is written before the index */
		q->used->idx = (__force __virtio16)((__force u16)q->used->idx + 1);
		any = true;
		q->irq = true;
	}
	return any;
}

static void fake_interrupt(void)
{
	unsigned int i;
	unsigned long flags;

	for (i = 0; i < VIRTIO_RNG_NUM_QUEUES; i++) {
		struct virtqueue *vq = NULL;

		spin_lock_irqsave(&fake.lock, flags);
		if (fake.queue[i].irq)
			vq = fake.queue[i].vq;
		fake.queue[i].irq = false;
		spin_unlock_irqrestore(&fake.lock, flags);
		if (!vq)
			continue;
		local_irq_save(flags);
		vring_interrupt(0, vq);
		local_irq_restore(flags);
	}
}

static void fake_swap(void)
{
	fake.late = false;
	fake.generation++;
	fake.signalled = fake.active;
	fake.active = fake.active == VIRTIO_RNG_LEAKQ1 ? VIRTIO_RNG_LEAKQ2 : VIRTIO_RNG_LEAKQ1;
}

static void fake_kick_work(struct work_struct *work)
{
	unsigned long flags;

	spin_lock_irqsave(&fake.lock, flags);
	fake_use_all(VIRTIO_RNG_REQUESTQ);
	if (fault == FAKE_USES_AT_ONCE) {
		fake_use_all(VIRTIO_RNG_LEAKQ1);
		fake_use_all(VIRTIO_RNG_LEAKQ2);
	} else {
		if (fake.signalled)
			fake_use_all(fake.signalled);
		if (fake.late && fake_use_all(fake.active))
			fake_swap();
	}
	spin_unlock_irqrestore(&fake.lock, flags);
	fake_interrupt();
}

static bool fake_notify(struct virtqueue *vq)
{
	queue_work(system_highpri_wq, &fake.kick);
	return true;
}

/* All processors are stopped. */
static int fake_event(void *data)
{
	unsigned int i, n = *(unsigned int *)data;

	for (i = 0; i < n; i++) {
		fake.events++;
		if (!(fake.status & VIRTIO_CONFIG_S_DRIVER_OK)) {
			fake.unreported++;
			fake.generation++;
			continue;
		}
		if (fake.signalled)
			fake_use_all(fake.signalled);
		if (fake_use_all(fake.active)) {
			fake_swap();
		} else {
			fake.late = true;
			fake.late_events++;
		}
	}
	return 0;
}

static int event_set(const char *val, const struct kernel_param *kp)
{
	unsigned int n;
	int err = kstrtouint(val, 0, &n);

	if (err)
		return err;
	stop_machine(fake_event, &n, NULL);
	/* What is armed in the other queue: the driver has no reason to kick. */
	if (fault == FAKE_USES_AT_ONCE)
		queue_work(system_highpri_wq, &fake.kick);
	fake_interrupt();
	return 0;
}

static const struct kernel_param_ops event_ops = { .set = event_set };
module_param_cb(event, &event_ops, NULL, 0200);
module_param_named(events, fake.events, ulong, 0400);
module_param_named(late, fake.late_events, ulong, 0400);
module_param_named(waits, fake.late, bool, 0400);
module_param_named(requests, fake.requests, ulong, 0400);
module_param_named(unreported, fake.unreported, uint, 0600);
module_param_named(generation, fake.generation, uint, 0400);
module_param_named(handled, fake.handled, uint, 0400);

static int last_seed_get(char *buf, const struct kernel_param *kp)
{
	return sprintf(buf, "%*phN\n", (int)sizeof(fake.seed_digest), fake.seed_digest);
}

static const struct kernel_param_ops last_seed_ops = { .get = last_seed_get };
module_param_cb(last_seed, &last_seed_ops, NULL, 0400);

static void fake_get(struct virtio_device *vdev, unsigned int offset, void *buf, unsigned int len)
{
	memset(buf, 0, len);
	if (count && offset == VIRTIO_RNG_CONFIG_UNREPORTED && len == sizeof(fake.unreported))
		memcpy(buf, &fake.unreported, len);
	if (asks && offset == VIRTIO_RNG_CONFIG_GENERATION && len == sizeof(fake.generation))
		memcpy(buf, &fake.generation, len);
}

static void fake_set(struct virtio_device *vdev, unsigned int offset, const void *buf, unsigned int len)
{
	if (asks && offset == VIRTIO_RNG_CONFIG_HANDLED && len == sizeof(fake.handled))
		memcpy(&fake.handled, buf, len);
}

static u8 fake_get_status(struct virtio_device *vdev)
{
	return fake.status;
}

static void fake_set_status(struct virtio_device *vdev, u8 status)
{
	fake.status = status;
}

static void fake_reset(struct virtio_device *vdev)
{
	unsigned long flags;

	spin_lock_irqsave(&fake.lock, flags);
	fake.status = 0;
	fake.active = VIRTIO_RNG_LEAKQ1;
	fake.signalled = 0;
	fake.unreported += fake.late;
	fake.generation += fake.late;
	fake.late = false;
	spin_unlock_irqrestore(&fake.lock, flags);
	flush_work(&fake.kick);
}

static u64 fake_get_features(struct virtio_device *vdev)
{
	return BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) |
	       (leak ? BIT_ULL(VIRTIO_RNG_F_LEAK) : 0) | (leak && count ? BIT_ULL(VIRTIO_RNG_F_LEAK_COUNT) : 0) |
	       (leak && asks ? BIT_ULL(VIRTIO_RNG_F_LEAK_HANDLED) : 0);
}

static int fake_finalize_features(struct virtio_device *vdev)
{
	vring_transport_features(vdev);
	return 0;
}

static void fake_del_vqs(struct virtio_device *vdev)
{
	unsigned int i;
	unsigned long flags;

	for (i = 0; i < VIRTIO_RNG_NUM_QUEUES; i++) {
		struct virtqueue *vq;

		spin_lock_irqsave(&fake.lock, flags);
		vq = fake.queue[i].vq;
		fake.queue[i].vq = NULL;
		spin_unlock_irqrestore(&fake.lock, flags);
		if (vq)
			vring_del_virtqueue(vq);
	}
}

static int fake_add_vq(unsigned int i, vq_callback_t *callback, const char *name)
{
	struct fake_queue *q = &fake.queue[i];
	struct virtqueue *vq;

	vq = vring_create_virtqueue(i, FAKE_QUEUE_SIZE, PAGE_SIZE, &fake.vdev, true, false, false, fake_notify,
				    callback, name);
	if (!vq)
		return -ENOMEM;
	q->desc = phys_to_virt(virtqueue_get_desc_addr(vq));
	q->avail = phys_to_virt(virtqueue_get_avail_addr(vq));
	q->used = phys_to_virt(virtqueue_get_used_addr(vq));
	q->next = 0;
	q->irq = false;
	q->vq = vq;
	return 0;
}

#ifdef RNG_HAVE_VIRTQUEUE_INFO
static int fake_find_vqs(struct virtio_device *vdev, unsigned int n, struct virtqueue *vqs[],
			 struct virtqueue_info info[], struct irq_affinity *desc)
#else
static int fake_find_vqs(struct virtio_device *vdev, unsigned int n, struct virtqueue *vqs[],
			 vq_callback_t *callbacks[], const char *const names[], const bool *ctx,
			 struct irq_affinity *desc)
#endif
{
	unsigned int i;
	int err;

	for (i = 0; i < n; i++) {
#ifdef RNG_HAVE_VIRTQUEUE_INFO
		err = fake_add_vq(i, info[i].callback, info[i].name);
#else
		err = fake_add_vq(i, callbacks[i], names[i]);
#endif
		if (err) {
			fake_del_vqs(vdev);
			return err;
		}
		vqs[i] = fake.queue[i].vq;
	}
	return 0;
}

static const char *fake_bus_name(struct virtio_device *vdev)
{
	return "fake";
}

static const struct virtio_config_ops fake_ops = {
	.get = fake_get,
	.set = fake_set,
	.get_status = fake_get_status,
	.set_status = fake_set_status,
	.reset = fake_reset,
	.find_vqs = fake_find_vqs,
	.del_vqs = fake_del_vqs,
	.get_features = fake_get_features,
	.finalize_features = fake_finalize_features,
	.bus_name = fake_bus_name,
};

#ifdef CONFIG_PM_SLEEP
/* Like a transport driver's suspend and resume. */
static int sleep_set(const char *val, const struct kernel_param *kp)
{
	unsigned int n;
	int err = kstrtouint(val, 0, &n);

	if (err)
		return err;
	err = virtio_device_freeze(&fake.vdev);
	if (err)
		return err;
	stop_machine(fake_event, &n, NULL);
	return virtio_device_restore(&fake.vdev);
}

static const struct kernel_param_ops sleep_ops = { .set = sleep_set };
module_param_cb(sleep, &sleep_ops, NULL, 0200);
#endif

#ifdef RNG_HAVE_RANDOM_EPOCH
static unsigned long fake_word;
static const struct random_epoch_source fake_source = { .word = &fake_word };
static struct task_struct *fake_restless;

static int fake_restless_fn(void *unused)
{
	while (!kthread_should_stop()) {
		WRITE_ONCE(fake_word, fake_word + 1);
		if (!(fake_word & 0xfff))
			cond_resched();
	}
	return 0;
}

static int restless_set(const char *val, const struct kernel_param *kp)
{
	struct task_struct *task;
	bool on;
	int err = kstrtobool(val, &on);

	if (err || on == !!fake_restless)
		return err;
	if (!on) {
		kthread_stop(fake_restless);
		fake_restless = NULL;
		random_epoch_unregister(&fake_source);
		return 0;
	}
	err = random_epoch_register(&fake_source);
	if (err)
		return err;
	task = kthread_run(fake_restless_fn, NULL, "fake_restless");
	if (IS_ERR(task)) {
		random_epoch_unregister(&fake_source);
		return PTR_ERR(task);
	}
	fake_restless = task;
	return 0;
}

static const struct kernel_param_ops restless_ops = { .set = restless_set };
module_param_cb(restless, &restless_ops, NULL, 0200);

static int epoch_get(char *buf, const struct kernel_param *kp)
{
	return sprintf(buf, "%lu\n", random_epoch());
}

static const struct kernel_param_ops epoch_ops = { .get = epoch_get };
module_param_cb(epoch, &epoch_ops, NULL, 0400);
#endif

static void fake_release(struct device *dev)
{
}

static int __init fake_init(void)
{
	int err;

	spin_lock_init(&fake.lock);
	INIT_WORK(&fake.kick, fake_kick_work);
	fake.active = VIRTIO_RNG_LEAKQ1;
	fake.parent = root_device_register("fake_rng");
	if (IS_ERR(fake.parent))
		return PTR_ERR(fake.parent);
	fake.vdev.id.device = VIRTIO_ID_RNG;
	fake.vdev.id.vendor = 0x46414b45;
	fake.vdev.config = &fake_ops;
	fake.vdev.dev.parent = fake.parent;
	fake.vdev.dev.release = fake_release;
	err = register_virtio_device(&fake.vdev);
	if (err) {
		put_device(&fake.vdev.dev);
		root_device_unregister(fake.parent);
	}
	return err;
}
module_init(fake_init);

static void __exit fake_exit(void)
{
	unregister_virtio_device(&fake.vdev);
	flush_work(&fake.kick);
	root_device_unregister(fake.parent);
}
module_exit(fake_exit);

MODULE_DESCRIPTION("Entropy device in the kernel that it serves, for tests");
MODULE_LICENSE("GPL");
