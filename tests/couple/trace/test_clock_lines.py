import numpy as np

from loadpath.couple.trace.clock_lines import _weighted_lines


def test_times_that_are_decades_off_divide_nothing_by_zero():
    pair, x = (
        np.zeros(4, np.intp),
        np.array([1.21153846e8, 1.21153846e8, 1.21153847e8, 1.21153847e8]),
    )
    weight = np.array([2.6e-23, 4e-6, 4e-6, 4e-6])
    offset, drift = _weighted_lines(pair, x, np.array([1.6e18, 0.0, 0.0, 0.0]), weight)
    assert np.isfinite([*offset, *drift]).all()


def test_points_on_a_line_tell_it():
    pair, x = np.repeat(np.arange(2), 3), np.tile([0.0, 1e9, 2e9], 2)
    y = np.where(pair == 0, 5.0, 5.0 + 1e-6 * x)
    offset, drift = _weighted_lines(pair, x, y, np.ones(6))
    assert np.allclose(offset, 5.0)
    assert np.allclose(drift, [0, 1e-6], atol=1e-9)
