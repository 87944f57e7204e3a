# SPDX-License-Identifier: Apache-2.0
"""See README.md. `ssl` is OpenSSL's generator; `record` what an open TLS connection sends, `hello` what a new one begins with."""
import hashlib
import pathlib
import random
import secrets
import ssl
import sys
import uuid

import drawing
from drawing import LEN

COUNTER, ADAPTER = sys.argv[1], sys.argv[2:] == ["adapter"]
CERTIFICATE = str(pathlib.Path(__file__).with_name("draw.pem"))

if ADAPTER:
    import snapsafe
    snapsafe.install()

server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server_context.load_cert_chain(CERTIFICATE)
client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
client_context.check_hostname = False
client_context.verify_mode = ssl.CERT_NONE


class Connection:
    """A TLS connection without a network, from its handshake on; the server's side of it."""

    def __init__(self):
        self.token = snapsafe.Token() if ADAPTER else None
        to_server, self.to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server_context.wrap_bio(to_server, self.to_client, server_side=True)
        client_in = ssl.MemoryBIO()
        client = client_context.wrap_bio(client_in, to_server)
        waiting = [client, self.server]
        while waiting:
            for side in list(waiting):
                try:
                    side.do_handshake()
                    waiting.remove(side)
                except ssl.SSLWantReadError:
                    pass
                if client in waiting:
                    client_in.write(self.to_client.read())
        self.to_client.read()

    def send(self, text):
        """What goes over the wire."""
        self.server.write(text)
        return self.to_client.read()


connection = Connection()


def record():
    global connection
    while True:
        sent = connection.send(b"the same text in every clone")
        if not ADAPTER or connection.token.holds():
            return hashlib.sha256(sent).digest()[:LEN]
        connection = Connection()


def hello():
    sent = ssl.MemoryBIO()
    try:
        client_context.wrap_bio(ssl.MemoryBIO(), sent).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return sent.read()[11:11 + LEN]  # the random of the ClientHello


SOURCES = {
    "secrets": lambda: secrets.token_bytes(LEN),
    "SystemRandom": lambda: random.SystemRandom().getrandbits(128).to_bytes(LEN, "big"),
    "uuid4": lambda: uuid.uuid4().bytes,
    "random": lambda: random.getrandbits(128).to_bytes(LEN, "big"),
    "ssl": lambda: ssl.RAND_bytes(LEN),
    "hello": hello,
    "record": record,
}
if ADAPTER:
    SOURCES["snapsafe"] = lambda: snapsafe.random_bytes(LEN)

drawing.run(COUNTER, SOURCES)
