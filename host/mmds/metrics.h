/* SPDX-License-Identifier: Apache-2.0 */
/* What the metadata service counts: names are Firecracker's. */
#ifndef MMDS_METRICS_H
#define MMDS_METRICS_H

#include "base/metrics.h"

#define MMDS_METRICS(M)              \
	M(mmds, rx_accepted)         \
	M(mmds, rx_accepted_err)     \
	M(mmds, rx_accepted_unusual) \
	M(mmds, rx_bad_eth)          \
	M(mmds, rx_invalid_token)    \
	M(mmds, rx_no_token)         \
	M(mmds, rx_count)            \
	M(mmds, tx_bytes)            \
	M(mmds, tx_count)            \
	M(mmds, tx_errors)           \
	M(mmds, tx_frames)           \
	M(mmds, connections_created) \
	M(mmds, connections_destroyed)
METRICS_DECLARE(mmds, MMDS_METRICS)

#endif
