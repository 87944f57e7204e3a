# SPDX-License-Identifier: Apache-2.0
"""
The demonstration with a network: two clones of one snapshot, which have the same address, are asked at the same time at two
addresses of the host's (docs/clones-network.md). ./demo --network starts it, where KVM works.
"""
import json
import os
import socket
import subprocess
import sys

from transcript import curl, say, start, title

MACHINES = ("guest", "clone1", "clone2")
ADDRESS = "172.16.0.2"  # of each of them
ROUNDS = 3
CONFIG = "./fc_config_network.json"
SECTIONS = {
    "machine-config": {"vcpu_count": 1, "mem_size_mib": 256},
    "network-interfaces": [{"iface_id": "eth0", "host_dev_name": "tap0", "guest_mac": "06:00:ac:10:00:02"}],
    "vsock": {"guest_cid": 3, "uds_path": "./guest.vsock"},
}
SNAPSHOT = '{"snapshot_type": "Full", "snapshot_path": "./snapshot_file", "mem_file_path": "./mem_file"}'
LOAD = ('{"snapshot_path": "./snapshot_file", "mem_backend": {"backend_type": "File", "backend_path": "./mem_file"}, '
        '"vsock_override": {"uds_path": "./%s.vsock"}, "resume_vm": true, "reseed_timeout_ms": 60000}')
# The page is a program: 16 bytes of the guest's kernel.
PAGE = r"#!/bin/sh\necho Content-type: text/plain\necho\nhead -c 16 /dev/urandom | od -An -tx1\n"
SERVERS = (
    f"ip addr add {ADDRESS}/30 dev eth0 && ip link set eth0 up && ip route add default via 172.16.0.1",
    f"mkdir -p /tmp/www/cgi-bin && printf '{PAGE}' >/tmp/www/cgi-bin/random && chmod +x /tmp/www/cgi-bin/random",
    "httpd -h /tmp/www",
    "./test_vsock listen 52 echo &",
)


def address(name):
    """Where the host reaches it."""
    return f"198.18.0.{4 * MACHINES.index(name) + 2}"


def url(name):
    return f"http://{address(name)}/cgi-bin/random"


def shell(command):
    say(f"$ {command}")
    subprocess.run(command, shell=True, check=True)


def write_config(template):
    with open(template) as f:
        config = json.load(f)
    boot = config["boot-source"]
    boot["boot_args"] = boot["boot_args"].replace("earlyprintk=ttyS0", "quiet")  # twice as fast where a processor is emulated
    with open(CONFIG, "w") as f:
        json.dump({**config, **SECTIONS}, f, indent=2)
    say(f"{CONFIG} is {template}, quiet, and with\n{json.dumps(SECTIONS, indent=2)}")


def boot():
    machine = start("guest", "/tmp/firecracker.sock", "--config-file", CONFIG, prefix=("ip", "netns", "exec", "snapsafe-guest"))
    machine.console.login()
    for number, command in enumerate(SERVERS):
        machine.console.send(f"{command}\necho RE''ADY{number}\n")
        machine.console.expect(f"READY{number}\n")
    return machine


def clone(name):
    sock = f"/tmp/{name}.sock"
    machine = start(name, sock, prefix=("ip", "netns", "exec", f"snapsafe-{name}"))
    curl(sock, "PUT", "/snapshot/load", LOAD % name)
    return machine


def ask(names):
    """What each says to one request; all are asked before one answers."""
    command = ["curl", "--silent", "--show-error", "--fail", "--max-time", "60", "--retry", "3"]
    say(f"\n$ {' & '.join(f'curl {url(name)}' for name in names)} & wait")
    asked = [(name, subprocess.Popen([*command, url(name)], stdout=subprocess.PIPE, text=True)) for name in names]
    answers = {}
    for name, process in asked:
        answers[name] = process.communicate()[0].strip()
        if process.returncode:
            sys.exit(f"demo: {name} does not answer at {address(name)}")
        say(f"{name:7} {answers[name]}")
    return answers


def hello(name):
    """Over vsock, as docs/vsock.md has it."""
    text = f"hello, {name}"
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60)
        s.connect(f"./{name}.vsock")
        stream = s.makefile("rw")
        stream.write("CONNECT 52\n")
        stream.flush()
        accepted = stream.readline()
        stream.write(text + "\n")
        stream.flush()
        answer = stream.readline().strip()
    say(f"./{name}.vsock: CONNECT 52 -> {accepted.strip()}, {text} -> {answer}")
    if not accepted.startswith("OK ") or answer != text:
        sys.exit(f"demo: {name} does not answer over vsock")


def reach_host(name, machine):
    """The other direction: out of the namespace, to the host's end."""
    machine.console.send(f"ping -c 1 198.18.0.{4 * MACHINES.index(name) + 1} >/dev/null && echo {name} REACHES THE HO''ST\n")
    machine.console.expect(f"{name} REACHES THE HOST\n")


def run(machines):
    title("A microVM with a network interface and vsock, in a network namespace of its own")
    machines.append(boot())
    original = ask(["guest"])

    title("Pause, snapshot, resume")
    curl("/tmp/firecracker.sock", "PATCH", "/vm", '{"state": "Paused"}')
    curl("/tmp/firecracker.sock", "PUT", "/snapshot/create", SNAPSHOT)
    curl("/tmp/firecracker.sock", "PATCH", "/vm", '{"state": "Resumed"}')

    title("Two clones of that snapshot: the same address in another namespace, a socket of its own for vsock")
    clones = MACHINES[1:]
    for name in clones:
        machines.append(clone(name))

    title(f"Both are {ADDRESS} to themselves. Both answer at the same time, at two addresses")
    values = list(original.values())
    for _ in range(ROUNDS):
        values += ask(clones).values()
    values += ask(MACHINES).values()

    title("vsock, each at its own path")
    for name in MACHINES:
        hello(name)

    title("From the clones to the host")
    for name, machine in zip(clones, machines[1:]):
        reach_host(name, machine)

    if len(set(values)) != len(values):
        sys.exit("demo: two answers have the same random bytes")
    say(f"\n{len(values)} answers, all different: one snapshot, one address, three machines at the same time.")


def demonstrate(template, what):
    title(f"Network namespaces, each with a tap and the same addresses in it; {what}")
    script = os.path.join("share", "clone-network")
    made, machines = [], []
    try:
        for number, name in enumerate(MACHINES):
            shell(f"{script} add {name} {number}")
            made.append(name)
        write_config(template)
        run(machines)
    finally:
        for machine in machines:
            machine.stop()
        for name in made:
            subprocess.run([script, "remove", name], check=True)
