"""Damaged copies of sound records: cut, mutated, and built to exhaust the reader."""

import gzip
import json
import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import polars as pl
from tests.ingest.goal.binary_form import binary

from loadpath.audit.dumps import recording_of_dumps
from loadpath.audit.hang import diagnose_dumps
from loadpath.audit.pipeline import couple_sources
from loadpath.audit.settings import Settings
from loadpath.audit.sources import load_recording
from loadpath.errors import LoadpathError
from loadpath.ingest.flight_recorder import read_flight_recorders
from loadpath.ingest.goal.text import read_text
from loadpath.ingest.kineto import read_kineto
from loadpath.ingest.op_table import read_op_table
from loadpath.testing import make_job, write_kineto, write_op_table
from loadpath.testing.schedules import stencil

MOST_SECONDS = 2.0
DUMPS = ("fr_rank0.json", "_dump_0")
SPLINTERS = (
    *(b"NaN", b"Infinity", b"-Infinity", b"inf", b"N/A", b"null", b"true", b"{}", b"[]", b"''"),
    *(
        b'"',
        b"\\",
        b"\\u00e9",
        b"\\ud800",
        b"\xff\xfe",
        b"\xe2\x82\xac",
        b"\x00",
        b"\t",
        b"\n",
        b"\r",
    ),
    *(b"{", b"}", b"[", b"]", b",", b":", b"-", b".", b"e", b"1e999", b"-0", b"007", b"0.0005"),
    *(b"9" * 17, b"9" * 40, b"-" + b"9" * 19, b"1" * 5000, b"[" * 500, b'{"a":' * 200, b" " * 5000),
    *(b"ProfilerStep#", b"args", b'"ph": "X"', b'"ts": ""', b'"traceEvents"', b"PAR1", b";", b"|"),
)
"""What is put into a record: numbers that are none, lone quotes, other alphabets, depth, length."""


def sound_records(folder):
    """Write one small sound record of each format; returns text or bytes by file name."""
    job = make_job(1, recorder="kineto", dp=2, steps=2)
    traces = sorted(Path(write_kineto(job, folder / "kineto")).glob("*.json*"))
    text = gzip.decompress(raw) if (raw := traces[0].read_bytes())[:2] == b"\x1f\x8b" else raw
    table = write_op_table(make_job(1, pp=2, dp=2, steps=2, microbatches=2), folder)
    examples = Path(__file__).parents[2] / "examples"
    schedule = stencil(3, 4, 1000).encode()
    records = {
        "fr_rank0.json": (examples / "hang-stopped" / "fr_rank0.json").read_bytes(),
        "_dump_0": (examples / "hang-order" / "_dump_0").read_bytes(),
        "rank0.json": text,
        "rank0.json.gz": gzip.compress(text, mtime=0),
        "trace-a.parquet": table.read_bytes(),
        "trace-a.csv": pl.read_parquet(table).write_csv().encode(),
        "text.goal": schedule,
        "binary.goal": binary(read_text("text.goal", schedule)),
    }
    for name, content in records.items():  # kernels are compiled here, not in the first mutant
        (folder / name).write_bytes(content)
        read(folder / name)
    return records


def mutant(record, seed):
    """Damage a record at one to six places."""
    draw = random.Random(seed)  # noqa: S311 - reproducible
    data = bytearray(record)
    for _ in range(draw.choice((1, 1, 2, 3, 6))):
        place = draw.randrange(len(data) + 1)
        length = draw.choice((1, 1, 2, 8, 64, 1024))
        kind = draw.randrange(6)
        if kind == 0:
            data[place : place + 1] = bytes([draw.randrange(256)])
        elif kind == 1:
            del data[place : place + length]
        elif kind == 2:
            data[place:place] = draw.choice(SPLINTERS)
        elif kind == 3:
            data[place : place + length] = draw.choice(SPLINTERS)
        elif kind == 4:
            data[place:place] = data[place : place + length]
        else:
            other = draw.randrange(len(data) + 1)
            data[place : place + length] = data[other : other + length]
    return bytes(data)


def places(record, n):
    """Places at which a record is cut: all over it, its first and last bytes among them."""
    step = max(1, len(record) // n)
    return sorted({*range(0, len(record), step), *range(min(8, len(record))), len(record) - 1})


def read(path):
    """Read a record of any format; dumps are diagnosed too, schedules simulated."""
    if path.name in DUMPS:
        flights = read_flight_recorders([path])
        recording = recording_of_dumps(flights)
        document, _, _ = diagnose_dumps(flights, recording, Settings(), [path.name])
        assert document["verdict"]["kind"] in {"hang", "not_assessable"}
        return recording
    if path.suffix == ".goal":
        steps = couple_sources([path], Settings(), lambda _: None)
        return replace(load_recording(path), op=steps.job.op)
    return read_op_table(path) if path.suffix in {".parquet", ".csv"} else read_kineto([path])


def survive(path, content):
    """Read damaged content; returns "tables" or the type of the error.

    Anything but tables or one typed error of one line, or more than `MOST_SECONDS`, is a failure.
    """
    path.write_bytes(content)
    begin = time.process_time()
    try:
        recording = read(path)
    except LoadpathError as error:
        said = str(error)
        assert path.name in said, said
        assert len(said) < 4000, said[:200]
        answer = type(error).__name__
    else:
        assert recording.op["duration_ns"].min() is None or recording.op["duration_ns"].min() >= 0
        assert (
            recording.op["parent"].max() is None
            or recording.op["parent"].max() < recording.op.height
        )
        answer = "tables"
    assert time.process_time() - begin < MOST_SECONDS
    return answer


def survey(folder, name, contents):
    """Count the answers to damaged contents; the first that fails stays in `folder`."""
    path = folder / name
    answers = Counter(survive(path, content) for content in contents)
    assert set(answers) <= {"tables", "InputError", "StructureError"}
    return answers


def bomb_lines(events):
    return b'{"distributedInfo": {"rank": 0}, "traceEvents": [\n' + events + b"\n]}"


def one_event(**other):
    event = {"ph": "X", "name": "f", "cat": "cpu_op", "ts": 1, "dur": 2, "pid": 1, "tid": 1}
    return json.dumps(event | other).encode()
