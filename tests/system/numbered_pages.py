# SPDX-License-Identifier: Apache-2.0
"""A memory file in which each page says which one it is, so that a page at another place, or of another file, is seen."""
import os

PAGE = 4096


def number_pages(path, first):
    """From page `first` on: what lies below stays the machine's."""
    with open(path, "r+b") as f:
        for page in range(first, os.fstat(f.fileno()).st_size // PAGE):
            f.seek(page * PAGE)
            f.write(b"page %d" % page)
        f.flush()
        os.fsync(f.fileno())
