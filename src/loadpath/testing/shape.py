"""Size and habits of a synthetic job: how it is split, how noisy it is, what records it."""

from dataclasses import dataclass
from typing import Literal

from loadpath.errors import UsageError

__all__ = ["Recorder", "Shape", "host_of", "rank_of", "recorded_ranks"]

Recorder = Literal["op_table", "kineto"]


@dataclass(frozen=True, slots=True)
class Shape:
    """How a synthetic job is built.

    Attributes
    ----------
    recorder : {"op_table", "kineto"}
        What will record it. An op table sees one worker per stage and replica (tensor-parallel
        peers share a rank) and no host; Kineto sees every rank with its host thread and kernels.
    pp, tp, dp : int
        Pipeline stages, tensor-parallel peers, data-parallel replicas.
    vpp : int
        Model chunks per stage (interleaved 1F1B); 1 for plain 1F1B. Op tables only.
    microbatches, steps : int
        Microbatches per replica and step; recorded steps.
    noise : float
        Coefficient of variation of each op's duration.
    noise_law : {"lognormal", "gamma"}
        Distribution of that noise.
    forward_s : float
        Mean time of one stage's forward computation of one microbatch; backward takes twice that.
    transfer_ratio : float
        Length of a pipeline transfer in units of `forward_s`; collectives scale with it.
    stage_work : tuple of float
        Work of each stage relative to `forward_s`; drawn if empty: with three or more stages one
        is lighter by up to `stage_spread`, so that busy time does not give the answer away.
    stage_spread : float
        See `stage_work`.
    overlap : bool
        Gradients are reduced while the backward pass still runs.
    p2p : {"streams", "batched"}
        Pipeline transfers on four independent streams, or sends and receives posted together
        right after a computation and waited for before the next one.
    layers : int
        Layers per stage, each some kernels and one gradient bucket. Kineto only.
    launch_bound : bool
        Kernels are so short that the host sets the pace. Kineto only.
    lag_s : float
        Mean delay between an op being ready and its start. Op tables only.
    ranks_per_host : int
        Consecutive ranks on one host; 0 stands for two tensor-parallel groups.
    skewed_ratio : float
        Share of the hosts whose clock is off.
    skew_s, drift_ppm : float
        Largest offset and drift of those clocks.
    """

    recorder: Recorder = "op_table"
    pp: int = 2
    tp: int = 1
    dp: int = 2
    vpp: int = 1
    microbatches: int = 8
    steps: int = 8
    noise: float = 0.02
    noise_law: Literal["lognormal", "gamma"] = "lognormal"
    forward_s: float = 0.020
    transfer_ratio: float = 0.05
    stage_work: tuple[float, ...] = ()
    stage_spread: float = 0.1
    overlap: bool = False
    p2p: Literal["streams", "batched"] = "streams"
    layers: int = 2
    launch_bound: bool = False
    lag_s: float = 2e-5
    ranks_per_host: int = 0
    skewed_ratio: float = 0.0
    skew_s: float = 5e-3
    drift_ppm: float = 50.0

    def __post_init__(self) -> None:
        """Refuse shapes that no job can have.

        Raises
        ------
        UsageError
            If sizes do not fit each other; all misfits are named.
        """
        problems = [
            f"{name} must be at least 1"
            for name in ("pp", "tp", "dp", "vpp", "microbatches", "steps", "layers")
            if getattr(self, name) < 1
        ]
        if self.vpp > 1 and (self.pp < 2 or self.microbatches % self.pp):
            problems.append("vpp > 1 needs pp > 1 and microbatches in multiples of pp")
        if self.recorder == "kineto" and self.vpp > 1:
            problems.append("vpp > 1 is for op tables only")
        if self.vpp > 1 and self.p2p == "batched":
            problems.append("batched p2p is for vpp = 1 only")
        if self.stage_work and len(self.stage_work) != self.pp:
            problems.append("stage_work needs one entry per stage")
        if self.recorder not in {"op_table", "kineto"}:
            problems.append(f"recorder {self.recorder!r} is neither 'op_table' nor 'kineto'")
        if problems:
            raise UsageError(f"Shape of the synthetic job: {'; '.join(problems)}.")


def rank_of(shape: Shape, stage: int, replica: int, peer: int = 0) -> int:
    """Return the rank at a place: tensor-parallel peers are neighbours, then replicas, then stages.

    Parameters
    ----------
    shape : Shape
        Size of the job.
    stage, replica, peer : int
        Pipeline, data-parallel and tensor-parallel coordinate.

    Returns
    -------
    int
        Rank.

    Examples
    --------
    >>> rank_of(Shape(pp=4, dp=4, tp=4), stage=1, replica=0)
    16
    """
    return (stage * shape.dp + replica) * shape.tp + peer


def recorded_ranks(shape: Shape) -> list[tuple[int, int, int, int]]:
    """List rank, stage, replica and tensor-parallel peer of every recorded rank.

    Parameters
    ----------
    shape : Shape
        Size of the job.

    Returns
    -------
    list of tuple of int
        Ascending by rank.
    """
    peers = shape.tp if shape.recorder == "kineto" else 1
    return [
        (rank_of(shape, stage, replica, peer), stage, replica, peer)
        for stage in range(shape.pp)
        for replica in range(shape.dp)
        for peer in range(peers)
    ]


def host_of(shape: Shape, rank: int) -> str:
    """Return the host that a rank runs on.

    Parameters
    ----------
    shape : Shape
        Size of the job.
    rank : int
        Rank.

    Returns
    -------
    str
        Host name.

    Examples
    --------
    >>> host_of(Shape(ranks_per_host=4), 5)
    'host-01'
    """
    return f"host-{rank // (shape.ranks_per_host or 2 * shape.tp):02d}"
