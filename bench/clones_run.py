# SPDX-License-Identifier: Apache-2.0
"""
One variant of the clone experiment, where KVM works; those with QEMU anywhere. Started by bench/clones.

    clones_run.py VARIANT SNAPSHOTS CLONES DIRECTORY NAME [WAY,...]

With ways so many snapshots are made for each of them, and the machines that come from one are all restored in its way
(clones_ways.py). DIRECTORY has what bench/clones has built. The results go to $SNAPSAFE_SCRATCH/NAME.json.

A machine runs, is stopped at a random moment, and a snapshot is made. The machine itself, the original, and each clone
runs on until its rings are full; another snapshot brings them out.
"""
import contextlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import clones_qemu
import clones_snapsafe
from clones_guest import find_counter
from clones_ways import WAYS, HugePages, Snapshot

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools" / "pylib"))
from snapsafe import ConsoleTimeout  # noqa: E402

# A machine that is saved again before its driver has armed the next event: docs/library.md, "two copies in a row".
NOT_ARMED = "a leak event found no request in leak queue"
FULL_TIMEOUT_S = 30  # a machine whose rings are not full by then is taken as it is
VARIANTS = {**clones_snapsafe.VARIANTS, **clones_qemu.VARIANTS}


def run_until_full(machine, generation):
    """Until the readers have filled their rings with results of a later generation; False if that takes too long."""
    deadline = time.monotonic() + FULL_TIMEOUT_S
    try:
        while True:
            match = machine.console.expect(r"^(?:full (\d+)|clones_reader: .*)\n", deadline - time.monotonic())
            if match.group(1) is None:
                sys.exit(match.group().strip())
            if int(match.group(1)) > generation:
                return True
    except ConsoleTimeout:
        return False


class Experiment:
    """All machines of one variant, and the directory of their files."""

    def __init__(self, variant, clones, directory, work):
        self.variant = variant
        self.clones = clones
        self.directory = directory
        self.compare = f"{directory}/clones_compare"
        self.work = work
        self.machines = set()
        self.kernel = None
        self.rounds = []
        self.not_armed = 0  # machines of this round

    def path(self, name):
        return f"{self.work}/{name}"

    def keep(self, machine):
        self.machines.add(machine)
        return machine

    def stop(self, machine):
        self.machines.remove(machine)
        machine.stop()

    def stop_all(self):
        for machine in list(self.machines):
            if machine.process.poll() is not None:
                print(f"clones_run: a monitor has ended with status {machine.process.returncode}; it said:\n"
                      f"{machine.stderr()}\nand its guest:\n{machine.console.log[-1000:]}", file=sys.stderr)
            self.stop(machine)

    def boot(self):
        machine = self.keep(self.variant.new(self.directory, self.work))
        self.kernel = self.variant.start_readers(machine)
        return machine

    def load(self, snapshot, way):
        machine = self.keep(self.variant.empty(self.work))
        machine.load(snapshot, WAYS[way] if way else None)
        return machine

    def save(self, machine, name, hurried=False):
        """Stops the machine and makes a snapshot of that name."""
        snapshot = Snapshot(self.path(f"state-{name}"), self.path(f"mem-{name}"))
        machine.save(snapshot.state, snapshot.memory, hurried)
        self.not_armed += NOT_ARMED in machine.stderr()
        return snapshot

    def begin_round(self, original, snapshot, way):
        """The original is paused at the moment of the snapshot; it runs on. Returns what its clones are to be loaded from."""
        if way:
            snapshot = WAYS[way]().prepare(original, snapshot)
        original.resume()
        return snapshot

    def finish(self, machine, name, generation):
        """Runs it until its rings are full, saves and stops it. Returns the memory file, and whether they were full."""
        full = run_until_full(machine, generation)
        file = self.save(machine, name).memory
        self.stop(machine)
        return file, full

    def run_round(self, original, snapshot, way, successor_name, successor_way, hurried, was_hurried):
        """
        Everything about one snapshot. The original has been running again since it was made. The last machine that
        is made of it, the successor, runs for a random time; then it is the original of the next snapshot, and returned with that.
        In a hurry that comes before what follows a restore has come to an end. was_hurried: so did this snapshot. Then the driver
        may have had nothing armed, and its readers go on until the interrupt tells it.

        An original is never paused for longer than a snapshot takes. The guest's scheduler would charge the pause to
        whichever readers ran then, and let them wait for as long: too few would be at work in all later machines.
        """
        _, generation = find_counter(snapshot.memory)
        self.not_armed = 0
        done = [self.finish(original, "original", generation)]
        done += [self.finish(self.load(snapshot, way), f"clone-{number}", generation) for number in range(self.clones)]
        successor = self.load(snapshot, way)
        full = not hurried and run_until_full(successor, generation)
        time.sleep(10 ** random.uniform(-3.5, -1))
        saved = self.save(successor, successor_name, hurried)
        done.append((saved.memory, full))
        following = self.begin_round(successor, saved, successor_way)
        found = self.evaluate(generation, snapshot.memory, done)
        found["early_unarmed"] = found["early"] if was_hurried and self.not_armed else 0
        self.rounds.append({"way": way, **found})
        for file in (file for file, _ in done[:-1]):
            os.unlink(file)
        snapshot.remove()
        return successor, following

    def evaluate(self, generation, snapshot, done):
        text = subprocess.run([self.compare, str(generation), snapshot, *(file for file, _ in done)], check=True,
                              capture_output=True, text=True).stdout
        roles = ["original", *["clone"] * self.clones, "successor"]
        result = {"machines": [{"role": role, "full": full, "readers": []} for role, (_, full) in zip(roles, done)]}
        for line in text.splitlines():
            kind, *values = line.split("\t")
            if kind == "reader":
                machine, vcpu, source, *numbers = values
                numbers = dict(zip(("calls", "equal", "last_equal", "span_ns"), map(int, numbers)))
                result["machines"][int(machine)]["readers"].append({"vcpu": int(vcpu), "source": source, **numbers})
            else:
                result[kind] = int(values[0])
        return result

    def run(self, ways):
        """A snapshot for each, restored in that way."""
        snapshots = len(ways)
        original = self.boot()
        time.sleep(random.uniform(0.1, 0.5))
        snapshot = self.begin_round(original, self.save(original, 0), ways[0])
        hurried = False
        for number in range(snapshots):
            start = time.monotonic()
            was_hurried = hurried
            # Of the last successor's snapshot no clones are made, so there a hurry would show nothing.
            last = number + 1 == snapshots
            hurried = number % 4 == 2 and not last
            original, snapshot = self.run_round(original, snapshot, ways[number], number + 1, None if last else ways[number + 1],
                                                hurried, was_hurried)
            found = self.rounds[-1]
            calls = sum(reader["calls"] for machine in found["machines"] for reader in machine["readers"])
            print(f"    snapshot {number + 1} of {snapshots}, {ways[number] or 'full'}: {len(found['machines'])} machines, "
                  f"{calls:,} results, {found['violations']:,} violations, {time.monotonic() - start:.1f} s", flush=True)


def main():
    variant, directory, name = sys.argv[1], sys.argv[4], sys.argv[5]
    snapshots, clones = int(sys.argv[2]), int(sys.argv[3])
    wanted = sys.argv[6].split(",") if len(sys.argv) > 6 else [None]
    ways = wanted * snapshots
    random.shuffle(ways)  # each comes after each, and in a hurry
    # Who takes too long is told so: the machines and their files must not stay behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("clones_run: told to end"))
    pool = HugePages(clones_snapsafe.MEMORY_MIB << 20) if "huge" in ways else contextlib.nullcontext()
    with pool, tempfile.TemporaryDirectory(prefix="snapsafe-clones-", dir=VARIANTS[variant].scratch) as work:
        experiment = Experiment(VARIANTS[variant], clones, directory, work)
        try:
            experiment.run(ways)
        finally:
            experiment.stop_all()
    result = {"variant": variant, "kernel": experiment.kernel, "snapshots": snapshots, "clones": clones, "ways": wanted,
              "emulated": experiment.variant.is_emulated(), "rounds": experiment.rounds}
    pathlib.Path(os.environ["SNAPSAFE_SCRATCH"], f"{name}.json").write_text(json.dumps(result))


main()
