"""Small jobs against hand-computed times."""

import pytest

from loadpath.errors import UsageError
from loadpath.testing import job


def test_late_rank_delays_every_rank_at_the_all_reduce():
    # rank 0   compute 70 | wait 30 | all-reduce 20
    # rank 1   compute 100          | all-reduce 20
    op = job(ranks=2).compute([70, 100]).all_reduce(20).recording().op
    assert op["start_ns"].to_list() == [0, 70, 0, 100]
    assert op["duration_ns"].to_list() == [70, 50, 100, 20]


def test_collectives_are_numbered_within_their_group():
    op = job(ranks=2).all_reduce(5).compute(1).all_reduce(5).recording().op
    assert op.filter(op["kind"] == "communicate")["sequence"].to_list() == [0, 1, 0, 1]


def test_recording_of_a_small_job_is_one_step_of_all_ranks():
    recording = job(ranks=3).compute(70).all_reduce(20).recording()
    assert recording.step["end_ns"].to_list() == [90, 90, 90]
    assert recording.communicator["members"].to_list() == [[0, 1, 2]]
    assert recording.rank["rank"].to_list() == [0, 1, 2]


def test_negative_durations_are_refused():
    with pytest.raises(UsageError, match="negative"):
        job(ranks=2).compute(-1)
