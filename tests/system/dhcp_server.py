# SPDX-License-Identifier: Apache-2.0
"""
A DHCP server (RFC 2131) as far as a test needs one: what clients said to it, and an address for each client identifier, which
nobody else gets. One `Leases` may serve several networks that stand for one.
"""
import socket
import struct
import threading

DISCOVER, OFFER, REQUEST, ACK, NAK, RELEASE = 1, 2, 3, 5, 6, 7
COOKIE = b"\x63\x82\x53\x63"
HEADER = struct.Struct(">BBBBIHH4s4s4s4s16s64s128s4s")
MASK, HOST_NAME, WANTED, LEASE_TIME, KIND, SERVER, CLIENT, END = 1, 12, 50, 51, 53, 54, 61, 255


def options_of(packet):
    found, at = {}, HEADER.size
    while at < len(packet) and packet[at] != END:
        if packet[at] == 0:
            at += 1
            continue
        length = packet[at + 1]
        found[packet[at]] = packet[at + 2:at + 2 + length]
        at += 2 + length
    return found


class Leases:
    """NETWORK is "10.0.0", say: .1 is the server's, the first client gets .2."""

    def __init__(self, network):
        self.network = network
        self.held = {}  # client identifier -> address
        self.heard = []  # (kind, client identifier, host name)
        self.lock = threading.Lock()

    def server(self):
        return socket.inet_aton(f"{self.network}.1")

    def answer(self, packet):
        """The answer to a client's packet; None: there is none."""
        fields = HEADER.unpack_from(packet)
        options = options_of(packet)
        kind, client = options[KIND][0], options.get(CLIENT, fields[11][:6])
        with self.lock:
            self.heard.append((kind, client, options.get(HOST_NAME, b"").decode()))
            if kind not in (DISCOVER, REQUEST):
                return None
            address = self.held.setdefault(client, socket.inet_aton(f"{self.network}.{2 + len(self.held)}"))
        wanted = options.get(WANTED, fields[7])  # option 50, or the address that the client has
        reply = OFFER if kind == DISCOVER else ACK if wanted == address else NAK
        said = [(KIND, bytes([reply])), (SERVER, self.server())]
        if reply != NAK:
            said += [(LEASE_TIME, struct.pack(">I", 3600)), (MASK, b"\xff\xff\xff\0")]
        header = HEADER.pack(2, fields[1], fields[2], 0, fields[4], 0, fields[6], bytes(4), address if reply != NAK else bytes(4),
                             self.server(), bytes(4), fields[11], bytes(64), bytes(128), COOKIE)
        return header + b"".join(bytes([code, len(value)]) + value for code, value in said) + bytes([END])


class DhcpServer:
    """Answers on a tap of a network namespace until it is closed."""

    def __init__(self, ns, tap, leases):
        self.leases = leases
        self.socket = ns.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, tap.encode())
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.socket.bind(("", 67))
        self.socket.settimeout(0.2)
        self.closing = False
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while not self.closing:
            try:
                packet = self.socket.recv(2048)
            except TimeoutError:
                continue
            answer = self.leases.answer(packet)
            if answer:
                self.socket.sendto(answer, ("255.255.255.255", 68))

    def close(self):
        self.closing = True
        self.thread.join()
        self.socket.close()
