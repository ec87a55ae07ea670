"""What helps where non-determinism is the normal state: policies, replayed where the record allows.

A policy that needs what was not recorded is not assessed, and the missing input is named.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.diagnose.components import FEWEST_STEPS
from loadpath.diagnose.emergence import step_s
from loadpath.diagnose.exposure import rank_index
from loadpath.diagnose.footing import Footing
from loadpath.diagnose.labels import compact, numbered, sum_by
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.resampling import mean_estimate
from loadpath.replay import Scenarios, replay_scenarios
from loadpath.tables.results import POLICY

__all__ = ["policy_table"]

N_TRIED = 16
"""Ranks that are tried: the slowest to exclude, those with most slack to move to."""

MISSING = {
    "bucket": ("size of gradient buckets", "time of a collective by its size, such as nccl-tests"),
    "checkpoint": (
        "checkpoint interval",
        "failure rate of the cluster, time to write and to restore a checkpoint",
    ),
}


def policy_table(footing: Footing) -> pl.DataFrame:
    """Predict what each policy would return.

    Parameters
    ----------
    footing : Footing
        What the figures stand on.

    Returns
    -------
    polars.DataFrame
        Table `POLICY`, in the order exclude, remap, bucket, overlap, backup, checkpoint.
    """
    rows = [*_moves(footing), _missing("bucket"), _overlap(footing), _backup(footing)]
    rows.append(_missing("checkpoint"))
    return POLICY.build(pl.DataFrame(rows, schema=POLICY.schema))


def _moves(footing: Footing) -> Iterator[dict[str, Any]]:
    """Exclude the rank that costs most; or move it to where there is most slack."""
    job = footing.job
    few = f"{FEWEST_STEPS} steps or more, to tell a slow rank from noise"
    if job.graph.step.size < FEWEST_STEPS:
        yield from (
            _unknown(policy, "a persistently slow rank", few) for policy in ("exclude", "remap")
        )
        return
    rank = rank_index(job).astype(np.int64)
    persistent = np.where(footing.own, footing.parts.persistent_ns, 0.0)
    excess = sum_by(rank, persistent, job.rank.height)
    slow = [int(r) for r in np.argsort(-excess, kind="stable")[:N_TRIED] if excess[r] > 0]
    if not slow:
        for policy in ("exclude", "remap"):
            yield _row(footing, policy, "nobody is persistently slow", footing.loaded.step_s)
        return
    group = np.zeros(job.rank.height, np.int64)
    group[slow] = np.arange(1, len(slow) + 1)
    without = _scenarios(footing, -persistent, group[rank], np.eye(len(slow) + 1, len(slow), -1))
    best = int(without.mean(axis=0).argmin())
    names = job.rank["rank"].to_list()
    label = f"rank {names[slow[best]]}"
    yield _row(footing, "exclude", f"{label}, for one like its peers", without[:, best])
    yield _remap(footing, rank, slow[best], excess)


def _remap(
    footing: Footing, rank: NDArray[np.int64], slow: int, excess: FloatArray
) -> dict[str, Any]:
    """Move the slow rank to the place where it costs least; who was there is taken as typical."""
    job = footing.job
    typical = np.where(footing.own, footing.parts.mean_ns, 0.0)
    share = excess[slow] / float(sum_by(rank, typical, job.rank.height)[slow])
    slack = sum_by(rank, np.where(footing.own, footing.loaded.slack_ns, 0.0), job.rank.height)
    places = [int(r) for r in np.argsort(-slack, kind="stable")[: N_TRIED + 1] if r != slow]
    names = job.rank["rank"].to_list()
    if not places:
        return _unknown("remap", f"rank {names[slow]}", "a second rank")
    group = np.zeros(job.rank.height, np.int64)
    group[slow] = 1
    group[places] = np.arange(2, len(places) + 2)
    persistent = np.where(footing.own, footing.parts.persistent_ns, 0.0)
    delta = np.where(rank == slow, -persistent, share * typical)
    scale = np.vstack([np.zeros(len(places)), np.ones(len(places)), np.eye(len(places))])
    moved = _scenarios(footing, delta, group[rank], scale)
    best = int(moved.mean(axis=0).argmin())
    target = f"rank {names[slow]} to the place of rank {names[places[best]]}"
    return _row(footing, "remap", target, moved[:, best])


def _overlap(footing: Footing) -> dict[str, Any]:
    """Hide every transfer behind work: no overlap can do more."""
    transfer = footing.effects.is_transfer
    if not transfer.any():
        return _unknown("overlap", "transfers", "communications of the job")
    delta = np.where(transfer, -footing.effects.work_ns, 0.0)
    hidden = _scenarios(footing, delta, np.zeros(delta.size, np.int64), np.ones((1, 1)))
    basis = "replayed: at most, with every transfer hidden"
    return _row(footing, "overlap", "all transfers", hidden[:, 0], basis=basis)


def _backup(footing: Footing) -> dict[str, Any]:
    """In every step do without the replica that takes longest."""
    job = footing.job
    replica, names = numbered(job.op["replica"])
    if len(names) < 2:
        return _unknown("backup", "one replica more", "two data-parallel replicas or more")
    excess = np.where(footing.own, footing.parts.persistent_ns + footing.parts.noise_ns, 0.0)
    step = footing.peers.step
    n_step = job.graph.step.size + 1
    held = sum_by(replica.astype(np.int64) * n_step + step, excess, len(names) * n_step)
    slowest = held.reshape(-1, n_step).argmax(axis=0)
    dropped = np.where(replica == slowest[step], np.maximum(excess, 0.0), 0.0)
    basis = "modelled: in every step the slowest replica is not waited for"
    changed = step_s(job, footing.effects.work_ns - dropped)
    return _row(footing, "backup", "one replica more", changed, basis=basis)


def _scenarios(
    footing: Footing, delta: FloatArray, group: NDArray[np.int64], scale: FloatArray
) -> FloatArray:
    """Step times of counterfactuals: (n_step, n_scenario), in s."""
    used = compact(group)[0]
    numbers = np.zeros(int(used.max()) + 1, np.int64)
    numbers[used] = np.arange(used.size)
    scenarios = Scenarios(delta, numbers[group], scale[used])
    loaded = footing.loaded
    timed = replay_scenarios(footing.job.graph, loaded.timeline, scenarios, layout=loaded.layout)
    return timed / 1e9


def _row(
    footing: Footing, policy: str, target: str, with_it_s: FloatArray, *, basis: str = "replayed"
) -> dict[str, Any]:
    before = footing.loaded.step_s
    gain = mean_estimate(before - with_it_s, footing.weights)
    mean = float(before.mean())
    known = np.isfinite(gain.low)
    return {
        "policy": policy,
        "target": target,
        "step_s": float(with_it_s.mean()),
        "gain_s": gain.value,
        "gain_low_s": gain.low if known else None,
        "gain_high_s": gain.high if known else None,
        "gain_ratio": gain.value / mean if mean > 0 else None,
        "basis": basis,
        "missing": "",
    }


def _missing(policy: str) -> dict[str, Any]:
    return _unknown(policy, *MISSING[policy])


def _unknown(policy: str, target: str, missing: str) -> dict[str, Any]:
    nothing = dict.fromkeys(("step_s", "gain_s", "gain_low_s", "gain_high_s", "gain_ratio"))
    named = {"policy": policy, "target": target, "basis": "not assessed", "missing": missing}
    return nothing | named
