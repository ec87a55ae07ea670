"""Tables of how a job bears delay and noise, and what helps."""

import polars as pl

from loadpath.tables.schema import Column, TableSchema

__all__ = ["INTERACTION", "LOAD_CURVE", "POLICY", "STABILITY", "VARIANCE"]

STABILITY = TableSchema(
    "stability",
    "one figure of the stability vector, of the whole job or of a part of it",
    (
        Column("load", pl.String, "recorded, transfers or launches: what was made heavier"),
        Column("factor", pl.Float64, "how many times heavier; 1 as recorded"),
        Column("quantity", pl.String, "name of the figure, see docs/stability.md"),
        Column("by", pl.String, "job, or what the job is divided by: rank, op_class, part, ..."),
        Column("key", pl.String, "which part of it"),
        Column("value", pl.Float64, "the figure", nullable=True),
        Column("low", pl.Float64, "lower end of the 95 % interval", nullable=True),
        Column("high", pl.Float64, "upper end of the 95 % interval", nullable=True),
        Column("unit", pl.String, "ratio (1 is all), s or count"),
        Column("basis", pl.String, "measured, replayed or modelled; or why it is not assessed"),
    ),
)

LOAD_CURVE = TableSchema(
    "load_curve",
    "the mean step under a load",
    (
        Column("load", pl.String, "transfers or launches: what was made heavier"),
        Column("factor", pl.Float64, "how many times heavier; 1 as recorded"),
        Column("step_s", pl.Float64, "mean step, replayed"),
        Column(
            "gain_ratio",
            pl.Float64,
            "seconds of step for each second that the loaded work of a rank grows by from here on",
        ),
    ),
)

VARIANCE = TableSchema(
    "variance",
    "one part of the variance over steps; the parts of a place sum to its total",
    (
        Column("of", pl.String, "step (its time) or work (a rank's own, beside its peers')"),
        Column("place", pl.String, "job, all ranks, or a rank"),
        Column("part", pl.String, "persistent, periodic, rare, trend, noise, or total"),
        Column("variance_s2", pl.Float64, "mean square in s squared", nullable=True),
        Column("share_ratio", pl.Float64, "share of the total", nullable=True),
        Column("period_n_steps", pl.Float64, "period of the periodic part", nullable=True),
        Column("n_events", pl.Int64, "rare events", nullable=True),
        Column("basis", pl.String, "how it was estimated; or why it is not assessed"),
    ),
)

POLICY = TableSchema(
    "policy",
    "what can be done where non-determinism is the normal state, what it would return, and take",
    (
        Column(
            "policy",
            pl.String,
            "replace, exclude, remap, bucket, overlap, backup, checkpoint",
        ),
        Column("target", pl.String, "what it is applied to"),
        Column("step_s", pl.Float64, "mean step with it", nullable=True),
        Column("gain_s", pl.Float64, "seconds a step that it returns", nullable=True),
        Column("gain_low_s", pl.Float64, "lower end of the 95 % interval", nullable=True),
        Column("gain_high_s", pl.Float64, "upper end of the 95 % interval", nullable=True),
        Column("gain_ratio", pl.Float64, "the same as a share of the step", nullable=True),
        Column(
            "machines_ratio", pl.Float64, "machines with it, of those without it", nullable=True
        ),
        Column(
            "work_ratio", pl.Float64, "work of a step with it, of a step without it", nullable=True
        ),
        Column(
            "saving_ratio",
            pl.Float64,
            "machine time that the same work takes less; negative is more",
            nullable=True,
        ),
        Column("cost", pl.String, "what it takes, in words; empty where not assessed"),
        Column("basis", pl.String, "how it was replayed; or why it is not assessed"),
        Column("missing", pl.String, "input without which it is not assessed, empty for none"),
    ),
)

INTERACTION = TableSchema(
    "interaction",
    "one of several causes whose removal and addition disagree: its fair share of what all return",
    (
        Column("key", pl.String, "which cause"),
        Column("removal_s", pl.Float64, "seconds a step that its removal alone returns"),
        Column("addition_s", pl.Float64, "seconds a step that it costs where it is the only one"),
        Column("shapley_s", pl.Float64, "its Shapley value, seconds a step"),
        Column(
            "error_s", pl.Float64, "standard error of sampling, 0 where all orders and steps count"
        ),
        Column("method", pl.String, "exact, or sampled orders; of which steps, where not of all"),
    ),
)
