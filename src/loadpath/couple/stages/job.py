"""Couple the stages of all ranks: each rank is a chain that ends in one meeting of all.

A cycle runs from one meeting to the next; ranks begin it together, for they left the last together::

    rank 0   = optimizer = input = forward = backward = [ wait ]
                                                           >-< all
    rank 1   = optimizer = input = forward = backward = [ wait ]

Where waiting is part of a stage (`backward`, as a rule), the shortest of the ranks' durations of it is
taken for work of each, and the rest for waiting.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from loadpath.couple.graph import Coupling, EdgeKind, Int64Array
from loadpath.couple.job import COUPLED_OP, CoupledJob, assemble_job
from loadpath.couple.stages.meeting import Stages, cycles_of, meeting_stage, stages_of
from loadpath.couple.steps import CoupledSteps, join_steps
from loadpath.errors import InputError
from loadpath.tables import COMMUNICATOR, INSTANCE, MEMBERSHIP, Recording, caveat_table

__all__ = ["WAIT", "couple_stages"]

WAIT = "wait"
"""Name of the meeting where no stage of its own was recorded for it."""
MECHANISM = {"input": "input", "communicate": "communication"}
"""All else: coarse stages cannot tell device from host."""


def couple_stages(recording: Recording) -> CoupledJob:
    """Couple a stage log.

    Parameters
    ----------
    recording : Recording
        Recording of source ``stage_log``.

    Returns
    -------
    CoupledJob
        All cycles, unconnected: ranks begin each together.

    Raises
    ------
    InputError
        If no step was recorded on all ranks.
    """
    stages = stages_of(recording)
    if not stages.step.size:
        what = "no step has a row of every rank"
        raise InputError("stage log", what, "Give the logs of all ranks, of the same steps.")
    meeting = meeting_stage(stages)
    cycles = cycles_of(stages, meeting)
    name = [stages.name[k] for k in cycles.order]
    kind = [stages.kind[k] for k in cycles.order]
    duration, shared = _with_wait(cycles.duration_ns, meeting, kind)
    if duration.shape[2] > len(name):
        name, kind = [*name, WAIT], [*kind, "communicate"]
    kind[:-1] = ["compute" if k == "communicate" else k for k in kind[:-1]]
    job = _assemble(
        _doubted(recording, stages, meeting, name[-2] if shared else ""),
        _ops(stages.rank, (name, kind), duration[0], int(cycles.step[0])),
        (stages.rank, len(name), int(cycles.step[0])),
    )
    start = np.cumsum(duration, axis=2) - duration
    flat = (duration.shape[0], job.n_op)
    steps = CoupledSteps(job, cycles.step, start.reshape(flat), duration.reshape(flat))
    return join_steps(steps)


def _with_wait(
    duration_ns: Int64Array, meeting: int, kind: Sequence[str]
) -> tuple[Int64Array, bool]:
    """Give the meeting a place of its own at the end; say whether a stage was split for it."""
    if meeting < 0:
        total = duration_ns.sum(axis=2, keepdims=True)
        wait = total.max(axis=1, keepdims=True) - total
        return np.concatenate([duration_ns, wait], axis=2), False
    at = -1 if kind[-1] == "communicate" else None
    if at is not None:
        return duration_ns, False
    last = duration_ns[:, :, -1:]
    own = np.broadcast_to(last.min(axis=1, keepdims=True), last.shape)
    return np.concatenate([duration_ns[:, :, :-1], own, last - own], axis=2), True


def _ops(
    rank: Int64Array, stage: tuple[list[str], list[str]], duration_ns: Int64Array, step: int
) -> pl.DataFrame:
    """Ops of the first cycle, rank by rank."""
    name, kind = stage
    n = len(name)
    meets = np.tile(np.arange(n) == n - 1, rank.size)
    return COUPLED_OP.build(
        pl.DataFrame({
            "rank": np.repeat(rank, n),
            "name": name * rank.size,
            "kind": kind * rank.size,
            "start_ns": (np.cumsum(duration_ns, axis=1) - duration_ns).ravel(),
            "duration_ns": duration_ns.ravel(),
            "mechanism": [MECHANISM.get(k, "unknown") for k in kind] * rank.size,
        }).with_columns(
            pl.lit(step).alias("step"),
            pl.lit(0).alias("lane"),
            pl.col("name").alias("op_class"),
            pl.Series("communicator", np.where(meets, 0, -1)),
            pl.Series("collective", np.where(meets, "barrier", "")),
            *(pl.lit(0).alias(column) for column in ("position", "stage", "replica")),
        )
    )  # fmt: skip


def _assemble(
    recording: Recording, op: pl.DataFrame, shape: tuple[Int64Array, int, int]
) -> CoupledJob:
    """Chain the stages of each rank, and let all ranks meet in the last."""
    rank, n_stage, step = shape
    place = np.arange(op.height, dtype=np.int32).reshape(rank.size, n_stage)
    meets, every = place[:, -1].copy(), np.ones(rank.size, np.bool_)
    at_step = np.full(rank.size, step, np.int64)
    coupling = Coupling(
        n_op=op.height,
        edge_source=place[:, :-1].ravel(),
        edge_target=place[:, 1:].ravel(),
        edge_kind=np.full(rank.size * (n_stage - 1), EdgeKind.PROGRAM, np.uint8),
        member_op=meets,
        member_instance=np.zeros(rank.size, np.int32),
        member_contributes=every,
        member_waits=every,
        begin_op=place[:, 0].copy(),
        begin_step=at_step,
        end_op=meets,
        end_step=at_step,
    )
    instance = {"instance": [0], "collective": ["barrier"], "communicator": [0], "step": [step],
                "n_members": [rank.size], "matched": [True]}  # fmt: skip
    member = {"op": meets, "instance": [0] * rank.size, "role": ["all"] * rank.size,
              "contributes": every, "waits": every}  # fmt: skip
    return assemble_job(
        recording,
        op,
        coupling,
        instance=INSTANCE.build(instance),
        membership=MEMBERSHIP.build(member),
    )


def _doubted(recording: Recording, stages: Stages, meeting: int, shared: str) -> Recording:
    """Add the one group of all ranks, and what the log leaves open."""
    n_alone = int(meeting < 0)
    assumed = (
        "no stage makes up for what ranks are late by, so waiting was not recorded: ranks are taken to "
        "begin each step together and to wait for the last at its end"
    )
    open_ = (
        f"work and waiting are not told apart inside {shared}: what one rank does longer there shows "
        "on all alike; record where its own work ends, or trace it"
    )
    lacking = "steps that some rank did not record are left out"
    doubts = [
        ("waits_assumed", assumed, n_alone),
        ("shared_stage", open_, int(bool(shared))),
        ("incomplete_step", lacking, stages.n_incomplete),
    ]
    group = {"communicator": [0], "name": ["all ranks"], "n_members": [stages.rank.size],
             "members": [stages.rank.tolist()]}  # fmt: skip
    return replace(
        recording,
        communicator=COMMUNICATOR.build(group),
        caveat=pl.concat([recording.caveat, caveat_table(doubts)]),
    )
