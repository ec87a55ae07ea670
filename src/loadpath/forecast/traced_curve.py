"""A job known by traces alone over sizes: weak scaling in its data-parallel dimension."""

from collections.abc import Iterable, Mapping
from math import log
from typing import NamedTuple
from zlib import crc32

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.errors import UsageError
from loadpath.forecast.audited_point import SLOW_RANKS
from loadpath.forecast.known_job import NODE_SIZE, KnownJob, draw_worlds
from loadpath.forecast.measured_steps import LEAST_ERROR
from loadpath.forecast.priors import Prior, shipped_priors
from loadpath.forecast.scaling import StepPoint, curve_of_points, step_errors
from loadpath.forecast.shifts import NORMAL_95, smooth_normals
from loadpath.forecast.sizes import Skipped
from loadpath.forecast.step_point import prior_key
from loadpath.forecast.traced_job import TracedJob, calm_step_s, drawn_lateness_s
from loadpath.price.tariff import Tariff
from loadpath.tables.measured import RUN_POINT

__all__ = ["job_of_traces", "traced_sizes"]

FloatArray = NDArray[np.float64]
DOUBLINGS, N_WORLD, SEED = 3, 32, 0
PERCENT = 1.01
HOP, LEAVING = "network_latency", "leaving_host_ratio"
ASSUMPTIONS = (
    "all replicas do as much in a step at any size: weak scaling, with the batch of a replica kept",
    "a replica of another size is one of those recorded, drawn at random, and none is slower than they",
    "what a replica does between meetings does not follow the size, its share of the optimiser included",
    "what lateness reaches the end of a step is the share of it that does so at the recorded size",
    f"{NODE_SIZE} accelerators fail together; failures arrive without memory, and are those of priors",
)
LIKE_RECORDED = (
    "further replicas reach each other as the recorded ones do, whose hosts are not told"
)
OTHER_HOSTS = (
    "the recorded host is full: further replicas are on others, with the prior leaving_host_ratio"
)


def traced_sizes(traced: TracedJob) -> tuple[int, ...]:
    """Choose sizes around the recorded one.

    Parameters
    ----------
    traced : TracedJob
        A recorded job.

    Returns
    -------
    tuple of int
        From an eighth of the recorded accelerators to eight times as many, doubling, in whole replicas.
    """
    each, n = traced.accelerators // traced.replicas, traced.accelerators
    around = [n >> k for k in range(DOUBLINGS, 0, -1)] + [n << k for k in range(DOUBLINGS + 1)]
    return tuple(size for size in around if size >= each and size % each == 0)


def job_of_traces(
    name: str,
    traced: TracedJob,
    sizes: Iterable[int],
    *,
    worlds: tuple[int, int],
    shares: Mapping[str, float],
    tariff: Tariff | None = None,
) -> KnownJob:
    """Extrapolate a traced job in its data-parallel dimension, and draw the worlds that its record leaves open.

    Parameters
    ----------
    name : str
        What was audited.
    traced : TracedJob
        What it tells.
    sizes : iterable of int
        Accelerators, in whole replicas.
    worlds : (int, int)
        Seed of the draws, and how many.
    shares : mapping of str to float
        Parts of the step besides transfers and waits between replicas, which sum to 1.
    tariff : Tariff, optional
        Prices.

    Returns
    -------
    KnownJob
        Its work counted in steps of a replica; weak scaling, whose batch stays.

    Raises
    ------
    UsageError
        If the job can be at none of the sizes.
    """
    n, skipped = _split(traced, sizes)
    points = [_point(traced, int(size), shares) for size in n]
    now = int(np.argmin(np.abs(n - traced.accelerators)))
    priors, normals = draw_worlds(worlds, _priors(traced, points, int(n[-1])))
    named = {name: normals[prior_key(p)] for name, p in priors.items() if prior_key(p) in normals}
    seeds = [worlds[0], crc32(b"sizes"), crc32(traced.lateness_s.tobytes())]
    smooth = smooth_normals(n, np.random.default_rng(seeds), worlds[1])
    kept = [p._replace(shifts={k: v for k, v in p.shifts.items() if k in named}) for p in points]
    errors = step_errors(kept, smooth, named)
    beyond = traced.hosts == 0 and n[-1] > traced.accelerators
    further = [OTHER_HOSTS] * (LEAVING in priors) + [LIKE_RECORDED] * bool(beyond)
    return KnownJob(
        name=name, kind="recorded", unit="replica step", goal="weak", now=now,
        curve=curve_of_points(n, points, errors - np.median(errors, axis=0)),
        sizes=_sizes(n, points), priors=priors, normals=normals,
        runs=({"n": traced.accelerators, "step_s": traced.step_s,
               "error_ratio": traced.replayed_s / traced.step_s - 1, "on_curve": True},),
        fitted_to="forecast", tariff=tariff, skipped=tuple(skipped),
        improved=_improvements(traced, int(n[now])), elastic=_elasticities(traced, int(n[now])),
        assumptions=(*ASSUMPTIONS, *further),
    )  # fmt: skip


def _split(traced: TracedJob, sizes: Iterable[int]) -> tuple[NDArray[np.int64], list[Skipped]]:
    each = traced.accelerators // traced.replicas
    asked = sorted(set(sizes))
    why = f"a replica has {each} ranks, which do not divide it"
    skipped = [Skipped(size, why) for size in asked if size % each]
    found = [size for size in asked if size % each == 0]
    if not found:
        raise UsageError(
            f"the recorded job can be at none of the sizes ({why}). Give others: --sizes."
        )
    return np.array(found, dtype=np.int64), skipped


def _leaves(traced: TracedJob, n: int) -> bool:
    return traced.hosts == 1 and n > traced.accelerators


class _How(NamedTuple):
    """What a size is replayed with: a hop, how much slower bytes are, lateness beyond the recorded one."""

    replicas: int
    hop_s: float
    slower: float
    late_s: float


def _step_s(traced: TracedJob, how: _How) -> float:
    return calm_step_s(traced, how.replicas, how.hop_s, how.slower) + how.late_s


def _point(traced: TracedJob, n: int, shares: Mapping[str, float]) -> StepPoint:
    """Extrapolate to one size, and once more with each prior at the edges of its band."""
    known, how = shipped_priors(), _present(traced, n)
    late = drawn_lateness_s(traced, how.replicas, np.random.default_rng(SEED), N_WORLD)
    here = _step_s(traced, how)
    shifts, band = {}, float(np.exp(NORMAL_95 * LEAST_ERROR))
    if how.replicas != traced.replicas:
        band *= known["scale_error"].high
        edges = {
            SLOW_RANKS: ("late_s", np.quantile(late, [0.05, 0.95]).tolist()),
            HOP: ("hop_s", [known[HOP].low, known[HOP].high]),
        }
        if _leaves(traced, n):
            edges[LEAVING] = ("slower", [known[LEAVING].low, known[LEAVING].high])
        for name, (field, both) in edges.items():
            low, high = (
                log(_step_s(traced, how._replace(**{field: edge})) / here) for edge in both
            )
            shifts[name] = (low, high)
    limits = _limits(traced, how, here, shares)
    return StepPoint(here, float(how.replicas), band, None, limits, shifts)


def _limits(
    traced: TracedJob, how: _How, here: float, shares: Mapping[str, float]
) -> dict[str, float]:
    """Split a step: transfers between replicas, waits for the latest, and the rest as it was recorded."""
    alone = calm_step_s(traced, 1, 0.0)
    moved = max(calm_step_s(traced, how.replicas, how.hop_s, how.slower) - alone, 0.0)
    travel = "intra_node" if traced.hosts == 1 and how.slower == 1 else "inter_node"
    parts = {travel: min(moved, here)}
    parts["waiting"] = min(max(traced.waited_s + how.late_s, 0.0), here - parts[travel])
    left = here - sum(parts.values())
    return {name: value / here for name, value in parts.items()} | {
        name: share * left / here for name, share in shares.items()
    }


def _present(traced: TracedJob, n: int) -> _How:
    """Give the middle world of a size."""
    known, replicas = shipped_priors(), n * traced.replicas // traced.accelerators
    late = drawn_lateness_s(traced, replicas, np.random.default_rng(SEED), N_WORLD)
    slower = known[LEAVING].value if _leaves(traced, n) else 1.0
    return _How(replicas, known[HOP].value, slower, float(np.median(late)))


def _improvements(traced: TracedJob, n: int) -> dict[str, float]:
    """Replay improvements at one size: the step over that without them."""
    how = _present(traced, n)
    before = _step_s(traced, how)
    faster = _step_s(traced, how._replace(slower=how.slower / 2)) / before
    return {
        "network twice as fast": faster,
        "no noise, equal ranks": max(before - traced.waited_s - how.late_s, 0.0) / before,
    }


def _elasticities(traced: TracedJob, n: int) -> dict[str, float]:
    """Say by how many percent the step follows one percent of a lever."""
    how = _present(traced, n)
    before = _step_s(traced, how)
    more = _step_s(traced, how._replace(slower=how.slower / PERCENT))
    late = before + (PERCENT - 1) * (traced.waited_s + how.late_s)
    return {
        "network_bandwidth": log(more / before) / log(PERCENT),
        "noise": log(late / before) / log(PERCENT),
    }


def _priors(traced: TracedJob, points: list[StepPoint], most: int) -> list[Prior]:
    known = [shipped_priors()[HOP]]
    if _leaves(traced, most):
        known.append(shipped_priors()[LEAVING])
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
        {"n": size, "step_s": point.step_s, "global_batch": int(point.work)}
        for size, point in zip(n.tolist(), points, strict=True)
    ]
    columns = {name: [row.get(name) for row in rows] for name in RUN_POINT.schema}
    return RUN_POINT.validate(pl.DataFrame(columns, schema=RUN_POINT.schema))
