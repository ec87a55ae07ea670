"""An audited job over sizes: replays of what was recorded with other replicas, stages and widths."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from zlib import crc32

import numpy as np
import polars as pl
from msgspec.structs import replace

from loadpath.errors import UsageError
from loadpath.forecast.audited_job import ASSUMED, JobSize, resized
from loadpath.forecast.audited_point import (
    SLOW_RANKS,
    AuditedPipeline,
    audited_point,
    elasticities_at,
    improvements_at,
    mean_step_s,
)
from loadpath.forecast.known_job import NODE_SIZE, KnownJob, draw_worlds
from loadpath.forecast.priors import Prior, shipped_priors
from loadpath.forecast.scaling import StepPoint, curve_of_points, step_errors
from loadpath.forecast.shifts import smooth_normals
from loadpath.forecast.sizes import Goal, Skipped
from loadpath.forecast.step_point import prior_key
from loadpath.tables.measured import RUN_POINT

__all__ = ["audited_sizes", "job_of_audit"]

DOUBLINGS = 3
MOST_PASSES = 2_000_000
"""Passes of all replicas in a step, at most: what is replayed in about a minute."""
ASSUMPTIONS = (
    "layers are alike and shared out evenly; the first and the last stage keep what they take more",
    "a rank of another size is as slow as a recorded rank of its stage, drawn at random",
    f"{NODE_SIZE} accelerators fail together; failures arrive without memory, and are those of priors",
    "a microbatch is worth as much at any size",
)


def _accelerators(audited: AuditedPipeline, shape: JobSize) -> int:
    """Count those of one replica; what is neither stage nor tensor (context, experts) stays."""
    one = audited.measured
    apart = max(1, one.accelerators // (one.replicas * one.stages * one.tensor))
    return (shape.stages or one.stages) * (shape.tensor or one.tensor) * apart


def audited_sizes(audited: AuditedPipeline, shape: JobSize) -> tuple[int, ...]:
    """Choose sizes around the recorded one.

    Parameters
    ----------
    audited : AuditedPipeline
        A recorded job.
    shape : JobSize
        Stages and width that it is to have; 0 as recorded.

    Returns
    -------
    tuple of int
        From an eighth of the recorded accelerators to eight times as many, doubling; doubled replicas where
        they do not divide those.
    """
    each, n = _accelerators(audited, shape), audited.measured.accelerators
    around = [n >> k for k in range(DOUBLINGS, 0, -1)] + [n << k for k in range(DOUBLINGS + 1)]
    whole = [size for size in around if size >= each and size % each == 0]
    doubled = [
        each << k for k in range(n.bit_length()) if n >> DOUBLINGS <= each << k <= n << DOUBLINGS
    ]
    return tuple(whole or doubled or [each])


def job_of_audit(
    name: str,
    audited: AuditedPipeline,
    sizes: Iterable[int],
    *,
    scaling: tuple[JobSize, Goal],
    worlds: tuple[int, int],
    progress: Callable[[str], None] = lambda _: None,
) -> KnownJob:
    """Replay a recorded job at other sizes and draw the worlds that its record leaves open.

    Parameters
    ----------
    name : str
        What was audited.
    audited : AuditedPipeline
        What it tells.
    sizes : iterable of int
        Accelerators; data parallelism takes them up.
    scaling : (JobSize, {"strong", "weak"})
        Stages, chunks and width, 0 as recorded; and whether the microbatches of a step stay, or those of a
        replica.
    worlds : (int, int)
        Seed of the draws, and how many.
    progress : callable of str
        Told which size begins.

    Returns
    -------
    KnownJob
        Its work counted in microbatches.

    Raises
    ------
    UsageError
        If the job can be at none of the sizes.
    """
    asked, skipped = _split(audited, sizes, *scaling)
    n = np.array(list(asked), dtype=np.int64)
    found = []
    for place, (size, to) in enumerate(asked.items(), 1):
        progress(f"replaying {size:,} accelerators ({place} of {len(asked)})")
        found.append(audited_point(audited, to))
    points, gains = zip(*found, strict=True)
    now = int(np.argmin(np.abs(n - audited.measured.accelerators)))
    here = asked[int(n[now])]
    priors, normals = draw_worlds(worlds, _priors(points, now))
    named = {name: normals[prior_key(p)] for name, p in priors.items() if prior_key(p) in normals}
    # Two records do not err alike; one record does, whatever it is called.
    seeds = [worlds[0], crc32(b"sizes"), crc32(audited.measured.seconds.tobytes())]
    smooth = smooth_normals(n, np.random.default_rng(seeds), worlds[1])
    errors = step_errors(_moved_by(points, named), smooth, named)
    return KnownJob(
        name=name, kind="recorded", unit="microbatch", goal=scaling[1], now=now,
        curve=curve_of_points(n, points, errors - np.median(errors, axis=0)),
        sizes=_sizes(audited, asked, points), priors=priors, normals=normals,
        runs=(_recorded(audited, here),), fitted_to="forecast", noise_gain=gains,
        improved=improvements_at(audited, here), elastic=elasticities_at(audited, here),
        skipped=tuple(skipped), assumptions=ASSUMPTIONS,
    )  # fmt: skip


def _split(
    audited: AuditedPipeline, sizes: Iterable[int], shape: JobSize, goal: Goal
) -> tuple[dict[int, JobSize], list[Skipped]]:
    """Give the job at each size, and say where it cannot be."""
    found, skipped = {}, []
    for n in sorted(set(sizes)):
        try:
            found[n] = _sized(audited, n, shape, goal)
        except UsageError as error:
            skipped.append(Skipped(n, str(error)))
    if not found:
        told = "; ".join(f"{one.n:,}: {one.why}" for one in skipped[:4])
        raise UsageError(f"the recorded job can be at none of the sizes ({told}).")
    return found, skipped


def _sized(audited: AuditedPipeline, n: int, shape: JobSize, goal: Goal) -> JobSize:
    one, each = audited.measured, _accelerators(audited, shape)
    if n % each:
        raise UsageError(f"a replica has {each} accelerators, which do not divide {n}")
    replicas, microbatches = n // each, one.microbatches
    if goal == "strong":
        of_all = one.replicas * one.microbatches
        if of_all % replicas:
            raise UsageError(f"{of_all} microbatches of a step cannot be shared by {replicas}")
        microbatches = of_all // replicas
    size = replace(shape, replicas=replicas, microbatches=microbatches)
    stages, chunks = resized(one, size).seconds.shape[1:3]
    passes = 2 * replicas * microbatches * stages * chunks
    if passes > MOST_PASSES:
        raise UsageError(f"its step has {passes:,} passes; up to {MOST_PASSES:,} are replayed")
    return size


def _priors(points: Sequence[StepPoint], now: int) -> list[Prior]:
    """Name what the record does not tell; how slow other ranks are, as at the size nearest to it."""
    known = [shipped_priors()[name] for name in ASSUMED]
    spreads = [point.shifts.get(SLOW_RANKS, (0.0, 0.0)) for point in points]
    told = spreads[now] if any(spreads[now]) else max(spreads, key=lambda both: both[1] - both[0])
    if not any(told):
        return known
    slow = Prior(
        name=SLOW_RANKS, value=1.0, low=float(np.exp(told[0])), high=float(np.exp(told[1])), unit="times",
        about="step time with which of the recorded ranks' speeds the ranks of another size have",
        source="lasting differences of the recorded ranks",
    )  # fmt: skip
    return [*known, slow]


def _moved_by(points: Sequence[StepPoint], names: Iterable[str]) -> list[StepPoint]:
    """Keep the shifts of what has worlds."""
    kept = set(names)
    return [
        point._replace(shifts={key: both for key, both in point.shifts.items() if key in kept})
        for point in points
    ]


def _sizes(
    audited: AuditedPipeline, asked: Mapping[int, JobSize], points: Sequence[StepPoint]
) -> pl.DataFrame:
    """Give the sizes the form of runs, for baselines."""
    one = audited.measured
    rows = [
        {
            "n": n, "step_s": point.step_s, "microbatches": size.microbatches,
            "tp": size.tensor or one.tensor, "pp": size.stages or one.stages,
            "global_batch": int(point.work),
        }
        for (n, size), point in zip(asked.items(), points, strict=True)
    ]  # fmt: skip
    columns = {name: [row.get(name) for row in rows] for name in RUN_POINT.schema}
    return RUN_POINT.validate(pl.DataFrame(columns, schema=RUN_POINT.schema))


def _recorded(audited: AuditedPipeline, here: JobSize) -> dict[str, float | bool]:
    """Put the recorded steps beside their replay."""
    one = audited.measured
    own = JobSize(replicas=one.replicas, microbatches=one.microbatches)
    names = ("stages", "chunks", "tensor")
    same = all(getattr(here, name) in {0, getattr(one, name)} for name in names)
    return {
        "n": one.accelerators,
        "step_s": audited.step_s,
        "error_ratio": mean_step_s(audited, own) / audited.step_s - 1,
        "on_curve": same and here.replicas * here.microbatches == one.replicas * one.microbatches,
    }
