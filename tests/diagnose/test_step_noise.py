"""Noise that whole steps share: what it does to shuffles, and what it cannot explain."""

import numpy as np
from tests.diagnose.peer_jobs import coupled
from tests.diagnose.small_jobs import compute

from loadpath.diagnose.effects import nest_effects
from loadpath.diagnose.evidence import unit_p_values
from loadpath.diagnose.host_candidates import common_hosts
from loadpath.diagnose.significance import ALPHA, Cells, exchange_p_values
from loadpath.diagnose.step_noise import by_steps, design_effect, step_noise_p_values

STEP = np.repeat(np.arange(4), 8)
US = 1_000


def shared_noise(seed, *, units=6, share=1.0):
    # four steps of eight blocks; a block's own noise is 1, that of its step `share`
    rng = np.random.default_rng(seed)
    own, common = rng.normal(size=(units, 32)), rng.normal(0, share, (units, 4))
    return own + np.repeat(common, 8, axis=1)


def verdicts(excess, **options):
    n_unit, rng = len(excess), np.random.default_rng(0)
    cells = Cells(np.arange(n_unit), excess, STEP)
    alike = np.zeros(n_unit, np.int64)
    sums = by_steps(excess, STEP)
    p = unit_p_values(cells, np.ones(n_unit), alike, by_step_s=sums, rng=rng, **options)
    return p <= ALPHA


def test_blocks_of_one_step_are_no_independent_draws():
    jobs = [shared_noise(seed) for seed in range(60)]
    p = [
        exchange_p_values(job, np.random.default_rng(0), inflation=inflation).min()
        for job in jobs
        for inflation in (1.0, design_effect(job, STEP))
    ]
    assert sum(value <= ALPHA for value in p[::2]) >= 6
    assert sum(value <= ALPHA for value in p[1::2]) <= 1


def test_noise_of_steps_accuses_nobody():
    accused = sum(verdicts(shared_noise(seed)).any() for seed in range(200))
    assert accused <= 4  # 0.5 % of 200 is 1; more than 4 has a probability of 0.4 %


def test_design_effect_is_that_of_the_typical_unit():
    effects = []
    for seed in range(20):
        job = shared_noise(seed, share=0.0)
        job[2, 8:16] += 50.0
        effects.append(design_effect(job, STEP))
    assert np.median(effects) < 1.5


def test_blocks_that_are_steps_share_nothing():
    assert design_effect(shared_noise(0), np.arange(32)) == 1.0
    assert design_effect(shared_noise(0), np.zeros(32, np.int64)) == 1.0


def test_unit_slow_for_one_step_of_four_is_named():
    job = shared_noise(3)
    job[2, 8:16] += 30.0
    assert verdicts(job).tolist() == [False, False, True, False, False, False]


def test_one_slow_op_names_nobody():
    job = shared_noise(3)
    job[2, 8] += 240.0
    assert not verdicts(job).any()


def test_hosts_are_held_against_shuffles_whatever_their_steps_share():
    # the same seed: as if blocks were independent
    job = shared_noise(3)
    cells, alike = Cells(np.arange(6), job, STEP), np.zeros(6, np.int64)
    rng, sums = np.random.default_rng(0), by_steps(job, STEP)
    p = unit_p_values(cells, np.ones(6), alike, by_step_s=sums, rng=rng, is_heavy=True)
    within = job - job.mean(axis=0)
    by_chance = exchange_p_values(within, np.random.default_rng(0))
    assert p.tolist() == np.minimum(1.0, 2.0 * by_chance).tolist()


def test_two_units_or_one_step_show_no_noise_of_steps():
    job = shared_noise(0)
    assert step_noise_p_values(job[:2], STEP, np.zeros(2, int)).tolist() == [1.0, 1.0]
    assert step_noise_p_values(job, np.zeros(32, np.int64), np.zeros(6, int)).tolist() == [1.0] * 6


def test_half_of_the_peers_may_be_slow_in_all_of_few_steps():
    job = shared_noise(5, units=4)
    job[:2] += 10.0
    assert verdicts(job).tolist() == [True, True, False, False]


def test_steps_of_one_culprit_that_differ_do_not_hide_another():
    job = shared_noise(5)
    job[1] += 10.0
    job[2] += np.repeat([30.0, 60.0, 5.0, 45.0], 8)
    p = step_noise_p_values(job, STEP, np.zeros(6, int))
    assert (p <= ALPHA / 4).tolist() == [False, True, True, False, False, False]


def test_peers_are_compared_with_one_another_only():
    job = shared_noise(5)
    job[:3] += 10.0
    assert (step_noise_p_values(job, STEP, np.repeat([0, 1], 3)) > ALPHA).all()


def hosts(noise, *, ranks=8):
    # each rank: 200 calls of a host thread and a kernel; `noise` draws what a call of 5 us takes more
    rng = np.random.default_rng(4)
    ops = []
    for rank in range(ranks):
        lengths = [round(5 * US + extra) for extra in noise(rng, rank)]
        ops += [compute(rank, n, name="call", kind="host", lane=1) for n in lengths]
        ops.append(compute(rank, 900 * US, name="kernel"))
    mechanism = ["host" if op.kind == "host" else "device" for op in ops]
    job = coupled(ops, [], op={"mechanism": mechanism})
    (found,) = common_hosts(job, nest_effects(job))
    return found.significant


def heavy(rng, _):
    return US * rng.exponential(size=200) ** 2


def test_heavy_tailed_noise_of_hosts_is_no_common_cause():
    assert not hosts(heavy)


def test_pauses_beyond_heavy_tailed_noise_are_a_common_cause():
    assert hosts(lambda rng, rank: heavy(rng, rank) + 200 * US * (rng.random(200) < 0.02))


def test_pauses_of_a_quarter_of_the_hosts_are_no_common_cause():
    assert not hosts(
        lambda rng, rank: heavy(rng, rank) + 200 * US * (rng.random(200) < 0.1) * (rank < 2)
    )
