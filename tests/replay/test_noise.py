"""Noise scenarios against exact replays of what they drew."""

import numpy as np
import pytest
from tests.replay.graphs import couple

from loadpath.errors import UsageError
from loadpath.replay import replay, step_time_ns, threads
from loadpath.replay.noise import Noise, Quiet, block_noise, draw_noise_ns, replay_noise


def two_ranks(n_step=12, seed=3):
    """Two ranks compute and meet in every step; ops 4k .. 4k+3 are step k.

    0 -- 2        rank 0 computes, then meets
         |
    1 -- 3        rank 1
    """
    ops = np.arange(4 * n_step).reshape(n_step, 4)
    graph = couple(
        ops.size,
        [(a, b) for row in ops for a, b in ((row[0], row[2]), (row[1], row[3]))],
        [tuple(row[2:]) for row in ops],
        begins=[(op, k) for k, row in enumerate(ops) for op in row[:2]],
        ends=[(op, k) for k, row in enumerate(ops) for op in row[2:]],
    )
    work = np.tile([100.0, 90.0, 20.0, 20.0], n_step)
    residual = np.random.default_rng(seed).normal(0, 9, ops.size)
    residual.reshape(n_step, 4)[:, 3] = residual.reshape(n_step, 4)[:, 2]
    return graph, work, residual


def by_steps(residual, n_step=12, block_length=1):
    series = np.tile(np.arange(4), n_step)
    share = np.tile([0, 1, 2, 2], n_step)
    turn = np.repeat(np.arange(n_step), 4)
    return block_noise(residual, series, turn, share=share, block_length=block_length)


@pytest.mark.parametrize("block_length", [1, 3, 5, 12])
def test_scenarios_are_the_exact_replays_of_what_was_drawn(block_length):
    graph, work, residual = two_ranks()
    noise = by_steps(residual, block_length=block_length)
    quiet = Quiet(graph, replay(graph, work), work)
    found = replay_noise(quiet, noise, np.random.default_rng(5), n_scenario=32)
    drawn = draw_noise_ns(noise, np.random.default_rng(5).spawn(1)[0], 32)
    for s in range(32):
        exact = step_time_ns(graph, replay(graph, work + drawn[:, s]))
        assert found[:, s] == pytest.approx(exact, abs=1e-3)


def test_threads_do_not_change_what_is_drawn():
    graph, work, residual = two_ranks()
    quiet = Quiet(graph, replay(graph, work), work)
    found = [
        replay_noise(
            quiet, by_steps(residual), np.random.default_rng(1), n_scenario=200, n_thread=n
        )
        for n in (1, 3)
    ]
    assert found[0].shape == (12, 200)
    assert np.array_equal(found[0], found[1])


def test_more_scenarios_begin_with_the_same_ones():
    graph, work, residual = two_ranks()
    quiet = Quiet(graph, replay(graph, work), work)
    few, many = (
        replay_noise(quiet, by_steps(residual), np.random.default_rng(1), n_scenario=n)
        for n in (32, 96)
    )
    assert np.array_equal(few, many[:, :32])


@pytest.mark.parametrize("block_length", [2, 4, 7])
def test_a_block_holds_residuals_that_follow_each_other_on_the_circle(block_length):
    length = 11
    zero = np.zeros(length, int)
    noise = block_noise(
        np.arange(1.0, length + 1.0), zero, np.arange(length), share=zero, block_length=block_length
    )
    drawn = draw_noise_ns(noise, np.random.default_rng(2), 50).astype(int) - 1
    for first in range(0, length, block_length):
        block = drawn[first : first + block_length]
        assert ((np.diff(block, axis=0) % length) == 1).all()
    assert set(drawn.ravel()) == set(range(length))


def test_members_of_a_communication_move_together():
    _, _, residual = two_ranks()
    drawn = draw_noise_ns(by_steps(residual), np.random.default_rng(2), 64)
    steps = drawn.reshape(12, 4, 64)
    assert np.array_equal(steps[:, 2], steps[:, 3])
    assert not np.array_equal(steps[:, 0], steps[:, 1])


def test_correlation_of_neighbours_is_kept_inside_blocks():
    rng = np.random.default_rng(4)
    length, rho = 4096, 0.8
    value = np.zeros(length)
    for i in range(1, length):
        value[i] = rho * value[i - 1] + rng.normal()
    zero, turn = np.zeros(length, int), np.arange(length)
    correlation = {}
    for block_length in (1, 64):
        noise = block_noise(value, zero, turn, share=zero, block_length=block_length)
        drawn = draw_noise_ns(noise, np.random.default_rng(1), 4)
        correlation[block_length] = np.mean(
            [np.corrcoef(one[:-1], one[1:])[0, 1] for one in drawn.T]
        )
    assert abs(correlation[1]) < 0.05
    assert correlation[64] == pytest.approx(rho * 63 / 64, abs=0.04)


def test_no_work_comes_to_last_less_than_nothing():
    graph, work, residual = two_ranks()
    noise = by_steps(residual - 1000.0)
    quiet = Quiet(graph, replay(graph, work), work)
    found = replay_noise(quiet, noise, np.random.default_rng(1), n_scenario=32)
    assert found == pytest.approx(0.0, abs=1e-3)


def test_an_op_without_noise_keeps_its_work():
    graph, work, residual = two_ranks()
    noise = by_steps(residual)
    still = Noise(noise.residual_ns, np.zeros_like(noise.place), noise.block, noise.length)
    quiet = Quiet(graph, replay(graph, work), work)
    found = replay_noise(quiet, still, np.random.default_rng(1), n_scenario=33)
    assert found == pytest.approx(np.full((12, 33), 120.0))
    assert not draw_noise_ns(still, np.random.default_rng(1), 3).any()


def test_progress_counts_the_scenarios_that_are_done():
    graph, work, residual = two_ranks()
    said: list[str] = []
    quiet = Quiet(graph, replay(graph, work), work)
    replay_noise(
        quiet, by_steps(residual), np.random.default_rng(1), n_scenario=40, progress=said.append
    )
    assert said == [
        "replaying noise: 32 of 40 scenarios on 1 core",
        "replaying noise: 40 of 40 scenarios on 1 core",
    ]


def test_progress_tells_the_cores_in_use(monkeypatch):
    monkeypatch.setattr(threads, "WORTH_THREADS", 1)
    graph, work, residual = two_ranks()
    said: list[str] = []
    quiet = Quiet(graph, replay(graph, work), work)
    noise, rng = by_steps(residual), np.random.default_rng(1)
    replay_noise(quiet, noise, rng, n_scenario=40, n_thread=3, progress=said.append)
    assert said[-1] == "replaying noise: 40 of 40 scenarios on 2 cores"


@pytest.mark.parametrize(
    ("turn", "block_length", "says"),
    [([0, 1], 1, "shapes"), ([0, 2, 3], 1, "leave one out"), ([0, 1, 2], 0, "hold nothing")],
)
def test_wrong_orders_are_refused(turn, block_length, says):
    zero = np.zeros(3, int)
    with pytest.raises(UsageError, match=says):
        block_noise(np.ones(3), zero, np.array(turn), share=zero, block_length=block_length)
