"""The briefing of a comparison: one self-contained page, of the same look as that of an audit."""

from collections.abc import Mapping
from typing import Any

from loadpath.brief.amounts import amount, duration, large
from loadpath.brief.briefing import environment
from loadpath.brief.candidate_chart import candidate_chart
from loadpath.brief.cards import Card
from loadpath.brief.compare_words import (
    compare_answers,
    compare_headline,
    compare_scale,
    compare_summary_words,
)
from loadpath.brief.forecast_cells import NONE, count, laid, number, ratio, seconds
from loadpath.brief.grid import Cell, Grid
from loadpath.units import format_ratio

__all__ = ["render_comparison_page"]

Document = Mapping[str, Any]


def render_comparison_page(document: Document) -> str:
    """Write the page of a comparison without scripts or network.

    Parameters
    ----------
    document : mapping
        Schema ``loadpath.compare/1``.

    Returns
    -------
    str
        HTML, the same bytes for the same input.
    """
    page = {
        "document": document,
        "nothing": "None.",
        "headline": compare_headline(document),
        "summary": compare_summary_words(document),
        "answers": compare_answers(document),
        "cards": _cards(document),
        "figure": candidate_chart(document),
        "costs": _cost_grid(document),
        "jobs": _job_grid(document),
        "pilots": _pilot_grid(document),
    }
    return environment().get_template("compare.html").render(page) + "\n"


def _cards(document: Document) -> tuple[Card, ...]:
    scale, words = compare_scale(document)
    best, second = document["candidates"][:2]
    pilot = max((row["value"] for row in document["pilot"]), default=None)
    share = best["best_ratio"]
    worth, note = NONE, "no candidate can be run smaller"
    if pilot is not None:
        worth, note = amount(pilot, scale), "at best, its own cost not taken off"
    next_best = (Cell(f"{second['candidate']} costs least in "), ratio(second["best_ratio"]))
    band = (amount(best["low"], scale), Cell(" to "), amount(best["high"], scale))
    return (
        Card("Expected cost", amount(best["mean"], scale), (band, (Cell(words),))),
        Card("Costs least in", Cell(format_ratio(share), share), (next_best,), after="of the worlds"),
        Card("Choosing it wrongly costs", amount(best["expected_loss"], scale), ((Cell("on average"),),)),
        Card("A pilot saves", worth, ((Cell(note),),)),
    )  # fmt: skip


def _cost_grid(document: Document) -> Grid:
    scale, words = compare_scale(document)
    rows = [
        (Cell(row["candidate"]), *(amount(row[name], scale) for name in ("mean", "median", "low", "high")),
         ratio(row["best_ratio"]), amount(row["expected_loss"], scale))
        for row in document["candidates"]
    ]  # fmt: skip
    heads = [f"{words}:", "expected", "median", "low", "high", "costs least in", "loss"]
    return laid(heads, rows)


def _job_grid(document: Document) -> Grid:
    rows = [
        (Cell(row["candidate"]), Cell(row["basis"]), Cell(row["device"] or "as recorded"), count(row["n"]),
         seconds(row["step_s"]["median"]),
         Cell(large(row["tokens_per_s"]), row["tokens_per_s"]), ratio(row["mfu_ratio"]),
         ratio(row["ettr_ratio"]), _length(row["job_s"]))
        for row in document["candidates"]
    ]  # fmt: skip
    heads = ["candidate", "basis", "device", "accelerators", "step", "work/s",
             "MFU", "ETTR", "job"]  # fmt: skip
    return laid(heads, rows, 3)


def _length(job_s: float | None) -> Cell:
    return NONE if job_s is None else Cell(duration(job_s), job_s)


def _pilot_grid(document: Document) -> Grid:
    scale, words = compare_scale(document)
    rows = [
        (Cell(row["candidate"]), count(row["n"]), count(row["n_steps"]), number(row["accelerator_h"]), amount(row["value"], scale),
         amount(row["most"], scale), ratio(row["changes_ratio"]), ratio(row["width_ratio"]))
        for row in document["pilot"]
    ]  # fmt: skip
    heads = ["pilot of", "accelerators", "steps", "accelerator-hours", f"saves, {words}", "at most", "changes the choice",
             "leaves of the band"]  # fmt: skip
    return laid(heads, rows)
