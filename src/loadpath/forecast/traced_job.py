"""A job known by traces alone with more or fewer replicas: measured transfers, waits and ranks."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.errors import UsageError
from loadpath.replay import replay, step_time_ns
from loadpath.units import NS_PER_S

__all__ = ["TracedJob", "calm_step_s", "drawn_lateness_s", "measure_traces"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

TREES = ("all_reduce",)
SPREADS = ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "reduce", "barrier")
"""Collectives whose time at another size follows from theirs: each member moves its share of one whole."""

NOT_TOLD = (
    "The traces do not say which ranks are replicas of one model: groups of replicas and of parts of a tensor "
    "look alike. Say --data-parallel if all ranks are replicas, name process groups (mesh_dp, "
    "DATA_PARALLEL_GROUP), or give a design and calibrate its priors."
)
OTHER_AXES = (
    "The traces tell {axes} of the ranks but no replicas: how such a job changes with its size they do not "
    "tell. Name groups of replicas (mesh_dp, DATA_PARALLEL_GROUP), or give a design and calibrate its priors."
)


@dataclass(frozen=True, slots=True)
class TracedJob:
    """What traces of a data-parallel job tell of other sizes.

    Attributes
    ----------
    job : CoupledJob
        In one graph.
    members : (n_op,) array of int64
        Ranks of the group of replicas that an op communicates with; 0 for all other ops.
    trees : (n_op,) array of bool
        Whether that takes hops of a ring or of a tree, whichever are fewer; else those of a ring.
    lateness_s : (n_step, replicas, n_meeting) array
        By how much a replica came to a meeting later than the mean of all, in each recorded step.
    passed : float
        Share of that which reaches the end of a step.
    step_s, replayed_s : float
        Mean step as recorded, and as replayed.
    accelerators, hosts : int
        Ranks, and hosts that they are on; 0 where the traces name none.
    """

    job: CoupledJob
    members: IntArray
    trees: NDArray[np.bool_]
    lateness_s: FloatArray
    passed: float
    step_s: float
    replayed_s: float
    accelerators: int
    hosts: int

    @property
    def replicas(self) -> int:
        """Recorded replicas."""
        return int(self.lateness_s.shape[1])

    @property
    def waited_s(self) -> float:
        """What a recorded step waits for its latest replicas."""
        return self.passed * float(self.lateness_s.max(axis=1).sum(axis=1).mean())


def measure_traces(
    job: CoupledJob, steps: pl.DataFrame, *, data_parallel: bool = False
) -> TracedJob:
    """Take from an audit of traces what replicas do alike, and where they meet.

    Parameters
    ----------
    job : CoupledJob
        Of an audit of traces, in one graph.
    steps : polars.DataFrame
        Table ``step_time`` of the audit.
    data_parallel : bool
        Whether all ranks are replicas, where the names of process groups do not tell.

    Returns
    -------
    TracedJob
        What is asked at other sizes.

    Raises
    ------
    UsageError
        If nothing tells which ranks are replicas, there is one, not all were recorded, they do not meet,
        or exchange what another size would change in ways that the record does not tell.
    """
    replica = _replicas(job, data_parallel=data_parallel)
    met = _meetings(job, replica)
    lateness = _lateness_s(job, met, replica)
    excess = float(np.mean((steps["replayed_s"] - steps["ideal_s"]).to_numpy()))
    whole = float(lateness.max(axis=1).sum(axis=1).mean())
    members = np.zeros(job.n_op, np.int64)
    members[met["op"].to_numpy()] = met["n_members"].to_numpy()
    trees = np.zeros(job.n_op, np.bool_)
    trees[met["op"].to_numpy()] = met["collective"].cast(pl.String).is_in(TREES).to_numpy()
    hosts = job.rank["host"]
    return TracedJob(
        job=job,
        members=members,
        trees=trees,
        lateness_s=lateness,
        passed=max(0.0, min(1.0, excess / whole)) if whole > 0 else 0.0,
        step_s=float(np.mean(steps["measured_s"].to_numpy())),
        replayed_s=_mean_s(job, job.work_ns),
        accelerators=job.rank.height,
        hosts=0 if (hosts == "").any() else hosts.n_unique(),
    )


def _replicas(job: CoupledJob, *, data_parallel: bool) -> dict[int, int]:
    """Give each rank its replica."""
    rank = job.rank
    if (rank["n_represented"] != 1).any():
        raise UsageError(
            "Some recorded ranks stand for others, so that how replicas differ is not told."
        )
    axes = [axis for axis in ("dp", "tp", "pp", "cp") if (rank[axis] >= 0).all()]
    if "dp" in axes:
        found = dict(rank.select("rank", "dp").iter_rows())
    elif axes:
        raise UsageError(OTHER_AXES.format(axes=", ".join(axes)))
    elif data_parallel:
        found = {each: place for place, each in enumerate(rank["rank"].sort().to_list())}
    else:
        raise UsageError(NOT_TOLD)
    if len(set(found.values())) < 2:
        raise UsageError(
            "One replica was recorded, which tells nothing of what replicas do to each other."
        )
    return found


def _meetings(job: CoupledJob, replica: Mapping[int, int]) -> pl.DataFrame:
    """List the ops of communications that span replicas, in the order in which they happen."""
    rank = job.op.select(pl.col("rank").replace_strict(replica).alias("replica"), "step")
    parts = job.membership.join(
        job.instance.select(
            "instance", "collective", "communicator", "sequence", "n_members", "matched"
        ),
        on="instance",
    ).with_columns(rank[job.membership["op"].to_numpy()])
    spans = pl.col("replica").n_unique().over("instance") > 1
    met = parts.filter(spans)
    other = met.filter(~pl.col("collective").cast(pl.String).is_in(SPREADS))["collective"]
    if met.is_empty():
        raise UsageError(
            "No communication between replicas was recorded, so that they do not meet."
        )
    if other.len():
        told = ", ".join(sorted(other.cast(pl.String).unique().to_list()))
        raise UsageError(
            f"Replicas exchange {told}: what that moves at another size the record does not tell. Give a design."
        )
    if not met["matched"].all():
        raise UsageError("Not all members of communications between replicas were recorded.")
    return met


def _lateness_s(job: CoupledJob, met: pl.DataFrame, replica: Mapping[int, int]) -> FloatArray:
    """Lay out (step, replica, meeting) by how much a replica came later than the mean of all."""
    n_replica = len(set(replica.values()))
    wait = pl.Series("wait_s", job.wait_ns[met["op"].to_numpy()] / NS_PER_S)
    keys = ("step", "instance", "replica")
    # Sorted, for a mean follows the order of its terms, and the draws of the worlds follow the mean.
    each = met.with_columns(wait).group_by(keys).agg(pl.col("wait_s").min()).sort(keys)
    later = pl.col("wait_s").mean().over("instance") - pl.col("wait_s")
    whole = each.with_columns(later.alias("late_s")).filter(pl.len().over("instance") == n_replica)
    place = pl.col("instance").rank("dense").over("step").cast(pl.Int64) - 1
    whole = whole.with_columns(place.alias("place"))
    numbers = {step: row for row, step in enumerate(sorted(whole["step"].unique().to_list()))}
    n_meeting = int(whole["place"].to_numpy().max(initial=-1)) + 1
    found = np.zeros((max(len(numbers), 1), n_replica, n_meeting))
    if whole.height:
        order = {one: row for row, one in enumerate(sorted(set(replica.values())))}
        found[
            [numbers[step] for step in whole["step"].to_list()],
            [order[one] for one in whole["replica"].to_list()],
            whole["place"].to_numpy(),
        ] = whole["late_s"].to_numpy()
    return found


def _mean_s(job: CoupledJob, work_ns: NDArray[np.int64]) -> float:
    return float(step_time_ns(job.graph, replay(job.graph, work_ns)).mean()) / NS_PER_S


def calm_step_s(traced: TracedJob, replicas: int, hop_s: float, slower: float = 1.0) -> float:
    r"""Replay the recorded ranks with the transfers of another number of replicas.

    Members of a group grow from :math:`k` to :math:`k' = k N / R`; what each moves from
    :math:`(k - 1) / k` to :math:`(k' - 1) / k'` of the whole, and its hops as those of a ring, of a tree
    where these are fewer.

    Parameters
    ----------
    traced : TracedJob
        Result of `measure_traces`.
    replicas : int
        How many there are to be.
    hop_s : float
        Time of one hop.
    slower : float
        By how much bytes take longer than they took between the recorded ranks.

    Returns
    -------
    float
        Mean step in s: as recorded, with what other transfers add to it.
    """
    moves = traced.members > 0
    before = traced.members[moves].astype(np.float64)
    after = before * replicas / traced.replicas
    ratio = (
        slower * np.where(after > 1, (after - 1) / after, 0.0) * before / np.maximum(before - 1, 1)
    )
    hops = _hops(after, traced.trees[moves]) - _hops(before, traced.trees[moves])
    work = traced.job.work_ns.astype(np.float64)
    work[moves] = np.maximum(work[moves] * ratio + NS_PER_S * hop_s * hops, 0.0)
    changed = _mean_s(traced.job, work.round().astype(np.int64))
    return traced.step_s + changed - traced.replayed_s


def _hops(members: FloatArray, trees: NDArray[np.bool_]) -> FloatArray:
    ring = np.maximum(members - 1, 0.0)
    tree = 2 * np.log2(np.maximum(members, 1.0))
    return np.asarray(np.where(trees, np.minimum(ring, tree), ring))


def drawn_lateness_s(
    traced: TracedJob, replicas: int, rng: np.random.Generator, n_world: int
) -> FloatArray:
    """Draw what waiting for the latest of other replicas adds to a step, beside the recorded ones.

    Parameters
    ----------
    traced : TracedJob
        Result of `measure_traces`.
    replicas : int
        How many there are to be; each is one of those recorded, for good, in a step of its own.
    rng : numpy.random.Generator
        Source of randomness.
    n_world : int
        Draws of which replicas they are.

    Returns
    -------
    (n_world,) array
        Seconds, mean over as many steps as were recorded; 0 for the recorded replicas themselves.
    """
    if replicas == traced.replicas:
        return np.zeros(n_world)
    late = traced.lateness_s
    n_step = len(late)
    found = np.empty(n_world)
    for world in range(n_world):
        who = rng.integers(traced.replicas, size=replicas)
        latest = [
            late[rng.integers(n_step, size=replicas), who].max(axis=0).sum() for _ in range(n_step)
        ]
        found[world] = np.mean(latest)
    return np.asarray(traced.passed * found - traced.waited_s)
