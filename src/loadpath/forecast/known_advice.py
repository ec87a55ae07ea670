"""All that is told of a job without a design: curves, flags, baselines, levers where a record has them."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.forecast.advice import (
    LOSSES,
    PILOT,
    Advice,
    baseline_table,
    share_table,
)
from loadpath.forecast.baselines import Baseline
from loadpath.forecast.chances import Chances
from loadpath.forecast.drivers import drivers_of
from loadpath.forecast.inversion import Inversions, Limits, find_inversions
from loadpath.forecast.known_job import KnownJob, chances_of
from loadpath.forecast.levers import BREAK_EVEN, SUBSTITUTION
from loadpath.forecast.options import LEVEL, OPTION
from loadpath.forecast.risks import Stake, risk_register
from loadpath.forecast.scaling import curve_table, price_curve, share_crossings
from loadpath.forecast.substitution import substitute
from loadpath.forecast.viability import CUT, ELASTICITY
from loadpath.forecast.worlds import band_of

__all__ = ["STEPS", "advise_known", "priced_of_job"]

Array = NDArray[np.float64]
STEPS = "steps"
"""Part of the paid time in which steps run, where nothing tells what they spend it on."""
PERCENT = 1.01


def advise_known(job: KnownJob, limits: Limits, baselines: tuple[Baseline, ...]) -> Advice:
    """Work out all that is told of a job without a design.

    Parameters
    ----------
    job : KnownJob
        Its curve and worlds.
    limits : Limits
        What counts as too dear.
    baselines : tuple of Baseline
        Curves without structure, the chosen one first.

    Returns
    -------
    Advice
        What only a design tells (break-evens, regions, options, pilots) is empty.
    """
    chances = chances_of(job.priors, job.normals, job.curve.n)
    priced = _priced(job, chances)
    figure = "cost_per_unit" if job.tariff is not None else "accelerator_s_per_unit"
    cost = priced[figure]
    cheapest = float(np.median(cost, axis=0).min())
    limit = limits.worst_ratio * cheapest if limits.budget is None else limits.budget
    shares = _shares(job, priced["ettr_ratio"])
    tables = {
        "curve_point": curve_table(job.curve.n, priced, LEVEL),
        "paid_share": share_table(job.curve.n, shares),
        "crossing": share_crossings(job.curve.n, shares),
        "loss_crossing": share_crossings(
            job.curve.n, {name: share for name, share in shares.items() if name in LOSSES}
        ),
        "elasticity": _elasticities(job, chances, figure),
        "substitution": _substitutions(job, priced["throughput_per_s"]),
        "driver": drivers_of(job.normals, cost[:, job.now]),
        "baseline_point": baseline_table(baselines, job.sizes),
        **{schema.name: schema.empty() for schema in (BREAK_EVEN, OPTION, PILOT)},
        "region": CUT.empty(),
    }
    stake = Stake(priced, figure, limit, job.now, job.priors, job.normals, tables["driver"])
    tables["risk"] = risk_register(stake, limits)
    return Advice(priced, figure, limit, _flags(job, priced, cost, limits), baselines, tables)


def priced_of_job(job: KnownJob) -> dict[str, Array]:
    """Work out every quantity of a job without a design.

    Parameters
    ----------
    job : KnownJob
        Its curve and worlds.

    Returns
    -------
    dict of str to ndarray of float, shape (n_world, n_size)
        As `price_curve` does, and ``accelerator_s_per_unit``.
    """
    return _priced(job, chances_of(job.priors, job.normals, job.curve.n))


def _priced(job: KnownJob, chances: Chances) -> dict[str, Array]:
    priced = price_curve(job.curve, job.tariff, chances=chances)
    return priced | {"accelerator_s_per_unit": job.curve.n / priced["throughput_per_s"]}


def _flags(
    job: KnownJob, priced: Mapping[str, Array], cost: Array, limits: Limits
) -> Inversions | None:
    if len(job.curve.n) < 2:
        return None
    return find_inversions(
        job.curve.n, priced["throughput_per_s"], cost,
        worst_ratio=limits.worst_ratio, value_per_unit=limits.value, level=LEVEL,
    )  # fmt: skip


def _shares(job: KnownJob, ettr_ratio: Array) -> dict[str, Array]:
    """Split the paid time by what limits steps, and failures."""
    ettr = np.median(ettr_ratio, axis=0)
    parts = dict(zip(job.curve.limitation, job.curve.share, strict=True))
    told = {name: np.round(share * ettr, 12) + 0.0 for name, share in parts.items()}
    return (told or {STEPS: ettr}) | {"failures": 1 - ettr}


def _elasticities(job: KnownJob, chances: Chances, figure: str) -> pl.DataFrame:
    """Say by how many percent the cost follows one percent of each lever."""
    place = job.now
    before = _priced(job, chances)[figure][:, place]
    rows = [(name, value, value, value) for name, value in job.elastic.items()]
    if job.elastic:
        failures = chances.failures
        more = dataclasses.replace(
            failures,
            per_node_day=failures.per_node_day * PERCENT,
            per_job_day=failures.per_job_day * PERCENT,
        )
        after = _priced(job, dataclasses.replace(chances, failures=more))[figure][:, place]
        rows.append(("failure_rate", *band_of(np.log(after / before) / np.log(PERCENT), LEVEL)))
    if job.elastic and job.tariff is not None:
        rows.append(("price", 1.0, 1.0, 1.0))
    return ELASTICITY.validate(pl.DataFrame(rows, schema=ELASTICITY.schema, orient="row"))


def _substitutions(job: KnownJob, speed: Array) -> pl.DataFrame:
    """Compare improvements at the present size with added accelerators."""
    n, rows = job.curve.n, []
    for words, ratio in job.improved.items():
        flag = substitute(n, speed, int(n[job.now]), speed[:, job.now] / ratio)
        added = (None, None, None) if flag is None else (flag.n, flag.low, flag.high)
        rows.append((words, int(n[job.now]), 1 / ratio - 1, *added, None))
    rows.sort(key=lambda row: (-row[2], row[0]))
    return SUBSTITUTION.validate(pl.DataFrame(rows, schema=SUBSTITUTION.schema, orient="row"))
