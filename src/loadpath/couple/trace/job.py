"""A trace recording to a coupled job."""

import dataclasses
import functools
from collections.abc import Callable, Collection

import numpy as np
import polars as pl

from loadpath.couple.graph import Coupling, EdgeKind
from loadpath.couple.job import CoupledJob, assemble_job
from loadpath.couple.trace.alignment import (
    UNDECIDED,
    UNMARKED,
    Aligned,
    Timed,
    align_ranks,
    is_cut_off,
    match_ranks,
)
from loadpath.couple.trace.clock_doubts import clock_columns, clock_doubts
from loadpath.couple.trace.clock_hosts import clocks_of_hosts
from loadpath.couple.trace.collectives import Instances
from loadpath.couple.trace.coordinates import rank_coordinates
from loadpath.couple.trace.edges import couple, known_crossings
from loadpath.couple.trace.executions import Settled, handovers, settle
from loadpath.couple.trace.flights import join_flights, misfiled_dumps
from loadpath.couple.trace.groups import REFUSED_RATIO
from loadpath.couple.trace.handshakes import handshake_doubts
from loadpath.couple.trace.identity import copied_ranks, misplaced_ranks
from loadpath.couple.trace.marks import renumber_steps, share_marks
from loadpath.couple.trace.ops import GraphOps, graph_ops
from loadpath.couple.trace.peers import resolve_peers
from loadpath.couple.trace.places import Places, place_ranks
from loadpath.couple.trace.posted import split_posted
from loadpath.couple.trace.recorded_waits import recorded_waits
from loadpath.couple.trace.remains import unlaunched_doubts, without_remains
from loadpath.couple.trace.rows import KIND, Int64Array, Rows, common_steps, rows_of
from loadpath.couple.trace.runs import run_doubts
from loadpath.couple.trace.steps import repeated_steps
from loadpath.couple.trace.window_steps import join_steps, passes_only
from loadpath.couple.trace.windows import join_windows
from loadpath.errors import InputError, StructureError
from loadpath.tables import INSTANCE, MEMBERSHIP, Recording, caveat_table

__all__ = ["couple_trace"]

CUT_OFF = (
    "a trace lacks its end, so communications of any step may be missing: they are not matched, and "
    "conclusions across ranks are refused; record or copy that trace again"
)

CONTRADICTING = (
    "times of ops contradict each other, so a clock jumped or the recording is damaged; conclusions "
    "across ranks are refused"
)
REFUSED = "clocks or recording allow no conclusions across ranks, which are refused"
INCOMPLETE = "communications of which not all members were recorded or found"
UNMET = (
    "communications lack members although as many ranks are recorded as their groups have: which "
    "ranks a group holds could not be told, so conclusions across ranks are refused; record all ranks "
    "with one version of PyTorch, and the same steps"
)
BUFFERED = (
    "sends that ended before their receive began: those of their size are taken as buffered, and "
    "wait for nobody; the limit is not recorded"
)
ROOTLESS = (
    "communications that go from or to one rank, of which neither the record nor the times tell which: "
    "nobody waits in them; record shapes, so that calls name their root"
)
LATE = (
    "communications recorded to end after they were complete, for the thread that marks it had lost its "
    "processor; cut to that time"
)

EARLIER = (
    "device ops launched before the recording began, of an earlier step; left out, and what is queued "
    "behind them begins when it did"
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
    """
    recording, aligned = _aligned(recording)
    wrong = _wrong_ranks(recording, aligned.timed)
    doubts = [*run_doubts(recording, aligned)]
    timed = aligned.timed
    if wrong or any(code == "other_run" for code, *_ in doubts):
        refused = dataclasses.replace(timed.instances, is_refused=True)
        timed = dataclasses.replace(timed, instances=refused)
    ops = graph_ops(timed.rows, timed.threads, timed.work, timed.facts)
    handed = _handed(recording, timed, ops)
    doubts += [
        *handed.doubts,
        _wrong_doubt(wrong),
        *_left_out(timed.rows, recording, common_steps(recording)),
    ]
    doubted = _with_doubts(recording, dataclasses.replace(aligned, timed=timed), doubts)
    membership = _membership_table(timed.instances, ops.of_work)
    instance = _instance_table(timed.rows, timed.instances)
    places = place_ranks(
        Places(ops.table, instance, doubted.communicator, doubted.rank), membership
    )
    assemble = functools.partial(
        assemble_job, op=places.op, instance=places.instance, membership=membership
    )
    placed = dataclasses.replace(doubted, communicator=places.communicator, rank=places.rank)
    coupling = _coupling(recording, timed, ops, handed)
    return _assembled(assemble, placed, coupling, aligned.faults)


def _assembled(
    assemble: Callable[..., CoupledJob],
    placed: Recording,
    coupling: Coupling,
    faults: Collection[str],
) -> CoupledJob:
    """Assemble the job; by its lanes alone where clocks are faulty or times contradict each other."""
    if faults:
        return assemble(placed, coupling=_lanes_only(coupling))
    try:
        return assemble(placed, coupling=coupling)
    except StructureError as error:
        return assemble(_contradicting(placed, error), coupling=_lanes_only(coupling))


def _handed(recording: Recording, timed: Timed, ops: GraphOps) -> Settled:
    """Find what execution traces add to the couplings between streams."""
    none = np.empty(0, np.int32)
    if not recording.execution.height:
        return Settled(none, none, ())
    rows, work = timed.rows, timed.work
    external = recording.op["external"].to_numpy()
    recorded = recorded_waits(recording.synchronisation, rows, work)
    handed = handovers(rows, work, external, recording.execution)
    return settle(handed, rows, work, known_crossings(rows, work, recorded, ops.label))


def _coupling(recording: Recording, timed: Timed, ops: GraphOps, handed: Settled) -> Coupling:
    return couple(
        timed.rows,
        timed.threads,
        timed.work,
        timed.waits,
        recorded=recorded_waits(recording.synchronisation, timed.rows, timed.work),
        instances=timed.instances,
        ops=ops,
        machine=_machines(recording)[timed.rows.rank[timed.work.row]],
        handed=handed[:2],
    )


def _machines(recording: Recording) -> Int64Array:
    """Machine of each rank number, by the names of their hosts."""
    rank = recording.rank["rank"].to_numpy()
    machine = np.zeros(int(rank.max(initial=-1)) + 1, np.int64)
    machine[rank] = clocks_of_hosts(recording.rank)
    return machine


def _wrong_ranks(recording: Recording, timed: Timed) -> list[str]:
    return [
        *copied_ranks(recording, timed.rows),
        *misplaced_ranks(recording, timed.rows, timed.facts),
        *misfiled_dumps(recording),
    ]


def _contradicting(recording: Recording, error: StructureError) -> Recording:
    """Say that the times of ops allow no order of them."""
    text = f"{CONTRADICTING} ({error.problems[0][:160]}...)"
    found = caveat_table([("contradicting_times", text, 1)])
    return dataclasses.replace(recording, caveat=pl.concat([recording.caveat, found]))


def _aligned(recording: Recording) -> tuple[Recording, Aligned]:
    """Align ranks over the steps that all of them recorded; find steps where none are marked."""
    recording = split_posted(resolve_peers(join_flights(recording)))
    recording = join_windows(share_marks(renumber_steps(recording)))
    steps = common_steps(recording)
    if not steps:
        raise InputError(
            "recording", "no step was recorded on every rank", "Record the same steps everywhere."
        )
    unmarked = recording.caveat.filter(pl.col("code") == UNMARKED)["n"].sum()
    is_marked = unmarked < recording.rank.height
    if not is_marked and passes_only(recording):
        recording = join_steps(recording, match_ranks(recording, rows_of(recording), steps))
    aligned = align_ranks(recording, without_remains(rows_of(recording)), steps)
    if is_marked:
        return recording, aligned
    repeated = repeated_steps(recording, aligned.timed)
    if repeated is None:
        return recording, aligned
    steps = common_steps(repeated)
    return repeated, align_ranks(repeated, without_remains(rows_of(repeated)), steps)


def _lanes_only(coupling: Coupling) -> Coupling:
    """Couple nothing but each lane: what lanes say of each other needs a steady clock."""
    keep = np.isin(coupling.edge_kind, (EdgeKind.PROGRAM, EdgeKind.STREAM, EdgeKind.STEP))
    edges = ("edge_source", "edge_target", "edge_kind")
    members = ("member_op", "member_instance", "member_contributes", "member_waits")
    kept = {name: getattr(coupling, name)[keep] for name in edges}
    return dataclasses.replace(
        coupling, **kept, **{name: getattr(coupling, name)[:0] for name in members}
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
            "contributes": instances.contributes | instances.answers,
            "waits": instances.waits | instances.answers,
        }
    )


def _unmet(recording: Recording, instances: Instances) -> int:
    """Count communications whose lacking members must be recorded, if more than a few are so."""
    recorded = recording.rank["rank"].implode()
    here = recording.communicator.select(pl.col("members").list.set_difference(recorded).list.len())
    whole = np.append(here.to_series().to_numpy() == 0, False)[instances.communicator]
    lacking = whole & (instances.n_members < instances.n_expected)
    largest = instances.n_expected[lacking].max(initial=0)
    missing = (recording.caveat["code"] == "missing_ranks").any()
    few = lacking.sum() <= max(1, REFUSED_RATIO * instances.n_instance)
    return 0 if few or missing or largest > recording.rank.height else int(lacking.sum())


def _left_out(rows: Rows, recording: Recording, steps: list[int]) -> list[Doubt]:
    inside, recorded = (np.isin(s, steps) for s in (rows.step, recording.op["step"].to_numpy()))
    outside = int((~recorded & (rows.kind != KIND["marker"])).sum())
    return [
        ("earlier_work", EARLIER, int((recorded & ~inside).sum())),
        ("outside_steps", "ops outside the steps that all ranks recorded; left out", outside),
        *unlaunched_doubts(rows, inside, recording.source),
    ]


def _wrong_doubt(problems: list[str]) -> Doubt:
    listed = "; ".join(problems[:4]) + ("; ..." if len(problems) > 4 else "")
    text = (
        f"traces are not of the ranks that they name ({listed}): conclusions across ranks are "
        "refused; give the trace of every rank once, under its own rank"
    )
    return "wrong_ranks", text, len(problems)


def _with_doubts(recording: Recording, aligned: Aligned, doubts: list[Doubt]) -> Recording:
    """Add clocks and coordinates, and what is doubtful about them and about communications."""
    instances = aligned.timed.instances
    rank, axes = rank_coordinates(clock_columns(recording, aligned), recording.communicator)
    n_bad = int((~instances.causal).sum())
    n_part = int((instances.n_members < instances.n_expected).sum())
    n_unmet = _unmet(recording, instances)
    cut = is_cut_off(recording)
    is_said = cut or (recording.caveat["code"] == UNDECIDED).any()
    contradicts = instances.is_refused and not is_said
    code = "not_causal" if contradicts else "instances_not_causal"
    said = REFUSED if contradicts else "they couple nothing"
    found = caveat_table(
        [
            ("cut_off", CUT_OFF, int(cut)),
            *clock_doubts(aligned),
            *handshake_doubts(recording, aligned.clocks, aligned.residual_ns),
            (code, f"communications in which a rank ends before another starts: {said}", n_bad),
            ("incomplete_instances", INCOMPLETE, n_part - n_unmet),
            ("groups_unmatched", UNMET, n_unmet),
            ("buffered_sends", BUFFERED, instances.n_buffered),
            ("unknown_roots", ROOTLESS, instances.n_rootless),
            ("late_records", LATE, aligned.timed.n_late),
            *doubts,
            *axes,
        ]
    )
    return dataclasses.replace(
        recording,
        rank=rank,
        caveat=pl.concat([recording.caveat, found]),
    )
