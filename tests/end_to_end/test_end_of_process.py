"""How the process of a command ends."""

import os
import signal
import subprocess
import sys
from functools import partial

import pytest
from tests.end_to_end.commands import run

from loadpath.cli import COMMANDS
from loadpath.cli.process import code_of, with_room

SHOUT = """
import sys, threading
sys.argv = ["loadpath", "--version"]
import loadpath.cli
def late():
    threading.main_thread().join()
    print("late")
{start}
loadpath.cli.run()
"""


def test_all_that_was_said_is_out_when_the_process_ends(tmp_path):
    told = run("--version", folder=tmp_path)
    assert (told.code, told.out.split()[0], told.err) == (0, "loadpath", "")
    wrong = run("audit", "absent", folder=tmp_path)
    assert (wrong.code, wrong.out) == (4, "")
    assert "does not exist" in wrong.err


@pytest.mark.parametrize(("is_daemon", "last"), [(False, "late"), (True, "loadpath 0.1.0")])
def test_the_end_waits_for_threads_that_must_not_be_cut(is_daemon, last):
    start = f"threading.Thread(target=late, daemon={is_daemon}).start()"
    done = subprocess.run(
        [sys.executable, "-c", SHOUT.format(start=start)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == last


@pytest.mark.parametrize(
    ("name", "stated", "source", "set_to"),
    [
        ("_RJEM_MALLOC_CONF", "", "ops.parquet", "thp:always"),
        ("_RJEM_MALLOC_CONF", "narenas:1", "ops.csv", "narenas:1"),
        ("_RJEM_MALLOC_CONF", "", "rank0.json.gz", None),
        ("NUMPY_MADVISE_HUGEPAGE", "", "ops.parquet", "0"),
        ("NUMPY_MADVISE_HUGEPAGE", "1", "ops.csv", "1"),
        ("NUMPY_MADVISE_HUGEPAGE", "", "rank0.json.gz", None),
    ],
)
def test_memory_is_kept_for_tables_and_settings_of_the_user_stay(name, stated, source, set_to):
    settings = {k: v for k, v in os.environ.items() if k != name} | (
        {name: stated} if stated else {}
    )
    told = "import os; from pathlib import Path; from loadpath.cli.process import keep_memory; "
    told += f"keep_memory([Path({source!r})]); print(os.environ.get({name!r}))"
    done = subprocess.run(
        [sys.executable, "-c", told], env=settings, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(set_to)


def test_a_function_with_room_does_what_it_does_without():
    seen = []

    def deep(n):
        seen.append(n)
        if n:
            deep(n - 1)

    with_room(lambda: deep(500))()
    assert seen == list(range(500, -1, -1))
    assert code_of(with_room(lambda: sys.exit(3))) == 3
    assert code_of(with_room(lambda: None)) == 0


def test_a_command_that_is_stopped_before_it_began_ends_without_a_traceback():
    def stopped():
        raise KeyboardInterrupt

    assert code_of(with_room(stopped)) == 130


STOPPED = """
import os, signal, sys
class Stop:
    def find_spec(self, name, *_):
        if name == {at!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Stop())
sys.argv = ["loadpath", {command!r}, "--help"]
from loadpath.__main__ import main
main()
"""


def stopped_at(at, command, **options):
    return subprocess.run(
        [sys.executable, "-c", STOPPED.format(at=at, command=command)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("at", ["loadpath.cli", "typer", "loadpath.cli.{}"])
def test_a_command_that_is_stopped_while_it_is_loaded_ends_without_a_word(at, command):
    done = stopped_at(at.format(command), command)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_command_that_ignores_the_signal_goes_on():
    ignoring = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    done = stopped_at("typer", "audit", preexec_fn=ignoring)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage" in done.stdout
