"""What would change the verdict, in sentences."""

from collections.abc import Mapping
from typing import Any

from loadpath.brief.grid import shown
from loadpath.brief.names import cause_name, place_name
from loadpath.brief.wording import accuses
from loadpath.units import format_ratio, format_seconds

__all__ = ["doubts"]


def doubts(document: Mapping[str, Any]) -> list[str]:
    """List what would change the verdict, from what the audit recorded about its own limits.

    Parameters
    ----------
    document : mapping
        Content of audit.json.

    Returns
    -------
    list of str
        Sentences; the strongest doubt first.
    """
    verdict = document["verdict"]
    assessed = verdict["kind"] != "not_assessable"
    return [
        *_replay(document["replay"], assessed=assessed),
        *_twins(verdict),
        *_runner_up(verdict),
        *(_baselines(document["slowdown"]) if assessed else []),
        *_gains(verdict),
    ]


def _replay(replay: Mapping[str, Any], *, assessed: bool) -> list[str]:
    error, gate = replay["error_ratio_median"], replay["gate"]
    if error is None:
        return ["The replay error was not assessed; a recording that can be replayed is needed."]
    if assessed:
        limit = f"A median replay error above {format_ratio(gate)} would withdraw it"
        return [f"{limit}; it is {format_ratio(error)}."]
    if error > gate:
        wanted = f"A recording whose replay error is under {format_ratio(gate)} is needed"
        return [f"{wanted}; this one's is {format_ratio(error)}."]
    return ["The input named in the verdict and in the caveats is needed."]


def _twins(verdict: Mapping[str, Any]) -> list[str]:
    return [
        f"This recording cannot tell {place_name(verdict)} from {other}; "
        "one that separates them could move the blame."
        for other in verdict["indistinguishable_from"] or ()
    ]


def _runner_up(verdict: Mapping[str, Any]) -> list[str]:
    second = verdict["runner_up"]
    if not second:
        return ["No other candidate cause was found."] if accuses(verdict) else []
    if isinstance(second, str) or second.get("gain_s") is None:
        return [f"The runner-up is {cause_name(second)}."]
    low, high = second.get("gain_low_s"), second.get("gain_high_s")
    span = f" (95 %: {format_seconds(low)} to {format_seconds(high)})" if low is not None else ""
    gain = format_seconds(second["gain_s"])
    return [f"The runner-up is {cause_name(second)}: fixing it returns {gain} a step{span}."]


def _baselines(slowdown: Mapping[str, Any]) -> list[str]:
    by_baseline = slowdown.get("by_baseline") or {}
    ratios = {
        name: found.get("ratio") if isinstance(found, Mapping) else found
        for name, found in sorted(by_baseline.items())
    }
    texts = [f"{name} {ratio:.3f}" for name, ratio in ratios.items() if ratio is not None]
    if not texts:
        return []
    return [f"Slowdown against the ideal of each baseline: {', '.join(texts)}."]


def _gains(verdict: Mapping[str, Any]) -> list[str]:
    gains = verdict.get("gain_by_baseline") or {}
    texts = [f"{name} {shown('gain_s', gain)}" for name, gain in sorted(gains.items())]
    if not texts:
        return []
    return [f"Its ops set to the ideal of each baseline return, a step: {', '.join(texts)}."]
