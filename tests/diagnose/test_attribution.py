"""Removal and addition of groups of ops, against numbers done by hand."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.diagnose.peer_jobs import MS, coupled, peers
from tests.diagnose.small_jobs import communicate, compute

from loadpath.diagnose import attribution
from loadpath.diagnose.attribution import attribute
from loadpath.diagnose.effects import nest_effects
from loadpath.tables.results import ATTRIBUTION


def attribution_of(small, by):
    effects = nest_effects(small)
    table = attribute(small, effects.work_ns, effects.ideal_ns)
    return {row["key"]: row for row in table.filter(pl.col("by") == by).iter_rows(named=True)}


def test_slow_rank_takes_all_the_waste_by_removal_and_by_addition():
    # step 100 + 20 with, 70 + 20 without rank 3: S = 120 / 90
    rank = attribution_of(peers([70, 70, 70, 100], steps=2), "rank")["3"]
    assert rank["slowdown_ratio"] == pytest.approx(120 / 90)
    assert rank["removal_ratio"] == pytest.approx(1.0)
    assert rank["addition_ratio"] == pytest.approx(1.0)
    assert rank["gain_s"] == pytest.approx(0.03)


def test_two_redundant_ranks_return_nothing_alone_and_everything_by_addition():
    ranks = attribution_of(peers([70, 70, 100, 100], steps=2), "rank")
    assert [ranks[r]["removal_ratio"] for r in "23"] == pytest.approx([0.0, 0.0])
    assert [ranks[r]["addition_ratio"] for r in "23"] == pytest.approx([1.0, 1.0])


def test_ranks_that_share_a_loss_split_it_by_what_lies_between_them():
    # rank 3 is 30 late and rank 2 is 20: without rank 3 ten are saved
    ranks = attribution_of(peers([70, 70, 90, 100], steps=2), "rank")
    assert ranks["3"]["removal_ratio"] == pytest.approx(10 / 30)
    assert ranks["2"]["addition_ratio"] == pytest.approx(20 / 30)
    assert ranks["0"]["removal_ratio"] == pytest.approx(0.0)


def test_steps_share_the_waste_by_what_each_of_them_loses():
    # step 0 loses 30 and step 1 nothing, steps 2 and 3 lose 15 each
    small = peers([[70, 70, 100], [70, 70, 70], [70, 70, 85], [70, 70, 85], [70, 70, 70]])
    steps = attribution_of(small, "step")
    shares = [steps[str(k)]["removal_ratio"] for k in range(5)]
    assert shares == pytest.approx([0.5, 0.0, 0.25, 0.25, 0.0])
    assert sum(row["gain_s"] for row in steps.values()) == pytest.approx(0.060 / 5)


def test_shares_are_not_printed_where_there_is_no_waste():
    # 0.3 of 90.3 is under half a percent
    table = attribution_of(peers([70, 70, 70, 70.3], steps=2), "rank")
    assert all(np.isnan(row["removal_ratio"]) for row in table.values())
    assert table["3"]["gain_s"] == pytest.approx(0.0003)


def test_slow_link_is_named_among_links():
    # pairs 0-1 and 2-3 and 4-5; the last takes 50 instead of 20
    ops = [
        op
        for r in range(6)
        for op in (compute(r, 70 * MS), communicate(r, (50 if r > 3 else 20) * MS))
    ]
    links = attribution_of(coupled(ops, [[1, 3], [5, 7], [9, 11]]), "link")
    assert links["all_reduce 4,5"]["removal_ratio"] == pytest.approx(1.0)
    assert set(links) == {"all_reduce 0,1", "all_reduce 2,3", "all_reduce 4,5"}


def test_a_lone_link_is_not_listed():
    assert not attribution_of(peers([70, 80], steps=2), "link")


def test_columns_without_choice_are_not_listed():
    table = attribution_of(peers([70, 80], steps=2), "stage")
    assert not table


def test_classes_beyond_the_largest_are_one_group(monkeypatch):
    monkeypatch.setattr(attribution, "MOST_CLASSES", 2)
    ops = [compute(r, w, name=n) for r in range(2) for n, w in (("a", 5), ("b", 50), ("c", 7))]
    classes = attribution_of(coupled(ops, []), "op_class")
    assert set(classes) == {"b", "other"}


def test_many_groups_are_replayed_in_batches(monkeypatch):
    whole = attribution_of(peers([70, 75, 80, 90], steps=2), "rank")
    monkeypatch.setattr(attribution, "COLUMNS_AT_ONCE", 3)
    parts = attribution_of(peers([70, 75, 80, 90], steps=2), "rank")
    assert whole == parts


def test_rows_are_sorted_by_slowdown_and_ranks_by_number():
    small = peers([70] * 11 + [100], steps=2)
    effects = nest_effects(small)
    table = attribute(small, effects.work_ns, effects.ideal_ns).filter(pl.col("by") == "rank")
    assert table["key"].to_list()[0] == "11"
    assert table["slowdown_ratio"].is_sorted(descending=True)
    ATTRIBUTION.validate(table)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(50, 99), min_size=3, max_size=5))
def test_removal_never_returns_more_than_the_waste(works):
    table = attribution_of(peers(works, steps=1), "rank")
    gains = [row["gain_s"] for row in table.values()]
    level = sorted(works)[(len(works) - 1) // 2]
    assert max(gains) <= (max(works) - level) / 1e3 + 1e-6
