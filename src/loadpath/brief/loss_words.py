"""Whose fault the loss is, in plain words: design, what all share, slow parts, noise."""

from collections.abc import Iterator, Mapping
from typing import Any

from loadpath.brief.grid import Cell, ratio_cell, seconds_cell

__all__ = ["design_words", "fault"]

HALF = 0.5
LEAST_S = 1e-6
"""Losses that clocks do not tell are not told."""


def design_words(job: Mapping[str, Any]) -> dict[str, str]:
    """Name the losses that are by design, and no part's fault.

    Parameters
    ----------
    job : mapping
        ``job`` of audit.json: without stages it is threads that share work unequally.

    Returns
    -------
    dict of str to str
        Words for the losses ``stages`` and ``workload``.
    """
    several = job.get("stages", 1) > 1
    return {
        "stages": "unequal stages" if several else "unequal shares of threads",
        "workload": "uneven microbatches",
    }


def fault(section: Mapping[str, Any], job: Mapping[str, Any]) -> Iterator[Cell]:
    """Say whose fault the loss is, the largest part first.

    Parameters
    ----------
    section : mapping
        ``stability`` of audit.json.
    job : mapping
        Its ``job``.

    Yields
    ------
    Cell
        Words and figures.
    """
    share, loss = section["emergent_share_ratio"], section["loss"]
    parts = _design(loss, job)
    leads = sum(value for _, value in parts) > _other(loss)
    yield from _together(loss)
    if leads:
        yield Cell("Mostly how work is shared out, no part's fault:")
        yield from _said(parts, ".")
    yield Cell(("" if leads else "Of the rest: ") if _common(loss) else "")
    yield Cell(" Of the rest: " if leads else "")
    yield from _shared(share, loss)
    if parts and not leads:
        yield from _said(parts, " apart from that.")


def _shared(share: Mapping[str, Any], loss: Mapping[str, Any]) -> Iterator[Cell]:
    """Split what is left between slow parts and noise."""
    if share["value"] is None:
        yield Cell(f"{share['basis'].capitalize()}.")
        return
    yield Cell(_blame(share))
    yield from (Cell(" Slow ranks and links cost "), *_told(loss["component"]), Cell(", "))
    yield Cell("noise among ranks that are alike ")
    yield from (*_told(loss["emergent"]), Cell("; "))
    yield from (ratio_cell(share["value"]), Cell(" of that loss is emergent ("))
    yield from (ratio_cell(share["low"]), Cell(" to "), ratio_cell(share["high"]), Cell(")."))


def _told(entry: Mapping[str, Any]) -> tuple[Cell, ...]:
    """Say what a loss costs a step, if its interval leaves 0 out."""
    low = entry.get("low")
    if entry["value"] <= 0 or (low is not None and low <= 0):
        return (Cell("nothing that is told from 0"),)
    return seconds_cell(entry["value"]), Cell(" a step")


def _blame(share: Mapping[str, Any]) -> str:
    if share["high"] < HALF:
        return "This is a component fault: parts that are persistently slow make most of the loss."
    if share["low"] > HALF:
        return (
            "The loss is emergent: no part is to blame, ranks wait for whoever is slow this time."
        )
    larger = "Slow parts make" if share["value"] < HALF else "Noise makes"
    return (
        f"{larger} most of the recorded loss, but steps differ so that the interval leaves it open."
    )


def _together(loss: Mapping[str, Any]) -> Iterator[Cell]:
    """Loss that is no part's and no noise's: what all ranks take longer in the same steps."""
    found = {part: entry["value"] or 0.0 for part, entry in loss.items()}
    common = _common(loss)
    if not common:
        return
    most = common > found.get("component", 0.0) + found.get("emergent", 0.0)
    yield Cell("Mostly nobody's: all ranks are slow together. " if most else "In part nobody's. ")
    yield from (Cell("What all take longer in the same steps costs "), seconds_cell(common))
    yield Cell(" a step; no rank waits for another for it. ")


def _common(loss: Mapping[str, Any]) -> float:
    """Seconds a step that all ranks take longer in the same steps; 0 below what clocks tell."""
    value = (loss.get("common") or {}).get("value") or 0.0
    return value if value >= LEAST_S else 0.0


def _design(loss: Mapping[str, Any], job: Mapping[str, Any]) -> list[tuple[str, float]]:
    """List losses by design that are told from 0."""
    found = []
    for part, words in design_words(job).items():
        entry = loss.get(part)
        if entry and entry["low"] is not None and entry["low"] > 0 and entry["value"] >= LEAST_S:
            found.append((words, float(entry["value"])))
    return found


def _other(loss: Mapping[str, Any]) -> float:
    """Seconds a step that slow parts and noise cost."""
    values = (loss.get(part, {}).get("value") or 0.0 for part in ("component", "emergent"))
    return sum(max(0.0, value) for value in values)


def _said(parts: list[tuple[str, float]], end: str) -> Iterator[Cell]:
    """Say what each costs."""
    for place, (words, value) in enumerate(parts):
        lead = " and" if place else ""
        text = words if lead or end == "." else f"{words[:1].upper()}{words[1:]}"
        yield from (Cell(f"{lead} {text} cost "), seconds_cell(value), Cell(" a step"))
    yield Cell(end)
