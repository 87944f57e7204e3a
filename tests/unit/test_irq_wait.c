// SPDX-License-Identifier: Apache-2.0
/* Interrupts at masked pins: raised when the guest is ready, once, and not while the machine is paused. */
#include "machine/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

static uint32_t open_pins; /* what the guest has unmasked */
static unsigned int looks;
static struct machine m;
static struct irq_line lines[2];

/* These take the places of kvm/ and arch/. */
int vm_irqfd(struct vm *vm, uint32_t gsi, int fd, struct err *e)
{
	(void)vm;
	(void)gsi;
	(void)fd;
	return err_set(e, ENOTSUP, "no KVM");
}

int vm_ioeventfd(struct vm *vm, gpa_t addr, uint32_t value, int fd, bool add, struct err *e)
{
	(void)vm;
	(void)addr;
	(void)value;
	(void)fd;
	(void)add;
	return err_set(e, ENOTSUP, "no KVM");
}

bool arch_irq_is_open(struct vm *vm, uint32_t gsi)
{
	(void)vm;
	looks++;
	return open_pins >> gsi & 1;
}

static int setup(void **state)
{
	struct err e;

	(void)state;
	m = (struct machine){ .loop = loop_new() };
	assert_non_null(m.loop);
	bus_init(&m.bus);
	assert_int_equal(machine_platform_init(&m.platform, &m, &e), 0);
	for (unsigned int i = 0; i < 2; i++)
		lines[i] = (struct irq_line){ .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .gsi = ARCH_GSI_LAST - i };
	open_pins = 0;
	looks = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	machine_platform_fini(&m.platform);
	for (unsigned int i = 0; i < 2; i++)
		close(lines[i].fd);
	loop_free(m.loop);
	return 0;
}

static unsigned int edges(const struct irq_line *irq)
{
	eventfd_t n = 0;

	return eventfd_read(irq->fd, &n) ? 0 : (unsigned int)n;
}

static void raise_when_open(const struct irq_line *irq)
{
	struct platform *p = &m.platform.platform;

	p->ops->irq_raise_when_open(p, irq);
}

static void stop(void *ctx, uint32_t events)
{
	(void)events;
	loop_stop(ctx, 0);
}

/* The loop, for a time. */
static void run_ms(unsigned int ms)
{
	struct loop_source *end = loop_add_timer(m.loop, stop, m.loop);

	assert_non_null(end);
	loop_set_timer(end, ms * 1000000ull, 0);
	(void)loop_run(m.loop);
	loop_remove(end);
}

static void open_pin_is_raised_at_once(void **state)
{
	(void)state;
	open_pins = 1u << lines[0].gsi;
	raise_when_open(&lines[0]);
	assert_int_equal(edges(&lines[0]), 1);
	looks = 0;
	run_ms(100);
	assert_int_equal(edges(&lines[0]), 0);
	assert_int_equal(looks, 0); /* nothing waits, nobody looks */
}

static void masked_pin_is_raised_once_when_it_is_unmasked(void **state)
{
	(void)state;
	raise_when_open(&lines[0]);
	raise_when_open(&lines[0]); /* two events, one interrupt */
	raise_when_open(&lines[1]);
	run_ms(100);
	assert_int_equal(edges(&lines[0]) + edges(&lines[1]), 0);
	open_pins = 1u << lines[0].gsi;
	run_ms(200);
	assert_int_equal(edges(&lines[0]), 1);
	assert_int_equal(edges(&lines[1]), 0);
	open_pins |= 1u << lines[1].gsi;
	run_ms(500);
	assert_int_equal(edges(&lines[0]), 0);
	assert_int_equal(edges(&lines[1]), 1);
}

static void paused_machine_gets_no_interrupt(void **state)
{
	(void)state;
	raise_when_open(&lines[0]);
	m.paused = true;
	open_pins = 1u << lines[0].gsi;
	run_ms(150);
	assert_int_equal(edges(&lines[0]), 0);
	m.paused = false;
	run_ms(400);
	assert_int_equal(edges(&lines[0]), 1);
}

static void guest_that_never_unmasks_costs_a_look_now_and_then(void **state)
{
	(void)state;
	raise_when_open(&lines[0]);
	run_ms(700);
	assert_in_range(looks, 2, 6); /* at 0, 20, 60, 140, 300, 620 ms */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(open_pin_is_raised_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(masked_pin_is_raised_once_when_it_is_unmasked, setup, teardown),
		cmocka_unit_test_setup_teardown(paused_machine_gets_no_interrupt, setup, teardown),
		cmocka_unit_test_setup_teardown(guest_that_never_unmasks_costs_a_look_now_and_then, setup, teardown),
	};

	return cmocka_run_group_tests_name("irq_wait", tests, NULL, NULL);
}
