/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vDSO's getrandom() while the device itself changes the generation on the vDSO's
 * data page (patches/linux-6.12: lib/vdso/getrandom.c, drivers/char/random.c, and
 * rng_leak.c of the driver), in a program that may be preempted anywhere, while the
 * machine is copied between any two steps.
 *
 * vdso.pml has what is without that. As there a secret is the number of events that
 * its freshness covers, and what a system call gives is exact: that is what the
 * kernel promises with a VM Generation ID (epoch.pml). So the vDSO must be no worse
 * than that, also in the moments when no event is armed.
 *
 * The device has two leak queues, of which this keeps the copy requests only
 * (leak.pml has all of it): an event uses what the active queue holds, and then the
 * other one is active. Without anything there the event is late: the generation does
 * not change until something is added, and its host gets to look at that.
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
#ifndef CLOCK
#define CLOCK 0	       /* 1: another source that the vDSO sees itself, a counter of the hypervisor's, which is never late */
#endif
#ifndef COMINGS
#define COMINGS 1      /* so often the driver comes, and goes again; it counts from the start each time */
#endif

#define NONE 2

/* The vDSO's data page. The device writes a generation that nobody uses, and that tells which event it was. */
byte generation;
bool is_ready;
#define TOLD(value) (100 + value)
#define IS_TOLD(generation) (generation >= 100 && generation < 200)

/* The kernel. */
bool base_lock;
bool registered;
bool armed;
byte own_generation = 1;
byte handled;	     /* what the device has written, and the driver has dealt with */

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

/* The hypervisor's counter, of which the vDSO adds up so much that no sum comes again. */
byte clock;
#define CLOCKED (CLOCK -> 20 * clock : 0)

/* Ghosts. */
byte events;
bool listening;	     /* from when random_epoch_register() returns until random_epoch_unregister() is called */
byte known;	     /* events that count, as in vdso.pml */

inline use(i)
{
	generation = (BLIND -> generation : TOLD(val[i]));
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
		clock++;
		known = ((listening || CLOCK) -> events : known);
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

/* base_lock held. What the device has written stays until its driver has dealt with that. */
inline crng_extract_base_key()
{
	own_generation++;
	atomic {
		generation =
#ifdef FAULT_OVERWRITES
			own_generation
#else
			(!IS_TOLD(generation) || generation == handled -> own_generation : generation)
#endif
	}
}

#ifdef FAULT_BLIND_IGNORED
#define SEES_ALL (!registered || armed)
#else
#define SEES_ALL (!registered || (armed && !BLIND))
#endif

/* vdso_switch(), base_lock held */
inline vdso_switch()
{
	is_ready = (SEES_ALL -> is_ready : false);
#ifndef FAULT_NO_GENERATION
	crng_extract_base_key();
#endif
	is_ready = SEES_ALL
}

/* random_epoch_vdso_arm() */
inline vdso_arm(value)
{
	atomic { !base_lock -> base_lock = true };
#ifdef FAULT_WHATEVER_IT_IS
	handled = generation;
#else
	handled = TOLD(value);
#endif
	armed = true;
	vdso_switch();
	base_lock = false
}

inline vdso_disarm()
{
	atomic { !base_lock -> base_lock = true };
	armed = false;
	vdso_switch();
	base_lock = false
}

/* random_epoch_vdso_claim(), and when it is given back: the device writes nothing now. */
inline vdso_forget()
{
	atomic { !base_lock -> base_lock = true };
	handled = generation;
	armed = false;
	vdso_switch();
	handled = 0;
	base_lock = false
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

/* leak_arm_active() */
#ifdef FAULT_UNARMED
#define IS_ARMED true
#else
#define IS_ARMED pending[driver_active]
#endif
inline update_vdso()
{
	if
	:: IS_ARMED -> vdso_arm(latest)
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
	byte comings;

	do
	:: comings < COMINGS ->
		comings++;
		/* The device was reset. rng_leak_init(): the word is claimed, then the source registered. */
		atomic {
			next = 0; latest = 0; driver_active = 0;
			turn = 0; signalled = NONE; late = false;
			pending[0] = false; pending[1] = false; has[0] = false; has[1] = false; used[0] = false; used[1] = false
		};
		vdso_forget();
		registered = true;
		atomic { !base_lock -> base_lock = true };
		vdso_switch();
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
		vdso_switch();
		base_lock = false;
		vdso_forget()
	:: break
	od
}

/* crng_reseed() by time */
proctype kernel()
{
	byte reseeds;

	do
	:: reseeds < RESEEDS ->
		atomic { !base_lock -> base_lock = true; reseeds++ };
		crng_extract_base_key();
		base_lock = false
	:: break
	od
}

/* __cvdso_getrandom_data() */
proctype program()
{
	byte state_generation, key, now, began, calls;

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
		now = generation;
		now = now + CLOCKED;
		if
		:: state_generation != now ->
			now = generation;
#if !defined(FAULT_NO_LOOK) && !defined(FAULT_LOOKS_FIRST)
			if
			:: !is_ready -> goto fallback
			:: is_ready
			fi;
#endif
#ifndef FAULT_TAKES_WHAT_IS_TOLD
			if
			:: IS_TOLD(now) -> goto fallback
			:: else
			fi;
#endif
#ifdef FAULT_CLOCK_AFTER_KEY
			key = events;
			now = now + CLOCKED;
			state_generation = now
#else
			now = now + CLOCKED;
			state_generation = now;
			key = events
#endif
		:: state_generation == now
		fi;
		began = known;
		now = generation;
#ifndef FAULT_ONE_LOOK_AT_CLOCK
		now = now + CLOCKED;
#else
		now = (now < 20 -> state_generation / 20 * 20 + now : now);
#endif
		if
		:: now != state_generation ->
			if
			:: goto retry
			:: goto fallback /* it has done so once */
			fi
		:: now == state_generation
		fi;
		assert(key >= began);
fallback:
		atomic { now = 0; began = 0 }
	:: break
	od
}

init
{
	atomic {
		generation = 1;
		is_ready = true;
		run driver();
		run device();
		run host();
		run kernel();
		run program()
	}
}
