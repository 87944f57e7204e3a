# SPDX-License-Identifier: Apache-2.0
"""What demonstrations print: each command as a person would type it, and what a machine's console says behind its name."""
import os
import shlex
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "pylib"))
from snapsafe import Monitor  # noqa: E402

BINARY = "./bin/snapsafe-vmm"


def say(text=""):
    print(text, flush=True)


def title(text):
    say(f"\n--- {text}")


def printer(name):
    """Prints a console's output, whole lines, behind the machine's name."""
    pending = bytearray()

    def echo(data):
        pending.extend(data.replace(b"\r", b""))
        while b"\n" in pending:
            line, _, rest = bytes(pending).partition(b"\n")
            pending[:] = rest
            say(f"{name} | {line.decode(errors='replace')}")

    return echo


def start(name, sock, *args, prefix=()):
    args += ("--log-path", f"./{name}.log")  # else it goes to standard output, which is the guest's console
    say(f"\n$ {' '.join([*prefix, BINARY])} --api-sock {sock} {' '.join(args)}".rstrip())
    monitor = Monitor(*args, binary=BINARY, api_sock=sock, echo=printer(name), prefix=prefix)
    monitor.wait_api()
    return monitor


def curl_command(sock, method, path, body):
    return (f"curl --unix-socket {sock} -i \\\n    -X {method} 'http://localhost{path}' \\\n"
            f"    -H 'Accept: application/json' \\\n    -H 'Content-Type: application/json' \\\n    -d '{body}'")


def curl(sock, method, path, body):
    command = curl_command(sock, method, path, body)
    say(f"\n$ {command}")
    words = shlex.split(command.replace("\\\n", " "))
    # What a person sees is the answer, not the progress meter.
    answer = subprocess.run([*words, "--silent", "--show-error"], capture_output=True, text=True, check=True).stdout
    say(answer.replace("\r", "").rstrip())
    if not answer.startswith("HTTP/1.1 204"):
        sys.exit(f"demo: {method} {path} was refused")
