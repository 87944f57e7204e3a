// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Integers that the kernel makes by the batch and no program can ask for, for
 * the clone experiment: each read(2) of /proc/clones_integers gives the next
 * four of get_random_u32().
 */
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/random.h>
#include <linux/uaccess.h>

#define NAME "clones_integers"

static ssize_t integers_read(struct file *file, char __user *to, size_t len, loff_t *pos)
{
	u32 drawn[4];
	unsigned int i;

	if (len < sizeof(drawn))
		return -EINVAL;
	for (i = 0; i < ARRAY_SIZE(drawn); i++)
		drawn[i] = get_random_u32();
	return copy_to_user(to, drawn, sizeof(drawn)) ? -EFAULT : (ssize_t)sizeof(drawn);
}

static const struct proc_ops integers_ops = {
	.proc_read = integers_read,
};

static int __init integers_init(void)
{
	return proc_create(NAME, 0444, NULL, &integers_ops) ? 0 : -ENOMEM;
}
module_init(integers_init);

static void __exit integers_exit(void)
{
	remove_proc_entry(NAME, NULL);
}
module_exit(integers_exit);

MODULE_DESCRIPTION("Hands out the integers that the kernel makes by the batch");
MODULE_LICENSE("GPL");
