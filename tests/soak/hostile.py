"""Damage of sound records: cut, mutated, still growing, and built to exhaust the reader."""

import json
import random
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import get_args

from tests.soak.formats import READERS

from loadpath.audit.recognition import Kind, is_record
from loadpath.errors import LoadpathError

MOST_SECONDS = 2.0
MOST_BYTES = 256 << 20
"""By how much the memory of a process may rise while it reads a small record."""
SUBJECTS = ("coupled graph", "stage log")
"""What an error is about where it names no file: what several files were joined to."""
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


def survive(path, content):
    """Read damaged content; returns "tables" or the type of the error.

    Anything but tables or one typed error of one line, more than `MOST_SECONDS` of a processor, or
    `MOST_BYTES` more of memory, is a failure.
    """
    path.write_bytes(content)
    return told(path)


def told(path):
    """Recognise and read a record as `survive` does."""
    before, begin = forget_peak(), time.process_time()
    answer = "tables"
    try:
        for kind in get_args(Kind):
            is_record(path, kind)
        READERS[path.name](path)
    except LoadpathError as error:
        said = str(error)
        assert any(word in said for word in (path.name, *SUBJECTS)), said
        assert len(said) < 4000, said[:200]
        answer = type(error).__name__
    assert time.process_time() - begin < MOST_SECONDS
    assert peak_bytes() - before < MOST_BYTES
    return answer


def forget_peak():
    """Let the kernel forget the largest memory of this process; returns the present one."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak_bytes()


def peak_bytes():
    # not ru_maxrss: that of a new process begins with its parent's
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def survey(folder, name, contents):
    """Count the answers to damaged contents; the first that fails stays in `folder`."""
    path = folder / name
    answers = Counter(survive(path, content) for content in contents)
    assert set(answers) <= {"tables", "InputError", "StructureError"}
    return answers


def watch_growing(path, content, pause_s=0.002):
    """Read a record again and again while another thread writes it; returns the answers."""
    path.write_bytes(b"")

    def write():
        with path.open("ab", buffering=0) as stream:
            for begin, end in pairwise([*places(content, 200), len(content)]):
                stream.write(content[begin:end])
                time.sleep(pause_s)

    writer = threading.Thread(target=write)
    writer.start()
    answers: Counter[str] = Counter()
    while writer.is_alive():
        answers[told(path)] += 1
    writer.join()
    assert told(path) == "tables"
    return answers


def bomb_lines(events):
    return b'{"distributedInfo": {"rank": 0}, "traceEvents": [\n' + events + b"\n]}"


def one_event(**other):
    event = {"ph": "X", "name": "f", "cat": "cpu_op", "ts": 1, "dur": 2, "pid": 1, "tid": 1}
    return json.dumps(event | other).encode()
