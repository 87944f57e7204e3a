# SPDX-License-Identifier: Apache-2.0
"""
Thousands of requests by several clients at once, good ones and bad ones: right answers, and nothing that grows.

The clients write bytes to sockets: what they send need not be HTTP. SNAPSAFE_TEST_REQUESTS is their number, half of them
before there is a machine and half beside a guest; default: 5000, and 1000 beside the guest, which may be emulated.
"""
import json
import os
import random
import socket
import threading

import pytest

from snapsafe import proc

REQUESTS = os.environ.get("SNAPSAFE_TEST_REQUESTS")
BEFORE, BESIDE = [int(REQUESTS) // 2] * 2 if REQUESTS else (5000, 1000)
CLIENTS = 6
SEED = int(os.environ.get("SNAPSAFE_TEST_SEED", 1))
PIPELINED = 8
LIMIT = 51200

# What allocators keep: freed memory that they have not given back, whatever the number of requests.
SLACK_KIB = 1024


class Client:
    """One connection; opened again when the other side has closed it."""

    def __init__(self, path, timeout=120):
        self.path, self.timeout = path, timeout
        self.sock = None
        self.rest = b""

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)
        self.rest = b""

    def send(self, data):
        if self.sock is None:
            self.connect()
        self.sock.sendall(data)

    def close(self):
        if self.sock:
            self.sock.close()
        self.sock = None

    def read(self, enough):
        while not enough(self.rest):
            data = self.sock.recv(65536)
            if not data:
                return False
            self.rest += data
        return True

    def answer(self):
        """(status, body text) of the next answer; (0, "") if the other side has closed."""
        if not self.read(lambda rest: b"\r\n\r\n" in rest):
            self.close()
            return 0, ""
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        lines = head.decode().lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:])
        length = int(fields.get("content-length", 0))
        self.read(lambda rest: len(rest) >= length)
        body, self.rest = self.rest[:length].decode(), self.rest[length:]
        if fields.get("connection") == "close":
            self.close()
        return int(lines[0].split()[1]), body

    def ask(self, data):
        self.send(data)
        return self.answer()


def request(method, path, body=None, *headers):
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    if body is not None:
        head += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + (body or b"")


def chunked(method, path, *chunks):
    head = request(method, path, None, "Transfer-Encoding: chunked", "Content-Type: application/json")
    return head + b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks + (b"",))


def kinds(state):
    """(request, status, text that is in the answer), all of which leave a machine as it is."""
    resume = b'{"state": "Resumed"}'
    when = "after starting" if state == "Running" else "before starting"
    boot = (400, when) if state == "Running" else (400, "kernel_image_path")
    patch = (204, "") if state == "Running" else (400, when)
    return [
        (request("GET", "/"), 200, f'"state":"{state}"'),
        (request("GET", "/"), 200, '"app_name":"Firecracker"'),
        (request("GET", "/version"), 200, "firecracker_version"),
        (request("GET", "/machine-config"), 200, "vcpu_count"),
        (request("GET", "/vm/config"), 200, "machine-config"),
        (request("PATCH", "/vm", resume), *patch),
        (chunked("PATCH", "/vm", resume[:5], resume[5:9], resume[9:]), *patch),
        (request("PUT", "/boot-source", b'{"kernel_image_path": "/nonexistent"}'), *boot),
        (request("GET", "/nonexistent"), 400, "Invalid request method and/or path"),
        (request("DELETE", "/vm"), 400, "Invalid request method and/or path"),
        (request("PUT", "/machine-config", b""), 400, "Empty PUT request"),
        (request("PUT", "/machine-config", b'{"vcpu_count": 1'), 400, "invalid JSON"),
        (request("PUT", "/machine-config", b"[" * 3000), 400, "invalid JSON"),
        (request("PUT", "/machine-config", b"\xff\xfe\0\1" * 100), 400, "invalid JSON"),
        (request("PUT", "/drives/x", b'{"drive_id": 7}'), 400, "drive_id"),
        (request("PUT", "/actions", json.dumps({"action_type": "x" * 20000}).encode()), 400, "action_type"),
        (request("PUT", "/entropy", b" " * (LIMIT + 1)), 400, f"size {LIMIT + 1} is larger than the limit of {LIMIT}"),
        (chunked("PUT", "/entropy", b" " * 30000, b" " * 30000), 400, "is larger than the limit"),
        (request("PUT", "/snapshot/load", b'{"snapshot_path": "/etc/passwd", "mem_file_path": "/etc/passwd"}'), 400,
         "after starting" if state == "Running" else "Load snapshot error"),
    ]


def shorten(data):
    return data if len(data) < 300 else data[:300] + b"..."


def steady(path, table, rng, count, wrong):
    """Requests one after the other, some of them sent before the answer to the ones before them was read."""
    client = Client(path)
    while count > 0 and not wrong:
        batch = [rng.choice(table) for _ in range(rng.choice((1, 1, PIPELINED)))]
        if any(len(data) > 10000 for data, _, _ in batch):
            batch = batch[:1]  # an answer in the middle of a large body may close the connection
        client.send(b"".join(data for data, _, _ in batch))
        for data, status, text in batch:
            got = client.answer()
            if got[0] != status or text not in got[1]:
                wrong.append((shorten(data), got))
        count -= len(batch)
    client.close()


def check_slow(path, state):
    """A byte at a time, while others are served."""
    client = Client(path)
    for at in range(0, 40):
        client.send(request("GET", "/version")[at:at + 1])
        assert Client(path).ask(request("GET", "/"))[0] == 200
    client.send(request("GET", "/version")[40:])
    assert client.answer()[0] == 200
    client.close()


def check_half_closed(path, state):
    """A client that will not send any more still gets its answers."""
    client = Client(path)
    client.send(request("GET", "/version") + request("GET", "/"))
    client.sock.shutdown(socket.SHUT_WR)
    assert client.answer()[0] == 200
    assert state in client.answer()[1]
    client.close()


def check_gone(path, state):
    """Clients that go in the middle of a request, or before they have read the answer to a long one."""
    for data in (b"", b"GET", b"\0" * 100 + b"\r\n\r\n", request("PUT", "/entropy", b"{}")[:-1], request("GET", "/vm/config") * 50,
                 chunked("PUT", "/entropy", b"{")[:-5]):
        client = Client(path)
        client.send(data)
        client.close()


def check_malformed(path, state):
    """What is no HTTP gets an answer of 400 or more, or the connection is closed; nothing else happens."""
    for data in (b"\r\n" * 1000 + b"X\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
                 b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                 b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                 b"PUT /entropy HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
                 b"GET /" + b"x" * 100000 + b" HTTP/1.1\r\n\r\n",
                 b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"y" * 100) for i in range(1000)) + b"\r\n"):
        client = Client(path)
        try:
            client.send(data)
            client.sock.shutdown(socket.SHUT_WR)
            status, _ = client.answer()
        except (BrokenPipeError, ConnectionResetError):
            status = 0
        assert status == 0 or status >= 400, (shorten(data), status)
        client.close()


def check_endless(path, state):
    """A body that goes on and on is cut off, not kept."""
    client = Client(path)
    client.send(request("PUT", "/entropy", None, "Content-Length: 1000000000"))
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(1000):
            client.send(b" " * 65536)
    client.close()


def check_too_many(path, state):
    """The eleventh is told so, and there is room again when others go."""
    clients = [Client(path) for _ in range(10)]
    for client in clients:
        assert client.ask(request("GET", "/"))[0] == 200
    eleventh = Client(path)
    eleventh.connect()
    answer = eleventh.answer()
    assert answer[0] == 503, answer
    for client in clients:
        client.close()


ODD = (check_slow, check_half_closed, check_gone, check_malformed, check_endless, check_too_many)


def carry_out(path, state, count, seed):
    wrong = []
    table = kinds(state)
    threads = [threading.Thread(target=steady, args=(path, table, random.Random(seed + i), count // CLIENTS, wrong))
               for i in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[0]


def measure(m):
    """Without open connections; a monitor notices soon that its clients have gone."""
    pid = m.process.pid
    least = proc.fds(pid)
    while proc.settles(lambda: proc.fds(pid), least - 1, 0.3):
        least -= 1
    return least, proc.threads(pid), proc.rss_kib(pid)


def check_nothing_grows(m, state, requests):
    path = m.api_sock
    carry_out(path, state, 600, SEED)
    for odd in ODD:
        odd(path, state)
        assert proc.settles(lambda: m.api.get("/")["state"], state)
    fds, threads, rss = measure(m)
    carry_out(path, state, requests, SEED + 100)
    for odd in ODD:
        odd(path, state)
        assert proc.settles(lambda: Client(path).ask(request("GET", "/"))[0], 200)
    now = measure(m)
    print(f"{state}: descriptors {fds} -> {now[0]}, threads {threads} -> {now[1]}, VmRSS {rss} -> {now[2]} KiB")
    assert (fds, threads) == now[:2]
    assert now[2] - rss < SLACK_KIB


def test_before_a_machine_is_there(monitor):
    m = monitor("--level", "Warn")
    m.wait_api()
    check_nothing_grows(m, "Not started", BEFORE)


def test_while_a_guest_runs(snapshot_of, restore):
    m = restore(snapshot_of(kernel="6.1"), "--level", "Warn")
    m.console.run("head -c 30000000 /dev/zero | md5sum")  # so that its memory is there before it is measured
    check_nothing_grows(m, "Running", BESIDE)
    assert m.console.run("echo alive") == "alive\n"
