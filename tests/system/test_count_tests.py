# SPDX-License-Identifier: Apache-2.0
"""The last lines of ./check say what has failed, and what failed at first only."""
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tools" / "count-tests"


def write_report(path, **cases):
    body = {"passed": "", "failed": "<failure/>", "broken": "<error/>", "skipped": "<skipped/>"}
    path.write_text("<testsuites><testsuite>" + "".join(
        f'<testcase classname="t" name="{name}">{body[verdict]}</testcase>'
        for name, verdicts in cases.items() for verdict in verdicts.split()) + "</testsuite></testsuites>")


def count(directory):
    done = subprocess.run([PROGRAM, directory], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


def test_what_failed_is_named_and_counted(tmp_path):
    write_report(tmp_path / "unit.xml", a="passed", b="failed", c="broken", d="skipped")
    (tmp_path / "steps.tsv").write_text("passed\tFormat\nfailed\tRules\nskipped\tclang-tidy\n")
    assert count(tmp_path) == (1, ["failed: unit: t b", "failed: unit: t c", "failed: Rules",
                                   "2 passed, 3 failed, 2 skipped"])


def test_what_passes_the_second_time_has_passed_and_is_named(tmp_path):
    write_report(tmp_path / "system-x.xml", a="passed", b="failed", c="passed broken")
    write_report(tmp_path / "system-x.again.xml", b="passed", c="passed")
    (tmp_path / "steps.tsv").write_text("unsteady\tTestbed\n")
    again = "failed, and passed when it was tried again"
    assert count(tmp_path) == (0, [f"unsteady: system-x: t b: {again}", f"unsteady: system-x: t c: {again}",
                                   f"unsteady: Testbed: {again}", "4 passed, 0 failed, 0 skipped"])


@pytest.mark.parametrize("second", ["failed", "skipped", "passed broken", None])
def test_whatever_else_happens_the_second_time_is_a_failure(tmp_path, second):
    write_report(tmp_path / "system-x.xml", a="passed", b="failed")
    write_report(tmp_path / "system-x.again.xml", **{"b": second} if second else {"other": "passed"})
    assert count(tmp_path) == (1, ["failed: system-x: t b", "1 passed, 1 failed, 0 skipped"])


def test_nothing_is_no_success(tmp_path):
    assert count(tmp_path) == (1, ["0 passed, 0 failed, 0 skipped"])


def test_a_unit_test_that_was_skipped_is_no_failure():
    """As cmocka 1.1.5 prints it. The command's own status is kept."""
    done = subprocess.run([ROOT / "tests" / "tap", "sh", "-c", "echo 'not ok 4 # SKIP a_tap'; echo 'not ok 5 - a_queue'; exit 3"],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "ok 4 # SKIP a_tap\nnot ok 5 - a_queue\n")
