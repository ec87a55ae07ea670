"""Tables of what was measured apart from a job: times of collectives, bandwidth of links."""

import polars as pl

from loadpath.tables.schema import Column, TableSchema

__all__ = [
    "COLLECTIVE_KINDS",
    "COLLECTIVE_POINT",
    "ITERATION_POINT",
    "LINK_HEALTH",
    "LINK_POINT",
    "REQUEST",
    "RUN_POINT",
]

COLLECTIVE_KINDS = (
    "all_reduce",
    "all_gather",
    "reduce_scatter",
    "broadcast",
    "reduce",
    "all_to_all",
    "send_recv",
    "gather",
    "scatter",
    "hypercube",
)
"""Collectives that are measured on their own."""

COLLECTIVE_POINT = TableSchema(
    "collective_point",
    "one measured time of one collective at one size",
    (
        Column("collective", pl.Enum(COLLECTIVE_KINDS), "what was measured"),
        Column("bytes", pl.Int64, "size of the collective, the larger of what goes in and out"),
        Column("n_rank", pl.Int32, "ranks that took part"),
        Column("n_node", pl.Int32, "nodes that they ran on"),
        Column("duration_ns", pl.Int64, "time of one execution"),
        Column("in_place", pl.Boolean, "whether input and output are one buffer"),
        Column("n_wrong", pl.Int64, "wrong values, empty where not checked", nullable=True),
    ),
)

LINK_POINT = TableSchema(
    "link_point",
    "bandwidth that one set of nodes reached among themselves",
    (
        Column("collective", pl.Enum(COLLECTIVE_KINDS), "what was measured"),
        Column("nodes", pl.String, "nodes, as the summary names them"),
        Column("n_node", pl.Int32, "nodes"),
        Column("n_rank_per_node", pl.Int32, "ranks on each node"),
        Column("min_bytes", pl.Int64, "smallest size"),
        Column("max_bytes", pl.Int64, "largest size"),
        Column("mean_bytes_per_s", pl.Float64, "mean bus bandwidth over all sizes"),
        Column("peak_bytes_per_s", pl.Float64, "largest bus bandwidth"),
    ),
)

LINK_HEALTH = TableSchema(
    "link_health",
    "a pair of nodes, or a node, beside its peers",
    (
        Column("place", pl.Enum(("link", "node")), "what is judged"),
        Column("name", pl.String, "node, or both nodes of the link"),
        Column("n_tests", pl.Int32, "tests that it was measured in"),
        Column(
            "deficit_ratio",
            pl.Float64,
            "share of the peers' bandwidth that it lacks: mean, or in the test that tells",
        ),
        Column("score", pl.Float64, "deficits over those usual in their tests, summed by squares"),
        Column("p_value", pl.Float64, "probability of such a one among healthy ones"),
        Column("is_weak", pl.Boolean, "beyond chance, and not small"),
    ),
)

RUN_POINT = TableSchema(
    "run_point",
    "one measured run of a job at one size",
    (
        Column("n", pl.Int64, "accelerators"),
        Column("step_s", pl.Float64, "time of one step, s"),
        Column("microbatches", pl.Int64, "microbatches of a replica in a step", nullable=True),
        Column("tp", pl.Int64, "tensor parallelism", nullable=True),
        Column("pp", pl.Int64, "pipeline stages", nullable=True),
        Column("cp", pl.Int64, "context parallelism", nullable=True),
        Column("global_batch", pl.Int64, "samples in a step", nullable=True),
        Column("power_w", pl.Float64, "mean power of the whole job, W", nullable=True),
    ),
)

REQUEST = TableSchema(
    "request",
    "one request to a served model",
    (
        Column("arrival_ns", pl.Int64, "since the first request"),
        Column("prompt_tokens", pl.Int64, "tokens that it brings"),
        Column("output_tokens", pl.Int64, "tokens that it was answered with"),
    ),
)

ITERATION_POINT = TableSchema(
    "iteration_point",
    "one measured iteration of a served model",
    (
        Column("tokens", pl.Int64, "tokens that went through the model: of prompts and of answers"),
        Column(
            "cached_tokens", pl.Int64, "tokens that answering sequences had in their caches, summed"
        ),
        Column(
            "prompt_pairs", pl.Float64, "pairs of a prompt's token and one it attends to, summed"
        ),
        Column("step_s", pl.Float64, "time of the iteration"),
        Column(
            "tensor", pl.Int64, "tensor-parallel width; null for the design's own", nullable=True
        ),
    ),
)
