# SPDX-License-Identifier: Apache-2.0
"""
Requests that are no HTTP, or that more than one reader would take for more than one thing: each is answered by a status and one
sentence in JSON, as any other request that is refused, and the monitor goes on answering. No guest runs for that.

The static monitor has a libmicrohttpd with our answers (tools/static-libs); a monitor that is linked with Debian's own library
answers some of these with that library's HTML, so these tests want the static one.
"""
import json
import select
import signal
import socket
import subprocess
import time

import pytest

from conftest import BINARY
from snapsafe.api import Api
from snapsafe.patience import Deadline, stretch

HOST = b"Host: localhost\r\n"
SILENCE_S = 10  # API_SILENCE_S in host/api/server.c
ENTROPY = b"PUT /entropy HTTP/1.1\r\n" + HOST

# name: (request, status, what the sentence has)
TABLE = {
    "empty request line": (b"\r\n \r\n\r\n", 400, "incorrect"),
    "a word": (b"hello\r\n\r\n", 400, "incorrect"),
    "no version": (b"GET /\r\n\r\n", 400, "incorrect"),
    "version 2": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505, "version"),
    "version 0.9": (b"GET / HTTP/0.9\r\n" + HOST + b"\r\n", 505, "version"),
    "version of letters": (b"GET / HTTP/x.y\r\n" + HOST + b"\r\n", 400, "incorrect"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x5a" * 64 + b"\r\n\r\n", 400, "incorrect"),
    "header without a colon": (b"GET / HTTP/1.1\r\n" + HOST + b"nothing\r\n\r\n", 400, "incorrect"),
    "Content-Length of letters": (ENTROPY + b"Content-Length: ten\r\n\r\n", 400, "Content-Length"),
    "Content-Length below zero": (ENTROPY + b"Content-Length: -1\r\n\r\n", 400, "Content-Length"),
    "Content-Length and more": (ENTROPY + b"Content-Length: 2, 2\r\n\r\n{}", 400, "Content-Length"),
    "Content-Length empty": (ENTROPY + b"Content-Length:\r\n\r\n", 400, "Content-Length"),
    "Content-Length of 24 digits": (ENTROPY + b"Content-Length: " + b"9" * 24 + b"\r\n\r\n", 413, "too large"),
    "two Content-Lengths": (ENTROPY + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", 400, "more than once"),
    "the same Content-Length twice": (ENTROPY + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400, "more than once"),
    "Content-Length and chunks": (ENTROPY + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "both"),
    "chunks of garbage": (ENTROPY + b"Transfer-Encoding: chunked\r\n\r\nzzz\r\n{}\r\n0\r\n\r\n", 400, "chunked"),
    "a chunk that does not end": (ENTROPY + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n", 400, "chunked"),
    "a chunk of 2^80 bytes": (ENTROPY + b"Transfer-Encoding: chunked\r\n\r\n1" + b"0" * 20 + b"\r\n", 413, "too large"),
    "Transfer-Encoding gzip": (ENTROPY + b"Transfer-Encoding: gzip\r\n\r\nabc", 400, "Transfer-Encoding"),
    "Transfer-Encoding gzip, chunked": (ENTROPY + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, "Transfer-Encoding"),
    "zero byte in the path": (b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "incorrect"),
    "zero byte in a header": (ENTROPY + b"Content-Length: 2\0 3\r\n\r\n{}", 400, "incorrect"),
    "header too large": (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 40000 + b"\r\n\r\n", 431, "too big"),
    "too many headers": (b"GET / HTTP/1.1\r\n" + HOST + b"".join(b"X-%d: y\r\n" % i for i in range(5000)) + b"\r\n", 431, "too big"),
    "URI too long": (b"GET /" + b"x" * 40000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414, "too big"),
    "request line that does not end": (b"x" * 40000, 414, "too big"),
}

# Strange, but all readers agree what they are: they get an answer to what they ask.
ODD = {
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 200),  # RFC 9112 wants one; what Firecracker takes has none, and a socket has no name
    "LF only": (b"GET / HTTP/1.1\nHost: localhost\n\n", 200),
    "empty lines before": (b"\r\n\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n", 200),
    "version 1.0 without Host": (b"GET / HTTP/1.0\r\n\r\n", 200),
    "method that nobody knows": (b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "control characters in the path": (b"GET /\x01\x02\x1b[2J HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "bytes that are no UTF-8 in the path": (b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "control characters in a header": (b"GET / HTTP/1.1\r\n" + HOST + b"X: \x01\x02\x7f\r\n\r\n", 200),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The socket of a monitor without a machine."""
    directory = tmp_path_factory.mktemp("incorrect")
    sock = directory / "sock"
    with open(directory / "log", "w") as log:
        p = subprocess.Popen([BINARY, "--api-sock", str(sock), "--level", "Debug"], stdin=subprocess.DEVNULL, stdout=log,
                             stderr=subprocess.STDOUT)
    deadline = Deadline(10)
    while not sock.exists():
        assert p.poll() is None and deadline.left() > 0, (directory / "log").read_text()
        time.sleep(0.01)
    yield sock
    running = p.poll() is None
    p.terminate()
    assert running and p.wait(stretch(10)) in (0, -signal.SIGTERM), (directory / "log").read_text()[-2000:]


def connect(path, timeout=10):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(stretch(timeout))
    sock.connect(str(path))
    return sock


def send(sock, data):
    """As much as the other side takes before it has refused the rest."""
    try:
        sock.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        pass


def answer(sock):
    """(status, fields in lower case, body) of one answer whose end is the connection's or its Content-Length's."""
    data = b""
    while True:
        head, found, body = data.partition(b"\r\n\r\n")
        if found:
            lines = head.decode().split("\r\n")
            fields = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
            if len(body) >= int(fields.get("content-length", 0)):
                return int(lines[0].split()[1]), fields, body
        more = sock.recv(65536)
        assert more, f"the connection ended after {data!r}"
        data += more


def ends(sock):
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:  # there was something that nobody has read
        return True


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("step", (0, 7), ids=("at once", "in pieces"))
def test_answers_in_json(path, name, step):
    request, status, words = TABLE[name]
    with connect(path) as sock:
        for at in range(0, len(request), len(request) // step if step else len(request)):
            send(sock, request[at:at + (len(request) // step if step else len(request))])
        got, fields, body = answer(sock)
        assert got == status, body
        assert fields["content-type"] == "application/json"
        assert fields["server"] == "Firecracker API"
        assert fields["connection"].lower() == "close"
        assert list(json.loads(body)) == ["fault_message"]
        assert words in json.loads(body)["fault_message"]
        assert ends(sock)
    assert Api(str(path)).get("/")["state"] == "Not started"


@pytest.mark.parametrize("name", ODD)
def test_strange_and_clear(path, name):
    request, status = ODD[name]
    with connect(path) as sock:
        send(sock, request)
        got, fields, body = answer(sock)
    assert got == status, body
    assert fields["content-type"] == "application/json"
    assert status == 200 or list(json.loads(body)) == ["fault_message"]
    assert Api(str(path)).get("/")["state"] == "Not started"


def test_the_log_says_what_was_refused(path):
    with connect(path) as sock:
        send(sock, b"hello\r\n\r\n")
        sentence = json.loads(answer(sock)[2])["fault_message"]
    log = (path.parent / "log").read_text()
    assert f"Received Error. Status code: 400 Bad Request. Message: {sentence}" in log


def test_who_falls_silent_is_dropped(path):
    """
    Clients that stop in the middle of a request, half of them for good (half-closed), give their places back after a while; one
    that is silent between two requests keeps it.
    """
    get = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
    between = connect(path)
    send(between, get)
    assert answer(between)[0] == 200
    begun = time.monotonic()
    silent = [connect(path) for _ in range(8)]
    for i, sock in enumerate(silent):
        send(sock, (b"GET", b"GET / HTTP/1.1\r\nHost", ENTROPY + b"Content-Length: 10\r\n\r\n{",
                    ENTROPY + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{")[i % 4])
        if i >= 4:
            sock.shutdown(socket.SHUT_WR)
    open_ones, deadline = set(silent), Deadline(SILENCE_S + 10)
    while open_ones:
        ready, _, _ = select.select(open_ones, [], [], max(deadline.left(), 0))
        assert ready, f"{len(open_ones)} clients that are silent keep their connections"
        for sock in ready:
            assert ends(sock)
            assert sock in silent[4:] or time.monotonic() - begun >= SILENCE_S - 1, "dropped too early"
            open_ones.remove(sock)
            sock.close()
    assert Api(str(path)).get("/")["state"] == "Not started"
    send(between, get)
    assert answer(between)[0] == 200
    between.close()
