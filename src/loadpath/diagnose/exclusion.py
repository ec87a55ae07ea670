"""To go on without slow ranks: whole replicas leave, and the others take their microbatches on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadpath.diagnose.footing import Footing
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.places import rank_index
from loadpath.diagnose.policy_row import (
    Cost,
    Row,
    changed_steps_s,
    goes_with_rank,
    policy_row,
    unassessed,
)
from loadpath.diagnose.replicas import NO_REPLICAS, Replicas, find_replicas

__all__ = ["RankSet", "exclude"]

Leaving = dict[tuple[int, ...], "RankSet"]


class RankSet(NamedTuple):
    """Ranks that may be done without.

    Attributes
    ----------
    label : str
        What they are called.
    place : tuple of int
        Their rows in the table of ranks.
    """

    label: str
    place: tuple[int, ...]


def exclude(footing: Footing, tried: Sequence[RankSet]) -> Row:
    """Replay the job without the replicas of slow ranks, their work shared out.

    A pipeline or a group of tensor ranks does not run with a hole, so what leaves is the replica.

    Parameters
    ----------
    footing : Footing
        What the figures stand on.
    tried : sequence of RankSet
        Sets, of which the best is given.

    Returns
    -------
    dict
        Row ``exclude`` of table `POLICY`.
    """
    replicas = find_replicas(footing.job)
    if replicas is None:
        return unassessed("exclude", tried[0].label, NO_REPLICAS)
    n = len(replicas.names)
    leaving = _leaving(footing, replicas, tried)
    if not leaving:
        return unassessed("exclude", tried[0].label, "a replica without a slow rank")
    with_it = _without(footing, replicas, list(leaving))
    best = int(with_it.mean(axis=0).argmin())
    gone, one = list(leaving.items())[best]
    left = n - len(gone)
    return policy_row(
        footing,
        "exclude",
        f"{one.label}, with {'its replica' if len(gone) == 1 else 'their replicas'}",
        with_it[:, best],
        basis="replayed: they do no work, the microbatches of the others take longer in proportion",
        cost=Cost(
            f"{len(gone)} of {n} replicas; the others do {n / left:.3g} times the work", left / n
        ),
    )


def _leaving(footing: Footing, replicas: Replicas, tried: Sequence[RankSet]) -> Leaving:
    """List the different sets of replicas to leave, each with the first set of ranks that asks."""
    home = np.zeros(footing.job.rank.height, np.int64)
    home[rank_index(footing.job)] = replicas.number
    leaving: Leaving = {}
    for one in tried:
        gone = tuple(sorted({int(home[place]) for place in one.place}))
        if len(gone) < len(replicas.names):
            leaving.setdefault(gone, one)
    return leaving


def _without(
    footing: Footing, replicas: Replicas, leaving: Sequence[tuple[int, ...]]
) -> FloatArray:
    """Replay each set of replicas gone: (n_step, n_set), in s."""
    n = len(replicas.names)
    scale = np.zeros((n, 2, len(leaving)))
    for k, gone in enumerate(leaving):
        scale[:, 1, k] = len(gone) / (n - len(gone))
        scale[list(gone), :, k] = -1
    delta = np.where(goes_with_rank(footing), footing.effects.work_ns, 0.0)
    group = 2 * replicas.number.astype(np.int64) + _is_shared(footing)
    return changed_steps_s(footing, delta, group, scale.reshape(2 * n, -1))


def _is_shared(footing: Footing) -> NDArray[np.bool_]:
    """Say which own work grows with the microbatches of a replica."""
    op = footing.job.op
    by_batch = (op["microbatch"] >= 0).to_numpy()
    fixed = op["kind"].is_in(["optimise", "checkpoint", "storage"]).to_numpy()
    return np.asarray(by_batch if by_batch.any() else ~fixed)
