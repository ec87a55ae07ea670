"""What members of a communication do: who others wait for, and who waits."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
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
    answers : (n,) array of bool
        Those who wait are waited for in turn: it takes part in the opposite direction as well.
    n_buffered : int
        Sends that did not wait for their receiver.
    n_rootless : int
        Communications whose root nothing tells, though it matters: nobody waits in them.
    """

    name: NDArray[np.object_]
    contributes: BoolArray
    waits: BoolArray
    answers: BoolArray
    n_buffered: int
    n_rootless: int


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
        by class of collective and payload.

    Notes
    -----
    The strongest of three rules is taken that at most 0.5 % of the communications contradict (a member
    was done before another came that it would have waited for), and that one of them shows (one came
    early by what only this rule makes it wait for, and stayed; kernels need not show that all wait for
    all): all wait for all; givers and takers wait for each other, but not givers for givers or takers
    for takers; takers wait for givers.

    Where no member names the root, it is the one whom the times of at most 0.5 % of the communications
    of these ranks contradict, if there is but one such. If there is none or several, all wait for all
    where the times allow that, and nobody elsewhere.
    """
    kind = members.collective
    one_to_many, many_to_one = np.isin(kind, FROM_ROOT), np.isin(kind, TO_ROOT)
    root = _roots(members, tolerance_ns)
    is_send, is_recv = kind == "send", kind == "recv"
    rooted = (one_to_many | many_to_one) & (root >= 0)
    is_root = rooted & (members.rank == root)
    gives = is_send | (is_root & one_to_many) | (rooted & ~is_root & many_to_one)
    takes = is_recv | (rooted & ~gives)
    all_meet, sides_meet = _rules(members, (gives, takes), tolerance_ns)
    one_way = (gives | takes) & ~all_meet
    lost = (one_to_many | many_to_one) & ~rooted & ~all_meet
    return Roles(
        name=np.select(
            [is_send, is_recv, is_root, rooted], ["sender", "receiver", "root", "leaf"], "all"
        ).astype(object),
        contributes=(~one_way | gives) & members.may_give & ~lost,
        waits=(~one_way | takes) & members.may_take & ~lost,
        answers=rooted & one_way & sides_meet,
        n_buffered=int((is_send & one_way & members.on_device).sum()),
        n_rootless=np.unique(members.instance[lost]).size,
    )


def _rules(
    members: Members, sides: tuple[BoolArray, BoolArray], tolerance_ns: int
) -> tuple[BoolArray, BoolArray]:
    """Say in which communications all wait for all, and in which givers and takers for each other."""
    instance, n = members.instance, int(members.instance.max(initial=-1)) + 1
    given, taken, every = (_side(members, n, s) for s in (*sides, np.ones_like(sides[0])))
    early = every.gone < every.last - tolerance_ns
    apart = (given.gone < taken.last - tolerance_ns) | (taken.gone < given.last - tolerance_ns)
    sided = given.first < taken.last - tolerance_ns
    # a side waits for its like where the last to come is of that side, and another came before
    like = np.where(taken.last > given.last, taken.first, given.first) < every.last - tolerance_ns
    asked = _any(n, instance, np.isin(members.collective, FROM_ROOT + TO_ROOT + POINT_TO_POINT))
    rooted = _any(n, instance, np.isin(members.collective, FROM_ROOT + TO_ROOT))
    shows = np.where(rooted, like, sided) | _any(n, instance, members.on_device)
    shows |= ~_any(n, instance, sides[0])
    group = _classes(members, n)
    all_meet = _holds(group, asked & early, asked & ~early & shows, asked)
    sides_meet = _holds(group, asked & apart, asked & ~apart & sided, asked)
    return all_meet[instance], sides_meet[instance]


class _Side(NamedTuple):
    """When the first and the last of some members of each communication came, and the first left."""

    first: Int64Array
    last: Int64Array
    gone: Int64Array


def _side(members: Members, n: int, chosen: BoolArray) -> _Side:
    comes, goes = members.may_give & chosen, members.may_take & chosen
    return _Side(
        -_last(n, members.instance, -members.start, comes),
        _last(n, members.instance, members.start, comes),
        -_last(n, members.instance, -members.end, goes),
    )


def _roots(members: Members, tolerance_ns: int) -> Int64Array:
    """Root of each member's communication, told by any of them or by the times; -1 unknown."""
    kinds = np.isin(members.collective, (*FROM_ROOT, *TO_ROOT))
    n = int(members.instance.max(initial=-1)) + 1
    told = _last(n, members.instance, members.peer.astype(np.int64), kinds & (members.peer >= 0))
    root = np.where(told >= 0, told, -1)[members.instance]
    open_ones = kinds & (root < 0)
    if open_ones.any():
        root[open_ones] = _likely_roots(members, open_ones, tolerance_ns)
    return root


def _likely_roots(members: Members, chosen: BoolArray, tolerance_ns: int) -> Int64Array:
    """Root of each chosen member, if the times leave but one: nobody ends before he has to."""
    start, end, own = pl.col("start"), pl.col("end"), ["collective", "ranks", "rank"]
    gives = pl.col("collective").is_in(FROM_ROOT)
    part = pl.DataFrame(
        {
            "instance": members.instance[chosen],
            "rank": members.rank[chosen],
            "collective": pl.Series(members.collective[chosen], dtype=pl.String),
            "start": members.start[chosen],
            "end": members.end[chosen],
        }
    ).with_columns(
        ranks=pl.col("rank").sort().cast(pl.String).str.join(",").over("instance"),
        gone=end.min().over("instance"),
        come=start.max().over("instance"),
    )
    too_late, too_early = start > pl.col("gone") + tolerance_ns, end < pl.col("come") - tolerance_ns
    wrong = pl.when(gives).then(too_late).otherwise(too_early)
    may = part.group_by(own).agg(wrong.mean().alias("wrong"))
    lone = (
        may.filter(pl.col("wrong") <= TOLERATED_RATIO)
        .filter(pl.len().over(own[:2]) == 1)
        .select(*own[:2], root="rank")
    )
    found = part.join(lone, on=own[:2], how="left", maintain_order="left")
    return found["root"].cast(pl.Int64).fill_null(-1).to_numpy()


def _holds(group: Int64Array, wrong: BoolArray, shown: BoolArray, asked: BoolArray) -> BoolArray:
    """Say of each communication whether a rule holds in its class: hardly contradicted, and shown."""
    n_wrong, n_shown, total = (np.bincount(group, weights=w) for w in (wrong, shown, asked))
    return np.asarray(((n_wrong <= TOLERATED_RATIO * total) & (n_shown > 0))[group], np.bool_)


def _any(n: int, instance: Int32Array, what: BoolArray) -> BoolArray:
    found = np.zeros(n, np.bool_)
    found[instance[what]] = True
    return found


def _classes(members: Members, n: int) -> Int64Array:
    """Class of each communication: collective, payload, and whether kernels run it."""
    kinds, kind = np.unique(members.collective.astype(str), return_inverse=True)
    kind = np.where(np.isin(kinds, ("send", "recv"))[kind], kinds.size, kind)
    first = np.full(n, members.instance.size)
    np.minimum.at(first, members.instance, np.arange(members.instance.size))
    key = np.stack([kind[first], members.bytes[first], members.on_device[first]])
    return np.asarray(np.unique(key, axis=1, return_inverse=True)[1].ravel(), np.int64)


def _last(n: int, instance: Int32Array, time: Int64Array, chosen: BoolArray) -> Int64Array:
    """Latest time of the chosen members of each communication; long ago where there is none."""
    out = np.full(n, np.iinfo(np.int64).min // 2)
    np.maximum.at(out, instance[chosen], time[chosen])
    return out
