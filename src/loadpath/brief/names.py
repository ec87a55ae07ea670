"""Names that a reader meets: places, mechanisms, causes, ranks, and lists of them."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from loadpath.brief.visible import visible

__all__ = [
    "cause_name",
    "counted",
    "link_title",
    "listing",
    "mechanism_name",
    "place_name",
    "rank_names",
    "recorded_ranks",
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
_LONGEST = 80
_BARE = re.compile(r"\d+|(?:0x)?[0-9a-f]{8,}")


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


def recorded_ranks(job: Mapping[str, Any]) -> str:
    """Count the ranks that were recorded, and those for which they stand.

    Parameters
    ----------
    job : mapping
        ``job`` of audit.json.

    Returns
    -------
    str
        Such as ``16 ranks, recorded for 64``.

    Examples
    --------
    >>> recorded_ranks({"ranks": 16, "ranks_represented": 64})
    '16 ranks, recorded for 64'
    """
    few, many = job["ranks"], job["ranks_represented"]
    return counted(few, "rank") + (f", recorded for {many:,}" if many > few else "")


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
