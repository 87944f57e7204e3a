# SPDX-License-Identifier: Apache-2.0
"""What the project promises a newcomer, by curl, as the transcript has it."""
import subprocess

from conftest import COUNTER, machine_config

CHANGED = r"^VM generation counter changed! Old: 0 New: 1\n"


def curl(sock, method, path, body):
    """The answer's headers and body, as curl -i prints them."""
    answer = subprocess.run(["curl", "--silent", "--show-error", "--unix-socket", sock, "-i", "-X", method,
                             f"http://localhost{path}", "-H", "Accept: application/json",
                             "-H", "Content-Type: application/json", "-d", body],
                            capture_output=True, text=True, check=True, timeout=120).stdout
    assert answer.startswith("HTTP/1.1 204"), answer


def test_transcript_then_two_clones_each_report_the_change(boot, monitor, tmp_path):
    guest = boot(machine_config())
    guest.console.send(f"./test_mmap {COUNTER}\n")
    guest.console.drain(1)
    state, mem = tmp_path / "snapshot_file", tmp_path / "mem_file"
    curl(guest.api_sock, "PATCH", "/vm", '{"state": "Paused"}')
    curl(guest.api_sock, "PUT", "/snapshot/create",
         f'{{"snapshot_type": "Full", "snapshot_path": "{state}", "mem_file_path": "{mem}"}}')
    curl(guest.api_sock, "PATCH", "/vm", '{"state": "Resumed"}')
    guest.console.expect(CHANGED)
    for _ in range(2):
        clone = monitor()
        clone.wait_api()
        curl(clone.api_sock, "PUT", "/snapshot/load",
             f'{{"snapshot_path": "{state}", "mem_file_path": "{mem}", "resume_vm": true}}')
        clone.console.expect(CHANGED)
