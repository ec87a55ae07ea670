"""Communications of all ranks: which ops are members of one, and whether their times allow it."""

from dataclasses import dataclass

import numpy as np

from loadpath.couple.trace.facts import Facts, are_collective, communication_facts
from loadpath.couple.trace.groups import REFUSED_RATIO
from loadpath.couple.trace.matching import Matched, match_ops
from loadpath.couple.trace.roles import POINT_TO_POINT, Members, member_roles
from loadpath.couple.trace.rows import BoolArray, Int32Array, Int64Array, Rows
from loadpath.tables import Recording

__all__ = ["Facts", "Instances", "communication_facts", "find_instances"]

LEAST_TOLERANCE_NS = 100_000
"""Ends of one collective differ by this much between ranks with one clock."""


@dataclass(frozen=True, slots=True)
class Instances:
    """Communications with at least two recorded members.

    Attributes
    ----------
    work : (n_member,) array of int32
        Member ops: indices into `DeviceWork`.
    fact : (n_member,) array of int64
        Where `Facts` tells of each member: a kernel that runs a batch of calls is a member of several
        instances.
    instance : (n_member,) array of int32
        Instance of each member.
    contributes, waits : (n_member,) arrays of bool
        Whether others wait for it, and whether it waits for others.
    role : (n_member,) array of object
        Part it plays.
    answers : (n_member,) array of bool
        Those who wait for others here are waited for by them in turn.
    n_buffered, n_rootless : int
        Sends that did not wait for their receiver; communications whose root nothing tells.
    step, sequence, bytes : (n_instance,) arrays of int64
        Step, number within its group (or class and step), payload of one member.
    collective, communicator, n_members, n_expected : (n_instance,) arrays of int32
        Code of the collective, process group (-1 unknown), members found, and ranks expected.
    causal : (n_instance,) array of bool
        No member ends before the last one starts.
    is_refused : bool
        Too many instances are not causal: the clocks or the recording do not allow conclusions
        across ranks.
    """

    work: Int32Array
    fact: Int64Array
    instance: Int32Array
    contributes: BoolArray
    waits: BoolArray
    role: np.ndarray[tuple[int], np.dtype[np.object_]]
    answers: BoolArray
    n_buffered: int
    n_rootless: int
    step: Int64Array
    sequence: Int64Array
    bytes: Int64Array
    collective: Int32Array
    communicator: Int32Array
    n_members: Int32Array
    n_expected: Int32Array
    causal: BoolArray
    is_refused: bool

    @property
    def n_instance(self) -> int:
        """Number of instances."""
        return int(self.step.size)


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
        Communications that at least two recorded ranks took part in.
    """
    return _judged(recording, match_ops(recording, rows, facts), rows)


def _judged(recording: Recording, matched: Matched, rows: Rows) -> Instances:
    """Add what each member does, and whether the times allow it."""
    facts, instance = matched.facts, matched.instance
    n = int(instance.max(initial=-1)) + 1
    first = np.full(n, facts.rank.size)
    np.minimum.at(first, instance, np.arange(instance.size))
    roles = member_roles(_members(matched, rows), LEAST_TOLERANCE_NS)
    causal = _causal(matched, n, roles.contributes, roles.waits)
    return Instances(
        work=facts.work,
        fact=matched.fact,
        instance=instance,
        contributes=roles.contributes,
        waits=roles.waits,
        role=roles.name,
        answers=roles.answers,
        n_buffered=roles.n_buffered,
        n_rootless=roles.n_rootless,
        step=facts.step[first],
        sequence=matched.number[first],
        bytes=facts.bytes[first],
        collective=facts.collective[first],
        communicator=facts.communicator[first],
        n_members=np.bincount(instance[~facts.is_end], minlength=n).astype(np.int32),
        n_expected=_expected(recording, matched, rows, first),
        causal=causal,
        is_refused=n > 0 and float((~causal).mean()) > REFUSED_RATIO,
    )


def _members(matched: Matched, rows: Rows) -> Members:
    facts = matched.facts
    return Members(
        matched.instance,
        facts.rank,
        facts.peer,
        np.array(rows.collectives, object)[facts.collective],
        facts.start,
        facts.end,
        facts.bytes,
        ~facts.is_threaded,
        ~facts.is_end,
        ~facts.is_post,
    )


def _expected(recording: Recording, matched: Matched, rows: Rows, first: Int64Array) -> Int32Array:
    """Count the ranks that should take part, recorded or not; `first` is a member of each instance."""
    groups = recording.communicator.select("members", "n_members").rows()
    sizes = [size if size > 0 else len(members) for members, size in groups]
    known = np.array([*sizes, recording.rank.height], np.int32)
    paired = are_collective(rows, matched.facts, POINT_TO_POINT)[first]
    told = np.where(paired, 2, known[matched.facts.communicator[first]])
    return np.where(matched.size[first] > 0, matched.size[first], told).astype(np.int32)


def _causal(matched: Matched, n: int, contributes: BoolArray, waits: BoolArray) -> BoolArray:
    facts, instance = matched.facts, matched.instance
    last_start = np.full(n, np.iinfo(np.int64).min)
    np.maximum.at(last_start, instance[contributes], facts.start[contributes])
    first_end = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(first_end, instance[waits], facts.end[waits])
    return np.asarray(first_end >= last_start - LEAST_TOLERANCE_NS)
