/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The leak protocol (docs/leak-protocol.md) as it is implemented: the device of
 * host/virtio/rng_leak.c, the pause, snapshot and resume of host/machine/run.c,
 * and the driver of guest/driver/rng_leak.c, in any interleaving. Checked by
 * tests/model/run-leak. "Device n" and "Driver n" are rules of the protocol.
 *
 * Steps. A vCPU can be stopped between any two accesses to memory that it
 * shares with the device, so each such access of the driver is a step of its
 * own; what lies between, on data that is the driver's alone, is joined to it.
 * Every step of the guest needs `running`. The device works on the monitor's
 * loop thread beside the guest; pause, snapshot, load and event happen on the
 * same thread, and therefore not while it serves a doorbell.
 *
 * One machine for many. A copy of the memory makes two machines that know
 * nothing of each other. The model goes on with one of them, either one: Spin
 * follows both ways, so every machine that can exist is looked at, with all
 * its ancestors. What another machine has too is marked as SHARED: everything
 * that was in memory or in the generator's pool when it was copied.
 *
 * Properties, by the sentence that they stand for:
 *  [lost]   No event is lost. Once the driver has nothing left to do, the
 *	     counter is above everything that a program can have seen before the
 *	     last event, and the driver says that it has handled that value.
 *  [late]   An event is late (the machine was paused while the device had no
 *	     armed pair) only if the driver had not handled the one before it.
 *  [same]   Unless an event is late, no value of the counter is seen both
 *	     before and after it.
 *  [seed]   Unless an event is late, the machine that runs after it has a seed
 *	     in memory that no other machine has. Late or not, once the driver
 *	     has nothing left to do, such a seed is in the generator's pool.
 *  [word]   Whoever sees a copied word knows that the seed of the same pair is
 *	     there.
 *  [back]   The counter never goes back.
 *  [loop]   No queue is ever re-armed into a loop: between two events the driver
 *	     arms MAX_ARMS times at most. So it never comes near the allowance of
 *	     an event (Device 14), and the rate limiter needs no place here: a
 *	     device that throttles does so only where this driver does not go.
 *  [handled] Device 16: whenever the guest runs and the host may take all events for
 *	     handled, the generator's key is no other machine's. Once the driver has
 *	     nothing left to do, the host does.
 *
 * EVENTS is how many events there are at most. Faults, to see that the
 * properties can fail:
 *  FAULT_EVENT_AT_SNAPSHOT  The event runs when a snapshot is made and when it is
 *			     loaded, not when the machine resumes (Device 7).
 *  FAULT_STATE_NOT_SAVED    A clone starts with the queues in their first roles
 *			     (Device 13).
 *  FAULT_LATE_SWAPS	     A late event changes the roles (Device 9), as in the
 *			     proposal: two of them cancel each other out.
 *  FAULT_COPY_BEFORE_FILL   The driver arms in the wrong order (Driver 1).
 *  FAULT_REARM_SIGNALLED    The driver arms the queue that was used (Driver 2).
 *  FAULT_LATE_IS_COUNTED    A late event has its number before it has a seed (Device 16).
 *  FAULT_READ_LAST	     The driver reads the number when it has reseeded (Driver 7).
 *  FAULT_READ_AND_TRUST     It does not look at the queues once more after it has read it.
 *  FAULT_SAY_FIRST	     It writes the number back before it reseeds.
 */
#ifndef EVENTS
#define EVENTS 5
#endif
#define MAX_ARMS 2

#define QUEUES	 2
#define NO_QUEUE 2	/* Device 5: `signalled` before the first event */
#define OTHER(q) (1 - (q))

/* A request in a ring. */
#define NONE 0
#define FILL 1
#define COPY 2

/* What a seed buffer, or the pool, holds. */
#define EMPTY  0
#define SHARED 1	/* a seed that another machine has as well */
#define OWN    2	/* a seed that was made after the last copy of memory */

/* ---- Guest memory, shared with the device ---- */

byte counter;			/* the word on the page that programs have mapped */
byte seedbuf[QUEUES];		/* Driver 1: one for each queue */
byte value[QUEUES];		/* source of the copy request */
byte avail[4], num_avail[QUEUES]; /* two slots a queue, oldest first: 2 q, 2 q + 1 */
byte used[4], num_used[QUEUES];
bool irq;			/* used-buffer notification that the guest has not taken */
byte pool;			/* the kernel's generator */
byte key;			/* what it answers from */

/* ---- Device ---- */

byte dev_active = 0;		/* Device 5 */
byte dev_signalled = NO_QUEUE;
bool late;			/* Device 9: an event waits for a buffer in `active` */
byte generation;		/* Device 16: events whose seeds are there */
byte said;			/* `handled`, as the host knows it */
bool doorbell[QUEUES];
bool serving;			/* the loop thread is in the middle of a doorbell */

/* ---- Machine ---- */

bool running = true;
bool leak_pending;
byte events;			/* events so far */

/* ---- Ghosts: for the properties only ---- */

byte counter_at_pause;		/* what programs can have seen */
bool ready_at_pause;		/* the device had an armed pair: the event will not be late */
byte seen_before;		/* what programs can have seen before the last event */
bool copied;			/* memory was copied in this pause */
bool copied_ever;
bool own_in_memory;		/* a seed was made in guest memory since memory was copied */
bool filled[QUEUES];		/* a fill of the queue was used since its last copy */
byte arms;			/* times that the driver has armed a queue since the last event */
bool idle;			/* the driver has started, and waits for a notification */

/* The driver has nothing to do, and nothing is under way to it. */
#define QUIET (idle && !irq && !doorbell[0] && !doorbell[1] && !serving)
/* Driver 2: what a queue that waits for an event holds, a fill and a copy; there is never more than one of each. */
#define IS_ARMED(q) (num_avail[q] == 2)

/* ======================================================================== */
/* Device								    */
/* ======================================================================== */

/* Device 2, 3: carries out and uses the oldest request of q. */
inline use_one(q)
{
	if
	:: avail[2 * q] == FILL ->
		seedbuf[q] = OWN;
		own_in_memory = true;
		filled[q] = true
	:: avail[2 * q] == COPY ->
		assert(filled[q]);			/* [word] */
		filled[q] = false;
		assert(value[q] > counter);		/* [back] */
		counter = value[q]
	fi;
	printf("device uses a %d of leakq%d\n", avail[2 * q], q + 1);
	used[2 * q + num_used[q]] = avail[2 * q];
	num_used[q]++;
	avail[2 * q] = avail[2 * q + 1];
	avail[2 * q + 1] = NONE;
	num_avail[q]--;
	notify = true
}

inline use_all(q)
{
	do
	:: num_avail[q] > 0 -> use_one(q)
	:: else -> break
	od
}

/* What the host may conclude, and what must be true then. */
inline check_handled()
{
	assert(said != generation || late || !copied_ever || key == OWN)	/* [handled] */
}

inline swap()
{
#ifdef FAULT_LATE_IS_COUNTED
	generation = (late -> generation : generation + 1);
#else
	generation++;
#endif
	late = false;
	dev_signalled = dev_active;
	dev_active = OTHER(dev_active)
}

/* Device 6, 9. The monitor looks at the signalled queue first: its doorbell may not have been served yet. */
inline event()
{
	if
	:: dev_signalled != NO_QUEUE -> use_all(dev_signalled)
	:: else
	fi;
	if
	:: num_avail[dev_active] > 0 -> use_all(dev_active); swap()
	:: else ->
#ifdef FAULT_LATE_SWAPS
		swap()
#else
#ifdef FAULT_LATE_IS_COUNTED
		generation = (late -> generation : generation + 1);
#endif
		late = true
#endif
	fi;
	irq = (notify -> true : irq);
	notify = false
}

/* Device 8, 9: what need not wait, the signalled queue's before the active one's. */
inline next_turn()
{
	if
	:: late && num_avail[dev_active] > 0 && (dev_signalled == NO_QUEUE || num_avail[OTHER(dev_active)] == 0) ->
		/* The number is there together with the first buffer, which is the seed; the monitor takes all that is there at once. */
		use_one(dev_active);
		swap()
	:: else
	fi;
	serving = (dev_signalled != NO_QUEUE && num_avail[OTHER(dev_active)] > 0)
}

inline end_turn()
{
	if
	:: !serving ->
		irq = (notify -> true : irq);
		notify = false
	:: else
	fi
}

inline take_doorbell(q)
{
	doorbell[q] = false;
	next_turn();
	end_turn()
}

/* A doorbell, one request a step; the guest runs meanwhile. */
proctype Device()
{
	bool notify;

	do
	:: atomic { running && !serving && doorbell[0] -> take_doorbell(0) }
	:: atomic { running && !serving && doorbell[1] -> take_doorbell(1) }
	:: atomic { serving && num_avail[OTHER(dev_active)] > 0 -> use_one(OTHER(dev_active)) }
	:: atomic {
		serving && num_avail[OTHER(dev_active)] == 0 ->
		next_turn();
		end_turn()
	   }
	od
}

/* ======================================================================== */
/* Machine								    */
/* ======================================================================== */

/* What is in memory is in two machines from here on. */
inline copy_memory()
{
	printf("memory is copied\n");
	for (i : 0 .. 1) {
		if
		:: seedbuf[i] == OWN -> seedbuf[i] = SHARED
		:: else
		fi
	}
	if
	:: pool == OWN -> pool = SHARED
	:: else
	fi;
	if
	:: key == OWN -> key = SHARED
	:: else
	fi;
	own_in_memory = false;
	copied = true;
	copied_ever = true
}

inline leak_event()
{
	seen_before = counter_at_pause;
	arms = 0;
	events++;
	event();
	printf("event %d: active is leakq%d now, counter %d\n", events, dev_active + 1, counter)
}

/* The guest's next instruction is the next thing that happens. */
inline check_edge()
{
	assert(!ready_at_pause || counter > counter_at_pause);		/* [same] */
	assert(!ready_at_pause || !copied || own_in_memory)		/* [seed] */
}

proctype Machine()
{
	byte i, snapshots;
	bool notify;

	do
	:: atomic {
		events < EVENTS && running && !serving ->
		printf("pause\n");
		running = false;
		ready_at_pause = IS_ARMED(dev_active);
		assert(ready_at_pause || !QUIET);			/* [late] */
		counter_at_pause = counter
	   };
	   do
	   :: /* PUT /snapshot/create. One goes on as the original, or, from the same memory, as a clone. */
	      atomic {
		snapshots < 2 && events < EVENTS ->
		snapshots++;
#ifdef FAULT_EVENT_AT_SNAPSHOT
		/* As the proposal's device: each snapshot is an event, resuming is none. */
		copy_memory();
		leak_event();
		if
		:: break
		:: /* the other machine: it is loaded, which is an event, too */
		   events < EVENTS -> copy_memory(); leak_event(); break
		:: skip /* one more snapshot in the same pause */
		fi
#else
		copy_memory();
		leak_pending = true;	/* Device 13, and machine_save() */
		if
#ifdef FAULT_STATE_NOT_SAVED
		:: dev_active = 0; dev_signalled = NO_QUEUE	/* the clone, from a file without rule 13's variables */
#endif
		:: skip
		fi
#endif
	      }
	   :: /* SignalEntropyLeak */
	      atomic { snapshots == 0 && !leak_pending -> leak_pending = true }
	   :: break
	   od;
	   /* Device 7: the resume edge. */
	   atomic {
#ifndef FAULT_EVENT_AT_SNAPSHOT
		if
		:: leak_pending -> leak_event(); leak_pending = false; check_edge(); check_handled()
		:: else
		fi;
#else
		if
		:: copied -> check_edge()
		:: else
		fi;
#endif
		counter_at_pause = 0;	/* not looked at any more: fewer states */
		ready_at_pause = false;
		copied = false;
		own_in_memory = false;
		snapshots = 0;
		doorbell[0] = true;	/* mmio_resume() looks at every queue */
		doorbell[1] = true;
		printf("the guest runs\n");
		running = true
	   }
	:: events == EVENTS -> break
	od
}

/* ======================================================================== */
/* Driver								    */
/* ======================================================================== */

/* A step of the guest. */
#define STEP(s) atomic { running -> s }

/* virtqueue_add_*() up to the index that makes the buffer available. */
inline add_buffer(q, what)
{
	printf("driver adds a %d to leakq%d\n", what, q + 1);
	avail[2 * q + num_avail[q]] = what;
	num_avail[q]++
}

inline add_fill(q)
{
	STEP(add_buffer(q, FILL); fill_pending[q] = true)
}

inline add_copy(q)
{
	STEP(value[q] = next + 1);
	STEP(add_buffer(q, COPY); copy_pending[q] = true; next++)
}

/* leak_arm() */
inline arm(q)
{
	if
	:: !copy_pending[q] && !fill_pending[q] ->
		arms++;
		assert(arms <= MAX_ARMS);	/* [loop] */
#ifdef FAULT_COPY_BEFORE_FILL
		add_copy(q);
		add_fill(q);
#else
		add_fill(q);
		add_copy(q);
#endif
		STEP(doorbell[q] = true)
	:: else
	fi
}

/* rng_gen_raise() is a cmpxchg. */
inline raise_counter(v)
{
	STEP(if
	     :: counter < v -> counter = v
	     :: else
	     fi)
}

/* leak_drain() */
inline drain(q)
{
	found = false;
	do
	:: atomic {
		running && num_used[q] > 0 ->	/* virtqueue_get_buf() */
		printf("driver finds a %d in leakq%d\n", used[2 * q], q + 1);
		what = used[2 * q];
		used[2 * q] = used[2 * q + 1];
		used[2 * q + 1] = NONE;
		num_used[q]--
	   };
	   if
	   :: what == COPY ->
		copy_pending[q] = false;
		raise_counter(value[q]);
		if
		:: value[q] > latest -> latest = value[q]; drv_active = OTHER(q)
		:: else
		fi;
		found = true
	   :: else ->
		STEP(fill_pending[q] = false;
		     pool = (seedbuf[q] > pool -> seedbuf[q] : pool);
		     seedbuf[q] = EMPTY)
	   fi
	:: atomic { running && num_used[q] == 0 -> break }
	od
}

/* leak_collect() */
inline collect()
{
	q = drv_active;
	calm = 0;
	all = false;
	do
	:: calm < QUEUES ->
		drain(q);
		all = all || found;
		calm = (found -> 0 : calm + 1);
		q = OTHER(q)
	:: else -> break
	od;
	if
	:: all ->
		handled = latest;
		owed = true;
#ifdef FAULT_REARM_SIGNALLED
		/* The queue that was used is filled up again. */
		drv_active = OTHER(drv_active);
#endif
		arm(drv_active)
	:: else
	fi
}

/* A write that is behind, ahead or repeated is none. */
inline confirm(v)
{
	printf("driver says it has handled %d of %d\n", v, generation);
	said = (v > said && v <= generation -> v : said);
	check_handled()
}

/* leak_react_work(): other processors' callbacks may take what is in the queues meanwhile, which only means that it is mixed in. */
inline react()
{
	owed = false;
#ifndef FAULT_READ_LAST
	STEP(number = generation);
#endif
#ifndef FAULT_READ_AND_TRUST
	collect();
#endif
#ifdef FAULT_SAY_FIRST
	STEP(confirm(number));
#endif
	STEP(key = pool);
#ifdef FAULT_READ_LAST
	STEP(number = generation);
#endif
	STEP(confirm(number));
	number = 0
}

/* What must hold whenever everything has come to rest, at any number of events. */
inline check_rest()
{
	assert(IS_ARMED(dev_active) && dev_active == drv_active);	/* [late]: ready for the next */
	assert(events == 0 || counter > seen_before);			/* [lost] */
	assert(handled == counter && latest == counter);		/* [lost] */
	assert(!copied_ever || pool == OWN);				/* [seed] */
	assert(!late && said == generation);				/* [handled] */
}

proctype Driver()
{
	/* struct rng_leak and struct rng_leak_queue */
	byte drv_active, next, latest, handled;
	bool fill_pending[QUEUES], copy_pending[QUEUES];
	byte q, what, calm, before;
	bool found, all, advance, owed;
	byte number;

	/* rng_leak_start(), right after DRIVER_OK */
	if
	:: advance = true
	:: advance = false
	fi;
	STEP(before = counter);
	next = before + advance;
	latest = before;
	arm(0);
	arm(1);
	if
	:: advance -> raise_counter(before + 1)
	:: else
	fi;
	latest = before + advance;
	handled = latest;
	collect();
	react();
	do
	:: owed -> react()
	:: else ->
	   printf("driver waits\n");
	   idle = true;
	   do
	   :: atomic { running && irq -> irq = false; idle = false; break }
	   :: d_step { running && QUIET -> check_rest() }
	   od;
	   collect()
	od
}

init
{
	atomic {
		run Device();
		run Machine();
		run Driver()
	}
}
