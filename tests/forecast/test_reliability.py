import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadpath.errors import InputError, UsageError
from loadpath.forecast.failure_paths import draw_runs, replay_run
from loadpath.forecast.reliability import (
    Failures,
    account_run,
    best_interval_s,
    ettr_ratio,
    fit_failure_rate,
    job_mttf_s,
    young_daly_s,
)
from loadpath.forecast.spares import spares_for

HOUR = 3600.0
COSTS = Failures(5e-3, checkpoint_s=30, recovery_s=600)


def test_nodes_in_series_fail_as_often_as_all_of_them_together():
    assert job_mttf_s(8 * 1000, Failures(1e-3)) == pytest.approx(86400)


def test_small_jobs_fail_more_often_where_some_failures_do_not_grow_with_nodes():
    series, fitted = Failures(5e-3), Failures(5e-3, per_job_day=2.0)
    small, large = (job_mttf_s(n, series) / job_mttf_s(n, fitted) for n in (64, 131072))
    assert small > 40
    assert large < 1.03


def test_rates_per_node_and_per_job_are_found_again():
    nodes = np.array([16, 128, 2048, 16384])
    per_node, per_job = fit_failure_rate(nodes, 86400 / (4e-3 * nodes + 2.5))
    assert (per_node, per_job) == pytest.approx((4e-3, 2.5), rel=1e-6)


def test_interval_is_near_young_s_where_failures_are_rare():
    assert young_daly_s(1e7, 10) == pytest.approx(np.sqrt(2 * 10 * 1e7), rel=1e-2)
    assert best_interval_s(1e7, COSTS) == pytest.approx(np.sqrt(2 * 30 * 1e7), rel=0.06)


@pytest.mark.parametrize("mttf", [100.0, 1e3, 1e4, 1e6])
def test_no_other_interval_loses_less_than_the_best(mttf):
    best = best_interval_s(mttf, COSTS)
    least = account_run(1e9, mttf, COSTS, best).total_s
    others = account_run(1e9, mttf, COSTS, best * np.geomspace(0.2, 5, 41)).total_s
    assert np.all(others >= least * (1 - 2e-3))


@settings(deadline=None, max_examples=40)
@given(
    st.floats(1e3, 1e5),
    st.floats(500, 1e6),
    st.floats(0, 120),
    st.floats(0, 900),
    st.integers(0, 9),
)
def test_every_second_of_every_path_has_one_place(work, mttf, checkpoint, recovery, seed):
    costs = Failures(0, checkpoint_s=checkpoint, recovery_s=recovery, interval_s=1000.0)
    expected = account_run(work, mttf, costs)
    drawn = draw_runs(work, mttf, costs, np.random.default_rng(seed), n_run=5)
    for run in (expected, drawn):
        parts = run.productive_s + run.blocked_s + run.discarded_s + run.unavailable_s
        assert run.productive_s == pytest.approx(work)
        assert np.allclose(parts, run.total_s, rtol=1e-9)
        for part in (run.blocked_s, run.discarded_s, run.unavailable_s):
            assert np.all(part >= -1e-6 * run.total_s)


@pytest.mark.parametrize("mttf", [2 * HOUR, 10 * HOUR, 1e9])
@pytest.mark.parametrize("recovery", [0.0, 600.0, 3600.0])
def test_runs_drawn_at_random_agree_with_the_expectation(mttf, recovery):
    costs = Failures(0, checkpoint_s=60, recovery_s=recovery)
    drawn = draw_runs(10 * 86400, mttf, costs, np.random.default_rng(5), n_run=2000)
    expected = account_run(10 * 86400, mttf, costs)
    for name in ("blocked_s", "discarded_s", "unavailable_s", "total_s"):
        sample = getattr(drawn, name)
        error = 4 * sample.std() / np.sqrt(len(sample)) + 1e-3 * float(expected.total_s)
        assert sample.mean() == pytest.approx(float(getattr(expected, name)), abs=error)


def test_failures_over_replayed_steps_agree_with_the_expectation():
    rng = np.random.default_rng(3)
    costs = Failures(0, checkpoint_s=20, recovery_s=300, interval_s=1000)
    totals = []
    for _ in range(200):
        at = np.cumsum(rng.exponential(4 * HOUR, 500))
        totals.append(float(replay_run(np.full(5000, 10.0), at, costs, 100).total_s))
    expected = float(account_run(50_000, 4 * HOUR, costs).total_s)
    assert np.mean(totals) == pytest.approx(expected, abs=4 * np.std(totals) / np.sqrt(200) + 20)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.floats(0.1, 50), min_size=1, max_size=60),
    st.lists(st.floats(0, 5000), max_size=30),
    st.floats(0, 60),
    st.floats(0, 500),
    st.integers(1, 20),
)
def test_every_second_of_a_replayed_run_has_one_place(steps, at, checkpoint, recovery, every):
    costs = Failures(0, checkpoint_s=checkpoint, recovery_s=recovery)
    run = replay_run(steps, at, costs, every)
    parts = run.productive_s + run.blocked_s + run.discarded_s + run.unavailable_s
    assert float(parts) == pytest.approx(float(run.total_s), rel=1e-9)


def test_replayed_run_without_failures_only_pays_for_checkpoints():
    run = replay_run([2.0] * 7, [], Failures(0, checkpoint_s=1), 3)
    assert float(run.total_s) == 14 + 3
    assert float(run.discarded_s) == 0


def test_failure_during_recovery_begins_it_again():
    run = replay_run([10.0], [4.0, 6.0], Failures(0, checkpoint_s=0, recovery_s=5), 1)
    assert (float(run.discarded_s), float(run.unavailable_s)) == (4.0, 7.0)


def test_ettr_falls_with_size_and_is_one_where_nothing_fails_or_costs():
    assert np.all(np.diff(ettr_ratio([8, 512, 8192, 65536], COSTS)) < 0)
    assert ettr_ratio(8192, Failures(0, checkpoint_s=0)) == pytest.approx(1.0, abs=1e-6)


def test_more_spares_are_needed_where_repairs_take_longer():
    day, week = (spares_for(512, COSTS, days * 86400) for days in (1, 7))
    assert 2 < day < week
    assert spares_for(512, Failures(0), 86400) == 0


def test_failures_in_bursts_need_more_spares_than_independent_ones():
    calm, bursty = (spares_for(512, COSTS, 86400, dispersion=d) for d in (1.0, 4.0))
    assert calm == spares_for(512, COSTS, 86400, dispersion=1 + 1e-9)
    assert bursty > calm
    with pytest.raises(InputError, match="dispersion is 0"):
        spares_for(512, COSTS, 86400, dispersion=0.5)


def test_run_that_would_hardly_ever_end_is_refused():
    costs = Failures(0, checkpoint_s=600, interval_s=600)
    with pytest.raises(UsageError, match="no run would end"):
        draw_runs(1e6, 10.0, costs, np.random.default_rng(0))


def test_run_that_fails_all_the_time_is_never_productive():
    run = account_run(1e6, [1e-3, 1.0], COSTS)
    assert np.isinf(run.total_s[0])
    assert np.all(run.ettr_ratio < 1e-100)


def test_run_without_work_is_refused():
    with pytest.raises(UsageError, match="above 0"):
        account_run(0.0, 1e4, COSTS)


def test_failures_that_cannot_be_are_named_together():
    with pytest.raises(InputError, match=r"per_node_day is -1.*recovery_s is nan"):
        Failures(-1, recovery_s=float("nan"))
    with pytest.raises(InputError, match="fewer than two job sizes"):
        fit_failure_rate([8, 8], [1, 2])
