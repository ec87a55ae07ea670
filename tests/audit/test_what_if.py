"""Questions to a small job whose answers can be done in the head."""

from dataclasses import replace

import polars as pl
import pytest
from tests.diagnose.peer_jobs import MS, coupled, peers
from tests.diagnose.small_jobs import communicate, compute

from loadpath.audit import Settings
from loadpath.audit.what_if import answer_what_if
from loadpath.errors import UsageError


@pytest.fixture(scope="module")
def small():
    # step 100 + 20 ms; without rank 3's excess 70 + 20 ms
    return peers([70, 70, 70, 100], steps=2, hosts=["a", "a", "b", "b"])


def test_ideal_rank_saves_what_it_is_slower_than_its_peers(small):
    answer = answer_what_if(small, ["rank=3:ideal"])
    assert answer.step_s == pytest.approx(0.120)
    assert answer.step_s_without == pytest.approx(0.090)
    assert answer.saved_s == pytest.approx(0.030)
    assert answer.saved_ratio == pytest.approx(0.25)
    assert answer.n_op == 4
    assert answer.basis == "replayed"


@pytest.mark.parametrize(
    ("change", "step_ms"),
    [
        ("rank=0:ideal", 120),
        ("rank=3:0.9", 110),  # 90 of computation; the others still need 20 to transfer
        ("rank=3:2", 250),  # 200 + 40; in the second step the others start 20 before rank 3
        ("host=b:ideal", 90),
        ("class=compute:0.5", 70),
        ("class=all_reduce:0.5", 110),
        ("kind=communicate:0", 100),
        ("mechanism=unknown:ideal", 90),
        ("step=0:ideal", 105),
        ("replica=0:ideal", 90),
        ("stage=0:ideal", 90),
        ("stage=last:0.5", 60),
        ("link=all_reduce 0,1,2,3:2", 140),
    ],
)
def test_change_gives_the_step_done_by_hand(small, change, step_ms):
    answer = answer_what_if(small, [change])
    assert answer.step_s_without * 1e3 == pytest.approx(step_ms)


def test_changes_apply_one_after_the_other(small):
    answer = answer_what_if(small, ["rank=3:ideal", "class=compute:0.5"])
    assert answer.step_s_without == pytest.approx(0.055)
    assert answer.changes == ("rank=3:ideal", "class=compute:0.5")


def test_ideal_stage_does_as_the_other_stages_do():
    # stages of one rank each: 70, 70, 100
    ops = [
        op
        for r, w in enumerate([70, 70, 100])
        for op in (compute(r, w * MS), communicate(r, 20 * MS))
    ]
    small = coupled(ops, [[1, 3, 5]], op={"stage": [o.rank for o in ops]})
    assert answer_what_if(small, ["stage=last:ideal"]).step_s_without == pytest.approx(0.090)
    assert answer_what_if(small, ["rank=2:ideal"]).step_s_without == pytest.approx(0.120)


def test_factor_of_one_changes_nothing(small):
    answer = answer_what_if(small, [" rank=3:1 "])
    assert answer.saved_s == 0.0


def test_all_changes_that_mean_nothing_are_named_at_once(small):
    with pytest.raises(UsageError) as refused:
        answer_what_if(
            small, ["rank=9:ideal", "rank 3", "colour=red:ideal", "rank=3:1e", "rank=3:-1"]
        )
    text = str(refused.value)
    assert "'rank=9:ideal' matches nothing (there are 0, 1, 2, 3)" in text
    assert "'rank 3' is no change" in text
    assert "'colour=red:ideal' is no change" in text
    assert "'rank=3:1e' has no factor of 0 or more" in text
    assert "'rank=3:-1' has no factor of 0 or more" in text
    assert "Write BY=KEY:VALUE" in text


def test_infinite_factor_is_refused(small):
    with pytest.raises(UsageError, match="no factor of 0 or more"):
        answer_what_if(small, ["rank=3:1e999"])


def test_no_change_is_refused(small):
    with pytest.raises(UsageError, match="no change given"):
        answer_what_if(small, [])


def test_host_that_no_rank_runs_on_matches_nothing(small):
    nowhere = replace(small, rank=small.rank.with_columns(host=pl.lit("")))
    with pytest.raises(UsageError, match=r"'host=b:ideal' matches nothing \(this job has no"):
        answer_what_if(nowhere, ["host=b:ideal"])


def test_job_without_time_saves_no_share():
    empty = coupled([compute(0, 0), compute(1, 0)], [])
    assert answer_what_if(empty, ["rank=0:2"]).saved_ratio == 0.0


def test_an_answer_that_the_replay_does_not_bear_says_so(small):
    assert not answer_what_if(small, ["rank=0:ideal"]).doubt
    alone = peers([70], steps=2, hosts=["a"])
    assert "comparing ranks" in answer_what_if(alone, ["rank=0:0.5"]).doubt


def test_the_gate_of_the_audit_decides_what_an_answer_bears(small):
    late = replace(small, work_ns=small.work_ns // 2)
    assert "misses the measured steps" in answer_what_if(late, ["rank=0:0.5"]).doubt
    assert not answer_what_if(late, ["rank=0:0.5"], Settings(gate=0.9)).doubt
