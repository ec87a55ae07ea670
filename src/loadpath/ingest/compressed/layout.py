"""What a compressed recording consists of: one line of JSON, then an xz stream of MessagePack.

The line says what is inside (`Head`), for people and for the reader; the stream holds the tables. Times in
it are whole numbers of the head's grid.
"""

from typing import Any

import msgspec

from loadpath.tables import (
    BOUND,
    CAVEAT,
    COMMUNICATOR,
    COUPLED,
    EDGE,
    INSTANCE,
    LANE,
    MEMBERSHIP,
    OP,
    RANK,
    SKETCH,
    TableSchema,
)

__all__ = ["LONGEST_HEAD", "TABLES", "TIMES", "Head", "Payload"]

LONGEST_HEAD = 4096
TABLES: tuple[TableSchema, ...] = (
    OP, COUPLED, EDGE, BOUND, INSTANCE, MEMBERSHIP, LANE, COMMUNICATOR, RANK, CAVEAT, SKETCH,
)  # fmt: skip
TIMES = {"op": ("start_ns", "duration_ns"), "coupled": ("launch_latency_ns",)}
"""Columns in units of the grid; and `bound.value` of earliest starts."""


class Head(msgspec.Struct, frozen=True):
    """First line of the file.

    Attributes
    ----------
    format : str
        `loadpath.ingest.compressed.FORMAT`.
    source : str
        Kind of record that was compressed.
    level : str
        How much was merged: "whole", "class", "kind" or "launch".
    ranks, steps : int
        What the recording covers.
    ops, ops_recorded : int
        Ops kept, and ops of the coupled job that they stand for.
    grid_ns : int
        Unit of times.
    step_s, ideal_s : float
        Mean replayed step of the whole job, as measured and as its peers' medians have it.
    raw_bytes : int
        Size of the stream once it is unpacked.
    """

    format: str
    source: str
    level: str
    ranks: int
    steps: int
    ops: int
    ops_recorded: int
    grid_ns: int
    step_s: float
    ideal_s: float
    raw_bytes: int


class Payload(msgspec.Struct, frozen=True):
    """The unpacked stream.

    Attributes
    ----------
    rows : dict of str to int
        Rows by table.
    tables : dict of str to dict
        Packed columns by table.
    inputs : list of (str, bytes, int)
        Name, SHA-256 and size of the files that were compressed.
    layout : dict of str to int
        Declared parallel sizes.
    """

    rows: dict[str, int]
    tables: dict[str, dict[str, list[Any]]]
    inputs: list[tuple[str, bytes, int]]
    layout: dict[str, int]
