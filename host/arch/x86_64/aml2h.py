#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles ASL and makes a C header of it: the bytes, and the offsets of the fields that are patched.

Usage: aml2h.py IASL NAME.asl OUTPUT.h FIELD...

FIELD is MACRO=PATH:KIND:PLACEHOLDER. Offsets come from the table that "iasl -so" writes. What iasl makes stays beside
OUTPUT.h. KIND says what is patched at
PATH: name (the four letters of the object itself), word, dword (an integer), package.I (element I of a package, an integer),
memory32 (a descriptor's base address), memory_first, memory_last (a range's), interrupt (a descriptor's first interrupt). The field must hold PLACEHOLDER
(letters, or a hexadecimal number), else the build fails.
"""
import pathlib
import re
import subprocess
import sys

# AML and resource descriptor encodings, ACPI 6.4 sections 20.2 and 6.4.3: what iasl's "Opcode" column says.
AML_WORD, AML_DWORD, AML_PACKAGE, AML_MEMORY32FIXED, AML_DWORDMEMORY, AML_INTERRUPT = 0x0B, 0x0C, 0x12, 0x86, 0x87, 0x89
MEMORY32FIXED_BASE = 4  # tag, 16-bit length, flags; then the base address
DWORDMEMORY_FIRST = 10  # tag, 16-bit length, type, flags, type's flags, granularity; then the first and the last address
INTERRUPT_FIRST = 5  # tag, 16-bit length, flags, count; then the first interrupt
ENTRY = re.compile(r'\{"([^"]+)",\s*0x(\w+),\s*0x(\w+),\s*0x(\w+),\s*0x(\w+),\s*0x(\w+)\}')


# "VMGENCTR" has no four hexadecimal digits at its end, as ACPI wants, but it is what guests look for.
ALLOWED_WARNING = "6035"


def compile_asl(iasl, source, prefix):
    """Silent unless it fails. The table's bytes, and the file with its offsets."""
    command = [iasl, "-vs", "-vw", ALLOWED_WARNING, "-so", "-p", str(prefix), source]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stdout)
    return prefix.with_suffix(".aml").read_bytes(), prefix.with_suffix(".offset.h")


def read_offsets(path):
    entries = {}
    with open(path, encoding="ascii") as f:
        for name, _, nameseg, opcode, offset, _ in ENTRY.findall(f.read()):
            if name in entries:
                sys.exit(f"{path}: {name} is there twice")
            entries[name] = (int(nameseg, 16), int(opcode, 16), int(offset, 16))
    return entries


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what} has opcode {got:#x}; {wanted:#x} is needed")


def package_element(aml, at, index):
    """Offset of the integer that is element index of the package at offset at; the elements before it are dwords, too."""
    at += 2 + (aml[at + 1] >> 6)  # opcode, package length of 1 to 4 bytes
    at += 1  # number of elements
    for _ in range(index):
        expect("package element", aml[at], AML_DWORD)
        at += 5
    expect("package element", aml[at], AML_DWORD)
    return at + 1


def locate(aml, entries, path, kind):
    """Offset and size of a field."""
    if path not in entries:
        sys.exit(f"iasl gives no offset for {path}")
    nameseg, opcode, offset = entries[path]
    if kind == "name":
        return nameseg, 4
    if kind.startswith("package."):
        expect(path, opcode, AML_PACKAGE)
        return package_element(aml, offset, int(kind[len("package."):])), 4
    wanted, skip, size = {
        "word": (AML_WORD, 0, 2),
        "dword": (AML_DWORD, 0, 4),
        "memory32": (AML_MEMORY32FIXED, MEMORY32FIXED_BASE, 4),
        "memory_first": (AML_DWORDMEMORY, DWORDMEMORY_FIRST, 4),
        "memory_last": (AML_DWORDMEMORY, DWORDMEMORY_FIRST + 4, 4),
        "interrupt": (AML_INTERRUPT, INTERRUPT_FIRST, 4),
    }[kind]
    expect(path, opcode, wanted)
    return offset + skip, size


def main():
    iasl, source, output, *fields = sys.argv[1:]
    name = pathlib.Path(source).stem
    aml, offsets = compile_asl(iasl, source, pathlib.Path(output).parent / name)
    entries = read_offsets(offsets)
    lines = [f"/* Made from {name}.asl. */", "#include <stdint.h>", ""]
    for field in fields:
        macro, rest = field.split("=")
        path, kind, placeholder = rest.split(":")
        at, size = locate(aml, entries, path, kind)
        wanted = placeholder.encode() if kind == "name" else int(placeholder, 16).to_bytes(size, "little")
        if aml[at:at + size] != wanted:
            sys.exit(f"{path}: found {aml[at:at + size].hex()} at offset {at:#x}, expected {wanted.hex()}")
        lines += [f"#define {macro} {at:#x}u", f"#define {macro}_SIZE {size}u"]
    lines += ["", f"static const uint8_t {name}_aml[{len(aml)}] = {{"]
    lines += ["\t" + " ".join(f"0x{b:02x}," for b in aml[i:i + 12]) for i in range(0, len(aml), 12)]
    lines += ["};", ""]
    with open(output, "w", encoding="ascii") as f:
        f.write("\n".join(lines))


if __name__ == "__main__":
    main()
