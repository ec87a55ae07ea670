"""The forecast in a terminal: at most 25 lines of at most 80 columns."""

from collections.abc import Mapping
from typing import Any

from loadpath.brief.amounts import (
    added,
    cost_scale,
    duration,
    faster,
    power,
    rounded,
    whole,
    within,
)
from loadpath.brief.forecast_extra_words import searched_words, served_words
from loadpath.brief.forecast_words import (
    LIMIT_WORDS,
    MORE,
    forecast_headline,
    forecast_summary,
    joined,
)
from loadpath.brief.lines import N_LINES, entry, wrap
from loadpath.brief.names import counted
from loadpath.brief.visible import visible
from loadpath.units import format_ratio, format_seconds

__all__ = ["render_forecast_summary"]

LEAST_GAIN = 0.0005
"""Of the step, below which a gain reads 0.0 %."""

Document = Mapping[str, Any]


def render_forecast_summary(document: Document, *, briefing_path: str | None = None) -> str:
    """Write a forecast for a terminal.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.
    briefing_path : str, optional
        Where the briefing lies.

    Returns
    -------
    str
        At most 25 lines of at most 80 columns, control characters spelled out.
    """
    where = [] if briefing_path is None else wrap("Briefing", visible(briefing_path))[:3]
    lines: list[str] = []
    for head, text, most in _parts(document):
        told = entry(head, text, most)
        if len(lines) + len(told) + len(where) <= N_LINES:
            lines += told
    return "\n".join([*lines, *where]) + "\n"


def _parts(document: Document) -> list[tuple[str, str, int]]:
    now = next(point for point in document["points"] if point["n"] == document["n_now"])
    return [
        ("Forecast", _what(document), 2),
        ("Basis", _basis(document), 2),
        ("Verdict", forecast_headline(document), 2),
        ("", joined(forecast_summary(document)), 4),
        (f"At {now['n']:,}", _at(document, now), 3),
        ("Limited by", _limits(document, now), 3),
        ("Delay", _delay(document), 2),
        ("Helps most", _helps(document), 3),
        ("Layouts", joined(searched_words(document)), 3),
        ("Serving", joined(served_words(document)), 3),
        ("Baseline", _baseline(document), 2),
        ("Not known", _unknown(document), 2),
        ("Pilot", _pilot(document), 1),
        ("Not possible", _skipped(document), 2),
    ]


def _what(document: Document) -> str:
    points = document["points"]
    sizes = ", ".join(f"{point['n']:,}" for point in points)
    return f"{document['design']['name']}; {document['goal']} scaling over {sizes} accelerators"


def _basis(document: Document) -> str:
    calibration = document["calibration"]
    worlds = f"{format_ratio(document['level_ratio'])} bands of {document['n_worlds']:,} worlds"
    if calibration is None:
        parts = {"collectives": "measured collectives", "record": "a record"}
        told = " and ".join(words for name, words in parts.items() if document[name])
        return (
            f"modelled by replay, {f'rates set by {told}' if told else 'no run measured'}; {worlds}"
        )
    runs = counted(len(calibration["points"]), "measured run")
    met = within(calibration["error_ratio"])
    if document["design"]["kind"] == "recorded":
        return f"replay of the record at other sizes (its steps met within {met}); {worlds}"
    if document["design"]["kind"] == "measured":
        best = document["baselines"][0]["name"]
        return f"{best} curve through {runs} (met within {met}), no structure known; {worlds}"
    return f"modelled by replay, set by {runs} (met within {met}); {worlds}"


def _at(document: Document, now: Mapping[str, Any]) -> str:
    scale, words = cost_scale(document)
    band = now[document["cost"]]
    low, median, high = (rounded(band[name] * scale) for name in ("low", "median", "high"))
    step = now["step_s"]
    text = (
        f"{median} {words} ({low} to {high}); step {format_seconds(step['median'])} "
        f"({format_seconds(step['low'])} to {format_seconds(step['high'])}), "
    )
    if now["mfu_ratio"] is not None:
        text += f"MFU {format_ratio(now['mfu_ratio'])}, "
    text += f"ETTR {format_ratio(now['ettr_ratio'])}"
    if now["power_w"] is not None:
        text += f", {power(now['power_w'])}"
    if now["job_s"] is not None:
        text += f"; job {duration(now['job_s'])}"
    if now["job_cost"] is not None:
        text += f", {rounded(now['job_cost'])} {document['currency']}"
    return text + ("" if now["fits_memory"] is not False else "; does not fit its memory")


def _limits(document: Document, now: Mapping[str, Any]) -> str:
    shares = sorted(
        ((share, name) for name, share in now["limitation"].items() if share), reverse=True
    )[:4]
    if document["design"]["kind"] == "measured":
        return "not assessed: step times do not tell parts; give a design or an audit"
    text = ", ".join(f"{LIMIT_WORDS[name]} {format_ratio(share)}" for share, name in shares)
    ahead = [row for row in document["loss_crossing"] if row["n"] > now["n"]]
    for row in ahead[:1]:
        after, before = LIMIT_WORDS[row["after"]], LIMIT_WORDS[row["before"]]
        text += f"; beyond {whole(row['n'])} more goes to {after} than to {before}"
    return text


def _delay(document: Document) -> str:
    first, last = document["points"][0], document["points"][-1]
    gains = [point["noise_gain_ratio"] for point in (first, last)]
    if None in gains:
        return "not assessed: what one rank alone does to a step is not known"
    verb = "amplified" if gains[1] > 1 else "passed on"
    if first["n"] == last["n"]:
        return (
            f"{verb}: 1 % more variation of each rank makes a step {gains[0]:.2f} % longer at "
            f"{first['n']:,}"
        )
    more = ", more so with size" if gains[1] > MORE * gains[0] else ""
    return (
        f"{verb}{more}: 1 % more variation of each rank makes a step {gains[0]:.2f} % longer at "
        f"{first['n']:,}, {gains[1]:.2f} % at {last['n']:,}"
    )


def _helps(document: Document) -> str:
    parts = []
    # The best one is said whatever it gives, a second one where it shows.
    rows = document["substitution"][:2]
    for row in [row for row in rows if row is rows[0] or row["gain_ratio"] >= LEAST_GAIN]:
        text = f"{row['improvement']}: {faster(row['gain_ratio'])}"
        equal = "as by no size looked at"
        if row["n_added"] is not None:
            equal = f"as by {added(row['n_added'])}"
        parts.append(f"{text}, {equal}")
    return "; ".join(parts)


def _unknown(document: Document) -> str:
    drivers = [row for row in document["priors"] if row["share_ratio"]][:4]
    told = ", ".join(f"{row['name']} {format_ratio(row['share_ratio'])}" for row in drivers)
    return f"the band of the cost is due to {told}" if told else ""


def _pilot(document: Document) -> str:
    if not document["pilot"]:
        return ""
    row = document["pilot"][0]
    left = format_ratio(row["width_ratio"])
    return f"{row['n_steps']} steps on {row['n']:,} would leave {left} of the band"


def _baseline(document: Document) -> str:
    if not document["baselines"]:
        return ""
    best = document["baselines"][0]
    error = best["error_ratio"]
    off = "error unknown" if error is None else f"{format_ratio(error)} off sizes left out"
    return f"{best['name']} on the {best['fitted_to']} steps: {off}{_beaten(document)}"


def _beaten(document: Document) -> str:
    errors = [
        max(abs(run[name]) for run in document["measured"])
        for name in ("baseline_error_ratio", "error_ratio")
        if document["measured"] and document["measured"][0][name] is not None
    ]
    if len(errors) < 2:
        return ""
    return f"; held-out runs {format_ratio(errors[0])}, replay {format_ratio(errors[1])}"


def _skipped(document: Document) -> str:
    skipped = document["skipped"]
    if not skipped:
        return ""
    first = skipped[0]
    more = f" (and {len(skipped) - 1} more)" if len(skipped) > 1 else ""
    return f"{first['n']:,}{more}: {first['why']}"
