/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libsnapsafe: programs that notice when their machine was snapshotted or
 * restored, and random bytes that are never the same in two machines.
 *
 * Every function that takes a handle accepts NULL: the process's default
 * handle. The library looks for it once, before main(); it needs no closing, and
 * costs nothing where there is no device; the program then behaves as one
 * without this library. See snapsafe_init() for devices that come later.
 *
 * Errors are negative errno values. No function ends the process, installs a
 * signal handler, starts a thread, or prints. All functions may be called from
 * any thread; those marked "signal-safe" from signal handlers, too. After
 * fork() a child goes on using the handles of its parent.
 *
 * System calls
 * ------------
 * For filters (seccomp): what each function may call, by the names of Linux on
 * x86_64. tests/libsnapsafe/test_filter.c runs each row under a filter of just that row.
 *
 *	snapsafe_version	none
 *	snapsafe_generation	none
 *	snapsafe_identity	none
 *	snapsafe_get_info	none
 *	snapsafe_token		none
 *	snapsafe_holds		none
 *	snapsafe_check		none
 *	snapsafe_words		none (snapsafe_inline.h)
 *	snapsafe_random		getrandom
 *	snapsafe_on_change	futex fstat newfstatat timerfd_gettime epoll_ctl close
 *	snapsafe_off_change	futex fstat newfstatat timerfd_gettime epoll_ctl close
 *	snapsafe_fd		epoll_create1 timerfd_create timerfd_settime openat poll pread64 read,
 *				and those of snapsafe_on_change
 *	snapsafe_dispatch	those of snapsafe_fd
 *	snapsafe_wait		those of snapsafe_fd
 *	snapsafe_init		access fcntl fstatfs getrandom madvise mlock2 mmap munmap pipe2 write,
 *				and those of snapsafe_fd
 *	snapsafe_open		those of snapsafe_init
 *	snapsafe_close		munmap and those of snapsafe_on_change
 *
 * More are called, by any function that takes a handle, in two cases:
 *  - a counter that is not mapped (SNAPSAFE_F_MAPPED) is read: fstat newfstatat pread64
 *  - getrandom() is a call of the vDSO (SNAPSAFE_F_VDSO): for a thread's first random
 *    bytes the C library makes memory: mmap munmap rt_sigprocmask sched_getaffinity futex
 * The clock for snapsafe_random() and snapsafe_wait() is read through the vDSO;
 * where the machine has none, by clock_gettime.
 *
 * What it cannot do: bytes that left a function of this library before a
 * snapshot, and are used after it, are in both machines. Only the program that
 * uses them can see to that: see snapsafe_token().
 */
#ifndef SNAPSAFE_H
#define SNAPSAFE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SNAPSAFE_MUST_CHECK __attribute__((warn_unused_result))
#else
#define SNAPSAFE_MUST_CHECK
#endif

struct snapsafe; /* a handle: one generation counter */

/* How much a handle's answers are worth. */
enum snapsafe_state {
	SNAPSAFE_ABSENT = 0,	/* there is no counter; nothing will be noticed */
	SNAPSAFE_ACTIVE = 1,	/* every leak is noticed */
	SNAPSAFE_UNWATCHED = 2, /* the counter is there, but its device or driver is gone: nothing will be noticed */
	SNAPSAFE_LOST = 3,	/* the counter itself is gone; nothing will be noticed */
};

/* What a handle can do: snapsafe_info.features. */
#define SNAPSAFE_F_MAPPED   (1u << 0) /* the generation is a load; otherwise each look is a system call */
#define SNAPSAFE_F_IDENTITY (1u << 1) /* the machine has an identity now */
#define SNAPSAFE_F_BUFFERED \
	(1u << 2) /* small random requests come from a buffer; otherwise from the kernel each time */
#define SNAPSAFE_F_RESEEDED (1u << 3) /* the kernel says that its generator is fresh in this generation */
#define SNAPSAFE_F_VDSO	    (1u << 4) /* getrandom() needs no system call here, so nothing is buffered (since 1.1) */

struct snapsafe_info {
	size_t size; /* set by the caller: sizeof(struct snapsafe_info) */
	enum snapsafe_state state;
	unsigned int features; /* SNAPSAFE_F_* */
	int error;	       /* ABSENT: why (negative errno); otherwise 0 */
	const char *path;      /* of the counter, "" if ABSENT; good until the handle is closed */
};

#define SNAPSAFE_IDENTITY_LEN 16

/*
 * A moment in the life of this process. Fields are the library's business; a
 * token may be copied, and compares to nothing.
 */
struct snapsafe_token {
	uint64_t generation;
	uint64_t process;
	uint32_t handle;
	uint32_t state;
};

/*
 * snapsafe_version() - the library's version as text, "1.1.0". Signal-safe.
 */
const char *snapsafe_version(void);

/*
 * snapsafe_init() - looks for this machine's counter again (since 1.1)
 *
 * The default handle is looked for before main(), and never again unless asked:
 * call this after the driver's module was loaded, or loaded again. Does nothing
 * where the default handle has a counter that somebody watches. Tokens that were
 * taken before a new one was found do not hold.
 *
 * Returns 0 if the default handle now notices leaks; else what snapsafe_open()
 * says, or -ENODEV if nobody watches the counter that is there.
 */
int snapsafe_init(void);

/*
 * snapsafe_open() - a handle of one's own
 * @ret: where to put it; untouched on errors
 * @path: a counter file, or NULL for this machine's first one: the variable
 *	SNAPSAFE_DEVICE (ignored in setuid programs; "none" for no device), else
 *	/sys/virtio-rng/virtio_rng.N/vm_gen_counter with the lowest N, else
 *	/dev/vmclock0 or 1 if it counts generations (since 1.1), else
 *	/dev/sysgenid
 *
 * Returns 0; -ENOENT or -ENODEV if there is none; -EACCES; -EINVAL if the file
 * is too short or cannot be a counter; -ENOMEM.
 *
 * Only memory that cannot vanish is mapped: pages that the driver marks so,
 * VMClock and SysGenID devices, memory files sealed with F_SEAL_SHRINK. Any
 * other file is read at each look: slower, but never a SIGBUS.
 */
int snapsafe_open(struct snapsafe **ret, const char *path) SNAPSAFE_MUST_CHECK;

/*
 * snapsafe_close() - gives a handle back; no thread may be using it
 * @s: from snapsafe_open(); NULL does nothing
 */
void snapsafe_close(struct snapsafe *s);

/*
 * snapsafe_get_info() - what this handle is and can do, now. Signal-safe.
 * @info: info->size must be set; fields beyond it are not touched
 *
 * Returns 0, or -EINVAL if info->size is smaller than in version 1.0.
 */
int snapsafe_get_info(struct snapsafe *s, struct snapsafe_info *info);

/*
 * snapsafe_generation() - the number of this machine's generation. Signal-safe.
 *
 * One load from the mapped page. It changes with every leak before the first
 * instruction runs afterwards; compare for equality only. 0 where there is no
 * counter; the last value if it is lost.
 */
uint64_t snapsafe_generation(struct snapsafe *s);

/*
 * snapsafe_identity() - 128 bits that no other machine has. Signal-safe.
 * @id: SNAPSAFE_IDENTITY_LEN bytes
 *
 * Clones of one snapshot have equal generations, but different identities: the
 * identity changes with the generation (abi/snapsafe_page.h names the moments in
 * which neither has changed yet). It is public: every program in the machine
 * can read it. Not a secret, not a key.
 *
 * Returns 0; -ENODEV without a counter; -ENOTSUP if the counter has no identity.
 */
int snapsafe_identity(struct snapsafe *s, unsigned char *id) SNAPSAFE_MUST_CHECK;

/*
 * snapsafe_random() - random bytes for secrets, keys, nonces. Signal-safe.
 *
 * They come from the kernel's generator and are of the generation that is
 * current when the function returns. Where getrandom() needs no system call
 * (SNAPSAFE_F_VDSO) small requests get its bytes as they are; elsewhere they go
 * through a buffer for each thread, if the counter is mapped. What was prepared
 * before a leak, inherited by fork(), or is older than a minute, is thrown away.
 * While the kernel has not reseeded in this generation the machine's identity is
 * mixed in, so clones differ even then. Blocks, as getrandom(2) does, until the
 * kernel has been seeded.
 *
 * Returns 0; what getrandom(2) failed with (-ENOSYS, -EPERM under a strict
 * seccomp filter); -EAGAIN if the counter does not stand still long enough.
 * @buf is all zeros then, and must not be used.
 */
int snapsafe_random(struct snapsafe *s, void *buf, size_t len) SNAPSAFE_MUST_CHECK;

/*
 * snapsafe_token() - remembers this moment. Signal-safe.
 *
 * Take it before making something that must be unique (a key, a nonce, a
 * number, a lease); ask snapsafe_holds() as the last thing before the result
 * leaves the process, and throw the result away if it does not hold:
 *
 *	do {
 *		token = snapsafe_token(NULL);
 *		make(&message);
 *	} while (!snapsafe_holds(NULL, &token));
 *	send(&message);
 *
 * What remains is the time between the answer and the end of send(): a protocol
 * that can, should carry snapsafe_identity() or detect the double on the other
 * side.
 */
struct snapsafe_token snapsafe_token(struct snapsafe *s);

/*
 * snapsafe_holds() - whether this is still the machine and the process of the
 * token. Signal-safe.
 *
 * Returns 1 if there was no leak, no fork() in between, and the counter has not
 * been lost, left unwatched or replaced since; 0 otherwise. Where nobody watches
 * a counter only fork() is noticed, and the answer is 1: snapsafe_check() tells.
 */
int snapsafe_holds(struct snapsafe *s, const struct snapsafe_token *token) SNAPSAFE_MUST_CHECK;

/*
 * snapsafe_check() - snapsafe_holds() with a third answer (since 1.1). Signal-safe.
 *
 * Returns 1: there was no leak and no fork(); 0: there was one, or the counter
 * has changed; -ENODEV: there was no fork(), but nobody can know about leaks, as
 * there is no counter, it was lost, or nobody watches it. Who would rather do
 * without a secret than use it twice demands 1, and not in a loop: -ENODEV stays.
 */
int snapsafe_check(struct snapsafe *s, const struct snapsafe_token *token) SNAPSAFE_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#include "snapsafe_watch.h"

#endif /* SNAPSAFE_H */
