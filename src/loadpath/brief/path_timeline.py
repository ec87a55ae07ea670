"""The causal path on a timeline of several ranks: actual above, without the cause below."""

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from loadpath.brief.chart import PART_COLOURS
from loadpath.brief.drawing import bars, label, line, number, rectangle, strips, ticks, width_of
from loadpath.brief.lane_pool import Bar, pooled_bars
from loadpath.brief.names import rank_names
from loadpath.brief.path_marks import MOST_HOPS, WIDE, trace_path
from loadpath.brief.picture import Figure, frame
from loadpath.brief.visible import visible
from loadpath.brief.wording import accuses
from loadpath.units import format_seconds

__all__ = ["path_timeline"]

_ROW, _TOP = 22.0, 40.0
_N_RANKS = 12
_TITLES = {"actual": "As it ran", "without_cause": "Replayed without the cause"}
_WORDS = {
    "compute": "compute",
    "host": "host work",
    "input": "input",
    "transfer": "transfer",
    "wait": "wait",
}


def path_timeline(document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> Figure:
    """Draw the longest step with its critical path, and the same step without the cause.

    Parameters
    ----------
    document : mapping
        Content of audit.json.
    tables : mapping of str to polars.DataFrame
        Tables ``path``, ``timeline`` and ``rank``.

    Returns
    -------
    Figure
        Figure ``path``; its table holds the path's ops, those with the most excess first.
    """
    path, lanes = tables["path"], tables["timeline"]
    actual = path.filter(pl.col("scenario") == "actual").sort("order")
    top = actual.sort("excess_s", "order", descending=[True, False]).head(15)
    table = top.select("order", "rank", "kind", "name", "start_s", "end_s", "excess_s")
    title = "The path that sets the step time"
    if actual.is_empty():
        return Figure("path", title, "The path was not assessed.", "", table)
    accused = document["verdict"].get("culprit_ranks") or ()
    scenarios = _scenarios(path, document["verdict"]["kind"])
    ranks = _shown_ranks(actual, lanes, accused)
    blames = _blames(document["verdict"])
    late = _largest(actual, accused, blames=blames)
    words = _describe(path, scenarios, late, n_shown=(len(ranks), lanes["rank"].n_unique()))
    names = rank_names(tables, limit=20)
    texts = {rank: f"rank {names.get(rank, rank)}" for rank in ranks}
    figure = Figure("path", title, words, "", table)
    if not blames:
        # An excess that all ranks share must not point at the one rank the path happens to visit.
        path = path.with_columns(excess_s=pl.lit(0.0))
    return frame(figure, *_draw(_since_begin(path), lanes, scenarios, texts))


def _since_begin(path: pl.DataFrame) -> pl.DataFrame:
    """Cut what lies before the step began: work that ran over from the step before."""
    inside = path.filter(pl.col("end_s") > 0).with_columns(pl.col("start_s").clip(0))
    long = pl.col("end_s") - pl.col("start_s")
    return inside.with_columns(excess_s=pl.min_horizontal("excess_s", long))


def _blames(verdict: Mapping[str, Any]) -> bool:
    return accuses(verdict) and verdict["place"] != "all"


def _scenarios(path: pl.DataFrame, kind: str) -> list[str]:
    if kind in {"none", "not_assessable"}:
        return ["actual"]
    return [name for name in _TITLES if not path.filter(pl.col("scenario") == name).is_empty()]


def _draw(
    path: pl.DataFrame, lanes: pl.DataFrame, scenarios: list[str], texts: Mapping[int, str]
) -> tuple[tuple[float, float], str]:
    longest = max(_last(path, scenarios), _last(lanes, scenarios))
    left = max(width_of(text) for text in texts.values()) + 12
    marked = bool(path["excess_s"].max())
    body, y = [_legend(left, marked=marked), _arrow_head()], _TOP
    for scenario in scenarios:
        chosen = pl.col("scenario") == scenario
        panel = (path.filter(chosen).sort("order"), lanes.filter(chosen))
        body.append(_panel(scenario, panel, texts, (left, y, WIDE / longest)))
        y += 26 + _ROW * len(texts) + 12
    body.append(_time_axis(left, y, longest))
    return (left + WIDE + 66, y + 36), "".join(body)


def _last(table: pl.DataFrame, scenarios: list[str]) -> float:
    ends = table.filter(pl.col("scenario").cast(pl.String).is_in(scenarios))["end_s"]
    return float(max(ends.to_list(), default=0.0)) or 1e-9


def _shown_ranks(actual: pl.DataFrame, lanes: pl.DataFrame, accused: Iterable[int]) -> list[int]:
    # The accused first, then by time on the path, then whoever else is drawn.
    on_path = actual.group_by("rank").agg((pl.col("end_s") - pl.col("start_s")).sum().alias("long"))
    by_length = on_path.sort("long", "rank", descending=[True, False])["rank"].to_list()
    others = lanes["rank"].unique().sort().to_list()
    first = [rank for rank in accused if rank in set(by_length) | set(others)][:4]
    return sorted(list(dict.fromkeys([*first, *by_length, *others]))[:_N_RANKS])


def _largest(actual: pl.DataFrame, accused: Iterable[int], *, blames: bool) -> str:
    own = actual.filter(pl.col("rank").is_in(list(accused)))
    ops = actual if own.is_empty() else own
    most = ops.sort("excess_s", "order", descending=[True, False]).row(0, named=True)
    if most["excess_s"] <= 0:
        return ""
    if not blames:
        return " No rank is marked late: the verdict names none, so the path only passes by."
    return (
        f" The stretch of ops with the largest excess is on rank {most['rank']}, "
        f"{format_seconds(most['excess_s'])} beyond its peers; "
        f"the longest of its ops is {visible(most['name'], limit=80)}."
    )


def _describe(
    path: pl.DataFrame, scenarios: list[str], late: str, *, n_shown: tuple[int, int]
) -> str:
    ends = [f"{_TITLES[name].lower()}: {format_seconds(_last(path, [name]))}" for name in scenarios]
    few = f" {n_shown[0]} of {n_shown[1]} ranks are drawn." if n_shown[0] < n_shown[1] else ""
    early = -min(path["start_s"].to_list(), default=0.0)
    over = f" The path begins {format_seconds(early)} before the step." if early > 0 else ""
    turns = max(_changes(path.filter(pl.col("scenario") == name)) for name in scenarios)
    dense = (
        f" The path changes rank {turns:,} times; what lies too close to be told apart is drawn as one."
        if turns > MOST_HOPS
        else ""
    )
    return f"The longest step ends after, {'; '.join(ends)}.{over}{late}{few}{dense}"


def _changes(path: pl.DataFrame) -> int:
    return int(path.sort("order")["rank"].rle().len()) - 1


def _panel(
    scenario: str,
    panel: tuple[pl.DataFrame, pl.DataFrame],
    texts: Mapping[int, str],
    origin: tuple[float, float, float],
) -> str:
    path, lanes = panel
    left, y, scale = origin
    rows = {rank: y + 26 + _ROW * i for i, rank in enumerate(texts)}
    end = left + _last(path, [scenario]) * scale
    base = y + 26 + _ROW * len(rows)
    parts = [label(left, y + 16, _TITLES[scenario], style='font-size="12" font-weight="600"')]
    parts += [label(left - 8, rows[rank] + 14, text, anchor="end") for rank, text in texts.items()]
    parts += [line((left, top + _ROW), (left + WIDE, top + _ROW)) for top in rows.values()]
    parts += [_lane_bars(lanes, rows, (left, scale))]
    parts += [_path_marks(path, rows, (left, scale))]
    parts += [
        line((end, y + 22), (end, base + 4), 'stroke="currentColor" stroke-dasharray="3 3"'),
        label(
            end + 5, base - 6, format_seconds(_last(path, [scenario])), style='font-weight="600"'
        ),
    ]
    return "".join(parts)


def _lane_bars(lanes: pl.DataFrame, rows: Mapping[int, float], axis: tuple[float, float]) -> str:
    drawn = []
    by_kind = pooled_bars(
        [
            Bar(rank, kind, axis[0] + start * axis[1], axis[0] + end * axis[1])
            for rank, kind, start, end in lanes.select(
                "rank", "kind", "start_s", "end_s"
            ).iter_rows()
            if rank in rows
        ],
        (axis[0], axis[0] + WIDE),
    )
    for kind, group in by_kind.items():
        spans = [(bar.start, rows[bar.rank] + 11, bar.end - bar.start) for bar in group]
        drawn.append(strips(spans, 12, _look(kind, "stroke")))
    return "".join(drawn)


def _look(kind: str, paint: str = "fill") -> str:
    # Waiting is drawn faint: what ranks do, and what is late, should stand out from it.
    faint = f' {paint}-opacity=".4"' if kind == "wait" else ""
    return f'{paint}="{PART_COLOURS.get(kind, "#7f8793")}"{faint}'


def _path_marks(path: pl.DataFrame, rows: Mapping[int, float], axis: tuple[float, float]) -> str:
    runs, late, hops = trace_path(path, rows, axis)
    outline = 'fill="none" stroke="currentColor" stroke-width="1.5"'
    boxes = [(run.start, rows[run.rank] + 3, run.end - run.start, 16.0) for run in runs]
    spans = [(bar.start, rows[bar.rank] + 11, bar.end - bar.start) for bar in late]
    drawn = [_hop((hop.start, rows[hop.source]), (hop.end, rows[hop.target])) for hop in hops]
    marks = strips(spans, 12, f'stroke="{_LATE}"') + bars(boxes, outline)
    return f"{marks}<g {_HOP}>{''.join(drawn)}</g>" if drawn else marks


def _hop(start: tuple[float, float], end: tuple[float, float]) -> str:
    edge = 3 if end[1] > start[1] else 19
    return f'<path d="M{number(start[0])} {number(start[1] + 11)}L{number(end[0])} {number(end[1] + edge)}"/>'


_LATE = "#cf1020"
_HOP = 'stroke="currentColor" stroke-width="1.3" marker-end="url(#path-arrow)"'


def _arrow_head() -> str:
    return (
        '<defs><marker id="path-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" '
        'markerHeight="6" orient="auto"><path d="M0 0L8 4L0 8z" fill="currentColor"/></marker></defs>'
    )


def _legend(left: float, *, marked: bool) -> str:
    parts, x = [], left
    entries = [(_look(kind), words) for kind, words in _WORDS.items()]
    late = [(f'fill="{_LATE}"', "beyond its peers, on the path")] if marked else []
    for look, words in [*entries, *late]:
        parts += [rectangle((x, 10), (12, 10), look), label(x + 17, 19, words)]
        x += 36 + width_of(words)
    parts += [
        rectangle((x, 10), (12, 10), 'fill="none" stroke="currentColor" stroke-width="1.5"'),
        label(x + 17, 19, "the path"),
    ]
    return "".join(parts)


def _time_axis(left: float, y: float, longest: float) -> str:
    scale = WIDE / longest
    parts = [line((left, y), (left + WIDE, y), 'stroke="currentColor" stroke-opacity=".5"')]
    for tick in ticks(longest):
        x = left + tick * scale
        parts += [line((x, y), (x, y + 4), 'stroke="currentColor" stroke-opacity=".5"')]
        parts += [label(x, y + 17, format_seconds(tick), anchor="middle")]
    parts += [label(left + WIDE, y + 32, "time since the step began", anchor="end")]
    return "".join(parts)
