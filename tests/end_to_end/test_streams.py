"""Closed, full and broken streams end in one line or quietly, never in a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import loadpath

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="streams of POSIX shells")


def shell(line, folder):
    """Run a line in which $LP is the command; return its status and what it said."""
    command = f"{sys.executable} -m loadpath"
    path = str(Path(loadpath.__file__).parents[1])
    done = subprocess.run(
        ["/bin/bash", "-c", line.replace("$LP", command)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words", ["audit none.csv", "--help", "whatif none --format json"])
def test_closed_stdout_is_a_wrong_call(tmp_path, words):
    code, out, err = shell(f"$LP {words} >&-", tmp_path)
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "loadpath: stdout is closed: there is no place for the result. Send it to a file."
    ]


def test_full_disk_behind_stdout_is_one_line(tmp_path):
    code, _, err = shell("$LP audit --help >/dev/full", tmp_path)
    assert code == 1
    assert err.splitlines() == [
        "loadpath: No space left on device. Check where the result goes, and the disk."
    ]


def test_full_disk_behind_stdout_of_a_result_is_one_line(table, tmp_path):
    code, _, err = shell(f"$LP whatif '{table}' --set rank=0:ideal >/dev/full", tmp_path)
    assert code == 1
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("words", ["audit none.csv 2>&-", "audit none.csv 2>/dev/full"])
def test_status_of_an_input_fault_is_kept_where_stderr_is_lost(tmp_path, words):
    assert shell(f"$LP {words}", tmp_path) == (4, "", "")


def test_closed_stderr_does_not_change_the_result(table, tmp_path):
    line = f"$LP whatif '{table}' --set rank=0:ideal"
    assert shell(f"{line} 2>&-", tmp_path) == shell(line, tmp_path)


def test_reader_that_stops_early_is_met_in_silence(tmp_path):
    code, _, err = shell("$LP audit --help | true; exit ${PIPESTATUS[0]}", tmp_path)
    assert err == ""
    assert code in {0, 1}
