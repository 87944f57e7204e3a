// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Driver of the virtio entropy device, with entropy leak reporting.
 *
 * A plain source of random bytes for the hwrng core; if the device offers
 * VIRTIO_RNG_F_LEAK, also the generation counter (rng_gen.c) and the queues
 * that move it (rng_leak.c).
 *
 * Power management. Suspend takes the queues down and keeps all else: the
 * hwrng, the files, the counter, which the CRNG goes on comparing. Coming back
 * is no leak by itself, and those who end sessions after one must not hear of
 * each nap. But the CRNG gets fresh bytes of the device and a new key, and the
 * device says how many leaks it could tell nobody of: if there were any, or if
 * it is another device now (an image of this machine's memory was written to
 * disk, and may be read more than once), that is one. The counter has moved
 * before the first program runs again. A device that does not count leaves us
 * to assume the worst.
 */
#include <linux/err.h>
#include <linux/hw_random.h>
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>

#include "rng_compat.h"
#include "rng_entropy.h"
#include "rng_gen.h"
#include "rng_leak.h"
#include "rng_sysgenid.h"
#include "virtio_rng_leak.h"

static DEFINE_IDA(rng_index);

struct rng {
	struct virtio_device *vdev;
	struct hwrng hwrng;
	int index;
	char name[24];
	struct rng_entropy entropy;
	struct rng_leak leak;
	struct rng_gen *gen; /* owned; NULL: the device does not report leaks */
	u32 unreported;	     /* leaks that the device told nobody of, by its count */
	bool up;	     /* the queues exist */
	bool registered;     /* with the hwrng core */
};

static int rng_hwrng_read(struct hwrng *hwrng, void *buf, size_t size,
			  bool wait)
{
	struct rng *rng = container_of(hwrng, struct rng, hwrng);

	return rng_entropy_read(&rng->entropy, buf, size, wait);
}

static void rng_request_done(struct virtqueue *vq)
{
	struct rng *rng = vq->vdev->priv;

	rng_entropy_done(&rng->entropy);
}

static void rng_leak_done(struct virtqueue *vq)
{
	struct rng *rng = vq->vdev->priv;

	rng_leak_collect(&rng->leak);
}

static vq_callback_t *const rng_callbacks[VIRTIO_RNG_NUM_QUEUES] = {
	[VIRTIO_RNG_REQUESTQ] = rng_request_done,
	[VIRTIO_RNG_LEAKQ1] = rng_leak_done,
	[VIRTIO_RNG_LEAKQ2] = rng_leak_done,
};

static const char *const rng_queue_names[VIRTIO_RNG_NUM_QUEUES] = {
	[VIRTIO_RNG_REQUESTQ] = "input",
	[VIRTIO_RNG_LEAKQ1] = "leakq.1",
	[VIRTIO_RNG_LEAKQ2] = "leakq.2",
};

static u32 rng_count_unreported(struct rng *rng)
{
	if (!virtio_has_feature(rng->vdev, VIRTIO_RNG_F_LEAK_COUNT))
		return 0;
	return virtio_cread32(rng->vdev, VIRTIO_RNG_CONFIG_UNREPORTED);
}

/*
 * Whether the device had leaks to report since we looked the last time, and
 * nobody to report them to. It is running: it reports those that come now.
 */
static bool rng_has_missed_leaks(struct rng *rng)
{
	u32 before = rng->unreported;

	rng->unreported = rng_count_unreported(rng);
	return rng->unreported != before;
}

/*
 * Leaks first: bytes fetched from here on are covered. Then bytes, and only then
 * a change of the counter that makes everybody ask for bytes.
 */
static void rng_start_leak(struct rng *rng, struct virtqueue *vqs[], bool missed)
{
	bool mixed;

	missed |= rng_has_missed_leaks(rng);
	rng_leak_start(&rng->leak, vqs[VIRTIO_RNG_LEAKQ1],
		       vqs[VIRTIO_RNG_LEAKQ2], missed);
	rng_entropy_start(&rng->entropy, vqs[VIRTIO_RNG_REQUESTQ]);
	mixed = rng_entropy_mix(&rng->entropy);
	rng_leak_catch_up(&rng->leak, mixed);
	rng_entropy_identify(&rng->entropy);
}

/*
 * Finds the queues, starts the device, and gives it its first requests.
 * @missed: leaks may have gone unreported, whatever the device says.
 */
static int rng_up(struct rng *rng, bool missed)
{
	struct virtqueue *vqs[VIRTIO_RNG_NUM_QUEUES];
	unsigned int n = rng->gen ? VIRTIO_RNG_NUM_QUEUES : 1;
	int err;

	err = rng_find_vqs(rng->vdev, n, vqs, rng_callbacks, rng_queue_names);
	if (err && n > 1) {
		dev_warn(&rng->vdev->dev,
			 "no leak queues (%d): leak reporting is off\n", err);
		rng_gen_set_watched(rng->gen, false);
		n = 1;
		err = rng_find_vqs(rng->vdev, n, vqs, rng_callbacks,
				   rng_queue_names);
	}
	if (err)
		return err;

	rng->up = true;
	virtio_device_ready(rng->vdev);
	if (n > 1)
		rng_start_leak(rng, vqs, missed);
	else
		rng_entropy_start(&rng->entropy, vqs[VIRTIO_RNG_REQUESTQ]);
	return 0;
}

/* Takes the queues away from the device; nothing of ours runs afterwards. */
static void rng_down(struct rng *rng, bool for_good)
{
	if (!rng->up)
		return;
	rng_entropy_quiesce(&rng->entropy);
	if (rng->gen)
		rng_leak_quiesce(&rng->leak, for_good);
	virtio_reset_device(rng->vdev);
	rng->vdev->config->del_vqs(rng->vdev);
	rng_entropy_stop(&rng->entropy);
	if (rng->gen)
		rng_leak_stop(&rng->leak);
	rng->up = false;
}

static void rng_free(struct rng *rng)
{
	rng_entropy_fini(&rng->entropy);
	if (rng->gen) {
		rng_leak_fini(&rng->leak);
		rng_gen_free(rng->gen);
	}
	if (rng->index >= 0)
		ida_free(&rng_index, rng->index);
	kfree(rng);
}

static int rng_set_up_leak(struct rng *rng)
{
	struct rng_gen *gen = rng_gen_new(rng->vdev, rng->index);
	int err;

	if (IS_ERR(gen))
		return PTR_ERR(gen);
	err = rng_leak_init(&rng->leak, rng->vdev, gen);
	if (err) {
		rng_gen_free(gen);
		return err;
	}
	rng->gen = gen;

	if (virtio_has_feature(rng->vdev, VIRTIO_F_ACCESS_PLATFORM))
		dev_warn(&rng->vdev->dev,
			 "platform DMA: if it bounces, the counter is late\n");
	return 0;
}

static int rng_probe(struct virtio_device *vdev)
{
	struct rng *rng = kzalloc(sizeof(*rng), GFP_KERNEL);
	int err;

	if (!rng)
		return -ENOMEM;
	rng->vdev = vdev;
	vdev->priv = rng;

	rng->index = ida_alloc(&rng_index, GFP_KERNEL);
	if (rng->index < 0) {
		err = rng->index;
		goto err_free;
	}
	snprintf(rng->name, sizeof(rng->name), "virtio_rng.%d", rng->index);
	rng->hwrng.name = rng->name;
	rng->hwrng.read = rng_hwrng_read;
	rng->hwrng.quality = RNG_QUALITY;

	if (virtio_has_feature(vdev, VIRTIO_RNG_F_LEAK)) {
		err = rng_set_up_leak(rng);
		if (err)
			goto err_free;
	}
	err = rng_entropy_init(&rng->entropy, rng->gen);
	if (err)
		goto err_free;
	rng->unreported = rng_count_unreported(rng);
	err = rng_up(rng, rng->gen && rng_gen_reused(rng->gen));
	if (err)
		goto err_free;
	if (rng->gen)
		rng_sysgenid_add(rng_gen_page(rng->gen), &vdev->dev);
	return 0;

err_free:
	rng_free(rng);
	return err;
}

/* The core reads from us while we register: the device must be up by then. */
static void rng_scan(struct virtio_device *vdev)
{
	struct rng *rng = vdev->priv;
	int err = hwrng_register(&rng->hwrng);

	if (err)
		dev_err(&vdev->dev, "cannot register with hwrng: %d\n", err);
	rng->registered = !err;
}

static void rng_remove(struct virtio_device *vdev)
{
	struct rng *rng = vdev->priv;

	/* Readers first get out of their wait, then out of the driver. */
	rng_entropy_quiesce(&rng->entropy);
	if (rng->registered)
		hwrng_unregister(&rng->hwrng);
	if (rng->gen)
		rng_sysgenid_remove(rng_gen_page(rng->gen));
	rng_down(rng, true);
	rng_free(rng);
}

static int __maybe_unused rng_freeze(struct virtio_device *vdev)
{
	rng_down(vdev->priv, false);
	return 0;
}

static int __maybe_unused rng_restore(struct virtio_device *vdev)
{
	struct rng *rng = vdev->priv;
	int err = rng_up(rng, !virtio_has_feature(vdev, VIRTIO_RNG_F_LEAK_COUNT));

	if (err && rng->gen)
		rng_gen_set_watched(rng->gen, false);
	return err;
}

static const struct virtio_device_id rng_ids[] = {
	{ VIRTIO_ID_RNG, VIRTIO_DEV_ANY_ID },
	{ 0 },
};

static const unsigned int rng_features[] = {
	VIRTIO_RNG_F_LEAK,
	VIRTIO_RNG_F_LEAK_COUNT,
	VIRTIO_RNG_F_LEAK_HANDLED,
};

static struct virtio_driver rng_driver = {
	.driver.name = KBUILD_MODNAME,
	.driver.owner = THIS_MODULE,
	.feature_table = rng_features,
	.feature_table_size = ARRAY_SIZE(rng_features),
	.id_table = rng_ids,
	.probe = rng_probe,
	.scan = rng_scan,
	.remove = rng_remove,
#ifdef CONFIG_PM_SLEEP
	.freeze = rng_freeze,
	.restore = rng_restore,
#endif
};

static int __init rng_init(void)
{
	int err = rng_gen_init();

	if (err)
		return err;
	err = register_virtio_driver(&rng_driver);
	if (err)
		rng_gen_exit();
	return err;
}
module_init(rng_init);

static void __exit rng_exit(void)
{
	unregister_virtio_driver(&rng_driver);
	rng_gen_exit();
}
module_exit(rng_exit);

MODULE_DEVICE_TABLE(virtio, rng_ids);
MODULE_DESCRIPTION("Virtio random number driver with entropy leak reporting");
MODULE_LICENSE("GPL");
