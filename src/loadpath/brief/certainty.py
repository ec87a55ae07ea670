"""How much a verdict may claim: counted resamples, gains whose interval holds 0, upper bounds."""

from collections.abc import Mapping
from typing import Any

__all__ = [
    "agreeing",
    "is_bound",
    "is_gain_of_step",
    "is_resolved",
    "is_weak",
    "resampled",
    "returns_little",
    "unassessed",
    "unit_cost",
]

_SAME_RATIO = 0.01
"""Replays of one change round work to whole ns in different places; they agree closer than this."""
_WEAK = 0.5


def agreeing(verdict: Mapping[str, Any]) -> str:
    """Count the resamples that agree, for none of them can prove 100 %.

    Parameters
    ----------
    verdict : mapping
        ``verdict`` of audit.json.

    Returns
    -------
    str
        Such as ``982 of 1,000``; empty where confidence was not assessed.

    Examples
    --------
    >>> agreeing({"confidence": 0.95, "n_resamples": 400}), agreeing({"confidence": None})
    ('380 of 400', '')
    """
    if verdict["confidence"] is None:
        return ""
    n_drawn = verdict["n_resamples"]
    return f"{round(verdict['confidence'] * n_drawn):,} of {n_drawn:,}"


def resampled(verdict: Mapping[str, Any]) -> str:
    """Say what was drawn again, to follow the count of those that agree.

    Parameters
    ----------
    verdict : mapping
        ``verdict`` of audit.json.

    Returns
    -------
    str
        Such as ``resamples of steps with this verdict``.
    """
    method = str(verdict.get("confidence_method") or "")
    _, _, what = method.partition(" resamples of ")
    return f"resamples of {what}" if what else method


def unassessed(verdict: Mapping[str, Any]) -> str:
    """Say why confidence was not assessed.

    Parameters
    ----------
    verdict : mapping
        ``verdict`` of audit.json.

    Returns
    -------
    str
        The reason alone; empty where none is recorded.

    Examples
    --------
    >>> unassessed({"confidence_method": "not assessed: 4 steps are needed, the record has 1"})
    '4 steps are needed, the record has 1'
    """
    head, _, why = str(verdict.get("confidence_method") or "").partition(": ")
    return why if head == "not assessed" else ""


def is_weak(verdict: Mapping[str, Any]) -> bool:
    """Whether most resamples give another verdict.

    Parameters
    ----------
    verdict : mapping
        ``verdict`` of audit.json.

    Returns
    -------
    bool
        True below a confidence of one half.
    """
    return verdict["confidence"] is not None and verdict["confidence"] < _WEAK


def is_resolved(verdict: Mapping[str, Any]) -> bool:
    """Whether the gain of the leading cause is told from 0 by its own interval.

    Parameters
    ----------
    verdict : mapping
        ``verdict`` of audit.json.

    Returns
    -------
    bool
        False where the interval holds 0, so that shares of the gain must not be printed.

    Examples
    --------
    >>> is_resolved({"causes": [{"gain_low_s": -0.1, "gain_high_s": 0.3}]})
    False
    """
    cause: Mapping[str, Any] = verdict["causes"][0] if verdict["causes"] else {}
    low, high = cause.get("gain_low_s"), cause.get("gain_high_s")
    return low is None or high is None or not low <= 0 <= high


def is_bound(verdict: Mapping[str, Any]) -> bool:
    """Whether the gain is only an upper bound: no fix removes all noise.

    Parameters
    ----------
    verdict : mapping
        ``verdict`` of audit.json.

    Returns
    -------
    bool
        True for noise of all ranks.
    """
    return bool(verdict["kind"] == "jitter" and verdict["mechanism"] == "noise")


def is_gain_of_step(verdict: Mapping[str, Any]) -> bool:
    """Whether the interval belongs to the two step times printed.

    Noise is weighed after the places found slow are made normal: another step, another gain.

    Parameters
    ----------
    verdict : mapping
        ``verdict`` of audit.json, with a cause.

    Returns
    -------
    bool
        False where the gain of the cause is not the difference of the step times.
    """
    gain_s, cause = verdict.get("gain_s"), verdict["causes"][0]
    return gain_s is None or abs(cause["gain_s"] - gain_s) <= _SAME_RATIO * abs(gain_s)


def returns_little(verdict: Mapping[str, Any]) -> bool:
    """Whether no cause returns as much as the policy asks.

    Parameters
    ----------
    verdict : mapping
        ``verdict`` of audit.json.

    Returns
    -------
    bool
        True where nobody is slow or slack absorbs what is.
    """
    return verdict["kind"] in {"none", "absorbed"}


def unit_cost(stake: Mapping[str, Any]) -> str:
    """Say what a unit of work costs, as it is and without the cause.

    Parameters
    ----------
    stake : mapping
        ``stake`` of audit.json.

    Returns
    -------
    str
        Empty where the work of a step was not given.
    """
    if stake.get("gpu_hours_per_unit") is None:
        return ""
    if stake.get("money_per_unit") is None:
        scale, units = _readable(stake["gpu_hours_per_unit"])
        spent = scale * stake["gpu_hours_per_unit"]
        return f"{spent:.3g} {stake.get('hours_of', 'GPU')}-hours {units} of work"
    scale, units = _readable(stake["money_per_unit"])
    return (
        f"{scale * stake['money_per_unit']:.3g} {stake['currency']} {units} of work, "
        f"{scale * stake['money_per_unit_without_cause']:.3g} without the cause"
    )


def _readable(per_unit: float) -> tuple[float, str]:
    """How many units to speak of so that a person can read what they take."""
    for scale, units in ((1.0, "a unit"), (1e3, "a thousand units"), (1e6, "a million units")):
        if per_unit * scale >= 0.1:
            return scale, units
    return 1e9, "a billion units"
