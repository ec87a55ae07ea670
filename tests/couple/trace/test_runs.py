"""Ranks recorded at another time: of one run on clocks that err, or of another run."""

import json

import polars as pl
import pytest

from loadpath.couple.trace import couple_trace
from loadpath.ingest.kineto import read_kineto
from loadpath.testing import kineto_trace, make_job

DAY_NS = 86_400 * 10**9


def couple_runs(folder, seeds, later_ns):
    """Couple a job of four ranks; each rank's trace is of the run of its seed, later by so much."""
    for rank, (seed, later) in enumerate(zip(seeds, later_ns, strict=True)):
        trace = kineto_trace(make_job(seed, pp=1, dp=4, recorder="kineto", steps=4), rank)
        trace["baseTimeNanoseconds"] += later
        (folder / f"rank{rank}.json").write_text(json.dumps(trace))
    return couple_trace(read_kineto([folder]))


def said(job, code):
    return job.caveat.filter(pl.col("code") == code)["text"].to_list()


@pytest.mark.parametrize("later_ns", [DAY_NS, -DAY_NS, 3_600 * 10**9])
def test_a_rank_of_another_run_is_refused_by_name(tmp_path, later_ns):
    job = couple_runs(tmp_path, (1, 1, 2, 1), (0, 0, later_ns, 0))
    (text,) = said(job, "other_run")
    assert "rank 2 by" in text
    assert not job.instance["matched"].any()


def test_two_ranks_of_each_of_two_runs_are_refused(tmp_path):
    job = couple_runs(tmp_path, (1, 1, 2, 2), (0, 0, DAY_NS, DAY_NS))
    assert "rank 2 by 86,400 s, rank 3 by 86,400 s" in said(job, "other_run")[0]


def test_a_clock_that_is_a_day_off_is_one_run_if_its_communications_fit(tmp_path):
    job = couple_runs(tmp_path, (1, 1, 1, 1), (0, 0, DAY_NS, 0))
    assert not said(job, "other_run")
    assert "rank 2 by 86,400 s" in said(job, "clocks_far")[0]
    assert job.instance["matched"].all()


def test_ranks_recorded_together_raise_no_doubt(tmp_path):
    job = couple_runs(tmp_path, (1, 1, 1, 1), (0, 5_000_000, 0, 0))
    assert not said(job, "other_run")
    assert not said(job, "clocks_far")
