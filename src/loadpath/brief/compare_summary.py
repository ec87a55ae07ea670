"""Candidates side by side in a terminal."""

from collections.abc import Mapping
from typing import Any

from loadpath.brief.amounts import duration, rounded
from loadpath.brief.compare_words import compare_headline, compare_scale, loss_words
from loadpath.brief.lines import N_LINES, entry
from loadpath.brief.visible import visible
from loadpath.units import format_ratio, format_seconds

__all__ = ["render_comparison"]

Document = Mapping[str, Any]
_NAME, _MOST = 20, 8


def render_comparison(document: Document, *, briefing_path: str | None = None) -> str:
    """Write a comparison for a terminal.

    Parameters
    ----------
    document : mapping
        Schema ``loadpath.compare/1``.
    briefing_path : str, optional
        Where its page lies.

    Returns
    -------
    str
        At most 25 lines of at most 80 columns, control characters spelled out.
    """
    rows = document["candidates"]
    scale, words = compare_scale(document)
    verdict = compare_headline(document) + loss_words(document)
    lines = entry("Verdict", verdict, 3)
    lines += entry("Basis", _basis(document), 2)
    lines += entry("Assumed", "; ".join(document["assumptions"][1:]), 3)
    lines.append(
        f"{'candidate':<{_NAME}} {'N':>7} {'step':>9} {'expected':>9} {'low':>9} {'high':>9} {'loss':>9}"
    )
    for row in rows[:_MOST]:
        figures = (row[name] * scale for name in ("mean", "low", "high", "expected_loss"))
        step = format_seconds(row["step_s"]["median"])
        told = " ".join(f"{rounded(value):>9}" for value in figures)
        lines.append(
            f"{visible(row['candidate'], limit=_NAME):<{_NAME}} {row['n']:>7,} {step:>9} {told}"
        )
    lines += entry(
        "Cost",
        f"{words}; expected: the mean; loss: what choosing it costs more than the best, on average",
        2,
    )
    lines += entry("Jobs", _jobs(rows), 2)
    for row in document["pilot"][:4]:
        lines += entry("Pilot", _pilot(row, scale, words), 2)
    last = [] if briefing_path is None else entry("Briefing", visible(briefing_path), 1)
    return "\n".join([*lines[: N_LINES - len(last)], *last]) + "\n"


def _basis(document: Document) -> str:
    differ = ", ".join(document["not_shared"]) or "none"
    return (
        f"{document['basis']} in {document['n_worlds']:,} worlds that all share; priors that differ: "
        f"{differ}"
    )


def _jobs(rows: list[Mapping[str, Any]]) -> str:
    told = [
        f"{row['candidate']} {duration(row['job_s'])}" for row in rows if row["job_s"] is not None
    ]
    return ", ".join(told[:_MOST])


def _pilot(row: Mapping[str, Any], scale: float, words: str) -> str:
    worth = "would not change the choice"
    if row["changes_ratio"]:
        worth = f"are worth at most {rounded(row['value'] * scale)} of {rounded(row['most'] * scale)} {words}"
    return (
        f"{row['n_steps']} steps of {row['candidate']} on {row['n']:,} {worth}; leave "
        f"{format_ratio(row['width_ratio'])} of the band"
    )
