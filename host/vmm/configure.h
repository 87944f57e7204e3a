/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The actions that describe a machine which does not run yet, and those of the
 * process (logger, metrics). Each takes over what it needs from its argument,
 * and only when nothing can fail any more.
 */
#ifndef VMM_CONFIGURE_H
#define VMM_CONFIGURE_H

#include "vmm/vmm.h"

int vmm_put_logger(const struct logger_config *c, struct err *e) must_check;
int vmm_put_metrics(const struct vmm *vmm, const struct metrics_config *c, struct err *e) must_check;
int vmm_put_boot_source(struct vmm *vmm, struct boot_source_config *c, struct err *e) must_check;
int vmm_put_machine_config(struct vmm *vmm, const struct machine_config *c, struct err *e) must_check;
int vmm_patch_machine_config(struct vmm *vmm, const struct machine_config_patch *patch, struct err *e) must_check;
int vmm_put_drive(struct vmm *vmm, struct drive_config *c, struct err *e) must_check;
void vmm_put_serial(struct vmm *vmm, struct serial_config *c);

#endif
