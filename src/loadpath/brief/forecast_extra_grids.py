"""Tables of the forecast's page that not every forecast has: risks, layouts, served requests."""

from collections.abc import Mapping
from typing import Any

from loadpath.brief.amounts import amount, cost_scale, duration, rounded
from loadpath.brief.forecast_cells import NONE, count, laid, number, ratio, seconds
from loadpath.brief.grid import Cell, Grid

__all__ = ["capacity_grid", "layout_grid", "refused_grid", "risk_grid", "serving_grid"]

Document = Mapping[str, Any]


def risk_grid(document: Document) -> Grid:
    """Lay out the risk register.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    Grid
        The dearest first.
    """
    rows = [
        (Cell(row["risk"]), ratio(row["likelihood_ratio"]), ratio(row["impact_ratio"]),
         number(row["impact"]), Cell(row["trigger"]), Cell(row["owner"]))
        for row in document["risk"]
    ]  # fmt: skip
    money = document["currency"] or "money"
    heads = ["risk", "in worlds", "a unit dearer by", f"for the job, {money}", "trigger", "owner"]
    looks = ("text", "number", "number", "number", "text", "text")
    return Grid(tuple(heads), looks, tuple(rows), 0)


def layout_grid(document: Document) -> Grid:
    """Lay out the best layouts of a search.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    Grid
        The best first; none without a search.
    """
    scale, words = cost_scale(document)
    found = document["search"] or {"layouts": []}
    figure = document["cost"]
    rows = [
        (*(count(row[name]) for name in ("accelerators", "tensor", "pipeline", "context", "expert",
                                         "chunks", "microbatch")),
         Cell(row["sharding"]), Cell(row["recompute"]), seconds(row["step_s"]), ratio(row["mfu_ratio"]),
         ratio(row["memory_ratio"]), amount(row[figure], scale),
         NONE if row["job_s"] is None else Cell(duration(row["job_s"]), row["job_s"]),
         Cell("yes" if row["within_budget"] else "no"))
        for row in found["layouts"]
    ]  # fmt: skip
    heads = ["accelerators", "tensor", "stages", "context", "expert", "chunks", "microbatch", "sharding",
             "recompute", "step", "MFU", "memory", words, "job", "within bounds"]  # fmt: skip
    return laid(heads, rows, 0)


def refused_grid(document: Document) -> Grid:
    """Lay out why layouts were not timed.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    Grid
        The most frequent first.
    """
    found = document["search"] or {"refused": []}
    rows = [
        (Cell(row["place"]), Cell(row["example"]), count(row["count"])) for row in found["refused"]
    ]
    return laid(["at fault", "the first of them", "layouts"], rows, 2)


def capacity_grid(document: Document) -> Grid:
    """Lay out what each width keeps up with.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    Grid
        A row per width; none without requests.
    """
    found = document["serving"] or {"capacity": []}
    rows = [
        (count(row["tensor"]), count(row["replicas"]), number(row["requests_per_s"]),
         number(row["requests_low_per_s"]), number(row["requests_high_per_s"]),
         number(row["accelerator_s_per_million"]), number(row["cost_per_million"]))
        for row in found["capacity"]
    ]  # fmt: skip
    money = document["currency"] or "money"
    heads = ["width", "replicas", "requests/s kept up with", "at least", "at most",
             "accelerator-seconds per million tokens", f"{money} per million"]  # fmt: skip
    return laid(heads, rows, 0)


def serving_grid(document: Document) -> Grid:
    """Lay out tails and prices by width and load.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    Grid
        A row per width and load; none without requests.
    """
    found = document["serving"] or {"points": []}
    rows = [
        (count(row["tensor"]), number(row["requests_per_s"]), seconds(row["ttft_p50_s"]),
         seconds(row["ttft_p99_s"]), seconds(row["ttft_p99_low_s"]), seconds(row["ttft_p99_high_s"]),
         seconds(row["tpot_p99_s"]), seconds(row["tpot_p99_low_s"]), seconds(row["tpot_p99_high_s"]),
         ratio(row["good_ratio"]), _good(row))
        for row in found["points"]
    ]  # fmt: skip
    heads = ["width", "requests/s", "first token, half", "99 in 100", "at least", "at most",
             "between tokens, 99 in 100", "at least", "at most", "promises kept",
             f"{document['currency'] or 'accelerator-seconds'} per million good"]  # fmt: skip
    return laid(heads, rows, 0)


def _good(row: Mapping[str, Any]) -> Cell:
    """Price of a million tokens of requests that keep the promises; of all where there are no prices."""
    if row["cost_per_million"] is not None:
        return number(row["cost_per_good_million"])
    return Cell(rounded(row["accelerator_s_per_million"]), row["accelerator_s_per_million"])
