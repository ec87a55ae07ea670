"""Tables of a compressed recording: ops as coupled, who waits for whom, and sketches of what was merged."""

from dataclasses import dataclass

import polars as pl

from loadpath.tables.schema import Column, TableSchema

__all__ = ["BOUND", "COUPLED", "EDGE", "SKETCH", "Coupled"]

COUPLED = TableSchema(
    "coupled",
    "what coupling said of an op: row for row beside table op",
    (
        Column("op_class", pl.Categorical, "what peers share: name and shape; see also position"),
        Column("position", pl.Int32, "k-th of its class on its rank in the step; 0 where pooled"),
        Column("mechanism", pl.Categorical, "what its duration depends on"),
        Column("stage", pl.Int32, "pipeline stage of its rank, 0 without pipeline", 0),
        Column("replica", pl.Int32, "data-parallel replica of its rank, 0 if unknown", 0),
        Column("n_merged", pl.Int32, "ops of the recording that it stands for", 1),
        Column("launch_latency_ns", pl.Int64, "latency of its launch, 0 for none", 0),
    ),
)

EDGE = TableSchema(
    "edge",
    "one op waits for another",
    (
        Column("source", pl.Int32, "op waited for"),
        Column("target", pl.Int32, "op that waits"),
        Column("kind", pl.UInt8, "number of the kind of coupling, see docs/glossary.md"),
    ),
)

BOUND = TableSchema(
    "bound",
    "where a step begins or may end on a rank, or before what nothing was recorded",
    (
        Column("op", pl.Int32, "op"),
        Column("what", pl.UInt8, "0 the step begins with it, 1 may end with it, 2 earliest start"),
        Column("value", pl.Int64, "number of the step, or the time in ns"),
    ),
)

SKETCH = TableSchema(
    "sketch",
    "ops of one class on one rank in one step that were merged with others",
    (
        Column("rank", pl.Int32, "rank"),
        Column("step", pl.Int64, "step"),
        Column("op_class", pl.Categorical, "class of the ops"),
        Column("n_ops", pl.Int32, "how many"),
        Column("total_ns", pl.Int64, "sum of their durations"),
        Column("least_ns", pl.Int64, "shortest"),
        Column("median_ns", pl.Int64, "lower of the two middle ones"),
        Column("p90_ns", pl.Int64, "90 of 100 are no longer"),
        Column("most_ns", pl.Int64, "longest"),
    ),
)
"""Quantiles are rounded down to steps of an eighth of a power of two (9 %)."""


@dataclass(frozen=True, slots=True)
class Coupled:
    """What a recording says of itself that other records are coupled for.

    Attributes
    ----------
    coupled, edge, bound, sketch, instance, membership : polars.DataFrame
        Tables `COUPLED`, `EDGE`, `BOUND`, `SKETCH`, `INSTANCE` and `MEMBERSHIP`.
    """

    coupled: pl.DataFrame
    edge: pl.DataFrame
    bound: pl.DataFrame
    sketch: pl.DataFrame
    instance: pl.DataFrame
    membership: pl.DataFrame
