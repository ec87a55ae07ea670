"""What a held-out job is: its layout and habits, and the fault that is planted in it."""

from dataclasses import dataclass, field, replace

import numpy as np

__all__ = ["Fault", "Plan", "group_of", "hosts_of", "lengths_of", "place_of", "rank_at", "without"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong; ``kind`` is empty where nothing is.

    ``size`` is extra work relative to what it sits on; for pauses ms that a host thread loses each
    time (rare ones come once in each of ``steps``, a stall at one place of every step); for input
    seconds of a loader relative to a microbatch.
    """

    kind: str = ""
    ranks: tuple[int, ...] = ()
    stage: int = -1
    link: tuple[int, ...] = ()
    size: float = 0.0
    steps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Layout and habits of a job; ranks count tensor peers fastest, then replicas, then stages.

    Where hosts `run_ahead` they wait for their device at the end of the job alone.
    """

    seed: int
    pp: int = 1
    tp: int = 1
    dp: int = 4
    steps: int = 6
    microbatches: int = 2
    layers: int = 2
    noise: float = 0.02
    overlap: bool = True
    sharded: bool = False
    second_thread: bool = False
    kernel_us: float = 120.0
    stage_work: tuple[float, ...] = (1.0,)
    per_host: int = 4
    ids: str = "full"
    sync_events: bool = True
    shapes: bool = False
    skew: bool = False
    run_ahead: bool = False
    fault: Fault = field(default_factory=Fault)

    @property
    def n_rank(self) -> int:
        """Ranks of the job."""
        return self.pp * self.tp * self.dp


def place_of(plan: Plan, rank: int) -> tuple[int, int, int]:
    """Stage, replica and tensor peer of a rank."""
    return rank // (plan.tp * plan.dp), rank // plan.tp % plan.dp, rank % plan.tp


def rank_at(plan: Plan, stage: int, replica: int, peer: int) -> int:
    """Rank of a place."""
    return (stage * plan.dp + replica) * plan.tp + peer


def group_of(plan: Plan, kind: str, rank: int) -> tuple[int, ...]:
    """Members of the process group of one kind that a rank belongs to."""
    stage, replica, peer = place_of(plan, rank)
    if kind == "tp":
        return tuple(rank_at(plan, stage, replica, p) for p in range(plan.tp))
    if kind == "dp":
        return tuple(rank_at(plan, stage, d, peer) for d in range(plan.dp))
    if kind == "pp":
        return tuple(rank_at(plan, s, replica, peer) for s in range(plan.pp))
    return tuple(range(plan.n_rank))


def hosts_of(plan: Plan) -> list[str]:
    """Host name of every rank."""
    return [f"node{rank // plan.per_host:02d}" for rank in range(plan.n_rank)]


def without(plan: Plan, *ranks: int) -> Plan:
    """The same job without its fault, or without what some of its ranks have of it."""
    left = tuple(sorted(set(plan.fault.ranks) - set(ranks))) if ranks else ()
    return replace(plan, fault=replace(plan.fault, ranks=left) if left else Fault())


def lengths_of(plan: Plan) -> np.ndarray:
    """Work of each step, replica and microbatch relative to the mean; equal unless data is at fault."""
    shape = (plan.steps, plan.dp, plan.microbatches)
    if plan.fault.kind != "data":
        return np.ones(shape)
    drawn = np.random.default_rng([plan.seed, 5]).lognormal(0.0, plan.fault.size, shape)
    return drawn / drawn.mean()
