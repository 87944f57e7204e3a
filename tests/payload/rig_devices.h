/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PAYLOAD_RIG_DEVICES_H
#define PAYLOAD_RIG_DEVICES_H

struct rig;

/* Puts the rig's devices on its bus. */
void rig_add_devices(struct rig *rig);

#endif
