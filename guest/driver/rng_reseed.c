// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Makes the kernel's CRNG take a new key from its pool, now.
 */
#include "rng_reseed.h"

#include <linux/err.h>
#ifdef RNG_HAVE_RANDOM_EPOCH
#include <linux/random_epoch.h>
#else
#include <linux/fs.h>
#include <linux/kdev_t.h>
#include <linux/major.h>

#include "rng_compat.h"
#endif
#include <linux/module.h>
#include <linux/random.h>
#include <linux/timekeeping.h>

#include "rng_epoch.h"

static bool reseed_wanted = true;

static int reseed_wanted_set(const char *val, const struct kernel_param *kp)
{
	int err = param_set_bool(val, kp);

	if (!err)
		rng_epoch_switch();
	return err;
}

static const struct kernel_param_ops reseed_wanted_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = reseed_wanted_set,
	.get = param_get_bool,
};

module_param_cb(reseed, &reseed_wanted_ops, &reseed_wanted, 0644);
MODULE_PARM_DESC(reseed,
		 "Force the kernel's random number generator to reseed after an entropy leak (default: on). Off is for experiments: seeds are mixed in, but take effect only at the next periodic reseed.");

#ifdef RNG_HAVE_RANDOM_EPOCH
/*
 * Nobody waits for this: the CRNG has been comparing the generation counter
 * since before we were told of the event. But others depend on it who do not,
 * WireGuard for one, and hear of it from here.
 */
static int reseed(void)
{
	u64 now = ktime_get_ns();

	add_vmfork_randomness(&now, sizeof(now));
	return 0;
}

static int reseed_quietly(void)
{
	random_reseed();
	return 0;
}

#else
/*
 * add_device_randomness() changes no output until the next periodic reseed, up
 * to a minute later. What a module can do beyond that depends on the kernel:
 *
 *  - add_vmfork_randomness(), if it is exported (only with CONFIG_VMGENID=m).
 *    It reseeds and tells the kernel's other users (WireGuard drops its keys).
 *  - RNDRESEEDCRNG on /dev/urandom otherwise. Kernel threads have the privilege
 *    for it. The file is opened for each reseed: a reference held for ever
 *    would keep the file system of /dev from being unmounted.
 *
 * Both come after the event: what other CPUs draw in the microseconds before is
 * from the old key. Only the kernel's random.c itself could close that gap.
 */
#define URANDOM_PATH "/dev/urandom"
#define URANDOM_MINOR 9

static int reseed_by_vmfork(void)
{
#if IS_ENABLED(CONFIG_VMGENID)
	void (*vmfork)(const void *id, size_t len);
	u64 now = ktime_get_ns();

	vmfork = symbol_get(add_vmfork_randomness);
	if (!vmfork)
		return -EOPNOTSUPP;
	vmfork(&now, sizeof(now));
	symbol_put(add_vmfork_randomness);
	return 0;
#else
	return -EOPNOTSUPP;
#endif
}

static int reseed_by_ioctl(void)
{
	struct file *file = rng_open(URANDOM_PATH, O_RDONLY | O_NONBLOCK);
	struct inode *inode;
	int err = -ENODEV;

	if (IS_ERR(file))
		return PTR_ERR(file);
	inode = file_inode(file);
	if (S_ISCHR(inode->i_mode) &&
	    inode->i_rdev == MKDEV(MEM_MAJOR, URANDOM_MINOR) &&
	    file->f_op->unlocked_ioctl)
		err = file->f_op->unlocked_ioctl(file, RNDRESEEDCRNG, 0);
	else
		pr_warn_once("%s is not the kernel's: not reseeded\n",
			     URANDOM_PATH);
	filp_close(file, NULL);
	return err;
}

static int reseed(void)
{
	return reseed_by_vmfork() ? reseed_by_ioctl() : 0;
}

static int reseed_quietly(void)
{
	return reseed_by_ioctl();
}

#endif

/* Whether the CRNG is to be protected at all. */
bool rng_reseed_is_on(void)
{
	return READ_ONCE(reseed_wanted);
}

static int reseed_check(void)
{
	if (!rng_reseed_is_on())
		return -EOPNOTSUPP;
	return rng_is_initialized() ? 0 : -ENODATA;
}

/**
 * rng_reseed_now() - after a leak: force the CRNG to reseed from its pool
 *
 * Also tells the kernel's other users of the event, where that can be done.
 * Sleeps. Call it from a kernel thread: it needs full privileges and the
 * initial mount namespace.
 *
 * Return: 0 if all output from now on comes from a new key; -EOPNOTSUPP if
 * switched off; -ENODATA if the CRNG has not been seeded at all so far, when it
 * takes its first key from the pool and nothing is lost; another error if
 * /dev/urandom cannot be used (yet).
 */
int rng_reseed_now(void)
{
	return reseed_check() ?: reseed();
}

/**
 * rng_reseed_quietly() - the same when there was no leak: nobody is told
 */
int rng_reseed_quietly(void)
{
	return reseed_check() ?: reseed_quietly();
}
