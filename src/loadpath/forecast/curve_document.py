"""What every forecast's document tells of its curves: flags, bands, baselines, priors."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.forecast.advice import Advice
from loadpath.forecast.inversion import Limits
from loadpath.forecast.options import LEVEL
from loadpath.forecast.priors import Prior
from loadpath.forecast.worlds import Flag, band_of

__all__ = [
    "ONE_PERCENT",
    "SCHEMA",
    "TOLD",
    "band_at",
    "baseline_rows",
    "half_width",
    "inversion_keys",
    "median_at",
    "prior_rows",
    "searched_keys",
]

SCHEMA = "loadpath.forecast/1"
TOLD = (
    "crossing", "loss_crossing", "elasticity", "break_even", "region", "substitution", "option", "pilot",
    "risk",
)  # fmt: skip
"""Tables that the document repeats."""

ONE_PERCENT = 0.01
Array = NDArray[np.float64]


def half_width(advice: Advice, place: int) -> float:
    """Give half of the width of the band of the cost at one size, over its median.

    Parameters
    ----------
    advice : Advice
        With its quantities.
    place : int
        Which size.

    Returns
    -------
    float
        A share.
    """
    band = band_of(advice.priced[advice.figure][:, place], LEVEL)
    return (band.high - band.low) / (2 * band.median)


def median_at(priced: Mapping[str, Array], name: str, place: int) -> float | None:
    """Give the median of a quantity at one size.

    Parameters
    ----------
    priced : mapping of str to ndarray of float, shape (n_world, n_size)
        Quantities.
    name : str
        Which.
    place : int
        Which size.

    Returns
    -------
    float or None
        None where it is not known.
    """
    return float(np.median(priced[name][:, place])) if name in priced else None


def band_at(priced: Mapping[str, Array], name: str, place: int) -> dict[str, float] | None:
    """Give the band of a quantity at one size.

    Parameters
    ----------
    priced : mapping of str to ndarray of float, shape (n_world, n_size)
        Quantities.
    name : str
        Which.
    place : int
        Which size.

    Returns
    -------
    dict or None
        ``median, low, high``; None where it is not known.
    """
    return band_of(priced[name][:, place], LEVEL)._asdict() if name in priced else None


def inversion_keys(advice: Advice) -> dict[str, Any]:
    """Tell the three flags.

    Parameters
    ----------
    advice : Advice
        With its flags.

    Returns
    -------
    dict
        Each as a mapping, or None.
    """
    flags = advice.inversions
    names = ("average", "marginal", "throughput")
    return {name: _flag(None if flags is None else getattr(flags, name)) for name in names}


def _flag(flag: Flag | None) -> dict[str, Any] | None:
    return None if flag is None else flag._asdict()


def searched_keys(n: NDArray[np.int64], limits: Limits) -> dict[str, Any]:
    """Tell how far was looked for flags, and which were not assessed.

    Parameters
    ----------
    n : ndarray of int64, shape (n_size,)
        Accelerators, growing.
    limits : Limits
        What counts as too dear.

    Returns
    -------
    dict
        Sizes, limits, and what input is missing.
    """
    missing = ["marginal: --value, what a unit of work is worth"] if limits.value is None else []
    if len(n) < 2:
        missing = ["all: two sizes or more"]
    return {
        "n_least": int(n[0]),
        "n_most": int(n[-1]),
        "worst_ratio": limits.worst_ratio,
        "value_per_unit": limits.value,
        "not_assessed": missing,
    }


def baseline_rows(advice: Advice, *, measured: bool) -> list[dict[str, Any]]:
    """Tell the curves without structure.

    Parameters
    ----------
    advice : Advice
        With its baselines, the chosen one first.
    measured : bool
        Whether they are fitted to measured runs.

    Returns
    -------
    list of dict
        A row per curve.
    """
    steps = advice.tables["baseline_point"]
    return [
        {
            "name": one.name,
            "points": steps.filter(pl.col("baseline") == one.name).drop("baseline").to_dicts(),
            "coefficients": one.fit.coefficients.tolist(),
            "error_ratio": one.error_ratio if np.isfinite(one.error_ratio) else None,
            "fitted_to": "measured" if measured else "forecast",
            "chosen": place == 0,
        }
        for place, one in enumerate(advice.baselines)
    ]


def prior_rows(priors: Mapping[str, Prior], advice: Advice) -> list[dict[str, Any]]:
    """Tell the priors, those that drive the band first.

    Parameters
    ----------
    priors : mapping of str to Prior
        What stands for what is not known.
    advice : Advice
        With its drivers.

    Returns
    -------
    list of dict
        Those with a spread.
    """
    shares = dict(advice.tables["driver"].iter_rows())
    fields = ("name", "value", "low", "high", "unit", "about", "source")
    rows = [
        {field: getattr(prior, field) for field in fields}
        | {"share_ratio": shares.get(prior.name, 0.0)}
        for prior in priors.values()
        if prior.low < prior.high
    ]
    return sorted(rows, key=lambda row: (-row["share_ratio"], row["name"]))
