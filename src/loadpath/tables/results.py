"""Tables of what was found; every number of a briefing is in one of them."""

import polars as pl

from loadpath.tables.limit_results import EFFICIENCY, FACTORS, FAILURE_ENVELOPE, LIMITATION
from loadpath.tables.schema import Column, TableSchema
from loadpath.tables.stability_results import (
    INTERACTION,
    LOAD_CURVE,
    POLICY,
    STABILITY,
    VARIANCE,
)

__all__ = [
    "ATTRIBUTION",
    "BLINDNESS",
    "BOUNDS",
    "CAUSE",
    "COUPLING",
    "COUPLING_BLOCK",
    "COUPLING_GROUP",
    "DISTANCE",
    "EFFICIENCY",
    "FACTORS",
    "FAILURE_ENVELOPE",
    "HANG",
    "INTERACTION",
    "LIMITATION",
    "LOAD_CURVE",
    "MISSED",
    "PATH",
    "POLICY",
    "RANK_PARTS",
    "RANK_STEP",
    "RANK_TIME",
    "RESULT_TABLES",
    "SINK",
    "STABILITY",
    "STEP_BOUND",
    "STEP_TIME",
    "TIMELINE",
    "VARIANCE",
]

STEP_TIME = TableSchema(
    "step_time",
    "one step: as measured, replayed without lag, and replayed with ideal durations",
    (
        Column("step", pl.Int64, "step number"),
        Column("measured_s", pl.Float64, "earliest start to latest end"),
        Column("replayed_s", pl.Float64, "replay of measured durations without lag"),
        Column("ideal_s", pl.Float64, "replay of the chosen ideal"),
        Column("without_cause_s", pl.Float64, "replay without the verdict's cause"),
    ),
)

BOUNDS = ("device", "communication", "input", "launch", "host", "balanced")
"""What bounds a step; `balanced` where nothing alone does."""

STEP_BOUND = TableSchema(
    "step_bound",
    "what bounds a step: by how much it would be shorter if one kind of work took no time",
    (
        Column("step", pl.Int64, "step number"),
        Column("bound", pl.Enum(BOUNDS), "the kind whose absence shortens the step most"),
        Column("device_s", pl.Float64, "without kernels and copies"),
        Column("communication_s", pl.Float64, "without transfers"),
        Column("input_s", pl.Float64, "without data loading"),
        Column("launch_s", pl.Float64, "without the host time that launching usually takes"),
        Column("host_s", pl.Float64, "without other host work"),
    ),
)

RANK_PARTS = ("compute", "host", "overhead", "transfer", "wait", "bubble", "launch_delay", "idle")
"""What the time of a rank goes into."""

RANK_TIME = TableSchema(
    "rank_time",
    "where the time of a rank goes, mean per step; the parts of a rank sum to its step time",
    (
        Column("rank", pl.Int32, "rank"),
        Column(
            "part",
            pl.Enum(RANK_PARTS),
            "compute: a device or host works; host: the device idles while the host works; "
            "overhead: a processor handles messages; "
            "transfer, wait: exposed communication; bubble: wait that the ideal replay has too; "
            "launch_delay: lag; idle: nothing recorded",
        ),
        Column("mean_s", pl.Float64, "seconds per step"),
    ),
)

RANK_STEP = TableSchema(
    "rank_step",
    "one rank in one step",
    (
        Column("rank", pl.Int32, "rank"),
        Column("step", pl.Int64, "step"),
        Column("excess_s", pl.Float64, "work of its own beyond what its peers need"),
        Column("wait_s", pl.Float64, "exposed waiting for others"),
    ),
)

ATTRIBUTION = TableSchema(
    "attribution",
    "effect of one group of ops on the step time, by counterfactual replay",
    (
        Column("by", pl.String, "op_class, mechanism, stage, replica, rank, link or step"),
        Column("key", pl.String, "which one"),
        Column("slowdown_ratio", pl.Float64, "all ideal except this group, over ideal"),
        Column("removal_ratio", pl.Float64, "share of the waste that making it ideal returns"),
        Column("addition_ratio", pl.Float64, "share of the waste that it alone adds to the ideal"),
        Column("gain_s", pl.Float64, "seconds a step that making it ideal returns"),
    ),
)

CAUSE = TableSchema(
    "cause",
    "a candidate cause, judged",
    (
        Column("order", pl.Int32, "0 is the verdict, then by gain"),
        Column("kind", pl.String, "rank, host, stage, link, data, jitter"),
        Column("place", pl.String, "rank, host, stage, link, group, microbatch, all or nobody"),
        Column("key", pl.String, "which one, such as 'rank 2' or 'stage 3'"),
        Column(
            "mechanism",
            pl.String,
            "device, host, input, communication, workload, noise, unknown; or a course",
        ),
        Column("ranks", pl.List(pl.Int32), "ranks it sits on"),
        Column("gain_s", pl.Float64, "seconds a step that removing it returns, by replay"),
        Column("gain_low_s", pl.Float64, "lower end of the 95 % interval"),
        Column("gain_high_s", pl.Float64, "upper end of the 95 % interval"),
        Column("removal_ratio", pl.Float64, "share of the waste that removal returns"),
        Column("addition_ratio", pl.Float64, "share of the waste that addition makes"),
        Column("excess_s", pl.Float64, "its own excess work a step, absorbed or not"),
        Column("state", pl.String, "verdict, present, absorbed, within_noise or below_policy"),
        Column("intermittent", pl.Boolean, "sits in some steps only"),
    ),
)

SINK = TableSchema(
    "sink",
    "where exposed waiting ends when it is walked back to what made the last arriver late",
    (
        Column("sink", pl.String, "excess, lag, bubble, transfer_excess or unexplained"),
        Column("rank", pl.Int32, "rank of the sink, -1 for bubble and unexplained"),
        Column("op_class", pl.String, "class of the op that was late, empty for none"),
        Column("wait_s", pl.Float64, "exposed waiting it explains, all victims and steps"),
        Column("n_waits", pl.Int64, "waits it takes part in"),
        Column("hops_mean", pl.Float64, "mean distance in synchronisations"),
    ),
)

COUPLING = TableSchema(
    "coupling",
    "exposed seconds that rank `waiter` waited because of rank `cause`, all steps",
    (
        Column("cause", pl.Int32, "rank"),
        Column("waiter", pl.Int32, "rank"),
        Column("direct_s", pl.Float64, "cause arrived last"),
        Column("transitive_s", pl.Float64, "cause is where the walk back ends"),
    ),
)

COUPLING_GROUP = TableSchema(
    "coupling_group",
    "exposed seconds that ranks waited at a communicator because of rank `cause`, all steps",
    (
        Column("cause", pl.Int32, "rank"),
        Column("communicator", pl.Int32, "see table communicator; -1 for waits at none"),
        Column("direct_s", pl.Float64, "cause arrived last"),
        Column("transitive_s", pl.Float64, "cause is where the walk back ends"),
    ),
)

DISTANCE = TableSchema(
    "distance",
    "how far a cause is from the waits it explains, over all waits, weighted by their seconds",
    (
        Column("statistic", pl.Enum(("mean", "p50", "p90", "p99", "most")), "which"),
        Column("n_hops", pl.Float64, "changes of rank on the way from the cause to the wait"),
        Column("n_ranks", pl.Float64, "ranks on the way"),
        Column("n_steps", pl.Float64, "steps between"),
        Column("distance_s", pl.Float64, "time from the end of the cause to the end of the wait"),
    ),
)

MISSED = TableSchema(
    "missed",
    "a part of the waiting whose cause was found: what a look at each communication alone misses",
    (
        Column(
            "part",
            pl.Enum(("explained", "other_rank", "other_step", "either")),
            "explained: all of it; other_rank: the cause is not the rank that arrived last; "
            "other_step: it lies in an earlier step; either of the two",
        ),
        Column("wait_s", pl.Float64, "exposed waiting, each wait by its main cause"),
        Column("share_ratio", pl.Float64, "of what is explained"),
        Column("share_low_ratio", pl.Float64, "lower end of the 95 % interval", nullable=True),
        Column("share_high_ratio", pl.Float64, "upper end of the 95 % interval", nullable=True),
        Column("basis", pl.String, "how it was got; and why it has no interval"),
    ),
)

COUPLING_BLOCK = TableSchema(
    "coupling_block",
    "a division of the ranks into blocks that wait for each other",
    (
        Column("by", pl.String, "stage, replica, host or rack as known, or found: from the waits"),
        Column("rank", pl.Int32, "rank"),
        Column("block", pl.Int32, "its block, numbered from the one with the lowest rank"),
        Column(
            "modularity_ratio", pl.Float64, "of the division: within_ratio less what chance gives"
        ),
        Column("within_ratio", pl.Float64, "of the division: share of waiting within blocks"),
    ),
)

PATH = TableSchema(
    "path",
    "the critical path of the longest step, op by op, actual and without the cause",
    (
        Column("scenario", pl.Enum(("actual", "without_cause")), "which replay"),
        Column("order", pl.Int32, "position on the path, 0 first"),
        Column("rank", pl.Int32, "rank"),
        Column("lane", pl.String, "lane name"),
        Column("kind", pl.String, "op kind, 'wait' or 'lag'"),
        Column("name", pl.String, "op name"),
        Column("start_s", pl.Float64, "seconds after the step's start"),
        Column("end_s", pl.Float64, "seconds after the step's start"),
        Column("excess_s", pl.Float64, "part beyond the ideal"),
    ),
)

TIMELINE = TableSchema(
    "timeline",
    "what the ranks around the causal path do in the longest step, merged to bars",
    (
        Column("scenario", pl.Enum(("actual", "without_cause")), "which replay"),
        Column("rank", pl.Int32, "rank"),
        Column("kind", pl.String, "compute, host, input, transfer, wait"),
        Column("start_s", pl.Float64, "seconds after the step's start"),
        Column("end_s", pl.Float64, "seconds after the step's start"),
    ),
)

BLINDNESS = TableSchema(
    "blindness",
    "what an ordinary dashboard would have concluded from the same data",
    (
        Column("view", pl.String, "name of the view"),
        Column("accuses", pl.String, "whom it points at"),
        Column("evidence", pl.String, "the figures it would show"),
        Column(
            "right",
            pl.Boolean,
            "it agrees with the proof; empty where there is none",
            nullable=True,
        ),
    ),
)

HANG = TableSchema(
    "hang",
    "a communication that cannot end, causes before consequences",
    (
        Column("order", pl.Int32, "place in the causal order; 0 is the first divergence"),
        Column(
            "group",
            pl.String,
            "process group as recorded; `NAME@FIRST_RANK` where several have one name",
        ),
        Column("description", pl.String, "what the group is for, as recorded"),
        Column("collective", pl.String, "all_reduce, send, ...; what most members asked for"),
        Column("name", pl.String, "call of the member that asked first, as recorded"),
        Column("sequence", pl.Int64, "number within the group"),
        Column("size", pl.String, "shapes of most members; empty if not recorded"),
        Column("data_type", pl.String, "type of the first member's input; empty if not recorded"),
        Column(
            "reason",
            pl.String,
            "missing; different_collective, different_size or different_data_type",
        ),
        Column("missing_ranks", pl.List(pl.Int32), "members that never asked, or asked otherwise"),
        Column("waiting_ranks", pl.List(pl.Int32), "members that wait in it"),
        Column("causes", pl.List(pl.Int32), "orders of the stops that hold a missing rank up"),
        Column("created_ns", pl.Int64, "when the first member asked, ns of the epoch; 0 unknown"),
    ),
)

RESULT_TABLES = (
    STEP_TIME,
    STEP_BOUND,
    RANK_TIME,
    RANK_STEP,
    ATTRIBUTION,
    CAUSE,
    SINK,
    COUPLING,
    COUPLING_GROUP,
    COUPLING_BLOCK,
    DISTANCE,
    MISSED,
    LIMITATION,
    EFFICIENCY,
    FAILURE_ENVELOPE,
    PATH,
    TIMELINE,
    BLINDNESS,
    STABILITY,
    LOAD_CURVE,
    VARIANCE,
    POLICY,
    INTERACTION,
)
"""Tables that every audit folder holds beside `caveat` and the recorded ones."""
