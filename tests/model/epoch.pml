/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's random number generator with epochs (patches/linux-6.1, random.c)
 * on two vCPUs, while the machine is copied at most EVENTS times: at any moment,
 * between any two steps, locks held or not.
 *
 * Secrets are not modelled, only what they depend on. Event n gives this copy of
 * the machine a seed that no other copy has; everything derived from it has the
 * freshness n, everything else less. A step of production that began in epoch n
 * may only contribute to output if its result has freshness n or more: that is
 * the whole promise, and FRESH() asserts it where output is let go.
 *
 * The names are those of random.c. Local locks need no model: a vCPU is one
 * process. Each statement is one step. What is atomic here is one load or store
 * there, or a section under a lock that touches nothing that anybody looks at
 * without that lock: whether the machine is stopped in the middle of it or before
 * it makes no difference to anyone.
 *
 * A fault is built in with -D; then the assertion must fail. See run-epoch.
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
#define CPUS 2
#define MAX_TRIES 3    /* more than enough; random.c lets go after 32 in any case */
#define BATCH 4	       /* more than that, as in random.c */

/* What devices have written: nobody else does, but for the driver's clearing. */
byte word;	     /* the epoch */
byte seed[2];	     /* one for each leak queue: its freshness, 0 if cleared */

/* Two locks, the pool, and the base key. */
bool base_lock, pool_lock;
byte pool;
byte base_key, base_epoch, base_generation;
byte reseeds;

/* One each a vCPU: struct crng, and a batch of integers. */
byte crng_key[CPUS], crng_epoch[CPUS], crng_generation[CPUS];
byte batch_key[CPUS], batch_epoch[CPUS], batch_generation[CPUS], batch_left[CPUS];

#define LOCK(l) atomic { !l -> l = true }
#define UNLOCK(l) l = false
#define MIX(s) pool = (s > pool -> s : pool)

#define FRESH(key, began) assert(key >= began)

inline mix_epoch_seeds()
{
	atomic { !pool_lock -> pool_lock = true; MIX(seed[0]) };
	atomic { MIX(seed[1]); pool_lock = false }
}

/* Reads the epoch, and sees to it that what is extracted afterwards deserves it. */
inline crng_enter_epoch(epoch)
{
#ifdef FAULT_EPOCH_READ_LATE
	mix_epoch_seeds();
	epoch = word
#else
	epoch = word;
	mix_epoch_seeds()
#endif
}

inline extract_entropy(key)
{
	atomic { !pool_lock -> key = pool }
}

inline crng_reseed()
{
#ifdef FAULT_EPOCH_BEFORE_KEY
	atomic { !base_lock -> base_epoch = word };
	mix_epoch_seeds();
	extract_entropy(new_key);
	atomic { !base_lock -> base_lock = true; base_key = new_key };
	atomic { base_generation++; UNLOCK(base_lock) }
#else
	do
	:: crng_enter_epoch(new_epoch);
		extract_entropy(new_key);
		if
		:: atomic { !base_lock && word == new_epoch -> base_lock = true; base_key = new_key; break }
		:: atomic { !base_lock && word != new_epoch }
		fi
	od;
#ifdef FAULT_EPOCH_BEFORE_GENERATION
	base_epoch = new_epoch;
	atomic { base_generation++; UNLOCK(base_lock) }
#else
	base_generation++;
	atomic { base_epoch = new_epoch; UNLOCK(base_lock) }
#endif
#endif
}

#ifdef FAULT_EPOCH_NOT_INHERITED
#define INHERIT_EPOCH crng_epoch[id] = word
#else
#define INHERIT_EPOCH crng_epoch[id] = base_epoch
#endif

/*
 * Fast key erasure: key is what the state and the first bytes are made from,
 * began is the epoch in which that step began.
 */
inline crng_make_state()
{
	if
	:: !READY ->
		LOCK(base_lock);
		if
		:: base_epoch != word ->
			crng_enter_epoch(new_epoch);
			extract_entropy(base_key);
			base_epoch = new_epoch
		:: else
		fi;
		atomic {
			began = word;
			key = base_key;
			epoch = base_epoch;
			UNLOCK(base_lock)
		}
	:: else ->
		if
		:: base_epoch != word -> crng_reseed()
		:: reseeds < RESEEDS -> reseeds++; crng_reseed()
		:: base_epoch == word
		fi;
		if
		:: crng_generation[id] != base_generation ->
			atomic {
				!base_lock ->
				crng_key[id] = base_key;
				crng_generation[id] = base_generation;
				INHERIT_EPOCH
			}
		:: else
		fi;
		atomic {
			began = word;
			key = crng_key[id];
			epoch = crng_epoch[id]
		}
	fi
}

/* The last look and the letting go are one step: what comes later is the caller's. */
#ifdef FAULT_NO_CHECK_AFTER
#define EPOCH_IS_OVER(epoch) false
#else
#define EPOCH_IS_OVER(epoch) (word != epoch && tries < MAX_TRIES)
#endif

/*
 * getrandom(), /dev/urandom: the first bytes, or block after block from a state
 * that lives on. Each block is a step of its own. What is in the caller's hands in
 * the end is all from one epoch, because a read is taken back as a whole.
 */
inline get_random_bytes_user()
{
	skip;
again:
	crng_make_state();
	do
	:: began = word; /* of this block */
		if
		:: atomic { EPOCH_IS_OVER(epoch) -> tries++; goto again }
		:: atomic { else -> FRESH(key, began) }
		fi
	:: break
	od;
	if
	:: atomic { EPOCH_IS_OVER(epoch) -> tries++; goto again }
	:: atomic { else -> FRESH(key, began) }
	fi
}

/* get_random_bytes(), and the refill of a batch. */
inline _get_random_bytes()
{
	skip;
retry:
	crng_make_state();
	if
	:: atomic { EPOCH_IS_OVER(epoch) -> tries++; goto retry }
	:: atomic { else -> FRESH(key, began) }
	fi
}

#ifdef FAULT_BATCH_BY_GENERATION
#define BATCH_IS_OVER false
#else
#define BATCH_IS_OVER (word != batch_epoch[id])
#endif

/* get_random_u32() and the like, from what is left of a batch if that is current. */
inline get_random_integer()
{
	skip;
refill:
	generation = base_generation;
	if
	:: batch_left[id] == 0 || generation != batch_generation[id] || BATCH_IS_OVER ->
		_get_random_bytes();
		atomic {
			batch_key[id] = key;
			batch_epoch[id] = epoch;
			batch_generation[id] = generation;
			batch_left[id] = BATCH
		}
	:: else
	fi;
	atomic { began = word; batch_left[id]-- }; /* this is production, too */
	if
	:: atomic { EPOCH_IS_OVER(batch_epoch[id]) -> tries++; goto refill }
	:: atomic { else -> FRESH(batch_key[id], began) }
	fi
}

proctype cpu(byte id)
{
	byte key, epoch, began, generation, tries, calls;
	byte new_key, new_epoch;

	do
	:: calls < CALLS ->
		if
		:: id < INTEGERS -> get_random_bytes_user()
		:: else -> get_random_integer()
		fi;
		atomic {
			calls++;
			/* Nothing is left behind: fewer states to search. */
			key = 0; epoch = 0; began = 0;
			generation = 0; new_key = 0; new_epoch = 0; tries = 0
		}
	:: else -> break
	od
}

/* The machine is copied. No vCPU runs: all that this does is one step for them. */
proctype device()
{
	byte n;

	do
	:: atomic {
			n < EVENTS ->
			n++;
			seed[(n - 1) % 2] = n;
			word = n
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

init
{
	byte i;

	atomic {
		for (i : 0 .. CPUS - 1) {
			crng_generation[i] = 255 * i; /* one has no key yet */
			batch_left[i] = BATCH;
			run cpu(i)
		}
		i = 0;
		run device();
		if
		:: DRIVER -> run driver()
		:: else
		fi
	}
}
