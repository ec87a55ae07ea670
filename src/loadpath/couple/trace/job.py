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
from loadpath.couple.trace.flights import join_flights
from loadpath.couple.trace.identity import copied_ranks, misplaced_ranks
from loadpath.couple.trace.launches import device_work
from loadpath.couple.trace.ops import graph_ops
from loadpath.couple.trace.peers import resolve_peers
from loadpath.couple.trace.places import Places, place_ranks
from loadpath.couple.trace.posted import split_posted
from loadpath.couple.trace.recorded_waits import recorded_waits
from loadpath.couple.trace.rows import Rows, common_steps, rows_of
from loadpath.couple.trace.segments import cut_threads
from loadpath.couple.trace.threads import hand_over
from loadpath.couple.trace.waits import worker_waits
from loadpath.errors import InputError
from loadpath.tables import INSTANCE, MEMBERSHIP, Recording, caveat_table

__all__ = ["couple_trace"]

CUT_OFF = (
    "a trace lacks its end, so communications of any step may be missing: they are not matched, and "
    "conclusions across ranks are refused; record or copy that trace again"
)

BUFFERED = (
    "sends that ended before their receive began: those of their size are taken as buffered, and "
    "wait for nobody; the limit is not recorded"
)

Doubt = tuple[str, str, int]


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
    recording = split_posted(resolve_peers(join_flights(recording)))
    rows = rows_of(recording)
    threads = hand_over(cut_threads(rows, steps))
    work = device_work(rows, steps)
    if is_cut_off(recording):
        # ops of communication threads meet their calls by order, which the lacking ones upset
        work = dataclasses.replace(work, call=np.where(rows.on_worker[work.row], -1, work.call))
    waits = worker_waits(rows, threads.segments, work)
    late = waits.end < rows.end
    rows = dataclasses.replace(rows, end=waits.end)
    facts = communication_facts(rows, work)
    instances = find_instances(recording, rows, facts)
    wrong = [*copied_ranks(recording, rows), *misplaced_ranks(recording, rows, facts)]
    if wrong or is_cut_off(recording):
        instances = dataclasses.replace(instances, is_refused=True)
    ops = graph_ops(rows, threads.segments, work, facts)
    doubts = [_wrong_doubt(wrong), *_late_doubt(late.sum()), *_left_out(rows, steps)]
    doubted = _with_doubts(recording, instances, doubts)
    membership = _membership_table(instances, ops.of_work)
    places = place_ranks(
        Places(ops.table, _instance_table(rows, instances), doubted.communicator, doubted.rank),
        membership,
    )
    return assemble_job(
        dataclasses.replace(doubted, communicator=places.communicator, rank=places.rank),
        places.op,
        couple(
            rows,
            threads,
            work,
            waits,
            recorded=recorded_waits(recording.synchronisation, rows, work),
            instances=instances,
            ops=ops,
        ),
        instance=places.instance,
        membership=membership,
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


def is_cut_off(recording: Recording) -> bool:
    """Say whether a trace lacks its end.

    Parameters
    ----------
    recording : Recording
        A trace recording.

    Returns
    -------
    bool
        True if so: its events are not ordered by time, so communications of any step may be
        missing, and the others cannot be matched by order.
    """
    return bool((recording.caveat["code"] == "truncated").any())


def _left_out(rows: Rows, steps: list[int]) -> list[Doubt]:
    inside = np.isin(rows.step, steps)
    outside = int((~inside & (rows.kind != "marker")).sum())
    orphans = int((rows.on_device & (rows.call < 0) & inside).sum())
    return [
        ("outside_steps", "ops outside the steps that all ranks recorded; left out", outside),
        ("unknown_launch", "device ops without a recorded launch; stream order only", orphans),
    ]


def _wrong_doubt(problems: list[str]) -> Doubt:
    listed = "; ".join(problems[:4]) + ("; ..." if len(problems) > 4 else "")
    text = (
        f"traces are not of the ranks that they name ({listed}): conclusions across ranks are "
        "refused; give the trace of every rank once, under its own rank"
    )
    return "wrong_ranks", text, len(problems)


def _late_doubt(n: int) -> list[Doubt]:
    text = "communications recorded to end after the thread that waited went on; cut to that time"
    return [("late_records", text, int(n))]


def _with_doubts(recording: Recording, instances: Instances, doubts: list[Doubt]) -> Recording:
    """Add clock residuals and what is doubtful about communications."""
    n_bad = int((~instances.causal).sum())
    n_part = int((instances.n_members < instances.n_expected).sum())
    refused = "clocks or recording allow no conclusions across ranks, which are refused"
    cut = is_cut_off(recording)
    contradicts = instances.is_refused and not cut
    code = "not_causal" if contradicts else "instances_not_causal"
    said = refused if contradicts else "they couple nothing"
    found = caveat_table(
        [
            ("cut_off", CUT_OFF, int(cut)),
            (code, f"communications in which a rank ends before another starts: {said}", n_bad),
            (
                "incomplete_instances",
                "communications of which not all members were recorded or found",
                n_part,
            ),
            ("buffered_sends", BUFFERED, instances.n_buffered),
            *doubts,
        ]
    )
    residual = pl.DataFrame(
        {"rank": list(instances.residual_ns), "ns": list(instances.residual_ns.values())},
        schema={"rank": pl.Int32, "ns": pl.Int64},
    )
    rank = recording.rank.join(residual, on="rank", how="left", maintain_order="left")
    return dataclasses.replace(
        recording,
        rank=rank.with_columns(clock_residual_ns=pl.col("ns").fill_null(-1)).drop("ns"),
        caveat=pl.concat([recording.caveat, found]),
    )
