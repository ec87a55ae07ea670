"""Steps bound by the device, communication, input, launches and other host work are told apart."""

from typing import Any

import pytest

from loadpath.couple.trace import couple_trace
from loadpath.diagnose.step_bound import step_bounds
from loadpath.ingest.kineto import read_kineto
from loadpath.testing import Cause, job, make_job, write_kineto

DATA_PARALLEL: dict[str, Any] = {"pp": 1, "dp": 2, "steps": 3, "microbatches": 2}
PLANTED: dict[str, dict[str, Any]] = {
    "device": {},
    "launch": {"launch_bound": True},
    "communication": {"transfer_ratio": 5.0},
    "input": {"cause": Cause("host", 1.5, place="rank", mechanism="input")},
    "host": {"cause": Cause("host", 1.5, place="rank", mechanism="host")},
}


@pytest.fixture
def bounds(tmp_path):
    def bound(**shape):
        planted = make_job(5, recorder="kineto", **DATA_PARALLEL, **shape)
        return step_bounds(couple_trace(read_kineto([write_kineto(planted, tmp_path)])))

    return bound


@pytest.mark.parametrize(("kind", "shape"), PLANTED.items(), ids=PLANTED)
def test_a_job_is_bound_by_what_was_planted(bounds, kind, shape):
    assert bounds(**shape)["bound"].cast(str).to_list() == [kind] * 3


def test_a_host_that_pauses_between_short_kernels_is_not_bound_by_launches(bounds):
    pauses = Cause("host", 3.0, place="rank", mechanism="host")
    step = bounds(launch_bound=True, cause=pauses).row(1, named=True)
    assert step["bound"] == "host"
    assert step["launch_s"] > 0


def test_a_job_without_host_threads_has_no_bounds():
    assert step_bounds(couple_trace(job(ranks=2).compute(70).all_reduce(20).recording())).is_empty()
