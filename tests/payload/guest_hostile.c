// SPDX-License-Identifier: Apache-2.0
/*
 * A guest that does what it must not: random accesses to the windows and ports
 * of all devices, rings of garbage that change while they are read, and rings
 * that are broken in one known way. After each attack on a virtio device it
 * resets the device and checks that it works.
 *
 * The command line has "seed=N rounds=N"; the same seed is the same attack. It
 * ends early when "q" is typed. The last line on the console is the verdict.
 * Then the guest resets the machine.
 */
#include "guest.h"
#include "hostile.h"

#include <linux/virtio_blk.h>

/* As host/arch/x86_64/layout.h and the order of the devices have it: the drive, the balloon, the entropy device. */
#define BLOCK_WINDOW	     0xC0001000ull
#define BALLOON_WINDOW	     0xC0002000ull
#define ENTROPY_WINDOW	     0xC0003000ull
#define BOOT_TIMER_WINDOW    0xC0000000ull
#define SERIAL_PORT	     0x3f8
#define I8042_PORT	     0x60
#define I8042_COMMAND_RESET  0xfe
#define I8042_COMMAND_OUTPUT 0xd1
#define I8042_COMMAND_READ   0x20
#define BALLOON_LISTS	     (VIRTIO_TABLES + 0x80000)
#define BALLOON_LISTS_LEN    0x40000u
#define BALLOON_PAGES	     (VIRTIO_DATA + 0x400000) /* 1 MiB and more; below it nothing is given up but rings */
#define FEATURE_LEAK	     1ull

static struct virtio_device block = { .base = BLOCK_WINDOW, .num_queues = 1, .number = 1, .is_block = true };
static struct virtio_device entropy = { .base = ENTROPY_WINDOW, .num_queues = 3 };
static struct virtio_device balloon = { .base = BALLOON_WINDOW, .num_queues = 5, .number = 2 };
static unsigned int num_needs_reset;
static unsigned int num_used;

/* Block requests that look like some: the header is where a descriptor may point. */
static void hostile_headers(void)
{
	for (unsigned int i = 0; i < 64; i++) {
		volatile struct virtio_blk_outhdr *header =
			(volatile struct virtio_blk_outhdr *)(VIRTIO_DATA + hostile_below(0x400000) / 16 * 16);

		header->type = hostile_below(8) ? hostile_below(16) : (uint32_t)hostile_random();
		header->sector = hostile_below(4) ? hostile_below(3000) : hostile_random();
	}
}

/* Rings in order, with buffers that are anything: the device must give back each of them, and go on. */
static bool attack_by_buffers(struct virtio_device *dev)
{
	struct virtio_ring *ring = &dev->rings[0];

	if (!virtio_start(dev, HOSTILE_FEATURES))
		return false;
	hostile_headers();
	for (unsigned int i = 0; i < HOSTILE_CHAINS; i++)
		hostile_chain(ring, i * HOSTILE_CHAIN_MAX);
	virtio_kick(dev, 0);
	return virtio_wait_used(dev, 0, HOSTILE_CHAINS) && !(*virtio_reg(dev, VIRTIO_MMIO_STATUS) & STATUS_NEEDS_RESET);
}

/* Garbage in all rings and tables, and it goes on changing while the device looks. */
static void attack_rings(struct virtio_device *dev)
{
	(void)virtio_start(dev,
			   HOSTILE_FEATURES * hostile_below(2) | (dev->is_block ? 0 : FEATURE_LEAK * hostile_below(2)));
	hostile_headers();
	for (unsigned int i = 0; i < 256; i++)
		hostile_desc((struct vring_desc *)VIRTIO_TABLES + i);
	for (unsigned int i = 0; i < 40; i++) {
		unsigned int q = hostile_below(dev->num_queues);
		struct virtio_ring *ring = &dev->rings[q];

		if (!ring->desc)
			continue;
		if (hostile_below(4))
			hostile_chain(ring, hostile_below(VIRTIO_QUEUE_SIZE));
		else
			hostile_desc(&ring->desc[hostile_below(VIRTIO_QUEUE_SIZE)]);
		if (hostile_below(30) == 0)
			virtio_publish(ring, (uint16_t)hostile_random());
		if (hostile_below(3) == 0)
			virtio_kick(dev, q);
	}
	virtio_kick(dev, 0);
	for (unsigned int i = 0; i < 2000; i++)
		hostile_desc(&dev->rings[0].desc[hostile_below(VIRTIO_QUEUE_SIZE)]);
}

/*
 * Lists of pages: some that are nobody's, this device's rings among them now and then, and most that do not exist. A list may
 * begin anywhere in this part of the arena: what four bytes of it say is never a page of this guest's own.
 */
static void balloon_lists(bool with_rings)
{
	volatile uint32_t *list = (volatile uint32_t *)BALLOON_LISTS;

	for (unsigned int i = 0; i < BALLOON_LISTS_LEN / 4; i++) {
		uint32_t first =
			(uint32_t)((with_rings && hostile_below(50) == 0 ? VIRTIO_ARENA : BALLOON_PAGES) >> 12);

		list[i] = (first + hostile_below(0x100)) | 1;
		if (hostile_below(4) == 0)
			list[i] = (uint32_t)hostile_random() | 0x80000001;
	}
}

/* Buffers with lists, ranges of pages, and what is no memory, for a random queue; one round may ask for gigabytes. */
static void balloon_chain(void)
{
	struct virtio_ring *ring = &balloon.rings[hostile_below(balloon.num_queues)];
	unsigned int num = 1 + hostile_below(HOSTILE_CHAIN_MAX), readable = hostile_below(num + 1);
	unsigned int head = ring->avail_idx * HOSTILE_CHAIN_MAX;

	if (!ring->desc || head + num > VIRTIO_QUEUE_SIZE)
		return;
	for (unsigned int i = 0; i < num; i++) {
		uint16_t flags =
			(uint16_t)((i < readable ? 0 : VRING_DESC_F_WRITE) | (i + 1 < num ? VRING_DESC_F_NEXT : 0));
		uint64_t at = i < readable ? BALLOON_LISTS + hostile_below(BALLOON_LISTS_LEN / 2)
					   : BALLOON_PAGES + hostile_below(0x100000);
		uint32_t len = i < readable ? hostile_below(BALLOON_LISTS_LEN / 2) : hostile_length();

		if (hostile_below(6) == 0)
			at = hostile_below(2) ? UINT64_MAX - hostile_below(5000) : 1ull << 40 | hostile_random();
		virtio_set_desc(ring, head + i, at, hostile_below(3) ? len & ~3u : len, flags,
				(uint16_t)(head + i + 1));
	}
	virtio_publish(ring, (uint16_t)head);
}

/* At first rings are in order, whatever is in them; then chains change while they are read, and indices are garbage. */
static void attack_balloon(void)
{
	static const unsigned int registers[] = { VIRTIO_MMIO_CONFIG, VIRTIO_MMIO_CONFIG + 4, VIRTIO_MMIO_CONFIG + 8 };

	balloon_lists(hostile_below(2));
	(void)virtio_start(&balloon, hostile_below(4) ? ~0ull : hostile_random());
	for (unsigned int i = 0; i < 60; i++) {
		balloon_chain();
		virtio_kick(&balloon, hostile_below(balloon.num_queues));
		if (hostile_below(8) == 0)
			*virtio_reg(&balloon, registers[hostile_below(3)]) = (uint32_t)hostile_random();
	}
	for (unsigned int i = 0; i < 200; i++)
		(void)*virtio_reg(&balloon, VIRTIO_MMIO_STATUS);
	for (unsigned int q = 0; q < balloon.num_queues; q++) {
		struct virtio_ring *ring = &balloon.rings[q];

		if (!ring->desc)
			continue;
		ring->avail_idx = hostile_below(4) ? 0 : (uint16_t)hostile_random();
		balloon_chain();
		virtio_publish(ring, (uint16_t)hostile_random());
		virtio_kick(&balloon, q);
	}
}

/* What a guest may not ask for by accident here is the reset that ends the attack. */
static void attack_i8042(void)
{
	for (unsigned int i = 0; i < 40; i++) {
		uint8_t value = (uint8_t)hostile_random();

		if (value != I8042_COMMAND_RESET && value != I8042_COMMAND_OUTPUT)
			guest_outb(I8042_PORT + 4, value);
		guest_outb(I8042_PORT, (uint8_t)hostile_random());
		guest_outl((uint16_t)(I8042_PORT + 1 + hostile_below(3)), (uint32_t)hostile_random());
		guest_outl(I8042_PORT + 4, I8042_COMMAND_RESET);
		(void)guest_inl((uint16_t)(I8042_PORT + hostile_below(5)));
	}
	guest_outb(I8042_PORT + 4, I8042_COMMAND_READ);
}

/* All registers but the one that prints; in loopback mode that one, too. Then back to what a console needs. */
static void attack_serial(void)
{
	for (unsigned int i = 0; i < 40; i++) {
		guest_outb((uint16_t)(SERIAL_PORT + 1 + hostile_below(7)), (uint8_t)hostile_random());
		(void)guest_inl((uint16_t)(SERIAL_PORT + hostile_below(8)));
		guest_outl((uint16_t)(SERIAL_PORT + hostile_below(8)), (uint32_t)hostile_random());
	}
	guest_outb(SERIAL_PORT + 3, 3);
	guest_outb(SERIAL_PORT + 4, 0x10);
	for (unsigned int i = 0; i < 100; i++)
		guest_outb(SERIAL_PORT, (uint8_t)hostile_random());
	guest_outb(SERIAL_PORT + 4, 0);
	guest_outb(SERIAL_PORT + 2, 7); /* forget what came back */
}

/* Ports that nobody has, but not those of the devices that KVM has itself. */
static void attack_ports(void)
{
	for (unsigned int i = 0; i < 20; i++) {
		uint16_t port = (uint16_t)(0x1000 + hostile_below(0xe000));

		guest_outl(port, (uint32_t)hostile_random());
		(void)guest_inl(port);
	}
}

static bool entropy_works(void)
{
	struct virtio_ring *ring = &entropy.rings[0];
	volatile uint64_t *data = (volatile uint64_t *)VIRTIO_DATA;

	if (!virtio_start(&entropy, FEATURE_LEAK))
		return false;
	data[0] = data[1] = data[2] = 0;
	virtio_set_desc(ring, 0, VIRTIO_DATA, 16, VRING_DESC_F_WRITE, 0);
	virtio_publish(ring, 0);
	virtio_kick(&entropy, 0);
	return virtio_wait_used(&entropy, 0, 1) && (data[0] | data[1]) != 0 && data[2] == 0;
}

/* A page that is given up is zero, its neighbour is not touched. */
static bool balloon_works(void)
{
	volatile uint64_t *page = (volatile uint64_t *)BALLOON_PAGES;
	volatile uint32_t *list = (volatile uint32_t *)VIRTIO_DATA;

	if (!virtio_start(&balloon, 0))
		return false;
	page[0] = page[511] = page[512] = 0x1234;
	list[0] = (uint32_t)(BALLOON_PAGES >> 12);
	virtio_set_desc(&balloon.rings[0], 0, VIRTIO_DATA, 4, 0, 0);
	virtio_publish(&balloon.rings[0], 0);
	virtio_kick(&balloon, 0);
	return virtio_wait_used(&balloon, 0, 1) && (page[0] | page[511]) == 0 && page[512] == 0x1234;
}

static bool block_transfer(uint32_t type, uint64_t sector, uint64_t data, uint16_t count)
{
	struct virtio_blk_outhdr *header = (struct virtio_blk_outhdr *)VIRTIO_TABLES;
	volatile uint8_t *status = (volatile uint8_t *)VIRTIO_TABLES + 512;
	struct virtio_ring *ring = &block.rings[0];
	uint16_t flags = type == VIRTIO_BLK_T_IN ? VRING_DESC_F_NEXT | VRING_DESC_F_WRITE : VRING_DESC_F_NEXT;

	*header = (struct virtio_blk_outhdr){ .type = type, .sector = sector };
	*status = 0xff;
	virtio_set_desc(ring, 0, VIRTIO_TABLES, sizeof(*header), VRING_DESC_F_NEXT, 1);
	virtio_set_desc(ring, 1, data, 512, flags, 2);
	virtio_set_desc(ring, 2, VIRTIO_TABLES + 512, 1, VRING_DESC_F_WRITE, 0);
	virtio_publish(ring, 0);
	virtio_kick(&block, 0);
	return virtio_wait_used(&block, 0, count) && *status == VIRTIO_BLK_S_OK;
}

static bool block_works(void)
{
	volatile uint64_t *out = (volatile uint64_t *)VIRTIO_DATA, *in = (volatile uint64_t *)(VIRTIO_DATA + 4096);
	uint64_t sector = hostile_below(100);
	bool same = true;

	if (!virtio_start(&block, 0))
		return false;
	for (unsigned int i = 0; i < 64; i++)
		out[i] = hostile_random();
	if (!block_transfer(VIRTIO_BLK_T_OUT, sector, VIRTIO_DATA, 1) ||
	    !block_transfer(VIRTIO_BLK_T_IN, sector, VIRTIO_DATA + 4096, 2))
		return false;
	for (unsigned int i = 0; i < 64; i++)
		same = same && in[i] == out[i];
	return same;
}

/* NULL, or what went wrong. */
static const char *hostile_round(void)
{
	struct virtio_device *dev = hostile_below(2) ? &block : &entropy;

	switch (hostile_below(8)) {
	case 0:
		attack_window(hostile_below(3) ? dev->base : balloon.base);
		break;
	case 1:
		if (!attack_by_broken_ring(dev, 0))
			return "a broken ring did not make the device need a reset";
		break;
	case 2:
		attack_i8042();
		attack_serial();
		attack_ports();
		attack_window(BOOT_TIMER_WINDOW);
		break;
	case 3:
	case 4:
		if (!attack_by_buffers(dev))
			return "a device did not give back all of what it could not do";
		break;
	case 5:
		dev = &balloon;
		attack_balloon();
		break;
	default:
		attack_rings(dev);
	}
	if (*virtio_reg(dev, VIRTIO_MMIO_STATUS) & STATUS_NEEDS_RESET)
		num_needs_reset++;
	if (dev->rings[0].used)
		num_used += dev->rings[0].used[1];
	if (!balloon_works())
		return "the balloon does not work after a reset";
	if (!block_works())
		return "the block device does not work after a reset";
	return entropy_works() ? NULL : "the entropy device does not work after a reset";
}

void guest_main(const uint8_t *zero_page)
{
	const struct hostile h = {
		.round = hostile_round,
		.num_needs_reset = &num_needs_reset,
		.num_used = &num_used,
	};

	hostile_run(zero_page, &h);
}
