"""The path over a timeline: what is drawn of few and of many changes of rank."""

import numpy as np
import polars as pl
import pytest

from loadpath.brief.path_marks import MOST_HOPS, WIDE, trace_path


def path(ranks, length=1.0, excess=0.0):
    start = np.arange(len(ranks)) * length
    return pl.DataFrame(
        {
            "rank": ranks,
            "start_s": start,
            "end_s": start + length,
            "excess_s": [excess] * len(ranks),
        }
    )


def test_a_path_of_few_turns_is_drawn_turn_by_turn():
    runs, late, hops = trace_path(path([0, 0, 1, 0], 10.0, 2.0), {0, 1}, (5.0, 1.0))
    assert [(run.rank, run.start, run.end) for run in runs] == [
        (0, 5, 25),
        (1, 25, 35),
        (0, 35, 45),
    ]
    assert [(hop.source, hop.target, hop.end) for hop in hops] == [(0, 1, 25), (1, 0, 35)]
    assert [(bar.rank, bar.start, bar.end) for bar in late][:2] == [(0, 13, 15), (0, 23, 25)]


def test_ranks_that_are_not_drawn_are_passed_over():
    runs, _, hops = trace_path(path([0, 7, 0], 10.0), {0}, (0.0, 1.0))
    assert [(run.start, run.end) for run in runs] == [(0, 30)]
    assert hops == []


def test_of_very_many_turns_neighbours_are_drawn_as_one():
    turns = 20_000
    runs, _, hops = trace_path(path([0, 1] * (turns // 2)), {0, 1}, (0.0, WIDE / turns))
    assert [run.rank for run in runs] == [0, 1]
    assert runs[0].end - runs[0].start == pytest.approx(WIDE, rel=0.01)
    assert 1 < len(hops) <= MOST_HOPS
