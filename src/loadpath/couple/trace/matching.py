"""Which communication ops of different ranks are one communication."""

from dataclasses import dataclass

import numpy as np

from loadpath.couple.trace.facts import Facts, are_collective, pick_facts
from loadpath.couple.trace.groups import Joined, split_groups
from loadpath.couple.trace.roles import FROM_ROOT, POINT_TO_POINT, TO_ROOT
from loadpath.couple.trace.rows import BoolArray, Int32Array, Int64Array, Rows
from loadpath.couple.trace.segments import occurrences
from loadpath.tables import Recording

__all__ = ["Matched", "match_ops"]

ONE_WAY = (*FROM_ROOT, *TO_ROOT, *POINT_TO_POINT)
SAME_BYTES = ("all_reduce", "reduce_scatter", "broadcast", "reduce")
"""Collectives in which the payloads of all members are equal."""


@dataclass(frozen=True, slots=True)
class Matched:
    """Communication ops that met others.

    Attributes
    ----------
    facts : Facts
        What is known of them.
    fact : (n,) array of int64
        Where they are in what is known of all.
    instance : (n,) array of int32
        Communication of each, in order of first starts.
    number : (n,) array of int64
        Its number within the group (or class and step).
    size : (n,) array of int64
        Ranks of the part of a group that was split, -1 elsewhere.
    """

    facts: Facts
    fact: Int64Array
    instance: Int32Array
    number: Int64Array
    size: Int64Array


def match_ops(recording: Recording, rows: Rows, facts: Facts) -> Matched:
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
    Matched
        By the number that members share where one is recorded (`Comms Id`), else by group and
        sequence number where there is one, else by group (if recorded),
        collective and order in the step; sends and receives by ranks, tag and order. Ops that met
        no other are left out, and so are those of groups of one rank.
    """
    sizes = np.append(recording.communicator["n_members"].to_numpy(), -1)
    several = sizes[facts.communicator] != 1
    facts = pick_facts(facts, several)
    key, number = _keys(rows, facts)
    _, joined = np.unique(key, axis=0, return_inverse=True)
    part, size = split_groups(recording, _joined(rows, facts, joined.ravel()))
    instance = _in_order(np.column_stack([key, part]), facts.start)
    met = np.bincount(instance[~facts.is_end], minlength=instance.max(initial=-1) + 1)
    shared = (met > 1)[instance]
    dense = np.unique(instance[shared], return_inverse=True)[1].astype(np.int32)
    place = np.flatnonzero(several)[shared]
    return Matched(pick_facts(facts, shared), place, dense, number[shared], size[shared])


def _in_order(key: Int64Array, start: Int64Array) -> Int64Array:
    """Give equal rows one number, in order of their first starts."""
    _, first, found_in = np.unique(key, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(start[first], kind="stable")
    number = np.empty(order.size, np.int64)
    number[order] = np.arange(order.size)
    return number[found_in.ravel()]


def _keys(rows: Rows, facts: Facts) -> tuple[Int64Array, Int64Array]:
    """Rows that are equal for members of one instance, and the number within the group or step."""
    by_sequence = (facts.sequence >= 0) & (facts.communicator >= 0)
    label = _labels(rows, facts)
    kind = [facts.rank, label, facts.peer, facts.tag, facts.is_end, facts.step]
    place = occurrences(kind, facts.start)
    number = np.where(by_sequence, facts.sequence, place)
    step = np.where(by_sequence, -1, facts.step)
    is_send, paired = are_collective(rows, facts, ("send",)), _paired(rows, facts)
    ends = np.where(is_send, [facts.rank, facts.peer], [facts.peer, facts.rank])
    collective = np.where(paired, -1, facts.collective)
    unnamed = np.where(paired | (facts.communicator >= 0), -1, label)
    number = np.where(paired, place, number)
    step = np.where(paired, facts.step, step)
    pair = np.where(paired, ends[0].astype(np.int64) << 32 | ends[1], -1)
    tag = np.where(paired, facts.tag, -1)
    # process-local names of a group differ between its ranks: two ranks and a tag say enough
    group = np.where(paired, -1, facts.communicator)
    key = np.stack([group, collective, unnamed, pair, tag, step, number], axis=1)
    return _shared(facts, key.astype(np.int64)), number


def _shared(facts: Facts, key: Int64Array) -> Int64Array:
    """Let a number that all members share stand for everything else."""
    said = facts.comms_id != 0
    again = occurrences([facts.rank, facts.comms_id, facts.is_end], facts.start)
    key[said] = -1
    key[said, 0], key[said, -1] = facts.comms_id[said], again[said]
    return np.column_stack([key, said])


def _paired(rows: Rows, facts: Facts) -> BoolArray:
    return np.asarray(are_collective(rows, facts, POINT_TO_POINT) & (facts.peer >= 0))


def _joined(rows: Rows, facts: Facts, instance: Int64Array) -> Joined:
    """Communications of whole groups; one-way kinds of unknown groups are not to be split."""
    one_way = are_collective(rows, facts, ONE_WAY)
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
    sized = (facts.communicator < 0) & are_collective(rows, facts, SAME_BYTES)
    key = [facts.communicator, facts.collective, np.where(sized, facts.bytes, -1)]
    return np.asarray(np.unique(np.stack(key), axis=1, return_inverse=True)[1].ravel(), np.int64)
