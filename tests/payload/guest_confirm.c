// SPDX-License-Identifier: Apache-2.0
/*
 * A driver of the entropy device that is all that runs: whenever the device has
 * carried out an event it says that it has handled it, or something else. "mode=X"
 * on the command line:
 *
 *  h  honest: the number that it has read, once the seed is there
 *  l  wrong: numbers that are behind, ahead and repeated, and parts of numbers, for ever
 *  s  silent: it has not negotiated that it would say anything
 *  e  empty: it has no seed (nothing is in its queues), and says all numbers that it can think of
 */
#include "guest.h"
#include "virtio.h"
#include "virtio_rng_leak.h"

#define ENTROPY_WINDOW	  0xC0001000ull
#define ZERO_PAGE_CMDLINE 0x228
#define FEATURES	  (1ull << VIRTIO_RNG_F_LEAK | 1ull << VIRTIO_RNG_F_LEAK_COUNT)
#define FEATURE_HANDLED	  (1ull << VIRTIO_RNG_F_LEAK_HANDLED)
#define SEED_LEN	  32

static struct virtio_device entropy = { .base = ENTROPY_WINDOW, .num_queues = 3 };

static uint32_t confirm_generation(void)
{
	return *virtio_reg(&entropy, VIRTIO_MMIO_CONFIG + VIRTIO_RNG_CONFIG_GENERATION);
}

static void confirm_say(uint32_t value)
{
	*virtio_reg(&entropy, VIRTIO_MMIO_CONFIG + VIRTIO_RNG_CONFIG_HANDLED) = value;
}

static volatile uint64_t *confirm_seed(unsigned int q)
{
	return (void *)(VIRTIO_DATA + q * 0x1000);
}

static void confirm_arm(unsigned int q)
{
	*confirm_seed(q) = 0;
	virtio_set_desc(&entropy.rings[q], 0, VIRTIO_DATA + q * 0x1000, SEED_LEN, VRING_DESC_F_WRITE, 0);
	virtio_publish(&entropy.rings[q], 0);
	virtio_kick(&entropy, q);
}

/* An event that comes right after the last word, or before the first, is the next one: what was said is what is compared with. */
static void confirm_honestly(uint32_t said)
{
	for (unsigned int q = VIRTIO_RNG_LEAKQ1;; q = VIRTIO_RNG_LEAKQ1 + VIRTIO_RNG_LEAKQ2 - q) {
		uint32_t now = said;

		while (now == said)
			now = confirm_generation();
		guest_print(*confirm_seed(q) ? "handled\n" : "there is NO seed\n");
		confirm_arm(VIRTIO_RNG_LEAKQ1 + VIRTIO_RNG_LEAKQ2 - q);
		confirm_say(now);
		said = now;
	}
}

static void confirm_lies(void)
{
	volatile uint8_t *handled =
		(volatile uint8_t *)virtio_reg(&entropy, VIRTIO_MMIO_CONFIG + VIRTIO_RNG_CONFIG_HANDLED);

	for (uint32_t n = 0;; n++) {
		uint32_t generation = confirm_generation();

		/* Not the next one: an event may come before it is written, and then it is right. */
		confirm_say(generation + 2);
		confirm_say(generation + (1u << 31));
		confirm_say(generation - 1);
		confirm_say(generation - 1);
		confirm_say(generation + 2 + n);
		handled[0] = (uint8_t)generation;
		*(volatile uint16_t *)handled = (uint16_t)generation;
		*(volatile uint64_t *)handled = generation;
		*virtio_reg(&entropy, VIRTIO_MMIO_CONFIG + VIRTIO_RNG_CONFIG_GENERATION) = generation - 1;
		*virtio_reg(&entropy, VIRTIO_MMIO_CONFIG + VIRTIO_RNG_CONFIG_UNREPORTED) = generation;
	}
}

static void confirm_without_a_seed(void)
{
	for (;;) {
		for (uint32_t n = 0; n < 16; n++)
			confirm_say(n);
	}
}

static char confirm_mode(const uint8_t *zero_page)
{
	const char *text = (const char *)(uint64_t) * (const uint32_t *)(zero_page + ZERO_PAGE_CMDLINE);

	for (; *text; text++) {
		if (text[0] == 'm' && text[1] == 'o' && text[2] == 'd' && text[3] == 'e' && text[4] == '=')
			return text[5];
	}
	return 'h';
}

void guest_main(const uint8_t *zero_page)
{
	char mode = confirm_mode(zero_page);
	uint32_t before;
	bool ok;

	guest_map_mmio();
	ok = virtio_start(&entropy, mode == 's' ? FEATURES : FEATURES | FEATURE_HANDLED);
	if (mode != 'e')
		confirm_arm(VIRTIO_RNG_LEAKQ1);
	before = confirm_generation();
	guest_print(ok ? "ready\n" : "the entropy device does not start\n");
	if (mode == 'h')
		confirm_honestly(before);
	if (mode == 'e')
		confirm_without_a_seed();
	confirm_lies();
}
