// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whether programs find a generation counter in /dev/vmclock0: VMClock, a page
 * of the host's, for which newer kernels have a driver.
 *
 * That is another module, loaded before or after this one, if at all. So it is
 * not asked: the page itself tells, and this kernel's configuration. Where the
 * page is only ACPI says here, not a device tree.
 */
#include "rng_vmclock.h"

#include <linux/kconfig.h>

#if IS_ENABLED(CONFIG_PTP_1588_CLOCK_VMCLOCK) && IS_ENABLED(CONFIG_ACPI)
#include <linux/acpi.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/list.h>
#include <linux/resource_ext.h>
#include <uapi/linux/vmclock-abi.h>

/* What the flag and the counter need of it. It does not change. */
static bool page_counts(const struct vmclock_abi *page)
{
	return le32_to_cpu(page->magic) == VMCLOCK_MAGIC &&
	       le16_to_cpu(page->version) == 1 &&
	       le32_to_cpu(page->size) >= sizeof(*page) &&
	       (le64_to_cpu(page->flags) & VMCLOCK_FLAG_VM_GEN_COUNTER_PRESENT);
}

static bool resource_counts(const struct resource *res)
{
	struct vmclock_abi *page;
	bool counts;

	if (resource_size(res) < PAGE_SIZE) /* there is no device file, then */
		return false;
	page = memremap(res->start, sizeof(*page), MEMREMAP_WB);
	if (!page)
		return false;
	counts = page_counts(page);
	memunmap(page);
	return counts;
}

static bool device_counts(struct acpi_device *adev)
{
	struct resource_entry *entry;
	LIST_HEAD(resources);
	bool counts = false;

	if (acpi_dev_get_memory_resources(adev, &resources) > 0) {
		entry = list_first_entry(&resources, struct resource_entry, node);
		counts = resource_counts(entry->res);
	}
	acpi_dev_free_resource_list(&resources);
	return counts;
}

bool rng_vmclock_counts(void)
{
	static const char *const names[] = { "AMZNC10C", "VMCLOCK" };
	struct acpi_device *adev;
	bool counts = false;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names) && !counts; i++) {
		adev = acpi_dev_get_first_match_dev(names[i], NULL, -1);
		if (!adev)
			continue;
		counts = device_counts(adev);
		acpi_dev_put(adev);
	}
	return counts;
}

#else

bool rng_vmclock_counts(void)
{
	return false;
}

#endif
