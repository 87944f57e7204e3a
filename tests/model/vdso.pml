/* SPDX-License-Identifier: Apache-2.0 */
/*
 * getrandom() of the vDSO (patches/linux-6.12, lib/vdso/getrandom.c) in a program
 * that may be preempted anywhere, while an epoch source comes and goes and the
 * machine is copied: at any moment, between any two steps.
 *
 * As in epoch.pml a secret is what it depends on: the number of events that this
 * copy of the machine alone has had until the secret was made. The kernel's own
 * output is exact, which epoch.pml shows; so whatever a system call gives has the
 * freshness of that moment. What is asked here is whether the vDSO, which has its
 * key in the program's memory and sees no source's word, lets bytes go that were
 * made after an event from a key of before it.
 *
 * An event that happens while no source is there reaches nobody. It counts from
 * the moment when random_epoch_register() returns: the seed of the source that
 * comes is fresh, and nothing older may be let go from then on.
 *
 * A fault is built in with -D; then the assertion must fail. See run-vdso.
 */

#ifndef EVENTS
#define EVENTS 2
#endif
#ifndef COMINGS
#define COMINGS 2      /* so often a source comes, and goes again */
#endif
#ifndef CALLS
#define CALLS 2	       /* of one thread, with one state: what is left in it serves the next one */
#endif
#ifndef RESEEDS
#define RESEEDS 1      /* by time alone */
#endif
#ifndef READY
#define READY 1	       /* 0: the generator gets ready while the program runs */
#endif

/* The vDSO's data page: what the kernel has stored and everybody sees. */
byte generation;
bool is_ready;

/* The kernel. */
bool base_lock;
byte pool;	     /* freshness of what the system call gives without a source */
byte sources;	     /* in the epoch set: 0 or 1 */
bool vdso_off;	     /* the same, but changed under base_lock only */
bool crng_ready;

/* Ghosts. */
byte events;	     /* so far */
bool listening;	     /* between random_epoch_register() and random_epoch_unregister() */
byte known;	     /* events that count */

/* base_lock held. Its store of the generation is a release: who sees it sees what was done before. */
inline crng_extract_base_key()
{
	generation++
}

/*
 * vdso_switch(), base_lock held. Whoever finds the generation of this moment finds
 * the vDSO off, if it is to be off.
 */
inline vdso_switch()
{
#ifdef FAULT_OFF_LAST
	crng_extract_base_key();
	is_ready = !vdso_off
#else
	is_ready = (vdso_off -> false : is_ready);
#ifndef FAULT_NO_GENERATION
	crng_extract_base_key();
#endif
	is_ready = !vdso_off
#endif
}

/* vdso_follow_sources() */
inline vdso_follow_sources()
{
	atomic { !base_lock -> base_lock = true; vdso_off = (sources > 0) };
	if
	:: crng_ready -> vdso_switch()
	:: else
	fi;
	base_lock = false
}

/* A driver is bound and unbound, and so on. */
proctype registrar()
{
	byte comings;

	do
	:: comings < COMINGS ->
		sources = 1; /* random_epoch_register(): the set is published */
#ifndef FAULT_STAYS_ON
		vdso_follow_sources();
#endif
		/* It returns. What came before it has a fresh seed against it now. */
		atomic { listening = true; known = events; pool = events };
		/* random_epoch_unregister(): the seeds stay in the pool. */
		atomic { listening = false; pool = events; sources = 0 };
		vdso_follow_sources();
		comings++
	:: break
	od
}

/* The machine is copied. */
proctype device()
{
	do
	:: atomic { events < EVENTS -> events++; known = (listening -> events : known) }
	:: break
	od
}

/* crng_reseed() by time, and credit_init_bits() if the generator was not ready. */
proctype kernel()
{
	byte reseeds;

	if
	:: !crng_ready ->
		crng_ready = true;
		atomic { !base_lock -> base_lock = true };
		vdso_switch();
		base_lock = false
	:: else
	fi;
	do
	:: reseeds < RESEEDS ->
		atomic { !base_lock -> crng_extract_base_key(); reseeds++ }
	:: break
	od
}

/* The system call: a source that comes or goes makes a new epoch, so what it has left in the pool is in the key. */
inline getrandom_syscall(key)
{
	atomic { key = (sources -> events : pool) }
}

/* __cvdso_getrandom_data() */
proctype program()
{
	byte state_generation, key, current_generation, seen, began, calls;

	do
	:: calls < CALLS ->
		calls++;
#ifdef FAULT_LOOKS_FIRST
		if
		:: !is_ready -> goto fallback
		:: is_ready
		fi;
#endif
retry:
		current_generation = generation;
		if
		:: state_generation != current_generation ->
#if !defined(FAULT_NO_LOOK) && !defined(FAULT_LOOKS_FIRST)
			if
			:: !is_ready -> goto fallback
			:: is_ready
			fi;
#endif
#ifdef FAULT_KEY_FIRST
			getrandom_syscall(key);
			current_generation = generation;
			state_generation = current_generation
#else
			state_generation = current_generation;
			getrandom_syscall(key)
#endif
		:: state_generation == current_generation
		fi;
		/* Bytes are made from the key, or copied from what is left of a batch that was. */
		began = known;
		seen = generation;
		if
		:: seen != state_generation ->
			if
			:: goto retry
			:: goto forget /* it has done so once */
			fi
		:: seen == state_generation
		fi;
		assert(key >= began);
		goto fallback;
forget:
		state_generation = 0;
fallback:
		atomic { current_generation = 0; seen = 0; began = 0 }
	:: break
	od
}

init
{
	atomic {
		generation = 1; /* 0 is that of a state that was never filled */
		crng_ready = READY;
		is_ready = READY;
		run registrar();
		run device();
		run kernel();
		run program()
	}
}
