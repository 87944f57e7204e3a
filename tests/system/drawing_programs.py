# SPDX-License-Identifier: Apache-2.0
"""Programs that draw over a restore (tests/languages/programs/README.md), in a guest and in two clones of it."""
import collections

from conftest import COUNTER, Snapshot

DRAWS = 32  # of each source


def start(m, program, arguments="", variables=""):
    """Runs it in the root at /mnt until it has drawn from all of its sources. It goes on; $draw is its process."""
    m.console.run(f"{variables} chroot /mnt {program} {COUNTER} {arguments} >/tmp/out 2>&1 & draw=$!")
    m.console.run("while kill -0 $draw && ! grep -q READY /tmp/out; do sleep 1; done; cat /tmp/out; grep -q READY /tmp/out", 240)


def drawn(clone):
    """The values of each source, once the program has ended in that clone."""
    # Its standard error is in there, too: a status alone says little.
    clone.console.run("wait $draw; status=$?; [ $status = 0 ] || tail -n 40 /tmp/out; (exit $status)", 240)
    values = collections.defaultdict(list)
    for line in clone.console.run("cat /tmp/out", 120).splitlines():
        if line.startswith("value "):
            words = line.split()
            assert len(words) == 3, line
            values[words[1]].append(words[2])
    return values


def drawn_by_two_clones(m, restore, directory):
    snapshot = Snapshot(directory)
    m.api.pause()
    m.api.snapshot(snapshot.state, snapshot.mem)
    m.stop()
    both = []
    for _ in range(2):
        clone = restore(snapshot)
        both.append(drawn(clone))
        clone.stop()
    return both
