/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What snapsafe_check() looks at, for those who cannot afford the call: three
 * loads, as crypto libraries do it with the word of /dev/sysgenid. Since 1.1.
 *
 *	static struct snapsafe_words words = { .size = sizeof(words) };
 *
 *	have_words = snapsafe_words(NULL, &words) == 0; // once
 *	...
 *	if (!(have_words && snapsafe_check_inline(&words, &key->token)) && snapsafe_check(NULL, &key->token) != 1)
 *		make_key_again(key);
 */
#ifndef SNAPSAFE_INLINE_H
#define SNAPSAFE_INLINE_H

#include "snapsafe.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * They are mapped for as long as the handle is open; those of the default handle
 * for as long as the process lives.
 */
struct snapsafe_words {
	size_t size;		    /* set by the caller: sizeof(struct snapsafe_words) */
	const uint64_t *generation; /* moves with every leak */
	const uint64_t *unwatched;  /* not 0 while nobody would move it */
	const uint64_t *process;    /* 0 in a forked child, then another number */
	uint32_t handle;
};

/*
 * snapsafe_words() - where these words are (since 1.1). Signal-safe.
 * @words: words->size must be set; untouched on errors
 *
 * Returns 0; -ENODEV without a counter; -ENOTSUP if it is not mapped; -EINVAL if
 * words->size is smaller than in version 1.1.
 */
int snapsafe_words(struct snapsafe *s, struct snapsafe_words *words) SNAPSAFE_MUST_CHECK;

#if defined(__GNUC__)
/*
 * snapsafe_check_inline() - three loads. Signal-safe.
 *
 * Returns 1 where snapsafe_check() would for the same handle. After a 0 that one
 * has the reason; where it says 1, snapsafe_words() must be called again.
 */
static inline int snapsafe_check_inline(const struct snapsafe_words *words, const struct snapsafe_token *token)
{
	int same;

	__atomic_signal_fence(__ATOMIC_SEQ_CST); /* what was made comes before */
#if __SIZEOF_LONG__ == 8
	same = __atomic_load_n(words->generation, __ATOMIC_ACQUIRE) == token->generation &&
	       __atomic_load_n(words->process, __ATOMIC_ACQUIRE) == token->process &&
	       !__atomic_load_n(words->unwatched, __ATOMIC_ACQUIRE);
#else
	/* Words are written by a 32-bit kernel's word, or, the process's, never reach 2^32. */
	same = __atomic_load_n((const uint32_t *)words->generation, __ATOMIC_ACQUIRE) == (uint32_t)token->generation &&
	       __atomic_load_n((const uint32_t *)words->process, __ATOMIC_ACQUIRE) == (uint32_t)token->process &&
	       !__atomic_load_n((const uint32_t *)words->unwatched, __ATOMIC_ACQUIRE);
#endif
	return same && token->handle == words->handle && token->state == (uint32_t)SNAPSAFE_ACTIVE;
}
#endif

#ifdef __cplusplus
}
#endif

#endif /* SNAPSAFE_INLINE_H */
