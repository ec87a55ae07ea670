"""The four figures under the verdict of a forecast: cost, inversion, time, certainty."""

from collections.abc import Mapping
from typing import Any

from loadpath.brief.amounts import amount, cost_scale, duration, rounded, within
from loadpath.brief.cards import Card
from loadpath.brief.forecast_words import size
from loadpath.brief.grid import Cell
from loadpath.units import format_ratio, format_seconds

__all__ = ["forecast_cards"]

Document = Mapping[str, Any]


def forecast_cards(document: Document) -> tuple[Card, ...]:
    """Lay out the four figures under the verdict.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    tuple of Card
        What a unit costs, where that inverts, how long it takes, and how sure that is.
    """
    now = next(point for point in document["points"] if point["n"] == document["n_now"])
    return (_cost(document, now), _inversion(document), _time(now), _sure(document))


def _cost(document: Document, now: Mapping[str, Any]) -> Card:
    (scale, words), band = cost_scale(document), now[document["cost"]]
    edges = (
        amount(band["low"], scale),
        Cell(" to "),
        amount(band["high"], scale),
        Cell(f" {words}"),
    )
    notes: list[tuple[Cell, ...]] = [edges]
    if now["job_cost"] is not None:
        cost = Cell(f"{rounded(now['job_cost'])} {document['currency']}", now["job_cost"])
        notes.append((Cell("the whole job "), cost))
    return Card(f"Cost at {now['n']:,} accelerators", amount(band["median"], scale), tuple(notes))


def _inversion(document: Document) -> Card:
    searched, flag = document["inversion_searched"], document["inversion"]["average"]
    ratio = searched["worst_ratio"]
    times = Cell(f"{ratio:g}", ratio)
    policy = (Cell(f"a {document['unit']} over "), times, Cell(" times the cheapest"))
    if len(document["points"]) < 2:
        return Card(
            "Cost inverts beyond", Cell("not assessed"), ((Cell("one size was asked for"),),)
        )
    if flag is None:
        most = Cell(f"{searched['n_most']:,}", searched["n_most"])
        return Card("Cost inverts beyond", Cell("no size"), ((Cell("up to "), most), policy))
    high = (
        Cell(f"beyond {searched['n_most']:,}", searched["n_most"])
        if flag["high"] is None
        else size(flag["high"])
    )
    low = size(flag["low"])
    notes = (policy,) if low.text == high.text else ((low, Cell(" to "), high), policy)
    return Card("Cost inverts beyond", size(flag["n"]), notes)


def _time(now: Mapping[str, Any]) -> Card:
    step = now["step_s"]
    steps = (Cell("a step "), Cell(format_seconds(step["median"]), step["median"]))
    ettr = (
        Cell(format_ratio(now["ettr_ratio"]), now["ettr_ratio"]),
        Cell(" of the time counts (ETTR)"),
    )
    if now["job_s"] is None:
        return Card("A step takes", steps[1], (ettr,))
    return Card("The job takes", Cell(duration(now["job_s"]), now["job_s"]), (steps, ettr))


def _sure(document: Document) -> Card:
    calibration = document["calibration"]
    notes: list[tuple[Cell, ...]]
    if calibration is None:
        notes = [(Cell("no run was measured: priors alone"),)]
    else:
        error = Cell(within(calibration["error_ratio"]), calibration["error_ratio"])
        met = "recorded steps" if document["design"]["kind"] == "recorded" else "measured runs"
        notes = [(Cell(f"{met} are met within "), error)]
    if document["pilot"]:
        pilot = document["pilot"][0]
        notes.append(
            (
                Cell("a pilot on "),
                Cell(f"{pilot['n']:,}", pilot["n"]),
                Cell(" leaves "),
                Cell(format_ratio(pilot["width_ratio"]), pilot["width_ratio"]),
                Cell(" of it"),
            )
        )
    return Card(
        "Half of the band of the cost",
        Cell(format_ratio(document["band_ratio"]), document["band_ratio"]),
        tuple(notes),
        before="±",
    )
