#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The demonstration: one machine, one snapshot, two clones, no common randomness. Started by ./demo, where KVM works.

Each command is printed as a person would type it, then run. Everything that a machine prints stands behind its name.
"""
import argparse
import os
import sys
import tempfile
import time

import demo_network
from transcript import BINARY, Monitor, curl, curl_command, say, start, title

COUNTER = "/sys/virtio-rng/virtio_rng.0/vm_gen_counter"
CHANGED = r"VM generation counter changed! Old: 0 New: 1\n"
# What --kernel chooses: the config file, and what the machine is.
KERNELS = {
    "stock": ("share/fc_config.json", "Debian's stock kernel with our driver"),
    "patched": ("share/fc_config_patched.json", "Linux 6.1 with our patches"),
}


SNAPSHOT = '{"snapshot_type": "Full", "snapshot_path": "./snapshot_file", "mem_file_path": "./mem_file"}'
LOAD = ('{"snapshot_path": "./snapshot_file", "mem_backend": {"backend_type": "File", "backend_path": "./mem_file"}, '
        '"resume_vm": true}')


def random_bytes(machine):
    """What the guest's kernel gives to a program, once the guest's driver has handled the leak."""
    machine.console.send("\x03")  # ends test_mmap
    machine.console.expect("# ")
    machine.console.send("head -c 16 /dev/urandom | od -An -tx1\n")
    return machine.console.expect(r"^((?: [0-9a-f]{2}){16})\n").group(1).strip()


def demonstrate(config, what):
    title(f"A microVM with an entropy device that reports leaks; {what}")
    machine = start("guest", "/tmp/firecracker.sock", "--config-file", config)
    began = time.monotonic()
    machine.console.login()
    say(f"\n(login prompt answered {time.monotonic() - began:.1f} s after the start)")

    title("A program in the guest watches the generation counter")
    machine.console.send(f"./test_mmap {COUNTER}\n")
    machine.console.expect("test_mmap.*\n")
    machine.console.drain(1)

    title("From another terminal: pause, snapshot, resume")
    curl("/tmp/firecracker.sock", "PATCH", "/vm", '{"state": "Paused"}')
    curl("/tmp/firecracker.sock", "PUT", "/snapshot/create", SNAPSHOT)
    curl("/tmp/firecracker.sock", "PATCH", "/vm", '{"state": "Resumed"}')
    machine.console.expect(CHANGED)

    title("Two clones of that snapshot, each in a monitor of its own")
    clones = []
    for name in ("clone1", "clone2"):
        sock = f"/tmp/{name}.sock"
        clone = start(name, sock)
        curl(sock, "PUT", "/snapshot/load", LOAD)
        clone.console.expect(CHANGED)
        clones.append((name, clone))

    title("16 random bytes from each of the three machines")
    results = {}
    for name, monitor in [("guest", machine), *clones]:
        results[name] = random_bytes(monitor)
    say()
    for name, value in results.items():
        say(f"{name:7} {value}")
    for _, monitor in [("guest", machine), *clones]:
        monitor.stop()
    if len(set(results.values())) != len(results):
        sys.exit("demo: two machines returned the same random bytes")
    say("\nAll different: one snapshot, three machines, no randomness used twice.")


def interactive(config):
    sock = "/tmp/firecracker.sock"
    say(f"""
You get the machine's console: log in as root with the password root, and start
    ./test_mmap {COUNTER} &
Type Ctrl-A x to end, Ctrl-A s for a shell on the host side (leave it with exit). In that shell, try:

# pause
{curl_command(sock, "PATCH", "/vm", '{"state": "Paused"}')}
# snapshot
{curl_command(sock, "PUT", "/snapshot/create", SNAPSHOT)}
# resume: the counter changes
{curl_command(sock, "PATCH", "/vm", '{"state": "Resumed"}')}
# a clone, with its console on your terminal
{BINARY} --api-sock /tmp/clone.sock --log-path ./clone.log &
{curl_command("/tmp/clone.sock", "PUT", "/snapshot/load", LOAD)}
""")
    from terminal import attach  # a module beside this one

    machine = Monitor("--config-file", config, binary=BINARY, api_sock=sock)
    machine.wait_api()
    attach(machine)
    machine.stop()


def main():
    parser = argparse.ArgumentParser(description="The demonstration; ./demo starts it.")
    parser.add_argument("--kernel", choices=KERNELS, default="stock")
    parser.add_argument("--network", action="store_true")
    parser.add_argument("--interactive", action="store_true")
    args = parser.parse_args()
    config, what = KERNELS[args.kernel]
    # Snapshot files go to a directory of their own, under the names that the commands show; links lead back to the rest.
    root = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="snapsafe-demo-") as directory:
        for name in ("bin", "build", "share"):
            os.symlink(os.path.join(root, name), os.path.join(directory, name))
        os.chdir(directory)
        try:
            if args.network:
                demo_network.demonstrate(config, what)
            elif args.interactive:
                interactive(config)
            else:
                demonstrate(config, what)
        finally:
            os.chdir(root)


if __name__ == "__main__":
    main()
