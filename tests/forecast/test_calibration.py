"""Priors set by measured steps."""

import pytest
from msgspec.structs import replace
from tests.forecast.designs import GPT3, design

from loadpath.errors import UsageError
from loadpath.forecast import MeasuredStep, calibrate, step_time


def job(sequences, accelerators=64):
    return design(accelerators, sequences, model=GPT3, device="H100-SXM5-80GB", tensor=8, pipeline=8,
                  sharding="optimizer")  # fmt: skip


def measured(truth, *sizes):
    jobs = [job(n) for n in sizes]
    return [MeasuredStep(j, step_time(replace(j, priors=truth)).step_s) for j in jobs]


def test_planted_values_are_found():
    truth = {"gemm_ratio": 0.58, "step_overhead": 0.2}
    found = calibrate(measured(truth, 8, 64), list(truth))
    assert found.priors == pytest.approx(truth, rel=1e-4)
    assert found.error_ratio == pytest.approx((0, 0), abs=1e-6)


def test_one_step_sets_the_rate_and_two_also_what_does_not_scale():
    points = measured({"sustained_ratio": 0.8, "step_overhead": 0.3}, 8, 64)
    assert list(calibrate(points[:1]).priors) == ["sustained_ratio"]
    found = calibrate(points).priors
    assert found == pytest.approx({"sustained_ratio": 0.8, "step_overhead": 0.3}, rel=1e-4)


def test_more_points_than_priors_leave_an_error():
    points = measured({"gemm_ratio": 0.6}, 8, 32, 64)
    off = [
        MeasuredStep(p.design, p.step_s * f) for p, f in zip(points, (1.02, 1, 0.98), strict=True)
    ]
    found = calibrate(off, ["gemm_ratio"])
    assert max(map(abs, found.error_ratio)) > 0.01
    assert abs(sum(found.error_ratio)) < 0.01


def test_prior_that_nothing_depends_on_is_refused():
    alone = design(1, 4)
    with pytest.raises(
        UsageError, match="None of the measured steps depends on prior 'network_ratio'"
    ):
        calibrate([MeasuredStep(alone, 0.1)], ["network_ratio"])


@pytest.mark.parametrize("names", [[], ["gemm_ratio", "launch"]])
def test_more_priors_than_points_are_refused(names):
    with pytest.raises(UsageError, match="1 measured steps cannot set"):
        calibrate([MeasuredStep(job(8), 1.0)], names)


def test_unknown_prior_is_refused():
    with pytest.raises(UsageError, match="Prior 'speed' is unknown"):
        calibrate([MeasuredStep(job(8), 1.0)], ["speed"])
