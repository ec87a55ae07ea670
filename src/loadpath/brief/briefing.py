"""The briefing: one self-contained page for a person who did not run the tool."""

import json
import re
from collections.abc import Mapping
from typing import Any

import jinja2
import polars as pl

from loadpath.brief.cards import cards
from loadpath.brief.doubts import doubts
from loadpath.brief.figures import FIGURE_NAMES, NOT_SHOWN, figure
from loadpath.brief.grid import Grid, grid, shown
from loadpath.brief.names import cause_name, counted, mechanism_name, place_name, recorded_ranks
from loadpath.brief.remedy import remedy
from loadpath.brief.stability_words import stability_answers, variance_grid, vector_grid
from loadpath.brief.stops import is_timeless, rank_spans, stop_rows
from loadpath.brief.visible import visible
from loadpath.brief.wording import accuses, bubble_word, decision, headline, time_doubt, times_word

__all__ = ["environment", "render_briefing"]

_SHORT = 16
_JOINT = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=_)(?=[^_])|(?<=::)|(?<=/)(?=\w{3})")
_VIEW = ("view", "accuses", "evidence")
_POLICY = (
    "policy",
    "target",
    "gain_s",
    "gain_low_s",
    "gain_high_s",
    "gain_ratio",
    "saving_ratio",
    "cost",
    "basis",
)
_LIMIT = (
    "phase",
    "resource",
    "limit",
    "elasticity_ratio",
    "elasticity_low_ratio",
    "elasticity_high_ratio",
    "gain_tenth_ratio",
    "gain_half_ratio",
    "gain_whole_ratio",
)
_FACTOR = ("factor", "value_ratio", "value_low_ratio", "value_high_ratio", "part_s", "whole_s")
_CAUSE = (
    "key",
    "mechanism",
    "gain_s",
    "gain_low_s",
    "gain_high_s",
    "removal_ratio",
    "addition_ratio",
    "excess_s",
    "state",
    "intermittent",
)


def render_briefing(document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> str:
    """Write the briefing as one HTML page without scripts or network.

    Parameters
    ----------
    document : mapping
        Content of audit.json, schema ``loadpath.audit/1``; ``stake`` and ``job.rank_time_s`` are
        shown where present.
    tables : mapping of str to polars.DataFrame
        Result tables by name (`loadpath.tables.results`), ``rank`` and ``caveat``.

    Returns
    -------
    str
        HTML, the same bytes for the same input.
    """
    if is_timeless(document):
        return _stops_page(document)
    verdict = document["verdict"]
    page = {
        "document": document,
        "verdict": verdict,
        "assessed": verdict["kind"] != "not_assessable",
        "not_shown": NOT_SHOWN,
        "nothing": "Not assessed." if verdict["kind"] == "not_assessable" else "None.",
        "cards": cards(document),
        "accuses": accuses(verdict),
        "headline": headline(verdict),
        "decision": decision(verdict),
        "remedy": remedy(document),
        "recorded": recorded_ranks(document["job"]),
        "place": place_name(verdict),
        "mechanism": mechanism_name(verdict),
        "doubts": doubts(document),
        "figures": {name: figure(name, document, tables) for name in FIGURE_NAMES},
        "grids": _grids(tables, document) | _stability_grids(document, tables),
        "bubble": bubble_word(document["job"]),
        "times": times_word(document["record"]),
        "answers": stability_answers(document, tables),
        "as_of": document.get("as_of"),
        "time_doubt": time_doubt(document["record"]["source"]),
    }
    return environment().get_template("briefing.html").render(page) + "\n"


def _stops_page(document: Mapping[str, Any]) -> str:
    verdict = document["verdict"]
    page = {
        "document": document,
        "verdict": verdict,
        "accuses": accuses(verdict),
        "headline": headline(verdict),
        "decision": decision(verdict),
        "remedy": remedy(document),
        "stops": stop_rows(verdict),
        "as_of": document.get("as_of"),
    }
    return environment().get_template("stops.html").render(page) + "\n"


def _grids(tables: Mapping[str, pl.DataFrame], document: Mapping[str, Any]) -> dict[str, Grid]:
    by_gain = tables["attribution"].sort("gain_s", "by", "key", descending=[True, False, False])
    unproven = document["verdict"]["kind"] == "not_assessable"
    by_wait = tables["sink"].sort("wait_s", "sink", "rank", descending=[True, False, False])
    called = pl.col("sink").cast(pl.String).replace({"bubble": bubble_word(document["job"])})
    own = {name: grid(tables[name]) for name in ("frontier", "suspect") if name in tables}
    return own | {
        "cause": grid(_causes(tables["cause"].sort("order")), _CAUSE, n_most=12),
        "attribution": grid(by_gain, n_most=16),
        "sink": grid(by_wait.with_columns(called), n_most=12),
        "limitation": grid(_limits(tables["limitation"]), n_most=24),
        "efficiency": grid(_whole(tables["efficiency"]), n_most=8),
        "distance": grid(tables["distance"]),
        "blindness": grid(tables["blindness"], _VIEW if unproven else (), n_most=24),
    }


def _stability_grids(
    document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]
) -> dict[str, Grid]:
    return {
        "vector": vector_grid(document),
        "variance": variance_grid(tables),
        "policy": grid(tables["policy"], _POLICY, n_most=8),
        "interaction": grid(tables["interaction"], n_most=12),
    }


def _causes(causes: pl.DataFrame) -> pl.DataFrame:
    """Name the causes as people do, and leave out shares whose gain is not told from 0."""
    names = [cause_name(cause) for cause in causes.iter_rows(named=True)]
    known = ~((pl.col("gain_low_s") <= 0) & (pl.col("gain_high_s") >= 0))
    shares = [pl.when(known).then(name).alias(name) for name in ("removal_ratio", "addition_ratio")]
    return causes.with_columns(pl.Series("key", names, dtype=pl.String), *shares)


def _limits(limitation: pl.DataFrame) -> pl.DataFrame:
    """Leave out classes and phases that move the step by less than a thousandth of their change."""
    shown = limitation.filter((pl.col("elasticity_ratio") >= 0.001) | (pl.col("limit") == "all"))
    return shown.select(_LIMIT)


def _whole(efficiency: pl.DataFrame) -> pl.DataFrame:
    return efficiency.filter(pl.col("step") == -1).select(_FACTOR)


def environment() -> jinja2.Environment:
    """Make what templates are read with: escaped text, hidden characters spelled out, no silent gaps.

    Returns
    -------
    jinja2.Environment
        With the filters that the pages use.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("loadpath.brief", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters.update(
        shown=lambda value, name: shown(name, value),
        parts=_parts,
        grid=grid,
        json=_json,
        counted=counted,
        spans=rank_spans,
    )
    return environment


def _finalize(value: Any) -> Any:
    # Every text that is not markup made here has its hidden characters spelled out.
    plain = isinstance(value, str) and not hasattr(value, "__html__")
    return visible(value, limit=2000) if plain else value


def _parts(name: str) -> list[str]:
    """Split a long name where a line may break; short ones stay whole."""
    return _JOINT.split(name) if len(name) > _SHORT else [name]


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
