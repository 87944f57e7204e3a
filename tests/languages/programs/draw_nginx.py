# SPDX-License-Identifier: Apache-2.0
"""
See README.md. What nginx draws, as its clients see it: `hello` is the random of a new connection's ServerHello, `record` what
it sends on a connection that was open, of which the first 16 bytes say "HTTP/1.1 200 OK" in every clone. So what is the same in
two clones was encrypted with the same key stream.
"""
import fcntl
import os
import pathlib
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time

import drawing
from drawing import LEN

COUNTER, ADAPTER = sys.argv[1], sys.argv[2:] == ["adapter"]
CERTIFICATE = pathlib.Path(__file__).with_name("draw.pem")
DIRECTORY = pathlib.Path("/dev/draw-nginx")  # all that can be written to here
ADDRESS = ("127.0.0.1", 8443)
APPLICATION_DATA = 23

CONFIG = f"""
daemon off;
user root;
worker_processes 1;
pid {DIRECTORY}/pid;
events {{ }}
http {{
	access_log off;
	client_body_temp_path {DIRECTORY}/body;
	proxy_temp_path {DIRECTORY}/proxy;
	fastcgi_temp_path {DIRECTORY}/fastcgi;
	uwsgi_temp_path {DIRECTORY}/uwsgi;
	scgi_temp_path {DIRECTORY}/scgi;
	keepalive_timeout 1d;
	keepalive_requests 1000000000;
	server {{
		listen {ADDRESS[0]}:{ADDRESS[1]} ssl;
		ssl_protocols TLSv1.3;
		ssl_certificate {CERTIFICATE};
		ssl_certificate_key {CERTIFICATE};
		return 200;
	}}
}}
"""

context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE


def lift_loopback():
    get_flags, set_flags, up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        flags = struct.unpack_from("<H", fcntl.ioctl(s, get_flags, struct.pack("<16sH14x", b"lo", 0)), 16)[0]
        fcntl.ioctl(s, set_flags, struct.pack("<16sH14x", b"lo", flags | up))


def start_nginx():
    DIRECTORY.mkdir()
    (DIRECTORY / "conf").write_text(CONFIG)
    variables = {"OPENSSL_CONF": "/usr/share/snapsafe/openssl.cnf"} if ADAPTER else {}
    return subprocess.Popen(["/usr/sbin/nginx", "-e", "stderr", "-c", DIRECTORY / "conf"], env={**os.environ, **variables})


class Connection:
    """A TLS connection of which one sees what comes over the wire."""

    def __init__(self):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing)
        self.wire = socket.create_connection(ADDRESS)
        # No TIME-WAIT: thousands of them are made.
        self.wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def receive(self):
        """The next record, as it is sent."""
        record = self._exactly(5)
        record += self._exactly(struct.unpack(">H", record[3:])[0])
        self.incoming.write(record)
        return record

    def _exactly(self, length):
        data = b""
        while len(data) < length:
            more = self.wire.recv(length - len(data))
            if not more:
                raise EOFError("nginx has closed the connection")
            data += more
        return data

    def greet(self):
        """The random of the ServerHello (RFC 8446, 4.1.3)."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self.wire.sendall(self.outgoing.read())
        return self.receive()[11:11 + LEN]

    def shake_hands(self):
        while True:
            try:
                self.tls.do_handshake()
                self.wire.sendall(self.outgoing.read())
                return
            except ssl.SSLWantReadError:
                self.wire.sendall(self.outgoing.read())
                self.receive()

    def ask(self):
        """The beginning of the record that has the answer; there are others, with tickets, at the beginning."""
        self.tls.write(b"GET / HTTP/1.1\r\nHost: draw\r\n\r\n")
        self.wire.sendall(self.outgoing.read())
        while True:
            record = self.receive()
            try:
                text = self.tls.read(65536)
            except ssl.SSLWantReadError:
                continue
            assert record[0] == APPLICATION_DATA and text.startswith(b"HTTP/1.1 200 OK\r"), text
            return record[5:5 + LEN]


def hello():
    connection = Connection()
    random = connection.greet()
    connection.wire.close()
    return random


def wait_for_nginx():
    for _ in range(600):
        try:
            return socket.create_connection(ADDRESS).close()
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise TimeoutError("nginx does not listen")


lift_loopback()
nginx = start_nginx()
wait_for_nginx()
open_connection = Connection()
open_connection.shake_hands()
SOURCES = {"hello": hello, "record": open_connection.ask}

drawing.run(COUNTER, SOURCES)
nginx.send_signal(signal.SIGTERM)
nginx.wait()
