/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's random number generator with epochs (patches/linux-6.1, random.c)
 * on two vCPUs, while the machine is copied at most EVENTS times: at any moment,
 * between any two steps, locks held or not.
 *
 * Secrets are not modelled, only what they depend on. Event n gives this copy of
 * the machine a seed that no other copy has; everything derived from it has the
 * freshness n, everything else less. A step of production that began after event
 * n may only contribute to output if its result has freshness n or more: that is
 * the whole promise, and FRESH() asserts it where output is let go. There is one
 * excuse: the epoch has changed MAX_TRIES times while this one call was served.
 *
 * Two more promises: a call extracts and makes at most MAX_TRIES times, however
 * its loops nest; and for each change there is one reseed, not one a vCPU.
 *
 * The names are those of random.c. Local locks need no model: a vCPU is one
 * process. Each statement is one step. What is atomic here is one load or store
 * there, or a section under a lock that touches nothing that anybody looks at
 * without that lock: whether the machine is stopped in the middle of it or before
 * it makes no difference to anyone.
 *
 * Memory is as weak as it matters here. One word is written under base_lock and
 * read without it, the generation: its store waits in a buffer, and becomes visible
 * later, at the latest when the lock is given back. Its load happens before or after
 * those of the words. A device writes while all vCPUs stand still.
 *
 * A fault is built in with -D; then an assertion must fail. See run-epoch.
 */

#ifndef EVENTS
#define EVENTS 2
#endif
#ifndef CALLS
#define CALLS 2	       /* so often a vCPU draws */
#endif
#ifndef RESEEDS
#define RESEEDS 0      /* by time alone, whenever it pleases */
#endif
#ifndef DRIVER
#define DRIVER 0       /* 1: the driver's interrupt handler runs as well */
#endif
#ifndef READY
#define READY 1	       /* 0: the generator has not been seeded yet */
#endif
#ifndef INTEGERS
#define INTEGERS 1     /* vCPUs from this one on draw integers, the others read */
#endif
#ifndef SOURCES
#define SOURCES 1      /* 2: an event changes the word of one of them, or of both */
#endif
#ifndef COMINGS
#define COMINGS 0      /* 1: the second source is unregistered, starts again at 0, and is registered */
#endif
#ifndef MAX_TRIES
#define MAX_TRIES 3    /* RANDOM_EPOCH_TRIES, which is more */
#endif
#ifndef CPUS
#define CPUS 2
#endif
#define BATCH 4	       /* more than are drawn, as in random.c */
#define GONE 4	       /* EPOCH_GONE: more than there are events */
#define NO_GENERATION 255

/* What devices have written: nobody else does, but for the driver's clearing. */
byte word[2];	     /* one for each source */
byte seed[3];	     /* two of the first source, one for each leak queue: freshness, 0 if cleared */

/* struct epoch_set: in one store there is another one. */
byte set_base;
bool set_has_second = true;
byte readers;	     /* of the set, and of what it leads to: RCU */

/* Two locks, the pool, and the base key. */
bool base_lock, pool_lock;
byte pool;
byte base_key, base_epoch, base_generation;
byte reseeds;

/* The store of the next generation, under base_lock, that nobody else can see yet. */
bool generation_waits;

/* One each a vCPU: struct crng, and a batch of integers. */
byte crng_key[CPUS], crng_epoch[CPUS], crng_generation[CPUS];
byte batch_key[CPUS], batch_epoch[CPUS], batch_generation[CPUS], batch_left[CPUS];

/* Ghosts. */
byte events;	     /* so far */
byte moves;	     /* of words, so far */
byte changes;	     /* of the epoch: events, and sources that came or went */
byte reseeds_for_epoch;

#define LOCK(l) atomic { !l -> l = true }
#define UNLOCK(l) l = false
/* Gives base_lock back, and with it all that was written under it. */
#define UNLOCK_BASE atomic { !generation_waits -> base_lock = false }
#define MIX(s) pool = (s > pool -> s : pool)

#define FRESH(key, began) assert(key >= began || changes - at_start >= MAX_TRIES)

/* crng_epoch() */
#if SOURCES == 1
inline read_epoch(sum)
{
	sum = word[0]
}
#elif defined(FAULT_ONE_WORD_LOOKED_AT)
inline read_epoch(sum)
{
	sum = word[1]
}
#else
inline read_epoch(sum)
{
	atomic {
		readers++;
		sum = set_base;
		has_second = set_has_second
	};
	sum = sum + word[0];
	atomic {
		sum = sum + (has_second -> word[1] : 0);
		has_second = false;
		readers--
	}
}
#endif

/* Seeds that the second source has left behind do no harm. */
inline mix_epoch_seeds()
{
	atomic { !pool_lock -> pool_lock = true; MIX(seed[0]) };
	atomic { MIX(seed[1]); MIX(seed[2]); pool_lock = false }
}

/* Reads the epoch, and sees to it that what is extracted afterwards deserves it. */
inline crng_enter_epoch(epoch)
{
#ifdef FAULT_EPOCH_READ_LATE
	mix_epoch_seeds();
	read_epoch(epoch)
#else
	read_epoch(epoch);
	mix_epoch_seeds()
#endif
}

inline extract_entropy(key)
{
	atomic { !pool_lock -> key = pool }
}

/* base_lock is held. */
inline crng_extract_base_key()
{
	crng_enter_epoch(new_epoch);
	extract_entropy(base_key);
	atomic {
		generation_waits = true;
		base_epoch = new_epoch;
		new_epoch = 0
	}
}

/* What is waiting becomes visible. */
proctype memory()
{
end:	do
	:: atomic { generation_waits -> base_generation++; generation_waits = false }
	od
}

inline crng_reseed()
{
	LOCK(base_lock);
	crng_extract_base_key();
	UNLOCK_BASE
}

/* Takes base_lock for whoever has found his key to be old; all vCPUs come here at once. */
inline lock_current_base()
{
	LOCK(base_lock);
	read_epoch(seen);
	if
#ifdef FAULT_NO_SECOND_LOOK
	:: true ->
#else
	:: base_epoch != seen ->
#endif
		atomic {
			seen = 0;
			reseeds_for_epoch++;
			assert(COMINGS || reseeds_for_epoch <= moves)
		};
		crng_extract_base_key()
#ifndef FAULT_NO_SECOND_LOOK
	:: else -> seen = 0
#endif
	fi
}

/* The loads of the generation and of the words, in any order. */
inline look(generation_found)
{
	if
	:: generation_found = base_generation; read_epoch(seen)
	:: read_epoch(seen); generation_found = base_generation
	fi
}

#ifdef FAULT_EPOCH_NOT_INHERITED
#define INHERIT_EPOCH crng_epoch[id] = set_base + word[0]
#else
#define INHERIT_EPOCH crng_epoch[id] = base_epoch
#endif

/* Whether a vCPU's key is of an older epoch. */
#if defined(FAULT_KEY_BY_GENERATION)
#define KEY_IS_OVER false
#elif defined(FAULT_BASE_LOOKED_AT_UNLOCKED)
#define KEY_IS_OVER (seen != base_epoch)
#else
#define KEY_IS_OVER (seen != crng_epoch[id])
#endif

/* Not ready, the generation stays what it never is. */
inline crng_renew_key()
{
	lock_current_base();
	atomic {
		crng_key[id] = base_key;
		crng_generation[id] = (READY -> base_generation + generation_waits : NO_GENERATION); /* its own store */
		INHERIT_EPOCH
	};
	UNLOCK_BASE
}

/*
 * Fast key erasure: key is what the state and the first bytes are made from,
 * began is the last event before that step.
 */
inline crng_make_state()
{
	atomic { made++; assert(made <= MAX_TRIES) };
	if
	:: reseeds < RESEEDS -> reseeds++; crng_reseed()
	:: true
	fi;
	look(generation_seen);
	if
	:: crng_generation[id] != generation_seen || KEY_IS_OVER -> crng_renew_key()
	:: else
	fi;
	atomic {
		seen = 0;
		generation_seen = 0;
		began = events;
		key = crng_key[id];
		epoch = crng_epoch[id]
	}
}

/* crng_epoch_is_over(): whether to try again. The last load and the letting go are one step: what is later is the caller's. */
#ifdef FAULT_NO_CHECK_AFTER
#define over(e, t) again = false
#elif SOURCES == 1
inline over(e, t)
{
	atomic {
		again = (word[0] != e);
		t = (again && t < MAX_TRIES -> t + 1 : t);
		again = again && t < MAX_TRIES
	}
}
#else
inline over(e, t)
{
	read_epoch(seen);
	atomic {
		again = (seen != e);
		seen = 0;
		t = (again && t < MAX_TRIES -> t + 1 : t);
		again = again && t < MAX_TRIES
	}
}
#endif

/*
 * getrandom(), /dev/urandom: the first bytes, or block after block from a state
 * that lives on. Each block is a step of its own; after a page there is a look, and
 * one after all. What is in the caller's hands in the end is all from one epoch,
 * because a read is taken back as a whole.
 */
inline get_random_bytes_user()
{
	skip;
again_user:
	crng_make_state();
	do
	:: began = events /* of this block */
	:: over(epoch, tries);
		if
		:: again -> goto again_user
		:: else -> FRESH(key, began)
		fi
	:: break
	od;
	over(epoch, tries);
	if
	:: again -> goto again_user
	:: else -> FRESH(key, began)
	fi
}

#ifdef FAULT_BUDGETS_NEST
#define INNER_TRIES inner_tries
#else
#define INNER_TRIES tries
#endif

/* get_random_bytes(), and the refill of a batch. */
inline _get_random_bytes()
{
	inner_tries = 0;
retry:
	crng_make_state();
	over(epoch, INNER_TRIES);
	if
	:: again -> goto retry
	:: else -> FRESH(key, began)
	fi
}

#ifdef FAULT_BATCH_BY_GENERATION
#define BATCH_IS_OVER false
#else
#define BATCH_IS_OVER (seen != batch_epoch[id])
#endif
#ifdef FAULT_LET_GO_AS_CURRENT
#define EPOCH_OF_BATCH word[0]
#else
#define EPOCH_OF_BATCH epoch
#endif

#define TAKE atomic { began = events; batch_left[id]-- } /* this is production, too */
#ifdef FAULT_LOOKED_AT_FIRST
#define TAKE_EARLY skip
#define TAKE_LATE TAKE
#else
#define TAKE_EARLY TAKE
#define TAKE_LATE skip
#endif

/* get_random_u32() and the like: from what is left of a batch if that is current, or else begin_batch_u32(). */
inline get_random_integer()
{
	if
	:: batch_left[id] > 0 ->
		TAKE_EARLY;
		look(generation);
		if
		:: generation == batch_generation[id] && !BATCH_IS_OVER ->
			seen = 0;
			TAKE_LATE;
			FRESH(batch_key[id], began);
			goto has_integer
		:: else -> seen = 0
		fi
	:: else
	fi;
begin_batch:
	generation = base_generation;
	_get_random_bytes();
	atomic {
		batch_key[id] = key;
		batch_epoch[id] = EPOCH_OF_BATCH;
		batch_generation[id] = generation;
		batch_left[id] = BATCH
	};
	TAKE;
	over(batch_epoch[id], tries);
	if
	:: again -> goto begin_batch
	:: else -> FRESH(batch_key[id], began)
	fi;
has_integer:
	skip
}

proctype cpu(byte id)
{
	byte key, epoch, began, generation, generation_seen, tries, inner_tries, calls, made, at_start;
	byte new_epoch, seen;
	bool again, has_second;

	do
	:: calls < CALLS ->
		if
		:: id < INTEGERS -> get_random_bytes_user()
		:: else -> get_random_integer()
		fi;
		atomic {
			calls++;
			/* Nothing is left behind: fewer states to search. */
			key = 0; epoch = 0; began = 0; generation = 0; generation_seen = 0;
			new_epoch = 0; seen = 0; tries = 0; inner_tries = 0; made = 0;
			again = false;
			at_start = changes
		}
	:: else -> break
	od
}

/* The machine is copied. No vCPU runs: all that this does is one step for them. */
proctype device()
{
	do
	:: atomic {
			events < EVENTS ->
			events++;
			changes++;
			if
			:: seed[(events - 1) % 2] = events; word[0]++; moves++;
				if
				:: SOURCES == 2 -> seed[2] = events; word[1]++; moves++
				:: true
				fi
			:: SOURCES == 2 && set_has_second -> /* the first source is late */
				seed[2] = events; word[1]++; moves++
			fi
		}
	:: break
	od
}

/* The driver's interrupt handler, some time after: mixes a seed, then clears it. */
proctype driver()
{
	byte q, copy;

	do
	:: q < 2 ->
		if
		:: seed[q] == 0 -> skip /* or it has not looked */
		:: seed[q] > 0 ->
#ifdef FAULT_SEED_CLEARED_FIRST
			atomic { copy = seed[q]; seed[q] = 0 };
			atomic { !pool_lock -> MIX(copy); copy = 0 }
#else
			atomic { !pool_lock -> MIX(seed[q]) };
			seed[q] = 0
#endif
		fi;
		q++
	:: else -> break
	od
}

#ifdef FAULT_WORD_SUBTRACTED
#define KEEP(last) set_base
#else
#define KEEP(last) set_base + last + GONE
#endif

/* random_epoch_unregister(), and random_epoch_register() of a driver that starts anew. */
proctype registrar()
{
	byte last, base;

	atomic { last = word[1]; base = KEEP(last) };
#ifdef FAULT_SET_IN_TWO_STORES
	set_has_second = false;
	atomic { set_base = base; changes++; last = 0; base = 0 };
#else
	atomic { set_base = base; set_has_second = false; changes++; last = 0; base = 0 };
#endif
	readers == 0; /* synchronize_rcu() */
	word[1] = 0;
#ifdef FAULT_WORD_SUBTRACTED
	atomic { set_has_second = true; changes++ }
#else
	atomic { set_base++; set_has_second = true; changes++ }
#endif
}

init
{
	byte i;

	atomic {
		word[1] = SOURCES - 1; /* the second one has counted before */
		base_epoch = word[1];
		for (i : 0 .. CPUS - 1) {
			crng_generation[i] = (READY && i == 0 -> 0 : NO_GENERATION); /* one has no key yet */
			crng_epoch[i] = word[1];
			batch_epoch[i] = word[1];
			batch_left[i] = BATCH;
			run cpu(i)
		}
		i = 0;
		run device();
		run memory();
		if
		:: COMINGS -> run registrar()
		:: else
		fi;
		if
		:: DRIVER -> run driver()
		:: else
		fi
	}
}
