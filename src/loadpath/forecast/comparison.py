"""Candidates side by side in the same worlds: what choosing wrongly costs, and what a pilot would save."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadpath.errors import UsageError
from loadpath.forecast.advice import PILOT_STEPS
from loadpath.forecast.candidates import Candidate, candidate_of_design
from loadpath.forecast.choice import compare_candidates, value_of_pilot
from loadpath.forecast.design import Design
from loadpath.forecast.options import LEVEL

__all__ = ["COMPARE_SCHEMA", "check_names", "compare", "compare_designs"]

Array = NDArray[np.float64]
COMPARE_SCHEMA = "loadpath.compare/1"
OF_JOB, OF_UNIT, OF_TIME = "job_cost", "cost_per_unit", "accelerator_s_per_unit"
FIGURES = (OF_JOB, OF_UNIT, OF_TIME)
"""What candidates are compared by, the first that all of them have."""
SHARED = "what nobody knows is the same for all candidates of one world; what is one's own differs"


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
        As of `compare`.

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
    worlds = (seed, n_world)
    found = [candidate_of_design(name, one, worlds, pilot) for name, one in designs.items()]
    return compare(found, worlds)


def compare(candidates: Sequence[Candidate], worlds: tuple[int, int]) -> dict[str, Any]:
    """Compare candidates that were sampled in the same worlds.

    Parameters
    ----------
    candidates : sequence of Candidate
        Two or more, each under a name of its own.
    worlds : (int, int)
        Seed of the worlds, and how many.

    Returns
    -------
    dict
        Content of the comparison but for its command, inputs and versions.

    Raises
    ------
    UsageError
        If there are fewer than two, or they do different work or are priced in different currencies.
    """
    _check(candidates)
    unit, factors = _units(candidates)
    figure = next(name for name in FIGURES if all(name in one.priced for one in candidates))
    costs = {
        one.name: one.priced[figure] * (1.0 if figure == OF_JOB else factor)
        for one, factor in zip(candidates, factors, strict=True)
    }
    by_name = {one.name: one for one in candidates}
    table = compare_candidates(costs, LEVEL)
    not_shared = _not_shared(candidates)
    about = {prior.name: prior.about for one in candidates for prior in one.priors.values()}
    return {
        "schema": COMPARE_SCHEMA,
        "figure": figure,
        "currency": None if figure == OF_TIME else candidates[0].currency,
        "unit": unit,
        "level_ratio": LEVEL,
        "seed": worlds[0],
        "n_worlds": worlds[1],
        "basis": " and ".join(sorted({one.told["basis"] for one in candidates})),
        "chosen": str(table["candidate"][0]),
        "candidates": [
            {**row, **by_name[row["candidate"]].told} for row in table.iter_rows(named=True)
        ],
        "pilot": [row for one in candidates for row in _pilot(one, costs, worlds[0])],
        "not_shared": not_shared,
        "about": {name: about[name] for name in not_shared},
        "assumptions": [
            SHARED,
            *_assumed(candidates, figure, unit),
            *_unpriced(candidates, figure),
        ],
    }


def check_names(names: Sequence[str]) -> None:
    """Refuse fewer than two candidates, or two of one name.

    Parameters
    ----------
    names : sequence of str
        Of the candidates.

    Raises
    ------
    UsageError
        If there is nothing to compare, or its parts could not be told apart.
    """
    if len(set(names)) < max(2, len(names)):
        raise UsageError("comparison: give two candidates or more, each under a name of its own.")


def _check(candidates: Sequence[Candidate]) -> None:
    check_names([one.name for one in candidates])
    kinds = {one.kind for one in candidates}
    currencies = {one.currency for one in candidates if one.currency is not None}
    problems = []
    if len(kinds) > 1 and any(one.per_microbatch is None for one in candidates):
        problems.append(f"{' and '.join(sorted(kinds))} do not do the same work")
    if len(currencies) > 1:
        problems.append(f"prices are in {', '.join(sorted(currencies))}: give one currency")
    if problems:
        raise UsageError(f"comparison: {'; '.join(problems)}.")


def _units(candidates: Sequence[Candidate]) -> tuple[str, list[float]]:
    """Count the work of all alike: in their own unit, or in microbatches where it differs."""
    if len({one.unit for one in candidates}) == 1:
        return candidates[0].unit, [1.0] * len(candidates)
    return "microbatch", [one.per_microbatch or 1.0 for one in candidates]


def _assumed(candidates: Sequence[Candidate], figure: str, unit: str) -> list[str]:
    if figure == OF_JOB:
        return ["the whole job of each candidate is worth as much"]
    if unit != "microbatch":
        return [f"a {unit} is worth as much of each candidate"]
    sizes = {one.per_microbatch for one in candidates if one.unit == "token"}
    tokens = ", ".join(f"{size:,.0f}" for size in sorted(filter(None, sizes)))
    told = f", of {tokens} tokens as designed" if tokens else ""
    return [f"a microbatch of each candidate is the same work{told}"]


def _unpriced(candidates: Sequence[Candidate], figure: str) -> list[str]:
    """Say what hours stand for where not every candidate has a price, and devices differ."""
    devices = {one.told["device"] or "recorded" for one in candidates}
    if figure != OF_TIME or len(devices) == 1:
        return []
    names = ", ".join(sorted(devices))
    return [
        f"an accelerator-hour costs as much of each candidate ({names}), for not all have a price"
    ]


def _pilot(one: Candidate, costs: Mapping[str, Array], seed: int) -> list[dict[str, Any]]:
    """Imagine a pilot of one candidate."""
    if one.pilot is None:
        return []
    rng = np.random.default_rng([seed, 2])
    found = value_of_pilot(costs, one.pilot.shown, one.pilot.spread, rng)
    return [
        {
            "candidate": one.name,
            "n": one.pilot.n,
            "n_steps": PILOT_STEPS,
            "accelerator_h": one.pilot.accelerator_h,
            "value": found.value,
            "most": found.most,
            "width_ratio": found.width_ratio,
            "changes_ratio": found.changes_ratio,
        }
    ]


def _not_shared(candidates: Sequence[Candidate]) -> list[str]:
    """Name the priors that differ between candidates: only those can make one of them right."""
    values: dict[str, set[tuple[float, float, float] | None]] = {}
    names = {prior.name for one in candidates for prior in one.priors.values()}
    for one in candidates:
        told = {prior.name: prior for prior in one.priors.values()}
        for name in names:
            prior = told.get(name)
            key = None if prior is None else (prior.value, prior.low, prior.high)
            values.setdefault(name, set()).add(key)
    return sorted(name for name, seen in values.items() if len(seen) > 1)
