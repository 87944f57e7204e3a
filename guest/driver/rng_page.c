// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The counter pages that programs map.
 *
 * The counter must never go back for whoever has it mapped, whatever becomes
 * of the driver, so the page does not belong to the device: it is the only page
 * of a memory file, there is one for each name virtio_rng.N, and it stays when
 * the device is unbound. The next device of that name continues where it was. A
 * mapping refers to that memory file, not to the file in sysfs (which would be
 * cut off, with SIGBUS, when the device goes) or to the character device, and
 * keeps the page even when the module is gone. Nobody moves the counter then:
 * `unwatched` is 1 while leaks are not being reported.
 *
 * The fields are native words, see abi/snapsafe_page.h: on a 32-bit kernel the
 * upper half of each stays zero.
 *
 * The identity is only ever written by the device, or cleared from here. The
 * processor must not copy one onto the page: it could be stopped with the bytes
 * in its registers, and each machine that is made of it then would finish the
 * copy. Zeros are always right: they say that there is none.
 */
#include "rng_page.h"

#include <linux/build_bug.h>
#include <linux/compiler.h>
#include <linux/err.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/stddef.h>
#include <linux/string.h>
#include <linux/xarray.h>

#include "rng_compat.h"

#define IDENTITY_TRIES 16
#define GENERATION offsetof(struct snapsafe_page, generation)
#define UNWATCHED offsetof(struct snapsafe_page, unwatched)
#define RESEEDED offsetof(struct snapsafe_page, reseeded)
#define IDENTITY offsetof(struct snapsafe_page, identity)
#define IDENTITY_WORDS (RNG_GEN_IDENTITY_LEN / sizeof(unsigned long))

/* N -> struct rng_page, until the module goes. */
static DEFINE_XARRAY(rng_pages);

static unsigned long *field_word(const struct rng_page *p, size_t offset)
{
	return (unsigned long *)((u8 *)p->content + offset);
}

/* The word that the device writes. It never moves. */
unsigned long *rng_page_word(struct rng_page *p)
{
	return field_word(p, GENERATION);
}

unsigned long rng_page_generation(const struct rng_page *p)
{
	return READ_ONCE(*field_word(p, GENERATION));
}

bool rng_page_is_watched(const struct rng_page *p)
{
	return !READ_ONCE(*field_word(p, UNWATCHED));
}

void rng_page_set_watched(struct rng_page *p, bool watched)
{
	WRITE_ONCE(*field_word(p, UNWATCHED), !watched);
}

unsigned long rng_page_reseeded(const struct rng_page *p)
{
	return READ_ONCE(*field_word(p, RESEEDED));
}

void rng_page_set_reseeded(struct rng_page *p, unsigned long value)
{
	WRITE_ONCE(*field_word(p, RESEEDED), value);
}

void rng_page_clear_identity(struct rng_page *p)
{
	unsigned long *words = field_word(p, IDENTITY);
	unsigned int i;

	for (i = 0; i < IDENTITY_WORDS; i++)
		WRITE_ONCE(words[i], 0);
}

/*
 * The device may be filling it in this moment, on another processor (after a
 * late event, or for the first time): look until two looks agree.
 */
void rng_page_read_identity(const struct rng_page *p,
			    u8 id[RNG_GEN_IDENTITY_LEN])
{
	const unsigned long *words = field_word(p, IDENTITY);
	unsigned long now[IDENTITY_WORDS] = {}, before[IDENTITY_WORDS];
	unsigned int i, tries = 0;

	do {
		memcpy(before, now, sizeof(now));
		for (i = 0; i < IDENTITY_WORDS; i++)
			now[i] = READ_ONCE(words[i]);
	} while (memcmp(before, now, sizeof(now)) && ++tries < IDENTITY_TRIES);
	memcpy(id, now, sizeof(now));
}

/**
 * rng_page_mmap() - make a mapping one of the page
 * @p: the page
 * @vma: a new mapping of whatever file
 */
int rng_page_mmap(struct rng_page *p, struct vm_area_struct *vma)
{
	if (vma->vm_pgoff || vma->vm_end - vma->vm_start != PAGE_SIZE)
		return -EINVAL;
	if (vma->vm_flags & VM_WRITE)
		return -EPERM;
	rng_vma_make_readonly(vma);
	/* Whose file it was leaves a mapping alone that refers to another one. */
	vma_set_file(vma, p->file);
	return rng_call_mmap(vma);
}

/*
 * Nobody but the device and this driver writes to the page, whoever they are:
 * root could otherwise open the memory file in /proc/PID/map_files. The seals
 * are those of memfd_create(2), and say no to write, fallocate and truncate.
 */
static void page_seal(struct rng_page *p)
{
	struct inode *inode = file_inode(p->file);

	inode->i_mode = S_IFREG | 0444;
	inode_set_flags(inode, S_IMMUTABLE, S_IMMUTABLE);
	if (IS_ENABLED(CONFIG_SHMEM))
		SHMEM_I(inode)->seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW |
					F_SEAL_FUTURE_WRITE;
}

static void page_free(struct rng_page *p)
{
	if (p->page)
		put_page(p->page);
	if (!IS_ERR_OR_NULL(p->file))
		fput(p->file);
	kfree(p);
}

static struct rng_page *page_new(void)
{
	struct rng_page *p = kzalloc(sizeof(*p), GFP_KERNEL);
	struct page *page;

	if (!p)
		return ERR_PTR(-ENOMEM);
	p->file = rng_shmem_file("vm_gen_counter", PAGE_SIZE);
	if (IS_ERR(p->file)) {
		page = ERR_CAST(p->file);
		goto err;
	}
	/* The device knows the page by its address: it must stay where it is. */
	mapping_set_unevictable(p->file->f_mapping);
	page = shmem_read_mapping_page_gfp(p->file->f_mapping, 0, GFP_KERNEL);
	if (IS_ERR(page))
		goto err;
	p->page = page;
	set_page_dirty(page);
	p->content = page_address(page);
	p->content->magic = SNAPSAFE_PAGE_MAGIC;
	p->content->version = SNAPSAFE_PAGE_VERSION;
	rng_page_set_watched(p, false);
	page_seal(p);
	return p;
err:
	page_free(p);
	return ERR_CAST(page);
}

/* The page for virtio_rng.<index>: the one of old, or a new one. */
struct rng_page *rng_page_get(int index, bool *reused)
{
	struct rng_page *p = xa_load(&rng_pages, index);
	int err;

	BUILD_BUG_ON(RNG_GEN_IDENTITY_LEN % sizeof(unsigned long));

	*reused = p;
	if (p)
		return p;
	p = page_new();
	if (IS_ERR(p))
		return p;
	err = xa_err(xa_store(&rng_pages, index, p, GFP_KERNEL));
	if (err) {
		page_free(p);
		return ERR_PTR(err);
	}
	return p;
}

/* The module goes. What programs have mapped stays theirs. */
void rng_page_free_all(void)
{
	struct rng_page *p;
	unsigned long index;

	xa_for_each(&rng_pages, index, p)
		page_free(p);
	xa_destroy(&rng_pages);
}
