"""Rare, long pauses of host threads."""

import numpy as np
import pytest
from tests.diagnose.peer_jobs import coupled
from tests.diagnose.small_jobs import compute

from loadpath.diagnose.candidates import find_candidates
from loadpath.diagnose.effects import nest_effects
from loadpath.diagnose.rare_pauses import pause_p_values

US = 1_000
STEPS, CALLS = 12, 40


# `pauses` are (rank, step, call) of calls that take 5 ms more than their 5 us and noise; `short` 60 us.
def job(pauses, *, short=(), kernel_us=900, ranks=8, steps=STEPS, seed=0):
    rng = np.random.default_rng(seed)
    ops = []
    for step in range(steps):
        for rank in range(ranks):
            for call in range(CALLS):
                length = (5 + rng.exponential()) * US + 5_000 * US * ((rank, step, call) in pauses)
                length += 60 * US * ((rank, step, call) in short)
                ops.append(
                    compute(rank, round(length), name="call", kind="host", lane=1, step=step)
                )
            ops.append(compute(rank, kernel_us * US, name="kernel", step=step))
    mechanism = ["host" if o.kind == "host" else "device" for o in ops]
    return coupled(ops, [], op={"mechanism": mechanism})


def p_values(small):
    mine = (small.op["mechanism"] == "host").to_numpy()
    return pause_p_values(small, nest_effects(small), mine, np.unique(small.op["rank"].to_numpy()))


def significant(small):
    found = find_candidates(small, nest_effects(small), np.random.default_rng(0))
    return [c.key for c in found if c.significant]


def test_pauses_of_one_rank_have_the_chance_of_equal_ranks():
    p = p_values(job({(5, 1, 3), (5, 4, 20), (5, 9, 31)}))
    assert p[5] == pytest.approx(8 * (1 / 8) ** 3)
    assert (np.delete(p, 5) == 1).all()


def test_three_pauses_on_one_of_eight_ranks_name_it():
    assert significant(job({(5, 1, 3), (5, 4, 20), (5, 9, 31)})) == ["rank 5"]


def test_one_pause_far_beyond_the_noise_of_all_steps_names_its_rank():
    assert significant(job({(5, 4, 20)})) == ["rank 5"]


@pytest.mark.parametrize("n_step", [3, 7])
def test_one_pause_among_few_steps_names_nobody(n_step):
    assert significant(job({(5, 1, 3)}, steps=n_step)) == []


def test_pauses_of_three_ranks_name_nobody():
    assert significant(job({(5, 1, 3), (2, 4, 20), (7, 9, 31)})) == []


def test_noise_of_hosts_has_no_long_pause():
    assert (p_values(job(set())) == 1).all()


def test_pauses_too_short_to_be_a_verdict_do_not_outvote_long_ones():
    long = {(5, 1, 3), (5, 4, 20), (5, 9, 31)}
    short = {(1, 2, 5), (2, 6, 7), (3, 8, 9), (4, 10, 11)}
    outvoted, alone = (p_values(job(long, short=short, kernel_us=us))[5] for us in (900, 20_000))
    assert outvoted > 0.02  # 60 us are 1 % of a step
    assert alone == pytest.approx(8 * (1 / 8) ** 3)  # 60 us are 0.3 % of a step
