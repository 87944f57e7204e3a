# SPDX-License-Identifier: Apache-2.0
"""The console on a Unix socket of a whole monitor, with its filters. tests/unit/test_serial_socket.c has what clients may do."""
import json
import socket

from snapsafe.patience import stretch
from test_process import halting_kernel


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(stretch(20))
        self.socket.connect(str(path))


def test_the_socket_is_there_from_the_start_to_the_end(monitor, tmp_path):
    """No guest has to run for that; the filters are in force."""
    halting_kernel(tmp_path / "kernel")
    (tmp_path / "config").write_text(json.dumps({
        "boot-source": {"kernel_image_path": "kernel"},
        "machine-config": {"vcpu_count": 1, "mem_size_mib": 32},
        "serial": {"serial_socket_path": "console"},
    }))
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "console"))
    for _ in range(2):
        m = monitor("--config-file", "config", cwd=tmp_path)
        m.wait_api()
        first, second = Client(tmp_path / "console"), Client(tmp_path / "console")
        assert second.socket.recv(1) == b""
        first.socket.close()
        Client(tmp_path / "console").socket.sendall(b"x" * 10000)
        assert m.api.get("/")["state"] == "Running"
        m.stop()
        assert not (tmp_path / "console").exists()
