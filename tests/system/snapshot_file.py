# SPDX-License-Identifier: Apache-2.0
"""
State files taken apart, damaged and put together again (docs/snapshot-format.md). Knows nothing of the monitor's code.

A mutation is chosen by a seed alone: the same seed damages the same file in the same way.
"""
import ctypes
import os
import random
import struct

HEADER = struct.Struct("<8sHHHHIIQQ16s8s")  # magic, version (3), arch, header_len, reserved, payload_len, mem_size, id, record_offset
HEADER_LEN = HEADER.size
CHECKSUM_LEN = 16


class _Hash(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


_xxh3 = ctypes.CDLL("libxxhash.so.0").XXH3_128bits
_xxh3.restype = _Hash
_xxh3.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def checksum(data):
    value = _xxh3(data, len(data))
    return struct.pack("<QQ", value.low, value.high)


def sealed(data):
    """With the checksum that belongs to it in place of its last 16 bytes."""
    return data[:-CHECKSUM_LEN] + checksum(data[:-CHECKSUM_LEN])


# CBOR, as much of it as the format has. A map is a list of (key, value), so that a key can stand there twice.


class Map(list):
    pass


def decode(data, at=0):
    """(value, offset behind it)"""
    major, info = data[at] >> 5, data[at] & 31
    at += 1
    if major == 7:
        return {20: False, 21: True, 22: None}[info], at
    if info >= 24:
        size = 1 << (info - 24)
        info = int.from_bytes(data[at:at + size], "big")
        at += size
    if major == 0:
        return info, at
    if major == 1:
        return -1 - info, at
    if major == 2:
        return data[at:at + info], at + info
    if major == 3:
        return data[at:at + info].decode(), at + info
    items = Map() if major == 5 else []
    for _ in range(info):
        item, at = decode(data, at)
        if major == 5:
            value, at = decode(data, at)
            item = (item, value)
        items.append(item)
    return items, at


def _head(major, value):
    if value < 24:
        return bytes([major << 5 | value])
    for power in range(4):
        if value < 1 << (8 << power):
            return bytes([major << 5 | 24 + power]) + value.to_bytes(1 << power, "big")
    raise OverflowError(value)


def encode(value):
    if value is None or isinstance(value, bool):
        return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value]
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        return _head(3, len(value.encode())) + value.encode()
    if isinstance(value, Map):
        return _head(5, len(value)) + b"".join(encode(k) + encode(v) for k, v in value)
    return _head(4, len(value)) + b"".join(encode(v) for v in value)


def tree(data):
    return decode(data[HEADER_LEN:-CHECKSUM_LEN])[0]


def with_tree(data, value):
    """The file with another CBOR map: payload_len and checksum fit."""
    payload = encode(value)
    head = bytearray(data[:HEADER_LEN])
    struct.pack_into("<Q", head, 24, len(payload))
    return sealed(bytes(head) + payload + bytes(CHECKSUM_LEN))


# Mutations


def flip_bytes(data, rng):
    """One to eight bytes changed, checksum as it was."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        out[rng.randrange(len(out))] ^= rng.randrange(1, 256)
    return bytes(out)


def cut_or_moved(data, rng):
    """A piece taken out, doubled, zeroed, or put elsewhere; checksum as it was."""
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    at = rng.randrange(len(data))
    return rng.choice((
        data[:a] + data[b:],
        data[:b] + data[a:],
        data[:a] + bytes(b - a) + data[b:],
        data[:a] + data[b:][:at] + data[a:b] + data[b:][at:],
        data + rng.randbytes(rng.randrange(1, 5000)),
    ))


EDGES = (0, 1, 2, 255, 256, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 32, 1 << 40,
         (1 << 63) - 1, 1 << 63, (1 << 64) - 1, -1, -(1 << 31), -(1 << 63))


def _containers(value, found):
    if isinstance(value, list):
        if value:
            found.append(value)
        for item in value:
            _containers(item[1] if isinstance(value, Map) else item, found)
    return found


def _text(value, rng):
    """Damaged text: the configuration is one, and has a parser of its own."""
    at = rng.randrange(len(value) + 1)
    return rng.choice((
        value[:at], value[:at] + chr(rng.randrange(32, 127)) + value[at + 1:], value[:at] + value[at // 2:],
        value.replace(rng.choice("0123456789"), rng.choice(("0", "9", "-1", "99999999999999999999"))), "", "\0", "x" * 70000,
    ))


def _blob(value, rng):
    out = bytearray(value)
    for _ in range(rng.choice((1, 1, 4, 32))):
        if out:
            out[rng.randrange(len(out))] = rng.choice((0, 1, 0x7f, 0x80, 0xff, rng.randrange(256)))
    return rng.choice((bytes(out), bytes(out), bytes(out), bytes(out[:-1]), bytes(out) + b"\0", b"", bytes(len(out))))


def _other(value, rng):
    kinds = [rng.choice(EDGES), None, True, False, b"", "", Map(), [], rng.randbytes(16), "text", [Map()]]
    if isinstance(value, bool) or value is None:
        return rng.choice(kinds)
    if isinstance(value, int):
        near = min(max(value + rng.choice((-1, 1, 1 << rng.randrange(63))), -(1 << 63)), (1 << 64) - 1)
        return rng.choice([rng.choice(EDGES), rng.choice(EDGES), near, near, rng.choice(kinds)])
    if isinstance(value, bytes):
        return _blob(value, rng) if rng.random() < 0.9 else rng.choice(kinds)
    if isinstance(value, str):
        return _text(value, rng) if rng.random() < 0.9 else rng.choice(kinds)
    return rng.choice(kinds)


def changed_values(data, rng):
    """One to three values of the map replaced, keys taken away, doubled or renamed; checksum right: the parsers see it."""
    root = tree(data)
    for _ in range(rng.choice((1, 1, 1, 3))):
        place = rng.choice(_containers(root, []))
        i = rng.randrange(len(place))
        what = rng.random()
        if what < 0.06:
            del place[i]
        elif what < 0.10:
            place.insert(rng.randrange(len(place) + 1), place[i])
        elif isinstance(place, Map):
            key, value = place[i]
            place[i] = (key + "x", value) if what < 0.14 else (key, _other(value, rng))
        else:
            place[i] = _other(place[i], rng)
    return with_tree(data, root)


def changed_header(data, rng):
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2))):
        out[rng.randrange(8, HEADER_LEN)] ^= 1 << rng.randrange(8)
    return sealed(bytes(out))


def changed_payload(data, rng):
    """Bytes of the encoding changed, checksum right."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        out[rng.randrange(HEADER_LEN, len(out) - CHECKSUM_LEN)] = rng.randrange(256)
    return sealed(bytes(out))


BROKEN = (flip_bytes, flip_bytes, cut_or_moved)
SEALED = (changed_values, changed_values, changed_values, changed_payload, changed_header)


def rounds(sixths):
    """Seeds for a part of what SNAPSAFE_TEST_MUTATIONS (default 150) says; SNAPSAFE_TEST_SEED (default 1) says which."""
    first = int(os.environ.get("SNAPSAFE_TEST_SEED", 1)) * 1000000
    return range(first, first + int(os.environ.get("SNAPSAFE_TEST_MUTATIONS", 150)) * sixths // 6)


def mutation(data, seed, kinds):
    """(the name of what was done, the damaged file); never the file itself."""
    rng = random.Random(seed)
    while True:
        kind = rng.choice(kinds)
        out = kind(data, rng)
        if out != data:
            return kind.__name__, out
