"""What helps, in plain words: what the verdict names, what policies return, and what they do for noise."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from loadpath.brief.grid import Cell, ratio_cell, seconds_cell
from loadpath.brief.wording import accuses, decision

__all__ = ["help_words", "noise_words"]

_ADVICE = {
    "replace": "To replace",
    "exclude": "To go on without",
    "remap": "That",
    "bucket": "To send",
    "overlap": "To hide",
    "backup": "Not to wait for",
    "checkpoint": "To write checkpoints at",
}
"""How the advice to follow a policy begins; its target follows."""
_HALF = 0.5
_OF_NOBODY = ("bucket", "overlap", "backup")
"""Policies that name no part as slow: what is left to do where every part is slow at times."""


def help_words(policies: pl.DataFrame, verdict: Mapping[str, Any]) -> Iterator[Cell]:
    """Say what returns most; of policies that cannot be told apart the simplest.

    Parameters
    ----------
    policies : polars.DataFrame
        Table ``policy``, from simple to costly.
    verdict : mapping
        ``verdict`` of audit.json: what it names may return more than any policy.

    Yields
    ------
    Cell
        Words and figures.
    """
    known = policies.drop_nulls("gain_low_s")
    best = _best(known, verdict["policy_ratio"])
    cause = _returns_more(verdict, best)
    if cause:
        yield Cell(
            f"What the verdict names: {decision(verdict)} If that is done wholly, it returns "
        )
        yield from (seconds_cell(cause["gain_s"]), Cell(" a step, "))
        yield ratio_cell(cause["gain_s"] / verdict["step_s"])
        yield Cell(", more than any policy that was replayed; what it takes is not in the record. ")
    others = "no other of them" if cause else "nothing else that the record lets replay"
    yield from _policy(best, rest=others, of_these=bool(cause))
    if best.is_empty() and policies.height:
        few = "Not assessed: one step gives no interval to hold a gain against."
        nothing = (
            "Nothing that the record lets replay returns time beyond its own interval without "
            "costing more machine time for the same work."
        )
        other = "No policy returns time beyond its own interval at no more machine time."
        yield Cell((other if cause else nothing) if known.height else few)


def noise_words(policies: pl.DataFrame, document: Mapping[str, Any]) -> Iterator[Cell]:
    """Say what noise costs, and what returns most where no part is to be replaced.

    Parameters
    ----------
    policies : polars.DataFrame
        Table ``policy``, from simple to costly.
    document : mapping
        Content of audit.json.

    Yields
    ------
    Cell
        Words and figures.
    """
    section, least = document["stability"], document["verdict"]["policy_ratio"]
    noise, share = section["loss"].get("emergent") or {}, section["emergent_share_ratio"]
    known = policies.filter(pl.col("policy").is_in(_OF_NOBODY)).drop_nulls("gain_low_s")
    if noise.get("low") is None or known.is_empty():
        return
    if noise["low"] > 0:
        yield from (Cell("Noise costs "), seconds_cell(noise["value"]))
        yield Cell(" a step, and steadier work returns no more. ")
    else:
        yield Cell("What noise costs is not told from nothing. ")
    if share["high"] is not None and share["high"] < _HALF:
        yield Cell("Slow parts cost more: they come first.")
        return
    best = _best(known, least)
    yield from _policy(best, rest="of what names no part as slow, nothing")
    if best.is_empty():
        yield Cell(
            "Of what names no part as slow (other messages, overlap, backups), nothing returns time beyond "
            "its own interval without costing more machine time for the same work."
        )


def _best(known: pl.DataFrame, least_ratio: float) -> pl.DataFrame:
    """Give the simplest of the policies that return most, one row or none."""
    # without noise intervals are points: what returns hardly more is not told to return more
    told = known.filter((pl.col("gain_low_s") > 0) & (pl.col("saving_ratio") > 0))
    most = told.sort("gain_s", descending=True).head(1)
    step_s = most["step_s"] + most["gain_s"]
    least = float((most["gain_low_s"] - least_ratio * step_s).sum())
    return told.filter(pl.col("gain_high_s") >= least).head(1)


def _policy(best: pl.DataFrame, *, rest: str, of_these: bool = False) -> Iterator[Cell]:
    """Say one policy, what it returns, and what it takes; `rest` is what returns no more."""
    for found in best.iter_rows(named=True):
        bound = "at most " if "at most" in found["basis"] else ""
        advice = _ADVICE[found["policy"]]
        yield Cell(f"Of these, {advice[:1].lower()}{advice[1:]}" if of_these else advice)
        yield Cell(f" {found['target']}: it returns {bound}")
        yield from (
            seconds_cell(found["gain_s"]),
            Cell(" a step, "),
            ratio_cell(found["gain_ratio"]),
        )
        yield Cell(
            f"; {rest} is told to return more. It takes {found['cost']}; the same work then takes "
        )
        yield from (ratio_cell(found["saving_ratio"]), Cell(" less machine time."))


def _returns_more(verdict: Mapping[str, Any], best: pl.DataFrame) -> Mapping[str, Any] | None:
    """Give the cause that the verdict names, if it is told to return more than the best policy."""
    policies_try_it = verdict["kind"] in {"rank", "host"} and verdict["place"] != "all"
    if policies_try_it or not accuses(verdict) or not verdict["causes"]:
        return None
    cause: Mapping[str, Any] = verdict["causes"][0]
    low = cause["gain_low_s"]
    return cause if low is not None and low > best["gain_high_s"].sum() else None
