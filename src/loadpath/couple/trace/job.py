"""A trace recording to a coupled job."""

import dataclasses

import numpy as np
import polars as pl

from loadpath.couple.job import CoupledJob, assemble_job
from loadpath.couple.trace.collectives import (
    Instances,
    communication_facts,
    find_instances,
)
from loadpath.couple.trace.edges import couple
from loadpath.couple.trace.launches import device_work
from loadpath.couple.trace.ops import graph_ops
from loadpath.couple.trace.rows import Rows, common_steps, rows_of
from loadpath.couple.trace.segments import cut_threads
from loadpath.couple.trace.threads import hand_over
from loadpath.couple.trace.waits import worker_waits
from loadpath.errors import InputError
from loadpath.tables import INSTANCE, MEMBERSHIP, Recording, caveat_table

__all__ = ["couple_trace"]


def couple_trace(recording: Recording) -> CoupledJob:
    """Couple the ops of all ranks of a trace recording.

    Parameters
    ----------
    recording : Recording
        Host calls, launches, device ops and communications of all ranks.

    Returns
    -------
    CoupledJob
        The coupled job. Where the times of communications contradict each other, its caveats say
        ``not_causal`` and no rank waits for another in it.

    Raises
    ------
    InputError
        If no step was recorded on all ranks.
    StructureError
        If the couplings form a cycle.
    """
    steps = common_steps(recording)
    if not steps:
        raise InputError(
            "recording", "no step was recorded on every rank", "Record the same steps everywhere."
        )
    rows = rows_of(recording)
    threads = hand_over(cut_threads(rows, steps))
    segments = threads.segments
    work = device_work(rows, steps)
    waits = worker_waits(rows, segments, work)
    n_late = int((waits.end < rows.end).sum())
    rows = dataclasses.replace(rows, end=waits.end)
    facts = communication_facts(rows, work)
    instances = find_instances(recording, rows, facts)
    ops = graph_ops(rows, segments, work, facts)
    return assemble_job(
        _with_doubts(recording, rows, instances, steps),
        ops.table,
        couple(rows, threads, work, waits, instances=instances, ops=ops),
        instance=_instance_table(rows, instances),
        membership=_membership_table(instances, ops.of_work),
    )


def _instance_table(rows: Rows, instances: Instances) -> pl.DataFrame:
    names = pl.Series(rows.collectives, dtype=pl.String)
    complete = instances.n_members == instances.n_expected
    return INSTANCE.build(
        {
            "instance": np.arange(instances.n_instance),
            "collective": names.gather(instances.collective),
            "communicator": instances.communicator,
            "sequence": instances.sequence,
            "step": instances.step,
            "n_members": instances.n_members,
            "bytes": instances.bytes,
            "matched": complete & instances.causal & (not instances.is_refused),
        }
    )


def _membership_table(instances: Instances, op: np.ndarray) -> pl.DataFrame:
    return MEMBERSHIP.build(
        {
            "op": op[instances.work],
            "instance": instances.instance,
            "role": instances.role,
            "contributes": instances.contributes,
            "waits": instances.waits,
        }
    )


def _with_doubts(
    recording: Recording, rows: Rows, instances: Instances, steps: list[int]
) -> Recording:
    n_bad = int((~instances.causal).sum())
    outside = int((~np.isin(rows.step, steps) & (rows.kind != "marker")).sum())
    orphans = int((rows.on_device & (rows.call < 0) & np.isin(rows.step, steps)).sum())
    code = "not_causal" if instances.is_refused else "instances_not_causal"
    said = (
        "clocks or recording do not allow conclusions across ranks, which are refused"
        if instances.is_refused
        else "they couple nothing"
    )
    doubts = caveat_table(
        [
            (code, f"communications in which a rank ends before another starts: {said}", n_bad),
            ("incomplete_instances", "communications without all their recorded ranks",
             int((instances.n_members < instances.n_expected).sum())),
            ("outside_steps", "ops outside the steps that all ranks recorded; left out", outside),
            ("unknown_launch", "device ops without a recorded launch; stream order only", orphans),
        ]
    )  # fmt: skip
    residual = pl.DataFrame(
        {
            "rank": list(instances.residual_ns),
            "clock_residual_ns": list(instances.residual_ns.values()),
        },
        schema={"rank": pl.Int32, "clock_residual_ns": pl.Int64},
    )
    rank = recording.rank.drop("clock_residual_ns").join(
        residual, on="rank", how="left", maintain_order="left"
    )
    return dataclasses.replace(
        recording,
        rank=rank.with_columns(pl.col("clock_residual_ns").fill_null(-1)),
        caveat=pl.concat([recording.caveat, doubts]),
    )
