// SPDX-License-Identifier: Apache-2.0
/*
 * Requests below HTTP, and config files. An input is either a line "CONFIG" and
 * a config file, or a list of lines "METHOD TARGET BODY", carried out one after
 * the other on a monitor whose machine is fake.
 *
 * The linker puts the functions at the end in the place of those that would
 * create files where an input says.
 */
#include "fuzz.h"

#include <string.h>

#include "api/routes.h"
#include "base/log.h"
#include "base/metrics.h"
#include "resource/state.h"
#include "resource/vm_config.h"
#include "state/codec.h"
#include "fake_machine.h"

#define MAX_WORD 256

void __real_log_set_level(enum log_level level);

static struct loop *loop;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	__real_log_set_level(LOG_LEVEL_OFF);
	loop = loop_new();
	fuzz_expect(loop);
	return 0;
}

/* Cuts the next word off: up to the end character, or all that is left. */
static void next_word(struct fuzz_input *in, char end, char word[MAX_WORD])
{
	const uint8_t *at = memchr(in->data, end, in->len);
	size_t len = at ? (size_t)(at - in->data) : in->len;
	size_t copied = len < MAX_WORD ? len : MAX_WORD - 1;

	memcpy(word, in->data, copied);
	word[copied] = '\0';
	in->data += len;
	in->len -= len;
	(void)fuzz_u8(in); /* the end character */
}

static uint8_t *config_bytes(const struct vm_config *config, size_t *len)
{
	struct enc *enc = enc_new();
	uint8_t *data;

	fuzz_expect(enc && vm_config_save(config, enc) == 0);
	fuzz_expect(enc_finish(enc, &data, len) == 0);
	enc_free(enc);
	return data;
}

/* What was accepted can be written into a snapshot and is the same when it is read again. */
static void expect_config_survives(const struct vm_config *config)
{
	struct vm_config copy;
	struct dec *dec;
	struct err e;
	size_t len, again_len;
	uint8_t *data = config_bytes(config, &len), *again;

	fuzz_expect(dec_new(data, len, &dec, &e) == 0);
	fuzz_expect(vm_config_load(dec, &copy, &e) == 0);
	again = config_bytes(&copy, &again_len);
	fuzz_expect(again_len == len && !memcmp(again, data, len));
	vm_config_fini(&copy);
	dec_free(dec);
	free(again);
	free(data);
}

static void play_request(struct vmm *vmm, struct fuzz_input *in)
{
	char method[MAX_WORD], target[MAX_WORD];
	const uint8_t *end;
	struct err e = { "" };
	json_t *reply = NULL;
	bool deprecated;
	char *body;
	size_t len;
	int r;

	next_word(in, ' ', method);
	next_word(in, ' ', target);
	end = memchr(in->data, '\n', in->len);
	len = end ? (size_t)(end - in->data) : in->len;
	body = malloc(len + 1); /* of exactly that size, so that a sanitizer sees a read beyond its end */
	fuzz_expect(body);
	memcpy(body, fuzz_bytes(in, len, &len), len);
	(void)fuzz_u8(in);
	body = realloc(body, len ? len : 1);
	r = api_route_request(vmm, method, target, len ? body : NULL, len, &reply, &deprecated, &e);
	fuzz_expect(r == 0 || (r < 0 && e.text[0] && !reply));
	json_decref(reply);
	free(body);
	expect_config_survives(&vmm->config);
}

static void play_config_file(struct vmm *vmm, const uint8_t *data, size_t len)
{
	struct err e = { "" };
	struct fuzz_file file;
	int r;

	fuzz_file_init(&file, data, len);
	r = vmm_run_config_file(vmm, file.path, &e);
	fuzz_expect(r == 0 ? vmm_state(vmm) == VMM_RUNNING : e.text[0] && vmm_state(vmm) == VMM_NOT_STARTED);
	expect_config_survives(&vmm->config);
	fuzz_file_fini(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char config[] = "CONFIG\n";
	struct fuzz_input in = { data, size };
	struct vmm vmm;

	fake_machine_reset();
	vmm_init(&vmm, loop, "fuzz", false);
	if (size >= strlen(config) && !memcmp(data, config, strlen(config)))
		play_config_file(&vmm, data + strlen(config), size - strlen(config));
	else
		while (!fuzz_done(&in))
			play_request(&vmm, &in);
	vmm_fini(&vmm);
	return 0;
}

int __wrap_log_set_path(const char *path, struct err *e);
int __wrap_log_set_path(const char *path, struct err *e)
{
	return path[0] ? 0 : err_set(e, ENOENT, "no such file");
}

void __wrap_log_set_level(enum log_level level);
void __wrap_log_set_level(enum log_level level)
{
	(void)level;
}

int __wrap_metrics_open(const char *path, const char *id, const char *properties_json, struct err *e);
int __wrap_metrics_open(const char *path, const char *id, const char *properties_json, struct err *e)
{
	(void)id;
	(void)properties_json;
	return path[0] ? 0 : err_set(e, ENOENT, "no such file");
}
