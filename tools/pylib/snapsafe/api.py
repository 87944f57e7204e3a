# SPDX-License-Identifier: Apache-2.0
"""HTTP on a Unix socket, by the standard library's client."""
import http.client
import json
import socket
import time

from .patience import Deadline, stretch


class ApiError(AssertionError):
    def __init__(self, status, body):
        super().__init__(f"HTTP {status}: {body}")
        self.status = status
        self.body = body

    @property
    def fault_message(self):
        return json.loads(self.body)["fault_message"]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(stretch(self.timeout))
        self.sock.connect(self.path)


class Api:
    def __init__(self, path, timeout=120):
        self.path = path
        self.timeout = timeout

    def raw(self, method, target, body=None):
        """One request on a connection of its own: (status, body text). body: bytes, str, or anything that JSON can say."""
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        connection = UnixConnection(self.path, self.timeout)
        try:
            headers = {"Accept": "application/json", "Content-Type": "application/json"}
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def request(self, method, target, body=None):
        status, text = self.raw(method, target, body)
        if status >= 300:
            raise ApiError(status, text)
        return json.loads(text) if text else None

    def wait(self, timeout=30, every=0.005, alive=lambda: True):
        """
        What GET / answers as soon as somebody does; None if nobody has in time, or `alive` says that nobody will. That the file
        is there is not enough: between bind() and listen() it refuses.
        """
        deadline = Deadline(timeout)
        while alive() and deadline.left() > 0:
            try:
                return self.get("/")
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(every)
        return None

    def get(self, target):
        return self.request("GET", target)

    def put(self, target, body):
        return self.request("PUT", target, body)

    def patch(self, target, body):
        return self.request("PATCH", target, body)

    def pause(self):
        self.patch("/vm", {"state": "Paused"})

    def resume(self):
        self.patch("/vm", {"state": "Resumed"})

    def snapshot(self, state, mem):
        self.put("/snapshot/create", {"snapshot_type": "Full", "snapshot_path": str(state), "mem_file_path": str(mem)})

    def load(self, state, mem, resume=True):
        self.put("/snapshot/load", {
            "snapshot_path": str(state),
            "mem_backend": {"backend_type": "File", "backend_path": str(mem)},
            "resume_vm": resume,
        })
