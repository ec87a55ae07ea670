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
    assert found.priors == pytest.approx(truth, rel=1e-2)
    assert found.error_ratio == pytest.approx((0, 0), abs=2e-4)


def test_one_step_sets_the_rate_and_two_also_what_does_not_scale():
    points = measured({"sustained_ratio": 0.8, "step_overhead": 0.3}, 8, 64)
    assert list(calibrate(points[:1]).priors) == ["sustained_ratio"]
    found = calibrate(points).priors
    assert found == pytest.approx({"sustained_ratio": 0.8, "step_overhead": 0.3}, rel=1e-2)


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


def weak(*sizes, slower):
    """Runs that do the same work a replica and take longer the more there are."""
    jobs = [job(n // 8, accelerators=n) for n in sizes]
    return [
        MeasuredStep(j, 1.1 * step_time(j).step_s * (1 + slower * place))
        for place, j in enumerate(jobs)
    ]


def test_steps_that_priors_say_alike_are_met_halfway_not_left_as_they_were():
    points = weak(64, 512, slower=0.03)
    before = [step_time(p.design).step_s / p.step_s - 1 for p in points]
    found = calibrate(points, ["sustained_ratio", "step_overhead"])
    assert max(map(abs, found.error_ratio)) < 0.022
    assert max(map(abs, before)) > 0.1


def test_no_prior_passes_the_peak_or_reduction_on_the_way():
    fast = [MeasuredStep(p.design, 0.1 * p.step_s) for p in measured({}, 8, 64)]
    assert calibrate(fast, ["sustained_ratio"]).priors["sustained_ratio"] == pytest.approx(1 / 0.73)
    found = calibrate(fast, ["sustained_ratio", "network_ratio"])
    assert found.priors["network_ratio"] <= 2


@pytest.mark.parametrize(
    ("name", "value", "sequences"),
    [
        ("step_overhead", 0.3, (64, 64, 64)),
        ("network_ratio", 0.03, (64, 64, 64)),
        ("device_spread", 0.1, (64, 128, 512)),
    ],
)
def test_second_prior_is_the_one_that_was_planted(name, value, sequences):
    jobs = [job(b, accelerators=n) for n, b in zip((64, 128, 512), sequences, strict=True)]
    truth = {"sustained_ratio": 0.85, name: value}
    points = [MeasuredStep(j, step_time(replace(j, priors=truth)).step_s) for j in jobs]
    assert calibrate(points).priors == pytest.approx(truth, rel=1e-2)


def test_second_prior_that_the_design_says_is_left_alone():
    points = measured({"step_overhead": 0.3}, 8, 64)
    said = [
        MeasuredStep(replace(p.design, priors={"step_overhead": 0.3}), p.step_s) for p in points
    ]
    assert "step_overhead" not in calibrate(said).priors
