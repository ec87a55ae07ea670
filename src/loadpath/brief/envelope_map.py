"""What the job would bear: step time by how much slower how many ranks are, and for how long."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from loadpath.brief.drawing import bars, label, labels, rectangle, width_of
from loadpath.brief.names import counted
from loadpath.brief.picture import Figure, frame
from loadpath.units import format_ratio

__all__ = ["envelope_map"]

_COLOURS = {"meets": "#9fc5a8", "depends": "#e8cf86", "breaks": "#e0a39a"}
_WORDS = {
    "meets": "within the bound",
    "depends": "depends on which ranks, and when",
    "breaks": "breaks the bound",
}
_CELL, _HIGH, _GAP, _TOP, _LEFT = 47.0, 22.0, 16.0, 40.0, 92.0
_TEXT = 'fill="#1b1f24" font-size="10.5" text-anchor="middle"'
_LIMIT = ("n_ranks", "share_ratio", "duration_ratio", "size_ratio", "most_ratio")
_SOFT = 'fill-opacity=".7"'


def envelope_map(document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> Figure:
    """Draw the failure envelope, a panel for each duration.

    Parameters
    ----------
    document : mapping
        Content of audit.json.
    tables : mapping of str to polars.DataFrame
        Table ``failure_envelope``.

    Returns
    -------
    Figure
        Figure ``envelope``; its table holds the limits.
    """
    table = tables["failure_envelope"]
    title = "By how many percent slow ranks lengthen a step of ranks that are alike"
    limits = table.filter(pl.col("what") == "limit").select(_LIMIT)
    if table.is_empty():
        return Figure("envelope", title, "What the job would bear was not assessed.", "", limits)
    words = document["failure_envelope"]["summary"]
    body, size = _drawn(table)
    return frame(Figure("envelope", title, words, "", limits), size, body)


def _drawn(table: pl.DataFrame) -> tuple[str, tuple[float, float]]:
    """Draw panels, mark and key; and say how large that is."""
    cells = table.filter(pl.col("what") == "grid").to_dicts()
    job = table.filter(pl.col("what") == "job").row(0, named=True)
    durations = sorted({cell["duration_ratio"] for cell in cells})
    n_ranks = sorted({cell["n_ranks"] for cell in cells})
    axes = sorted({cell["size_ratio"] for cell in cells}, reverse=True), n_ranks
    wide = max(len(n_ranks) * _CELL, *(width_of(_slow_for(d)) for d in durations)) + _GAP
    body = [_sizes(axes[0])]
    for panel, duration in enumerate(durations):
        mine = [cell for cell in cells if cell["duration_ratio"] == duration]
        body += _panel(mine, axes, _LEFT + panel * wide, _slow_for(duration))
    body.append(_stand(job, axes, _LEFT + (len(durations) - 1) * wide))
    bottom = _TOP + len(axes[0]) * _HIGH
    key, end = _key(bottom + 52, job)
    right = max(_LEFT + len(durations) * wide - _GAP, end)
    return "".join(body) + key, (right + 12, bottom + 90)


def _slow_for(ratio: float) -> str:
    return f"slow for {'the whole step' if ratio == 1 else f'1/{round(1 / ratio)} of a step'}"


def _sizes(sizes: list[float]) -> str:
    texts = [
        label(_LEFT - 8, _TOP + (k + 0.68) * _HIGH, f"+{format_ratio(size)}", anchor="end")
        for k, size in enumerate(sizes)
    ]
    return label(_LEFT - 8, _TOP - 8, "work longer by", anchor="end", style=_SOFT) + "".join(texts)


def _panel(
    cells: list[dict[str, Any]], axes: tuple[list[float], list[int]], left: float, words: str
) -> list[str]:
    sizes, n_ranks = axes
    parts = [label(left, _TOP - 8, words, style='font-weight="600"')]
    boxes: dict[str, list[tuple[float, float, float, float]]] = {state: [] for state in _COLOURS}
    texts = []
    for cell in cells:
        x = left + n_ranks.index(cell["n_ranks"]) * _CELL
        y = _TOP + sizes.index(cell["size_ratio"]) * _HIGH
        boxes[cell["state"]].append((x, y, _CELL - 1, _HIGH - 1))
        texts.append((x + _CELL / 2, y + 15, f"+{format_ratio(cell['growth_ratio'])[:-2]}"))
    parts += [bars(of_state, f'fill="{_COLOURS[state]}"') for state, of_state in boxes.items()]
    parts.append(labels(texts, _TEXT))
    bottom = _TOP + len(sizes) * _HIGH
    parts += [
        label(left + (k + 0.5) * _CELL, bottom + 14, str(n), anchor="middle")
        for k, n in enumerate(n_ranks)
    ]
    return [*parts, label(left, bottom + 30, "slow ranks", style=_SOFT)]


def _stand(job: Mapping[str, Any], axes: tuple[list[float], list[int]], left: float) -> str:
    """Mark the cell of the last panel that is nearest to the job."""
    if job["n_ranks"] == 0:
        return ""
    sizes, n_ranks = axes
    row = min(range(len(sizes)), key=lambda k: abs(sizes[k] - job["size_ratio"]))
    column = min(range(len(n_ranks)), key=lambda k: abs(n_ranks[k] - job["n_ranks"]))
    return _mark(left + column * _CELL - 0.5, _TOP + row * _HIGH - 0.5)


def _mark(x: float, y: float) -> str:
    """Draw a frame that shows on every colour and hides no number."""
    halo = rectangle((x, y), (_CELL, _HIGH), 'fill="none" stroke="#fff" stroke-width="5"')
    dark = 'fill="none" stroke="#1b1f24" stroke-width="2.4"'
    return halo + rectangle((x, y), (_CELL, _HIGH), dark)


def _key(y: float, job: Mapping[str, Any]) -> tuple[str, float]:
    """Explain the colours, and below where the job stands; and where the longer line ends."""
    x, parts = _LEFT, []
    for state, words in _WORDS.items():
        parts.append(rectangle((x, y - 9), (12, 12), f'fill="{_COLOURS[state]}"'))
        parts.append(label(x + 17, y + 1, words))
        x += 30 + width_of(words)
    slow = f"{counted(job['n_ranks'], 'rank')} slow by up to {format_ratio(job['size_ratio'])}"
    standing = (
        f"nearest to this job: {slow if job['n_ranks'] else 'no cell, no rank is slow'}; "
        f"its step +{format_ratio(job['growth_ratio'])}"
    )
    parts += [_mark(_LEFT, y + 12), label(_LEFT + _CELL + 9, y + 27, standing)]
    return "".join(parts), max(x, _LEFT + _CELL + 9 + width_of(standing))
