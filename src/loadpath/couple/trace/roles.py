"""What members of a communication do: who others wait for, and who waits."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadpath.couple.trace.rows import BoolArray, Int32Array, Int64Array

__all__ = ["FROM_ROOT", "POINT_TO_POINT", "TO_ROOT", "Members", "Roles", "member_roles"]

FROM_ROOT = ("broadcast", "scatter")
TO_ROOT = ("reduce", "gather")
POINT_TO_POINT = ("send", "recv")
TOLERATED_RATIO = 0.005
"""Share of contradictions that a rule about who waits may show."""


@dataclass(frozen=True, slots=True)
class Members:
    """Members of matched communications.

    Attributes
    ----------
    instance, rank, peer : (n,) arrays of int32
        Communication, own rank, and the other rank or the root (-1 unknown).
    collective : (n,) array of object
        Name of the collective.
    start, end, bytes : (n,) arrays of int64
        Times in ns, and payload.
    on_device : (n,) array of bool
        It is a kernel.
    may_give, may_take : (n,) arrays of bool
        False for the end of a posted communication, and for its post.
    """

    instance: Int32Array
    rank: Int32Array
    peer: Int32Array
    collective: NDArray[np.object_]
    start: Int64Array
    end: Int64Array
    bytes: Int64Array
    on_device: BoolArray
    may_give: BoolArray
    may_take: BoolArray


@dataclass(frozen=True, slots=True)
class Roles:
    """What each member does.

    Attributes
    ----------
    name : (n,) array of object
        As in table `MEMBERSHIP`.
    contributes, waits : (n,) arrays of bool
        Whether others wait for it, and whether it waits for others.
    n_buffered : int
        Sends that did not wait for their receiver.
    """

    name: NDArray[np.object_]
    contributes: BoolArray
    waits: BoolArray
    n_buffered: int


def member_roles(members: Members, tolerance_ns: int) -> Roles:
    """Decide who waits for whom.

    Parameters
    ----------
    members : Members
        Members of matched communications.
    tolerance_ns : int
        Differences of clocks that contradict nothing.

    Returns
    -------
    Roles
        Members of all-to-all kinds wait for all. Receivers wait for the root of a broadcast or
        scatter, the root of a reduce or gather for all, and a receive for its send. Whether those
        who only give wait too depends on limits that no record holds, so the record decides, class
        by class of collective and payload: all wait for all if at most 0.5 % of the communications
        contradict it and a giver waited in one (kernels: if no more contradict it).
    """
    kind = members.collective
    is_send, is_recv = kind == "send", kind == "recv"
    rooted = np.isin(kind, FROM_ROOT + TO_ROOT) & (members.peer >= 0)
    is_root = rooted & (members.rank == members.peer)
    gives = is_send | (is_root & np.isin(kind, FROM_ROOT))
    gives |= rooted & ~is_root & np.isin(kind, TO_ROOT)
    takes = is_recv | (rooted & ~gives)
    meets = _all_wait(members, gives, tolerance_ns)
    one_way = (gives | takes) & ~meets
    return Roles(
        name=np.select(
            [is_send, is_recv, is_root, rooted], ["sender", "receiver", "root", "leaf"], "all"
        ).astype(object),
        contributes=(~one_way | gives) & members.may_give,
        waits=(~one_way | takes) & members.may_take,
        n_buffered=int((is_send & one_way & members.on_device).sum()),
    )


def _all_wait(members: Members, gives: BoolArray, tolerance_ns: int) -> BoolArray:
    """Members of communications in which all wait for all, though some only give."""
    instance = members.instance
    n = int(instance.max(initial=-1)) + 1
    comes, goes = members.may_give, members.may_take
    last_come = _latest(n, instance[comes], members.start[comes])
    last_given = _latest(n, instance[gives & comes], members.start[gives & comes])
    first_gone = -_latest(n, instance[goes], -members.end[goes])
    known = np.zeros(n, np.bool_)
    known[instance[gives]] = True
    early = known & (first_gone < last_come - tolerance_ns)
    waited = known & ~early & (last_come > last_given + tolerance_ns)
    waited[instance[members.on_device]] = True
    group = _classes(members, n)
    total, wrong, held = (
        np.bincount(group, weights=what, minlength=n) for what in (known, early, waited)
    )
    met = ((wrong <= TOLERATED_RATIO * total) & (held > 0))[group]
    return np.asarray(met[instance])


def _classes(members: Members, n: int) -> Int64Array:
    """Class of each communication: collective, payload, and whether kernels run it."""
    kinds, kind = np.unique(members.collective.astype(str), return_inverse=True)
    kind = np.where(np.isin(kinds, ("send", "recv"))[kind], kinds.size, kind)
    first = np.full(n, members.instance.size)
    np.minimum.at(first, members.instance, np.arange(members.instance.size))
    key = np.stack([kind[first], members.bytes[first], members.on_device[first]])
    return np.asarray(np.unique(key, axis=1, return_inverse=True)[1].ravel(), np.int64)


def _latest(n: int, instance: Int32Array, time: Int64Array) -> Int64Array:
    out = np.full(n, np.iinfo(np.int64).min // 2)
    np.maximum.at(out, instance, time)
    return out
