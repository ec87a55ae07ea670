import numpy as np
import polars as pl
import pytest

from loadpath.errors import InputError
from loadpath.forecast.baselines import choose_baseline, fit_baselines
from loadpath.tables.measured import RUN_POINT


def runs(n, step_s, **columns):
    table = pl.DataFrame({"n": n, "step_s": [float(s) for s in step_s], **columns})
    blank = [
        pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in RUN_POINT.schema.items()
        if name not in table.columns
    ]
    return table.with_columns(blank).select(
        pl.col(name).cast(dtype) for name, dtype in RUN_POINT.schema.items()
    )


N = np.array([8, 16, 32, 64, 128, 256])


def test_amdahl_s_law_is_found_where_it_holds():
    best = choose_baseline(fit_baselines(runs(N, 100 / N + 0.5)))
    assert best.name == "amdahl"
    assert best.fit.coefficients == pytest.approx([100, 0.5], rel=1e-6)


def test_universal_scalability_law_is_found_where_throughput_falls_back():
    sigma, kappa = 0.02, 1e-4
    step = 64 / N * (1 + sigma * (N - 1) + kappa * N * (N - 1))
    best = choose_baseline(fit_baselines(runs(N, step)))
    assert best.name == "usl"
    assert best.fit.coefficients == pytest.approx([64, 64 * sigma, 64 * kappa], rel=1e-6)


def test_affine_in_microbatches_wins_where_the_pipeline_rules():
    microbatches = [128, 128, 16, 16, 8, 8]
    points = runs(
        [512, 768, 4096, 6144, 10240, 10752],
        [0.09 * m + 0.3 for m in microbatches],
        microbatches=microbatches,
        global_batch=[2048, 3072, 2048, 3072, 2560, 2688],
    )
    best = choose_baseline(fit_baselines(points))
    assert best.name == "affine"
    assert best.fit.coefficients == pytest.approx([0.09, 0.3], rel=1e-6)


def test_affine_needs_microbatches_of_every_point():
    points = runs([8, 16, 32], [4, 2, 1], microbatches=[8, None, 2])
    assert "affine" not in {baseline.name for baseline in fit_baselines(points)}


def test_weak_scaling_counts_work_and_not_only_ranks():
    points = runs(N, np.full(6, 2.0), global_batch=N * 4)
    best = choose_baseline(fit_baselines(points))
    assert best.step_s(runs([512], [1], global_batch=[2048])) == pytest.approx([2.0], rel=1e-6)


def test_two_points_choose_the_curve_with_the_fewest_parts():
    fitted = fit_baselines(runs([8, 64], [8, 1.5]))
    assert [baseline.name for baseline in fitted] == ["amdahl"]
    assert np.isinf(choose_baseline(fitted).error_ratio)


def test_bands_of_noisy_points_hold_nine_in_ten_of_new_ones():
    inside = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        noise = np.exp(rng.normal(0, 0.02, len(N) + 1))
        best = choose_baseline(fit_baselines(runs(N, (100 / N + 0.5) * noise[:-1])))
        new = runs([96], [(100 / 96 + 0.5) * noise[-1]])
        error = np.log(new["step_s"][0] / best.step_s(new)[0])
        inside.append(abs(error) <= np.log(best.band_factor(new)[0]))
    assert 0.80 <= np.mean(inside) <= 0.97


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (runs([8, 8], [1, 2]), "1 size of job"),
        (runs([8, 16], [1, 2], global_batch=[4, None]), "1 of 2 points without global_batch"),
    ],
)
def test_points_that_tell_too_little_are_refused(points, said):
    with pytest.raises(InputError, match=said):
        fit_baselines(points)
