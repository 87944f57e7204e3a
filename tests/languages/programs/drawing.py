# SPDX-License-Identifier: Apache-2.0
"""What the programs in Python do with their sources; see README.md."""
import os

WARM, DRAWS, LEN = 20, 32, 16


def run(counter, sources):
    """sources: functions by name, of which each gives LEN bytes."""
    def draw():
        return [(name, source()) for name, source in sources.items()]

    file = os.open(counter, os.O_RDONLY)
    before = os.pread(file, 8, 0)
    for _ in range(WARM):
        draw()
    print("READY", flush=True)
    while os.pread(file, 8, 0) == before:
        draw()
    for name, value in sum([draw() for _ in range(DRAWS)], []):
        print("value", name, value.hex())
    print("DONE", flush=True)
