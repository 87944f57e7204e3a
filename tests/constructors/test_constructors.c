// SPDX-License-Identifier: Apache-2.0
/*
 * Every constructor of host/, with every call that it makes failing in turn:
 * the first, the second, and so on until it succeeds. Each failure must be an
 * error with a sentence, leave the caller's pointer, descriptors, threads and
 * mappings as they were, leak nothing (LeakSanitizer), and not keep the next
 * attempt from succeeding. AddressSanitizer sees what is freed twice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <dirent.h>
#include <elf.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "constructors.h"
#include "failing_calls.h"
#include "tmpdir.h"

#define MOST_CALLS 20000 /* of one constructor; none makes a tenth of it */

/* Only a program with LeakSanitizer has it. Not 0: there was a leak, and its report is on stderr. */
extern int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

struct holdings {
	unsigned int fds, threads;
	long mapped;
};

static char untouched;
static struct tmpdir dir;
static unsigned int complaints;

static unsigned int count_entries(const char *path)
{
	unsigned int n = 0;
	DIR *d = opendir(path);

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static struct holdings holdings_now(void)
{
	return (struct holdings){ .fds = count_entries("/proc/self/fd"),
				  .threads = count_entries("/proc/self/task"),
				  .mapped = failing_calls_mapped() };
}

/* The smallest that is accepted: it halts. */
static void write_kernel(void)
{
	struct {
		Elf64_Ehdr eh;
		Elf64_Phdr ph;
		uint8_t code[4];
	} kernel = {
		.eh = { .e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_version = EV_CURRENT,
			.e_entry = 0x100000,
			.e_phoff = sizeof(kernel.eh),
			.e_ehsize = sizeof(kernel.eh),
			.e_phentsize = sizeof(kernel.ph),
			.e_phnum = 1 },
		.ph = { .p_type = PT_LOAD,
			.p_offset = offsetof(__typeof__(kernel), code),
			.p_paddr = 0x100000,
			.p_filesz = sizeof(kernel.code),
			.p_memsz = sizeof(kernel.code) },
		.code = { 0xfa, 0xf4, 0xeb, 0xfd },
	};

	memcpy(kernel.eh.e_ident, ELFMAG, SELFMAG);
	kernel.eh.e_ident[EI_CLASS] = ELFCLASS64;
	kernel.eh.e_ident[EI_DATA] = ELFDATA2LSB;
	kernel.eh.e_ident[EI_VERSION] = EV_CURRENT;
	assert_int_equal(tmpdir_write(KERNEL_FILE, &kernel, sizeof(kernel)), 0);
}

/* Goes to a directory, with the files that constructors.h names, and a log so that another one takes the place of a descriptor. */
static void enter_directory(const char *path)
{
	static const char disk[1 << 16];
	static const char text[] = "some text\n";
	struct err e;

	assert_int_equal(chdir(path), 0);
	write_kernel();
	assert_int_equal(tmpdir_write(DISK_FILE, disk, sizeof(disk)), 0);
	assert_int_equal(tmpdir_write(TEXT_FILE, text, strlen(text)), 0);
	assert_int_equal(log_set_path("log", &e), 0);
}

static void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* All that is wrong is told, and then the test fails. */
static void complain(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	complaints++;
}

/* A thread that was joined may have its entry in /proc for a moment longer. */
static void expect_holdings(const struct constructor *c, const struct holdings *before)
{
	struct holdings now = holdings_now();

	for (unsigned int i = 0; i < 1000 && now.threads != before->threads; i++) {
		usleep(1000);
		now = holdings_now();
	}
	if (now.fds != before->fds || now.threads != before->threads || now.mapped != before->mapped)
		complain("%s, after %s failed: %u descriptors, %u threads, %ld bytes mapped; before %u, %u, %ld",
			 c->name, failing_calls_name(), now.fds, now.threads, now.mapped, before->fds, before->threads,
			 before->mapped);
}

static void make_and_unmake(const struct constructor *c)
{
	void *out = &untouched;
	struct err e = { "" };

	if (c->make(c, &out, &e) < 0)
		complain("%s does not succeed after %s has failed: %s", c->name, failing_calls_name(), e.text);
	else if (c->unmake)
		c->unmake(out);
}

static void expect_failure(const struct constructor *c, unsigned int n, void *out, const struct err *e)
{
	if (out != &untouched)
		complain("%s has set its out-pointer although call %u, %s, failed", c->name, n, failing_calls_name());
	if (!e->text[0] || strstr(e->text, "Success"))
		complain("%s says \"%s\" when call %u, %s, fails", c->name, e->text, n, failing_calls_name());
}

/* True as long as there is an n-th call. */
static bool fail_nth_call(const struct constructor *c, unsigned int n)
{
	void *out = &untouched;
	struct err e = { "" };
	bool failed;
	int r;

	failing_calls_arm(n);
	r = c->make(c, &out, &e);
	failed = failing_calls_disarm();
	if (!failed && r < 0)
		complain("%s: %s", c->name, e.text);
	if (failed && r == 0 && !failing_calls_is_optional(c->optional))
		complain("%s succeeds although call %u, %s, failed", c->name, n, failing_calls_name());
	if (r < 0) {
		expect_failure(c, n, out, &e);
		/* After a flush that failed there is no snapshot before the guest has been told (virtio/blk.c). */
		if (!c->lasts && strcmp(failing_calls_name(), "fdatasync") != 0)
			make_and_unmake(c);
	} else if (c->unmake) {
		c->unmake(out);
	}
	return failed;
}

/* Returns how many calls there are. */
static unsigned int try_calls(const struct constructor *c)
{
	struct holdings before;
	unsigned int n = 0;
	bool more = true;

	while (more && n < MOST_CALLS) {
		before = holdings_now();
		if (c->before)
			c->before(c);
		more = fail_nth_call(c, ++n);
		if (c->after)
			c->after(c);
		if (more || !c->lasts)
			expect_holdings(c, &before);
	}
	if (more)
		complain("%s makes more than %u calls", c->name, MOST_CALLS);
	if (__lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check())
		complain("%s has leaked memory", c->name);
	return n - 1;
}

static void try_constructors(const struct constructor *list, size_t num)
{
	complaints = 0;
	for (size_t i = 0; i < num; i++) {
		unsigned int n = try_calls(&list[i]);

		print_message("# %s: %u calls\n", list[i].name, n);
	}
	assert_int_equal(complaints, 0);
}

static void each_failing_call_of_a_part_is_an_error_that_leaves_nothing_behind(void **state)
{
	(void)state;
	try_constructors(constructors_of_parts, num_constructors_of_parts);
}

static void each_failing_call_of_a_machine_is_an_error_that_leaves_nothing_behind(void **state)
{
	(void)state;
	try_constructors(constructors_of_machines, num_constructors_of_machines);
}

static int setup(void **state)
{
	(void)state;
	if (access("/dev/shm", W_OK) == 0) /* a disk takes its time for thousands of files that are renamed */
		setenv("TMPDIR", "/dev/shm", 0);
	if (tmpdir_make(&dir) < 0)
		return -1;
	failing_calls_init();
	log_set_level(LOG_LEVEL_OFF);
	enter_directory(dir.path);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tmpdir_remove(&dir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_failing_call_of_a_part_is_an_error_that_leaves_nothing_behind),
		cmocka_unit_test(each_failing_call_of_a_machine_is_an_error_that_leaves_nothing_behind),
	};

	return cmocka_run_group_tests_name("constructors", tests, setup, teardown);
}
