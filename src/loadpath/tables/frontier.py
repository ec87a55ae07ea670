"""Tables of an audit of stage logs: where delay first shows."""

import polars as pl

from loadpath.tables.schema import Column, TableSchema

__all__ = ["FRONTIER", "SUSPECT"]

FRONTIER = TableSchema(
    "frontier",
    "one stage of a stage log, from one meeting of all ranks to the next",
    (
        Column(
            "order", pl.Int32, "place of the stage after a meeting; the last is the next meeting"
        ),
        Column("stage", pl.String, "stage as recorded; wait, where none was recorded"),
        Column(
            "exposed_s", pl.Float64, "increment of the frontier, mean of the steps; sums to them"
        ),
        Column("share_ratio", pl.Float64, "the same as a share of their sum"),
        Column("shown_s", pl.Float64, "delay beyond the middle of the ranks that first shows here"),
        Column("leader", pl.Int32, "rank at which most of it shows"),
        Column("leader_s", pl.Float64, "its part of it"),
    ),
)

SUSPECT = TableSchema(
    "suspect",
    "where to look next: a stage and a rank at which delay first shows",
    (
        Column("order", pl.Int32, "place; 0 is the most suspect"),
        Column("stage", pl.String, "stage as recorded"),
        Column("rank", pl.Int32, "rank, -1 where all are alike"),
        Column("delay_s", pl.Float64, "delay per step beyond chance; of rank -1, what it may hide"),
        Column("p_value", pl.Float64, "share of shuffled logs that show as much", nullable=True),
        Column("n_steps", pl.Int64, "steps with more than half of its largest delay"),
        Column("first_step", pl.Int64, "first step of the few that hold most of it"),
        Column("last_step", pl.Int64, "last of them"),
        Column("state", pl.String, "leads (beyond chance), or needs_evidence"),
    ),
)
