# SPDX-License-Identifier: Apache-2.0
"""What the project promises a newcomer, by curl, as the transcript has it."""
import os
import re
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT, machine_config, start_watching
from snapsafe.patience import stretch

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
    start_watching(guest, "test_mmap")
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


@pytest.mark.guest
@pytest.mark.skipif(not shutil.which("nft"), reason="nftables is not installed")
def test_two_clones_on_a_network_answer_at_the_same_time():
    """./demo --network, without what comes before: it checks itself what the machines say, and this what it printed."""
    demo = subprocess.run([sys.executable, "tools/demo.py", "--network"], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=stretch(300))
    assert demo.returncode == 0, demo.stdout + demo.stderr
    answers = re.findall(r"^(guest|clone1|clone2) +((?: ?[0-9a-f]{2}){16})$", demo.stdout, re.MULTILINE)
    assert len(answers) == 10 and len({value for _, value in answers}) == 10
    for name in ("guest", "clone1", "clone2"):
        assert f"hello, {name} -> hello, {name}\n" in demo.stdout
    assert "all different" in demo.stdout.splitlines()[-1]
    assert "snapsafe-" not in "".join(os.listdir("/run/netns"))
