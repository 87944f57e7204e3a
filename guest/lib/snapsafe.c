// SPDX-License-Identifier: Apache-2.0
/*
 * The small functions of the library: generation, identity, tokens.
 */
#include "snapsafe_inline.h"

#include <errno.h>
#include <string.h>

#include "handle.h"
#include "process.h"

#define LIBRARY_VERSION "1.1.0"

const char *snapsafe_version(void)
{
	return LIBRARY_VERSION;
}

uint64_t snapsafe_generation(struct snapsafe *s)
{
	return sns_source_generation(&sns_handle(s)->source);
}

int snapsafe_identity(struct snapsafe *s, unsigned char *id)
{
	s = sns_handle(s);
	if (s->source.kind == SNS_SOURCE_NONE)
		return -ENODEV;
	return sns_source_identity(&s->source, id) ? 0 : -ENOTSUP;
}

static unsigned int handle_features(struct snapsafe *s)
{
	uint64_t generation = sns_source_generation(&s->source);
	uint8_t id[SNAPSAFE_PAGE_IDENTITY_LEN];
	unsigned int features = 0;

	if (s->source.map)
		features |= SNAPSAFE_F_MAPPED;
	if (sns_source_identity(&s->source, id))
		features |= SNAPSAFE_F_IDENTITY;
	if (sns_source_is_reseeded(&s->source, generation)) {
		features |= SNAPSAFE_F_RESEEDED;
		if (sns_source_is_watched(&s->source) && s->pool.slots)
			features |= SNAPSAFE_F_BUFFERED;
	}
	if (s->vdso)
		features |= SNAPSAFE_F_VDSO;
	return features;
}

int snapsafe_get_info(struct snapsafe *s, struct snapsafe_info *info)
{
	if (info->size < sizeof(*info))
		return -EINVAL;
	s = sns_handle(s);
	(void)sns_source_generation(&s->source); /* finds out whether it is lost */
	info->state = sns_handle_state(s);
	info->features = handle_features(s);
	info->error = info->state == SNAPSAFE_ABSENT ? atomic_load(&s->error) : 0;
	info->path = s->path;
	return 0;
}

/* The generation comes first: reading it may find out that a file is lost. */
struct snapsafe_token snapsafe_token(struct snapsafe *s)
{
	struct snapsafe_token token;

	s = sns_handle(s);
	token.generation = sns_source_generation(&s->source);
	token.process = sns_process_number();
	token.handle = s->number;
	token.state = sns_handle_state(s);
	atomic_signal_fence(memory_order_seq_cst);
	return token;
}

int snapsafe_holds(struct snapsafe *s, const struct snapsafe_token *token)
{
	struct snapsafe_token now;

	atomic_signal_fence(memory_order_seq_cst);
	now = snapsafe_token(s);
	return now.generation == token->generation && now.process == token->process && now.handle == token->handle &&
	       now.state == token->state;
}

int snapsafe_check(struct snapsafe *s, const struct snapsafe_token *token)
{
	if (!snapsafe_holds(s, token))
		return 0;
	return token->state == SNAPSAFE_ACTIVE ? 1 : -ENODEV;
}

int snapsafe_words(struct snapsafe *s, struct snapsafe_words *words)
{
	static const uint64_t zero;

	if (words->size < sizeof(*words))
		return -EINVAL;
	s = sns_handle(s);
	if (s->source.kind == SNS_SOURCE_NONE)
		return -ENODEV;
	if (!s->source.map || !sns_process_word())
		return -ENOTSUP;
	words->generation = s->source.word;
	words->unwatched = s->source.kind == SNS_SOURCE_PAGE ? (const uint64_t *)&s->source.page->unwatched : &zero;
	words->process = sns_process_word();
	words->handle = s->number;
	return 0;
}
