"""Designs side by side in the same worlds: what choosing wrongly costs, and what a pilot would save."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadpath.errors import UsageError
from loadpath.forecast.advice import PILOT_STEPS, pilot_spread
from loadpath.forecast.choice import compare_candidates, value_of_pilot
from loadpath.forecast.design import Design
from loadpath.forecast.options import LEVEL
from loadpath.forecast.outlook import Outlook, look_ahead, priced_of
from loadpath.forecast.sizes import default_sizes, goal_of, split_sizes
from loadpath.forecast.step_point import design_priors
from loadpath.forecast.worlds import band_of

__all__ = ["COMPARE_SCHEMA", "Candidate", "compare_designs"]

Array = NDArray[np.float64]
COMPARE_SCHEMA = "loadpath.compare/1"
FIGURES = ("job_cost", "cost_per_unit", "accelerator_s_per_unit")
"""What candidates are compared by, the first that all of them have."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A design to choose from.

    Attributes
    ----------
    name : str
        How the comparison calls it.
    design : Design
        At its own size.
    outlook : Outlook
        At the size of its pilot, where there is one, and at its own.
    priced : mapping of str to ndarray of float, shape (n_world, n_size)
        Every quantity in every world.
    """

    name: str
    design: Design
    outlook: Outlook
    priced: Mapping[str, Array]


def compare_designs(
    designs: Mapping[str, Design], *, seed: int = 0, n_world: int = 512, pilot: int | None = None
) -> dict[str, Any]:
    """Compare designs, each at its own size.

    Parameters
    ----------
    designs : mapping of str to Design
        Candidates by name.
    seed, n_world : int
        Of the worlds, which all candidates share.
    pilot : int, optional
        Accelerators of a pilot run; the fewest that a candidate can have, if left out.

    Returns
    -------
    dict
        Content of the comparison but for its command, inputs and versions.

    Raises
    ------
    UsageError
        If there are fewer than two, or they do different work or are priced in different currencies.

    Examples
    --------
    >>> from msgspec.structs import replace
    >>> from loadpath.forecast.design import Batch, Cluster, Transformer
    >>> small = Design(
    ...     name="small",
    ...     cluster=Cluster(device="H100-SXM5-80GB", accelerators=16),
    ...     batch=Batch(sequences=64),
    ...     model=Transformer(layers=4, hidden=512, heads=8, sequence=1024, vocabulary=50304),
    ... )
    >>> other = replace(small, cluster=Cluster(device="A100-SXM4-80GB", accelerators=16))
    >>> compare_designs({"a": small, "b": other}, n_world=64)["chosen"]
    'a'
    """
    _check(designs)
    found = [_candidate(name, one, (seed, n_world), pilot) for name, one in designs.items()]
    figure = next(name for name in FIGURES if all(name in one.priced for one in found))
    costs = {one.name: one.priced[figure][:, -1] for one in found}
    table = compare_candidates(costs, LEVEL)
    by_name = {one.name: one for one in found}
    tariff = found[0].outlook.tariff
    return {
        "schema": COMPARE_SCHEMA,
        "figure": figure,
        "currency": None if figure == FIGURES[-1] or tariff is None else tariff.currency,
        "unit": "cell" if found[0].design.stencil is not None else "token",
        "level_ratio": LEVEL,
        "seed": seed,
        "n_worlds": n_world,
        "basis": "modelled",
        "chosen": str(table["candidate"][0]),
        "candidates": [
            {**row, **_told(by_name[row["candidate"]])} for row in table.iter_rows(named=True)
        ],
        "pilot": [row for one in found for row in _pilot(one, costs, seed)],
        "not_shared": _not_shared(found),
    }


def _check(designs: Mapping[str, Design]) -> None:
    kinds = {one.stencil is not None for one in designs.values()}
    currencies = {one.prices.currency for one in designs.values() if one.prices is not None}
    problems = []
    if len(designs) < 2:
        problems.append("give two designs or more, each under a name of its own")
    if len(kinds) > 1:
        problems.append("a stencil and a transformer do not do the same work")
    if len(currencies) > 1:
        problems.append(f"prices are in {', '.join(sorted(currencies))}: give one currency")
    if problems:
        raise UsageError(f"comparison: {'; '.join(problems)}.")


def _candidate(name: str, design: Design, worlds: tuple[int, int], pilot: int | None) -> Candidate:
    own = design.cluster.accelerators
    smaller = [n for n in default_sizes(design) if n < own] if pilot is None else [pilot]
    sized, _ = split_sizes(design, [n for n in smaller if n < own], goal_of(design))
    first = [next(iter(sized.values()))] if sized else []
    outlook = look_ahead((*first, design), design_priors(design), design, worlds=worlds)
    return Candidate(name, design, outlook, priced_of(outlook))


def _told(one: Candidate) -> dict[str, Any]:
    point, forecast = one.outlook.points[-1], one.outlook.forecasts[-1]
    step = band_of(one.priced["step_s"][:, -1], LEVEL)
    job = one.priced.get("job_s")
    return {
        "n": one.design.cluster.accelerators,
        "device": one.design.cluster.device,
        "step_s": step._asdict(),
        "tokens_per_s": point.work / step.median,
        "mfu_ratio": forecast.mfu_ratio * forecast.step_s / point.step_s,
        "ettr_ratio": float(np.median(one.priced["ettr_ratio"][:, -1])),
        "job_s": None if job is None else float(np.median(job[:, -1])),
        "fits_memory": forecast.fits_memory,
    }


def _pilot(one: Candidate, costs: Mapping[str, Array], seed: int) -> list[dict[str, Any]]:
    """Imagine a pilot of one candidate."""
    if len(one.outlook.points) < 2:
        return []
    shown = np.log(one.outlook.curve.step_s[:, 0])
    rng = np.random.default_rng([seed, 2])
    found = value_of_pilot(costs, shown, pilot_spread(one.outlook), rng)
    return [
        {
            "candidate": one.name,
            "n": int(one.outlook.curve.n[0]),
            "n_steps": PILOT_STEPS,
            "value": found.value,
            "most": found.most,
            "width_ratio": found.width_ratio,
            "changes_ratio": found.changes_ratio,
        }
    ]


def _not_shared(found: Sequence[Candidate]) -> list[str]:
    """Name the priors that differ between candidates: only those can make one of them right."""
    values: dict[str, set[tuple[float, float, float]]] = {}
    for one in found:
        for prior in one.outlook.priors.values():
            values.setdefault(prior.name, set()).add((prior.value, prior.low, prior.high))
    return sorted(name for name, seen in values.items() if len(seen) > 1)
