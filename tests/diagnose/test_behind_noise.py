"""What noise of all ranks may be instead, and what is not said of healthy jobs."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from loadpath.audit import run_audit
from loadpath.diagnose.behind_noise import behind_noise
from loadpath.diagnose.candidate import Candidate
from loadpath.testing import Cause, make_job, write_kineto


@pytest.fixture
def verdict(tmp_path):
    """Verdict on a synthetic job recorded as traces."""

    def of(seed, cause=None, **shape):
        job = make_job(seed, recorder="kineto", pp=1, cause=cause, **shape)
        return run_audit(write_kineto(job, tmp_path), cache=False, brief=False).verdict

    return of


def candidate(place, ranks, key):
    return Candidate(
        place,
        place,
        "device",
        key,
        np.empty(0, np.int32),
        np.empty(0),
        significant=False,
        specificity=0,
        ranks=ranks,
    )


def test_of_what_returns_nearly_as_much_as_noise_does_one_rank_is_named_beside_it():
    table: Any = SimpleNamespace(source="op_table")
    near = [
        candidate("rank", (0, 1), "ranks 0, 1"),
        candidate("rank", (0,), "rank 0"),
        candidate("all", (0, 1), "noise of all ranks"),
    ]
    assert behind_noise(table, table, near) == ("rank 0",)
    assert behind_noise(table, table, near[::2]) == ()


@pytest.mark.parametrize(("seed", "microbatches"), [(1, 2), (2, 1)])
def test_unequal_data_of_replicas_of_one_rank_is_named_beside_the_noise(
    verdict, seed, microbatches
):
    cause = Cause("data", size=0.1)
    found = verdict(seed, cause, dp=6 // microbatches + 3, steps=16, microbatches=microbatches)
    assert found["kind"] == "jitter"
    assert "data of unequal work" in found["indistinguishable_from"]


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_noise_of_single_kernels_is_nothing_else(verdict, seed):
    found = verdict(seed, dp=6, steps=8, microbatches=2)
    assert found["kind"] in {"jitter", "none"}
    assert found["indistinguishable_from"] == []
