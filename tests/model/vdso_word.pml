/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vDSO's getrandom() while the device itself changes a word of the vDSO's data
 * page (patches/linux-6.12: lib/vdso/getrandom.c, drivers/char/random.c, and
 * rng_leak.c of the driver), in a program that may be preempted anywhere, while the
 * machine is copied between any two steps.
 *
 * vdso.pml has what is without such a word. As there a secret is the number of
 * events that its freshness covers, and what a system call gives is exact: that is
 * what the kernel promises with a VM Generation ID (epoch.pml). So the vDSO must be
 * no worse than that, also in the moments when no event is armed.
 *
 * The device has two leak queues, of which this keeps the copy requests only
 * (leak.pml has all of it): an event uses what the active queue holds, and then the
 * other one is active. Without anything there the event is late: the word does not
 * change until something is added, and its host gets to look at that.
 *
 * A fault is built in with -D; then the assertion must fail. See run-vdso_word.
 */

#ifndef EVENTS
#define EVENTS 2
#endif
#ifndef CALLS
#define CALLS 2	       /* of one thread, with one state */
#endif
#ifndef RESEEDS
#define RESEEDS 1      /* by time alone */
#endif
#ifndef BLIND
#define BLIND 0	       /* 1: another source that the vDSO does not see, and a device that changes no word */
#endif
#ifndef OLD
#define OLD 2	       /* what a device before this one has left in the word */
#endif

#define NONE 2

/* The vDSO's data page. */
byte generation;
byte word;	     /* the device's */
byte armed_word;     /* the value of the word for which an event is armed; the kernel's, as the rest */
bool is_ready;

/* The kernel. */
bool base_lock;
bool registered;
bool armed;

/* The device: requests, what it has used, and its roles. */
bool has[2];
bool used[2];
byte val[2];
byte turn;
byte signalled = NONE;
bool late;
bool device_on;

/* The driver. */
bool pending[2];
byte next;
byte latest;
byte driver_active;

/* Ghosts. */
byte events;
bool listening;	     /* from when random_epoch_register() returns until random_epoch_unregister() is called */
byte known;	     /* events that count, as in vdso.pml */

inline use(i)
{
	word = (BLIND -> word : val[i]);
	has[i] = false;
	used[i] = true
}

inline carry_out()
{
	use(turn);
	signalled = turn;
	turn = 1 - turn
}

/* The machine is copied: all of it happens while it is stopped. */
proctype device()
{
	do
	:: atomic {
		events < EVENTS ->
		events++;
		known = (listening -> events : known);
		if
		:: device_on && has[turn] -> carry_out()
		:: device_on && !has[turn] -> late = true
		:: else
		fi
	   }
	:: break
	od
}

/* The device's host beside the running machine, when it gets to look at a kick. */
proctype host()
{
	do
	:: atomic { device_on && signalled != NONE && has[signalled] -> use(signalled) }
	:: atomic { device_on && late && has[turn] -> late = false; carry_out() }
	:: timeout -> break
	od
}

/* base_lock held. */
inline update_ready()
{
#ifdef FAULT_BLIND_IGNORED
	is_ready = (!registered || armed)
#else
	is_ready = (!registered || (armed && !BLIND))
#endif
}

/* random_epoch_vdso_arm() */
inline vdso_arm(value)
{
	atomic { !base_lock -> base_lock = true };
#ifdef FAULT_WORD_FIRST
	armed_word = value;
	generation++;
#elif defined(FAULT_NO_GENERATION)
	armed_word = value;
#else
	generation++;
	armed_word = value;
#endif
	armed = true;
	update_ready();
	base_lock = false
}

inline vdso_disarm()
{
	atomic { !base_lock -> armed = false; update_ready() }
}

/* leak_arm(): a queue of which something is still with the device is left alone. */
inline arm(i)
{
	if
	:: !pending[i] ->
		next++;
		pending[i] = true;
		atomic { val[i] = next; has[i] = true }
	:: pending[i]
	fi
}

/* leak_update_vdso() */
#ifdef FAULT_UNARMED
#define IS_ARMED true
#else
#define IS_ARMED pending[driver_active]
#endif
inline update_vdso()
{
	if
	:: IS_ARMED ->
#ifdef FAULT_WORD_AS_IT_IS
		seen = word;
		vdso_arm(seen)
#else
		vdso_arm(latest)
#endif
	:: !(IS_ARMED)
	fi
}

inline drain(i)
{
	if
	:: used[i] ->
		used[i] = false;
		pending[i] = false;
		if
		:: val[i] > latest -> latest = val[i]; driver_active = 1 - i
		:: else
		fi
	:: else
	fi
}

proctype driver()
{
	byte seen;

	/* rng_leak_init(): the word is claimed, then the source registered. */
#ifndef FAULT_WORD_OF_OLD
	atomic { word = 0; armed_word = 0 };
#else
	latest = word;
#endif
	registered = true;
	atomic { !base_lock -> base_lock = true };
	generation++;
	update_ready();
	base_lock = false;
	atomic { listening = true; known = events };
	device_on = true;

	/* rng_leak_start(), rng_leak_catch_up() */
	arm(0);
	arm(1);
	update_vdso();

	/* rng_leak_collect(), and what a storm puts off */
	do
	:: used[0] || used[1] ->
		drain(driver_active);
		drain(1 - driver_active);
#ifdef FAULT_ARMED_LATER
		latest = latest;
		vdso_arm(latest);
		arm(driver_active)
#else
		if
		:: arm(driver_active)
		:: true
		fi;
		update_vdso()
#endif
	:: !pending[driver_active] ->
		arm(driver_active);
		update_vdso()
	:: break
	od;

	/* rng_leak_quiesce(), reset, rng_leak_fini() */
#ifndef FAULT_NO_DISARM
	vdso_disarm();
#endif
	device_on = false;
	atomic { listening = false; registered = false };
	atomic { !base_lock -> base_lock = true };
#ifndef FAULT_GOES_QUIETLY
	generation++;
#endif
	armed = false;
	update_ready();
	armed_word = word;
	base_lock = false
}

/* crng_reseed() by time */
proctype kernel()
{
	byte reseeds;

	do
	:: reseeds < RESEEDS -> atomic { !base_lock -> generation++; reseeds++ }
	:: break
	od
}

/* __cvdso_getrandom_data() */
proctype program()
{
	byte state_generation, key, now, seen, should, began, calls;
	bool ready;

	do
	:: calls < CALLS ->
		calls++;
		ready = is_ready;
		seen = word;
		if
		:: !ready || seen != armed_word -> goto fallback
		:: else
		fi;
retry:
		now = generation;
		if
		:: state_generation != now ->
			state_generation = now;
			key = events
		:: else
		fi;
		began = known;
#ifdef FAULT_GENERATION_FIRST
		now = generation;
#endif
		ready = is_ready;
		seen = word;
		should = armed_word;
#ifndef FAULT_GENERATION_FIRST
		now = generation;
#endif
		if
#ifndef FAULT_NO_SECOND_LOOK
		:: !ready || seen != should -> goto fallback
#else
		:: !ready -> goto fallback
#endif
		:: else
		fi;
		if
		:: now != state_generation -> goto retry
		:: else
		fi;
		assert(key >= began);
fallback:
		atomic { now = 0; seen = 0; should = 0; began = 0; ready = false }
	:: break
	od
}

init
{
	atomic {
		generation = 1;
		is_ready = true;
		word = OLD;
		armed_word = OLD;
		run driver();
		run device();
		run host();
		run kernel();
		run program()
	}
}
