// SPDX-License-Identifier: Apache-2.0
/* What needs no KVM: memory, loop, files, codec, configuration, devices on a platform of the test's own. */
#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/request.h"
#include "arch/x86_64/acpi.h"
#include "arch/x86_64/boot.h"
#include "base/cleanup.h"
#include "base/fdio.h"
#include "base/inlet.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/outlet.h"
#include "base/own_stack.h"
#include "base/unix_listener.h"
#include "config/json_fields.h"
#include "resource/resource.h"
#include "resource/state.h"
#include "resource/vm_config.h"
#include "constructors.h"
#include "devices/devices.h"
#include "jailer/tree.h"
#include "machine/internal.h"
#include "huge_pool.h"
#include "machine/pager.h"
#include "machine/working_set.h"
#include "mem/touched.h"
#include "mem/userfault.h"
#include "mmds/frame_ring.h"
#include "mmds/mmds.h"
#include "mmds/store.h"
#include "mmds/token.h"
#include "sandbox/custom.h"
#include "sandbox/sandbox.h"
#include "snapshot/format.h"
#include "snapshot/layers.h"
#include "snapshot/memfile.h"
#include "snapshot/pair.h"
#include "snapshot/statefile.h"
#include "snapshot/tmpfile.h"
#include "snapshot/working_set.h"
#include "state/codec.h"
#include "state/codec_index.h"
#include "unit/fake_platform.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/mmio.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/vsock.h"
#include "virtio/vsock_internal.h"

#define MAKE(function) static int function(const struct constructor *c, void **out, struct err *e)

static char disk_id[] = "disk", disk_path[] = DISK_FILE, console_path[] = "console",
	    console_socket[] = "./console.sock";
static struct drive_config drive = { .drive_id = disk_id, .path_on_host = disk_path };
static char iface_id[] = "eth0", tap_name[] = "tap0", guest_mac[] = "06:00:ac:10:00:02";
static struct network_config interface = { .iface_id = iface_id, .host_dev_name = tap_name, .guest_mac = guest_mac };
static struct fake_platform fp;
static struct enc *enc;
static struct snapshot_chain pair_chain;

static int none(void *p, struct err *e)
{
	return p ? 0 : err_errno(e, errno, "none");
}

/* base/ */

MAKE(make_loop)
{
	struct loop *loop = loop_new();

	(void)c;
	if (loop)
		*out = loop;
	return none(loop, e);
}

static void unmake_loop(void *out)
{
	loop_free(out);
}

static void before_platform(const struct constructor *c)
{
	(void)c;
	fake_platform_init(&fp);
}

/* A platform with a descriptor that can be watched. */
static void before_source(const struct constructor *c)
{
	struct irq_line irq;
	struct err e;
	int r;

	before_platform(c);
	r = fp.p.ops->irq_new(&fp.p, 0, &irq, &e);
	assert(r == 0);
	(void)r;
	close(irq.fd);
}

static void after_platform(const struct constructor *c)
{
	(void)c;
	fake_platform_fini(&fp);
}

static void nothing_happens(void *ctx, uint32_t events)
{
	(void)ctx;
	(void)events;
}

MAKE(make_source)
{
	struct loop_source *source = loop_add(fp.p.loop, fp.irq_fds[0], 0, nothing_happens, NULL);

	(void)c;
	if (source)
		*out = source;
	return none(source, e);
}

MAKE(make_timer)
{
	struct loop_source *timer = loop_add_timer(fp.p.loop, nothing_happens, NULL);

	(void)c;
	if (timer)
		*out = timer;
	return none(timer, e);
}

static void unmake_source(void *out)
{
	loop_remove(out);
}

static void encode(struct enc *to)
{
	enc_str(to, "text", "some text");
	enc_array_begin(to, "items");
	for (unsigned int i = 0; i < 20; i++) {
		enc_item_begin(to);
		enc_u64(to, "number", i);
		enc_bytes(to, "bytes", disk_path, sizeof(disk_path));
		enc_item_end(to);
	}
	enc_array_end(to);
}

MAKE(make_encoded)
{
	struct enc *made = enc_new();
	uint8_t *data = (uint8_t *)UNTOUCHED;
	size_t len;
	int r;

	(void)c;
	if (!made)
		return err_errno(e, errno, "enc_new");
	encode(made);
	r = enc_finish(made, &data, &len);
	enc_free(made);
	if (r < 0) {
		assert(data == (uint8_t *)UNTOUCHED);
		return err_errno(e, -r, "enc_finish");
	}
	*out = data;
	return 0;
}

static uint8_t *encoded;
static size_t encoded_len;

static void before_decoding(const struct constructor *c)
{
	int r;

	(void)c;
	enc = enc_new();
	encode(enc);
	r = enc_finish(enc, &encoded, &encoded_len);
	assert(r == 0);
	(void)r;
	enc_free(enc);
}

static void after_decoding(const struct constructor *c)
{
	(void)c;
	free(encoded);
}

MAKE(make_index)
{
	(void)c;
	return codec_index(encoded, encoded_len, (struct codec_item **)out, e);
}

MAKE(make_decoder)
{
	struct dec *dec, *item;
	int r = dec_new(encoded, encoded_len, &dec, e);

	(void)c;
	if (r < 0)
		return r;
	(void)dec_str(dec, "text", 100);
	for (size_t i = 0; i < dec_array(dec, "items", 100); i++) {
		size_t len;

		item = dec_item(dec, "items", i);
		(void)dec_u64(item, "number", 0, 100);
		(void)dec_blob(item, "bytes", 0, 100, &len);
		dec_end(item);
	}
	dec_end(dec);
	r = dec_error(dec, e);
	if (r < 0)
		dec_free(dec);
	else
		*out = dec;
	return r;
}

static void unmake_decoder(void *out)
{
	dec_free(out);
}

MAKE(make_log)
{
	(void)c;
	(void)out;
	return log_set_path("log", e);
}

MAKE(make_outlet)
{
	static const struct outlet_config config = { .name = "test", .size = 4096 };
	int fd = dup(STDOUT_FILENO), r;

	(void)c;
	if (fd < 0)
		return err_errno(e, errno, "outlet");
	r = outlet_new(&config, fd, (struct outlet **)out);
	if (r < 0)
		close(fd);
	return r < 0 ? err_errno(e, -r, "outlet") : 0;
}

static void unmake_outlet(void *out)
{
	outlet_free(out, 5000);
}

MAKE(make_inlet)
{
	int r = inlet_new("test", STDIN_FILENO, (struct inlet **)out);

	(void)c;
	return r < 0 ? err_errno(e, -r, "inlet") : 0;
}

static void unmake_inlet(void *out)
{
	inlet_free(out, 5000);
}

MAKE(make_metrics)
{
	(void)c;
	(void)out;
	return metrics_open("metrics", "id", "{\"a\":\"b\"}", e);
}

MAKE(make_open_file)
{
	int fd = UNTOUCHED;
	uint64_t size;
	int r = file_open_regular("text", TEXT_FILE, O_RDONLY, &fd, &size, e);

	(void)c;
	if (r < 0)
		assert(fd == UNTOUCHED);
	else
		*out = (void *)(intptr_t)fd;
	return r;
}

MAKE(make_open_storage)
{
	int fd = UNTOUCHED;
	uint64_t size;
	int r = file_open_storage("text", TEXT_FILE, O_RDONLY, &fd, &size, e);

	(void)c;
	if (r < 0)
		assert(fd == UNTOUCHED);
	else
		*out = (void *)(intptr_t)fd;
	return r;
}

static void unmake_fd(void *out)
{
	close((int)(intptr_t)out);
}

MAKE(make_file_contents)
{
	size_t len;

	(void)c;
	return file_read("text", TEXT_FILE, 100, (char **)out, &len, e);
}

MAKE(make_synced_directory)
{
	int r = fsync_parent(TEXT_FILE);

	(void)c;
	(void)out;
	return r < 0 ? err_errno(e, -r, "fsync_parent") : 0;
}

MAKE(make_sandbox)
{
	(void)c;
	(void)out;
	return sandbox_init(false, e);
}

MAKE(make_custom_filters)
{
#define ALLOW_IF                                                                                                 \
	"{\"default_action\":\"allow\",\"filter_action\":\"trap\",\"filter\":[{\"syscall\":\"socket\",\"args\":" \
	"[{\"index\":0,\"type\":\"dword\",\"op\":\"eq\",\"val\":2}]}]}"
	static const char text[] = "{\"setup\":" ALLOW_IF ",\"loop\":" ALLOW_IF ",\"vcpu\":" ALLOW_IF
				   ",\"io\":" ALLOW_IF ",\"files\":" ALLOW_IF ",\"stream\":" ALLOW_IF
				   ",\"sockets\":" ALLOW_IF ",\"ahead\":" ALLOW_IF "}";
	static struct sock_fprog programs[SANDBOX_NUM_FILTERS];
	int r = sandbox_custom_compile(text, sizeof(text) - 1, programs, e);

	(void)c;
	if (!r)
		*out = programs;
	return r;
}

static void unmake_custom_filters(void *out)
{
	struct sock_fprog *programs = out;

	for (unsigned int i = 0; i < SANDBOX_NUM_FILTERS; i++)
		free(programs[i].filter);
}

static void do_nothing(void *ctx)
{
	(void)ctx;
}

MAKE(make_own_stack)
{
	(void)c;
	(void)out;
	return own_stack_run(64 * 1024, do_nothing, NULL, e);
}

/* config/ */

static const char config_text[] =
	"{\"machine-config\":{\"vcpu_count\":2,\"mem_size_mib\":32},\"boot-source\":{\"kernel_image_path\":\"kernel\","
	"\"boot_args\":\"a\"},\"entropy\":{},\"drives\":[{\"drive_id\":\"a\",\"path_on_host\":\"disk\","
	"\"is_root_device\":true,\"partuuid\":\"0eaa91a0-01\"},{\"drive_id\":\"b\",\"path_on_host\":\"disk\","
	"\"is_root_device\":false,\"rate_limiter\":{\"ops\":{\"size\":1,\"refill_time\":1}}}]}";

MAKE(make_json)
{
	(void)c;
	return config_json_parse(config_text, strlen(config_text), (json_t **)out, e);
}

static void unmake_json(void *out)
{
	json_decref(out);
}

static json_t *properties;

static void before_properties(const struct constructor *c)
{
	(void)c;
	properties = json_pack("{ss}", "zone", "a");
	assert(properties);
}

static void after_properties(const struct constructor *c)
{
	(void)c;
	json_decref(properties);
}

MAKE(make_properties)
{
	const struct field_table *table = metrics_resource.fields;

	(void)c;
	for (size_t i = 0; i < table->num_fields; i++) {
		if (table->fields[i].custom)
			return table->fields[i].custom(properties, out, table->fields[i].key, e);
	}
	return err_set(e, ENOENT, "metrics have no properties");
}

static struct vm_config scratch_config;

MAKE(make_config)
{
	int r = vm_config_from_text(config_text, strlen(config_text), &scratch_config, e);

	(void)c;
	if (!r)
		*out = &scratch_config;
	return r;
}

static void unmake_config(void *out)
{
	vm_config_fini(out);
}

static uint8_t *whole_config; /* what vm_config_save() writes when nothing fails */
static size_t whole_config_len;

static int save_config(uint8_t **data, size_t *len)
{
	struct enc *own = enc_new();
	int r;

	if (!own)
		return -ENOMEM;
	r = vm_config_save(&scratch_config, own);
	if (!r)
		r = enc_finish(own, data, len);
	enc_free(own);
	return r;
}

static void before_config_saved(const struct constructor *c)
{
	struct err e;
	int r = vm_config_from_text(config_text, strlen(config_text), &scratch_config, &e);

	(void)c;
	assert(r == 0);
	r = save_config(&whole_config, &whole_config_len);
	assert(r == 0);
	(void)r;
}

static void after_config_saved(const struct constructor *c)
{
	(void)c;
	free(whole_config);
	vm_config_fini(&scratch_config);
}

MAKE(make_config_saved)
{
	uint8_t *data;
	size_t len;
	int r = save_config(&data, &len);

	(void)c;
	if (r < 0)
		return err_errno(e, -r, "save_config");
	if (len != whole_config_len || memcmp(data, whole_config, len) != 0)
		fprintf(stderr, "vm_config_save: not all of it\n");
	*out = data;
	return 0;
}

MAKE(make_config_loaded)
{
	static struct vm_config loaded;
	struct dec *dec;
	int r = dec_new(whole_config, whole_config_len, &dec, e);

	(void)c;
	if (r < 0)
		return r;
	r = vm_config_load(dec, &loaded, e);
	dec_free(dec);
	if (!r)
		*out = &loaded;
	return r;
}

MAKE(make_config_json)
{
	json_t *json = vm_config_to_json(&scratch_config);

	(void)c;
	if (json)
		*out = json;
	return none(json, e);
}

static json_t *whole_json;

static void before_json_text(const struct constructor *c)
{
	before_config_saved(c);
	whole_json = vm_config_to_json(&scratch_config);
}

static void after_json_text(const struct constructor *c)
{
	json_decref(whole_json);
	after_config_saved(c);
}

MAKE(make_json_text)
{
	char *text = json_to_text(whole_json, JSON_COMPACT);

	(void)c;
	if (text)
		*out = text;
	return none(text, e);
}

MAKE(make_cmdline)
{
	struct arch_board board = { 0 };

	(void)c;
	return cmdline_make(&scratch_config, &board, (char **)out, e);
}

/* mem/ and snapshot/ */

static const struct mem_layout layout = {
	.num_regions = 2,
	.regions = { { .gpa = 0, .size = 1u << 20 }, { .gpa = 1ull << 32, .size = 1u << 20 } },
};
static struct guest_mem mem, other_mem;

MAKE(make_memory)
{
	int r = mem_init_anonymous(&other_mem, &layout, e);

	(void)c;
	if (!r)
		*out = &other_mem;
	return r;
}

MAKE(make_userfault)
{
	int fd, r = userfault_open(&fd, e);

	(void)c;
	if (!r)
		*out = (void *)(intptr_t)fd;
	return r;
}

/* Who listens does not accept: the handshake needs no answer. */
static struct unix_listener handler_socket;

static void before_pager(const struct constructor *c)
{
	struct err e;
	int r = unix_listener_open(&handler_socket, "socket", "handler", &e);

	assert(r == 0);
	(void)r;
	before_platform(c);
}

static void after_pager(const struct constructor *c)
{
	after_platform(c);
	unix_listener_close(&handler_socket);
}

static void unmake_pager(void *out)
{
	pager_stop(out);
	mem_fini(&other_mem);
	pager_free(out);
}

MAKE(make_pager)
{
	struct pager *pager;
	int r = pager_new("handler", fp.p.loop, &pager, e);

	(void)c;
	if (r < 0)
		return r;
	r = pager_map(pager, &layout, &other_mem, e);
	if (r < 0)
		unmake_pager(pager);
	else
		*out = pager;
	return r;
}

MAKE(make_file_memory)
{
	int fd = open(MEM_FILE, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? err_errno(e, errno, "open") : mem_init_file(&other_mem, &layout, fd, e);

	(void)c;
	if (!r)
		*out = &other_mem;
	return r;
}

MAKE(make_handler_memory)
{
	const struct mem_handler handler = { .populate = NULL };
	int r = mem_init_handler(&other_mem, &layout, &handler, e);

	(void)c;
	if (!r)
		*out = &other_mem;
	return r;
}

static void unmake_memory(void *out)
{
	mem_fini(out);
}

/* Memory of huge pages, or, where the host has none for us, none of what needs them. */
static const struct mem_layout huge_layout = {
	.huge = true,
	.num_regions = 2,
	.regions = { { .gpa = 0, .size = 2u << 20 }, { .gpa = 1ull << 32, .size = 2u << 20 } },
};
static struct huge_pool pool;

static void before_huge(const struct constructor *c)
{
	(void)huge_pool_take(&pool, huge_layout.num_regions);
	before_platform(c);
}

static void after_huge(const struct constructor *c)
{
	after_platform(c);
	huge_pool_give(&pool);
}

MAKE(make_huge_memory)
{
	int r;

	if (pool.fd < 0)
		return make_memory(c, out, e);
	r = mem_init_anonymous(&other_mem, &huge_layout, e);
	if (!r)
		*out = &other_mem;
	return r;
}

MAKE(make_own_pager)
{
	struct pager *pager;
	int fd, r = pager_new_own("memory", fp.p.loop, &pager, e);

	(void)c;
	if (r < 0)
		return r;
	fd = pool.fd < 0 ? 0 : open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		r = err_errno(e, errno, "open");
	else if (pool.fd >= 0)
		r = mem_init_file(&other_mem, &huge_layout, fd, e);
	if (r == 0 && pool.fd >= 0)
		r = pager_serve_files(pager, &other_mem, e);
	if (r < 0)
		unmake_pager(pager);
	else
		*out = pager;
	return r;
}

static void before_pair(const struct constructor *c)
{
	struct err e;
	int r = mem_init_anonymous(&mem, &layout, &e);

	(void)c;
	assert(r == 0);
	(void)r;
	memset(mem.regions[0].writable + 4096, 1, 8192);
	enc = enc_new();
	encode(enc);
}

static void after_pair(const struct constructor *c)
{
	(void)c;
	mem_fini(&mem);
	enc_free(enc);
}

static int write_pair(const char *state, const char *memory, struct err *e)
{
	static const struct snapshot_chain none = { .num = 0 };
	const struct snapshot_order order = { .state_path = state, .mem_path = memory, .mem = &mem, .below = &none };

	return snapshot_write_pair(&order, enc, &pair_chain, e);
}

MAKE(make_pair)
{
	(void)c;
	(void)out;
	return write_pair(STATE_FILE, MEM_FILE, e);
}

/* Leaves a pair for those that read one. */
static void before_pair_is_read(const struct constructor *c)
{
	struct err e;
	int r;

	before_pair(c);
	r = write_pair(STATE_FILE, MEM_FILE, &e);
	assert(r == 0);
	(void)r;
}

static int write_diff(struct err *e)
{
	static uint64_t low[4] = { 6 }, high[4] = { 1 };
	static uint64_t *const changed[] = { low, high };
	struct enc *diff_enc = enc_new();
	const struct snapshot_order order = {
		.state_path = DIFF_STATE_FILE,
		.mem_path = DIFF_MEM_FILE,
		.mem = &mem,
		.below = &pair_chain,
		.changed = changed,
	};
	struct snapshot_chain chain;
	int r = none(diff_enc, e);

	if (r < 0)
		return r;
	snapshot_chain_save(&pair_chain, &mem, diff_enc);
	r = snapshot_write_pair(&order, diff_enc, &chain, e);
	enc_free(diff_enc);
	return r;
}

MAKE(make_diff)
{
	(void)c;
	(void)out;
	return write_diff(e);
}

static void before_layers(const struct constructor *c)
{
	struct err e;
	int r;

	before_pair_is_read(c);
	r = write_diff(&e);
	assert(r == 0);
	(void)r;
}

MAKE(make_layers)
{
	static const char below[] = MEM_FILE "\0";
	struct snapshot_chain chain;
	struct statefile file;
	int r = statefile_read(DIFF_STATE_FILE, &file, e);

	(void)c;
	if (r < 0)
		return r;
	r = snapshot_chain_load(&file, &chain, e);
	if (!r)
		r = snapshot_map_memory(&file, &chain, DIFF_MEM_FILE, below, &layout, &other_mem, e);
	statefile_fini(&file);
	if (!r)
		*out = &other_mem;
	return r;
}

/* The memory of a pair, and a working set of it. */
static struct memfile_mark wset_mark;

static void before_working_set(const struct constructor *c)
{
	static const struct mem_run run = { 4096, 8192 };
	void *made;
	struct err e;
	int r;

	before_pair_is_read(c);
	before_platform(c);
	r = make_file_memory(c, &made, &e);
	if (r == 0)
		r = statefile_read_mark(STATE_FILE, &wset_mark, &e);
	if (r == 0)
		r = working_set_write(MEM_FILE ".working-set", &wset_mark, &run, 1, &e);
	assert(r == 0);
	(void)r;
}

static void after_working_set(const struct constructor *c)
{
	unlink("recorded");
	unlink(MEM_FILE ".working-set");
	mem_fini(&other_mem);
	after_platform(c);
	after_pair(c);
}

MAKE(make_touched)
{
	static struct mem_touched touched;
	int r = mem_touched_init(&touched, &other_mem, 16, e);

	(void)c;
	if (!r)
		*out = &touched;
	return r;
}

static void unmake_touched(void *out)
{
	mem_touched_fini(out);
}

MAKE(make_recording)
{
	static char path[] = "recorded", memory[] = MEM_FILE;
	const struct snapshot_load_config how = {
		.mem_file_path = memory,
		.working_set = WORKING_SET_RECORD,
		.working_set_path = path,
	};
	struct working_set *ws;
	int r = working_set_new(&how, &wset_mark, &other_mem, fp.p.loop, &ws, e);

	(void)c;
	if (r == 0)
		*out = ws;
	return r;
}

/* Whatever fails: a machine without it, and that is no error. */
MAKE(make_working_set)
{
	static char memory[] = MEM_FILE;
	const struct snapshot_load_config how = { .mem_file_path = memory };
	struct working_set *ws = NULL;
	int r = working_set_new(&how, &wset_mark, &other_mem, fp.p.loop, &ws, e);

	(void)c;
	if (r == 0)
		*out = ws;
	return r;
}

static void unmake_working_set(void *out)
{
	bool ended = working_set_free(out);

	assert(ended);
	(void)ended;
}

MAKE(make_working_set_file)
{
	static const struct mem_run run = { 4096, 8192 };

	(void)c;
	(void)out;
	return working_set_write("recorded", &wset_mark, &run, 1, e);
}

MAKE(make_state)
{
	static struct statefile file;
	int r = statefile_read(STATE_FILE, &file, e);

	(void)c;
	if (!r)
		*out = &file;
	return r;
}

static void unmake_state(void *out)
{
	statefile_fini(out);
}

MAKE(make_state_version)
{
	struct snapshot_version version = { .major = 77 };
	int r = statefile_version(STATE_FILE, &version, e);

	(void)c;
	(void)out;
	assert(r == 0 || version.major == 77);
	return r;
}

MAKE(make_state_mark)
{
	struct memfile_mark mark;

	(void)c;
	(void)out;
	return statefile_read_mark(STATE_FILE, &mark, e);
}

MAKE(make_open_memfile)
{
	struct memfile_mark mark;
	int fd = UNTOUCHED;
	int r = statefile_read_mark(STATE_FILE, &mark, e);

	(void)c;
	if (!r)
		r = memfile_open(MEM_FILE, &mark, &fd, e);
	if (r < 0)
		assert(fd == UNTOUCHED);
	else
		*out = (void *)(intptr_t)fd;
	return r;
}

/* Half-built is what tmpfile_fini() takes. */
MAKE(make_tmpfile)
{
	static struct tmpfile file;
	int r = tmpfile_init(&file, "file", "temporary", e);

	(void)c;
	if (!r)
		r = tmpfile_adopt(&file, e);
	if (!r)
		r = tmpfile_create(&file, e);
	if (r < 0)
		tmpfile_fini(&file);
	else
		*out = &file;
	return r;
}

static void unmake_tmpfile(void *out)
{
	tmpfile_remove(out);
}

static void after_tmpfile(const struct constructor *c)
{
	(void)c;
	unlink("temporary" SNAPSHOT_TMP_SUFFIX);
}

/* api/ */

MAKE(make_socket)
{
	static struct unix_listener s;
	int r = unix_listener_open(&s, "socket", "socket", e);

	(void)c;
	if (!r)
		*out = &s;
	return r;
}

static void unmake_socket(void *out)
{
	unix_listener_close(out);
}

/* jailer/ */

MAKE(make_exec_file)
{
	static struct exec_file file;
	int r = exec_file_open(&file, TEXT_FILE, e);

	(void)c;
	if (!r)
		*out = &file;
	return r;
}

static void unmake_exec_file(void *out)
{
	close(((struct exec_file *)out)->fd);
}

MAKE(make_base)
{
	static int fd;
	int r;

	(void)c;
	fd = UNTOUCHED;
	r = tree_open_base(".", &fd, e);
	assert(!r || fd == UNTOUCHED);
	if (!r)
		*out = &fd;
	return r;
}

static void unmake_base(void *out)
{
	close(*(int *)out);
}

MAKE(make_request)
{
	struct api_request *request = api_request_new("/target");
	int r = 0;

	(void)c;
	if (!request)
		return err_errno(e, errno, "api_request_new");
	for (unsigned int i = 0; i < 10 && !r; i++)
		r = api_request_append(request, config_text, sizeof(config_text), 10000);
	if (r < 0) {
		api_request_free(request);
		return err_errno(e, -r, "api_request_append");
	}
	*out = request;
	return 0;
}

static void unmake_request(void *out)
{
	api_request_free(out);
}

/* arch/ */

MAKE(make_dsdt)
{
	(void)c;
	return acpi_make_dsdt((struct acpi_header **)out, e);
}

MAKE(make_vmgenid_ssdt)
{
	(void)c;
	return acpi_make_vmgenid_ssdt(0x1000, 5, (struct acpi_header **)out, e);
}

MAKE(make_vmclock_ssdt)
{
	(void)c;
	return acpi_make_vmclock_ssdt(0x1000, 5, (struct acpi_header **)out, e);
}

MAKE(make_virtio_ssdt)
{
	static const struct arch_place place = { .base = 0xd0000000, .gsi = 5 };

	(void)c;
	return acpi_make_virtio_ssdt(0, &place, (struct acpi_header **)out, e);
}

/* mmds/ */

MAKE(make_metadata)
{
	static struct mmds_store store;
	json_t *metadata, *patch;
	int r;

	(void)c;
	mmds_store_init(&store, 4096);
	metadata = json_pack("{s{si}}", "a", "b", 1);
	patch = json_pack("{s{sisn}}", "a", "c", 2, "b");
	r = metadata && patch ? mmds_store_put(&store, metadata, e) : err_set(e, ENOMEM, "no metadata");
	if (!r)
		r = mmds_store_patch(&store, patch, e);
	json_decref(metadata);
	json_decref(patch);
	if (r < 0)
		mmds_store_fini(&store);
	else
		*out = &store;
	return r;
}

static void unmake_metadata(void *out)
{
	mmds_store_fini(out);
}

MAKE(make_tokens)
{
	static struct mmds_tokens tokens;
	int r = mmds_tokens_init(&tokens);

	(void)c;
	if (!r)
		*out = &tokens;
	return r ? err_errno(e, -r, "mmds_tokens_init") : 0;
}

static void unmake_tokens(void *out)
{
	mmds_tokens_fini(out);
}

MAKE(make_frame_ring)
{
	static struct frame_ring ring;
	int r = frame_ring_init(&ring);

	(void)c;
	if (!r)
		*out = &ring;
	return r ? err_errno(e, -r, "frame_ring_init") : 0;
}

static void unmake_frame_ring(void *out)
{
	frame_ring_fini(out);
}

static struct mmds *service;

MAKE(make_mmds)
{
	static char address[] = "169.254.169.254", eth0[] = "eth0";
	static const struct mmds_config config = { .ipv4_address = address, .network_interfaces = { 1, { eth0 } } };
	static const struct mmds_store store = { .max_len = 100 };
	int r = mmds_new(&config, &store, fp.p.loop, &service, e);

	(void)c;
	if (r)
		return r;
	r = mmds_new_link(service, eth0, (struct net_backend **)out, e);
	if (r)
		mmds_free(service);
	return r;
}

static void unmake_mmds(void *out)
{
	struct net_backend *link = out;

	link->ops->free(link);
	mmds_free(service);
}

/* devices/ and virtio/ */

MAKE(make_serial)
{
	struct serial_config config = { .serial_out_path = console_path };

	(void)c;
	return serial_new(&config, ARCH_SERIAL_PORT, ARCH_SERIAL_GSI, &fp.p, (struct device **)out, e);
}

MAKE(make_serial_on_socket)
{
	struct serial_config config = { .serial_socket_path = console_socket };

	(void)c;
	return serial_new(&config, ARCH_SERIAL_PORT, ARCH_SERIAL_GSI, &fp.p, (struct device **)out, e);
}

MAKE(make_i8042)
{
	(void)c;
	return i8042_new(ARCH_I8042_PORT, ARCH_I8042_GSI, &fp.p, NULL, NULL, (struct device **)out, e);
}

MAKE(make_vmgenid)
{
	(void)c;
	return vmgenid_new(0x1000, FAKE_FIRST_GSI, &fp.p, (struct device **)out, e);
}

MAKE(make_vmclock)
{
	(void)c;
	return vmclock_new(0x1000, FAKE_FIRST_GSI, &fp.p, (struct device **)out, e);
}

MAKE(make_boot_timer)
{
	(void)c;
	return boot_timer_new(FAKE_MMIO_BASE + (1u << 20), &fp.p, (struct device **)out, e);
}

static void unmake_device(void *out)
{
	struct device *dev = out;

	dev->ops->free(dev);
	/* What a bus has it keeps: a machine that cannot be built goes away whole. */
	fake_platform_fini(&fp);
	fake_platform_init(&fp);
}

MAKE(make_metrics_one)
{
	int r = metrics_one_new(&uart_metrics_section, "one", (struct metrics_one **)out);

	(void)c;
	return r < 0 ? err_errno(e, -r, "one") : r;
}

static void unmake_metrics_one(void *out)
{
	metrics_one_free(out);
}

MAKE(make_blk)
{
	(void)c;
	fp.p.one_loop = false;
	return blk_new(&drive, &fp.p, (struct virtio_dev **)out, e);
}

MAKE(make_async_blk)
{
	struct drive_config config = drive;

	(void)c;
	config.io_engine = IO_ENGINE_ASYNC;
	return blk_new(&config, &fp.p, (struct virtio_dev **)out, e);
}

MAKE(make_rng)
{
	static const struct entropy_config config = { .present = true, .leak_reporting = true };

	(void)c;
	return rng_new(&config, &fp.p, (struct virtio_dev **)out, e);
}

MAKE(make_balloon)
{
	static const struct balloon_config config = { .present = true, .stats_polling_interval_s = 1 };

	(void)c;
	return balloon_new(&config, &fp.p, (struct virtio_dev **)out, e);
}

MAKE(make_net)
{
	(void)c;
	fp.p.one_loop = false;
	return net_new(&interface, &fp.p, (struct virtio_dev **)out, e);
}

static struct vsock_config vsock = { .present = true, .guest_cid = 3, .uds_path = (char[]){ "vsock" } };

MAKE(make_vsock)
{
	(void)c;
	fp.p.one_loop = false;
	return vsock_new(&vsock, &fp.p, (struct virtio_dev **)out, e);
}

static struct virtio_dev *vsock_vdev;

static void before_stream(const struct constructor *c)
{
	struct err e;
	int r;

	before_source(c);
	r = vsock_new(&vsock, &fp.p, &vsock_vdev, &e);
	assert(r == 0);
	(void)r;
}

static void after_stream(const struct constructor *c)
{
	vsock_vdev->ops->free(vsock_vdev);
	after_platform(c);
}

MAKE(make_stream)
{
	struct vsock_conn *conn = vsock_add((struct vsock *)vsock_vdev, VSOCK_GREETING);
	int r;

	(void)c;
	if (!conn)
		return err_errno(e, errno, "vsock_add");
	r = vsock_stream_open(conn, fcntl(fp.irq_fds[0], F_DUPFD_CLOEXEC, 0)); /* any descriptor that can be watched */
	if (r) {
		vsock_remove(conn);
		return err_errno(e, -r, "vsock_stream_open");
	}
	*out = conn;
	return 0;
}

static void unmake_stream(void *out)
{
	vsock_remove(out);
}

static void unmake_vdev(void *out)
{
	struct virtio_dev *vdev = out;

	vdev->ops->free(vdev);
}

MAKE(make_mmio)
{
	struct virtio_dev *vdev;
	int r = blk_new(&drive, &fp.p, &vdev, e);

	(void)c;
	if (r < 0)
		return r;
	return virtio_mmio_new(vdev, "drive.disk", &fp.p, (struct device **)out, e);
}

#define PLAIN(name, make, unmake)                                 \
	{                                                         \
		name, NULL, NULL, make, unmake, NULL, NULL, false \
	}
#define WITH(name, before, after, make, unmake)                      \
	{                                                            \
		name, before, after, make, unmake, NULL, NULL, false \
	}
#define ON_PLATFORM(name, make, unmake) WITH(name, before_platform, after_platform, make, unmake)

const struct constructor constructors_of_parts[] = {
	PLAIN("loop_new", make_loop, unmake_loop),
	WITH("loop_add", before_source, after_platform, make_source, unmake_source),
	ON_PLATFORM("loop_add_timer", make_timer, unmake_source),
	PLAIN("enc_new, enc_finish", make_encoded, free),
	WITH("codec_index", before_decoding, after_decoding, make_index, free),
	WITH("dec_new", before_decoding, after_decoding, make_decoder, unmake_decoder),
	PLAIN("log_set_path", make_log, NULL),
	PLAIN("outlet_new", make_outlet, unmake_outlet),
	PLAIN("inlet_new", make_inlet, unmake_inlet),
	PLAIN("file_open_regular", make_open_file, unmake_fd),
	PLAIN("file_open_storage", make_open_storage, unmake_fd),
	PLAIN("file_read", make_file_contents, free),
	PLAIN("fsync_parent", make_synced_directory, NULL),
	PLAIN("sandbox_init, crash_init", make_sandbox, NULL),
	/* What sandbox_custom_load() does after file_read(), which is above. */
	PLAIN("sandbox_custom_compile, custom_json_parse", make_custom_filters, unmake_custom_filters),
	PLAIN("own_stack_run", make_own_stack, NULL),
	PLAIN("config_json_parse", make_json, unmake_json),
	WITH("metrics_decode_properties", before_properties, after_properties, make_properties, free),
	PLAIN("vm_config_from_text", make_config, unmake_config),
	WITH("vm_config_save", before_config_saved, after_config_saved, make_config_saved, free),
	WITH("vm_config_load", before_config_saved, after_config_saved, make_config_loaded, unmake_config),
	WITH("vm_config_to_json", before_config_saved, after_config_saved, make_config_json, unmake_json),
	WITH("json_to_text", before_json_text, after_json_text, make_json_text, free),
	WITH("cmdline_make", before_config_saved, after_config_saved, make_cmdline, free),
	PLAIN("mem_init_anonymous", make_memory, unmake_memory),
	PLAIN("mem_init_handler", make_handler_memory, unmake_memory),
	/* The device, or else the system call; a pidfd, or else it is not known who listens. */
	{ "userfault_open", NULL, NULL, make_userfault, unmake_fd, NULL, "open ", false },
	{ "pager_new, pager_map", before_pager, after_pager, make_pager, unmake_pager, NULL, "open ", false },
	{ "mem_init_anonymous, huge", before_huge, after_huge, make_huge_memory, unmake_memory, NULL, NULL, false },
	{ "pager_new_own, pager_serve_files", before_huge, after_huge, make_own_pager, unmake_pager, NULL, "open ",
	  false },
	WITH("snapshot_write_pair, memfile_write, mem_survey_init, pagemap_init", before_pair, after_pair, make_pair,
	     NULL),
	WITH("snapshot_write_pair, memfile_write_diff", before_pair_is_read, after_pair, make_diff, NULL),
	{ "snapshot_map_memory, mem_add_layer", before_layers, after_pair, make_layers, unmake_memory, NULL,
	  MEMFILE_IS_TRIED_AGAIN, false },
	WITH("mem_init_file", before_pair_is_read, after_pair, make_file_memory, unmake_memory),
	WITH("mem_touched_init", before_working_set, after_working_set, make_touched, unmake_touched),
	WITH("working_set_new, to record", before_working_set, after_working_set, make_recording, unmake_working_set),
	{ "working_set_new", before_working_set, after_working_set, make_working_set, unmake_working_set, NULL,
	  "open open64 fstat64 fcntl fcntl64 malloc pthread_create ", false },
	WITH("working_set_write", before_working_set, after_working_set, make_working_set_file, NULL),
	WITH("statefile_read", before_pair_is_read, after_pair, make_state, unmake_state),
	WITH("statefile_version", before_pair_is_read, after_pair, make_state_version, NULL),
	WITH("statefile_read_mark", before_pair_is_read, after_pair, make_state_mark, NULL),
	{ "memfile_open", before_pair_is_read, after_pair, make_open_memfile, unmake_fd, NULL, MEMFILE_IS_TRIED_AGAIN,
	  false },
	WITH("tmpfile_init, tmpfile_create", NULL, after_tmpfile, make_tmpfile, unmake_tmpfile),
	/* The lock on the directory is advisory. */
	{ "unix_listener_open", NULL, NULL, make_socket, unmake_socket, NULL, "open ", false },
	PLAIN("exec_file_open", make_exec_file, unmake_exec_file),
	PLAIN("tree_open_base", make_base, unmake_base),
	PLAIN("api_request_new", make_request, unmake_request),
	PLAIN("acpi_make_dsdt", make_dsdt, free),
	PLAIN("acpi_make_vmgenid_ssdt", make_vmgenid_ssdt, free),
	PLAIN("acpi_make_vmclock_ssdt", make_vmclock_ssdt, free),
	PLAIN("acpi_make_virtio_ssdt", make_virtio_ssdt, free),
	PLAIN("mmds_store_put, mmds_store_patch", make_metadata, unmake_metadata),
	PLAIN("mmds_tokens_init", make_tokens, unmake_tokens),
	PLAIN("metrics_one_new", make_metrics_one, unmake_metrics_one),
	PLAIN("frame_ring_init", make_frame_ring, unmake_frame_ring),
	ON_PLATFORM("mmds_new, mmds_stack_init, mmds_new_link", make_mmds, unmake_mmds),
	ON_PLATFORM("serial_new, serial_io_open", make_serial, unmake_device),
	{ "serial_socket_new", before_platform, after_platform, make_serial_on_socket, unmake_device, NULL, "open ",
	  false },
	ON_PLATFORM("i8042_new", make_i8042, unmake_device),
	ON_PLATFORM("vmgenid_new", make_vmgenid, unmake_device),
	ON_PLATFORM("vmclock_new", make_vmclock, unmake_device),
	ON_PLATFORM("boot_timer_new", make_boot_timer, unmake_device),
	ON_PLATFORM("blk_new, blk_sync_new, virtio_dev_init, throttle_init", make_blk, unmake_vdev),
	ON_PLATFORM("blk_new, blk_uring_new", make_async_blk, unmake_vdev),
	ON_PLATFORM("balloon_new, balloon_turn_init, balloon_stats_init", make_balloon, unmake_vdev),
	ON_PLATFORM("rng_new, rng_leakq_init", make_rng, unmake_vdev),
	/* Whether there is such an interface it need not know beforehand. */
	{ "net_new, net_new_over, net_tap_new", before_platform, after_platform, make_net, unmake_vdev, NULL,
	  "open malloc ", false },
	/* The lock on the directory is advisory. */
	{ "vsock_new", before_platform, after_platform, make_vsock, unmake_vdev, NULL, "open ", false },
	WITH("vsock_add, vsock_stream_open", before_stream, after_stream, make_stream, unmake_stream),
	ON_PLATFORM("virtio_mmio_new", make_mmio, unmake_device),
	{ "metrics_open", NULL, NULL, make_metrics, NULL, NULL, NULL, true }, /* last: it cannot be undone */
};
const size_t num_constructors_of_parts = ARRAY_SIZE(constructors_of_parts);
