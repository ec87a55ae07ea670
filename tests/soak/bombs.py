"""Small records that ask for hours or for all memory, by format and kind; each is made from the sound ones."""

import gzip
import json
import pickle
import re
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.ingest.execution_trace.test_nodes import new, tensor
from tests.ingest.execution_trace.written import chakra, field, framed, varint

MIB, GIB = 1 << 20, 1 << 30
MILLION, HONEST = 1_000_000, 200_000
"""Names in a record; those of which each is an honest operator or communication are read, not refused."""
GUNZIPPED = (
    *("fr_rank0.json", "_dump_0", "inspector-4.0.log", "et_rank_0.json", "job.0.et"),
    *("chakra_rank_0.json", "a_rank0.sqlite", "run.log", "run.json", "times.csv", "links.csv"),
)
"""Formats of which a gzipped file is read."""
UNITS = {
    "zeros": b"\0",
    "newlines": b"\n",
    "spaces": b" ",
    "letters": b"a",
    "braces": b"{",
    "tags": b"1: ",
}
VALUES = {
    "fr_rank0.json": ("time_created_ns", "profiling_name"),
    "inspector-4.0.log": ("coll_sn", "coll"),
    "inspector-array.json": ("coll_sn", "coll"),
    "et_rank_0.json": ("rf_id", "name"),
    "chakra_rank_0.json": ("int64Val", "name"),
    "run.json": ("time", "type"),
    "stages.jsonl": ("forward_ms", "step"),
}
"""A number and a text, or two numbers, of each JSON format."""
HOSTILE = {
    "digits": lambda: b"7" * MILLION,
    "text": lambda: b'"' + b"a" * (512 * MIB) + b'"',
    "lists": lambda: b"[" * 100_000 + b"1" + b"]" * 100_000,
    "objects": lambda: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
}
CELLS = (
    *("stages.csv", "clock_handshake.csv", "power_rank0.csv", "times.csv", "links.csv"),
    *("requests.csv", "runs.csv", "run.log", "tagged.log"),
)
"""Formats of lines, in the second of which a cell is replaced."""
PAGE_BYTES, N_LEVEL, N_SHARED = 512, 18, 20_000


def gzipped_repeat(unit, total):
    """Gzip of `unit` repeated to `total` bytes, made without holding them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = unit * max(1, MIB // len(unit))
    parts = [packer.compress(block) for _ in range(total // len(block))]
    return b"".join(parts) + packer.flush()


def with_value(text, key, value):
    """Replace the first value of a key in JSON text."""
    found = re.search(rb'"%b"\s*:\s*("(?:[^"\\]|\\.)*"|[-\d.eE+]+)' % key.encode(), text)
    assert found is not None
    return text[: found.start(1)] + value + text[found.end(1) :]


def with_cell(text, value):
    """Replace the first cell of the second line."""
    head, second, rest = text.split(b"\n", 2)
    cell = re.search(rb"[^,\s]+", second)
    assert cell is not None
    return b"\n".join([head, second[: cell.start()] + value + second[cell.end() :], rest])


def numbered(text, between=b"\n", n=MILLION):
    """A million copies of a text, each with another number in the place of @."""
    head, _, tail = text.partition(b"@")
    return between.join(b"%b%d%b" % (head, i, tail) for i in range(n)) + b"\n"


def many_entries(sound):
    dump = json.loads(sound["fr_rank0.json"])
    entry = json.dumps(dump["entries"][0] | {"profiling_name": "n@", "frames": []}).encode()
    about = json.dumps({**dump, "entries": ["@"]}).encode()
    return about.replace(b'"@"', numbered(entry, b","))


def many_pickled(_):
    return pickle.dumps(
        {"version": "2.10", "entries": [{"profiling_name": f"n{i}"} for i in range(MILLION)]}
    )


def many_nodes(_):
    node = json.dumps(new(1, "n@", [tensor(7)], [tensor(8)])).encode()
    return b'{"schema": "1.1.0", "pid": 1, "nodes": [%b]}' % numbered(node, b",", HONEST)


def many_messages(_):
    return chakra([]) + b"".join(
        framed(field(1, i) + field(2, f"n{i}") + field(3, 4)) for i in range(MILLION)
    )


def many_attributes(_):
    """One node of a million attributes."""
    return chakra([]) + framed(field(2, "op") + field(3, 4) + field(10, field(1, "a")) * MILLION)


def open_quotes(_):
    """Text in which each of half a million quotes may begin a string that never ends."""
    text = "[" + "\\'" * 500_000
    return chakra([]) + framed(field(2, "op") + field(3, 4) + field(8, field(1, text)))


def far_message(_):
    """A length of eight exabytes."""
    return chakra([]) + varint(1 << 62) + b"a" * 1000


def export(
    rows, tables=("CREATE TABLE NVTX_EVENTS (start, end, eventType, globalTid, text, textId)",)
):
    """An export of small pages with the rows that `rows` writes."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.sqlite"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            for table in tables:
                connection.execute(table)
            rows(connection)
            connection.commit()
        return bytearray(path.read_bytes())


def interior_page(child, n):
    """A page of a tree all of whose branches lead to one page."""
    cells = [child.to_bytes(4, "big") + bytes([i + 1]) for i in range(n)]
    body = b"".join(reversed(cells))
    places = b"".join((PAGE_BYTES - 5 * (i + 1)).to_bytes(2, "big") for i in range(n))
    head = b"\5\0\0" + n.to_bytes(2, "big") + (PAGE_BYTES - len(body)).to_bytes(2, "big") + b"\0"
    page = head + child.to_bytes(4, "big") + places
    return page + bytes(PAGE_BYTES - len(page) - len(body)) + body


def endless_tree(_):
    """A table whose tree is one page a level, met anew on each branch: 70^18 rows in ten kilobytes."""
    table = (
        "CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start, end, globalTid, correlationId, nameId)"
    )
    data = export(
        lambda c: c.execute("INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (1, 2, 3, 4, 5)"),
        (table,),
    )
    n_page = len(data) // PAGE_BYTES
    leaf = data[PAGE_BYTES : 2 * PAGE_BYTES]
    data += leaf
    for level in range(N_LEVEL):
        data += interior_page(n_page + 1 + level, 70)
    data[PAGE_BYTES : 2 * PAGE_BYTES] = data[-PAGE_BYTES:]
    data[28:32] = (len(data) // PAGE_BYTES).to_bytes(4, "big")
    return bytes(data)


def shared_text(_):
    """A table whose rows all end in one chain of pages: ten gigabytes of text in few megabytes."""
    text = "a" * (1000 * 1000)

    def rows(connection):
        connection.execute("INSERT INTO NVTX_EVENTS VALUES (1, 2, 59, 3, ?, 4)", (text,))
        short = [(1, 2, 59, 3, "b" * 30, 4)] * N_SHARED
        connection.executemany("INSERT INTO NVTX_EVENTS VALUES (?, ?, ?, ?, ?, ?)", short)

    return bytes(share_payload(export(rows)))


def share_payload(data):
    """Let each page of short rows hold copies of the one long row instead."""
    pages = range(PAGE_BYTES, len(data), PAGE_BYTES)
    leaves = [begin for begin in pages if data[begin] == 13]
    cell = next(
        long_cell(data[i : i + PAGE_BYTES]) for i in leaves if b"aaaa" in data[i : i + PAGE_BYTES]
    )
    n = (PAGE_BYTES - 8) // (len(cell) + 2)
    first = PAGE_BYTES - len(cell) * n
    places = b"".join((first + len(cell) * i).to_bytes(2, "big") for i in range(n))
    head = b"\x0d\0\0" + n.to_bytes(2, "big") + first.to_bytes(2, "big") + b"\0" + places
    for begin in leaves:
        if b"bbbb" in data[begin : begin + PAGE_BYTES]:
            data[begin : begin + PAGE_BYTES] = head + bytes(first - len(head)) + cell * n
    return data


def long_cell(page):
    """First cell of a leaf, whose payload goes on in other pages: what of it is here, by SQLite's rule."""
    at = int.from_bytes(page[8:10], "big")
    n_payload, begin = 0, at
    while True:
        n_payload, at = n_payload << 7 | page[at] & 0x7F, at + 1
        if page[at - 1] < 0x80:
            break
    least = (PAGE_BYTES - 12) * 32 // 255 - 23
    here = least + (n_payload - least) % (PAGE_BYTES - 4)
    here = here if here <= PAGE_BYTES - 35 else least
    return bytes(page[begin : at + 1 + here + 4])  # a row number of one byte


def many_strings(_):
    def rows(connection):
        connection.executemany(
            "INSERT INTO NVTX_EVENTS VALUES (?, ?, 59, 16777216, ?, NULL)",
            ((i, i + 1, f"n{i}") for i in range(MILLION)),
        )

    return bytes(export(rows))


def computed_table(_):
    """Columns that are computed for each row, and a view without end in the place of a table."""
    endless = "WITH RECURSIVE n(start) AS (SELECT 1 UNION ALL SELECT start + 1 FROM n)"
    columns = "start, start AS end, 59 AS eventType, 1 AS globalTid, 'a' AS text, 1 AS textId"
    return bytes(export(lambda _: None, (
        "CREATE TABLE StringIds (id, value GENERATED ALWAYS AS (hex(zeroblob(500000))))",
        f"CREATE VIEW NVTX_EVENTS AS {endless} SELECT {columns} FROM n",  # noqa: S608 - a bomb
        "CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start, end, globalTid, correlationId, nameId)",
    )))  # fmt: skip


def followed(sound, *, name, unit):
    """A sound record, and a GiB of one thing behind it, gzipped."""
    return gzip.compress(sound[name]) + gzipped_repeat(unit, GIB)


def valued(sound, *, name, key, value):
    return with_value(sound[name], key, HOSTILE[value]())


def celled(sound, *, name, value):
    return with_cell(sound[name], HOSTILE[value]().strip(b'"'))


def headed(sound, *, name):
    """A head of a million columns."""
    return b",".join(b"c%d" % i for i in range(MILLION)) + b"\n" + sound[name]


BOMBS: dict[tuple[str, str], Callable[[dict[str, bytes]], bytes]] = {
    **{
        (name, f"gzipped {kind}"): partial(followed, name=name, unit=unit)
        for name in GUNZIPPED
        for kind, unit in UNITS.items()
    },
    **{
        (name, f"{value} as {key}"): partial(valued, name=name, key=key, value=value)
        for name, keys in VALUES.items()
        for key in keys
        for value in HOSTILE
    },
    **{
        (name, value): partial(celled, name=name, value=value)
        for name in CELLS
        for value in ("digits", "text")
    },
    **{
        (name, "columns"): partial(headed, name=name)
        for name in ("stages.csv", "clock_handshake.csv", "times.csv")
    },
    ("fr_rank0.json", "names"): many_entries,
    ("_dump_0", "names"): many_pickled,
    ("et_rank_0.json", "names"): many_nodes,
    ("job.0.et", "names"): many_messages,
    ("job.0.et", "attributes"): many_attributes,
    ("job.0.et", "open quotes"): open_quotes,
    ("job.0.et", "far message"): far_message,
    ("inspector-4.0.log", "names"): lambda sound: numbered(
        sound["inspector-4.0.log"].split(b"\n")[0].replace(b'"0x0"', b'"0x@"'), n=HONEST
    ),
    ("stages.csv", "names"): lambda _: b"rank,step,stage,seconds\n" + numbered(b"0,0,n@,0.1"),
    ("stages.csv", "ranks"): lambda _: b"rank,step,stage,seconds\n" + numbered(b"@,0,forward,0.1"),
    ("clock_handshake.csv", "names"): lambda sound: sound["clock_handshake.csv"] + numbered(b"@,0,1,2,3,4"),
    ("power_rank0.csv", "names"): lambda sound: sound["power_rank0.csv"] + numbered(b"@,1,2"),
    ("run.log", "names"): lambda _: numbered(b"[1,@]<stdout>:# nThread 1"),
    ("links.csv", "names"): lambda sound: sound["links.csv"] + numbered(b'a.log,alltoall_perf,2,1,"a,n@",4,8,4,4'),
    ("requests.csv", "names"): lambda sound: sound["requests.csv"] + numbered(b"2023-11-16 18:15:46.6805900,@,44"),
    ("a_rank0.sqlite", "names"): many_strings,
    ("a_rank0.sqlite", "endless tree"): endless_tree,
    ("a_rank0.sqlite", "shared text"): shared_text,
    ("a_rank0.sqlite", "computed columns"): computed_table,
}  # fmt: skip
"""By the file's name and what it asks for."""
