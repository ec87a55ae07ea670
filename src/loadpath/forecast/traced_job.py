"""A job known by traces alone at another size: measured kernels, transfers, waits and ranks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.errors import UsageError
from loadpath.forecast.traced_work import (
    SPREADS,
    Resized,
    TracedWork,
    check_widths,
    parts_of_instances,
    resized_work_ns,
    traced_work,
)
from loadpath.replay import replay, step_time_ns
from loadpath.units import NS_PER_S

__all__ = ["TracedJob", "calm_step_s", "drawn_lateness_s", "measure_traces", "replicas_of"]

FloatArray = NDArray[np.float64]
NOT_TOLD = (
    "The traces do not say which ranks are replicas of one model: groups of replicas and of parts of a tensor "
    "look alike. Say --data-parallel if all ranks are replicas, name process groups (mesh_dp, "
    "DATA_PARALLEL_GROUP), or give a design and calibrate its priors."
)
OTHER_AXES = (
    "The traces tell {axes} of the ranks but no replicas: how such a job changes with its replicas they do not "
    "tell. Ask for another width (--tensor) or other stages (--pipeline), name groups of replicas (mesh_dp, "
    "DATA_PARALLEL_GROUP), or give a design and calibrate its priors."
)


@dataclass(frozen=True, slots=True)
class TracedJob:
    """What traces of a data-parallel job tell of other sizes.

    Attributes
    ----------
    job : CoupledJob
        In one graph.
    work : TracedWork
        What the work of each op follows.
    lateness_s : (n_step, replicas, n_meeting) array
        By how much a replica came to a meeting later than the mean of all, in each recorded step.
    passed : float
        Share of that which reaches the end of a step.
    step_s, replayed_s : float
        Mean step as recorded, and as replayed.
    accelerators, hosts : int
        Ranks, and hosts that they are on; 0 where the traces name none.
    shares : mapping of str to float
        Parts of the step besides transfers and waits between replicas, which sum to 1.
    """

    job: CoupledJob
    work: TracedWork
    lateness_s: FloatArray
    passed: float
    step_s: float
    replayed_s: float
    accelerators: int
    hosts: int
    shares: Mapping[str, float] = field(default_factory=lambda: {"compute": 1.0})

    @property
    def replicas(self) -> int:
        """Recorded replicas."""
        return int(self.lateness_s.shape[1])

    @property
    def waited_s(self) -> float:
        """What a recorded step waits for its latest replicas."""
        return self.passed * float(self.lateness_s.max(axis=1).sum(axis=1).mean())


def measure_traces(
    job: CoupledJob, steps: pl.DataFrame, *, data_parallel: bool = False, wider: bool = False
) -> TracedJob:
    """Take from an audit of traces what replicas do alike, where they meet, and what their work follows.

    Parameters
    ----------
    job : CoupledJob
        Of an audit of traces, in one graph.
    steps : polars.DataFrame
        Table ``step_time`` of the audit.
    data_parallel : bool
        Whether all ranks are replicas, where the names of process groups do not tell.
    wider : bool
        Whether another tensor width is asked, which can be told of one replica too.

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
    replica = replicas_of(job, data_parallel=data_parallel, lone=wider)
    parts = parts_of_instances(job, replica)
    work = traced_work(job, parts)
    if wider:
        check_widths(parts, work)
    met = _meetings(parts, lone=len(set(replica.values())) == 1)
    lateness = _lateness_s(job, met, replica)
    excess = float(np.mean((steps["replayed_s"] - steps["ideal_s"]).to_numpy()))
    whole = float(lateness.max(axis=1).sum(axis=1).mean())
    hosts = job.rank["host"]
    return TracedJob(
        job=job,
        work=work,
        lateness_s=lateness,
        passed=max(0.0, min(1.0, excess / whole)) if whole > 0 else 0.0,
        step_s=float(np.mean(steps["measured_s"].to_numpy())),
        replayed_s=_mean_s(job, job.work_ns),
        accelerators=job.rank.height,
        hosts=0 if (hosts == "").any() else hosts.n_unique(),
    )


def replicas_of(job: CoupledJob, *, data_parallel: bool, lone: bool) -> dict[int, int]:
    """Give each rank its replica.

    Parameters
    ----------
    job : CoupledJob
        Of traces.
    data_parallel : bool
        Whether all ranks are replicas, where the names of process groups do not tell.
    lone : bool
        Whether one replica will do.

    Returns
    -------
    dict of int to int
        Replica by rank.

    Raises
    ------
    UsageError
        If nothing tells them, or there is one and that will not do.
    """
    rank = job.rank
    if (rank["n_represented"] != 1).any():
        raise UsageError(
            "Some recorded ranks stand for others, so that how replicas differ is not told."
        )
    axes = [axis for axis in ("dp", "tp", "pp", "cp") if (rank[axis] >= 0).all()]
    of_axes = np.prod([rank[axis].n_unique() for axis in axes])
    if "dp" in axes:
        found = dict(rank.select("rank", "dp").iter_rows())
        if data_parallel and len(set(found.values())) < rank.height:
            raise UsageError(
                f"--data-parallel: process groups tell {len(set(found.values()))} replicas among {rank.height} "
                "ranks. Leave it out."
            )
    elif axes and lone and of_axes == rank.height:
        found = dict.fromkeys(rank["rank"].to_list(), 0)
    elif axes:
        raise UsageError(OTHER_AXES.format(axes=", ".join(axes)))
    elif data_parallel:
        found = {each: place for place, each in enumerate(rank["rank"].sort().to_list())}
    else:
        raise UsageError(NOT_TOLD)
    if len(set(found.values())) < 2 and not lone:
        raise UsageError(
            "One replica was recorded, which tells nothing of what replicas do to each other."
        )
    return found


def _meetings(parts: pl.DataFrame, *, lone: bool) -> pl.DataFrame:
    """List the ops of communications that span replicas, in the order in which they happen."""
    met = parts.filter(pl.col("n_replica") > 1)
    other = met.filter(~pl.col("collective").cast(pl.String).is_in(SPREADS))["collective"]
    if met.is_empty() and not lone:
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


def calm_step_s(traced: TracedJob, to: Resized) -> float:
    """Replay the recorded ranks with the work that they have at another size.

    Parameters
    ----------
    traced : TracedJob
        Result of `measure_traces`.
    to : Resized
        The size, in one world.

    Returns
    -------
    float
        Mean step in s: as recorded, with what other work adds to its replay.
    """
    work = resized_work_ns(traced.job.work_ns, traced.work, to)
    return traced.step_s + _mean_s(traced.job, work) - traced.replayed_s


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
