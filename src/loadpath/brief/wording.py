"""Plain words for what audit.json says: place, mechanism, decision, headline."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from loadpath.brief.certainty import is_bound, is_weak
from loadpath.brief.visible import visible
from loadpath.errors import UsageError
from loadpath.units import format_seconds

__all__ = [
    "accuses",
    "bubble_word",
    "cause_name",
    "counted",
    "decision",
    "headline",
    "link_title",
    "listing",
    "mechanism_name",
    "place_name",
    "rank_names",
    "returned_s",
    "time_doubt",
    "times_word",
]

_MECHANISMS = {
    "device": "device work",
    "host": "host work",
    "input": "data input",
    "communication": "communication",
    "workload": "uneven workload",
    "noise": "noise",
    "rare": "events common to all ranks",
    "periodic": "periodic, common to all ranks",
    "drift": "drift, common to all ranks",
    "shift": "a lasting change, common to all ranks",
    "irregular": "slow steps, common to all ranks",
    "unknown": "device or host work, which this recording cannot tell apart",
}
_WAITS = {"checkpoint": "saving or loading a checkpoint", "storage": "reading or writing files"}

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
_LONGEST = 80
_BARE = re.compile(r"\d+|(?:0x)?[0-9a-f]{8,}")
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


def mechanism_name(verdict: Mapping[str, Any]) -> str:
    """Name the mechanism of a verdict; waiting for data by what is waited for.

    Parameters
    ----------
    verdict : mapping
        ``verdict`` of audit.json.

    Returns
    -------
    str
        Such as ``device work``.

    Examples
    --------
    >>> mechanism_name({"mechanism": "input", "waits_for": "checkpoint"})
    'saving or loading a checkpoint'
    """
    mechanism = verdict["mechanism"]
    told = _WAITS.get(verdict.get("waits_for") or "")
    return str(told or _MECHANISMS.get(mechanism, mechanism))


def place_name(verdict: Mapping[str, Any]) -> str:
    """Name the place of a verdict, with its hosts where known.

    Parameters
    ----------
    verdict : mapping
        ``verdict`` of audit.json.

    Returns
    -------
    str
        Such as ``rank 2 (node-b)``, ``stage 3`` or ``all ranks``.

    Examples
    --------
    >>> place_name(
    ...     {"place": "rank", "ranks": [2], "hosts": ["node-b"], "stage": None, "link": None}
    ... )
    'rank 2 (node-b)'
    """
    place = verdict["place"]
    fixed = {"all": "all ranks", "nobody": "nobody", "microbatch": "microbatches"}
    if place in fixed:
        return fixed[place]
    if place == "stage":
        return f"stage {verdict['stage']}"
    if place == "link":
        return _link(verdict)
    ranks, hosts = _ranks(verdict["ranks"] or ()), listing(verdict["hosts"] or ())
    if place == "host" and hosts:
        return f"{hosts} ({ranks})" if ranks else hosts
    group = "the group of " if place == "group" else ""
    return f"{group}{ranks} ({hosts})" if hosts else f"{group}{ranks}"


def cause_name(cause: Mapping[str, Any] | str | None) -> str:
    """Name a candidate cause.

    Parameters
    ----------
    cause : mapping, str or None
        A row of table ``cause`` or a name.

    Returns
    -------
    str
        Such as ``stage 3``; ``none`` without a candidate.
    """
    if not cause:
        return "none"
    if isinstance(cause, str):
        return cause
    key = visible(str(cause["key"]), limit=_LONGEST)
    return link_title(key) if cause.get("kind") == "link" else key


def link_title(name: str) -> str:
    """Name a communicator whose recorded name is a bare number or hash.

    Parameters
    ----------
    name : str
        Recorded name.

    Returns
    -------
    str
        Such as ``process group 2``; other names as they are.

    Examples
    --------
    >>> link_title("2"), link_title("9f3c00aa12cd77e0"), link_title("point to point 0,16")
    ('process group 2', 'process group 9f3c00aa12cd…', 'point to point 0,16')
    """
    if _BARE.fullmatch(name) is None:
        return name
    return f"process group {name if len(name) <= 12 else name[:12] + '…'}"


def listing(items: Iterable[object], limit: int = 6) -> str:
    """Join names, leaving out the tail of a long list but counting it.

    Parameters
    ----------
    items : iterable
        Names.
    limit : int
        Most names written.

    Returns
    -------
    str
        Such as ``a, b and 3 more``.

    Examples
    --------
    >>> listing(["a", "b", "c"]), listing(range(9), limit=2)
    ('a, b, c', '0, 1 and 7 more')
    """
    names = [str(item) for item in items]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def counted(number: int, noun: str) -> str:
    """Write a count with its noun.

    Parameters
    ----------
    number : int
        How many.
    noun : str
        Singular.

    Returns
    -------
    str
        Such as ``1 step`` or ``1,024 ranks``.

    Examples
    --------
    >>> counted(1, "step"), counted(1024, "rank")
    ('1 step', '1,024 ranks')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def rank_names(tables: Mapping[str, pl.DataFrame], limit: int = 24) -> dict[int, str]:
    """Name each rank, with its host where known.

    Parameters
    ----------
    tables : mapping of str to polars.DataFrame
        Table ``rank``.
    limit : int
        Most letters of a name.

    Returns
    -------
    dict of int to str
        Such as ``{0: "0 node-a"}``.
    """
    ranks = tables["rank"]
    names = {
        rank: f"{rank} {host}".strip() for rank, host in ranks.select("rank", "host").iter_rows()
    }
    return {
        rank: name if len(name) <= limit else f"{name[: limit - 1]}…"
        for rank, name in names.items()
    }


def _speech(verdict: Mapping[str, Any]) -> tuple[str, str]:
    if verdict["kind"] not in _SPEECH:
        raise UsageError(
            f"audit.json: verdict of unknown kind {verdict['kind']!r}. "
            f"Use the version of loadpath that wrote it, or one of {', '.join(_SPEECH)}."
        )
    if verdict["kind"] == "jitter" and verdict["mechanism"] != "noise":
        return _SPEECH["drift" if verdict["mechanism"] == "drift" else "together"]
    return _SPEECH[verdict["kind"]]


def _ranks(ranks: Iterable[int]) -> str:
    numbers = list(ranks)
    return f"rank{'s' if len(numbers) > 1 else ''} {listing(numbers)}" if numbers else ""


def _link(verdict: Mapping[str, Any]) -> str:
    name, ends = verdict.get("link_name"), verdict["link"]
    if name and _BARE.fullmatch(name):
        ranks = _ranks(ends) if isinstance(ends, (list, tuple)) else ""
        return f"{link_title(name)} ({ranks})" if ranks else link_title(name)
    if not isinstance(ends, (list, tuple)):
        return f"link {ends}"
    if len(ends) > 2:
        return f"the communication of {_ranks(ends)}"
    return f"link {' to '.join(str(end) for end in ends)}"
