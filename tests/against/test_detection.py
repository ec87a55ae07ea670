"""A fixed sample of benchmarks/detection.py: planted causes are named, healthy jobs are not accused."""

import importlib.util
import math
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "detection.py"
FALSE_ALARM_RATIO = 0.05
"""Share of healthy jobs that may be accused."""


@pytest.fixture(scope="module")
def detection():
    spec = importlib.util.spec_from_file_location("detection", SCRIPT)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules["detection"] = module
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    yield module
    del sys.modules["detection"]


@pytest.fixture(scope="module")
def outcomes(detection):
    return detection.run(detection.sample(), 1)


def allowance(n):
    """Return how many of `n` may be accused before the rate is above the limit, at 97.5 %."""
    rate, k, below = FALSE_ALARM_RATIO, 0, 0.0
    while below < 0.975:
        below += math.comb(n, k) * rate**k * (1 - rate) ** (n - k)
        k += 1
    return k - 1


@pytest.mark.slow
def test_causes_of_ten_percent_and_more_are_named_with_kind_and_place(outcomes):
    planted = [o for o in outcomes if o.case.size >= 0.1]
    wrong = [f"{o.case}: {o.truth} -> {o.verdict}" for o in planted if not o.right]
    assert len(planted) >= 40
    assert len(wrong) <= 0.1 * len(planted), "\n".join(wrong)


@pytest.mark.slow
def test_healthy_jobs_are_not_accused_beyond_chance(outcomes):
    healthy = [o for o in outcomes if o.case.name == "none"]
    accused = [f"{o.case}: {o.verdict}" for o in healthy if o.accuses]
    assert len(healthy) >= 40
    assert len(accused) <= allowance(len(healthy)), "\n".join(accused)


@pytest.mark.slow
def test_healthy_jobs_are_assessable(outcomes):
    healthy = [o for o in outcomes if o.case.name == "none"]
    assert sum("not_assessable" in o.verdict for o in healthy) <= 0.1 * len(healthy)


def test_interval_of_a_share_is_exact(detection):
    # 0 of n: 1 - 0.025 ** (1 / n); 7 of 300 is the most with an upper bound under 5 %
    low, high = detection.clopper_pearson(0, 300)
    assert (low, high) == pytest.approx((0.0, 1 - 0.025 ** (1 / 300)), abs=1e-6)
    assert detection.clopper_pearson(7, 300)[1] < 0.05 < detection.clopper_pearson(8, 300)[1]
    assert detection.clopper_pearson(300, 300) == pytest.approx((0.025 ** (1 / 300), 1.0), abs=1e-6)
