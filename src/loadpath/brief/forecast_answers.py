"""The questions that a forecast answers, in plain words with their numbers."""

from collections.abc import Mapping
from typing import Any

from loadpath.brief.amounts import added, amount, cost_scale, faster, large, plural, rounded
from loadpath.brief.forecast_words import LEVER_WORDS, MORE, forecast_summary
from loadpath.brief.grid import Cell
from loadpath.units import format_ratio, format_seconds

__all__ = ["Answer", "answers"]

Document = Mapping[str, Any]
Answer = tuple[str, list[Cell]]


def answers(document: Document) -> list[Answer]:
    """Answer in plain words what a forecast is asked.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    list of (str, list of Cell)
        Question, and words with their numbers.
    """
    return [
        ("Does the structure absorb or amplify delay as it grows?", _amplifies(document)),
        ("Up to where does it pay, under which conditions?", _pays(document)),
        ("What helps when nothing is certain to run evenly?", _stability(document)),
        ("What is known before buying?", _known(document)),
        ("What would a pilot add?", _pilot(document)),
        ("How fast are the parts, and the whole?", _speed(document)),
        ("Is the network saturated?", _network(document)),
        ("Is more hardware needed?", _hardware(document)),
    ]


def _untold(why: str) -> list[Cell]:
    return [Cell(f"Not assessed: {why}. Give a design or an audit.")]


def _ratio(value: float) -> Cell:
    return Cell(format_ratio(value), value)


def _faster(row: Mapping[str, Any]) -> Cell:
    return Cell(faster(row["gain_ratio"]), row["gain_ratio"])


def _amplifies(document: Document) -> list[Cell]:
    first, last = document["points"][0], document["points"][-1]
    gains = first["noise_gain_ratio"], last["noise_gain_ratio"]
    if gains[0] is None:
        return [Cell("Not assessed: what one rank alone does to a step is not known.")]
    lost = [_losses(point) for point in (first, last)]
    verb = "amplifies" if gains[1] > 1 else "passes on"
    more = ", and more so the larger it is" if gains[1] > MORE * gains[0] else ""
    return [
        Cell(f"It {verb} it{more}: one percent more variation of each rank makes a step "),
        Cell(f"{gains[0]:.2f} %", gains[0]), Cell(" longer at "), Cell(f"{first['n']:,}", first["n"]),
        Cell(" accelerators and "), Cell(f"{gains[1]:.2f} %", gains[1]), Cell(" at "),
        Cell(f"{last['n']:,}", last["n"]), Cell(". Waiting takes "),
        _ratio(lost[0][0]), Cell(" of the paid time at the first and "), _ratio(lost[1][0]),
        Cell(" at the last, failures "), _ratio(lost[0][1]), Cell(" and "), _ratio(lost[1][1]), Cell("."),
    ]  # fmt: skip


def _losses(point: Mapping[str, Any]) -> tuple[float, float]:
    return point["limitation"]["waiting"], point["limitation"]["failures"]


def _pays(document: Document) -> list[Cell]:
    cells = forecast_summary(document)
    near = sorted(
        (row for row in document["break_even"] if row["times"] is not None and row["times"] > 1),
        key=lambda row: (row["times"], row["lever"]),
    )[:3]
    if not near:
        return cells
    limit, scale = document["limit"]["cost_per_unit"], cost_scale(document)
    at = [Cell(" At "), Cell(f"{document['n_now']:,}", document["n_now"]), Cell(" the limit of "),
          amount(limit, scale[0]), Cell(f" {scale[1]} is passed first by: ")]  # fmt: skip
    for place, row in enumerate(near):
        words = LEVER_WORDS[row["lever"]]
        cells_of = [Cell(f"{', ' if place else ''}{words} "), Cell(f"{row['times']:.2f}", row["times"]),
                    Cell(" times worse")]  # fmt: skip
        at += cells_of
    return [*cells, *at, Cell(".")]


def _elastic(document: Document, name: str) -> float:
    return next(float(row["median"]) for row in document["elasticity"] if row["parameter"] == name)


def _stability(document: Document) -> list[Cell]:
    if not document["elasticity"]:
        return _untold("runs alone tell no causes")
    noise, failing = _elastic(document, "noise"), _elastic(document, "failure_rate")
    calm = next(
        row for row in document["substitution"] if row["improvement"].startswith("no noise")
    )
    cells = [
        Cell("One percent less noise saves "), Cell(f"{noise:.3f} %", noise),
        Cell(" of the cost, one percent fewer failures "), Cell(f"{failing:.3f} %", failing),
        Cell(". Without noise and with equal devices the job is "), _faster(calm),
    ]  # fmt: skip
    if calm["n_added"] is None:
        return [*cells, Cell(", which no number of added accelerators up to the largest gives.")]
    return [*cells, Cell(", as by "), Cell(added(calm["n_added"]), calm["n_added"]), Cell(".")]


def _known(document: Document) -> list[Cell]:
    now = _now(document)
    band, (scale, words) = now[document["cost"]], cost_scale(document)
    drivers = [row for row in document["priors"] if row["share_ratio"]][:3]
    cells = [
        Cell("At "), Cell(f"{now['n']:,}", now["n"]), Cell(" accelerators "),
        amount(band["median"], scale), Cell(f" {words}, nine times in ten from "),
        amount(band["low"], scale), Cell(" to "), amount(band["high"], scale),
    ]  # fmt: skip
    if not drivers:
        return [*cells, Cell(".")]
    cells += [Cell("; what drives the band: ")]
    for place, row in enumerate(drivers):
        cells += [Cell(f"{', ' if place else ''}{row['name']} "), _ratio(row["share_ratio"])]
    return [*cells, Cell(".")]


def _pilot(document: Document) -> list[Cell]:
    if document["design"]["kind"] in {"recorded", "measured"}:
        return [Cell("Not assessed: the job runs already; a run at another size, given by --points of a "
                     "design, is held against the forecast.")]  # fmt: skip
    if not document["pilot"]:
        return [Cell("Not assessed: no smaller size than the present one is possible.")]
    row = document["pilot"][0]
    return [
        Cell(f"{row['n_steps']}", row["n_steps"]), Cell(" steps on "), Cell(f"{row['n']:,}", row["n"]),
        Cell(" accelerators would narrow the band of the cost to "), _ratio(row["width_ratio"]),
        Cell(" of its width, as far as the model errs alike at both sizes."),
    ]  # fmt: skip


def _now(document: Document) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(
        point for point in document["points"] if point["n"] == document["n_now"]
    )
    return found


def _speed(document: Document) -> list[Cell]:
    now = _now(document)
    best = max(document["points"], key=lambda p: p["tokens_per_s"] * p["ettr_ratio"])
    unit = document["unit"]
    peak = [] if now["mfu_ratio"] is None else [
        Cell("Devices do "), _ratio(now["mfu_ratio"]), Cell(" of their peak. ")
    ]  # fmt: skip
    return [
        *peak, Cell("A step takes "),
        Cell(format_seconds(now["step_s"]["median"]), now["step_s"]["median"]), Cell(", "),
        Cell(large(now["tokens_per_s"]), now["tokens_per_s"]), Cell(f" {plural(unit)} a second. Most of the "
        "sizes looked at: "), Cell(large(best["tokens_per_s"]), best["tokens_per_s"]),
        Cell(" at "), Cell(f"{best['n']:,}", best["n"]), Cell("."),
    ]  # fmt: skip


def _network(document: Document) -> list[Cell]:
    now, last = _now(document), document["points"][-1]
    if not document["substitution"]:
        return _untold("runs alone tell nothing of transfers")
    gain = next(r for r in document["substitution"] if r["improvement"].startswith("network"))
    # The one lever of a record is all its transfers, in a node too.
    recorded = document["design"]["kind"] == "recorded"
    links = ("inter_node", "intra_node") if recorded else ("inter_node",)
    taken = [sum(p["limitation"][link] or 0.0 for link in links) for p in (now, last)]
    return [
        Cell(f"Transfers{'' if recorded else ' between nodes'} that nothing hides take "),
        _ratio(taken[0]), Cell(" of the paid time at "),
        Cell(f"{now['n']:,}", now["n"]), Cell(" accelerators and "), _ratio(taken[1]), Cell(" at "), Cell(f"{last['n']:,}", last["n"]),
        Cell("; twice the bandwidth makes the job "), _faster(gain), Cell(" at the first."),
    ]  # fmt: skip


def _hardware(document: Document) -> list[Cell]:
    if not document["substitution"]:
        return _untold("what an improvement would give is not known")
    best = document["substitution"][0]
    cells = [
        Cell(f"The largest gain looked at: {best['improvement']}, "),
        _faster(best),
    ]
    if best["n_added"] is None:
        return [*cells, Cell("; no number of added accelerators up to the largest does as much.")]
    cells += [Cell("; as much as "), Cell(added(best["n_added"]), best["n_added"])]
    if best["worth"] is not None and best["worth"] > 0:
        cells += [Cell(", which is dearer unless the improvement costs over "),
                  Cell(rounded(best["worth"]), best["worth"]), Cell(f" {document['currency']} for the job")]  # fmt: skip
    return [*cells, Cell(".")]
