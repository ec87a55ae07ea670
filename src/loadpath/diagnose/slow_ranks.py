"""What can be done about ranks that are slow for good: replace them, leave them out, move them."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import polars as pl

from loadpath.diagnose.components import FEWEST_STEPS
from loadpath.diagnose.exclusion import RankSet, exclude
from loadpath.diagnose.footing import Footing
from loadpath.diagnose.labels import sum_by
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.places import rank_index
from loadpath.diagnose.policy_row import (
    FREE,
    Cost,
    Row,
    changed_steps_s,
    goes_with_rank,
    policy_row,
    unassessed,
)
from loadpath.diagnose.verdict import NEAR_BEST_RATIO, POLICY_RATIO

__all__ = ["move_slow_ranks"]

N_TRIED = 16
"""Ranks that are tried: the slowest to do without, those with most slack to move to."""
MOST_NAMED = 6
"""Ranks of a set that are named one by one."""
POLICIES = ("replace", "exclude", "remap")


def move_slow_ranks(footing: Footing, culprits: Sequence[int]) -> list[Row]:
    """Say what it would return to replace, leave out or move the ranks that are slow for good.

    Sets that are tried: the verdict's, each slow rank, each host with one, and the slowest 2, 3, ...
    ranks together.

    Parameters
    ----------
    footing : Footing
        What the figures stand on.
    culprits : sequence of int
        Ranks that the verdict names.

    Returns
    -------
    list of dict
        Rows ``replace``, ``exclude`` and ``remap`` of table `POLICY`.
    """
    job = footing.job
    if job.graph.step.size < FEWEST_STEPS:
        few = f"{FEWEST_STEPS} steps or more, to tell a slow rank from noise"
        return [unassessed(policy, "a rank that is slow for good", few) for policy in POLICIES]
    persistent = np.where(goes_with_rank(footing), footing.parts.persistent_ns, 0.0)
    excess = sum_by(rank_index(job), persistent, job.rank.height)
    slow = [int(r) for r in np.argsort(-excess, kind="stable")[:N_TRIED] if excess[r] > 0]
    tried = _sets(footing, slow, culprits)
    if not tried:
        basis = "replayed: no rank deviates from its peers beyond noise, so nothing changes"
        return [
            policy_row(footing, policy, "no rank", footing.loaded.step_s, basis=basis, cost=FREE)
            for policy in POLICIES
        ]
    return [
        _replace(footing, persistent, tried),
        exclude(footing, tried),
        _remap(footing, persistent),
    ]


def _sets(footing: Footing, slow: list[int], culprits: Sequence[int]) -> list[RankSet]:
    """List different sets of some but not all ranks; the verdict's first, then small ones."""
    rank = footing.job.rank
    place = {r: k for k, r in enumerate(rank["rank"].to_list())}
    named = [tuple(sorted(place[r] for r in culprits if r in place))]
    single = [(r,) for r in slow]
    joint = [tuple(sorted(slow[:k])) for k in range(2, len(slow) + 1)]
    sets = [RankSet(_named(rank, places), places) for places in (*named, *single, *joint)]
    different: dict[tuple[int, ...], RankSet] = {}
    for one in (*_hosts(rank, slow), *sets):
        if 0 < len(one.place) < rank.height:
            different.setdefault(one.place, one)
    return sorted(different.values(), key=lambda one: (one.place != named[0], len(one.place)))


def _hosts(rank: pl.DataFrame, slow: Iterable[int]) -> Iterator[RankSet]:
    """List hosts of several ranks, one of them slow."""
    hosts = rank["host"].to_numpy()
    for host in dict.fromkeys(hosts[r] for r in slow if hosts[r]):
        places = np.flatnonzero(hosts == host).tolist()
        if len(places) > 1:
            yield RankSet(f"host {host}", tuple(places))


def _named(rank: pl.DataFrame, places: Sequence[int]) -> str:
    names = [str(rank["rank"][place]) for place in places]
    if len(names) == 1:
        return f"rank {names[0]}"
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"ranks {', '.join(names[:MOST_NAMED])}{more}"


def _replace(footing: Footing, persistent: FloatArray, tried: list[RankSet]) -> Row:
    """Give their work to spares that do as their peers; of sets that return alike the smallest."""
    job = footing.job
    scale = np.zeros((job.rank.height, len(tried)))
    for k, one in enumerate(tried):
        scale[list(one.place), k] = 1
    with_it = changed_steps_s(footing, -persistent, rank_index(job).astype(np.int64), scale)
    gain = footing.loaded.step_s.mean() - with_it.mean(axis=0)
    best = _smallest(tried, gain, POLICY_RATIO * float(footing.loaded.step_s.mean()))
    n = len(tried[best].place)
    return policy_row(
        footing,
        "replace",
        f"{tried[best].label}, by {'spares' if n > 1 else 'a spare'} like the peers",
        with_it[:, best],
        basis="replayed: what is persistent in their own work goes",
        cost=Cost(
            f"{n} spare{'s' * (n > 1)}; what {'they replace' if n > 1 else 'it replaces'} goes free"
        ),
    )


def _smallest(tried: Sequence[RankSet], gain: FloatArray, policy_s: float) -> int:
    """Choose the smallest set of those that return about as much as the best."""
    least = min(NEAR_BEST_RATIO * gain.max(), gain.max() - policy_s)
    near = np.flatnonzero(gain >= least).tolist()
    return int(min(near, key=lambda k: (len(tried[k].place), -gain[k])))


def _remap(footing: Footing, persistent: FloatArray) -> Row:
    """Let the slowest rank trade places where that costs least; who was there is as its peers."""
    job = footing.job
    rank = rank_index(job).astype(np.int64)
    names = job.rank["rank"].to_list()
    excess = sum_by(rank, persistent, job.rank.height)
    slow = int(excess.argmax())
    typical = np.where(goes_with_rank(footing), footing.parts.mean_ns, 0.0)
    work = sum_by(rank, typical, job.rank.height)
    share = excess[slow] / work[slow] if work[slow] > 0 else 0.0
    slack = sum_by(rank, np.where(footing.own, footing.loaded.slack_ns, 0.0), job.rank.height)
    places = [int(r) for r in np.argsort(-slack, kind="stable")[: N_TRIED + 1] if r != slow]
    if not places or share <= 0:
        return unassessed("remap", f"rank {names[slow]}", "work of its own that peers have too")
    delta = np.where(rank == slow, -persistent, share * typical)
    scale = np.zeros((job.rank.height, len(places)))
    scale[slow] = 1
    scale[places, range(len(places))] = 1
    moved = changed_steps_s(footing, delta, rank, scale)
    best = int(moved.mean(axis=0).argmin())
    return policy_row(
        footing,
        "remap",
        f"rank {names[slow]} trades places with rank {names[places[best]]}",
        moved[:, best],
        basis=f"replayed: it works {100 * share:.3g} % longer at that place, the other as its peers",
        cost=FREE,
    )
