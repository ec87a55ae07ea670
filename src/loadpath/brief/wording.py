"""Plain words for what audit.json says: headline, decision, what is returned, how times were got."""

from collections.abc import Mapping
from typing import Any

from loadpath.brief.certainty import is_bound, is_weak
from loadpath.brief.names import place_name
from loadpath.errors import UsageError
from loadpath.units import format_seconds

__all__ = [
    "accuses",
    "bubble_word",
    "decision",
    "headline",
    "returned_s",
    "time_doubt",
    "times_word",
]


_SPEECH = {
    "rank": ("{place} {slows} the job", "Repair, drain or swap {place}?"),
    "host": ("The host side of {place} slows the job", "Repair the host side of {place}?"),
    "stage": ("{place} {slows} the job", "Move work out of {place}?"),
    "link": ("{place} {slows} the job", "Repair {place}, or route around it?"),
    "data": ("Uneven work between microbatches slows the job", "Balance the work of microbatches?"),
    "threads": (
        "Threads share work unevenly, on all ranks",
        "Share the work of threads evenly?",
    ),
    "jitter": ("No culprit: noise on all ranks costs time", "Damp the noise of the ranks?"),
    "together": (
        "{course} {is_} slow for all ranks together",
        "Find what all ranks do in {course}?",
    ),
    "drift": ("All ranks together take {course}", "Find what makes all ranks drift?"),
    "absorbed": (
        "{place} {is_} slow, but slack absorbs it",
        "Act on {place} although nothing waits?",
    ),
    "hang": ("The job stands still: it waits for {place}", "Restart the job without {place}?"),
    "none": ("Nobody is slow", "Does anything need repair?"),
    "not_assessable": (
        "Not assessable from this recording",
        "Can this recording carry a decision?",
    ),
}
_BLAMELESS = frozenset({"none", "not_assessable", "jitter", "absorbed"})


def accuses(verdict: Mapping[str, Any]) -> bool:
    """Whether the verdict names a culprit that costs time.

    Parameters
    ----------
    verdict : mapping
        ``verdict`` of audit.json.

    Returns
    -------
    bool
        False for none, not_assessable, jitter and absorbed.
    """
    return verdict["kind"] not in _BLAMELESS


def headline(verdict: Mapping[str, Any]) -> str:
    """Say the verdict in one line.

    Parameters
    ----------
    verdict : mapping
        ``verdict`` of audit.json.

    Returns
    -------
    str
        Such as ``Rank 2 slows the job``.
    """
    speech = _speech(verdict)[0]
    course = verdict.get("course") or {}
    several = (verdict["place"] == "rank" and len(verdict["ranks"] or ()) > 1) or (
        verdict["place"] == "all" and str(course.get("words", "")).startswith("steps ")
    )
    verbs = {"slows": "slow", "is_": "are"} if several else {"slows": "slows", "is_": "is"}
    words = course.get("words", "")
    text = speech.format(place=place_name(verdict), course=words, **verbs)
    if words and verdict["place"] != "all":
        once = " once," if course.get("n_steps") == 1 else ""
        text += f", {words}" if course["name"] in {"drift", "periodic"} else f"{once} in {words}"
    gain_s = returned_s(verdict)
    if is_bound(verdict) and gain_s is not None and gain_s > 0:
        text += f", at most {format_seconds(gain_s)} a step"
    if not is_weak(verdict):
        return text[:1].upper() + text[1:]
    return f"Weak evidence: {text if speech.startswith('{') else text[:1].lower() + text[1:]}"


def bubble_word(job: Mapping[str, Any]) -> str:
    """Name the waiting that is there although nobody is slow.

    Parameters
    ----------
    job : mapping
        ``job`` of audit.json.

    Returns
    -------
    str
        The field's word for it in a job of this kind.
    """
    return "pipeline bubble" if job.get("stages", 1) > 1 else "waiting for dependencies"


def times_word(record: Mapping[str, Any]) -> str:
    """Say how the times of a job were got.

    Parameters
    ----------
    record : mapping
        ``record`` of audit.json.

    Returns
    -------
    str
        ``measured``; ``simulated`` of a schedule, which has no times.
    """
    return "simulated" if record.get("basis") == "modelled" else "measured"


def returned_s(verdict: Mapping[str, Any]) -> float | None:
    """Give what a step gets shorter without the cause, as the two step times printed beside it.

    Parameters
    ----------
    verdict : mapping
        ``verdict`` of audit.json.

    Returns
    -------
    float or None
        Seconds; None without a cause.
    """
    if not verdict["causes"]:
        return None
    gain_s = verdict.get("gain_s")
    return float(verdict["causes"][0]["gain_s"] if gain_s is None else gain_s)


def time_doubt(source: str) -> str:
    """Say what the residual of recorded times is: rounding in an op table, clocks in traces.

    Parameters
    ----------
    source : str
        Kind of record, as in ``record.source`` of audit.json.

    Returns
    -------
    str
        Words before the time.
    """
    return "times rounded to" if source == "op_table" else "clocks within"


def decision(verdict: Mapping[str, Any]) -> str:
    """Ask the decision that the verdict calls for.

    Parameters
    ----------
    verdict : mapping
        ``verdict`` of audit.json.

    Returns
    -------
    str
        A question.
    """
    course = (verdict.get("course") or {}).get("words", "")
    return _speech(verdict)[1].format(place=place_name(verdict), course=course)


def _speech(verdict: Mapping[str, Any]) -> tuple[str, str]:
    if verdict["kind"] not in _SPEECH:
        raise UsageError(
            f"audit.json: verdict of unknown kind {verdict['kind']!r}. "
            f"Use the version of loadpath that wrote it, or one of {', '.join(_SPEECH)}."
        )
    if verdict["kind"] == "jitter" and verdict["mechanism"] != "noise":
        return _SPEECH["drift" if verdict["mechanism"] == "drift" else "together"]
    pauses = verdict["kind"] == "stage" and verdict["mechanism"] == "host"
    return _SPEECH["host" if pauses else verdict["kind"]]
