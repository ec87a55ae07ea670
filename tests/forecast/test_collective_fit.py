import numpy as np
import polars as pl
import pytest

from loadpath.errors import InputError
from loadpath.forecast.collective_fit import BULK_BYTES, fit_collective, usable_points
from loadpath.tables.measured import COLLECTIVE_POINT

SIZES = [1 << power for power in range(24, 34)]


# Times a * log2(nodes) + sent / b of an all-reduce, or of a ring a * (ranks - 1) + sent / b.
def measured(nodes, *, hop_s=60e-6, bytes_per_s=3e11, ring=False, noise=None):
    rows = []
    for n in nodes:
        for size in SIZES:
            depth = 8 * n - 1 if ring else np.log2(n)
            seconds = hop_s * depth + 2 * (8 * n - 1) / (8 * n) * size / bytes_per_s
            factor = 1.0 if noise is None else np.exp(noise.normal(0, 0.03))
            rows.append(("all_reduce", size, 8 * n, n, round(seconds * factor * 1e9), False, 0))
    return pl.DataFrame(rows, schema=COLLECTIVE_POINT.schema, orient="row")


def test_planted_latency_and_bandwidth_are_found():
    fit = fit_collective(measured([2, 4, 8, 16]))
    assert fit.form == "tree"
    assert fit.bulk.coefficients[1] == pytest.approx(60e-6, rel=0.02)
    assert 1 / fit.bulk.coefficients[2] == pytest.approx(3e11, rel=0.01)


def test_ring_is_told_from_a_tree_by_node_counts_left_out():
    assert fit_collective(measured([2, 4, 8, 16, 32], ring=True, hop_s=5e-6)).form == "ring"


def test_time_of_more_nodes_than_measured_follows_the_planted_form():
    fit = fit_collective(measured([2, 4, 8, 16]))
    truth = measured([1024])
    predicted = fit.time_s(truth["bytes"].to_numpy(), 8192)
    assert predicted == pytest.approx(truth["duration_ns"].to_numpy() / 1e9, rel=0.02)


def test_band_of_noisy_times_holds_nine_in_ten():
    inside = []
    for seed in range(20):
        noise = np.random.default_rng(seed)
        fit = fit_collective(measured([2, 4, 8, 16], noise=noise))
        truth = measured([32], noise=noise)
        size = truth["bytes"].to_numpy()
        ratio = fit.time_s(size, 256) / (truth["duration_ns"].to_numpy() / 1e9)
        inside += list(np.abs(np.log(ratio)) <= np.log(fit.band_factor(size, 256, 0.9)))
    assert 0.80 <= np.mean(inside) <= 0.99


def test_one_node_and_several_are_not_fitted_together():
    with pytest.raises(InputError, match="groups of one node and of several"):
        fit_collective(pl.concat([measured([1]), measured([2, 4], bytes_per_s=1e11)]))


def test_times_with_wrong_values_are_left_out_of_the_fit():
    points = measured([2, 4, 8])
    wrong = points.with_columns(duration_ns=pl.col("duration_ns") * 9, n_wrong=pl.lit(3, pl.Int64))
    both, alone = (fit_collective(usable_points(p)) for p in (pl.concat([points, wrong]), points))
    assert np.array_equal(both.bulk.coefficients, alone.bulk.coefficients)


def test_small_sizes_do_not_bend_the_fit_of_large_ones():
    points = measured([2, 4, 8])
    small = points.filter(pl.col("bytes") == BULK_BYTES).with_columns(
        bytes=pl.lit(1 << 20, pl.Int64), duration_ns=pl.lit(9_000_000, pl.Int64)
    )
    with_small, without = fit_collective(pl.concat([points, small])), fit_collective(points)
    assert np.array_equal(with_small.bulk.coefficients, without.bulk.coefficients)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"duration_ns": 0}, "not above 0"),
        ({"n_rank": 9}, "do not spread evenly"),
    ],
)
def test_points_that_cannot_be_are_refused(change, said):
    points = measured([2]).with_columns(
        pl.lit(value, COLLECTIVE_POINT.schema[name]).alias(name) for name, value in change.items()
    )
    with pytest.raises(InputError, match=said):
        fit_collective(points)


def test_no_points_are_refused():
    with pytest.raises(InputError, match="no points"):
        fit_collective(COLLECTIVE_POINT.empty())


def test_a_single_point_gives_a_band_without_end():
    fit = fit_collective(measured([2]).head(1))
    assert np.isinf(fit.band_factor(1 << 30, 16))


def test_two_node_counts_say_nothing_of_a_third_beyond_them():
    fit = fit_collective(measured([4, 16], noise=np.random.default_rng(0)))
    assert np.isinf(fit.band_factor(1 << 30, [256, 64], 0.9)).tolist() == [True, False]
