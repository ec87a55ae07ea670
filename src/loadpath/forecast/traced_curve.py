"""A job known by traces alone over sizes: with other replicas, samples and tensor widths."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from zlib import crc32

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from loadpath.errors import UsageError
from loadpath.forecast.audited_point import SLOW_RANKS
from loadpath.forecast.known_job import NODE_SIZE, KnownJob, draw_worlds
from loadpath.forecast.priors import Prior, shipped_priors
from loadpath.forecast.scaling import StepPoint, curve_of_points, step_errors
from loadpath.forecast.shifts import smooth_normals
from loadpath.forecast.sizes import Goal, Skipped
from loadpath.forecast.step_point import prior_key
from loadpath.forecast.traced_job import TracedJob
from loadpath.forecast.traced_point import (
    HOP,
    LEAVING,
    TracedSize,
    elasticities_of,
    improvements_of,
    named_priors,
    traced_point,
)
from loadpath.tables.measured import RUN_POINT

__all__ = ["Scaling", "job_of_traces", "traced_sizes"]

DOUBLINGS = 3
ASSUMPTIONS = (
    "a replica of another size is one of those recorded, drawn at random, and none is slower than they",
    "what lateness reaches the end of a step is the share of it that does so at the recorded size",
    f"{NODE_SIZE} accelerators fail together; failures arrive without memory, and are those of priors",
)
OF_GOAL = {
    "weak": (
        "all replicas do as much in a step at any size: weak scaling, with the batch of a replica kept",
        "what a replica does between meetings does not follow the size, its share of the optimiser included",
    ),
    "strong": (
        "the samples of a step stay: a replica has its share of them, in as many passes and calls as recorded",
        "kernels follow the samples but for their ramp and the prior kernel_serial_ratio; optimiser and host do not",
        "replicas come late in proportion to their own time",
    ),
}
NO_SAMPLES = "the batch can be shared out by as many replicas: traces do not say how many samples it has (--samples)"
WIDER = (
    "a wider tensor shares out products and the optimiser, norms only where the sequence is split too, other "
    "kernels by the prior tensor_alike_ratio; host calls stay as many, and more peers come no later"
)
LIKE_RECORDED = "further ranks reach each other as the recorded ones do, whose hosts are not told"
OTHER_HOSTS = (
    "the recorded host is full: further ranks are on others, with the prior leaving_host_ratio"
)


class Scaling(Struct, frozen=True, kw_only=True):
    """How a traced job is to change with its size.

    Attributes
    ----------
    goal : {"strong", "weak"}
        Whether the samples of a step stay, or those of a replica.
    tensor : int
        Tensor width; 0 as recorded.
    samples : int
        Of a recorded step, all replicas together; 0 where they are not told.
    """

    goal: Goal = "weak"
    tensor: int = 0
    samples: int = 0


def traced_sizes(traced: TracedJob, scaling: Scaling) -> tuple[int, ...]:
    """Choose sizes around the recorded one.

    Parameters
    ----------
    traced : TracedJob
        A recorded job.
    scaling : Scaling
        With its tensor width.

    Returns
    -------
    tuple of int
        From an eighth of the recorded accelerators to eight times as many, doubling, in whole replicas.
    """
    each, n = _each(traced, scaling), traced.accelerators
    around = [n >> k for k in range(DOUBLINGS, 0, -1)] + [n << k for k in range(DOUBLINGS + 1)]
    return tuple(size for size in around if size >= each and size % each == 0) or (each,)


def _each(traced: TracedJob, scaling: Scaling) -> int:
    """Count the accelerators of a replica."""
    own = traced.accelerators // traced.replicas
    return own * scaling.tensor // traced.work.tensor if scaling.tensor else own


def job_of_traces(
    name: str,
    traced: TracedJob,
    sizes: Iterable[int],
    *,
    scaling: Scaling,
    worlds: tuple[int, int],
    progress: Callable[[str], None] = lambda _: None,
) -> KnownJob:
    """Extrapolate a traced job in replicas, samples and tensor width, and draw the worlds it leaves open.

    Parameters
    ----------
    name : str
        What was audited.
    traced : TracedJob
        What it tells.
    sizes : iterable of int
        Accelerators, in whole replicas.
    scaling : Scaling
        How the job is to change.
    worlds : (int, int)
        Seed of the draws, and how many.
    progress : callable of str
        Told which size begins.

    Returns
    -------
    KnownJob
        Its work counted in what a recorded replica does in a step.

    Raises
    ------
    UsageError
        If the job can be at none of the sizes.
    """
    asked, skipped = _split(traced, sizes, scaling)
    points = []
    for place, (size, to) in enumerate(asked.items(), 1):
        progress(f"replaying {size:,} accelerators ({place} of {len(asked)})")
        points.append(traced_point(traced, to))
    n = np.array(list(asked), dtype=np.int64)
    now = int(np.argmin(np.abs(n - traced.accelerators)))
    here = asked[int(n[now])]
    priors, normals = draw_worlds(worlds, _priors(traced, asked, points))
    named = {name: normals[prior_key(p)] for name, p in priors.items() if prior_key(p) in normals}
    seeds = [worlds[0], crc32(b"sizes"), crc32(traced.lateness_s.tobytes())]
    smooth = smooth_normals(n, np.random.default_rng(seeds), worlds[1])
    kept = [p._replace(shifts={k: v for k, v in p.shifts.items() if k in named}) for p in points]
    errors = step_errors(kept, smooth, named)
    return KnownJob(
        name=name, kind="recorded", unit="replica step", goal=scaling.goal, now=now,
        curve=curve_of_points(n, points, errors - np.median(errors, axis=0)),
        sizes=_sizes(n, points), priors=priors, normals=normals,
        runs=({"n": traced.accelerators, "step_s": traced.step_s,
               "error_ratio": traced.replayed_s / traced.step_s - 1, "on_curve": not scaling.tensor
               or scaling.tensor == traced.work.tensor},),
        fitted_to="forecast", skipped=tuple(skipped),
        improved=improvements_of(traced, here), elastic=elasticities_of(traced, here),
        assumptions=_assumed(traced, scaling, int(n[-1]), priors),
    )  # fmt: skip


def _assumed(
    traced: TracedJob, scaling: Scaling, most: int, priors: Iterable[str]
) -> tuple[str, ...]:
    """List what is taken for granted."""
    said = [*OF_GOAL[scaling.goal], *ASSUMPTIONS]
    told = (
        (NO_SAMPLES, scaling.goal == "strong" and not scaling.samples),
        (WIDER, scaling.tensor not in {0, traced.work.tensor}),
        (OTHER_HOSTS, LEAVING in priors),
        (LIKE_RECORDED, traced.hosts == 0 and most > traced.accelerators),
    )
    return (*said, *(words for words, holds in told if holds))


def _split(
    traced: TracedJob, sizes: Iterable[int], scaling: Scaling
) -> tuple[dict[int, TracedSize], list[Skipped]]:
    """Give the job at each size, and say where it cannot be."""
    each, found, skipped = _each(traced, scaling), {}, []
    for n in sorted(set(sizes)):
        why = _impossible(traced, n, each, scaling)
        if why:
            skipped.append(Skipped(n, why))
            continue
        replicas = n // each
        ratio = traced.replicas / replicas if scaling.goal == "strong" else 1.0
        found[n] = TracedSize(replicas=replicas, tensor=scaling.tensor, batch_ratio=ratio)
    if not found:
        told = "; ".join(f"{one.n:,}: {one.why}" for one in skipped[:4])
        raise UsageError(
            f"the recorded job can be at none of the sizes ({told}). Give others: --sizes."
        )
    return found, skipped


def _impossible(traced: TracedJob, n: int, each: int, scaling: Scaling) -> str:
    """Say why the job cannot be at a size; empty if it can."""
    replicas = n // each
    if n % each or not replicas:
        return f"a replica has {each} ranks, which do not divide it"
    if traced.replicas == 1 and replicas > 1:
        return (
            "one replica was recorded, which tells nothing of what gradients cost between replicas"
        )
    if scaling.goal == "strong" and scaling.samples % replicas:
        return f"{scaling.samples} samples of a step cannot be shared by {replicas} replicas"
    return ""


def _priors(
    traced: TracedJob, asked: Mapping[int, TracedSize], points: Sequence[StepPoint]
) -> list[Prior]:
    """Name what the record does not tell, at any of the sizes."""
    used = {name for size in asked.values() for name in named_priors(traced, size)} | {HOP}
    known = [prior for name, prior in shipped_priors().items() if name in used]
    widest = max(
        (point.shifts.get(SLOW_RANKS, (0.0, 0.0)) for point in points),
        key=lambda both: both[1] - both[0],
    )
    if not any(widest):
        return known
    slow = Prior(
        name=SLOW_RANKS, value=1.0, low=float(np.exp(widest[0])), high=float(np.exp(widest[1])), unit="times",
        about="step time with which of the recorded replicas those of another size are",
        source="lateness of the recorded replicas",
    )  # fmt: skip
    return [*known, slow]


def _sizes(n: NDArray[np.int64], points: list[StepPoint]) -> pl.DataFrame:
    """Give the sizes the form of runs, for baselines."""
    rows = [
        {"n": size, "step_s": point.step_s, "global_batch": round(point.work)}
        for size, point in zip(n.tolist(), points, strict=True)
    ]
    columns = {name: [row.get(name) for row in rows] for name in RUN_POINT.schema}
    return RUN_POINT.validate(pl.DataFrame(columns, schema=RUN_POINT.schema))
