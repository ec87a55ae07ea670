"""Tables of what limits a job, and how far it may be disturbed."""

import polars as pl

from loadpath.tables.schema import Column, TableSchema

__all__ = ["EFFICIENCY", "FACTORS", "FAILURE_ENVELOPE", "LIMITATION"]

LIMITATION = TableSchema(
    "limitation",
    "one kind of work, scaled: how the mean step follows, by replay",
    (
        Column("phase", pl.String, "all, or forward, backward, update, other where told"),
        Column(
            "resource",
            pl.String,
            "device, compute, interconnect, overhead, host, input, launch, lag, boundary; or spread",
        ),
        Column("limit", pl.String, "class of the resource, or all of it"),
        Column(
            "elasticity_ratio", pl.Float64, "relative change of the step per relative change of it"
        ),
        Column("elasticity_low_ratio", pl.Float64, "lower end of the 95 % interval", nullable=True),
        Column(
            "elasticity_high_ratio", pl.Float64, "upper end of the 95 % interval", nullable=True
        ),
        Column(
            "margin_ratio",
            pl.Float64,
            "elasticity less the largest of the phase's other resources",
            nullable=True,
        ),
        Column("margin_low_ratio", pl.Float64, "lower end of the 95 % interval", nullable=True),
        Column("margin_high_ratio", pl.Float64, "upper end of the 95 % interval", nullable=True),
        Column("gain_tenth_ratio", pl.Float64, "share of the step returned if it took 10 % less"),
        Column("gain_half_ratio", pl.Float64, "if it took half the time"),
        Column("gain_whole_ratio", pl.Float64, "if it took no time"),
        Column("gain_tenth_more_ratio", pl.Float64, "if it took 10 % more; negative"),
        Column("basis", pl.String, "how it was got; and why it has no interval or no margin"),
    ),
)

FACTORS = (
    "parallel_efficiency",
    "load_balance",
    "communication_efficiency",
    "serialisation",
    "transfer",
    "orchestration",
)
"""Factors of the efficiency hierarchy: parallel = load balance x communication, communication =
serialisation x transfer, and orchestration is a factor of serialisation."""

EFFICIENCY = TableSchema(
    "efficiency",
    "one factor of the efficiency of the job or of one step",
    (
        Column("step", pl.Int64, "step number, -1 for the whole job"),
        Column("factor", pl.Enum(FACTORS), "which factor"),
        Column(
            "value_ratio", pl.Float64, "its value, part_s over whole_s; empty if 0 s", nullable=True
        ),
        Column("value_low_ratio", pl.Float64, "lower end of the 95 % interval", nullable=True),
        Column("value_high_ratio", pl.Float64, "upper end of the 95 % interval", nullable=True),
        Column("part_s", pl.Float64, "useful time (mean or most of the ranks) or step, a step"),
        Column("whole_s", pl.Float64, "what it is a share of, a step"),
        Column("basis", pl.String, "how it was got; and why it has no interval"),
    ),
)

FAILURE_ENVELOPE = TableSchema(
    "failure_envelope",
    "the ideal job with slow ranks: by how much its step is longer, and whether that is within the bound",
    (
        Column(
            "what",
            pl.Enum(("grid", "limit", "job")),
            "grid: one size; limit: the largest size within the bound; job: where the job stands",
        ),
        Column("n_ranks", pl.Int32, "ranks that are slow"),
        Column("share_ratio", pl.Float64, "their share of all"),
        Column("duration_ratio", pl.Float64, "share of a step that the slowness lasts"),
        Column(
            "size_ratio",
            pl.Float64,
            "how much longer their work takes, 0.5 is half as long again; of a limit 2 is the largest tried",
        ),
        Column(
            "most_ratio",
            pl.Float64,
            "of a limit: with the mildest choice of ranks and times",
            nullable=True,
        ),
        Column(
            "growth_ratio",
            pl.Float64,
            "by how much the step is longer than the ideal one, mean over choices of ranks and times",
        ),
        Column("growth_low_ratio", pl.Float64, "the mildest choice; of the job: its shortest step"),
        Column("growth_high_ratio", pl.Float64, "the worst choice; of the job: its longest step"),
        Column(
            "state",
            pl.Enum(("meets", "depends", "breaks")),
            "within the bound; depends: on which ranks, and when",
        ),
        Column("n_tried", pl.Int64, "choices of ranks and times that were replayed"),
        Column("n_possible", pl.Float64, "choices that there are"),
        Column("basis", pl.String, "how it was replayed"),
    ),
)
