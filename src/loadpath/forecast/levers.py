"""What could be changed about a design, and what each change does to cost and speed, by replay."""

from collections.abc import Callable, Mapping
from dataclasses import replace as changed_field

import numpy as np
import polars as pl
from msgspec.structs import replace
from numpy.typing import NDArray

from loadpath.forecast.chances import Chances
from loadpath.forecast.design import Design
from loadpath.forecast.outlook import Outlook, priced_of
from loadpath.forecast.priors import Prior
from loadpath.forecast.step import step_seconds
from loadpath.forecast.step_point import slowdown
from loadpath.forecast.substitution import buy_or_fix, substitute
from loadpath.forecast.viability import CUT, break_even, cut, elasticities
from loadpath.tables.schema import Column, TableSchema

__all__ = [
    "BREAK_EVEN",
    "IMPROVEMENTS",
    "LEVERS",
    "SUBSTITUTION",
    "between",
    "break_evens",
    "lever_elasticities",
    "levered",
    "levers_of",
    "pull_levers",
    "region",
    "substitutions",
]

Array = NDArray[np.float64]
LEVERS = (
    "device_speed",
    "memory_bandwidth",
    "link_bandwidth",
    "network_bandwidth",
    "latency",
    "noise",
    "failure_rate",
    "price",
)
"""Scales of a design, 1 as it is: of rates and prices, of latencies, of what varies and fails."""

IMPROVEMENTS: dict[str, dict[str, float]] = {
    "links inside a node twice as fast": {"link_bandwidth": 2.0},
    "network twice as fast": {"network_bandwidth": 2.0},
    "half the latency": {"latency": 0.5},
    "devices a tenth faster": {"device_speed": 1.1},
    "memory a tenth faster": {"memory_bandwidth": 1.1},
    "half the failures": {"failure_rate": 0.5},
    "no noise, equal devices": {"noise": 0.0},
}
"""Improvements that are compared with added accelerators."""

WORSE = {
    "device_speed": -1,
    "memory_bandwidth": -1,
    "link_bandwidth": -1,
    "network_bandwidth": -1,
    "latency": 1,
    "noise": 1,
    "failure_rate": 1,
    "price": 1,
}
"""Which way each scale makes a job dearer."""

FARTHEST, N_WALKED = 64.0, 19
N_FINER = 200
RELIABILITY = 0.9
"""Share of the worlds in which a deadline is to be met."""

SUBSTITUTION = TableSchema(
    "substitution",
    "an improvement, beside the accelerators that would have to be added to do as much",
    (
        Column("improvement", pl.String, "what would be improved at the present size"),
        Column("n_now", pl.Int64, "accelerators of the present size"),
        Column("gain_ratio", pl.Float64, "work per second gained: half of the worlds gain less"),
        Column("n_added", pl.Float64, "accelerators to add instead; none do where empty",
               nullable=True),
        Column("n_added_low", pl.Float64, "lower edge of the band", nullable=True),
        Column("n_added_high", pl.Float64, "upper edge; empty beyond the sizes", nullable=True),
        Column("worth", pl.Float64, "most the improvement may cost for the whole job, so that adding is "
               "no cheaper; empty where adding does not do it, or without prices and steps",
               nullable=True),
    ),
)  # fmt: skip

BREAK_EVEN = TableSchema(
    "break_even",
    "how far one thing may get worse before a unit of work costs more than the limit",
    (
        Column("lever", pl.String, "what gets worse"),
        Column("times", pl.Float64, "how many times worse where half of the worlds have passed the "
               "limit, 1 where they have as it is; empty: not within 64 times", nullable=True),
        Column("times_low", pl.Float64, "lower edge of the band", nullable=True),
        Column("times_high", pl.Float64, "upper edge; empty beyond 64 times", nullable=True),
        Column("likelihood_ratio", pl.Float64, "share of the worlds that pass it within 64 times"),
    ),
)  # fmt: skip


def levered(design: Design, scales: Mapping[str, float]) -> tuple[Design, dict[str, float]]:
    """Change rates and latencies of a design.

    Parameters
    ----------
    design : Design
        A sound design.
    scales : mapping of str to float
        Keys of `LEVERS`.

    Returns
    -------
    Design
        With other latencies of its tiers.
    dict of str to float
        Scales of priors.
    """
    priors = {
        "sustained_ratio": scales.get("device_speed", 1.0),
        "memory_ratio": scales.get("memory_bandwidth", 1.0),
        "link_ratio": scales.get("link_bandwidth", 1.0),
        "network_ratio": scales.get("network_bandwidth", 1.0),
        "device_spread": scales.get("noise", 1.0),
        "pass_variance": scales.get("noise", 1.0) ** 2,
    }
    latency = scales.get("latency", 1.0)
    priors |= dict.fromkeys(("link_latency", "network_latency", "collective_latency"), latency)
    tiers = tuple(
        tier if tier.latency is None else replace(tier, latency=tier.latency * latency)
        for tier in design.cluster.tiers
    )
    return replace(design, cluster=replace(design.cluster, tiers=tiers)), priors


def pull_levers(
    outlook: Outlook, place: int, figure: str
) -> tuple[Callable[[Mapping[str, float]], Array], dict[str, float]]:
    """Give a figure at one size as a function of the levers, in the sampled worlds.

    Parameters
    ----------
    outlook : Outlook
        Curves and chances.
    place : int
        Which of its sizes.
    figure : str
        A key of what `priced_of` returns.

    Returns
    -------
    outcome : callable of mapping to ndarray of float, shape (n_world,)
        Each call replays the design as changed.
    at : dict of str to float
        The levers as they are: all 1.
    """
    design = outlook.designs[place]
    before = step_seconds(design, {})

    def outcome(scales: Mapping[str, float]) -> Array:
        other, factors = levered(design, scales)
        values = {name: outlook.priors[name].value * by for name, by in factors.items()}
        ratio = step_seconds(other, values) / before * _noisier(outlook, place, scales)
        curve = outlook.curve
        power = None if curve.power_w is None else curve.power_w[:, [place]]
        one = changed_field(
            curve, n=curve.n[[place]], step_s=curve.step_s[:, [place]] * ratio,
            work=curve.work[[place]], power_w=power, share=curve.share[:, [place]],
        )  # fmt: skip
        scaled = changed_field(outlook, curve=one, chances=_scaled(outlook.chances, place, scales))
        return priced_of(scaled)[figure][:, 0]

    return outcome, dict.fromkeys(LEVERS, 1.0)


def _noisier(outlook: Outlook, place: int, scales: Mapping[str, float]) -> float:
    variation: Prior = outlook.priors["step_variation"]
    design, share = outlook.designs[place], outlook.points[place].noise_share
    after, before = (
        slowdown(design, variation.value * by, share) for by in (scales.get("noise", 1.0), 1.0)
    )
    return after / before


def _scaled(chances: Chances, place: int, scales: Mapping[str, float]) -> Chances:
    by, rent = scales.get("failure_rate", 1.0), scales.get("price", 1.0)
    failures = chances.failures
    rarer = changed_field(
        failures, per_node_day=failures.per_node_day * by, per_job_day=failures.per_job_day * by
    )
    here = chances.at_place(place)
    return changed_field(here, failures=rarer, rent_ratio=here.rent_ratio * rent)


def lever_elasticities(outlook: Outlook, place: int, figure: str) -> pl.DataFrame:
    """Say by how many percent a figure follows one percent of each lever.

    Parameters
    ----------
    outlook : Outlook
        Curves and chances.
    place : int
        Which of its sizes.
    figure : str
        A key of what `priced_of` returns.

    Returns
    -------
    polars.DataFrame
        Table `ELASTICITY`; stability is what ``noise`` scales.
    """
    outcome, at = pull_levers(outlook, place, figure)
    return elasticities(outcome, at, levers_of(outlook))


def levers_of(outlook: Outlook) -> tuple[str, ...]:
    """List what can be changed: all of `LEVERS`, but for a price that is not there.

    Parameters
    ----------
    outlook : Outlook
        Curves and chances.

    Returns
    -------
    tuple of str
        Keys of `LEVERS`.
    """
    return tuple(name for name in LEVERS if name != "price" or outlook.tariff is not None)


def break_evens(outlook: Outlook, place: int, figure: str, limit: float) -> pl.DataFrame:
    """Find how far each lever may get worse before a figure passes its limit.

    Parameters
    ----------
    outlook : Outlook
        Curves and chances.
    place : int
        Which of its sizes.
    figure : str
        A key of what `priced_of` returns.
    limit : float
        Worlds at or below it are viable.

    Returns
    -------
    polars.DataFrame
        Table `BREAK_EVEN`, in the order of `LEVERS`; no price where there is none.
    """
    outcome, _ = pull_levers(outlook, place, figure)
    walked = np.geomspace(1.0, FARTHEST, N_WALKED).tolist()
    rows = []
    for name in levers_of(outlook):

        def worse(times: Mapping[str, float]) -> Array:
            return outcome({key: by ** WORSE[key] for key, by in times.items()})

        flag = break_even(worse, {name: 1.0}, name, walked, limit=limit)
        share = float(np.mean(worse({name: walked[-1]}) > limit))
        found = (None, None, None) if flag is None else (flag.n, flag.low, flag.high)
        rows.append((name, *found, share if flag is None else flag.likelihood_ratio))
    return BREAK_EVEN.validate(pl.DataFrame(rows, schema=BREAK_EVEN.schema, orient="row"))


def region(
    outlook: Outlook, figure: str, name: str, *, values: tuple[float, ...], limit: float
) -> pl.DataFrame:
    """Say where a figure stays within its limit, over sizes and one lever.

    Parameters
    ----------
    outlook : Outlook
        Curves and chances.
    figure : str
        A key of what `priced_of` returns.
    name : str
        The lever.
    values : tuple of float
        Its scales.
    limit : float
        Worlds at or below it are viable.

    Returns
    -------
    polars.DataFrame
        Table `CUT`: value is the size, other value the scale.
    """
    frames = []
    for place, n in enumerate(outlook.curve.n.tolist()):
        outcome, at = pull_levers(outlook, place, figure)
        frames.append(
            cut(outcome, at, name, values, limit=limit).select(
                pl.lit(f"n x {name}").alias("parameter"),
                pl.lit(float(n)).alias("value"),
                pl.col("value").alias("other_value"),
                *CUT.schema.keys() - {"parameter", "value", "other_value"},
            )
        )
    return CUT.validate(pl.concat([frame.select(CUT.schema.keys()) for frame in frames]))


def substitutions(outlook: Outlook, place: int) -> pl.DataFrame:
    """Compare improvements at the present size with added accelerators.

    Parameters
    ----------
    outlook : Outlook
        Curves and chances.
    place : int
        The present size.

    Returns
    -------
    polars.DataFrame
        Table `SUBSTITUTION`, the largest gain first.
    """
    priced = priced_of(outlook)
    speed, n = priced["throughput_per_s"], outlook.curve.n
    outcome, at = pull_levers(outlook, place, "throughput_per_s")
    rows = []
    for words, scales in IMPROVEMENTS.items():
        improved = outcome({**at, **scales})
        flag = substitute(n, speed, int(n[place]), improved)
        added = (None, None, None) if flag is None else (flag.n, flag.low, flag.high)
        gain = float(np.median(improved / speed[:, place])) - 1
        worth = _worth(outlook, place, scales, priced)
        rows.append((words, int(n[place]), gain, *added, worth))
    rows.sort(key=lambda row: (-row[2], row[0]))
    return SUBSTITUTION.validate(pl.DataFrame(rows, schema=SUBSTITUTION.schema, orient="row"))


def _worth(
    outlook: Outlook, place: int, scales: Mapping[str, float], priced: Mapping[str, Array]
) -> float | None:
    """Give the price of an improvement at which adding accelerators is as cheap."""
    if "job_cost" not in priced:
        return None
    figures = {}
    for figure in ("job_s", "job_cost"):
        outcome, at = pull_levers(outlook, place, figure)
        figures[figure] = outcome({**at, **scales})[:, None]
    deadline = float(np.quantile(figures["job_s"], RELIABILITY, method="higher"))
    n = outlook.curve.n[place:].astype(np.float64)
    finer = np.geomspace(n[0], n[-1], N_FINER) if len(n) > 1 else n
    plain = tuple(between(n, priced[name][:, place:], finer) for name in figures)
    fixed = tuple(np.tile(values, len(finer)) for values in figures.values())
    found = buy_or_fix(
        finer, (plain[0], plain[1]), (fixed[0], fixed[1]), deadline_s=deadline, fix_price=0.0
    )
    if found.buy_cost is None or found.fix_cost is None:
        return None
    return found.buy_cost - found.fix_cost


def between(n: Array, values: Array, finer: Array) -> Array:
    """Read sampled values between sizes, over logarithms.

    Parameters
    ----------
    n : ndarray of float, shape (n_size,)
        Accelerators, growing.
    values : ndarray of float, shape (n_world, n_size)
        Above 0.
    finer : ndarray of float, shape (n_finer,)
        Accelerators at which values are wanted.

    Returns
    -------
    ndarray of float, shape (n_world, n_finer)
        Values.
    """
    logs = np.log(values)
    rows = [np.interp(np.log(finer), np.log(n), row) for row in logs]
    return np.asarray(np.exp(rows), dtype=np.float64)
