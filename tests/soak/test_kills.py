"""Writers that are killed, disks that are full, memory that ends, many writers at once: old or whole, or one error."""

import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.couple.logged.written import play, write_dumps, write_inspector

from loadpath.audit import open_audit, run_audit
from loadpath.audit.compression import compress
from loadpath.audit.store import write_audit
from loadpath.errors import UsageError
from loadpath.ingest.compressed.reading import read_compressed
from loadpath.ingest.stage_log import read_stage_logs
from loadpath.testing import make_job, write_op_table

pytestmark = [pytest.mark.soak, pytest.mark.skipif(os.name != "posix", reason="limits and signals of POSIX")]  # fmt: skip

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
N_KILL = 40
AGES_AGO = 7200
"""Seconds after which what a killed process left is swept."""
AUDITS = """
import sys
from pathlib import Path
import loadpath as lp
from loadpath.audit.store import write_audit

source, out = map(Path, sys.argv[1:])
audit = lp.run_audit(source, cache=False)
content = audit.document, audit.tables, audit.job, "<html>"
print("ready", flush=True)
while True:
    write_audit(out, content, force=True)
"""
COMPRESSED = """
import sys
from pathlib import Path
from loadpath.audit.publication import publish_file

source, out = map(Path, sys.argv[1:])
content = source.read_bytes()
print("ready", flush=True)
while True:
    publish_file(out, content)
"""
LOGS = """
import sys, time
from pathlib import Path
from loadpath.capture.stages import StageLog

print("ready", flush=True)
log = StageLog(Path(sys.argv[2]).parent, 0)
for step in range(10**9):
    log.mark("forward")
    log.step(step)
    if step % 100 == 0:
        time.sleep(0.01)
"""
SHELVES = """
import hashlib, random, sys, time
from pathlib import Path
from loadpath.decode import keep, kept, shelf

shelf.MAX_SHELF_BYTES = 400_000
draw, n_found, until = random.Random(sys.argv[2]), 0, time.monotonic() + 5
while time.monotonic() < until:
    key = str(draw.randrange(20))
    content = hashlib.sha256(key.encode()).digest() * draw.choice((1000,))
    found = kept(Path(sys.argv[1]), key)
    assert found is None or bytes(found) == content
    n_found += found is not None
    keep(Path(sys.argv[1]), key, [content])
print(n_found)
"""
LIMITED = """
import io, json, resource, sys
from pathlib import Path
import loadpath as lp
import polars as pl

# where Polars cannot start its threads it stands still, now and then
pl.DataFrame({"a": [1]}).write_parquet(file := io.BytesIO())
pl.read_parquet(io.BytesIO(file.getvalue()))
sources, out = json.loads(sys.argv[1]), Path(sys.argv[2])
lp.run_audit(EXAMPLE, brief=False, cache=False)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[3]), used + int(sys.argv[3])))
lp.run_audit(*sources, out=out, brief=False, cache=False)
"""


def started(program, *words):
    """Start a program, and wait until it says that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process):
    process.kill()
    process.communicate()


def kill_often(program, source, out, *, times, within_s, check):
    """Start a writer again and again, kill it at a random moment, and check what is there."""
    draw = random.Random(int(os.environ.get("LOADPATH_SOAK_SEED", "0")))  # noqa: S311 - reproducible
    n_there = 0
    for _ in range(times):
        process = started(program, source, out)
        time.sleep(draw.uniform(0, within_s))
        end(process)
        if out.exists():
            n_there += 1
            check(out)
        assert n_there == 0 or out.exists()
    assert n_there > times // 2


def left_beside(out):
    return [path for path in out.parent.iterdir() if path.name.startswith(f".{out.name}")]


def assert_swept(out, write):
    """What killed writers left is removed by a writer that comes hours later."""
    for path in left_beside(out):
        os.utime(path, (time.time() - AGES_AGO,) * 2)
    write()
    assert left_beside(out) == []


def test_a_killed_writer_leaves_the_old_audit_or_the_new_one(tmp_path):
    source, out = EXAMPLES / "ddp-rank", tmp_path / "audit"
    audit = run_audit(source, cache=False)
    kill_often(AUDITS, source, out, times=N_KILL, within_s=0.5, check=open_audit)
    content = audit.document, audit.tables, audit.job, ""
    assert_swept(out, lambda: write_audit(out, content, force=True))


def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path):
    source, out = tmp_path / "sound.lpz", tmp_path / "out" / "job.lpz"
    compress(EXAMPLES / "tp-host", out=source)
    out.parent.mkdir()
    kill_often(COMPRESSED, source, out, times=N_KILL, within_s=0.05, check=read_compressed)
    assert_swept(out, lambda: compress(EXAMPLES / "tp-host", out=out, force=True))


def test_a_killed_job_leaves_a_log_that_lacks_its_last_lines_alone(tmp_path):
    out = tmp_path / "stages_rank0.csv"
    kill_often(LOGS, "-", out, times=20, within_s=1.0, check=Path.stat)
    found = read_stage_logs([out])
    assert found.op.height > 1000
    assert set(found.caveat["code"]) <= {
        "cut_line",
        "unreadable_row",
        "repeated_step",
        "unread_columns",
    }


@pytest.mark.parametrize("n_writer", [4])
def test_many_writers_of_one_audit_leave_a_whole_one(n_writer, tmp_path):
    source, out = EXAMPLES / "ddp-rank", tmp_path / "audit"
    writers = [started(AUDITS, source, out) for _ in range(n_writer)]
    n_read, until = 0, time.monotonic() + 5
    while time.monotonic() < until:
        if out.exists():
            open_audit(out)
            n_read += 1
    assert all(writer.poll() is None for writer in writers)
    for writer in writers:
        end(writer)
    open_audit(out)
    assert n_read > 5


def test_processes_that_share_a_shelf_find_what_was_kept_or_nothing(tmp_path):
    command = [sys.executable, "-c", SHELVES, str(tmp_path)]
    readers = [
        subprocess.Popen([*command, str(k)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for k in range(4)
    ]
    found = [int(reader.communicate(timeout=60)[0]) for reader in readers]
    assert [reader.returncode for reader in readers] == [0] * 4
    assert min(found) > 0


@pytest.fixture
def largest_file():
    """Set the size at which the disk refuses a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def set_to(n_byte):
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_byte, before[1]))

    yield set_to
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["ddp-rank", "hang-order"])
def test_a_disk_that_refuses_at_any_size_is_one_error_and_leaves_nothing(
    name, tmp_path, largest_file, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run_audit(EXAMPLES / name, cache=False)
    out = tmp_path / "audits" / "audit"
    answers, said = [], []
    for k in range(20):
        largest_file(round(100 * 1.56**k))
        try:
            run_audit(EXAMPLES / name, out=out, force=True)
        except UsageError as error:
            answers.append("refused")
            said.append(str(error))
            assert out.exists() == ("written" in answers)
        else:
            answers.append("written")
            open_audit(out)
        assert not out.parent.exists() or left_beside(out) == []
    assert all("cannot be written" in text for text in said)
    assert answers == sorted(answers)  # refused, then written
    assert {"refused", "written"} == set(answers)


def test_a_disk_that_refuses_a_compressed_recording_leaves_nothing(tmp_path, largest_file):
    out = tmp_path / "job.lpz"
    compress(EXAMPLES / "tp-host", out=out)
    n_byte = out.stat().st_size
    out.unlink()
    for limit in (0, 1, n_byte // 2, n_byte - 1):
        largest_file(limit)
        with pytest.raises(UsageError, match="cannot be written"):
            compress(EXAMPLES / "tp-host", out=out)
        assert list(tmp_path.iterdir()) == []
    largest_file(n_byte)
    compress(EXAMPLES / "tp-host", out=out)
    read_compressed(out)


def sources_of(form, folder):
    """Small records of a form."""
    job = play(n=4, steps=8, slow=1)
    return {
        "op table": lambda: [
            write_op_table(make_job(1, pp=2, dp=2, steps=2, microbatches=2), folder)
        ],
        "traces": lambda: [EXAMPLES / "tp-host"],
        "dumps": lambda: [write_dumps(job, folder / "dumps")],
        "Inspector logs": lambda: [write_inspector(job, folder / "logs")],
        "hang": lambda: [EXAMPLES / "hang-order"],
        "stage logs": lambda: [EXAMPLES / "stage-log"],
    }[form]()


@pytest.mark.parametrize("form", ["op table", "traces", "dumps", "Inspector logs", "hang"])
def test_under_ten_memory_limits_an_audit_is_whole_or_not_there(form, tmp_path):
    sources = json.dumps([str(path) for path in sources_of(form, tmp_path)])
    program = LIMITED.replace("EXAMPLE", repr(str(EXAMPLES / "ddp-rank")))
    codes = []
    for k in range(10):
        out = tmp_path / f"audit-{k}"
        command = [sys.executable, "-c", program, sources, str(out), str(1 << (20 + k))]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=300, cwd=ROOT
        )
        codes.append(done.returncode)
        assert (done.returncode == 0) == out.exists(), done.stderr[-2000:]
        if done.returncode == 0:
            open_audit(out)
    assert codes[-1] == 0
