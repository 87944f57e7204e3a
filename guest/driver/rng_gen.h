/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The generation counter of one entropy device and its files in
 * /sys/virtio-rng/virtio_rng.N: how programs learn of entropy leaks.
 */
#ifndef RNG_GEN_H
#define RNG_GEN_H

#include <linux/types.h>

#include "snapsafe_page.h"

#define RNG_GEN_IDENTITY_LEN SNAPSAFE_PAGE_IDENTITY_LEN

struct rng_gen;
struct rng_page;
struct virtio_device;

int rng_gen_init(void);
void rng_gen_exit(void);

struct rng_gen *rng_gen_new(struct virtio_device *vdev, int index);
void rng_gen_free(struct rng_gen *gen);

unsigned long *rng_gen_word(struct rng_gen *gen);
unsigned long rng_gen_read(const struct rng_gen *gen);
bool rng_gen_reused(const struct rng_gen *gen);
void rng_gen_raise(struct rng_gen *gen, unsigned long value);
void rng_gen_set_watched(struct rng_gen *gen, bool watched);
bool rng_gen_is_watched(const struct rng_gen *gen);
u8 *rng_gen_identity(struct rng_gen *gen);
void rng_gen_clear_identity(struct rng_gen *gen);
bool rng_gen_has_identity(const struct rng_gen *gen);
struct rng_page *rng_gen_page(struct rng_gen *gen);

void rng_gen_set_seed(struct rng_gen *gen, const void *seed, unsigned int len);
void rng_gen_set_reseeded(struct rng_gen *gen, unsigned long value);
void rng_gen_notify(struct rng_gen *gen);

#endif /* RNG_GEN_H */
