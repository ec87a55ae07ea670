import numpy as np
import pytest

from loadpath.errors import UsageError
from loadpath.forecast.substitution import buy_or_fix, size_for_deadline, substitute

SIZES = np.array([64, 96, 128, 192, 256, 384, 512])


# Amdahl: 64 / n + serial; the fix removes a share of the serial part.
def throughput(serial, sizes=SIZES, *, spread=0.0, seed=0):
    factors = np.exp(spread * np.random.default_rng(seed).standard_normal((200, 1)))
    return 1 / (64 / sizes + serial * factors)


def test_accelerators_that_equal_a_fix_are_those_of_the_same_throughput():
    fixed = throughput(0.25, np.array([64]))[:, 0]
    flag = substitute(SIZES, throughput(0.5), 64, fixed)
    # 64 / n + 0.5 = 1.25 at n = 85.3; linear between sizes
    assert flag is not None
    assert flag.n == pytest.approx(64 / 0.75 - 64, rel=0.06)


def test_fix_that_no_size_equals_has_no_substitute():
    fixed = throughput(0.5, np.array([64]))[:, 0] * 2.5
    assert substitute(SIZES, throughput(0.5), 64, fixed) is None


def test_fix_that_gives_nothing_equals_no_added_accelerator():
    flag = substitute(SIZES, throughput(0.5), 64, throughput(0.5)[:, 0])
    assert flag is not None
    assert (flag.n, flag.low, flag.high) == (0.0, 0.0, 0.0)


def test_uncertain_worlds_give_a_band_of_added_accelerators():
    plain = throughput(0.5, spread=0.3)
    fixed = throughput(0.25, np.array([64]), spread=0.3)[:, 0]
    flag = substitute(SIZES, plain, 64, fixed)
    assert flag is not None
    assert flag.high is not None
    assert flag.low < flag.n < flag.high


def test_size_of_the_job_must_be_among_the_sizes():
    with pytest.raises(UsageError, match="65 is not one"):
        substitute(SIZES, throughput(0.5), 65, [1.0] * 200)


def test_deadline_met_more_surely_needs_more_accelerators():
    times = 1 / throughput(0.5, spread=0.3)
    sizes = [size_for_deadline(SIZES, times, 1.0, reliability=r) for r in (0.5, 0.9)]
    assert sizes[0] is not None
    assert sizes[1] is not None
    assert sizes[0] < sizes[1]
    assert size_for_deadline(SIZES, times, 0.1) is None


def test_cheap_fix_beats_buying_and_a_dear_one_does_not():
    plain, fixed = 1 / throughput(0.5), 1 / throughput(0.25)
    arguments = (SIZES, (plain, plain * SIZES), (fixed, fixed * SIZES))
    cheap = buy_or_fix(*arguments, deadline_s=0.9, fix_price=1.0)
    dear = buy_or_fix(*arguments, deadline_s=0.9, fix_price=1e6)
    assert (cheap.n_buy, cheap.n_fix) == (192.0, 128.0)
    assert cheap.fix_is_cheaper
    assert dear.fix_is_cheaper is False


def test_deadline_only_the_fix_can_meet_is_bought_by_nothing():
    plain, fixed = 1 / throughput(0.5), 1 / throughput(0.1)
    found = buy_or_fix(SIZES, (plain, plain), (fixed, fixed), deadline_s=0.45, fix_price=1e9)
    assert found.n_buy is None
    assert found.fix_is_cheaper


def test_deadline_nothing_meets_leaves_no_choice():
    plain = 1 / throughput(0.5)
    found = buy_or_fix(SIZES, (plain, plain), (plain, plain), deadline_s=0.1, fix_price=0)
    assert found.fix_is_cheaper is None
