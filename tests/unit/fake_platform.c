// SPDX-License-Identifier: Apache-2.0
#include "fake_platform.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loop.h"

#define FAKE_ROUNDS 64 /* more than any chain of events in a test is long */

static struct fake_platform *fake_from_platform(struct platform *p)
{
	return (struct fake_platform *)p;
}

static int fake_spend(int *left, const char *what, struct err *e)
{
	if (*left == 0)
		return err_set(e, ENOSPC, "no more %s", what);
	if (*left > 0)
		(*left)--;
	return 0;
}

static int fake_irq_new(struct platform *p, uint32_t gsi, struct irq_line *irq, struct err *e)
{
	struct fake_platform *fp = fake_from_platform(p);

	if (fake_spend(&fp->irqs_left, "interrupts", e))
		return -ENOSPC;
	assert(fp->num_irqs < FAKE_MAX_DEVICES);
	irq->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (irq->fd < 0)
		return err_errno(e, errno, "no eventfd");
	irq->gsi = gsi ? gsi : FAKE_FIRST_GSI + fp->num_irqs;
	fp->irq_fds[fp->num_irqs++] = dup(irq->fd);
	return 0;
}

static void fake_irq_raise_when_open(struct platform *p, const struct irq_line *irq)
{
	struct fake_platform *fp = fake_from_platform(p);

	if (fp->pins_masked)
		fp->num_waiting++;
	else
		irq_raise(irq);
}

static void fake_leak_handled(struct platform *p)
{
	fake_from_platform(p)->num_handled++;
}

static int fake_virtio_place(struct platform *p, const char *name, gpa_t *base, uint32_t *gsi, struct err *e)
{
	struct fake_platform *fp = fake_from_platform(p);

	if (fake_spend(&fp->windows_left, "windows", e))
		return -ENOSPC;
	(void)name;
	*base = fp->last_base = FAKE_MMIO_BASE + fp->num_windows++ * 4096ull;
	*gsi = fp->last_gsi = FAKE_FIRST_GSI + fp->num_irqs;
	return 0;
}

static int fake_doorbell(struct platform *p, gpa_t addr, uint32_t value, int fd, struct err *e)
{
	struct fake_platform *fp = fake_from_platform(p);

	if (fake_spend(&fp->bells_left, "doorbells", e))
		return -ENOSPC;
	for (unsigned int i = 0; i < FAKE_MAX_BELLS; i++) {
		if (fp->bells[i].fd >= 0)
			continue;
		fp->bells[i] = (struct fake_bell){ .addr = addr, .value = value, .fd = fd };
		fp->num_bells++;
		return 0;
	}
	assert(!"too many doorbells");
	return -ENOSPC;
}

static struct fake_bell *fake_find_bell(struct fake_platform *fp, gpa_t addr, uint64_t value)
{
	for (unsigned int i = 0; i < FAKE_MAX_BELLS; i++) {
		if (fp->bells[i].fd >= 0 && fp->bells[i].addr == addr && fp->bells[i].value == value)
			return &fp->bells[i];
	}
	return NULL;
}

static void fake_doorbell_remove(struct platform *p, gpa_t addr, uint32_t value, int fd)
{
	struct fake_platform *fp = fake_from_platform(p);
	struct fake_bell *bell = fake_find_bell(fp, addr, value);

	assert(bell && bell->fd == fd);
	bell->fd = -1;
	fp->num_bells--;
}

static int fake_thread(struct platform *p, const char *name, bool sockets, void *(*fn)(void *arg), void *arg,
		       struct thread *thread, struct err *e)
{
	int r = pthread_create(&thread->id, NULL, fn, arg);

	(void)p;
	(void)sockets;
	return r ? err_errno(e, r, "no thread for %s", name) : 0;
}

static const struct platform_ops fake_ops = {
	.irq_new = fake_irq_new,
	.irq_raise_when_open = fake_irq_raise_when_open,
	.leak_handled = fake_leak_handled,
	.virtio_place = fake_virtio_place,
	.doorbell = fake_doorbell,
	.doorbell_remove = fake_doorbell_remove,
	.thread = fake_thread,
};

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature) /* clang does not define the above */
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif

/*
 * Devices get the memory where it cannot be written; mem/ has it at another address. So each test fails in which a device
 * writes in another way. (Not with the thread sanitizer, which takes the two addresses for different memory.)
 */
static void fake_protect(struct mem_region *region)
{
#ifndef UNDER_TSAN
	int fd = memfd_create("ram", MFD_CLOEXEC);
	const void *host = MAP_FAILED;
	void *writable = MAP_FAILED;

	if (fd >= 0 && !ftruncate(fd, (off_t)region->size)) {
		writable = mmap(region->writable, region->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
		host = mmap(NULL, region->size, PROT_READ, MAP_SHARED, fd, 0);
	}
	assert(writable != MAP_FAILED && host != MAP_FAILED);
	close(fd);
	region->host = host;
#else
	(void)region;
#endif
}

static void fake_unprotect(struct mem_region *region)
{
	if (region->host != region->writable)
		munmap((void *)(uintptr_t)region->host, region->size);
}

static const struct mem_layout fake_layout = {
	.num_regions = 2,
	.regions = { { .gpa = 0, .size = FAKE_MEM_SIZE }, { .gpa = FAKE_HIGH_GPA, .size = FAKE_HIGH_SIZE } },
};

void fake_platform_set_mem(struct fake_platform *fp, const struct guest_mem *mem)
{
	for (unsigned int i = 0; i < fp->mem.num_regions; i++)
		fake_unprotect(&fp->mem.regions[i]);
	mem_fini(&fp->mem);
	fp->mem = *mem;
}

void fake_platform_anonymous_mem(struct fake_platform *fp)
{
	struct guest_mem mem;
	struct err e;
	int r = mem_init_anonymous(&mem, &fake_layout, &e);

	assert(r == 0);
	(void)r;
	fake_platform_set_mem(fp, &mem);
}

void fake_platform_file_mem(struct fake_platform *fp, uint8_t fill)
{
	int r, fd = memfd_create("memory file", MFD_CLOEXEC);
	struct guest_mem mem;
	uint8_t page[MEM_PAGE_SIZE];
	struct err e;

	r = ftruncate(fd, FAKE_MEM_SIZE + FAKE_HIGH_SIZE);
	assert(r == 0);
	memset(page, fill, sizeof(page));
	for (uint64_t at = 0; fill && at < FAKE_MEM_SIZE + FAKE_HIGH_SIZE; at += sizeof(page)) {
		ssize_t n = pwrite(fd, page, sizeof(page), (off_t)at);

		assert(n == (ssize_t)sizeof(page));
		(void)n;
	}
	r = mem_init_file(&mem, &fake_layout, fd, &e);
	assert(r == 0);
	(void)r;
	fake_platform_set_mem(fp, &mem);
}

void fake_platform_init(struct fake_platform *fp)
{
	struct err e;
	int r;

	memset(fp, 0, sizeof(*fp));
	for (unsigned int i = 0; i < FAKE_MAX_BELLS; i++)
		fp->bells[i].fd = -1;
	fp->irqs_left = fp->windows_left = fp->bells_left = -1;
	bus_init(&fp->bus);
	r = mem_init_anonymous(&fp->mem, &fake_layout, &e);
	assert(r == 0);
	(void)r;
	for (unsigned int i = 0; i < fp->mem.num_regions; i++)
		fake_protect(&fp->mem.regions[i]);
	fp->p.ops = &fake_ops;
	fp->p.loop = loop_new();
	fp->p.one_loop = true;
	fp->p.bus = &fp->bus;
	fp->p.mem = &fp->mem;
	assert(fp->p.loop);
}

void fake_platform_fini(struct fake_platform *fp)
{
	assert(fp->num_bells == 0);
	for (unsigned int i = 0; i < fp->num_irqs; i++)
		close(fp->irq_fds[i]);
	loop_free(fp->p.loop);
	assert(fp->mem.num_leases == 0);
	for (unsigned int i = 0; i < fp->mem.num_regions; i++)
		fake_unprotect(&fp->mem.regions[i]);
	mem_fini(&fp->mem);
}

void fake_write(struct fake_platform *fp, gpa_t addr, uint64_t value, unsigned int len)
{
	struct fake_bell *bell = len == 4 ? fake_find_bell(fp, addr, value) : NULL;

	if (bell)
		(void)eventfd_write(bell->fd, 1);
	else
		bus_write(&fp->bus, BUS_MMIO, addr, &value, len);
}

uint64_t fake_read(struct fake_platform *fp, gpa_t addr, unsigned int len)
{
	uint64_t value = 0;

	bus_read(&fp->bus, BUS_MMIO, addr, &value, len);
	return value;
}

unsigned int fake_irqs(struct fake_platform *fp, uint32_t gsi)
{
	eventfd_t count = 0;

	assert(gsi - FAKE_FIRST_GSI < fp->num_irqs);
	if (eventfd_read(fp->irq_fds[gsi - FAKE_FIRST_GSI], &count))
		return 0;
	return (unsigned int)count;
}

struct fake_limit {
	struct loop *loop;
	int rounds_left; /* -1: until the deadline */
	uint64_t deadline_ns;
};

static int fake_hook(void *ctx)
{
	struct fake_limit *limit = ctx;
	uint64_t now_ns = clock_now_ns();

	if (limit->rounds_left >= 0) {
		if (limit->rounds_left-- == 0)
			loop_stop(limit->loop, 0);
		return 0;
	}
	if (now_ns >= limit->deadline_ns) {
		loop_stop(limit->loop, 0);
		return 0;
	}
	return (int)((limit->deadline_ns - now_ns) / 1000000 + 1);
}

static void fake_run_limited(struct fake_platform *fp, struct fake_limit *limit)
{
	loop_set_hook(fp->p.loop, fake_hook, limit);
	(void)loop_run(fp->p.loop);
	loop_set_hook(fp->p.loop, NULL, NULL);
}

void fake_run(struct fake_platform *fp)
{
	struct fake_limit limit = { .loop = fp->p.loop, .rounds_left = FAKE_ROUNDS };

	fake_run_limited(fp, &limit);
}

void fake_run_ms(struct fake_platform *fp, unsigned int ms)
{
	struct fake_limit limit = { .loop = fp->p.loop,
				    .rounds_left = -1,
				    .deadline_ns = clock_now_ns() + ms * 1000000ull };

	fake_run_limited(fp, &limit);
}
