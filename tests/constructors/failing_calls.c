// SPDX-License-Identifier: Apache-2.0
#include "failing_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <cbor.h>
#include <jansson.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <microhttpd.h>

#include "base/cleanup.h"
#include "fake_kvm.h"

#define PAGEMAP "/proc/self/pagemap"

static __thread unsigned int calls_to_go; /* 0: nothing fails */
static __thread const char *failed;
static __thread unsigned long failed_request;
static char failed_text[64];
static _Atomic long mapped;
static int pagemap_fd = -1; /* the last one */

void failing_calls_arm(unsigned int n)
{
	failed = NULL;
	calls_to_go = n;
}

bool failing_calls_disarm(void)
{
	calls_to_go = 0;
	return failed != NULL;
}

const char *failing_calls_name(void)
{
	if (!failed)
		return "nothing";
	snprintf(failed_text, sizeof(failed_text), strcmp(failed, "ioctl") ? "%s" : "%s(0x%lx)", failed,
		 failed_request);
	return failed_text;
}

/*
 * What the code does without:
 * - madvise: a core dump becomes larger.
 * - flock: the lock on the directory of a socket is advisory (base/unix_listener.c).
 * - copy_file_range: what cannot be copied in one way is copied in another (snapshot/memfile_write.c).
 * - /proc/self/pagemap: then all of the memory is read (snapshot/pagemap.c).
 * - USERFAULTFD_IOC_NEW: the system call is tried instead.
 * - KVM_CHECK_EXTENSION: an optional capability is not there. Needed ones are refused, of course.
 * - KVM_GET_IRQCHIP, KVM_SET_CLOCK: the wait for a pin's first unmasking, and the second way of setting the clock.
 * - KVM_SET_TSC_KHZ on a host whose TSC frequency nobody knows; KVM_KVMCLOCK_CTRL: both are logged.
 */
bool failing_calls_is_optional(const char *more)
{
	static const char optional[] = "madvise flock copy_file_range pagemap ";
	char word[64];

	if (!failed)
		return false;
	if (!strcmp(failed, "ioctl"))
		return failed_request == KVM_CHECK_EXTENSION || failed_request == KVM_SET_TSC_KHZ ||
		       failed_request == KVM_KVMCLOCK_CTRL || failed_request == KVM_GET_IRQCHIP ||
		       failed_request == KVM_SET_CLOCK || failed_request == USERFAULTFD_IOC_NEW;
	snprintf(word, sizeof(word), "%s ", failed);
	return strstr(optional, word) || (more && strstr(more, word));
}

long failing_calls_mapped(void)
{
	return atomic_load(&mapped);
}

static bool call_fails(const char *name)
{
	if (!calls_to_go || --calls_to_go)
		return false;
	failed = name;
	return true;
}

/* A function that fails by what it returns and by errno. */
#define FAILS(type, name, parameters, arguments, value, error) \
	type __real_##name parameters;                         \
	type __wrap_##name parameters;                         \
	type __wrap_##name parameters                          \
	{                                                      \
		if (call_fails(#name)) {                       \
			errno = error;                         \
			return value;                          \
		}                                              \
		return __real_##name arguments;                \
	}

/* Memory. */
FAILS(void *, malloc, (size_t size), (size), NULL, ENOMEM)
FAILS(void *, calloc, (size_t num, size_t size), (num, size), NULL, ENOMEM)
FAILS(void *, realloc, (void *p, size_t size), (p, size), NULL, ENOMEM)
FAILS(char *, strdup, (const char *s), (s), NULL, ENOMEM)
FAILS(FILE *, open_memstream, (char **text, size_t *len), (text, len), NULL, ENOMEM)
FAILS(int, madvise, (void *at, size_t len, int advice), (at, len, advice), -1, EINVAL)

/* Descriptors. */
FAILS(int, eventfd, (unsigned int value, int flags), (value, flags), -1, EMFILE)
FAILS(int, timerfd_create, (clockid_t clock, int flags), (clock, flags), -1, EMFILE)
FAILS(int, epoll_create1, (int flags), (flags), -1, EMFILE)
FAILS(int, socket, (int domain, int type, int protocol), (domain, type, protocol), -1, EMFILE)
FAILS(int, bind, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len), -1, EACCES)
FAILS(int, listen, (int fd, int backlog), (fd, backlog), -1, EOPNOTSUPP)
FAILS(int, flock, (int fd, int operation), (fd, operation), -1, ENOLCK)

/* Files. */
FAILS(int, stat64, (const char *path, struct stat64 *st), (path, st), -1, EACCES)
FAILS(int, lstat64, (const char *path, struct stat64 *st), (path, st), -1, EACCES)
FAILS(int, fstat64, (int fd, struct stat64 *st), (fd, st), -1, EIO)
FAILS(off64_t, lseek64, (int fd, off64_t at, int whence), (fd, at, whence), -1, EIO)
FAILS(ssize_t, read, (int fd, void *data, size_t len), (fd, data, len), -1, EIO)
FAILS(ssize_t, pwrite64, (int fd, const void *data, size_t len, off64_t at), (fd, data, len, at), -1, ENOSPC)
FAILS(int, ftruncate64, (int fd, off64_t size), (fd, size), -1, ENOSPC)
FAILS(int, rename, (const char *from, const char *to), (from, to), -1, EACCES)
FAILS(ssize_t, readlink, (const char *path, char *target, size_t size), (path, target, size), -1, EACCES)
FAILS(ssize_t, copy_file_range, (int in, off64_t *from, int out, off64_t *to, size_t len, unsigned int flags),
      (in, from, out, to, len, flags), -1, EXDEV)

/* The rest. */
FAILS(ssize_t, getrandom, (void *data, size_t len, unsigned int flags), (data, len, flags), -1, ENOSYS)
FAILS(int, sigaction, (int number, const struct sigaction *new, struct sigaction *old), (number, new, old), -1, EINVAL)
FAILS(struct MHD_Response *, MHD_create_response_from_buffer,
      (size_t size, void *data, enum MHD_ResponseMemoryMode mode), (size, data, mode), NULL, ENOMEM)
FAILS(const union MHD_DaemonInfo *, MHD_get_daemon_info,
      (struct MHD_Daemon * daemon, enum MHD_DaemonInfoType type, ...), (daemon, type), NULL, EINVAL)

int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);

/* Nothing here has to survive a power failure, and a disk takes its time. */
int __wrap_fsync(int fd)
{
	(void)fd;
	errno = EIO;
	return call_fails("fsync") ? -1 : 0;
}

int __wrap_fdatasync(int fd)
{
	(void)fd;
	errno = EIO;
	return call_fails("fdatasync") ? -1 : 0;
}

ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);

/* The log may lose a line: that is no error of whoever writes it. */
ssize_t __wrap_write(int fd, const void *data, size_t len)
{
	if (fd != STDERR_FILENO && call_fails("write")) {
		errno = ENOSPC;
		return -1;
	}
	return __real_write(fd, data, len);
}

int __real_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);

int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	if (operation == EPOLL_CTL_ADD && call_fails("epoll_ctl")) {
		errno = ENOSPC;
		return -1;
	}
	return __real_epoll_ctl(epoll, operation, fd, event);
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);

int __wrap_open64(const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;
	int fd;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if (call_fails(strcmp(path, PAGEMAP) ? "open" : "pagemap")) {
		errno = EMFILE;
		return -1;
	}
	if (!strcmp(path, "/dev/kvm"))
		return fake_kvm_open();
	if (!strcmp(path, "/dev/net/tun")) /* what can be watched */
		return (int)syscall(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!strcmp(path, "/proc/self/net/dev")) { /* the tap of a test is in no namespace */
		errno = ENOENT;
		return -1;
	}
	fd = __real_open64(path, flags, mode);
	if (!strcmp(path, PAGEMAP))
		pagemap_fd = fd;
	return fd;
}

ssize_t __real_pread64(int fd, void *data, size_t len, off64_t at);
ssize_t __wrap_pread64(int fd, void *data, size_t len, off64_t at);

ssize_t __wrap_pread64(int fd, void *data, size_t len, off64_t at)
{
	if (call_fails(fd == pagemap_fd ? "pagemap" : "pread64")) {
		errno = EIO;
		return -1;
	}
	return __real_pread64(fd, data, len, at);
}

int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);

int __wrap_fcntl64(int fd, int command, ...)
{
	unsigned long argument;
	va_list ap;

	va_start(ap, command);
	argument = va_arg(ap, unsigned long);
	va_end(ap);
	if (call_fails("fcntl")) {
		errno = EMFILE;
		return -1;
	}
	return __real_fcntl64(fd, command, argument);
}

/* The monitor calls it for KVM and taps only. */
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	void *argument;
	va_list ap;

	(void)fd;
	va_start(ap, request);
	argument = va_arg(ap, void *);
	va_end(ap);
	if (call_fails("ioctl")) {
		failed_request = request;
		errno = EIO;
		return -1;
	}
	/* Userfaultfds are real ones. */
	if (_IOC_TYPE(request) == USERFAULTFD_IOC)
		return __real_ioctl(fd, request, argument);
	return fake_kvm_ioctl(request, argument);
}

void *__real_mmap64(void *at, size_t len, int protection, int flags, int fd, off64_t offset);
void *__wrap_mmap64(void *at, size_t len, int protection, int flags, int fd, off64_t offset);
int __real_munmap(void *at, size_t len);
int __wrap_munmap(void *at, size_t len);

void *__wrap_mmap64(void *at, size_t len, int protection, int flags, int fd, off64_t offset)
{
	void *area;

	if (call_fails("mmap")) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	area = __real_mmap64(at, len, protection, flags, fd, offset);
	if (area != MAP_FAILED && !(flags & MAP_FIXED)) /* else it replaces what was counted */
		atomic_fetch_add(&mapped, (long)len);
	return area;
}

int __wrap_munmap(void *at, size_t len)
{
	atomic_fetch_sub(&mapped, (long)len);
	return __real_munmap(at, len);
}

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *ctx);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *ctx);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *ctx)
{
	return call_fails("pthread_create") ? EAGAIN : __real_pthread_create(thread, attr, fn, ctx);
}

cbor_item_t *__real_cbor_load(cbor_data data, size_t len, struct cbor_load_result *result);
cbor_item_t *__wrap_cbor_load(cbor_data data, size_t len, struct cbor_load_result *result);

cbor_item_t *__wrap_cbor_load(cbor_data data, size_t len, struct cbor_load_result *result)
{
	if (!call_fails("cbor_load"))
		return __real_cbor_load(data, len, result);
	result->error.code = CBOR_ERR_MEMERROR;
	return NULL;
}

/*
 * jansson's parser does not survive a failing malloc() (2.14: load.c, lex_scan_string() goes on with a string that has lost
 * its end). So it fails as a whole, and nothing fails inside it.
 */
json_t *__real_json_loadb(const char *text, size_t len, size_t flags, json_error_t *error);
json_t *__wrap_json_loadb(const char *text, size_t len, size_t flags, json_error_t *error);

json_t *__wrap_json_loadb(const char *text, size_t len, size_t flags, json_error_t *error)
{
	unsigned int to_go;
	json_t *json;

	if (call_fails("json_loadb")) {
		memset(error, 0, sizeof(*error));
		snprintf(error->text, sizeof(error->text), "out of memory");
		return NULL;
	}
	to_go = calls_to_go;
	calls_to_go = 0;
	json = __real_json_loadb(text, len, flags, error);
	calls_to_go = to_go;
	return json;
}

json_t *__wrap_json_loads(const char *text, size_t flags, json_error_t *error);

json_t *__wrap_json_loads(const char *text, size_t flags, json_error_t *error)
{
	return __wrap_json_loadb(text, strlen(text), flags, error);
}

void failing_calls_init(void)
{
	json_set_alloc_funcs(malloc, free);
}
