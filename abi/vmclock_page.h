/* SPDX-License-Identifier: (GPL-2.0-or-later OR Apache-2.0) */
/*
 * The page that a VMClock device shows its guest (ACPI AMZNC10C; Linux has its layout in include/uapi/linux/vmclock-abi.h):
 * what the host knows of time, and whether the machine was interrupted. All numbers are little endian. What comes before seq_count
 * never changes; what comes after it is valid if seq_count is even, and the same before and after it was read.
 *
 * Compiled by the monitor, the guest's tool and tests.
 */
#ifndef ABI_VMCLOCK_PAGE_H
#define ABI_VMCLOCK_PAGE_H

#include <stdint.h>

#define VMCLOCK_MAGIC	  0x4b4c4356u /* "VCLK" */
#define VMCLOCK_PAGE_SIZE 4096u
#define VMCLOCK_VERSION	  1

/* counter_id: which counter the time is told by. */
#define VMCLOCK_COUNTER_X86_TSC 1
#define VMCLOCK_COUNTER_INVALID 0xff

/* time_type */
#define VMCLOCK_TIME_UTC 0 /* seconds since 1970-01-01 */

/* flags */
#define VMCLOCK_FLAG_TIME_MAXERROR_VALID    (1ull << 6) /* time_maxerror_nanosec says something */
#define VMCLOCK_FLAG_VM_GEN_COUNTER_PRESENT (1ull << 8) /* vm_generation_counter counts */
#define VMCLOCK_FLAG_NOTIFICATION_PRESENT   (1ull << 9) /* each new even seq_count is followed by an interrupt */

/* clock_status */
#define VMCLOCK_STATUS_UNKNOWN	    0
#define VMCLOCK_STATUS_SYNCHRONIZED 2 /* by a time server, say */
#define VMCLOCK_STATUS_FREERUNNING  3 /* it was, and goes on by itself */

struct vmclock_page {
	uint32_t magic;
	uint32_t size; /* of the page */
	uint16_t version;
	uint8_t counter_id;
	uint8_t time_type;

	uint32_t seq_count;
	uint64_t disruption_marker; /* another value: forget what you know of the counter's rate */
	uint64_t flags;
	uint8_t pad[2];
	uint8_t clock_status;
	uint8_t leap_second_smearing_hint;
	int16_t tai_offset_sec;
	uint8_t leap_indicator;
	uint8_t counter_period_shift;
	uint64_t counter_value;
	uint64_t counter_period_frac_sec;
	uint64_t counter_period_esterror_rate_frac_sec;
	uint64_t counter_period_maxerror_rate_frac_sec;
	uint64_t time_sec;
	uint64_t time_frac_sec;
	uint64_t time_esterror_nanosec;
	uint64_t time_maxerror_nanosec;
	uint64_t vm_generation_counter; /* another value: this machine's memory may have been copied */
};

_Static_assert(sizeof(struct vmclock_page) == 112, "ABI");

#endif /* ABI_VMCLOCK_PAGE_H */
