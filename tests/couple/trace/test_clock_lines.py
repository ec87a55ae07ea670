import numpy as np

from loadpath.couple.trace.clock_lines import _weighted_lines


def test_a_time_that_is_decades_off_leaves_a_level_and_no_drift():
    pair, x = np.zeros(4, np.intp), np.array([-1.5e9, 1e8, 1e8, 1e8])
    y, weight = np.array([1.6e18, 0.0, 0.0, 0.0]), np.array([2.6e-23, 4e-6, 4e-6, 4e-6])
    offset, drift = _weighted_lines(pair, x, y, weight)
    assert np.isfinite([offset, drift]).all()
    assert drift[0] == 0


def test_points_on_a_line_tell_it():
    pair, x = np.repeat(np.arange(2), 3), np.tile([0.0, 1e9, 2e9], 2)
    y = np.where(pair == 0, 5.0, 5.0 + 1e-6 * x)
    offset, drift = _weighted_lines(pair, x, y, np.ones(6))
    assert np.allclose(offset, 5.0)
    assert np.allclose(drift, [0, 1e-6], atol=1e-9)
