from decimal import Decimal

import numpy as np
import pytest

from loadpath.errors import InputError
from loadpath.forecast.inversion import find_inversions
from loadpath.forecast.reliability import Failures, ettr_ratio
from loadpath.forecast.scaling import (
    StepPoint,
    curve_table,
    price_curve,
    sample_curve,
    share_crossings,
)
from loadpath.forecast.time_to_train import JobPlan
from loadpath.price.tariff import Tariff

SIZES = [8, 16, 32, 64, 128, 256, 512]
USD = Tariff("USD", Decimal("3.60"), Decimal("0.36"), Decimal("1.5"))


# 64 samples a step: compute shared by all, communication by nobody.
def strong(n, *, band_factor=1.0):
    compute, communication = 640 / n, 2.0
    share = {
        "compute": compute / (compute + communication),
        "communication": communication / (compute + communication),
    }
    return StepPoint(compute + communication, 64.0, band_factor, 1000.0 * n, share)


def curve(model=strong, n_sample=64, seed=0):
    return sample_curve(model, SIZES, np.random.default_rng(seed), n_sample=n_sample)


def test_cost_of_a_unit_is_rent_and_power_of_its_seconds():
    priced = price_curve(curve(n_sample=1), USD)
    seconds = (640 / 8 + 2.0) / 64
    rent, power = 8 * seconds * 0.001, 8000 * seconds / 3.6e6 * 0.36 * 1.5
    assert priced["cost_per_unit"][0, 0] == pytest.approx(rent + power)
    assert priced["energy_j_per_unit"][0, 0] == pytest.approx(8000 * seconds)


def test_failures_slow_and_price_work_but_not_steps():
    failures = Failures(0.05, recovery_s=3600)
    sound, failing = (price_curve(curve(), USD, failures=f) for f in (None, failures))
    ratio = ettr_ratio(SIZES, failures)
    assert np.allclose(failing["step_s"], sound["step_s"])
    assert np.allclose(failing["throughput_per_s"], sound["throughput_per_s"] * ratio)
    assert np.allclose(failing["cost_per_unit"], sound["cost_per_unit"] / ratio)


def test_job_pays_for_start_up_and_evaluation_too():
    plan = JobPlan(10, 0, evaluate_every=320, evaluation_floor_s=3.0, startup_s=100)
    priced = price_curve(curve(n_sample=1), USD, plan=plan)
    job_s = 100 + 10 * (640 / 8 + 2.0) + 2 * 3.0
    assert priced["job_s"][0, 0] == pytest.approx(job_s)
    assert priced["job_cost"][0, 0] == pytest.approx(job_s * (8 * 1e-3 + 8000 / 3.6e6 * 0.54))


def test_without_prices_power_or_plan_nothing_is_made_up():
    bare = sample_curve(lambda n: StepPoint(1 / n, 1.0), SIZES, np.random.default_rng(0))
    assert set(price_curve(bare, None)) == {"step_s", "throughput_per_s", "ettr_ratio"}


def test_same_seed_gives_the_same_curve():
    model = lambda n: strong(n, band_factor=1.2)  # noqa: E731
    assert np.array_equal(curve(model).step_s, curve(model).step_s)
    assert not np.array_equal(curve(model, seed=1).step_s, curve(model).step_s)


def test_band_of_the_model_is_the_band_of_the_samples_at_every_size():
    sampled = curve(lambda n: strong(n, band_factor=1.2), n_sample=20_000)
    table = curve_table(sampled.n, {"step_s": sampled.step_s}, 0.9)
    for n, _, median, low, high in table.rows():
        assert median == pytest.approx(strong(n).step_s, rel=5e-3)
        assert (low, high) == pytest.approx((median / 1.2, median * 1.2), rel=1e-2)


def test_ends_of_the_curve_err_independently_and_neighbours_alike():
    logs = np.log(curve(lambda n: strong(n, band_factor=1.2), n_sample=20_000).step_s)
    correlation = np.corrcoef(logs.T)
    assert abs(correlation[0, -1]) < 0.03
    assert correlation[2, 3] > 0.9


def test_communication_overtakes_compute_where_their_times_are_equal():
    found = curve()
    (row,) = share_crossings(found.n, dict(zip(found.limitation, found.share, strict=True))).rows()
    assert row[1:] == ("compute", "communication")
    assert row[0] == pytest.approx(640 / 2.0, rel=0.02)


def test_shares_of_nothing_have_no_crossing():
    assert share_crossings(np.array(SIZES), {}).is_empty()


def test_inversion_of_a_priced_curve_follows_from_its_failures():
    perfect = sample_curve(lambda n: StepPoint(64 / n, 1.0), SIZES, np.random.default_rng(0))
    failing = price_curve(perfect, USD, failures=Failures(0.5, recovery_s=3600))
    sound = price_curve(perfect, USD)
    found = [
        find_inversions(SIZES, one["throughput_per_s"], one["cost_per_unit"])
        for one in (sound, failing)
    ]
    assert found[0].average is None
    assert found[1].average is not None


@pytest.mark.parametrize(
    ("point", "said"),
    [
        (StepPoint(0.0, 1.0), "0.0 s for 1.0 units"),
        (StepPoint(float("nan"), 1.0), "nan s"),
        (StepPoint(1.0, 1.0, float("inf")), "a band of factor inf"),
    ],
)
def test_step_model_that_cannot_be_is_refused_with_its_size(point, said):
    with pytest.raises(InputError, match=said):
        sample_curve(lambda _: point, [8], np.random.default_rng(0))


def test_no_sizes_are_refused():
    with pytest.raises(InputError, match="no sizes"):
        sample_curve(strong, [], np.random.default_rng(0))
