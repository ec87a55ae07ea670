"""Doubts that an audit adds to those of the recording."""

from dataclasses import replace
from types import SimpleNamespace

import polars as pl
import pytest

from loadpath.audit.refusal import unexplained_caveat, why_doubted
from loadpath.audit.settings import Settings
from loadpath.couple.trace import couple_trace
from loadpath.tables import caveat_table
from loadpath.testing import job


@pytest.mark.parametrize(
    ("unexplained", "without_s", "doubted"),
    [(0.5, 0.98, True), (0.5, 0.4, False), (0.004, 1.0, False), (0.006, 1.0, True)],
)
def test_more_unexplained_than_named_is_a_caveat(unexplained, without_s, doubted):
    judgement = SimpleNamespace(step_s=1.0, step_without_s=without_s)
    caveat = unexplained_caveat(unexplained, judgement)  # type: ignore[arg-type]
    assert caveat["code"].to_list() == ["unexplained_path"] * doubted


def test_nothing_is_doubted_where_nothing_is_concluded():
    assert unexplained_caveat(0.9, None).is_empty()


@pytest.mark.parametrize(
    ("codes", "says"),
    [
        ([("instances_not_causal", "", 1)], "before another starts it (1 times)"),
        ([], "communications lack members (1 times); record all ranks"),
        ([("missing_rank", "rank 7 is missing", 1)], "rank 7 is missing; record all ranks"),
    ],
)
def test_why_nobody_is_cleared_tells_clocks_from_ranks_that_are_missing(codes, says):
    coupled = couple_trace(job(ranks=2).compute(1000).all_reduce(100).recording())
    instance = coupled.instance.with_columns(matched=pl.lit(value=False))
    unmatched = replace(coupled, instance=instance, caveat=caveat_table(codes))
    judgement = SimpleNamespace(kind="none", contradiction="", cause=None, step_s=1.0)
    assert says in why_doubted(unmatched, judgement, Settings())  # type: ignore[arg-type]
    assert why_doubted(coupled, judgement, Settings()) == ""  # type: ignore[arg-type]
