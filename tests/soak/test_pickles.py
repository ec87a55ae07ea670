"""Pickles that want to run code or to exhaust their reader: a hundred run nothing, twenty ask in vain."""

import json
import pickle
import struct
import subprocess
import sys
from collections import Counter
from itertools import product
from pathlib import Path

import pytest

MOST_SECONDS, MOST_BYTES = 2.0, 256 << 20
CALLS = (
    *("os.system", "posix.system", "os.popen", "os.execl", "os.remove", "os.mkdir", "os.putenv"),
    *("builtins.eval", "builtins.exec", "builtins.open", "builtins.__import__", "builtins.compile"),
    *("builtins.getattr", "subprocess.Popen", "subprocess.check_output", "runpy.run_path"),
    *("pickle.loads", "marshal.loads", "importlib.import_module", "operator.attrgetter"),
    *("functools.partial", "shutil.rmtree", "pathlib.Path.touch", "socket.create_connection"),
    *("webbrowser.open", "ctypes.CDLL", "timeit.timeit", "pty.spawn", "code.interact", "bdb.Bdb"),
    *("torch.load", "numpy.load", "logging.config.listen", "pip.main", "cProfile.run"),
)
CANARY = "ran"


def calls(place):
    """Ways in which a pickle calls a function with one text, by protocol and opcodes."""
    module, _, name = place.rpartition(".")
    told, words = CANARY.encode(), f"{module}\n{name}\n".encode()
    text = b"X" + struct.pack("<I", len(told)) + told
    short = [b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name)]
    yield b"c" + words + b"(S'" + told + b"'\ntR."
    yield b"(S'" + told + b"'\ni" + words + b"."
    yield b"\x80\x04" + b"".join(short) + b"\x93" + text + b"\x85R."
    yield b"\x80\x02c" + words + text + b"\x85\x81."
    yield b"\x80\x02}X\x07\0\0\0entriesc" + words + text + b"\x85R" + b"s."


def bombs():
    """Pickles that ask for hours or for all memory, by name."""
    same = b"".join(
        b"\x8a\x0a" + (((1 << 61) - 1) * k).to_bytes(10, "little") + b"N" for k in range(1, 60_000)
    )
    return {
        "memo of two billion": b"\x80\x02}r\xff\xff\xff\x7f0.",
        "text of eight exabytes": b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7f",
        "text of four gigabytes": b"\x80\x02X\xff\xff\xff\xff.",
        "number of two billion digits": b"\x80\x02\x8b\xff\xff\xff\x7f",
        "bytes of eight exabytes": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.",
        "array of eight exabytes": b"\x80\x05\x96" + b"\xff" * 7 + b"\x7f.",
        "frame of eight exabytes": b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f}.",
        "text in decimal": b"I" + b"9" * 1_000_000 + b"\n.",
        "long in decimal": b"L" + b"9" * 1_000_000 + b"L\n.",
        "lists in lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "tuples in tuples": b"\x80\x02)" + b"\x85" * 100_000 + b".",
        "dictionaries in dictionaries": b"\x80\x02" + b"}K\x01" * 100_000 + b"}" + b"s" * 100_000 + b".",
        "marks": b"\x80\x02" + b"(" * 1_000_000 + b".",
        "lists of one list": pickle.dumps(laughs()),
        "a list that holds itself": b"\x80\x02]q\0h\0h\0ea.",
        "keys of one hash": b"\x80\x02}(" + same + b"u.",
        "keys of fractions": b"\x80\x02}(" + b"".join(
            b"G" + struct.pack(">d", float(k << 61)) + b"N" for k in range(60_000)
        ) + b"u.",
        "keys of tuples": b"\x80\x02}(" + b"K\x01\x85N" * 60_000 + b"u.",
        "references": b"\x80\x02]q\0(" + b"h\0" * 500_000 + b"e.",
        "many entries": pickle.dumps({"entries": [{}] * 100_000}, protocol=2),
        "names": pickle.dumps({"entries": [{"profiling_name": str(i)} for i in range(20_000)]}),
    }  # fmt: skip


def laughs():
    value: list[object] = [1] * 10
    for _ in range(12):
        value = [value] * 10
    return value


READ = """
import json, os, sys, time
from pathlib import Path
from loadpath.errors import InputError
from loadpath.ingest.flight_recorder import read_flight_recorders

FORBIDDEN = ("os.", "subprocess.", "socket.", "ctypes.", "shutil.", "exec", "compile", "webbrowser.", "import",
             "pickle.find_class", "pty.", "marshal.", "code.", "builtins.input", "builtins.breakpoint")
heard = []
is_listening = False

def listen(event, arguments):
    if is_listening and event.startswith(FORBIDDEN):
        heard.append([event, repr(arguments)[:100]])

paths = [Path(word) for word in sys.stdin.read().splitlines()]
def read(path):
    try:
        read_flight_recorders([path])
    except InputError:
        return "InputError"
    return "tables"

read(paths[0])  # what is imported late is imported here
sys.addaudithook(listen)
for path in paths:
    Path("/proc/self/clear_refs").write_text("5")
    before = int(next(s for s in open("/proc/self/status") if s.startswith("VmHWM")).split()[1])
    begin, is_listening = time.process_time(), True
    said = read(path)
    is_listening = False
    spent = time.process_time() - begin
    peak = int(next(s for s in open("/proc/self/status") if s.startswith("VmHWM")).split()[1])
    print(json.dumps([path.parent.name, said, spent, (peak - before) * 1024, heard]))
    heard.clear()
"""


@pytest.fixture
def read_all(tmp_path):
    """Read pickles in a process whose every deed is heard; returns what came of each."""

    def run(contents):
        paths = []
        for name, content in {
            "sound": pickle.dumps({"entries": [], "version": "2.9"}),
            **contents,
        }.items():
            paths.append(tmp_path / name / "_dump_0")
            paths[-1].parent.mkdir()
            paths[-1].write_bytes(content)
        done = subprocess.run(
            [sys.executable, "-c", READ],
            input="\n".join(map(str, paths)),
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        told = [json.loads(line) for line in done.stdout.splitlines()]
        assert [name for name, *_ in told] == [path.parent.name for path in paths]
        assert not (tmp_path / CANARY).exists()
        return told[1:]

    return run


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is told by Linux")
def test_a_hundred_pickles_that_want_to_run_code_run_nothing(read_all):
    payloads = {
        f"{place}-{way}": content
        for place, way in product(CALLS, range(5))
        for content in [list(calls(place))[way]]
    }
    assert len(payloads) >= 100
    told = read_all(payloads)
    assert {name: heard for name, _, _, _, heard in told if heard} == {}
    # what does not begin as a pickle of protocol 2 is read as JSON, of which nothing is left
    assert Counter(said for _, said, *_ in told)["InputError"] >= 100


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is told by Linux")
def test_twenty_pickles_that_ask_for_everything_stop_soon(read_all):
    assert len(bombs()) >= 20
    for name, said, seconds, n_byte, heard in read_all(bombs()):
        assert seconds < MOST_SECONDS, (name, said, seconds)
        assert n_byte < MOST_BYTES, (name, said, n_byte)
        assert heard == [], (name, said)
