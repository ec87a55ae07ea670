"""Communications of all ranks: which ops are members of one, and whether their times allow it."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from loadpath.couple.trace import kernels
from loadpath.couple.trace.groups import REFUSED_RATIO, Joined, split_groups
from loadpath.couple.trace.launches import DeviceWork
from loadpath.couple.trace.posted import are_ends, are_posts
from loadpath.couple.trace.roles import FROM_ROOT, TO_ROOT, Members, member_roles
from loadpath.couple.trace.rows import BoolArray, Int32Array, Int64Array, Rows
from loadpath.couple.trace.segments import occurrences
from loadpath.tables import Recording

__all__ = ["Facts", "Instances", "communication_facts", "find_instances"]

LEAST_TOLERANCE_NS = 100_000
"""Ends of one collective differ by this much between ranks with one clock."""
ONE_WAY = (*FROM_ROOT, *TO_ROOT, "send", "recv")
SAME_BYTES = ("all_reduce", "reduce_scatter", "broadcast", "reduce")
"""Collectives in which the payloads of all members are equal."""


@dataclass(frozen=True, slots=True)
class Instances:
    """Communications with at least two recorded members.

    Attributes
    ----------
    work : (n_member,) array of int32
        Member ops: indices into `DeviceWork`.
    instance : (n_member,) array of int32
        Instance of each member.
    contributes, waits : (n_member,) arrays of bool
        Whether others wait for it, and whether it waits for others.
    role : (n_member,) array of object
        Part it plays.
    n_buffered : int
        Sends that did not wait for their receiver.
    step, sequence, bytes : (n_instance,) arrays of int64
        Step, number within its group (or class and step), payload of one member.
    collective, communicator, n_members, n_expected : (n_instance,) arrays of int32
        Code of the collective, process group (-1 unknown), members found, and ranks expected.
    causal : (n_instance,) array of bool
        No member ends before the last one starts.
    residual_ns : dict of int to int
        By rank: typical deviation of its ends from the other members'.
    is_refused : bool
        Too many instances are not causal: the clocks or the recording do not allow conclusions
        across ranks.
    """

    work: Int32Array
    instance: Int32Array
    contributes: BoolArray
    waits: BoolArray
    role: np.ndarray[tuple[int], np.dtype[np.object_]]
    n_buffered: int
    step: Int64Array
    sequence: Int64Array
    bytes: Int64Array
    collective: Int32Array
    communicator: Int32Array
    n_members: Int32Array
    n_expected: Int32Array
    causal: BoolArray
    residual_ns: dict[int, int]
    is_refused: bool

    @property
    def n_instance(self) -> int:
        """Number of instances."""
        return int(self.step.size)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of each communication op; one entry per op.

    Attributes
    ----------
    work : (n,) array of int32
        Index into `DeviceWork`.
    rank, communicator, collective, peer : (n,) arrays of int32
        As in `Rows`, from the op itself or from a call around its launch.
    start, end, step, sequence, bytes, tag : (n,) arrays of int64
        As in `Rows`, likewise.
    is_threaded : (n,) array of bool
        It runs on a communication thread, not on a device.
    is_post, is_end : (n,) arrays of bool
        It is only the post, or only the end, of a communication.
    """

    work: Int32Array
    rank: Int32Array
    start: Int64Array
    end: Int64Array
    step: Int64Array
    communicator: Int32Array
    sequence: Int64Array
    collective: Int32Array
    bytes: Int64Array
    peer: Int32Array
    tag: Int64Array
    is_threaded: BoolArray
    is_post: BoolArray
    is_end: BoolArray


def find_instances(recording: Recording, rows: Rows, facts: Facts) -> Instances:
    """Match communication ops of different ranks.

    Parameters
    ----------
    recording : Recording
        Communicators and ranks.
    rows : Rows
        Recorded ops.
    facts : Facts
        What is known of communication ops.

    Returns
    -------
    Instances
        Matched by group and recorded sequence number where there is one, else by group (if
        recorded), collective and order in the step; sends and receives by ranks, tag
        and order.
    """
    facts = _pick(facts, _group_sizes(recording, facts) != 1)
    key, number = _keys(rows, facts)
    _, joined = np.unique(key, axis=0, return_inverse=True)
    part, size = split_groups(recording, _joined(rows, facts, joined.ravel()))
    key = np.column_stack([key, part])
    _, first, found_in = np.unique(key, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(facts.start[first], kind="stable")
    renumber = np.empty(order.size, np.int32)
    renumber[order] = np.arange(order.size)
    instance = renumber[found_in.ravel()]
    found = np.bincount(instance[~facts.is_end], minlength=order.size)
    shared = (found > 1)[instance]
    dense = np.unique(instance[shared], return_inverse=True)[1].astype(np.int32)
    matched = _Matched(_pick(facts, shared), dense, number[shared], size[shared])
    return _judged(recording, matched, rows)


@dataclass(frozen=True, slots=True)
class _Matched:
    """Communication ops: their instance, its number within group or step, ranks of a split group."""

    facts: Facts
    instance: Int32Array
    number: Int64Array
    size: Int64Array


def communication_facts(rows: Rows, work: DeviceWork) -> Facts:
    """Collect what is known of communication ops.

    Parameters
    ----------
    rows : Rows
        Recorded ops.
    work : DeviceWork
        What hosts launched, communication ops among it.

    Returns
    -------
    Facts
        One entry per communication op.
    """
    index = np.flatnonzero(rows.kind[work.row] == "communicate").astype(np.int32)
    row, call = work.row[index], work.call[index]
    no_name = rows.collectives.index("")
    grouped = kernels.innermost_said(rows.parent, rows.communicator >= 0, call)
    grouped = np.where(rows.communicator[row] >= 0, row, grouped)
    called = kernels.innermost_said(rows.parent, rows.collective != no_name, call)
    called = np.where(_tells(rows)[rows.collective[row]] | (called < 0), row, called)
    by_call = kernels.innermost_said(rows.parent, rows.peer >= 0, call)
    paid = np.where(rows.bytes[row] >= 0, row, grouped)
    return Facts(
        work=index,
        rank=rows.rank[row],
        start=rows.start[row],
        end=rows.end[row],
        step=rows.step[row],
        communicator=np.where(grouped >= 0, rows.communicator[grouped], -1).astype(np.int32),
        sequence=np.where(grouped >= 0, rows.sequence[grouped], -1),
        collective=rows.collective[called],
        bytes=np.where(paid >= 0, rows.bytes[paid], -1),
        peer=np.where(by_call >= 0, rows.peer[by_call], -1).astype(np.int32),
        tag=np.where(by_call >= 0, rows.tag[by_call], -1),
        is_threaded=rows.on_worker[row],
        is_post=are_posts(rows.correlation[row]),
        is_end=are_ends(rows.correlation[row]),
    )


def _tells(rows: Rows) -> BoolArray:
    """Which collectives say what they are: a kernel that only sends and receives may be any."""
    return np.array([name not in {"", "send_recv"} for name in rows.collectives], np.bool_)


def _pick(facts: Facts, keep: BoolArray) -> Facts:
    return Facts(*(getattr(facts, name)[keep] for name in Facts.__slots__))


def _group_sizes(recording: Recording, facts: Facts) -> Int64Array:
    sizes = np.append(recording.communicator["n_members"].to_numpy(), -1).astype(np.int64)
    return sizes[facts.communicator]


def _keys(rows: Rows, facts: Facts) -> tuple[Int64Array, Int64Array]:
    """Rows that are equal for members of one instance, and the number within the group or step."""
    by_sequence = (facts.sequence >= 0) & (facts.communicator >= 0)
    label = _labels(rows, facts)
    kind = [facts.rank, label, facts.peer, facts.tag, facts.is_end, facts.step]
    place = occurrences(kind, facts.start)
    number = np.where(by_sequence, facts.sequence, place)
    step = np.where(by_sequence, -1, facts.step)
    is_send, paired = _is(rows, facts, "send"), _paired(rows, facts)
    sender = np.where(is_send, facts.rank, facts.peer)
    receiver = np.where(is_send, facts.peer, facts.rank)
    collective = np.where(paired, -1, facts.collective)
    unnamed = np.where(paired | (facts.communicator >= 0), -1, label)
    number = np.where(paired, place, number)
    step = np.where(paired, facts.step, step)
    pair = np.where(paired, sender.astype(np.int64) << 32 | receiver, -1)
    tag = np.where(paired, facts.tag, -1)
    key = np.stack([facts.communicator, collective, unnamed, pair, tag, step, number], axis=1)
    return key.astype(np.int64), number


def _paired(rows: Rows, facts: Facts) -> BoolArray:
    is_either = _is(rows, facts, "send") | _is(rows, facts, "recv")
    return np.asarray(is_either & (facts.peer >= 0))


def _joined(rows: Rows, facts: Facts, instance: Int64Array) -> Joined:
    """Communications of whole groups; one-way kinds of unknown groups are not to be split."""
    one_way = np.array([name in ONE_WAY for name in rows.collectives], np.bool_)[facts.collective]
    unnamed = facts.communicator.max(initial=0) + 1 + _labels(rows, facts)
    label = np.where(facts.communicator >= 0, facts.communicator, unnamed)
    lone = _paired(rows, facts) | (one_way & (facts.communicator < 0))
    return Joined(
        facts.communicator,
        facts.rank,
        ~one_way,
        np.where(lone, -1, label),
        instance,
        facts.start,
        facts.end,
    )


def _labels(rows: Rows, facts: Facts) -> Int64Array:
    """Group and collective; payload too where no group is known and all members' are equal."""
    equal = np.array([name in SAME_BYTES for name in rows.collectives], np.bool_)
    sized = (facts.communicator < 0) & equal[facts.collective]
    key = [facts.communicator, facts.collective, np.where(sized, facts.bytes, -1)]
    return np.asarray(np.unique(np.stack(key), axis=1, return_inverse=True)[1].ravel(), np.int64)


def _is(rows: Rows, facts: Facts, collective: str) -> BoolArray:
    known = rows.collectives.index(collective) if collective in rows.collectives else -2
    return np.asarray(facts.collective == known)


def _judged(recording: Recording, matched: _Matched, rows: Rows) -> Instances:
    """Add what each member does, and whether the times allow it."""
    facts, instance = matched.facts, matched.instance
    n = int(instance.max(initial=-1)) + 1
    first = np.full(n, facts.rank.size)
    np.minimum.at(first, instance, np.arange(instance.size))
    paired = _is(rows, facts, "send") | _is(rows, facts, "recv")
    roles = member_roles(
        Members(
            instance,
            facts.rank,
            facts.peer,
            np.array(rows.collectives, object)[facts.collective],
            facts.start,
            facts.end,
            facts.bytes,
            ~facts.is_threaded,
            ~facts.is_end,
            ~facts.is_post,
        ),
        LEAST_TOLERANCE_NS,
    )
    causal = _causal(matched, n, roles.contributes, roles.waits)
    return Instances(
        work=facts.work,
        instance=instance,
        contributes=roles.contributes,
        waits=roles.waits,
        role=roles.name,
        n_buffered=roles.n_buffered,
        step=facts.step[first],
        sequence=matched.number[first],
        bytes=facts.bytes[first],
        collective=facts.collective[first],
        communicator=facts.communicator[first],
        n_members=np.bincount(instance[~facts.is_end], minlength=n).astype(np.int32),
        n_expected=np.where(
            matched.size[first] > 0,
            matched.size[first],
            _expected(recording, facts.communicator[first], paired[first]),
        ).astype(np.int32),
        causal=causal,
        residual_ns=_residuals(facts, instance),
        is_refused=n > 0 and float((~causal).mean()) > REFUSED_RATIO,
    )


def _expected(recording: Recording, communicator: Int32Array, paired: BoolArray) -> Int32Array:
    """Count the ranks that should take part, recorded or not."""
    groups = recording.communicator.select("members", "n_members").rows()
    sizes = [size if size > 0 else len(members) for members, size in groups]
    known = np.array([*sizes, recording.rank.height], np.int32)
    return np.where(paired, 2, known[communicator]).astype(np.int32)


def _causal(matched: _Matched, n: int, contributes: BoolArray, waits: BoolArray) -> BoolArray:
    facts, instance = matched.facts, matched.instance
    last_start = np.full(n, np.iinfo(np.int64).min)
    np.maximum.at(last_start, instance[contributes], facts.start[contributes])
    first_end = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(first_end, instance[waits], facts.end[waits])
    return np.asarray(first_end >= last_start - LEAST_TOLERANCE_NS)


def _residuals(facts: Facts, instance: Int32Array) -> dict[int, int]:
    """Distance of a rank's ends from the middle end of the instance: 95 % lie within it."""
    ends = pl.DataFrame({"instance": instance, "rank": facts.rank, "end": facts.end})
    distance = (pl.col("end") - pl.col("end").median().over("instance")).abs()
    table = ends.with_columns(distance.alias("ns")).group_by("rank")
    wide = table.agg(pl.col("ns").quantile(0.95, "nearest")).sort("rank")
    return {int(rank): round(ns) for rank, ns in wide.iter_rows()}
