// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * /dev/sysgenid: the counter as AWS-LC and others look for it, after the
 * SysGenID driver that was proposed for Linux in 2021.
 *
 * It exists while a device reports leaks, unless programs find a generation
 * counter in /dev/vmclock0, which has taken its place; programs that do not know
 * of that yet need the parameter sysgenid=1. With more than one such device it
 * is the first one's, and there is none from when that one goes until a device
 * is bound again: a counter must not change its meaning under its readers.
 *
 *	mmap	read-only, one page, the same as that of vm_gen_counter; its first
 *		four bytes are the generation (abi/snapsafe_page.h has the rest)
 *	read	four bytes: the generation. Sleeps as long as that is the one
 *		which this open file acknowledged last; opening acknowledges
 *	write	four bytes: acknowledges the current generation; another number
 *		is EINVAL. Only for who may open the device for writing
 *	poll	readable while read would not sleep
 *
 * Programs without the right to write never acknowledge anything: after the
 * first change, read gives the generation at once. While nobody reports leaks,
 * who would have to sleep gets ENODEV, and poll an error.
 *
 * There is no ioctl: nobody but the device moves the counter.
 *
 * Whoever has the device open keeps the module, hence the page. A mapping keeps
 * the page without either.
 */
#include "rng_sysgenid.h"

#include <linux/device.h>
#include <linux/fs.h>
#include <linux/kconfig.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "rng_page.h"
#include "rng_vmclock.h"

static int sysgenid_wanted = -1;
module_param_named(sysgenid, sysgenid_wanted, int, 0444);
MODULE_PARM_DESC(sysgenid,
		 "Provide /dev/sysgenid: 1 or 0 (default: -1, only if there is no other provider of it, and no VMClock that counts generations).");

struct sysgenid_reader {
	struct rng_page *page;
	u32 acknowledged;
};

/* Kernels with a provider of their own have the option CONFIG_SYSGENID. */
static bool sysgenid_is_wanted(void)
{
	if (sysgenid_wanted >= 0)
		return sysgenid_wanted;
	return !IS_ENABLED(CONFIG_SYSGENID) && !rng_vmclock_counts();
}

static DECLARE_WAIT_QUEUE_HEAD(sysgenid_wait);
static DEFINE_MUTEX(sysgenid_lock); /* add against remove */
/* Whose it is. Changed only while the device is not registered. */
static struct rng_page *sysgenid_page;

/* What fits into four bytes; on 64-bit kernels the counter's lower half. */
static u32 sysgenid_generation(const struct rng_page *page)
{
	return (u32)rng_page_generation(page);
}

static bool sysgenid_has_changed(const struct sysgenid_reader *r)
{
	return sysgenid_generation(r->page) != READ_ONCE(r->acknowledged);
}

static bool sysgenid_must_sleep(const struct sysgenid_reader *r)
{
	return !sysgenid_has_changed(r) && rng_page_is_watched(r->page);
}

static int sysgenid_open(struct inode *inode, struct file *file)
{
	struct sysgenid_reader *r = kmalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);

	if (!r)
		return -ENOMEM;
	r->page = sysgenid_page;
	r->acknowledged = sysgenid_generation(r->page);
	file->private_data = r;
	return nonseekable_open(inode, file);
}

static int sysgenid_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static ssize_t sysgenid_read(struct file *file, char __user *buf, size_t count,
			     loff_t *pos)
{
	struct sysgenid_reader *r = file->private_data;
	u32 value;
	int err;

	if (count < sizeof(value))
		return -EINVAL;
	if (sysgenid_must_sleep(r)) {
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		err = wait_event_interruptible(sysgenid_wait,
					       !sysgenid_must_sleep(r));
		if (err)
			return err;
	}
	if (!sysgenid_has_changed(r))
		return -ENODEV;
	value = sysgenid_generation(r->page);
	return copy_to_user(buf, &value, sizeof(value)) ? -EFAULT :
							  sizeof(value);
}

static ssize_t sysgenid_write(struct file *file, const char __user *buf,
			      size_t count, loff_t *pos)
{
	struct sysgenid_reader *r = file->private_data;
	u32 value;

	if (count != sizeof(value))
		return -EINVAL;
	if (copy_from_user(&value, buf, sizeof(value)))
		return -EFAULT;
	if (value != sysgenid_generation(r->page))
		return -EINVAL;
	WRITE_ONCE(r->acknowledged, value);
	return sizeof(value);
}

static __poll_t sysgenid_poll(struct file *file, poll_table *wait)
{
	struct sysgenid_reader *r = file->private_data;
	__poll_t mask = 0;

	poll_wait(file, &sysgenid_wait, wait);
	if (sysgenid_has_changed(r))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (!rng_page_is_watched(r->page))
		mask |= EPOLLERR;
	return mask;
}

static int sysgenid_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct sysgenid_reader *r = file->private_data;

	return rng_page_mmap(r->page, vma);
}

static const struct file_operations sysgenid_fops = {
	.owner = THIS_MODULE,
	.open = sysgenid_open,
	.release = sysgenid_release,
	.read = sysgenid_read,
	.write = sysgenid_write,
	.poll = sysgenid_poll,
	.mmap = sysgenid_mmap,
};

static struct miscdevice sysgenid_misc = {
	.name = "sysgenid",
	.fops = &sysgenid_fops,
	.mode = 0444,
};

/**
 * rng_sysgenid_add() - a device has begun to report leaks
 * @page: its counter page
 * @dev: to complain about
 *
 * Without /dev/sysgenid the driver is as good as ever: there is no error.
 */
void rng_sysgenid_add(struct rng_page *page, struct device *dev)
{
	int err = 0;

	if (!sysgenid_is_wanted() || !rng_page_is_watched(page))
		return;
	mutex_lock(&sysgenid_lock);
	if (!sysgenid_page) {
		sysgenid_page = page;
		sysgenid_misc.minor = MISC_DYNAMIC_MINOR;
		err = misc_register(&sysgenid_misc);
		if (err)
			sysgenid_page = NULL;
	}
	mutex_unlock(&sysgenid_lock);
	if (err == -EEXIST)
		dev_info(dev, "/dev/sysgenid is somebody else's\n");
	else if (err)
		dev_warn(dev, "no /dev/sysgenid: %d\n", err);
}

/* The device with that page goes. Who sleeps in the file wakes up later. */
void rng_sysgenid_remove(struct rng_page *page)
{
	mutex_lock(&sysgenid_lock);
	if (sysgenid_page == page) {
		misc_deregister(&sysgenid_misc);
		sysgenid_page = NULL;
	}
	mutex_unlock(&sysgenid_lock);
}

/* A generation or a watch has changed. */
void rng_sysgenid_notify(void)
{
	wake_up_interruptible(&sysgenid_wait);
}
