"""The compiled scan reads what the full decoder reads, event by event."""

import json

import numpy as np
import pytest
from tests.soak.formats import trace_text
from tests.soak.hostile import SPLINTERS, mutant, one_event

from loadpath.decode import Chunk, array_chunks
from loadpath.ingest.kineto.chunks import KEYS, ChunkReader
from loadpath.ingest.kineto.columns import join_columns


# The same chunk, of which nothing is known: every event goes to the full decoder.
def unscanned(chunk):
    n = chunk.odd.size
    nothing = np.empty((n, 0), np.int32)
    return Chunk(chunk.body, chunk.border, np.ones(n, np.bool_), nothing, nothing)


# What one way of reading makes of a text: rows by content, and counts.
def reading(text, size, change):
    reader = ChunkReader()
    blocks = (text[i : i + size] for i in range(0, len(text), size))
    chunks = (c for c in array_chunks(blocks, "traceEvents", KEYS) if isinstance(c, Chunk))
    parts = [reader.columns(change(chunk)) for chunk in chunks]
    columns = join_columns(parts)
    names, lanes = list(reader.vocabulary.names), list(reader.vocabulary.lanes)
    arrays = (columns.start_ns, columns.duration_ns, columns.category, columns.correlation)
    return {
        "rows": list(
            zip(*(a.tolist() for a in (*arrays, columns.bytes, columns.external)), strict=True)
        ),
        "names": [names[code] for code in columns.name.tolist()],
        "lanes": [lanes[code] for code in columns.lane.tolist()],
        "said": columns.said,
        "asked": columns.asked,
        "threads": reader.threads,
        "counts": (reader.n_event, reader.n_unused, reader.n_malformed),
    }


def assert_equal_readings(text, size=1 << 20):
    one = reading(text, size, lambda chunk: chunk)
    assert one == reading(text, size, unscanned)
    return one


def document(*events):
    return b'{"traceEvents": [\n' + b",\n".join(events) + b"\n]}"


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return trace_text(tmp_path_factory.mktemp("sound"))


@pytest.mark.parametrize("size", [1 << 20, 4096, 700])
def test_sound_record_is_read_alike_in_blocks_of_any_size(record, size):
    assert assert_equal_readings(record, size) == assert_equal_readings(record)


@pytest.mark.parametrize("seed", range(40))
def test_mutant_is_read_alike(record, seed):
    assert_equal_readings(mutant(record, seed))


@pytest.mark.soak
@pytest.mark.parametrize("first", range(0, 2000, 500))
def test_two_thousand_mutants_are_read_alike(record, first):
    for seed in range(first, first + 500):
        assert_equal_readings(mutant(record, seed))


@pytest.mark.parametrize("splinter", SPLINTERS, ids=lambda s: f"{s[:12]!r}-{len(s)}")
@pytest.mark.parametrize("place", ["name", "ts", "dur", "tid", "stream", "External id", "other"])
def test_any_value_at_any_place_is_read_alike(splinter, place):
    event = {"ph": "X", "name": "f", "cat": "kernel", "ts": 1, "dur": 2, "pid": 1, "tid": 3}
    args = {"stream": 7, "device": 0, "External id": 5, "other": 1}
    whole = json.dumps({**event, "args": args} | ({place: "?"} if place in event else {}))
    if place in args:
        whole = json.dumps({**event, "args": {**args, place: "?"}})
    for spoilt in (
        whole.encode().replace(b'"?"', splinter),
        whole.encode().replace(b"?", splinter),
    ):
        assert_equal_readings(document(one_event(), spoilt, one_event(ts=9)))


@pytest.mark.parametrize(
    "ts",
    ["0.0005", "0.0015", "0.0025", "0.00050000001", "-0.0005", "-7.25", "9007199254740991.999",
     "9007199254740992", "-9007199254740992.5", "1712195495520854.833", "4487401684337.4845",
     "1e3", "1E+2", "0.1e1", "00.5", "01", "-", "1.", ".5", '"12.5"', "true", "null", "12e",
     '"00.5"', '"1."', '".5"', '""', '"-"', '"-0.0005"', '"1e3"', '" 1"', '"1 "', '"1_0"', '"inf"',
     '"9007199254740992.0015"', '"99999999999999999999"', '"\u0661"', '"1\\u0030"', '"1.5""'],
)  # fmt: skip
def test_times_are_read_alike(ts):
    event = one_event(ts=77).replace(b'"ts": 77', f'"ts": {ts}'.encode())
    assert_equal_readings(document(event, one_event()))


@pytest.mark.parametrize(
    "event",
    [
        b'{"ph": "X", "ts": 1, "args": {"stream": 7}, "args": {"device": 3}}',
        b'{"ph": "X", "ts": 1, "cat": "kernel", "args": {"stream": 7}, "args": 5}',
        b'{"ph": "X", "ts": 1, "cat": "kernel", "name": "a", "name": "b"}',
        b'{"ph": "X", "ts": 1, "cat": "kernel", "args": {"x": {"stream": 9}, "stream": 7}}',
        b'{"ph": "X", "ts": 1, "cat": "kernel", "x": {"args": {"stream": 9}, "ts": 4}}',
        b'{"ph": "X", "ts": 1, "cat": "kernel", "args": [{"stream": 9}]}',
        b'{"ph": "X", "ts": 1, "cat": "kernel", "args": {}}',
        b'{"ph": "X", "ts": 1, "cat": "kernel", "args": {"stream": "7", "device": "0"}}',
        b'{"ph": "X", "ts": 1, "cat": "kernel", "args": {"stream": 99999999999}}',
        b'{"ph": "X", "ts": 1, "cat": "kernel", "args": {"stream": -1}, "tid": "stream 7"}',
        b'{"ph": "X", "ts": 1, "cat": "kernel", "args": {"stream": -2}}',
        b'{"ph": "X", "ts": 1, "cat": "kernel", "args": null}',
        b'{"ph": "XX", "ts": 1}',
        b'{"ph": "x", "ts": 1}',
        b'{"ph": 5, "ts": 1}',
        b'{"ph": "M", "name": "thread_name", "pid": 1, "tid": 3, "args": {"name": "main"}}',
        b'{"ph": "M", "name": "thread_name", "pid": 1, "tid": 3, "args": "main"}',
        b'{"ts": 1}',
        b"{}",
        b'{"ph": "X", "ts": 1,}',
        b'{"ph": "X" "ts": 1}',
        b'{"ph": "X", "ts": 1, "cat": "cpu_op", "name": "a \\"b\\" \\\\ \\n c"}',
        b'{"ph": "X", "ts": 1, "cat": "cpu_op", "name": "\\u00e9\\ud83d\\ude00"}',
        b'{"ph": "X", "ts": 1, "cat": "cpu_op", "name": "\xc3\xa9"}',
        b'{"ph": "X", "ts": 1, "cat": "cpu_op", "name": "a\tb"}',
        b'{"ph": "X", "ts": 1, "cat": "cpu_op", "name": "\\x"}',
        b'{"ph": "X", "ts": 1, "cat": "CPU_op", "pid": 1.5, "tid": -7}',
    ],
)
def test_odd_event_is_read_alike(event):
    found = assert_equal_readings(document(one_event(), event, one_event(ts=9)))
    assert len(found["rows"]) >= 2


def test_times_as_text_need_no_full_decoder(monkeypatch):
    events = [one_event(ts=1).replace(b'"ts": 1', f'"ts": "{i}.0625"'.encode()) for i in range(9)]
    reader = ChunkReader()
    monkeypatch.setattr(reader, "_decode", None)
    (chunk,) = (
        c for c in array_chunks([document(*events)], "traceEvents", KEYS) if isinstance(c, Chunk)
    )
    assert reader.columns(chunk).start_ns.tolist() == [1000 * i + 62 for i in range(9)]


@pytest.mark.parametrize("is_raw", [True, False])
def test_names_in_other_alphabets_are_read_alike_and_by_the_scan(is_raw):
    names = ["数据/模型.py(3): 前向", "Prüfung \u0080\uffff", "naïve", "ﬃ", "a"] * 3
    event = {"ph": "X", "cat": "cpu_op", "pid": 1, "tid": "線", "ts": 1, "dur": 2}
    text = document(
        *(json.dumps(event | {"name": n}, ensure_ascii=not is_raw).encode() for n in names)
    )
    assert assert_equal_readings(text)["names"] == names
    assert assert_equal_readings(text, 7)["names"] == names
    (chunk,) = (c for c in array_chunks([text], "traceEvents", KEYS) if isinstance(c, Chunk))
    assert not chunk.odd.any()
