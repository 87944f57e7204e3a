# SPDX-License-Identifier: Apache-2.0
"""What goes on beside a test."""
import concurrent.futures
import contextlib
import threading


@contextlib.contextmanager
def meanwhile(*works):
    """
    `with meanwhile((pause_s, work), ...):` each work is done again and again, in a thread of its own, until the body is over. What
    one raises ends it, and is raised then.
    """
    over = threading.Event()

    def repeat(pause_s, work):
        while not over.is_set():
            work()
            over.wait(pause_s)

    with concurrent.futures.ThreadPoolExecutor(len(works)) as pool:
        done = [pool.submit(repeat, *one) for one in works]
        try:
            yield
        finally:
            over.set()
    for one in done:
        one.result()
