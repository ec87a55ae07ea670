"""Tables of the forecast's page, laid out from forecast.json."""

from collections.abc import Mapping
from typing import Any

from loadpath.brief.amounts import (
    amount,
    cost_scale,
    duration,
    faster,
    large,
    plural,
    power,
    to_add,
)
from loadpath.brief.forecast_cells import NONE, count, known, laid, number, ratio, seconds
from loadpath.brief.forecast_words import LEVER_WORDS
from loadpath.brief.grid import Cell, Grid
from loadpath.units import format_number

__all__ = [
    "baseline_grid",
    "break_even_grid",
    "memory_grid",
    "option_grid",
    "point_grid",
    "prior_grid",
    "region_grid",
    "run_grid",
    "substitution_grid",
]

Document = Mapping[str, Any]
_GB = 1e9
_MOST_PRIORS = 24


def _cost(value: float | None, scale: float) -> Cell:
    return NONE if value is None else amount(value, scale)


def point_grid(document: Document) -> Grid:
    """Lay out the sizes.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    Grid
        A row per size.
    """
    scale, words = cost_scale(document)
    rows = [
        (
            count(p["n"]), seconds(p["step_s"]["median"]), seconds(p["step_s"]["low"]),
            seconds(p["step_s"]["high"]), Cell(large(p["tokens_per_s"]), p["tokens_per_s"]), ratio(p["mfu_ratio"]),
            ratio(p["ettr_ratio"]), _cost(p[document["cost"]]["median"], scale),
            _cost(p[document["cost"]]["low"], scale), _cost(p[document["cost"]]["high"], scale),
            NONE if p["job_s"] is None else Cell(duration(p["job_s"]), p["job_s"]),
            number(p["job_cost"]),
            NONE if p["power_w"] is None else Cell(power(p["power_w"]), p["power_w"]),
            Cell({None: "—", True: "yes", False: "no"}[p["fits_memory"]]),
        )
        for p in document["points"]
    ]  # fmt: skip
    heads = ["accelerators", "step", "at least", "at most", f"{plural(document['unit'])} a second", "MFU", "ETTR",
             words, "at least", "at most", "job", "job costs", "power", "fits memory"]  # fmt: skip
    return known(laid(heads, rows, 0))


def option_grid(document: Document) -> Grid:
    """Lay out the options: as designed, cheapest, fix, buy.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    Grid
        A row per option.
    """
    scale, words = cost_scale(document)
    rows = [
        (
            Cell(row["option"]), Cell(f"{row['n']:,.0f}", row["n"]), _cost(row["cost"], scale),
            _cost(row["cost_low"], scale), _cost(row["cost_high"], scale),
            NONE if row["job_s"] is None else Cell(duration(row["job_s"]), row["job_s"]),
            ratio(row["over_limit_ratio"]), number(row["worth"]),
        )
        for row in document["option"]
    ]  # fmt: skip
    heads = [
        "option",
        "accelerators",
        words,
        "at least",
        "at most",
        "job",
        "too dear in",
        "pays below",
    ]
    return laid(heads, rows)


def substitution_grid(document: Document) -> Grid:
    """Lay out improvements beside added accelerators.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    Grid
        A row per improvement.
    """
    rows = [
        (
            Cell(row["improvement"]), Cell(faster(row["gain_ratio"]), row["gain_ratio"]),
            Cell("no number does") if row["n_added"] is None else _added(row["n_added"]),
            _added(row["n_added_low"]), _added(row["n_added_high"]), number(row["worth"]),
        )
        for row in document["substitution"]
    ]  # fmt: skip
    heads = ["improvement", "the job is", "accelerators to add instead", "at least", "at most",
             "may cost for the job"]  # fmt: skip
    return laid(heads, rows)


def _added(value: float | None) -> Cell:
    return NONE if value is None else Cell(to_add(value), value)


def break_even_grid(document: Document) -> Grid:
    """Lay out how far each thing may get worse.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    Grid
        The nearest first.
    """
    ordered = sorted(
        document["break_even"], key=lambda row: (row["times"] or float("inf"), row["lever"])
    )
    rows = [
        (
            Cell(LEVER_WORDS[row["lever"]]),
            Cell("not within 64") if row["times"] is None else Cell(f"{row['times']:.2f}", row["times"]),
            number(row["times_low"]), number(row["times_high"]), ratio(row["likelihood_ratio"]),
        )
        for row in ordered
    ]  # fmt: skip
    return laid(["what gets worse", "times", "at least", "at most", "in worlds"], rows)


def region_grid(document: Document, lever: str) -> Grid:
    """Lay out the share of worlds within the limit, over sizes and one lever.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.
    lever : str
        Such as ``network_bandwidth``.

    Returns
    -------
    Grid
        A row per size, a column per scale of the lever.
    """
    found = [row for row in document["region"] if row["parameter"] == f"n x {lever}"]
    scales = sorted({row["other_value"] for row in found})
    shares = {(row["value"], row["other_value"]): row["viable_ratio"] for row in found}
    rows = [
        (count(int(n)), *(ratio(shares[n, scale]) for scale in scales))
        for n in sorted({row["value"] for row in found})
    ]
    return laid(["accelerators", *(f"x {scale:g}" for scale in scales)], rows, 0)


def baseline_grid(document: Document) -> Grid:
    """Lay out the curves without structure.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    Grid
        The best first.
    """
    rows = [
        (
            Cell(one["name"]), Cell(one["fitted_to"]),
            Cell(", ".join(f"{value:.4g}" for value in one["coefficients"])),
            Cell("unknown") if one["error_ratio"] is None else ratio(one["error_ratio"]),
        )
        for one in document["baselines"]
    ]  # fmt: skip
    return laid(
        ["baseline", "fitted to", "coefficients", "mean error on what is left out"], rows, 3
    )


def run_grid(document: Document) -> Grid:
    """Lay out measured runs beside the forecast.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    Grid
        A row per run.
    """
    calibrated = (document["calibration"] or {}).get("points", [])
    kinds = {"recorded": "recorded", "measured": "fitted"}
    set_by = kinds.get(document["design"]["kind"], "set priors")
    rows = [
        (Cell(set_by), count(run["n"]), seconds(run["step_s"]), NONE,
         ratio(run["error_ratio"]), NONE, NONE)
        for run in calibrated
    ] + [
        (Cell("held against"), count(run["n"]), seconds(run["step_s"]), seconds(run["forecast_s"]),
         ratio(run["error_ratio"]), ratio(run["baseline_error_ratio"]),
         Cell("yes" if run["in_band"] else "no"))
        for run in document["measured"]
    ]  # fmt: skip
    heads = ["run", "accelerators", "measured", "forecast", "error", "baseline", "in the band"]
    return known(laid(heads, rows))


def prior_grid(document: Document) -> Grid:
    """Lay out the priors, those that drive the band first.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    Grid
        A row per prior; the last ones may be in forecast.json alone.
    """
    rows = [
        (
            Cell(row["name"]), Cell(row["about"]), Cell(row["source"]), Cell(row["unit"]),
            *(Cell(format_number(row[edge]), row[edge]) for edge in ("value", "low", "high")),
            ratio(row["share_ratio"]),
        )
        for row in document["priors"]
    ]  # fmt: skip
    heads = ["prior", "what it is", "source", "unit", "value", "low", "high", "drives"]
    grid = laid(heads, rows[:_MOST_PRIORS], 4)
    looks = ("name", *grid.looks[1:])
    return Grid(grid.headings, looks, grid.rows, max(0, len(rows) - _MOST_PRIORS))


def memory_grid(document: Document) -> Grid:
    """Lay out what the fullest accelerator holds.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    Grid
        One row, or none where the design does not say.
    """
    held = document["memory"]
    if held is None:
        return laid(["memory"], [])
    names = ("weights", "gradients", "optimiser", "activations", "total", "room")
    cells = [Cell(f"{held[f'{name}_bytes'] / _GB:.1f} GB", held[f"{name}_bytes"]) for name in names]
    return laid(names, [cells], 0)
