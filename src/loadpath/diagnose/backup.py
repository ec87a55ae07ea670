"""Backup workers: in every step the gradients of one replica are not waited for.

Of R replicas the first R - 1 that have their gradients ready make the update; the last gives its
work of that step up and begins the next with the others (Chen et al., arXiv 1604.00981).
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.diagnose.emergence import step_s
from loadpath.diagnose.footing import Footing
from loadpath.diagnose.policy_row import Cost, Row, goes_with_rank, policy_row, unassessed
from loadpath.diagnose.replicas import NO_REPLICAS, Replicas, across_replicas, find_replicas

__all__ = ["back_up", "latest_replicas"]


def back_up(footing: Footing) -> Row:
    """Replay every step without the work of the replica that the others wait for longest.

    Parameters
    ----------
    footing : Footing
        What the figures stand on.

    Returns
    -------
    dict
        Row ``backup`` of table `POLICY`.
    """
    job, replicas = footing.job, find_replicas(footing.job)
    if replicas is None:
        return unassessed("backup", "one replica of several", NO_REPLICAS)
    met = np.zeros(job.n_op, np.bool_)
    met[job.membership["op"].to_numpy()[across_replicas(job, replicas)]] = True
    dropped = replicas.number == latest_replicas(footing, replicas)[footing.peers.step]
    given_up = dropped & ~met & (goes_with_rank(footing) | footing.effects.is_transfer)
    work = np.where(given_up, 0.0, footing.effects.work_ns)
    n = len(replicas.names)
    return policy_row(
        footing,
        "backup",
        f"the latest of {n} replicas, another in each step",
        step_s(job, work),
        basis="replayed: in every step one replica gives up its work and is waited for nowhere",
        cost=Cost(
            f"the work of one of {n} replicas in every step: {n / (n - 1):.3g} times as many steps"
            if n > 2
            else "half of the work of every step: twice as many steps",
            work_ratio=(n - 1) / n,
        ),
    )


def latest_replicas(footing: Footing, replicas: Replicas) -> NDArray[np.int64]:
    """Find the replica that makes the others wait longest in each step.

    Parameters
    ----------
    footing : Footing
        The job as recorded, replayed.
    replicas : Replicas
        Its replicas.

    Returns
    -------
    (n_step + 1,) array of int64
        Replica that arrives after the second latest, by the sum over the step's communications
        between replicas; -1 where none does, and for ops outside all steps.
    """
    job = footing.job
    member = job.membership.filter(
        pl.Series(across_replicas(job, replicas)) & pl.col("contributes")
    )
    op = member["op"].to_numpy()
    arrives = footing.loaded.timeline.time_ns[job.graph.start_node[op] + 1]
    lead = (
        pl.DataFrame(
            {
                "instance": member["instance"],
                "replica": replicas.number[op],
                "step": footing.peers.step[op],
                "arrives": arrives,
            }
        )
        .group_by("instance", "step", "replica")
        .agg(pl.col("arrives").max())
        .sort("arrives", "replica")
        .group_by("instance", "step")
        .agg(
            pl.col("replica").last(),
            lead=pl.col("arrives").max() - pl.col("arrives").top_k(2).min(),
        )
        .group_by("step", "replica")
        .agg(pl.col("lead").sum())
        .filter(pl.col("lead") > 0)
        .sort("lead", "replica", descending=[False, True])
        .group_by("step")
        .agg(pl.col("replica").last())
    )
    latest = np.full(job.graph.step.size + 1, -1, np.int64)
    latest[lead["step"].to_numpy()] = lead["replica"].to_numpy()
    latest[-1] = -1
    return latest
