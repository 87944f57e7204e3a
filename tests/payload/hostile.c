// SPDX-License-Identifier: Apache-2.0
#include "hostile.h"

#include <linux/virtio_blk.h>

#include "guest.h"

#define RAM_END		  0x2000000ull
#define SERIAL_PORT	  0x3f8
#define ZERO_PAGE_CMDLINE 0x228

static uint64_t random_state;

uint64_t hostile_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state * 0x2545f4914f6cdd1d >> 16 | random_state << 48;
}

unsigned int hostile_below(unsigned int n)
{
	return (unsigned int)((hostile_random() >> 8) % n);
}

static void hostile_print_number(unsigned int n)
{
	char text[12];
	unsigned int at = sizeof(text) - 1;

	text[at] = '\0';
	do
		text[--at] = (char)('0' + n % 10);
	while ((n /= 10) != 0);
	guest_print(text + at);
}

/* No device may ever be told to write where this guest itself lies. */
uint64_t hostile_address(void)
{
	switch (hostile_below(8)) {
	case 0:
		return RAM_END - hostile_below(600);
	case 1:
		return 1ull << 40 | hostile_random();
	case 2:
		return 0xC0000000 + hostile_below(0x40000000);
	case 3:
		return UINT64_MAX - hostile_below(5000);
	case 4:
		return VIRTIO_TABLES + hostile_below(4096) * 16ull;
	default:
		return VIRTIO_DATA + hostile_below(0x400000);
	}
}

uint32_t hostile_length(void)
{
	switch (hostile_below(8)) {
	case 0:
		return (uint32_t)hostile_random();
	case 1:
		return 0x100000 + hostile_below(3) - 1;
	case 2:
		return 0;
	case 3:
		return 1;
	case 4:
		return sizeof(struct virtio_blk_outhdr);
	case 5:
		return hostile_below(5000);
	default:
		return 512 * hostile_below(20);
	}
}

void hostile_desc(struct vring_desc *at)
{
	volatile struct vring_desc *desc = at;

	desc->addr = hostile_address();
	desc->len = hostile_length();
	/* NEXT and WRITE mostly; INDIRECT, and bits that mean nothing, now and then. */
	desc->flags = (uint16_t)(hostile_below(16) ? hostile_below(4) : hostile_random());
	desc->next = (uint16_t)(hostile_below(16) ? hostile_below(VIRTIO_QUEUE_SIZE) : hostile_random());
}

void hostile_chain(struct virtio_ring *ring, unsigned int head)
{
	unsigned int num = 1 + hostile_below(HOSTILE_CHAIN_MAX), readable = hostile_below(num + 1);

	for (unsigned int i = 0; i < num; i++) {
		uint16_t flags =
			(uint16_t)((i < readable ? 0 : VRING_DESC_F_WRITE) | (i + 1 < num ? VRING_DESC_F_NEXT : 0));

		virtio_set_desc(ring, head + i, hostile_address(), hostile_length(), flags,
				(uint16_t)((head + i + 1) % VIRTIO_QUEUE_SIZE));
	}
	virtio_publish(ring, (uint16_t)(head % VIRTIO_QUEUE_SIZE));
}

/* Rings that break a rule of virtio 1.2, section 2.7: the device must say that it needs a reset. */
bool attack_by_broken_ring(struct virtio_device *dev, unsigned int q)
{
	struct virtio_ring *ring = &dev->rings[q];
	struct vring_desc *table = (struct vring_desc *)VIRTIO_TABLES;
	const uint16_t next = VRING_DESC_F_NEXT, write = VRING_DESC_F_WRITE, indirect = VRING_DESC_F_INDIRECT;

	if (!virtio_start(dev, HOSTILE_FEATURES))
		return false;
	virtio_set_desc(ring, 0, VIRTIO_DATA, 16, next, 1);
	virtio_set_desc(ring, 1, VIRTIO_DATA, 16, next, 0); /* a loop, if nothing is changed */
	switch (hostile_below(8)) {
	case 0: /* a head behind the table */
		virtio_publish(ring, VIRTIO_QUEUE_SIZE);
		break;
	case 1: /* further ahead than the ring is long */
		ring->avail_idx = VIRTIO_QUEUE_SIZE;
		virtio_publish(ring, 0);
		break;
	case 2:
		virtio_set_desc(ring, 0, VIRTIO_DATA, 16, next | write, 1);
		virtio_set_desc(ring, 1, VIRTIO_DATA, 16, 0, 0);
		virtio_publish(ring, 0);
		break;
	case 3:
		virtio_set_desc(ring, 0, VIRTIO_DATA, 16, next, 0xffff);
		virtio_publish(ring, 0);
		break;
	case 4: /* a table in a table */
		virtio_set_desc(ring, 0, VIRTIO_TABLES, 16, indirect, 0);
		*table = (struct vring_desc){ .addr = VIRTIO_TABLES, .len = 16, .flags = indirect };
		virtio_publish(ring, 0);
		break;
	case 5:
		virtio_set_desc(ring, 0, VIRTIO_TABLES, 15, indirect, 0);
		virtio_publish(ring, 0);
		break;
	case 6:
		virtio_set_desc(ring, 0, RAM_END - 16, 32, indirect, 0);
		virtio_publish(ring, 0);
		break;
	default:
		virtio_publish(ring, 0);
	}
	virtio_kick(dev, q);
	return virtio_wait_status(dev, STATUS_NEEDS_RESET);
}

/* Any register, also those that do not exist, in any width, in any order. */
void attack_window(uint64_t window)
{
	for (unsigned int i = 0; i < 150; i++) {
		uint64_t at = window + (hostile_below(8) ? hostile_below(0x48) * 4u : hostile_below(0xff8));
		uint64_t value = hostile_below(2) ? hostile_below(16) : hostile_random();

		switch (hostile_below(12)) {
		case 0:
			*(volatile uint8_t *)at = (uint8_t)value;
			break;
		case 1:
			*(volatile uint16_t *)at = (uint16_t)value;
			break;
		case 2:
			*(volatile uint64_t *)at = value;
			break;
		case 3:
			(void)*(volatile uint8_t *)at;
			break;
		case 4:
			(void)*(volatile uint64_t *)at;
			break;
		case 5:
			(void)*(volatile uint32_t *)at;
			break;
		default:
			*(volatile uint32_t *)at = (uint32_t)value;
		}
	}
}

static uint8_t hostile_inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

/* What was typed, or 0. */
uint8_t hostile_typed(void)
{
	return hostile_inb(SERIAL_PORT + 5) & 1 ? hostile_inb(SERIAL_PORT) : 0;
}

/* The number behind name in the command line. */
static unsigned int hostile_option(const char *cmdline, const char *name)
{
	for (; *cmdline != '\0'; cmdline++) {
		const char *c = cmdline, *n = name;
		unsigned int value = 0;

		while (*n != '\0' && *c == *n)
			c++, n++;
		if (*n != '\0')
			continue;
		while (*c >= '0' && *c <= '9')
			value = 10 * value + (unsigned int)(*c++ - '0');
		return value;
	}
	return 0;
}

void hostile_run(const uint8_t *zero_page, const struct hostile *h)
{
	const char *cmdline = (const char *)(uintptr_t) * (const uint32_t *)(zero_page + ZERO_PAGE_CMDLINE);
	unsigned int rounds = hostile_option(cmdline, "rounds="), round = 0;
	const char *wrong = NULL;

	random_state = 0x9e3779b97f4a7c15 + hostile_option(cmdline, "seed=");
	guest_map_mmio();
	guest_print("hostile: begins\n");
	while (round < rounds && !wrong && hostile_typed() != 'q') {
		if (round++ == rounds / 2)
			guest_print("\nhostile: half\n");
		wrong = h->round();
	}
	guest_print("\nhostile: ");
	hostile_print_number(round);
	guest_print(" rounds, ");
	hostile_print_number(*h->num_needs_reset);
	guest_print(" resets needed, ");
	hostile_print_number(*h->num_used);
	guest_print(" buffers used: ");
	guest_print(wrong ? wrong : "all is well");
	guest_print("\n");
	while (h->waits && hostile_typed() != 'q') {
	}
	guest_reset();
}
