# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at any moment of what a process writes: what is on the disk then has to be whole."""
import http.client
import os
import random
import signal
import threading

KILLS = int(os.environ.get("SNAPSAFE_TEST_KILLS", 8))
SEED = int(os.environ.get("SNAPSAFE_TEST_SEED", 1))


def moments(longest):
    """KILLS random moments, one of each part of a time and a fifth of it, for what takes longer than the first time."""
    rng = random.Random(SEED)
    return [longest * 1.2 * (i + rng.random()) / KILLS for i in range(KILLS)]


def kill_while(m, act, seconds=None):
    """act(), which is a request of the process, and its end so many seconds after that has begun; None: once it is answered."""
    def quietly():
        try:
            act()
        except (OSError, http.client.HTTPException):
            pass

    request = threading.Thread(target=quietly)
    request.start()
    request.join(seconds)
    m.process.send_signal(signal.SIGKILL)
    assert m.process.wait() == -signal.SIGKILL
    request.join()
