"""From a table of measured runs to flags and money, through every part."""

from decimal import Decimal

import numpy as np
import pytest

from loadpath.errors import InputError
from loadpath.forecast.baselines import choose_baseline, fit_baselines
from loadpath.forecast.inversion import find_inversions
from loadpath.forecast.measured_curve import curve_of_runs
from loadpath.forecast.scaling import curve_table, price_curve
from loadpath.ingest.run_table import read_runs
from loadpath.price.tariff import Tariff

SIZES = [64, 128, 256, 512, 1024, 2048]


# Steps of 640 / n + 1 + n / 1000 s with 2 % of noise; done fastest on 800.
def measured(tmp_path, seed):
    rng = np.random.default_rng(seed)
    rows = [
        f"{n},{(640 / n + 1 + n / 1000) * np.exp(rng.normal(0, 0.02)):.6f},2048"
        for n in (64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536)
    ]
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(["n,step_s,global_batch", *rows]))
    return choose_baseline(fit_baselines(read_runs(path)))


def batch(_):
    return {"global_batch": 2048}


def test_measured_runs_lead_to_curves_flags_and_money(tmp_path):
    curve = curve_of_runs(measured(tmp_path, 3), SIZES, batch, np.random.default_rng(0))
    priced = price_curve(curve, Tariff("USD", Decimal("2.50")))
    found = find_inversions(curve.n, priced["throughput_per_s"], priced["cost_per_unit"])
    assert found.average is not None
    assert 64 < found.average.n < 512
    table = curve_table(curve.n, priced)
    truth = (640 / 64 + 1 + 0.064) * 64 / 3600 * 2.5 / 2048
    low, high = table.filter(quantity="cost_per_unit", n=64).select("low", "high").row(0)
    assert low <= truth <= high


def test_planted_optimum_of_measured_runs_lies_in_the_band_nine_times_in_ten(tmp_path):
    fine = np.unique(np.geomspace(64, 2048, 41).astype(int))
    inside = []
    for seed in range(40):
        curve = curve_of_runs(measured(tmp_path, seed), fine, batch, np.random.default_rng(0))
        flag = find_inversions(curve.n, curve.work / curve.step_s).throughput
        inside.append(flag is not None and flag.low <= 800 <= (flag.high or np.inf))
    assert 0.80 <= np.mean(inside) <= 1.0


def test_same_seed_gives_the_same_table(tmp_path):
    baseline = measured(tmp_path, 1)
    tables = []
    for _ in range(2):
        curve = curve_of_runs(baseline, SIZES, batch, np.random.default_rng(9))
        tables.append(curve_table(SIZES, price_curve(curve, None)))
    assert tables[0].equals(tables[1])


def test_power_of_the_plan_gives_energy(tmp_path):
    plan = lambda n: {"global_batch": 2048, "power_w": 850.0 * n}  # noqa: E731
    curve = curve_of_runs(measured(tmp_path, 1), SIZES, plan, np.random.default_rng(0))
    assert "energy_j_per_unit" in price_curve(curve, None)


def few(tmp_path, text):
    path = tmp_path / "runs.csv"
    path.write_text(text)
    return fit_baselines(read_runs(path))


def test_two_runs_have_no_band_but_a_prior(tmp_path):
    (two,) = few(tmp_path, "n,step_s\n8,8.5\n64,1.5\n")
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="2 runs are too few for a band"):
        curve_of_runs(two, [8, 32, 64], lambda _: {}, rng)
    curve = curve_of_runs(two, [8, 32, 64], lambda _: {}, rng, n_sample=20_000, prior_factor=1.2)
    high = np.quantile(curve.step_s, 0.95, axis=0)
    assert high == pytest.approx(1.2 * np.median(curve.step_s, axis=0), rel=0.01)


def test_sizes_without_what_the_curve_needs_are_refused(tmp_path):
    text = "n,step_s,microbatches\n8,4.2,16\n16,2.2,8\n32,1.2,4\n64,0.7,2\n"
    affine = next(one for one in few(tmp_path, text) if one.name == "affine")
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="without microbatches"):
        curve_of_runs(affine, [128], lambda _: {}, rng)
    with pytest.raises(InputError, match="no sizes"):
        curve_of_runs(affine, [], lambda _: {}, rng)
