"""The four figures under the verdict: what a fix returns, the stake, confidence, slowdown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loadpath.brief.certainty import (
    agreeing,
    is_bound,
    is_gain_of_step,
    is_resolved,
    resampled,
    returns_little,
    unassessed,
    unit_cost,
)
from loadpath.brief.grid import Cell, shown
from loadpath.brief.names import cause_name
from loadpath.brief.wording import returned_s

__all__ = ["Card", "cards"]

_NOTE = tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """One figure with what it means.

    Attributes
    ----------
    heading : str
        What it answers.
    before, after : str
        Words beside the figure.
    main : Cell
        The figure.
    notes : tuple of tuple of Cell
        Lines below it.
    """

    heading: str
    main: Cell
    notes: tuple[_NOTE, ...]
    before: str = ""
    after: str = ""


def cards(document: Mapping[str, Any]) -> tuple[Card, ...]:
    """Lay out the four figures under the verdict.

    Parameters
    ----------
    document : mapping
        Content of audit.json.

    Returns
    -------
    tuple of Card
        What a fix returns, what is at stake, confidence and slowdown.
    """
    verdict = document["verdict"]
    return (
        _returns(verdict),
        _stake(verdict, document.get("stake") or {}),
        _confidence(verdict),
        _slowdown(document["slowdown"], assessed=verdict["kind"] != "not_assessable"),
    )


def _returns(verdict: Mapping[str, Any]) -> Card:
    heading, step = "A fix returns", (Cell("a step takes "), _seconds(verdict["step_s"]))
    gain_s = returned_s(verdict)
    if returns_little(verdict):
        why = (
            "slack absorbs it"
            if verdict["kind"] == "absorbed"
            else "no cause that stands out returns more"
        )
        return Card(
            heading, _policy(verdict), ((Cell(why),), step), before="under", after="of the step"
        )
    if verdict["kind"] == "not_assessable" or gain_s is None:
        return Card(heading, Cell("not assessed"), (step,))
    change = (
        _seconds(verdict["step_s"]),
        Cell(" → "),
        _seconds(verdict["step_s_without"]),
        Cell(", replayed"),
    )
    notes = [_interval(verdict), change]
    if not is_resolved(verdict):
        notes.append((Cell("the interval holds 0: no share is given"),))
    before = "at most" if is_bound(verdict) else ""
    kept = tuple(note for note in notes if note)
    return Card(heading, _seconds(gain_s), kept, before=before, after="a step")


def _interval(verdict: Mapping[str, Any]) -> _NOTE:
    cause = verdict["causes"][0]
    if cause.get("gain_low_s") is None:
        return ()
    span = (
        _seconds(cause["gain_low_s"]),
        Cell(" to "),
        _seconds(cause["gain_high_s"]),
        Cell(" at 95\u00a0%"),
    )
    if is_gain_of_step(verdict):
        return span
    return (_seconds(cause["gain_s"]), Cell(" beyond the slow places, "), *span)


def _stake(verdict: Mapping[str, Any], stake: Mapping[str, Any]) -> Card:
    heading, unit = "At stake", f"{stake.get('hours_of', 'GPU')}-hours"
    per = f" of every 1,000 {unit}"
    hours, money = stake.get("gpu_hours_per_1000"), stake.get("money_per_1000")
    if returns_little(verdict) and hours is not None:
        return _little_stake(verdict, stake, heading)
    if hours is None:
        missing = (
            "no conclusion is drawn"
            if verdict["kind"] == "not_assessable"
            else "no price was given"
        )
        return Card(heading, Cell("not assessed"), ((Cell(missing),),))
    if not is_resolved(verdict):
        return Card(heading, Cell("no share"), ((Cell("the gain's interval holds 0"),),))
    before = "at most" if is_bound(verdict) else ""
    spent = Cell(f"{hours:,.0f}", hours)
    if money is None:
        unpriced = ((Cell(f"{per.strip()}; no price was given"),), *_unit(stake))
        return Card(heading, spent, unpriced, before=before, after=unit)
    whole = f"of every {1000 * stake['rate']:,.0f} {stake['currency']}"
    notes = ((Cell(whole),), (spent, Cell(per)), *_unit(stake))
    priced = Cell(f"{money:,.0f}", money)
    return Card(heading, priced, notes, before=before, after=stake["currency"])


def _unit(stake: Mapping[str, Any]) -> tuple[tuple[Cell, ...], ...]:
    text = unit_cost(stake)
    return ((Cell(text),),) if text else ()


def _little_stake(verdict: Mapping[str, Any], stake: Mapping[str, Any], heading: str) -> Card:
    unit = f"{stake.get('hours_of', 'GPU')}-hours"
    per = f" of every 1,000 {unit}"
    most = 1000 * verdict["policy_ratio"]
    if stake.get("rate") is None:
        notes = ((Cell(f"{per.strip()}; no price was given"),),)
        return Card(heading, Cell(f"{most:.0f}"), notes, before="under", after=unit)
    notes = ((Cell(f"{most:.0f}{per}"),),)
    price = Cell(f"{most * stake['rate']:,.2f}")
    return Card(heading, price, notes, before="under", after=stake["currency"])


def _confidence(verdict: Mapping[str, Any]) -> Card:
    count = agreeing(verdict)
    method = resampled(verdict) if count else unassessed(verdict)
    notes = [(Cell(method),)] if method else []
    if verdict["runner_up"]:
        notes.append((Cell(f"runner-up: {cause_name(verdict['runner_up'])}"),))
    main = Cell(count, verdict["confidence"]) if count else Cell("not assessed")
    return Card("Confidence", main, tuple(notes))


def _slowdown(slowdown: Mapping[str, Any], *, assessed: bool) -> Card:
    ratio, waste = _chosen(slowdown), slowdown["waste_ratio"]
    if not assessed or ratio is None:
        return Card("Slowdown", Cell("not assessed"), ())
    against = Cell(f" against the peers' {slowdown['baseline']}")
    notes: list[_NOTE] = [(Cell(against.text.strip()),)]
    if waste is not None and waste > 0:
        notes = [(Cell(shown("_ratio", waste), waste), Cell(" of the step is waste,"), against)]
    published = slowdown["ratio"]
    if published is not None and abs(published - ratio) >= 0.0005:
        notes.append((Cell("by the published method: "), _slow(published)))
    return Card("Slowdown", _slow(ratio), tuple(notes))


def _chosen(slowdown: Mapping[str, Any]) -> float | None:
    """Slowdown against the chosen baseline, the one that the waste belongs to."""
    found = (slowdown.get("by_baseline") or {}).get(slowdown["baseline"])
    return found.get("ratio") if isinstance(found, Mapping) else found


def _slow(ratio: float) -> Cell:
    return Cell(shown("slowdown_ratio", ratio), ratio)


def _seconds(seconds: float | None) -> Cell:
    return Cell(shown("_s", seconds), seconds)


def _policy(verdict: Mapping[str, Any]) -> Cell:
    return Cell(shown("_ratio", verdict["policy_ratio"]), verdict["policy_ratio"])
