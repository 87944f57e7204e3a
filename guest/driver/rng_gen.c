// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The generation counter of one entropy device and its files:
 *
 * /sys/virtio-rng/virtio_rng.N/
 *	vm_gen_counter	    the counter, a native unsigned long: read, mmap, poll
 *	generation	    the same in decimal, for people
 *	reseed_generation   last generation for which the CRNG has been reseeded
 *	identity	    of this life of the machine, in hexadecimal; public
 *	last_seed	    only with expose_seed=1: its SHA-256, for tests
 *	device		    the virtio device
 *
 * The counter is on a page that programs map and that outlives the device:
 * rng_page.c.
 *
 * Reading. The file has no offset to speak of: each read gives the current
 * value, or as many bytes of it as fit. So that `cat` ends, a read that is not
 * at offset 0 finds the end of the file if the same open file has given out
 * that value already and no change has been announced to poll() since. A
 * program that polls and reads again without seeking always gets a value.
 */
#include "rng_gen.h"

#include <crypto/sha2.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/kernfs.h>
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/virtio.h>

#include "rng_compat.h"
#include "rng_page.h"
#include "rng_sysgenid.h"

struct rng_gen {
	struct kobject kobj;
	struct virtio_device *vdev;
	struct rng_page *page;
	bool reused; /* the page has served a device before */
	struct kernfs_node *counter_node, *text_node;
	atomic_long_t announced; /* notifications so far */

	spinlock_t seed_lock; /* guards the two below */
	bool have_seed;
	u8 seed_digest[SHA256_DIGEST_SIZE];
};

static bool expose_seed;
module_param(expose_seed, bool, 0400);
MODULE_PARM_DESC(expose_seed,
		 "For tests: a file last_seed (root only) with the SHA-256 of the last seed that the device delivered (default: off).");

static struct kobject *gen_root; /* /sys/virtio-rng */

static struct rng_gen *to_gen(struct kobject *kobj)
{
	return container_of(kobj, struct rng_gen, kobj);
}

/* The word that the device writes. It never moves. */
unsigned long *rng_gen_word(struct rng_gen *gen)
{
	return rng_page_word(gen->page);
}

unsigned long rng_gen_read(const struct rng_gen *gen)
{
	return rng_page_generation(gen->page);
}

/* True if the page has served before: leaks may have gone unreported since. */
bool rng_gen_reused(const struct rng_gen *gen)
{
	return gen->reused;
}

/* At least this value from now on. The host may move the word at any time. */
void rng_gen_raise(struct rng_gen *gen, unsigned long value)
{
	unsigned long *word = rng_gen_word(gen);
	unsigned long old = READ_ONCE(*word);

	while (old < value) {
		unsigned long seen = cmpxchg(word, old, value);

		if (seen == old)
			break;
		old = seen;
	}
}

/*
 * Any context. What nobody renews is nobody's: without reporting there is no
 * identity. The caller clears it again if the device may still fill.
 */
void rng_gen_set_watched(struct rng_gen *gen, bool watched)
{
	rng_page_set_watched(gen->page, watched);
	if (watched)
		return;
	smp_mb(); /* who fills it later looks at the watch later: see below */
	rng_page_clear_identity(gen->page);
	rng_sysgenid_notify();
}

/* Where the device puts the identity. It never moves. */
u8 *rng_gen_identity(struct rng_gen *gen)
{
	return gen->page->content->identity;
}

void rng_gen_clear_identity(struct rng_gen *gen)
{
	rng_page_clear_identity(gen->page);
}

bool rng_gen_has_identity(const struct rng_gen *gen)
{
	return memchr_inv(gen->page->content->identity, 0, RNG_GEN_IDENTITY_LEN);
}

/*
 * Whether it makes sense to have the identity filled. Asked again after it was:
 * either this is false by then, or the identity will be cleared yet.
 */
bool rng_gen_is_watched(const struct rng_gen *gen)
{
	smp_mb(); /* pairs with rng_gen_set_watched() */
	return rng_page_is_watched(gen->page);
}

struct rng_page *rng_gen_page(struct rng_gen *gen)
{
	return gen->page;
}

/* Any context. Only a digest is kept: the seed itself is never shown. */
void rng_gen_set_seed(struct rng_gen *gen, const void *seed, unsigned int len)
{
	u8 digest[SHA256_DIGEST_SIZE];
	unsigned long flags;

	if (!expose_seed)
		return;
	sha256(seed, len, digest);
	spin_lock_irqsave(&gen->seed_lock, flags);
	memcpy(gen->seed_digest, digest, sizeof(digest));
	gen->have_seed = true;
	spin_unlock_irqrestore(&gen->seed_lock, flags);
}

void rng_gen_set_reseeded(struct rng_gen *gen, unsigned long value)
{
	rng_page_set_reseeded(gen->page, value);
}

/* Wakes poll() and sends a uevent from the virtio device. Sleeps. */
void rng_gen_notify(struct rng_gen *gen)
{
	char generation[40], name[40];
	char *envp[3] = { generation, name, NULL };

	atomic_long_inc(&gen->announced);
	sysfs_notify_dirent(gen->counter_node);
	sysfs_notify_dirent(gen->text_node);
	rng_sysgenid_notify();

	snprintf(generation, sizeof(generation), "VM_GENERATION=%lu",
		 rng_gen_read(gen));
	snprintf(name, sizeof(name), "VM_GENERATION_DEVICE=%s",
		 kobject_name(&gen->kobj));
	kobject_uevent_env(&gen->vdev->dev.kobj, KOBJ_CHANGE, envp);
}

/*
 * sysfs has no per-open state for its drivers, but kernfs, below it, has a
 * pointer that sysfs leaves alone. It is only ever compared.
 */
static ssize_t vm_gen_counter_read(struct file *filp, struct kobject *kobj,
				   rng_bin_attribute *attr, char *buf,
				   loff_t off, size_t count)
{
	struct kernfs_open_file *of =
		((struct seq_file *)filp->private_data)->private;
	struct rng_gen *gen = to_gen(kobj);
	unsigned long announced = atomic_long_read(&gen->announced);
	unsigned long value = rng_gen_read(gen);
	/* Neither ever falls, so the sum stays only if both do. Never NULL. */
	void *seen = (void *)(value + announced + 1);

	if (off > 0 && of->priv == seen)
		return 0;
	of->priv = seen;
	count = min(count, sizeof(value));
	memcpy(buf, &value, count);
	return count;
}

static int vm_gen_counter_mmap(struct file *filp, struct kobject *kobj,
			       rng_bin_attribute *attr,
			       struct vm_area_struct *vma)
{
	/* kernfs leaves a mapping alone that refers to another file. */
	return rng_page_mmap(to_gen(kobj)->page, vma);
}

static const struct bin_attribute counter_attr = {
	.attr = { .name = "vm_gen_counter", .mode = 0444 },
	.read = vm_gen_counter_read,
	.mmap = vm_gen_counter_mmap,
};

static ssize_t generation_show(struct kobject *kobj,
			       struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lu\n", rng_gen_read(to_gen(kobj)));
}

static ssize_t reseed_generation_show(struct kobject *kobj,
				      struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lu\n", rng_page_reseeded(to_gen(kobj)->page));
}

static ssize_t identity_show(struct kobject *kobj, struct kobj_attribute *attr,
			     char *buf)
{
	u8 id[RNG_GEN_IDENTITY_LEN];

	rng_page_read_identity(to_gen(kobj)->page, id);
	return sysfs_emit(buf, "%*phN\n", (int)sizeof(id), id);
}

static ssize_t last_seed_show(struct kobject *kobj, struct kobj_attribute *attr,
			      char *buf)
{
	struct rng_gen *gen = to_gen(kobj);
	u8 digest[SHA256_DIGEST_SIZE];
	bool have;

	spin_lock_irq(&gen->seed_lock);
	have = gen->have_seed;
	memcpy(digest, gen->seed_digest, sizeof(digest));
	spin_unlock_irq(&gen->seed_lock);

	if (!have)
		return sysfs_emit(buf, "none\n");
	return sysfs_emit(buf, "%*phN\n", (int)sizeof(digest), digest);
}

static struct kobj_attribute generation_attr = __ATTR_RO(generation);
static struct kobj_attribute reseed_generation_attr =
	__ATTR_RO(reseed_generation);
static struct kobj_attribute identity_attr = __ATTR_RO(identity);
static struct kobj_attribute last_seed_attr = __ATTR_RO_MODE(last_seed, 0400);

static struct attribute *gen_attrs[] = {
	&generation_attr.attr,
	&reseed_generation_attr.attr,
	&identity_attr.attr,
	&last_seed_attr.attr,
	NULL,
};

static umode_t gen_attr_is_visible(struct kobject *kobj, struct attribute *attr,
				   int n)
{
	if (attr == &last_seed_attr.attr && !expose_seed)
		return 0;
	return attr->mode;
}

static const struct attribute_group gen_group = {
	.attrs = gen_attrs,
	.is_visible = gen_attr_is_visible,
};

static void gen_release(struct kobject *kobj)
{
	kfree(to_gen(kobj));
}

static const struct kobj_type gen_type = {
	.release = gen_release,
	.sysfs_ops = &kobj_sysfs_ops,
};

static int gen_create_files(struct rng_gen *gen)
{
	struct kobject *kobj = &gen->kobj;
	int err;

	err = sysfs_create_group(kobj, &gen_group);
	if (err)
		return err;
	err = sysfs_create_link(kobj, &gen->vdev->dev.kobj, "device");
	if (err)
		return err;
	err = sysfs_create_bin_file(kobj, &counter_attr);
	if (err)
		return err;
	gen->counter_node = sysfs_get_dirent(kobj->sd, counter_attr.attr.name);
	gen->text_node = sysfs_get_dirent(kobj->sd, generation_attr.attr.name);
	return gen->counter_node && gen->text_node ? 0 : -ENOENT;
}

/**
 * rng_gen_new() - the counter of a device that has just been found
 * @vdev: the device
 * @index: N of virtio_rng.N, not in use by another device
 */
struct rng_gen *rng_gen_new(struct virtio_device *vdev, int index)
{
	struct rng_gen *gen = kzalloc(sizeof(*gen), GFP_KERNEL);
	struct rng_page *page;
	int err;

	if (!gen)
		return ERR_PTR(-ENOMEM);
	spin_lock_init(&gen->seed_lock);
	gen->vdev = vdev;
	page = rng_page_get(index, &gen->reused);
	if (IS_ERR(page)) {
		kfree(gen);
		return ERR_CAST(page);
	}
	gen->page = page;

	err = kobject_init_and_add(&gen->kobj, &gen_type, gen_root,
				   "virtio_rng.%d", index);
	if (!err)
		err = gen_create_files(gen);
	if (err) {
		rng_gen_free(gen);
		return ERR_PTR(err);
	}
	return gen;
}

/*
 * Removing a file wakes nobody who sleeps in poll() on it. Woken before, they
 * could be asleep again by the time it is gone; now they find that it is.
 */
static void gen_wake_last(struct kernfs_node *node)
{
	if (!node)
		return;
	sysfs_notify_dirent(node);
	sysfs_put(node);
}

/* Removes the files and waits for their users. The page stays. */
void rng_gen_free(struct rng_gen *gen)
{
	if (gen->kobj.state_in_sysfs) {
		sysfs_remove_bin_file(&gen->kobj, &counter_attr);
		sysfs_remove_link(&gen->kobj, "device");
		sysfs_remove_group(&gen->kobj, &gen_group);
		gen_wake_last(gen->counter_node);
		gen_wake_last(gen->text_node);
		kobject_del(&gen->kobj);
	}
	kobject_put(&gen->kobj);
}

int rng_gen_init(void)
{
	gen_root = kobject_create_and_add("virtio-rng", NULL);
	return gen_root ? 0 : -ENOMEM;
}

void rng_gen_exit(void)
{
	rng_page_free_all();
	kobject_put(gen_root);
}
