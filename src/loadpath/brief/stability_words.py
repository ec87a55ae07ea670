"""Stability in plain words: whose fault the loss is, what delay becomes, what load does, what helps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from loadpath.brief.grid import Cell, Grid, ratio_cell, seconds_cell, shown
from loadpath.brief.help_words import help_words, noise_words
from loadpath.brief.loss_words import fault

__all__ = ["Answer", "stability_answers", "variance_grid", "vector_grid"]

_QUANTITIES = {
    "one_off_gain": "share of a one-off delay that reaches the end",
    "absorption_ratio": "share that the struck rank's own waiting swallows",
    "waiting_gain": "seconds that others wait for each second of delay",
    "noise_gain": "seconds of step for each second of a rank's noise",
    "noise_gain_independent": "the same if ranks' noise were independent",
    "emergent_share_ratio": "share of the loss that no slow part explains",
    "jensen_gap_ratio": "share of the step that steady work would return",
    "step_cv_ratio": "variation of step times",
    "step_p99_over_p50_ratio": "99th percentile over median of step times",
}
_PLAIN = ("waiting_gain", "noise_gain", "noise_gain_independent", "step_p99_over_p50_ratio")
_LOADS = {"transfers": "transfers", "launches": "launch delays"}
_HALF = 0.5
_RECORDED = ("recorded", 1.0)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to one question.

    Attributes
    ----------
    question : str
        What is asked.
    words : tuple of Cell
        The answer; numbers carry their exact value.
    """

    question: str
    words: tuple[Cell, ...]


def stability_answers(
    document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]
) -> tuple[Answer, ...]:
    """Answer what a person asks of a job's stability.

    Parameters
    ----------
    document : mapping
        Content of audit.json; empty answers where it has no section ``stability``.
    tables : mapping of str to polars.DataFrame
        Tables ``stability`` and ``policy``.

    Returns
    -------
    tuple of Answer
        Answers, most important first.
    """
    section = document.get("stability")
    if not section:
        return ()
    asked = {
        "Whose fault is the loss?": fault(section, document["job"]),
        "Does the structure absorb or amplify a delay?": _delay(section),
        "What does noise become?": _noise(section),
        "Does it absorb or amplify more as load grows?": _load(section, tables),
        "Up to where?": _reserve(section, tables["stability"]),
        "How steady are the steps?": _steadiness(section),
        "What helps?": help_words(tables["policy"], document["verdict"]),
        "And where noise is the normal state?": noise_words(tables["policy"], document),
    }
    answers = (Answer(question, tuple(words)) for question, words in asked.items())
    return tuple(answer for answer in answers if answer.words)


def vector_grid(document: Mapping[str, Any]) -> Grid:
    """Lay out the vector with its intervals and bases.

    Parameters
    ----------
    document : mapping
        Content of audit.json.

    Returns
    -------
    Grid
        One row for each figure.
    """
    section = document.get("stability") or {}
    rows = []
    for name, words in _QUANTITIES.items():
        entry = section.get(name)
        if entry:
            figures = (_figure(name, entry[end]) for end in ("value", "low", "high"))
            rows.append((Cell(words), *figures, Cell(entry["basis"])))
    looks = ("text", "number", "number", "number", "text")
    return Grid(("figure", "value", "at least", "at most", "basis"), looks, tuple(rows), 0)


def variance_grid(tables: Mapping[str, pl.DataFrame]) -> Grid:
    """Lay out the shares of variance, the job first, then all ranks, then the least steady ranks.

    Parameters
    ----------
    tables : mapping of str to polars.DataFrame
        Table ``variance``.

    Returns
    -------
    Grid
        One row for each place.
    """
    table = tables["variance"].drop_nulls("share_ratio")
    parts = ("persistent", "periodic", "rare", "trend", "noise")
    totals = table.filter(pl.col("part") == "total")
    ranks = totals.filter(pl.col("place").str.starts_with("rank "))
    first = [
        "job",
        "all ranks",
        *ranks.sort("variance_s2", "place", descending=[True, False])["place"][:4],
    ]
    rows = []
    for place in first:
        mine = table.filter(pl.col("place") == place)
        shares = dict(mine.select("part", "share_ratio").iter_rows())
        if shares:
            of = "step time" if place == "job" else f"own work of {place}"
            cells = (Cell(shown("_ratio", shares[part]), shares[part]) for part in parts)
            rows.append((Cell(of), *cells))
    return Grid(("variance of", *parts), ("text", *["number"] * 5), tuple(rows), 0)


def _figure(name: str, value: float | None) -> Cell:
    if value is None:
        return Cell("—")
    return Cell(f"{value:z.2f}" if name in _PLAIN else shown("_ratio", value), value)


def _number(value: float) -> Cell:
    return Cell(f"{value:z.2f}", value)


def _moves(written: Callable[[float], Cell], values: Sequence[float]) -> Iterator[Cell]:
    """Say a figure after and before, or that it does not move."""
    before, after = (written(value) for value in values)
    yield after
    if before.text == after.text:
        yield Cell(" as before")
    else:
        yield from (Cell(" instead of "), before)


def _delay(section: Mapping[str, Any]) -> Iterator[Cell]:
    gain, waiting = section["one_off_gain"]["value"], section["waiting_gain"]["value"]
    if gain is None or waiting is None:
        return
    yield Cell("It absorbs most of it" if gain < _HALF else "It passes most of it on")
    yield from (Cell(": of a delay of "), ratio_cell(section["delay_ratio"]), Cell(" of a step, "))
    yield from (ratio_cell(gain), Cell(" reaches the end. "))
    yield Cell(
        "In rank-time it is amplified: " if waiting > 1 else "In rank-time it does not grow: "
    )
    yield from (Cell("each delayed second makes the others wait "), _number(waiting))
    yield Cell(" s between them.")


def _noise(section: Mapping[str, Any]) -> Iterator[Cell]:
    entry = section["noise_gain"]
    gain = entry["value"]
    if gain is None:
        yield Cell(f"{entry['basis'].capitalize()}.")
        return
    low, high = entry["low"], entry["high"]
    yield from (Cell("Each second of one rank's own noise costs "), _number(gain))
    yield Cell(" s of step: ")
    if low is not None and low > 1:
        yield Cell("it is amplified.")
    elif low is not None and low <= 0 and high < 1:
        yield Cell("not told from none, the rest is absorbed.")
    elif high is not None and high < 1:
        yield Cell("part of it is absorbed.")
    else:
        yield Cell("not told from passing it on one for one.")


def _load(section: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> Iterator[Cell]:
    vector = tables["stability"].filter(
        (pl.col("by") == "job") & pl.col("quantity").is_in(["one_off_gain", "step"])
    )
    known = {
        (r["load"], r["factor"], r["quantity"]): r["value"] for r in vector.iter_rows(named=True)
    }
    costs = tables["load_curve"].select("load", "factor", "gain_ratio").iter_rows()
    cost = {(load, factor): gain for load, factor, gain in costs}
    for load, words in _LOADS.items():
        if (load, 2.0, "step") in known and (load, 1.0) in cost:
            yield from _passed_on(words, cost[load, 1.0], cost.get((load, 2.0), cost[load, 1.0]))
            yield Cell(" With twice as much a step takes ")
            yield from _moves(
                seconds_cell, [known[(*at, "step")] for at in (_RECORDED, (load, 2.0))]
            )
            yield Cell(", and the share of a delay that reaches the end is ")
            yield from _moves(
                ratio_cell, [known[(*at, "one_off_gain")] for at in (_RECORDED, (load, 2.0))]
            )
            yield Cell("; ")
            yield from _knee(section["knee"].get(load) or {})


def _passed_on(words: str, now: float, twice: float) -> Iterator[Cell]:
    """Say whether the structure absorbs or amplifies more of a load, as recorded and at twice as much."""
    first, last = _number(now), _number(twice)
    fate = "absorbed in part" if now < 1 else "amplified"
    told = {"0.00": "absorbed", "1.00": "passed on one for one"}.get(first.text, fate)
    yield from (Cell(f"More {words} are {told}: each second more of {words} costs "), first)
    yield Cell(" s of step")
    if first.text != last.text:
        yield from (Cell(", and "), last, Cell(" s at twice as much"))
    yield Cell(".")


def _knee(entry: Mapping[str, Any]) -> Iterator[Cell]:
    if entry.get("value") is not None:
        yield from (Cell("slack is exhausted at "), Cell(f"{entry['value']:.1f}", entry["value"]))
        yield Cell(" times what was recorded. ")
    elif "exhausted" in entry.get("basis", ""):
        yield Cell("there is no slack left to hide them, as recorded. ")
    else:
        yield Cell("slack still hides part of them at 100 times. ")


def _reserve(section: Mapping[str, Any], table: pl.DataFrame) -> Iterator[Cell]:
    mine = table.filter((pl.col("load") == "recorded") & (pl.col("quantity") == "reserve"))
    broad = dict(mine.filter(pl.col("by") == "work").select("key", "value").iter_rows())
    said = [(name, value) for name, value in broad.items() if value is not None]
    for place, (name, value) in enumerate(said):
        words = "All own work" if name == "own work" else "all transfers"
        yield from (Cell(f"{' and ' if place else ''}{words} may take "), ratio_cell(value))
        yield Cell(" longer,")
    if said:
        bound = section["reserve"]["bound_ratio"]
        apart = " each alone," if len(said) > 1 else ""
        yield from (Cell(f"{apart} before a step takes "), ratio_cell(bound))
        yield Cell(" longer and breaks its bound (policy).")


def _steadiness(section: Mapping[str, Any]) -> Iterator[Cell]:
    variation, tail = section["step_cv_ratio"]["value"], section["step_p99_over_p50_ratio"]["value"]
    if variation is None or tail is None:
        return
    yield from (Cell("They vary by "), ratio_cell(variation), Cell("; the 99th percentile is "))
    yield from (Cell(f"{tail:.3f}", tail), Cell(" times the median. "))
    yield Cell("That alone says nothing: a job can be steadily slow.")
