"""The summary in a terminal: at most 25 lines of at most 80 columns."""

from collections.abc import Mapping
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
from loadpath.brief.lines import N_LINES, entry, wrap
from loadpath.brief.names import cause_name, counted, listing, recorded_ranks
from loadpath.brief.remedy import remedy
from loadpath.brief.stops import is_timeless, summary_parts
from loadpath.brief.visible import visible
from loadpath.brief.wording import bubble_word, headline, returned_s, time_doubt
from loadpath.units import format_ratio, format_seconds

__all__ = ["render_summary"]

_SPARE = ("Runner-up", "Waiting", "Unit cost", "Dashboards")
"""What is left out where there is no room for all, first to last: the briefing holds it."""


def render_summary(document: Mapping[str, Any], *, briefing_path: str | None = None) -> str:
    """Write the result of an audit for a terminal, replay error first.

    Parameters
    ----------
    document : mapping
        Content of audit.json.
    briefing_path : str, optional
        Where the briefing lies.

    Returns
    -------
    str
        At most 25 lines of at most 80 columns, control characters spelled out.
    """
    parts = summary_parts(document) if is_timeless(document) else _parts(document)
    where = [] if briefing_path is None else wrap("Briefing", visible(briefing_path))[:3]
    told = [(head, entry(head, text, most)) for head, text, most in parts]
    for spare in _SPARE:
        if sum(len(lines) for _, lines in told) + len(where) > N_LINES:
            told = [(head, lines) for head, lines in told if head != spare]
    lines = [line for _, lines in told for line in lines]
    return "\n".join([*lines[: N_LINES - len(where)], *where]) + "\n"


def _parts(document: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    verdict, stake = document["verdict"], document.get("stake") or {}
    return [
        ("Replay error", _replay(document["replay"]), 2),
        ("Job", _job(document) + _hosts_beside(document["caveats"]), 2),
        ("Verdict", f"{verdict['kind'].upper()} - {headline(verdict)}", 2),
        ("", verdict["summary"], 4),
        ("Fixing it", _gain(verdict, stake), 3),
        ("What to do", remedy(document), 3),
        ("Unit cost", unit_cost(stake), 1),
        ("Confidence", _confidence(verdict), 2),
        ("Runner-up", _runner_up(verdict), 1),
        ("Cannot tell", _twins(verdict), 2),
        ("Limited by", _limit(document), 2),
        ("Look next", _next(document), 2),
        ("Waiting", _waits(document, verdict["kind"]), 2),
        ("Dashboards", _blindness(document["blindness"], verdict["kind"]), 3),
        ("Caveats", _caveats(document["caveats"]), 2),
    ]


def _next(document: Mapping[str, Any]) -> str:
    wanted = (document.get("frontier") or {}).get("trace_next")
    return wanted["text"] if wanted else ""


def _limit(document: Mapping[str, Any]) -> str:
    found = document.get("limitation")
    return found["summary"].partition(";")[0].rstrip(".") + "." if found else ""


def _hosts_beside(caveats: list[Mapping[str, Any]]) -> str:
    """Say whose word the hosts are, where nobody gave it."""
    return "".join(f"; {c['text']}" for c in caveats if c["code"] == "hosts_beside")


def _job(document: Mapping[str, Any]) -> str:
    job, source = document["job"], document["record"]["source"]
    return (
        f"{recorded_ranks(job)}, {counted(job['steps'], 'step')}, {job['ops']:,} ops, "
        f"{job['instances_matched']:,} of {job['instances']:,} instances matched"
        + (
            f", {time_doubt(source)} {_time(job['clock_residual_s'])}"
            if job["clock_residual_s"]
            else ""
        )
    )


def _replay(replay: Mapping[str, Any]) -> str:
    return (
        f"{_share(replay['error_ratio_median'])} median, {_share(replay['error_ratio_max'])} "
        f"largest, gate {_share(replay['gate'])}; unexplained "
        f"{_share(replay['unexplained_ratio'])}; negative lag {_time(replay['negative_lag_s'])}"
    )


def _gain(verdict: Mapping[str, Any], stake: Mapping[str, Any]) -> str:
    if verdict["kind"] == "not_assessable":
        return "not assessed"
    gain_s = returned_s(verdict)
    if returns_little(verdict) or gain_s is None:
        return ""
    text = f"returns {'at most ' if is_bound(verdict) else ''}{_time(gain_s)}"
    text += f" of a step of {_time(verdict['step_s'])}"
    if not is_resolved(verdict):
        return f"{text}{_interval(verdict)}, which holds 0: no share is given"
    if stake.get("gain_ratio") is not None:
        text += f" ({_share(stake['gain_ratio'])})"
    text += f"{_interval(verdict)}; {_share(verdict['share_removal_ratio'])} of the waste"
    return text + _money(stake)


def _interval(verdict: Mapping[str, Any]) -> str:
    cause = verdict["causes"][0]
    if cause.get("gain_low_s") is None:
        return ""
    span = f"{_time(cause['gain_low_s'])} to {_time(cause['gain_high_s'])} at 95 %"
    if is_gain_of_step(verdict):
        return f", {span}"
    return f", {_time(cause['gain_s'])} beyond the slow places, {span}"


def _money(stake: Mapping[str, Any]) -> str:
    if stake.get("gpu_hours_per_1000") is None:
        return ""
    text = (
        f"; {stake['gpu_hours_per_1000']:.0f} of every 1,000 {stake.get('hours_of', 'GPU')}-hours"
    )
    if stake.get("money_per_1000") is None:
        return text
    digits = 0 if stake["rate"] >= 1 else 2
    whole = f"{1000 * stake['rate']:,.{digits}f} {stake['currency']}"
    return f"{text}: {stake['money_per_1000']:,.{digits}f} of every {whole}"


def _confidence(verdict: Mapping[str, Any]) -> str:
    count = agreeing(verdict)
    if count:
        return f"{count} {resampled(verdict)}".rstrip()
    why = unassessed(verdict)
    return f"not assessed: {why}" if why else "not assessed"


def _runner_up(verdict: Mapping[str, Any]) -> str:
    second = verdict["runner_up"]
    if not second:
        return ""
    gain = "" if isinstance(second, str) else f", {_time(second.get('gain_s'))} a step"
    return cause_name(second) + gain


def _twins(verdict: Mapping[str, Any]) -> str:
    twins = verdict["indistinguishable_from"]
    return f"it from {listing(twins, limit=4)}" if twins else ""


def _waits(document: Mapping[str, Any], kind: str) -> str:
    if kind == "not_assessable":
        return "not shown: no conclusion across ranks"
    waits, called = document["waits"], {"bubble": bubble_word(document["job"])}
    sinks = sorted((waits["by_sink"] or {}).items(), key=lambda item: (-item[1], item[0]))
    ends = ", ".join(
        f"{called.get(name, name).replace('_', ' ')} {_time(seconds)}"
        for name, seconds in sinks[:5]
    )
    return f"{_time(waits['exposed_s'])} exposed" + (f": {ends}" if ends else "")


def _blindness(views: list[Mapping[str, Any]], kind: str) -> str:
    """Say whom each view accuses, those first that agree with the proof."""
    said = [(view["right"], f"{view['view'].split(' (')[0]} {view['accuses']}") for view in views]
    if kind == "not_assessable":  # without a proof nobody can be called wrong
        return "would accuse: " + ", ".join(text for _, text in said)
    groups = {
        head: ", ".join(text for right, text in said if right is value)
        for head, value in (("right", True), ("wrong", False))
    }
    return "; ".join(f"{head}: {texts}" for head, texts in groups.items() if texts)


def _caveats(caveats: list[Mapping[str, Any]]) -> str:
    if not caveats:
        return "none"
    first = caveats[0]
    return f"{len(caveats)}; first: {first['text']} ({counted(first['count'], 'time')})"


def _share(ratio: float | None) -> str:
    return "not assessed" if ratio is None else format_ratio(ratio)


def _time(seconds: float | None) -> str:
    return "not assessed" if seconds is None else format_seconds(seconds)
