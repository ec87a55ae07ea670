"""The command line, run as a process of its own or, where many calls are made, in this one."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import loadpath
from loadpath.cli import main


class Answer(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


BOUND = (
    ()
    if os.name != "posix" or os.geteuid()
    else ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
)
"""What a command starts with so that rights of files count, also for the superuser."""


def run(*words, folder, before=(), **env):
    """Run the command in a process of its own."""
    path = os.pathsep.join(
        [str(Path(loadpath.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    )
    done = subprocess.run(
        [*before, sys.executable, "-m", "loadpath", *map(str, words)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "80"} | env,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def call(*words, folder):
    """Run the command in this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    code, before = 0, sys.argv
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            sys.argv = ["loadpath", *map(str, words)]
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            sys.argv = before
    return Answer(code, _text(out), _text(err))


def _text(stream):
    stream.flush()
    return stream.buffer.getvalue().decode()
