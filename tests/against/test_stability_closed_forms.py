"""Stability beside closed forms: order statistics, max-plus theory, overlapped work."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from tests.diagnose.stability_jobs import bsp, figure, footing, neighbours, overlapped, vector
from tests.replay.graphs import couple

from loadpath.diagnose.emergence import emergent_share, measure_losses, step_s
from loadpath.replay import replay
from loadpath.replay.noise import Noise, Quiet, replay_noise

N_POOL = 4096
"""Residuals of one rank: what scenarios draw from."""


@pytest.fixture(scope="module")
def data() -> Path:
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    assert Path(root).is_dir(), f"LOADPATH_DATA is no folder: {root}"
    return Path(root)


def barrier_scenarios(residual, mean_ns, n_scenario):
    """Step times of a job of one step in which ranks compute, with drawn noise, and meet."""
    n_rank = len(residual)
    ops = np.arange(n_rank)
    graph = couple(2 * n_rank, [(r, r + n_rank) for r in ops], [range(n_rank, 2 * n_rank)])
    work = np.repeat([mean_ns, 0.0], n_rank)
    place = np.concatenate([1 + N_POOL * ops, np.zeros(n_rank, int)]).astype(np.int32)
    noise = Noise(
        np.concatenate([[0.0], residual.ravel()]).astype(np.float32),
        place,
        np.tile(ops, 2).astype(np.int32),
        np.full(n_rank, N_POOL, np.int32),
    )
    quiet = Quiet(graph, replay(graph, work), work)
    return replay_noise(quiet, noise, np.random.default_rng(7), n_scenario=n_scenario)[0]


@pytest.mark.parametrize("n_rank", [2, 8, 64])
def test_exponential_noise_costs_a_barrier_the_harmonic_number(n_rank):
    """Order statistics: E[max of n exponentials] = H_n / lambda."""
    mean_ns, n = 1e6, 4096
    draws = np.random.default_rng(n_rank).exponential(mean_ns, (n_rank, N_POOL))
    steps = barrier_scenarios(draws - mean_ns, mean_ns, n) / mean_ns
    k = np.arange(1, n_rank + 1)
    error = np.sqrt((1 / k**2).sum() * (1 / n + n_rank / N_POOL / k.sum() ** 0.5 / n_rank))
    assert abs(steps.mean() - (1 / k).sum()) < 4 * error


def normal_table(data):
    with (data / "tables" / "extreme_value_expected_max.csv").open() as stream:
        rows = csv.DictReader(line for line in stream if not line.startswith("#"))
        return {int(row["n"]): float(row["normal_emax_sigma"]) for row in rows}


@pytest.mark.parametrize("n_rank", [2, 16, 128, 1024])
def test_gaussian_noise_costs_a_barrier_its_expected_maximum(data, n_rank):
    sigma_ns, n = 1e5, 2048
    pool = np.random.default_rng(n_rank).normal(0, sigma_ns, (n_rank, N_POOL))
    steps = barrier_scenarios(pool, 1e7, n)
    gain = (steps - 1e7) / sigma_ns
    error = 4 * gain.std(ddof=1) / np.sqrt(n) + 4 / np.sqrt(N_POOL)
    assert gain.mean() == pytest.approx(normal_table(data)[n_rank], abs=error)


def test_the_noise_gain_of_a_recorded_barrier_is_that_of_the_table(data):
    job = bsp([100] * 16, steps=160, seed=4, noise=0.03)
    rows, _ = vector(job)
    expected = normal_table(data)[16]
    for name in ("noise_gain", "noise_gain_independent"):
        found = figure(rows, name)
        assert found["value"] == pytest.approx(expected, rel=0.08)
    recorded = figure(rows, "noise_gain")
    assert recorded["low"] < expected < recorded["high"]


def test_a_slow_rank_behind_a_barrier_has_gain_one_and_the_others_none():
    rows, _ = vector(bsp([70, 70, 100, 70]))
    gains = {rank: figure(rows, "one_off_gain", "rank", str(rank))["value"] for rank in range(4)}
    assert gains == {0: 0.0, 1: 0.0, 2: 1.0, 3: 0.0}


def test_fate_of_a_delay_behind_a_barrier_is_known():
    """Only the slow rank's delays reach the end; all others then wait as long."""
    rows, _ = vector(bsp([70, 70, 100, 70], steps=200))
    share = 100 / 310
    assert figure(rows, "one_off_gain")["value"] == pytest.approx(share, rel=1e-3)
    # a delay hits whoever works: the slow rank as often as its share of the work
    assert figure(rows, "absorption_ratio")["value"] == pytest.approx(1 - share, rel=1e-3)
    assert figure(rows, "waiting_gain")["value"] == pytest.approx(3 * share, rel=1e-3)


def test_delays_strike_by_work_also_where_ops_are_drawn():
    """Eighty ranks with an op each are more than are struck in one step."""
    rows, _ = vector(bsp([70] * 79 + [1000], steps=60))
    share = 1000 / (79 * 70 + 1000)
    assert figure(rows, "absorption_ratio")["value"] == pytest.approx(1 - share, abs=0.01)
    assert figure(rows, "waiting_gain")["value"] == pytest.approx(79 * share, rel=0.02)


def test_a_reserve_behind_a_barrier_is_the_bound_and_beside_it_the_slack():
    rows, _ = vector(bsp([70, 70, 100, 70]), bound=0.05)
    own = figure(rows, "reserve", "work", "own work")["value"]
    assert own == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize(("compute_ms", "transfer_ms"), [(100, 40), (100, 12.5), (60, 50)])
def test_the_knee_of_overlapped_transfers_is_where_they_take_as_long_as_the_work(
    compute_ms, transfer_ms
):
    """T(f) = max(C, f X): slack is exhausted at f = C / X."""
    rows, tables = vector(overlapped(compute_ms, transfer_ms), loads=True)
    knee = figure(rows, "knee", load="transfers")
    assert knee["value"] == pytest.approx(compute_ms / transfer_ms, rel=2e-3)
    curve = tables["load_curve"].filter(load="transfers")
    exact = np.maximum(compute_ms, curve["factor"].to_numpy() * transfer_ms) / 1e3
    assert curve["step_s"].to_numpy() == pytest.approx(exact, rel=1e-6)
    reserve = figure(rows, "reserve", "work", "transfers")["value"]
    assert reserve == pytest.approx(1.05 * compute_ms / transfer_ms - 1, rel=5e-3)


def test_transfers_that_nothing_hides_have_no_knee():
    rows, tables = vector(bsp([100, 100], transfer=20), loads=True)
    knee = figure(rows, "knee", load="transfers")
    assert knee["value"] is None
    assert "exhausted as recorded" in knee["basis"]
    gains = tables["load_curve"].filter(load="transfers")["gain_ratio"].to_list()
    assert gains == pytest.approx([1.0] * len(gains), rel=1e-5)


@pytest.mark.parametrize(("n_rank", "steps"), [(4, 40), (16, 40), (32, 12)])
def test_a_loss_to_independent_noise_alone_is_emergent(n_rank, steps):
    rows, _ = vector(bsp([70] * n_rank, steps=steps, seed=n_rank, noise=0.05))
    share = figure(rows, "emergent_share_ratio")
    assert share["value"] > 0.93
    assert share["high"] > 0.98


@pytest.mark.parametrize("n_rank", [2, 4, 16])
def test_a_loss_to_one_slow_rank_alone_is_not_emergent(n_rank):
    rows, _ = vector(bsp([70] * (n_rank - 1) + [90]))
    assert figure(rows, "emergent_share_ratio")["value"] == 0.0


def test_a_slow_rank_among_noise_shares_the_loss_as_it_was_planted():
    job = bsp([70] * 15 + [80], steps=100, seed=5, noise=0.03)
    base = footing(job)
    losses = measure_losses(job, base.effects, base.parts)
    alike = bsp([70] * 16, steps=100, seed=5, noise=0.03)
    truth = step_s(alike, alike.work_ns.astype(float)).mean()
    assert losses.alike_s.mean() == pytest.approx(truth, rel=2e-3)
    assert 0.1 < emergent_share(losses, base.weights).value < 0.5


def test_the_jensen_gap_is_the_lyapunov_exponent_less_the_growth_of_means():
    r"""Two ranks with work 0 or 1, x_i' = max(x_i + w_i, x_j).

    The difference of the ranks is a Markov chain on {-1, 0, 1} with the stationary law 1/4, 1/2,
    1/4; the mean growth E[max(w, d)] is 5/8 a step, that of mean work 1/2 (Baccelli et al. 1992,
    chapter 7: first-order theorem of max-plus recursions).
    """
    works = np.random.default_rng(3).integers(0, 2, (3000, 2)) * 1000.0
    job = neighbours(works)
    rows, _ = vector(job)
    growth = step_s(job, job.work_ns.astype(float)).mean() / 1e-3
    assert growth == pytest.approx(5 / 8, abs=0.02)
    gap = figure(rows, "jensen_gap_ratio")
    assert gap["value"] * growth == pytest.approx(1 / 8, abs=0.02)
