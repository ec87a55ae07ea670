"""A recommendation model: tables are spread over ranks, so every pass exchanges embeddings."""

from collections.abc import Generator

import numpy as np

from held_out_jobs.machine import Work
from held_out_jobs.plan import Plan
from held_out_jobs.rank_program import (
    Rank,
    Span,
    begin_step,
    communicate,
    launch,
    synchronise,
    wait_for,
)

__all__ = ["recommend", "recommendation_plan"]

LOOKUP = (
    "fbgemm::split_embedding_codegen_lookup_rowwise_adagrad_function",
    "",
    "split_embedding_codegen_forward_unweighted_kernel<float>",
)
LOOKUP_BACK = (
    "autograd::engine::evaluate_function: SplitLookupFunction_Op",
    "",
    "split_embedding_backward_codegen_rowwise_adagrad_kernel<float>",
)
DENSE = ("aten::linear", "aten::addmm", "ampere_sgemm_128x64_tn")
DENSE_BACK = (
    "autograd::engine::evaluate_function: AddmmBackward0",
    "aten::mm",
    "ampere_sgemm_128x64_nn",
)
CROSS = ("aten::bmm", "", "ampere_sgemm_64x32_sliced1x4_nn")
BUCKETS = 3


def recommendation_plan(seed: int, *, marks: bool = True, **fields: object) -> Plan:
    """Eight ranks without any number or group in their traces: eight communications of a rank."""
    steps = {"steps": 1 if not marks else 2}
    return Plan(seed, **{"dp": 8, "ids": "names", "kernel_us": 80.0, **steps, **fields})  # type: ignore[arg-type]


def recommend(rank: Rank) -> Generator[list[Work], int, None]:
    """Run all steps: two exchanges each, the second beside the sums of dense gradients."""
    plan = rank.cluster.plan
    noise = np.random.default_rng([plan.seed, 3, rank.rank])
    n_bucket = BUCKETS - 1 if plan.steps > 1 else 2 * BUCKETS
    for step in range(plan.steps):
        begin = rank.now
        begin_step(rank, step, float(np.exp(noise.normal(0, plan.noise / 4))))
        _forward(rank)
        yield from _backward(rank, n_bucket)
        rank.take(20_000)
        if plan.steps > 1:
            name = f"ProfilerStep#{step + 5}"
            rank.spans.append(Span("user_annotation", name, 1, begin, rank.now, {}))
        rank.take(8_000)


def _forward(rank: Rank) -> None:
    for _ in range(3):
        launch(rank, LOOKUP, 2.0)
    embedded = communicate(rank, "world", "all_to_all", 4.0)
    for _ in range(4):
        launch(rank, DENSE, 1.0)
    wait_for(rank, embedded)
    launch(rank, CROSS, 1.5)
    for _ in range(5):
        launch(rank, DENSE, 1.2)


def _backward(rank: Rank, n_bucket: int) -> Generator[list[Work], int, None]:
    for _ in range(5):
        launch(rank, DENSE_BACK, 2.0)
    launch(rank, CROSS, 2.5)
    embedded = communicate(rank, "world", "all_to_all", 4.0)
    sums = []
    for _ in range(n_bucket):
        launch(rank, DENSE_BACK, 2.0)
        sums.append(communicate(rank, "world", "all_reduce", 1.5))
    wait_for(rank, embedded)
    launch(rank, LOOKUP_BACK, 3.0)
    for one in sums:
        wait_for(rank, one)
    launch(rank, ("aten::_foreach_add_", "", "multi_tensor_apply_kernel<AddFunctor<float>>"), 1.0)
    last = [stream.last for stream in rank.streams.values() if stream.last is not None]
    yield from synchronise(rank, "cudaDeviceSynchronize", last)
