// SPDX-License-Identifier: Apache-2.0
/* Accesses of any width to the windows and ports of all devices, over rings that lie ready in memory. */
#include "board.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "arch/arch.h"
#include "base/cleanup.h"
#include "state/codec.h"
#include "devices/devices.h"
#include "guest.h"
#include "virtio/mmio.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	(void)argc;
	(void)argv;
	fuzz_expect(null >= 0 && dup2(null, STDOUT_FILENO) == STDOUT_FILENO); /* the console */
	close(null);
	return 0;
}

/* Three rings where the registers may find them, with buffers in them. */
static void prepare_rings(struct board *b)
{
	for (unsigned int q = 0; q < 3; q++) {
		struct ring_buf buf = { .gpa = DRV_DATA_GPA + q * 0x1000u, .len = 16 };
		struct ring_driver ring;

		ring_init(&ring, &b->fp.mem, DRV_RINGS_GPA + q * 0x10000u, 256);
		for (unsigned int i = 0; i < 8; i++)
			ring_add(&ring, NULL, 0, &buf, 1);
	}
}

static void access_mmio(struct board *b, struct fuzz_input *in, gpa_t addr, unsigned int width, bool read)
{
	if (read)
		(void)fake_read(&b->fp, addr, width);
	else
		fake_write(&b->fp, addr, fuzz_value(in), width);
}

/* A byte mostly: devices on ports ignore the rest. */
static void step_ports(struct board *b, struct fuzz_input *in, bool read)
{
	uint8_t port = fuzz_u8(in);
	unsigned int width = port & 0x40 ? 1u << (port >> 4 & 3) : 1;
	uint64_t addr = (port & 0x80 ? ARCH_I8042_PORT : ARCH_SERIAL_PORT) + (port & 7), value = 0;

	if (read) {
		bus_read(&b->fp.bus, BUS_PIO, addr, &value, width);
		return;
	}
	value = fuzz_number(in, width);
	bus_write(&b->fp.bus, BUS_PIO, addr, &value, width);
}

/* A register by its number, or any offset with any width. */
static void step_window(struct board *b, struct fuzz_input *in, unsigned int device, bool read)
{
	uint8_t reg = fuzz_u8(in);
	uint64_t offset = reg < 0x48 ? reg * 4u : fuzz_u16(in) % VIRTIO_MMIO_WINDOW;
	unsigned int width = reg < 0x48 ? 4 : 1u << (reg & 3);
	gpa_t base = device < ARRAY_SIZE(b->virtio) ? b->virtio[device].base : ARCH_BOOT_TIMER_BASE;

	access_mmio(b, in, base + offset, width, read);
}

/* A queue as a driver sets it up, so that inputs need not find the nine writes. */
static void step_queue(struct board *b, struct fuzz_input *in)
{
	struct virtio_driver *drv = &b->virtio[fuzz_u8(in) & 1];
	unsigned int q = fuzz_u8(in) & 3;
	gpa_t rings = DRV_RINGS_GPA + q * 0x10000u;

	(void)drv_negotiate(drv, fuzz_value(in));
	drv_write(drv, VIRTIO_MMIO_QUEUE_SEL, q);
	drv_write(drv, VIRTIO_MMIO_QUEUE_NUM, 256);
	drv_write(drv, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)rings);
	drv_write(drv, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)rings + 0x1000);
	drv_write(drv, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)rings + 0x2000);
	drv_write(drv, VIRTIO_MMIO_QUEUE_READY, 1);
	drv_ready(drv);
}

static void step_type(struct board *b, struct fuzz_input *in)
{
	size_t len;
	const uint8_t *data = fuzz_bytes(in, fuzz_u8(in) % 80, &len);

	if (write(b->typing, data, len) < 0) {
		/* full: the guest does not read */
	}
	fuzz_run(&b->fp);
}

static void step_ctrl_alt_del(struct board *b)
{
	struct err e;
	int r;

	r = i8042_ctrl_alt_del(b->devices[BOARD_I8042], &e);
	fuzz_expect(r == 0 || r == -EBUSY);
}

/* What was saved in any state can be loaded. */
static void step_save_and_load(struct board *b)
{
	struct enc *enc = enc_new();
	struct dec *dec;
	struct err e;
	uint8_t *data;
	size_t len;

	board_pause(b);
	board_save(b, enc);
	fuzz_expect(enc_finish(enc, &data, &len) == 0);
	enc_free(enc);
	fuzz_expect(dec_new(data, len, &dec, &e) == 0);
	board_load(b, dec);
	fuzz_expect(dec_error(dec, &e) == 0);
	dec_free(dec);
	free(data);
	board_leak(b);
	board_resume(b);
}

static void play(struct board *b, struct fuzz_input *in)
{
	unsigned int heavy = 0;

	while (!fuzz_done(in)) {
		uint8_t step = fuzz_u8(in);
		bool read = step & 0x80;

		switch (step & 15) {
		case 0:
			fuzz_run(&b->fp);
			break;
		case 1:
			step_type(b, in);
			break;
		case 2:
			step_ctrl_alt_del(b);
			break;
		case 3:
			if (heavy++ < 8)
				step_save_and_load(b);
			break;
		case 4:
			step_queue(b, in);
			break;
		case 5:
			step_window(b, in, 2, read);
			break;
		case 6:
		case 7:
		case 8:
		case 9:
			step_ports(b, in, read);
			break;
		default:
			step_window(b, in, step & 1, read);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct board b;

	board_init(&b);
	prepare_rings(&b);
	play(&b, &in);
	board_expect_good(&b);
	board_fini(&b);
	return 0;
}
