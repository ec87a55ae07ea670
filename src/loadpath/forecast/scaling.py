"""Curves over the number of accelerators: step time, throughput, energy, cost, whole job."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from loadpath.errors import InputError
from loadpath.forecast.chances import Chances
from loadpath.forecast.reliability import Failures, account_run, job_mttf_s
from loadpath.forecast.shifts import NORMAL_95, shifted, smooth_normals
from loadpath.forecast.time_to_train import JobPlan, job_time_s
from loadpath.price.tariff import Tariff, cost_rows
from loadpath.tables.schema import Column, TableSchema

__all__ = [
    "CROSSING",
    "CURVE_POINT",
    "StepCurve",
    "StepPoint",
    "curve_of_points",
    "curve_table",
    "price_curve",
    "sample_curve",
    "share_crossings",
    "step_errors",
]

Array = NDArray[np.float64]

CURVE_POINT = TableSchema(
    "curve_point",
    "one quantity of the job at one number of accelerators",
    (
        Column("n", pl.Int64, "accelerators"),
        Column("quantity", pl.String, "what is forecast; its suffix is its unit"),
        Column("median", pl.Float64, "half of the outcomes are below"),
        Column("low", pl.Float64, "lower edge of the band"),
        Column("high", pl.Float64, "upper edge of the band"),
    ),
)

CROSSING = TableSchema(
    "crossing",
    "a size from which on something else limits the step most",
    (
        Column("n", pl.Float64, "accelerators, interpolated"),
        Column("before", pl.String, "limitation with the largest share below"),
        Column("after", pl.String, "limitation with the largest share above"),
    ),
)


class StepPoint(NamedTuple):
    """Step of a job at one size.

    Attributes
    ----------
    step_s : float
        Median time of a step.
    work : float
        Units of work in a step (samples, tokens).
    band_factor : float
        Half of a 90 % band: the time is off by at most this factor nine times in ten.
    power_w : float or None
        Mean power of the whole job, None where unknown.
    limitation : mapping of str to float
        Share of the step by what limits it.
    shifts : mapping of str to (float, float)
        By what is not known: logarithm by which the step changes where it is at the lower and at the
        upper edge of its 90 % band.
    noise_share : float
        Of what noise costs where all ranks wait for the slowest: what reaches the end of the step.
    """

    step_s: float
    work: float
    band_factor: float = 1.0
    power_w: float | None = None
    limitation: Mapping[str, float] = {}
    shifts: Mapping[str, tuple[float, float]] = {}
    noise_share: float = 1.0


@dataclass(frozen=True, slots=True)
class StepCurve:
    """Sampled step times over sizes.

    Attributes
    ----------
    n : ndarray of int64, shape (n_size,)
        Accelerators, growing.
    step_s : ndarray of float, shape (n_sample, n_size)
        Step times; a row is one possible world.
    work : ndarray of float, shape (n_size,)
        Units of work in a step.
    power_w : ndarray of float, shape (n_size,) or (n_sample, n_size), or None
        Mean power of the whole job.
    limitation : tuple of str, and share : ndarray of float, shape (n_limitation, n_size)
        Share of the step by what limits it.
    """

    n: NDArray[np.int64]
    step_s: Array
    work: Array
    power_w: Array | None
    limitation: tuple[str, ...]
    share: Array


def sample_curve(
    step_time: Callable[[int], StepPoint],
    sizes: Iterable[int],
    rng: np.random.Generator,
    *,
    n_sample: int = 256,
) -> StepCurve:
    """Ask a step model at each size and draw possible worlds around it.

    Parameters
    ----------
    step_time : callable of int to StepPoint
        Model of one step.
    sizes : iterable of int
        Accelerators; order and repetitions do not matter.
    rng : numpy.random.Generator
        Source of randomness.
    n_sample : int
        Worlds.

    Returns
    -------
    StepCurve
        What is not known is the same at all sizes of a world. Beyond it the model errs smoothly: alike
        at neighbouring sizes, independently at the smallest and the largest, each time lognormally with
        the model's own band.

    Raises
    ------
    InputError
        If there is no size, or the model gives a time, a work or a band that cannot be.

    Examples
    --------
    >>> curve = sample_curve(
    ...     lambda n: StepPoint(64 / n, 8.0), [16, 8], np.random.default_rng(0), n_sample=2
    ... )
    >>> curve.n.tolist(), curve.step_s.tolist()
    ([8, 16], [[8.0, 4.0], [8.0, 4.0]])
    """
    n = np.unique(np.fromiter(sizes, dtype=np.int64))
    points = [step_time(int(size)) for size in n]
    problems = _problems(n, points)
    if problems:
        raise InputError("step model", problems, "Check the design or the points it came from.")
    unknown = sorted({name for point in points for name in point.shifts})
    normals = {name: rng.standard_normal(n_sample) for name in unknown}
    smooth = smooth_normals(n, rng, n_sample)
    return curve_of_points(n, points, step_errors(points, smooth, normals))


def curve_of_points(n: NDArray[np.int64], points: Sequence[StepPoint], errors: Array) -> StepCurve:
    """Lay sampled errors over replayed points.

    Parameters
    ----------
    n : ndarray of int64, shape (n_size,)
        Accelerators, growing.
    points : sequence of StepPoint
        Step at each size.
    errors : ndarray of float, shape (n_sample, n_size)
        Logarithms by which each world departs from them.

    Returns
    -------
    StepCurve
        Sampled steps.
    """
    names = tuple(dict.fromkeys(name for point in points for name in point.limitation))
    share = np.array([[point.limitation.get(name, 0.0) for point in points] for name in names])
    power = np.array([np.nan if point.power_w is None else point.power_w for point in points])
    median = np.array([point.step_s for point in points])
    return StepCurve(
        n,
        median * np.exp(errors),
        np.array([point.work for point in points]),
        None if np.isnan(power).any() else power,
        names,
        share.reshape(len(names), len(n)),
    )


def _problems(n: NDArray[np.int64], points: list[StepPoint]) -> list[str]:
    problems = ["no sizes"] if not len(n) else []
    for size, point in zip(n, points, strict=True):
        if size < 1:
            problems.append(f"{size} accelerators")
        elif not (0 < point.step_s < np.inf and 0 < point.work < np.inf):
            problems.append(f"{point.step_s} s for {point.work} units at {size} accelerators")
        elif not 1 <= point.band_factor < np.inf:
            problems.append(f"a band of factor {point.band_factor} at {size} accelerators")
    return problems


def step_errors(points: Sequence[StepPoint], smooth: Array, normals: Mapping[str, Array]) -> Array:
    """Give by how much the steps of each world depart from what was replayed.

    Parameters
    ----------
    points : sequence of StepPoint
        Step at each size.
    smooth : ndarray of float, shape (n_sample, n_size)
        Result of `smooth_normals` for these sizes.
    normals : mapping of str to ndarray of float, shape (n_sample,)
        Standard normals by what is not known; several curves may share them.

    Returns
    -------
    ndarray of float, shape (n_sample, n_size)
        Logarithms.
    """
    errors = np.log([point.band_factor for point in points]) / NORMAL_95 * smooth
    for name in sorted({name for point in points for name in point.shifts}):
        shifts = [point.shifts.get(name, (0.0, 0.0)) for point in points]
        errors += shifted(normals[name], shifts)
    return np.asarray(errors, dtype=np.float64)


def price_curve(
    curve: StepCurve, tariff: Tariff | None, *, plan: JobPlan | None = None,
    failures: Failures | None = None, chances: Chances | None = None,
) -> dict[str, Array]:  # fmt: skip
    """Work out every quantity of the job in every sampled world.

    Parameters
    ----------
    curve : StepCurve
        Sampled steps.
    tariff : Tariff or None
        Prices; None leaves cost out.
    plan : JobPlan, optional
        What the whole job has to do, with the batch as work of a step; None leaves its length out.
    failures : Failures, optional
        How it fails; None assumes that it does not.
    chances : Chances, optional
        What differs from world to world, in place of `failures` and of the start-up of the plan.

    Returns
    -------
    dict of str to ndarray of float, shape (n_sample, n_size)
        ``step_s``, ``throughput_per_s``, ``ettr_ratio``, and where known ``energy_j_per_unit``,
        ``cost_per_unit``, ``job_s``, ``job_cost``. Throughput is that of productive time; energy and cost
        are paid for all of it. A unit of work is one of the present batch: of larger ones less counts,
        where the plan knows how convergence follows the batch.
    """
    ettr = _ettr(curve, failures, chances)
    worth = np.ones_like(curve.work) if plan is None else plan.worth(curve.work)
    needed = np.ones((1, 1))
    if chances is not None:
        worth, needed = worth * chances.worth_ratio, chances.steps_ratio
    per_unit = curve.step_s / (curve.work * worth) / ettr
    found = {"step_s": curve.step_s, "throughput_per_s": 1 / per_unit, "ettr_ratio": ettr}
    power = 0.0 if curve.power_w is None else curve.power_w
    rent, energy = (1.0, 1.0) if chances is None else (chances.rent_ratio, chances.energy_ratio)
    if curve.power_w is not None:
        found["energy_j_per_unit"] = per_unit * curve.power_w
    if tariff is not None:
        found["cost_per_unit"] = cost_rows(
            tariff, per_unit * curve.n * rent, per_unit * power * energy
        )
    if plan is not None:
        stepping = replace(plan, startup_s=0.0)
        running = job_time_s(stepping, curve.n, curve.work, curve.step_s) * needed
        startup = plan.startup_s if chances is None else chances.startup_s
        found["job_s"] = running / ettr + startup
        if tariff is not None:
            paid = found["job_s"]
            found["job_cost"] = cost_rows(tariff, paid * curve.n * rent, paid * power * energy)
    return found


def _ettr(curve: StepCurve, failures: Failures | None, chances: Chances | None) -> Array:
    how = failures if chances is None else chances.failures
    ettr = 1.0 if how is None else account_run(1e9, job_mttf_s(curve.n, how), how).ettr_ratio
    return np.asarray(ettr * np.ones_like(curve.step_s))


def curve_table(n: ArrayLike, quantities: Mapping[str, Array], level: float = 0.9) -> pl.DataFrame:
    """Summarise sampled worlds.

    Parameters
    ----------
    n : array_like, shape (n_size,)
        Accelerators.
    quantities : mapping of str to ndarray, shape (n_sample, n_size)
        As `price_curve` returns them.
    level : float
        Share of the worlds inside the band.

    Returns
    -------
    polars.DataFrame
        Table `CURVE_POINT`, by quantity and size.

    Examples
    --------
    >>> table = curve_table([8, 16], {"step_s": np.array([[8.0, 5.0], [6.0, 3.0]])}, 1.0)
    >>> table.rows()
    [(8, 'step_s', 7.0, 6.0, 8.0), (16, 'step_s', 4.0, 3.0, 5.0)]
    """
    edges = [0.5, (1 - level) / 2, (1 + level) / 2]
    frames = [
        pl.DataFrame(
            {
                "n": np.asarray(n, dtype=np.int64),
                "quantity": [name] * np.size(n),
                **dict(
                    zip(("median", "low", "high"), np.quantile(values, edges, axis=0), strict=True)
                ),
            }
        )
        for name, values in quantities.items()
    ]
    return CURVE_POINT.validate(pl.concat([CURVE_POINT.empty(), *frames]))


def share_crossings(n: NDArray[np.int64], shares: Mapping[str, Array]) -> pl.DataFrame:
    """Say where another share becomes the largest.

    Parameters
    ----------
    n : ndarray of int64, shape (n_size,)
        Accelerators, growing.
    shares : mapping of str to ndarray of float, shape (n_size,)
        By name.

    Returns
    -------
    polars.DataFrame
        Table `CROSSING`.

    Examples
    --------
    >>> shares = {"compute": np.array([0.9, 0.4]), "waiting": np.array([0.1, 0.6])}
    >>> share_crossings(np.array([8, 32]), shares).rows()
    [(24.25146506416637, 'compute', 'waiting')]
    """
    rows: list[tuple[float, str, str]] = []
    names = list(shares)
    share = np.array([shares[name] for name in names]).reshape(len(names), len(n))
    largest = share.argmax(axis=0) if names else np.zeros(len(n), dtype=np.int64)
    for i in np.flatnonzero(np.diff(largest)):
        before, after = largest[i], largest[i + 1]
        gap = share[before, i : i + 2] - share[after, i : i + 2]
        place = gap[0] / (gap[0] - gap[1]) if gap[0] > gap[1] else 0.0
        rows.append((float(n[i] * (n[i + 1] / n[i]) ** place), names[before], names[after]))
    return CROSSING.validate(pl.DataFrame(rows, schema=CROSSING.schema, orient="row"))
