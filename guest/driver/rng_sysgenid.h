/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * /dev/sysgenid: the counter as AWS-LC and others look for it.
 */
#ifndef RNG_SYSGENID_H
#define RNG_SYSGENID_H

struct device;
struct rng_page;

void rng_sysgenid_add(struct rng_page *page, struct device *dev);
void rng_sysgenid_remove(struct rng_page *page);
void rng_sysgenid_notify(void);

#endif /* RNG_SYSGENID_H */
