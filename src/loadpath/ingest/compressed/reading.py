"""Read a compressed recording: unpack, put times back, and hold every row to what coupling needs."""

import lzma
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import polars as pl

from loadpath.decode import file_digest
from loadpath.decode.regular import check_regular
from loadpath.errors import InputError, first_line
from loadpath.ingest.compressed.checks import problems_of
from loadpath.ingest.compressed.columns import unpack_table
from loadpath.ingest.compressed.layout import (
    LONGEST_HEAD,
    TABLES,
    TIMES,
    Head,
    Payload,
)
from loadpath.ingest.compressed.recognition import FORMAT
from loadpath.tables import STEP, Coupled, Recording, caveat_table

__all__ = ["read_compressed"]

MOST_BYTES, FREE_BYTES, MOST_EXPANSION = 1 << 30, 64 << 20, 1000
"""Largest unpacked size, and the largest ratio to the packed one beyond 64 MiB."""
MOST_MEMORY = 256 << 20
"""What the decompressor may take for itself, in bytes."""
REMEDY = "Compress the records again, or copy the file again."
DAMAGE = (
    lzma.LZMAError,
    EOFError,
    MemoryError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    msgspec.MsgspecError,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
)
"""What a damaged file may raise while it is unpacked."""
MERGED = {
    "class": "op class",
    "kind": "kind of work",
    "launch": "kind of work, and launches within runs of device work are left out",
}


def read_compressed(path: Path) -> Recording:
    """Read a compressed recording.

    Parameters
    ----------
    path : Path
        File for which `is_compressed` holds.

    Returns
    -------
    Recording
        Of the source that was compressed, with `coupled`.

    Raises
    ------
    InputError
        If it is damaged, or of another version.
    """
    try:
        head, payload, tables = _unpacked(path)
        if not (problems := problems_of(tables)):
            return _recording(path, head, payload, tables)
    except OSError as error:
        raise InputError(path.name, f"cannot be read ({error.strerror})", REMEDY) from error
    except DAMAGE as error:
        problems = [first_line(error)]
    except InputError as error:
        if error.where == path.name:
            raise
        problems = error.problems
    shown = problems[:5] + ["..."] * (len(problems) > 5)
    raise InputError(path.name, f"damaged compressed recording ({'; '.join(shown)})", REMEDY)


def _unpacked(path: Path) -> tuple[Head, Payload, dict[str, pl.DataFrame]]:
    """First line, stream, and the tables in it with times in ns."""
    with check_regular(path).open("rb") as stream:
        head = _head(path, stream)
        payload = _payload(stream, head, path.stat().st_size)
    tables = {
        schema.name: unpack_table(schema, payload.tables[schema.name], payload.rows[schema.name])
        for schema in TABLES
    }
    return head, payload, _off_grid(tables, head.grid_ns)


def _head(path: Path, stream: BinaryIO) -> Head:
    head = msgspec.json.decode(stream.readline(LONGEST_HEAD), type=Head)
    if head.format != FORMAT:
        what = f"is of the version {head.format[:40]!r}, not {FORMAT!r}"
        raise InputError(path.name, what, "Read it with the version of loadpath that wrote it.")
    if not (1 <= head.grid_ns < 1 << 40 and 0 < head.raw_bytes <= MOST_BYTES):
        raise ValueError("first line out of range")
    return head


def _payload(stream: BinaryIO, head: Head, size: int) -> Payload:
    if head.raw_bytes > FREE_BYTES and head.raw_bytes > MOST_EXPANSION * size:
        raise ValueError(f"unpacks to {head.raw_bytes} bytes, more than such a file holds")
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_MEMORY)
    raw = unpacker.decompress(stream.read(), max_length=head.raw_bytes + 1)
    if len(raw) != head.raw_bytes:
        raise ValueError(f"unpacks to {len(raw)} bytes or more, not {head.raw_bytes}")
    if not unpacker.eof:
        raise ValueError("ends early")
    return msgspec.msgpack.decode(raw, type=Payload)


def _off_grid(tables: dict[str, pl.DataFrame], grid_ns: int) -> dict[str, pl.DataFrame]:
    length = pl.col("duration_ns")
    begun = (pl.col("start_ns") + length).cum_sum() - length
    op = tables["op"].with_columns(start_ns=begun * grid_ns, duration_ns=length * grid_ns)
    bound = tables["bound"].with_columns(
        value=pl.when(pl.col("what") == 2).then(pl.col("value") * grid_ns).otherwise("value")
    )
    edge = tables["edge"].with_columns(source=pl.col("target") - pl.col("source"))
    other = {
        name: tables[name].with_columns(pl.col(*times) * grid_ns)
        for name, times in TIMES.items()
        if name != "op"
    }
    return tables | other | {"op": op, "bound": bound, "edge": edge}


def _recording(
    path: Path, head: Head, payload: Payload, tables: dict[str, pl.DataFrame]
) -> Recording:
    names = tuple(Coupled.__dataclass_fields__)
    recorded: dict[str, Any] = {n: table for n, table in tables.items() if n not in names}
    recording = Recording(
        source=head.source,
        step=STEP.empty(),
        inputs=(file_digest(path),),
        layout=payload.layout,
        coupled=Coupled(**{name: tables[name] for name in names}),
        **recorded,
    )
    return replace(recording, caveat=pl.concat([recording.caveat, _doubts(head, payload)]))


def _doubts(head: Head, payload: Payload) -> pl.DataFrame:
    """Say what a compressed recording cannot tell."""
    made = f"made of {len(payload.inputs)} files of a {head.source} recording"
    merged = (
        f"{head.ops_recorded} ops are told as {head.ops}: chains on which nothing else hangs are added up "
        f"by {MERGED.get(head.level, head.level)}; which op within them is at fault cannot be told"
    )
    return caveat_table([
        ("compressed", f"{made}; times are multiples of {head.grid_ns / 1e3:g} us", 1),
        ("ops_merged", merged, head.ops_recorded - head.ops),
    ])  # fmt: skip
