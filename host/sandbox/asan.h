/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is this a build with AddressSanitizer? It has handlers and alternate stacks of its own, and makes system calls that no
 * list here has: such a build is for finding mistakes, not for guests that one does not trust, and runs without filters.
 */
#ifndef SANDBOX_ASAN_H
#define SANDBOX_ASAN_H

#if defined(__SANITIZE_ADDRESS__)
#define SANDBOX_UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANDBOX_UNDER_ASAN 1
#endif
#endif
#ifndef SANDBOX_UNDER_ASAN
#define SANDBOX_UNDER_ASAN 0
#endif

#endif
