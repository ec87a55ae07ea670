"""Write a condensed recording as bytes."""

import lzma
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import polars as pl

from loadpath.ingest.compressed.columns import pack_table
from loadpath.ingest.compressed.layout import TABLES, TIMES, Head, Payload
from loadpath.ingest.compressed.recognition import FORMAT
from loadpath.tables import Recording

__all__ = ["Compressed", "compress_recording"]

RELEASED = 2
"""`bound.what` of earliest starts."""


class Compressed(NamedTuple):
    """A compressed recording.

    Attributes
    ----------
    content : bytes
        The file.
    head : Head
        Its first line.
    """

    content: bytes
    head: Head


def compress_recording(
    recording: Recording, head: Mapping[str, str | int | float], n_sketch: int
) -> Compressed:
    """Write a condensed recording.

    Parameters
    ----------
    recording : Recording
        As `loadpath.couple.condensed.recording_of` made it.
    head : mapping
        Fields of `Head` that the tables do not tell: ``level, steps, ops_recorded, grid_ns, step_s,
        ideal_s``.
    n_sketch : int
        Classes that are sketched for each rank and step, the largest sums first.

    Returns
    -------
    Compressed
        Content of the file, and what its first line says.
    """
    tables = _on_grid(_tables(recording, n_sketch), int(head["grid_ns"]))
    payload = Payload(
        rows={name: table.height for name, table in tables.items()},
        tables={name: pack_table(table) for name, table in tables.items()},
        inputs=[(name, bytes.fromhex(digest), size) for name, digest, size in recording.inputs],
        layout=dict(recording.layout),
    )
    raw = msgspec.msgpack.encode(payload)
    counted = {"ranks": recording.rank.height, "ops": recording.op.height, "raw_bytes": len(raw)}
    said = {"format": FORMAT, "source": recording.source} | counted | dict(head)
    line = msgspec.convert(said, Head)
    packed = lzma.compress(raw, check=lzma.CHECK_CRC64, preset=6 | lzma.PRESET_EXTREME)
    return Compressed(msgspec.json.encode(line) + b"\n" + packed, line)


def _tables(recording: Recording, n_sketch: int) -> dict[str, pl.DataFrame]:
    held = recording.coupled
    told = {
        schema.name: getattr(held if hasattr(held, schema.name) else recording, schema.name)
        for schema in TABLES
    }
    largest = pl.int_range(pl.len()).over("rank", "step") < n_sketch
    return told | {"sketch": told["sketch"].filter(largest)}


def _on_grid(tables: dict[str, pl.DataFrame], grid_ns: int) -> dict[str, pl.DataFrame]:
    """Round moments to the grid, so that what touches still does; and tell starts by the gaps."""
    half = grid_ns // 2
    start = pl.col("start_ns")
    begin, end = ((at + half) // grid_ns for at in (start, start + pl.col("duration_ns")))
    op = tables["op"].with_columns(
        start_ns=begin - end.shift(fill_value=0), duration_ns=end - begin
    )
    value = pl.when(pl.col("what") == RELEASED).then((pl.col("value") + half) // grid_ns)
    other = {
        name: tables[name].with_columns((pl.col(*times) + half) // grid_ns)
        for name, times in TIMES.items()
        if name != "op"
    }
    edge = tables["edge"].with_columns(source=pl.col("target") - pl.col("source"))
    bound = tables["bound"].with_columns(value=value.otherwise("value"))
    return tables | other | {"op": op, "bound": bound, "edge": edge}
