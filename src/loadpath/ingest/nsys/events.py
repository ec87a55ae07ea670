"""Events of one export: calls, what they launched, ranges, and who recorded them."""

import re
from typing import NamedTuple

import polars as pl

from loadpath.ingest.nsys.database import Database

__all__ = ["Events", "Process", "read_events"]

INT, TEXT = pl.Int64, pl.String
VERSION = re.compile(r"_v[0-9]{3,6}(_ptsz|_ptds)?$")
"""Calls are named by the version of their interface too: cudaMemcpy_v3020."""
MPI_RANK = re.compile(r"MPI Rank ([0-9]{1,7})$")
RANGES = (59, 60)
"""NVTX ranges: pushed and popped, started and ended."""
THREAD_BITS = 0xFFFFFF
NEEDED = ("StringIds", "CUPTI_ACTIVITY_KIND_RUNTIME", "CUPTI_ACTIVITY_KIND_KERNEL")
"""Names, calls and kernels: an export lacks the tables of what was not traced."""
CORRELATION = pl.col("correlationId").replace(0, None).fill_null(-1)
"""Number of a launch; CUPTI writes 0 where it does not know the call."""
CATEGORY = ("runtime", "annotation", "kernel", "copy", "set")


class Process(NamedTuple):
    """One process of an export.

    Attributes
    ----------
    pid : int
        Its number within the export (host and process).
    rank : int
        Rank of MPI, -1 if the export does not say.
    """

    pid: int
    rank: int


class Events(NamedTuple):
    """What an export holds.

    Attributes
    ----------
    span : polars.DataFrame
        ``pid, thread`` (-1 on devices), ``device, stream`` (-1 on hosts), ``category`` (place in
        `CATEGORY`), ``name, start, end`` (ns of the session), ``correlation, bytes``.
    process : tuple of Process
        Processes with spans, by number.
    epoch_ns : int
        Begin of the session, ns of the epoch; 0 if unknown.
    host, device : str
        Name of the host, and of its accelerators; empty if unknown.
    n_mpi : int
        Calls of MPI: host time, not matched.
    absent : tuple of str
        Tables without which little can be said, and that the export does not hold.
    """

    span: pl.DataFrame
    process: tuple[Process, ...]
    epoch_ns: int
    host: str
    device: str
    n_mpi: int
    absent: tuple[str, ...]


def read_events(database: Database) -> Events:
    """Read what an export holds.

    Parameters
    ----------
    database : Database
        Opened export.

    Returns
    -------
    Events
        Spans with sound names; their times are as recorded.
    """
    names = database.table("StringIds", {"id": INT, "value": TEXT}).unique("id", keep="first")
    nvtx = _ranges(database, names)
    span = pl.concat([_calls(database, names), nvtx, *_on_devices(database, names)])
    ranks = _ranks(database)
    mpi = span.filter(pl.col("name").str.starts_with("MPI_") & (pl.col("category") == 1))
    session = database.table("TARGET_INFO_SESSION_START_TIME", {"utcEpochNs": INT})["utcEpochNs"]
    told = database.table("TARGET_INFO_SYSTEM_ENV", {"name": TEXT, "value": TEXT})
    host = told.filter(pl.col("name") == "Hostname")["value"].drop_nulls()
    device = database.table("TARGET_INFO_GPU", {"name": TEXT})["name"].drop_nulls()
    pids = span["pid"].unique().sort().to_list()
    return Events(
        span,
        tuple(Process(pid, ranks.get(pid, -1)) for pid in pids),
        _first(session),
        str(host[0]) if host.len() else "",
        str(device[0]) if device.len() else "",
        mpi.height,
        tuple(name for name in NEEDED if name not in database.tables),
    )


def _first(values: pl.Series) -> int:
    known = values.drop_nulls()
    return int(known[0]) if known.len() and 0 <= known[0] < 1 << 62 else 0


def _named(table: pl.DataFrame, names: pl.DataFrame, number: str) -> pl.DataFrame:
    known = names.select(pl.col("id").alias(number), pl.col("value").alias("known"))
    return table.join(known, on=number, how="left", maintain_order="left")


def _spans(table: pl.DataFrame, category: str, **columns: pl.Expr) -> pl.DataFrame:
    other = {
        "thread": pl.lit(-1, INT), "device": pl.lit(-1, INT), "stream": pl.lit(-1, INT),
        "correlation": pl.lit(-1, INT), "bytes": pl.lit(-1, INT),
    }  # fmt: skip
    wanted = {"category": pl.lit(CATEGORY.index(category), pl.Int8)} | other | columns
    order = ("pid", "thread", "device", "stream", "category", "name", "start", "end",
             "correlation", "bytes")  # fmt: skip
    made = wanted | {"start": pl.col("start"), "end": pl.col("end")}
    return table.select(made[name].alias(name) for name in order)


def _thread() -> dict[str, pl.Expr]:
    """Process and thread of a global thread number: its last 24 bits are the thread's."""
    number = pl.col("globalTid").fill_null(0)
    return {"pid": number - number % (THREAD_BITS + 1), "thread": number % (THREAD_BITS + 1)}


def _calls(database: Database, names: pl.DataFrame) -> pl.DataFrame:
    found = database.table(
        "CUPTI_ACTIVITY_KIND_RUNTIME",
        {"start": INT, "end": INT, "globalTid": INT, "correlationId": INT, "nameId": INT},
    )
    named = _named(found, names, "nameId").with_columns(
        pl.col("known").str.replace(VERSION.pattern, "").fill_null("unnamed call")
    )
    # old exports list a call twice, as called and as implemented
    once = named.unique(["globalTid", "correlationId", "known"], keep="first", maintain_order=True)
    return _spans(once, "runtime", **_thread(), name=pl.col("known"), correlation=CORRELATION)


def _ranges(database: Database, names: pl.DataFrame) -> pl.DataFrame:
    found = database.table(
        "NVTX_EVENTS",
        {"start": INT, "end": INT, "eventType": INT, "globalTid": INT, "text": TEXT, "textId": INT},
    )
    ranges = _named(found.filter(pl.col("eventType").is_in(RANGES)), names, "textId")
    name = pl.coalesce("text", "known").fill_null("unnamed range")
    return _spans(ranges, "annotation", **_thread(), name=name)


def _on_devices(database: Database, names: pl.DataFrame) -> list[pl.DataFrame]:
    columns = {
        "start": INT,
        "end": INT,
        "deviceId": INT,
        "streamId": INT,
        "correlationId": INT,
        "globalPid": INT,
    }
    place = {
        "pid": pl.col("globalPid").fill_null(0),
        "device": pl.col("deviceId").fill_null(0),
        "stream": pl.col("streamId").fill_null(0),
        "correlation": CORRELATION,
    }
    kernel = database.table(
        "CUPTI_ACTIVITY_KIND_KERNEL", columns | {"demangledName": INT, "shortName": INT}
    )
    kernel = _named(kernel, names, "demangledName").rename({"known": "long"})
    kernel = _named(kernel, names, "shortName")
    named = pl.coalesce("long", "known").fill_null("unnamed kernel")
    copy = database.table("CUPTI_ACTIVITY_KIND_MEMCPY", columns | {"bytes": INT, "copyKind": INT})
    fill = database.table("CUPTI_ACTIVITY_KIND_MEMSET", columns | {"bytes": INT})
    graph = database.table("CUPTI_ACTIVITY_KIND_GRAPH_TRACE", columns | {"graphId": INT})
    called = pl.format("CUDA graph {}", pl.col("graphId").fill_null(0))
    kinds = database.table("ENUM_CUDA_MEMCPY_OPER", {"id": INT, "label": TEXT}).unique("id")
    copy = copy.join(kinds, left_on="copyKind", right_on="id", how="left", maintain_order="left")
    size = pl.col("bytes").fill_null(-1)
    what = pl.lit("Memcpy ") + pl.coalesce("label", pl.col("copyKind").cast(TEXT)).fill_null("")
    return [
        _spans(kernel, "kernel", **place, name=named),
        _spans(graph, "kernel", **place, name=called),
        _spans(copy, "copy", **place, bytes=size, name=what),
        _spans(fill, "set", **place, bytes=size, name=pl.lit("Memset")),
    ]


def _ranks(database: Database) -> dict[int, int]:
    """Rank of MPI by process, from the table of ranks or the mark that old exports have."""
    table = database.table("MPI_RANKS", {"globalPid": INT, "rank": INT}).drop_nulls()
    told = dict(table.iter_rows())
    marks = database.table("NVTX_EVENTS", {"text": TEXT, "globalTid": INT}).drop_nulls()
    for text, thread in marks.filter(pl.col("text").str.starts_with("MPI Rank ")).iter_rows():
        if found := MPI_RANK.match(text):
            told.setdefault(thread - thread % (THREAD_BITS + 1), int(found[1]))
    return told
