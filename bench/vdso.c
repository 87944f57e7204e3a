// SPDX-License-Identifier: Apache-2.0
/*
 * Finds __vdso_getrandom in the image that the kernel maps into each process,
 * and keeps the state that it wants of its callers. What the kernel promises is
 * in its lib/vdso/getrandom.c: the function says how long a state is and how
 * its page is to be mapped; a state does not cross the end of a page.
 */
#include "vdso.h"

#include <elf.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

typedef ssize_t (*vgetrandom_fn)(void *to, size_t len, unsigned int flags, void *state, size_t state_len);

/* linux/random.h has it since Linux 6.11. */
struct opaque_params {
	uint32_t state_len;
	uint32_t mmap_prot;
	uint32_t mmap_flags;
	uint32_t reserved[13];
};

struct vdso_getrandom {
	vgetrandom_fn call;
	uint8_t *state; /* at the beginning of a mapping of its own */
	size_t state_len;
};

/* The first segment is mapped from the beginning of the image on, so addresses count from there. */
static uintptr_t load_bias(const uint8_t *image)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)image;
	const Elf64_Phdr *segment = (const Elf64_Phdr *)(image + header->e_phoff);

	for (unsigned int i = 0; i < header->e_phnum; i++) {
		if (segment[i].p_type == PT_LOAD)
			return (uintptr_t)image + segment[i].p_offset - segment[i].p_vaddr;
	}
	return (uintptr_t)image;
}

/* The kernel maps the file as a whole, its section headers included. NULL if there is no such function. */
static vgetrandom_fn find_function(const uint8_t *image, const char *name)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)image;
	const Elf64_Shdr *section = (const Elf64_Shdr *)(image + header->e_shoff);

	for (unsigned int i = 0; i < header->e_shnum; i++) {
		const Elf64_Sym *symbol = (const Elf64_Sym *)(image + section[i].sh_offset);
		const char *names;

		if (section[i].sh_type != SHT_DYNSYM)
			continue;
		names = (const char *)image + section[section[i].sh_link].sh_offset;
		for (size_t n = 0; n < section[i].sh_size / sizeof(*symbol); n++) {
			if (symbol[n].st_shndx != SHN_UNDEF && !strcmp(names + symbol[n].st_name, name))
				return (vgetrandom_fn)(load_bias(image) + symbol[n].st_value);
		}
	}
	return NULL;
}

struct vdso_getrandom *vdso_getrandom_new(void)
{
	const uint8_t *image = (const uint8_t *)getauxval(AT_SYSINFO_EHDR);
	vgetrandom_fn call = image ? find_function(image, "__vdso_getrandom") : NULL;
	struct opaque_params params = { 0 };
	struct vdso_getrandom *v;
	void *state;

	if (!call || call(NULL, 0, 0, &params, ~(size_t)0) != 0) {
		errno = ENOSYS;
		return NULL;
	}
	state = mmap(NULL, params.state_len, (int)params.mmap_prot, (int)params.mmap_flags, -1, 0);
	v = state == MAP_FAILED ? NULL : malloc(sizeof(*v));
	if (!v) {
		errno = ENOMEM;
		return NULL;
	}
	v->call = call;
	v->state = state;
	v->state_len = params.state_len;
	return v;
}

ssize_t vdso_getrandom(struct vdso_getrandom *v, void *to, size_t len, unsigned int flags)
{
	return v->call(to, len, flags, v->state, v->state_len);
}

bool vdso_getrandom_has_key(const struct vdso_getrandom *v)
{
	for (size_t i = 0; i < v->state_len; i++) {
		if (v->state[i])
			return true;
	}
	return false;
}
