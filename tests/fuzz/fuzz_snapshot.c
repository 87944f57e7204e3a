// SPDX-License-Identifier: Apache-2.0
/*
 * State files: header, checksum, CBOR, and all that a machine reads from it.
 *
 * The first byte of an input says what the rest is: a whole file; one whose
 * checksum is made for it; the CBOR of a file whose header and checksum are made
 * for it; or changes to the CBOR of a good machine, one data item at a time,
 * which is how to get past the first map. The parts are loaded in the order of
 * machine/load.c.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "arch/arch.h"
#include "base/cleanup.h"
#include "state/codec.h"
#include "board.h"
#include "resource/state.h"
#include "resource/vm_config.h"
#include "fake_kvm.h"
#include "snapshot/chain.h"
#include "snapshot/format.h"
#include "snapshot/statefile.h"

#define MAX_ITEMS   4096
#define MAX_PAYLOAD (256u * 1024)
#define MEM_SIZE    (128ull << 20)

/* The CBOR of a good machine, and where its data items start. */
static uint8_t *good;
static size_t good_len;
static size_t items[MAX_ITEMS + 1];
static size_t num_items;

/* The bytes of an item's head and, for a string, of its content. */
static size_t item_len(const uint8_t *at)
{
	static const uint8_t num_bytes[] = { 1, 2, 4, 8 };
	uint8_t major = at[0] >> 5, info = at[0] & 31;
	uint64_t value = info;
	size_t head = 1;

	fuzz_expect(info < 28);
	if (info >= 24) {
		head += num_bytes[info - 24];
		value = 0;
		for (size_t i = 1; i < head; i++)
			value = value << 8 | at[i];
	}
	return major == 2 || major == 3 ? head + value : head;
}

static const struct mem_layout memory = { .num_regions = 1, .regions = { { .size = MEM_SIZE } } };

/* As of a diff on another one; its own record is where the header says, on level 16 as on level 0. */
static void save_layers(struct enc *enc)
{
	static const struct snapshot_chain below = { .level = 15,
						     .num = 1,
						     .layers = { { .id = { 4 }, .offset = 0x5000 } } };
	struct guest_mem mem;
	struct err e;

	fuzz_expect(mem_init_anonymous(&mem, &memory, &e) == 0);
	fuzz_expect(mem_write(&mem, 0x5000, "page", 4));
	snapshot_chain_save(&below, &mem, enc);
	mem_fini(&mem);
}

/* What a chain says of memory, and one more snapshot on it. */
static int load_layers(struct statefile *file, struct err *e)
{
	struct mem_layout layout = memory;
	struct snapshot_chain chain;
	struct guest_mem mem;
	int r = snapshot_chain_load(file, &chain, e);

	if (r < 0 || file->mark.mem_size > MEM_SIZE)
		return r;
	layout.regions[0].size = file->mark.mem_size;
	r = mem_init_anonymous(&mem, &layout, e);
	fuzz_expect(r == 0);
	r = snapshot_put_back(file, &chain, &mem, e);
	mem_fini(&mem);
	snapshot_chain_push(&chain, file->mark.id, &chain);
	fuzz_expect(chain.num <= SNAPSHOT_MAX_LAYERS);
	return r;
}

static void save_good_machine(struct enc *enc)
{
	static const char text[] =
		"{\"machine-config\":{\"vcpu_count\":2,\"mem_size_mib\":128},\"drives\":[{\"drive_id\":"
		"\"disk\",\"path_on_host\":\"/d\",\"is_root_device\":true}],\"entropy\":{},"
		"\"boot-source\":{\"kernel_image_path\":\"/k\"}}";
	struct vm_config config;
	struct fake_kvm kvm;
	struct board b;
	struct err e;

	board_init(&b);
	fake_kvm_init(&kvm);
	drv_start(&b.virtio[1], 1, 3);
	board_pause(&b);
	fuzz_expect(vm_config_from_text(text, strlen(text), &config, &e) == 0);
	enc_map_begin(enc, "config");
	fuzz_expect(vm_config_save(&config, enc) == 0);
	enc_map_end(enc);
	vm_config_fini(&config);
	enc_bool(enc, "boot_timer", true);
	enc_array_begin(enc, "vcpus");
	for (unsigned int i = 0; i < kvm.vm.num_vcpus; i++) {
		enc_item_begin(enc);
		fuzz_expect(arch_vcpu_save(&kvm.vcpus[i], enc, &e) == 0);
		enc_item_end(enc);
	}
	enc_array_end(enc);
	enc_map_begin(enc, "vm");
	fuzz_expect(arch_vm_save(&kvm.vm, enc, &e) == 0);
	enc_map_end(enc);
	enc_map_begin(enc, "devices");
	board_save(&b, enc);
	enc_map_end(enc);
	save_layers(enc); /* behind the rest: what the corpus calls an item by number keeps its number */
	fake_kvm_fini(&kvm);
	board_fini(&b);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct enc *enc = enc_new();

	(void)argc;
	(void)argv;
	fuzz_expect(null >= 0 && dup2(null, STDOUT_FILENO) == STDOUT_FILENO); /* the console */
	close(null);
	save_good_machine(enc);
	fuzz_expect(enc_finish(enc, &good, &good_len) == 0);
	enc_free(enc);
	for (size_t at = 0; at < good_len; at += item_len(good + at)) {
		fuzz_expect(num_items < MAX_ITEMS);
		items[num_items++] = at;
	}
	items[num_items] = good_len;
	return 0;
}

struct payload {
	size_t len;
	uint8_t data[MAX_PAYLOAD];
};

static void payload_add(struct payload *p, const void *data, size_t len)
{
	if (len > sizeof(p->data) - p->len)
		len = sizeof(p->data) - p->len;
	memcpy(p->data + p->len, data, len);
	p->len += len;
}

static void payload_add_head(struct payload *p, unsigned int major, uint64_t value)
{
	uint8_t head[9] = { (uint8_t)(major << 5 | 27) };

	for (unsigned int i = 0; i < 8; i++)
		head[1 + i] = (uint8_t)(value >> 8 * (7 - i));
	payload_add(p, head, sizeof(head));
}

/* What stands in an item's place: a number, a string, bytes that are no item, nothing, or a copy of another item. */
static void payload_add_change(struct payload *p, struct fuzz_input *in, size_t item)
{
	uint8_t kind = fuzz_u8(in);
	const uint8_t *data;
	size_t len, other;

	switch (kind & 7) {
	case 0:
	case 1:
		payload_add_head(p, kind & 8, fuzz_value(in));
		break;
	case 2:
		data = fuzz_bytes(in, kind >> 3, &len);
		payload_add_head(p, 2 + (kind >> 3 & 1), len);
		payload_add(p, data, len);
		break;
	case 3:
		payload_add(p, &(uint8_t){ fuzz_u8(in) }, 1);
		break;
	case 4: /* the same string with a byte changed, a longer or a shorter one */
		data = good + items[item];
		len = items[item + 1] - items[item];
		payload_add(p, data, len);
		if (p->len > len)
			p->data[p->len - 1 - fuzz_u16(in) % len] ^= fuzz_u8(in);
		break;
	case 5:
		data = fuzz_bytes(in, kind >> 3, &len);
		payload_add(p, data, len);
		break;
	case 6:
		other = fuzz_u16(in) % num_items;
		payload_add(p, good + items[other], items[other + 1] - items[other]);
		break;
	default:
		break;
	}
}

static void payload_from_changes(struct payload *p, struct fuzz_input *in)
{
	size_t item = 0;

	while (!fuzz_done(in) && item < num_items) {
		size_t next = item + fuzz_u8(in);

		if (next >= num_items)
			break;
		payload_add(p, good + items[item], items[next] - items[item]);
		payload_add_change(p, in, next);
		item = next + 1;
	}
	if (item < num_items)
		payload_add(p, good + items[item], good_len - items[item]);
}

static int load_config(struct statefile *file, struct err *e)
{
	struct vm_config config;
	const char *text;
	int r;

	if (file->version.minor > 0) {
		r = vm_config_load(dec_map(file->state, "config"), &config, e);
	} else {
		text = dec_str(file->state, "config", STATEFILE_MAX_SIZE);
		r = dec_error(file->state, e);
		if (!r && !text)
			return -EINVAL;
		if (!r)
			r = vm_config_from_text(text, strlen(text), &config, e);
	}
	if (!r)
		vm_config_fini(&config);
	return r;
}

static int load_machine(struct statefile *file, bool clock_realtime, struct err *e)
{
	struct arch_clock clock;
	struct fake_kvm kvm;
	struct dec *vm;
	struct board b;
	int r = load_config(file, e);

	if (r)
		return r;
	(void)dec_bool(file->state, "boot_timer");
	board_init(&b);
	fake_kvm_init(&kvm);
	vm = dec_map(file->state, "vm");
	r = arch_clock_load(&kvm.vm, vm, clock_realtime, &clock, e);
	if (!r && dec_array(file->state, "vcpus", CONFIG_MAX_VCPUS) != kvm.vm.num_vcpus)
		r = -EINVAL;
	for (unsigned int i = 0; !r && i < kvm.vm.num_vcpus; i++)
		r = arch_vcpu_load(&kvm.vcpus[i], dec_item(file->state, "vcpus", i), &clock, e);
	if (!r)
		r = arch_vm_load(&kvm.vm, vm, e);
	if (!r) {
		board_pause(&b);
		board_load(&b, dec_map(file->state, "devices"));
		r = load_layers(file, e);
	}
	if (!r) {
		dec_end(file->state);
		r = dec_error(file->state, e);
	}
	if (!r) {
		board_leak(&b);
		board_resume(&b);
		board_expect_good(&b);
	}
	fake_kvm_fini(&kvm);
	board_fini(&b);
	return r;
}

static void read_file(const char *path, bool clock_realtime)
{
	struct statefile file;
	struct err e = { "" };
	int r = statefile_read(path, &file, &e);

	if (!r) {
		(void)load_machine(&file, clock_realtime, &e);
		statefile_fini(&file);
	} else {
		fuzz_expect(e.text[0]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct payload payload;
	static const struct memfile_mark mark = { .id = { 1, 2, 3 },
						  .mem_size = MEM_SIZE,
						  .offset = SNAPSHOT_RECORD_OFFSET };
	struct fuzz_input in = { data, size };
	uint8_t kind = fuzz_u8(&in);
	struct fuzz_file file;

	payload.len = 0;
	if (kind % 4 < 2) {
		struct snapshot_checksum checksum;

		payload_add(&payload, in.data, in.len);
		snapshot_checksum_of(payload.data, payload.len, &checksum);
		if (kind % 4 == 1)
			payload_add(&payload, &checksum, sizeof(checksum));
		fuzz_file_init(&file, payload.data, payload.len);
	} else {
		if (kind % 4 == 2)
			payload_add(&payload, in.data, in.len);
		else
			payload_from_changes(&payload, &in);
		fuzz_file_init(&file, NULL, 0);
		fuzz_expect(statefile_write(file.fd, &mark, payload.data, payload.len) == 0);
	}
	read_file(file.path, kind & 4);
	fuzz_file_fini(&file);
	return 0;
}
