"""What the briefing and the summary say of a job that stands still."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from loadpath.brief.names import counted, link_title
from loadpath.brief.remedy import remedy
from loadpath.brief.wording import headline

__all__ = ["is_timeless", "rank_spans", "stop_rows", "summary_parts"]

_REASONS = {
    "missing": "never asked",
    "different_collective": "asked for another collective",
    "different_size": "gave another size",
    "different_data_type": "gave another type",
}


def is_timeless(document: Mapping[str, Any]) -> bool:
    """Tell an audit of flight-recorder dumps alone, in which nothing is timed.

    Parameters
    ----------
    document : mapping
        Content of audit.json.

    Returns
    -------
    bool
        True where pages of times would be empty.
    """
    return bool(document["record"]["source"] == "flight_recorder" and not document["job"]["ops"])


def rank_spans(ranks: Sequence[int], limit: int = 8) -> str:
    """Write ranks as spans.

    Parameters
    ----------
    ranks : sequence of int
        Ascending.
    limit : int
        Most spans written.

    Returns
    -------
    str
        Such as ``8, 10-13, 15``.

    Examples
    --------
    >>> rank_spans([8, 10, 11, 12, 13, 15]), rank_spans([])
    ('8, 10-13, 15', 'none')
    """
    if not ranks:
        return "none"
    begins = [0, *(k + 1 for k, (a, b) in enumerate(pairwise(ranks)) if b != a + 1), len(ranks)]
    spans = [
        f"{ranks[a]}-{ranks[b - 1]}" if b - a > 2 else ", ".join(map(str, ranks[a:b]))
        for a, b in pairwise(begins)
    ]
    more = f" and {len(spans) - limit} more" if len(spans) > limit else ""
    return ", ".join(spans[:limit]) + more


def stop_rows(verdict: Mapping[str, Any]) -> list[dict[str, str]]:
    """Word the communications that cannot end, in causal order.

    Parameters
    ----------
    verdict : mapping
        ``verdict`` of audit.json.

    Returns
    -------
    list of dict
        ``order, group, brief, call, reason, missing, waiting, after``, all as text.
    """
    rows = []
    for order, stop in enumerate(verdict["communicators"]):
        size = stop["size"].split("->")[0]
        call = f"{stop['collective'] or 'communication'} {stop['sequence']}"
        after = ", ".join(str(cause + 1) for cause in stop["causes"])
        rows.append({
            "order": str(order + 1),
            "group": f"{link_title(stop['id'])} {stop['description']}".strip(),
            "brief": f"{call} of group {', '.join(filter(None, (stop['id'], stop['description'])))}",
            "call": f"{call} {size} {stop['data_type']}".strip(),
            "reason": _REASONS.get(stop["reason"], stop["reason"]),
            "missing": rank_spans(stop["missing_ranks"]),
            "waiting": rank_spans(stop["waiting_ranks"]),
            "after": after or "-",
        })  # fmt: skip
    return rows


def summary_parts(document: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Lay out the summary in a terminal.

    Parameters
    ----------
    document : mapping
        Content of audit.json of flight-recorder dumps.

    Returns
    -------
    list of (str, str, int)
        Heading, text, and most lines of it.
    """
    verdict, job = document["verdict"], document["job"]
    rows = stop_rows(verdict)
    caveats = document["caveats"]
    dumps = (
        f"{job['ranks_dumped']:,} of {counted(job['ranks'], 'rank')}, "
        f"{job['entries']:,} calls of {counted(job['communicators'], 'group')}; nothing is timed"
    )
    parts = [
        ("Dumps", dumps, 2),
        ("Verdict", f"{verdict['kind'].upper()} - {headline(verdict)}", 2),
        ("", verdict["summary"], 5),
        ("What to do", remedy(document), 3),
    ]
    for k, row in enumerate(rows[:4]):
        text = f"{row['brief']}: ranks {row['missing']} {row['reason']}, {row['waiting']} wait"
        parts.append(("Stands still" if k == 0 else "", f"{row['order']}. {text}", 2))
    if len(rows) > 4:
        parts.append(("", f"{len(rows) - 4} more, in the order of cause, in audit.json", 1))
    if verdict["undumped_ranks"]:
        parts.append(("No dump of", _ranks(verdict["undumped_ranks"]), 1))
    parts.append(("Taken", verdict["confidence_method"], 2))
    if caveats:
        parts.append(("Caveats", f"{len(caveats)}; first: {caveats[0]['text']}", 2))
    return parts


def _ranks(ranks: Sequence[int]) -> str:
    return f"rank{'' if len(ranks) == 1 else 's'} {rank_spans(ranks)}"
