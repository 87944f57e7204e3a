# SPDX-License-Identifier: Apache-2.0
"""
Programs that notice when their virtual machine was restored, and random numbers that no clone shares: libsnapsafe
(snapsafe.h has the reference) for Python.

What `secrets`, `os.urandom`, `uuid.uuid4` and `random.SystemRandom` return comes from the kernel each time. The functions of
`random` do not: they continue one sequence, in every clone the same. Call

    snapsafe.install()

before other modules do `from random import ...`, and they belong to a generator that is seeded again after a restore and
in a forked child, as long as the program has not chosen the seed itself.
"""
import ctypes
import os
import random as _random

__all__ = ["Random", "SystemRandom", "Token", "generation", "identity", "install", "library_version", "random_bytes"]

IDENTITY_LEN = 16


class _Token(ctypes.Structure):
    _fields_ = [("generation", ctypes.c_uint64), ("process", ctypes.c_uint64), ("handle", ctypes.c_uint32),
                ("state", ctypes.c_uint32)]


def _load():
    try:
        library = ctypes.CDLL("libsnapsafe.so.1")
    except OSError as error:
        raise ImportError(f"libsnapsafe.so.1 cannot be loaded (Debian's package is libsnapsafe1): {error}") from None
    for name, result, arguments in (
            ("version", ctypes.c_char_p, []),
            ("generation", ctypes.c_uint64, [ctypes.c_void_p]),
            ("identity", ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p]),
            ("random", ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]),
            ("token", _Token, [ctypes.c_void_p]),
            ("holds", ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(_Token)]),
            ("check", ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(_Token)])):
        function = getattr(library, "snapsafe_" + name)
        function.restype = result
        function.argtypes = arguments
    return library


_library = _load()


def library_version():
    """The version of libsnapsafe, as text."""
    return _library.snapsafe_version().decode()


def generation():
    """The number of this machine's generation. Compare for equality only; 0 where there is no counter."""
    return _library.snapsafe_generation(None)


def identity():
    """16 bytes that no other machine has, or None where there are none. Public: no secret, no key."""
    name = ctypes.create_string_buffer(IDENTITY_LEN)
    return None if _library.snapsafe_identity(None, name) else name.raw


def random_bytes(length):
    """Random bytes for keys and nonces, of the generation that is current when the function returns."""
    if length < 0:
        raise ValueError(f"length is {length}; 0 and more are allowed")
    buffer = ctypes.create_string_buffer(length) if length else b""
    error = _library.snapsafe_random(None, buffer, length)
    if error:
        raise OSError(-error, os.strerror(-error))
    return buffer.raw if length else b""


class Token:
    """
    This moment. Take one before making something that must be unique; ask holds() as the last thing before the result
    leaves the process, and throw the result away if it does not.
    """
    __slots__ = ("_token",)

    def __init__(self):
        self._token = _library.snapsafe_token(None)

    def holds(self):
        """False if there was a restore or a fork since. Where nobody watches a counter only forks are noticed."""
        return _library.snapsafe_holds(None, self._token) == 1

    def check(self):
        """As holds(), but None where nobody can know whether there was a restore."""
        answer = _library.snapsafe_check(None, self._token)
        return None if answer < 0 else answer == 1


class SystemRandom(_random.SystemRandom):
    """random.SystemRandom with the bytes of random_bytes()."""

    def random(self):
        """A number from 0.0 up to, but not, 1.0."""
        return (int.from_bytes(random_bytes(7), "big") >> 3) * 2.0 ** -53

    def getrandbits(self, k):
        """An integer of k random bits."""
        if k < 0:
            raise ValueError(f"k is {k}; 0 and more are allowed")
        length = (k + 7) // 8
        return int.from_bytes(random_bytes(length), "big") >> (length * 8 - k)

    def randbytes(self, n):
        """n random bytes."""
        return random_bytes(n)


class Random(_random.Random):
    """
    The generator of `random`, seeded again after each restore and in each forked child: not where the program has chosen
    seed or state, since it wants that sequence. Not for secrets, as it never was.

    Threads may share one. Its token belongs to its seed: it is taken before, and published after.
    """
    _chosen = False
    _token = None

    def seed(self, a=None, version=2):
        """Starts again: from the kernel's bytes, or from a seed, which is then kept for good."""
        self._chosen = a is not None
        if self._chosen:
            super().seed(a, version)
        else:
            self._token = None
            self._fresh()

    def setstate(self, state):
        """Goes on from a state of getstate(), which is then a choice as a seed is."""
        super().setstate(state)
        self._chosen = True

    def _fresh(self):
        """The token of the seed that is in use now, or None if there is nothing to watch."""
        while not self._chosen:
            token = self._token
            if token and token.holds():
                return token
            token = Token()
            super().seed(int.from_bytes(random_bytes(32), "big"))
            self._token = token
        return None

    def _draw(self, function, *arguments):
        while True:
            token = self._fresh()
            value = function(*arguments)
            if not token or token.holds():
                return value
            self.gauss_next = None  # the second half of a pair, maybe of the life before

    def random(self):
        """A number from 0.0 up to, but not, 1.0."""
        return self._draw(super().random)

    def getrandbits(self, k):
        """An integer of k random bits."""
        return self._draw(super().getrandbits, k)

    def gauss(self, mu=0.0, sigma=1.0):
        """A number of that normal distribution. Two are made at a time, so the second one has to be watched, too."""
        return self._draw(super().gauss, mu, sigma)


def install():
    """
    Makes random.random() and its sisters those of a Random of ours. Whoever has imported one of them by its name before
    keeps the old one. Returns the new generator.
    """
    hidden = _random._inst  # pylint: disable=protected-access
    if isinstance(hidden, Random):
        return hidden
    new = Random()
    for name, value in list(vars(_random).items()):
        if getattr(value, "__self__", None) is hidden:
            setattr(_random, name, getattr(new, name))
    _random._inst = new  # pylint: disable=protected-access
    return new
