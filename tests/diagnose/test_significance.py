"""Tests against noise: rates on null draws, and what small arrangements can and cannot show."""

from dataclasses import replace
from itertools import product

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.diagnose.peer_jobs import MS, coupled, peers
from tests.diagnose.small_jobs import compute

from loadpath.diagnose import significance
from loadpath.diagnose.effects import nest_effects
from loadpath.diagnose.significance import (
    ALPHA,
    Cells,
    cells_by_unit,
    exchange_p_values,
    is_intermittent,
    shares_workload,
    worth_judging,
)


def p_values(excess, seed=0):
    return exchange_p_values(np.asarray(excess, float), np.random.default_rng(seed))


def draws(n_unit, n_block, *, seed):
    return np.random.default_rng(seed).standard_normal((n_unit, n_block))


def test_cells_sum_a_ranks_excess_over_the_blocks_of_its_steps():
    # 40 steps are 40 blocks; rank 3 does 30 ms more than its peers in each
    small = peers([70, 70, 70, 100])
    effects = nest_effects(small)
    unit = np.where(effects.is_transfer, -1, small.op["rank"].to_numpy()).astype(np.int32)
    cells = cells_by_unit(small, unit, effects.residual_ns)
    assert cells.unit.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(cells.excess_s, np.outer([0, 0, 0, 0.030], np.ones(40)))


def test_steps_are_cut_where_they_are_few():
    # 2 steps of 16 ops a rank make 32 blocks of one op
    ops = [compute(r, r + 1, step=s) for s in range(2) for r in range(2) for _ in range(16)]
    small = coupled(ops, [])
    cells = cells_by_unit(small, small.op["rank"].to_numpy(), np.ones(small.n_op))
    assert cells.excess_s.shape == (2, 32)
    np.testing.assert_allclose(cells.excess_s, 1e-9)


def test_units_without_an_op_in_a_block_have_none_there():
    ops = [compute(0, 1, step=0), compute(0, 1, step=1), compute(1, 1, step=1)]
    small = coupled(ops, [])
    cells = cells_by_unit(small, small.op["rank"].to_numpy(), np.full(3, 1e9))
    assert cells.excess_s.tolist() == [[1.0, 1.0], [0.0, 1.0]]


def test_no_units_make_no_cells():
    small = coupled([compute(0, 1)], [])
    cells = cells_by_unit(small, np.full(1, -1, np.int32), np.ones(1))
    assert cells.unit.size == cells.excess_s.size == 0


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5])
def test_chance_is_called_significant_as_often_as_it_says(alpha):
    # the smallest p of a null draw is at most alpha in about alpha of 300 draws
    smallest = [p_values(draws(4, 24, seed=s), seed=s).min() for s in range(300)]
    share = np.mean(np.array(smallest) <= alpha)
    assert abs(share - alpha) < 4 * np.sqrt(alpha * (1 - alpha) / 300)


def test_very_many_blocks_are_shuffled_in_runs_of_neighbours_that_hold_all_of_them(monkeypatch):
    excess = np.random.default_rng(3).normal(size=(6, 2000))
    excess[4] += 0.2
    few = excess.reshape(6, 500, 4).sum(axis=2)
    monkeypatch.setattr(significance, "MOST_BLOCKS", 500)
    p = exchange_p_values(excess, np.random.default_rng(0))
    assert p.tolist() == exchange_p_values(few, np.random.default_rng(0)).tolist()
    assert p[4] < 0.005
    assert min(np.delete(p, 4)) > 0.05


def test_one_heavy_outlier_does_not_make_its_unit_significant():
    excess = draws(4, 24, seed=1)
    excess[2, 5] += 1000
    assert p_values(excess)[2] > 0.05


def test_culprit_is_significant_and_its_peers_are_not():
    excess = draws(4, 24, seed=1)
    excess[2] += 3
    p = p_values(excess)
    assert p[2] <= ALPHA
    assert (np.delete(p, 2) > 0.05).all()


def test_one_culprit_does_not_hide_a_smaller_one():
    excess = draws(6, 24, seed=1)
    excess[2] += 50
    excess[4] += 3
    p = p_values(excess)
    assert p[2] <= ALPHA
    assert p[4] <= ALPHA
    assert (np.delete(p, [2, 4]) > 0.05).all()


@pytest.mark.parametrize("seed", range(5))
def test_peer_of_a_culprit_does_not_make_ranks_of_other_stages_look_slow(seed):
    # two ranks a stage: held against the culprit, its healthy peer would lie far below all others
    excess = draws(8, 60, seed=seed)
    excess[2] += 20.0
    stage = np.repeat(np.arange(4), 2)
    p = exchange_p_values(excess, np.random.default_rng(0), peers=stage)
    assert np.flatnonzero(p <= ALPHA).tolist() == [2]


def test_second_culprit_of_a_stage_is_found_when_no_peer_is_left():
    excess = draws(8, 60, seed=0)
    excess[2] += 20.0
    excess[3, ::2] += 20.0
    p = exchange_p_values(excess, np.random.default_rng(0), peers=np.repeat(np.arange(4), 2))
    assert np.flatnonzero(p <= ALPHA).tolist() == [2, 3]


def test_p_values_grow_from_step_to_step_of_the_test():
    excess = draws(5, 24, seed=3) + np.array([3, 2, 0.6, 0, 0])[:, None]
    p = p_values(excess)
    assert p[0] <= p[1] <= p[2]


def test_rank_slow_in_a_third_of_the_blocks_is_found():
    excess = 0.1 * draws(4, 36, seed=1)
    excess[1, ::3] += 1
    assert p_values(excess)[1] <= ALPHA


def test_blocks_that_are_slow_for_all_ranks_accuse_none():
    excess = draws(4, 24, seed=4) + 100 * draws(1, 24, seed=5)
    assert p_values(excess).min() > ALPHA


def test_lone_unit_has_no_peer_and_no_p_value():
    assert p_values([[5.0, 5.0, 5.0]]).tolist() == [1.0]


def test_equal_units_are_not_significant():
    assert p_values(np.ones((4, 24))).min() == 1.0


def test_same_seed_gives_the_same_p_values():
    excess = draws(4, 24, seed=1)
    assert p_values(excess, 5).tolist() == p_values(excess, 5).tolist()


def test_large_jobs_are_tested_with_as_many_shuffles():
    excess = draws(3000, 32, seed=1)
    excess[2] += 3
    assert 2 * p_values(excess)[2] <= ALPHA


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 100), st.integers(0, 100))
def test_unit_of_time_does_not_matter(scale, seed):
    excess = draws(4, 24, seed=seed)
    np.testing.assert_array_equal(p_values(excess), p_values(scale * excess))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 100))
def test_adding_the_same_to_all_units_of_a_block_does_not_matter(seed):
    excess = draws(4, 24, seed=seed)
    shifted = excess + np.round(draws(1, 24, seed=seed + 1))
    np.testing.assert_allclose(p_values(excess), p_values(shifted), atol=0.02)


def test_significant_units_come_first_then_the_largest_others():
    excess = np.array([[1.0], [9.0], [-5.0], [3.0], [2.0], [4.0]])
    cells = Cells(np.arange(6), excess, np.arange(excess.shape[1]))
    p = np.array([0.001, 1, 1, 1, 1, 1])
    assert worth_judging(cells, p) == [0, 1, 5, 3]


def test_units_that_are_faster_than_their_peers_are_not_judged():
    cells = Cells(np.arange(2), np.array([[-1.0], [0.0]]), np.zeros(1, np.int64))
    assert worth_judging(cells, np.array([0.001, 1.0])) == []


def test_excess_in_half_of_the_steps_or_less_is_intermittent():
    assert is_intermittent(np.array([9.0, 0, 0, 9, 0, 0]))
    assert is_intermittent(np.tile([9.0, 0.0], 16))
    assert is_intermittent(np.array([9.0, 0, 8, 0, 9]))
    assert not is_intermittent(np.array([9.0, 9, 9, 0, 9, 9]))
    assert not is_intermittent(np.full(6, 9.0))
    assert not is_intermittent(np.array([9.0, 0.0]))


def test_noise_of_a_steady_excess_is_not_intermittent():
    noise = np.random.default_rng(1).exponential(size=(100, 64))
    assert sum(map(is_intermittent, noise)) <= 5


def workload(lengths, *, n_stage=2, n_step=6, noise=0.01, seed=0, replicas=3):
    # every stage needs what its microbatch needs, forward then backward
    rng = np.random.default_rng(seed)
    workers = product(range(n_step), range(replicas), range(n_stage))
    passes = product(("forward-compute", "backward-compute"), range(8))
    ops, places = [], []
    for (step, replica, stage), (name, m) in product(workers, passes):
        work = round(10 * MS * lengths(step, replica, m) * rng.lognormal(0, noise))
        ops.append(compute(stage * replicas + replica, work, name=name, step=step))
        places.append((stage, replica, m))
    columns = zip(("stage", "replica", "microbatch"), zip(*places, strict=True), strict=True)
    return coupled(ops, [], op=dict(columns))


def shares(small):
    effects = nest_effects(small)
    relative = effects.work_ns / effects.level_ns - 1
    return shares_workload(small, relative)


def test_equal_microbatches_do_not_share_their_noise():
    assert not any(shares(workload(lambda *_: 1.0, seed=s, noise=0.05)) for s in range(5))


@pytest.mark.parametrize("n_stage", [1, 2, 3])
def test_unequal_microbatches_are_slow_on_all_stages_together(n_stage):
    lengths = np.random.default_rng(1).lognormal(0, 0.2, (6, 3, 8))
    assert shares(workload(lambda *at: lengths[at], n_stage=n_stage))


@pytest.mark.parametrize("n_stage", [1, 2])
def test_one_long_microbatch_a_step_is_found(n_stage):
    long = workload(lambda s, r, m: 2.0 if (r, m) == (s % 3, (3 * s) % 8) else 1.0, n_stage=n_stage)
    assert shares(long)


def test_slow_rank_is_no_workload():
    small = workload(lambda _, replica, __: 1.5 if replica == 1 else 1.0)
    assert not shares(small)


def test_job_without_microbatches_shares_none():
    assert not shares(peers([70, 80], steps=3))


def test_one_microbatch_alone_has_nothing_to_be_compared_with():
    small = coupled([compute(0, 5)], [], op={"microbatch": [0]})
    assert not shares(small)


def test_noise_without_spread_shares_nothing():
    assert not shares(workload(lambda *_: 1.0, noise=0.0))


def test_workload_of_other_kinds_of_ops_is_left_out():
    small = workload(lambda *_: 1.0)
    hosts = small.op.with_columns(pl.lit("host").cast(small.op.schema["kind"]).alias("kind"))
    assert not shares_workload(replace(small, op=hosts), np.ones(small.n_op))
