"""All that is told of a design over sizes: tables of curves, flags, levers, baselines and pilots."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.forecast.baselines import Baseline, fit_baselines
from loadpath.forecast.calibration import MeasuredStep
from loadpath.forecast.choice import value_of_pilot
from loadpath.forecast.drivers import drivers_of
from loadpath.forecast.inversion import Inversions, Limits, find_inversions
from loadpath.forecast.levers import (
    break_evens,
    lever_elasticities,
    region,
    substitutions,
)
from loadpath.forecast.measured_steps import runs_of
from loadpath.forecast.options import LEVEL, Position, lay_out_options
from loadpath.forecast.outlook import Outlook, paid_shares, priced_of
from loadpath.forecast.risks import Stake, risk_register
from loadpath.forecast.scaling import curve_table, share_crossings
from loadpath.tables.schema import Column, TableSchema

__all__ = [
    "LOSSES",
    "PILOT",
    "PILOT_STEPS",
    "Advice",
    "advise",
    "baseline_table",
    "pilot_spread",
    "share_table",
]

Array = NDArray[np.float64]
PILOT_STEPS = 50
"""Steps of a pilot run; its time is their mean."""
LEAST_VARIATION = 0.01
"""Of steps of a pilot, at least: what published runs of one size vary by."""
REGION_LEVERS = ("network_bandwidth", "latency", "noise", "failure_rate")
REGION_SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)

LOSSES = (
    "intra_node", "inter_node", "latency", "waiting", "bubble", "host", "failures", "startup",
)  # fmt: skip
"""Parts of the paid time in which an accelerator does no work of its own."""

PAID_SHARE = TableSchema(
    "paid_share",
    "part of the time that is paid at one size",
    (
        Column("n", pl.Int64, "accelerators"),
        Column("limitation", pl.String, "what limits the step, failures, or start-up"),
        Column("share_ratio", pl.Float64, "share of the paid time"),
    ),
)

BASELINE_POINT = TableSchema(
    "baseline_point",
    "step time at one size by a curve that knows no structure",
    (
        Column("baseline", pl.String, "which curve"),
        Column("n", pl.Int64, "accelerators"),
        Column("step_s", pl.Float64, "time of a step, s"),
    ),
)

PILOT = TableSchema(
    "pilot",
    "a pilot run of this design on fewer accelerators, before it is made",
    (
        Column("n", pl.Int64, "accelerators of the pilot"),
        Column("n_steps", pl.Int64, "its steps"),
        Column("width_ratio", pl.Float64, "width of the band of the cost at the present size after "
               "over before, on average over what it may show"),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Advice:
    """What is told of a design over sizes.

    Attributes
    ----------
    priced : mapping of str to ndarray of float, shape (n_world, n_size)
        Every quantity in every world.
    figure : str
        The quantity that counts as cost: ``cost_per_unit``, or ``accelerator_s_per_unit`` without prices.
    limit : float
        What a unit may cost.
    inversions : Inversions or None
        Flags; None with one size.
    baselines : tuple of Baseline
        Curves without structure, the best first.
    tables : mapping of str to polars.DataFrame
        ``curve_point``, ``paid_share``, ``crossing``, ``loss_crossing``, ``elasticity``, ``break_even``,
        ``region``, ``substitution``, ``option``, ``pilot``, ``driver``, ``risk``, ``baseline_point``.
    """

    priced: Mapping[str, Array]
    figure: str
    limit: float
    inversions: Inversions | None
    baselines: tuple[Baseline, ...]
    tables: Mapping[str, pl.DataFrame]


def advise(
    outlook: Outlook, now: int, limits: Limits, *, runs: pl.DataFrame | None = None, seed: int = 0
) -> Advice:
    """Work out all that is told.

    Parameters
    ----------
    outlook : Outlook
        Curves and chances.
    now : int
        Place of the present size among the sizes.
    limits : Limits
        What counts as too dear.
    runs : polars.DataFrame or None
        Measured runs, table `RUN_POINT`, that baselines are fitted to; the forecast itself where None.
    seed : int
        Seed of imagined pilots.

    Returns
    -------
    Advice
        Flags, baselines and tables.
    """
    priced = priced_of(outlook)
    figure = "cost_per_unit" if "cost_per_unit" in priced else "accelerator_s_per_unit"
    cost, n = priced[figure], outlook.curve.n
    cheapest = float(np.median(cost, axis=0).min())
    limit = limits.worst_ratio * cheapest if limits.budget is None else limits.budget
    flags = None
    if len(n) > 1:
        flags = find_inversions(
            n, priced["throughput_per_s"], cost,
            worst_ratio=limits.worst_ratio, value_per_unit=limits.value, level=LEVEL,
        )  # fmt: skip
    own = _own_runs(outlook)
    points = own if runs is None else runs
    shares = paid_shares(outlook, priced)
    improvements = substitutions(outlook, now)
    tables = {
        "curve_point": curve_table(n, priced, LEVEL),
        "paid_share": share_table(n, shares),
        "crossing": share_crossings(n, shares),
        "loss_crossing": share_crossings(n, {k: v for k, v in shares.items() if k in LOSSES}),
        "elasticity": lever_elasticities(outlook, now, figure),
        "break_even": break_evens(outlook, now, figure, limit),
        "region": pl.concat(
            region(outlook, figure, lever, values=REGION_SCALES, limit=limit)
            for lever in REGION_LEVERS
        ),
        "substitution": improvements,
        "option": lay_out_options(Position(outlook, now, priced, figure, limit), improvements),
        "pilot": _pilots(outlook, cost, now, np.random.default_rng([seed, 1])),
        "driver": drivers_of(outlook.normals, cost[:, now]),
    }
    known = (outlook.priors, outlook.normals, tables["driver"])
    tables["risk"] = risk_register(Stake(priced, figure, limit, now, *known), limits)
    baselines = tuple(fit_baselines(points)) if points["n"].n_unique() > 1 else ()
    tables["baseline_point"] = baseline_table(baselines, own)
    return Advice(priced, figure, limit, flags, baselines, tables)


def _own_runs(outlook: Outlook) -> pl.DataFrame:
    """Give the forecast the form of measured runs."""
    steps = np.median(outlook.curve.step_s, axis=0).tolist()
    pairs = zip(outlook.designs, steps, strict=True)
    return runs_of([MeasuredStep(design, step) for design, step in pairs])


def share_table(n: NDArray[np.int64], shares: Mapping[str, Array]) -> pl.DataFrame:
    """Lay out shares of the paid time.

    Parameters
    ----------
    n : ndarray of int64, shape (n_size,)
        Accelerators.
    shares : mapping of str to ndarray of float, shape (n_size,)
        By what limits.

    Returns
    -------
    polars.DataFrame
        Table `PAID_SHARE`.
    """
    rows = [
        (int(size), name, float(share[place]))
        for place, size in enumerate(n)
        for name, share in shares.items()
    ]
    return PAID_SHARE.validate(pl.DataFrame(rows, schema=PAID_SHARE.schema, orient="row"))


def baseline_table(baselines: tuple[Baseline, ...], sizes: pl.DataFrame) -> pl.DataFrame:
    """Ask every baseline at every size.

    Parameters
    ----------
    baselines : tuple of Baseline
        Curves without structure.
    sizes : polars.DataFrame
        Table `RUN_POINT`; its step times are not looked at.

    Returns
    -------
    polars.DataFrame
        Table `BASELINE_POINT`; none of a curve that needs microbatches which the sizes do not tell.
    """
    frames = [
        pl.DataFrame({"baseline": one.name, "n": sizes["n"], "step_s": one.step_s(sizes)})
        for one in baselines
        if one.name != "affine" or not sizes["microbatches"].null_count()
    ]
    return BASELINE_POINT.validate(pl.concat([BASELINE_POINT.empty(), *frames]))


def _pilots(outlook: Outlook, cost: Array, now: int, rng: np.random.Generator) -> pl.DataFrame:
    """Imagine pilots on each size below the present one."""
    rows = []
    for place, n in enumerate(outlook.curve.n[:now].tolist()):
        shown = np.log(outlook.curve.step_s[:, place])
        pilot = value_of_pilot({"now": cost[:, now]}, shown, pilot_spread(outlook), rng)
        rows.append((n, PILOT_STEPS, pilot.width_ratio))
    return PILOT.validate(pl.DataFrame(rows, schema=PILOT.schema, orient="row"))


def pilot_spread(outlook: Outlook) -> float:
    """Say how much the mean step of a pilot is off by chance.

    Parameters
    ----------
    outlook : Outlook
        With the noise of its design.

    Returns
    -------
    float
        Standard deviation of its logarithm.
    """
    return float(max(outlook.priors["step_variation"].high, LEAST_VARIATION) / np.sqrt(PILOT_STEPS))
