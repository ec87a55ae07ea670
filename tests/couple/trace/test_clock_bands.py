import numpy as np
import pytest

from loadpath.couple.trace.clock_bands import fit_bands, two_way
from loadpath.couple.trace.clock_lines import Sightings


def delays(times_s, offset_ns, drift_ppm=0.0, *, there_ns, back_ns):
    """Messages of both ways between ranks 0 and 1; the clock of 1 is ahead of that of 0."""
    time = (np.asarray(times_s) * 1e9).astype(np.int64)
    ahead = offset_ns + np.rint(drift_ppm * 1e-6 * time).astype(np.int64)
    n = time.size
    value = np.concatenate([ahead + there_ns, ahead - back_ns])
    way = np.repeat([1, -1], n).astype(np.int32)
    low = np.zeros(2 * n, np.int32)
    return Sightings(low, low + 1, np.tile(time, 2), value, way, np.ones(2 * n, np.bool_))


def line(seen):
    """Offset in us at the middle, drift in ppm, and half the width of the band in us."""
    found = fit_bands(seen)
    assert found.offset_ns.size == 1
    return found.offset_ns[0] / 1e3, found.drift[0] / 1e3, found.offset_error_ns[0] / 1e3


def test_the_line_lies_amid_the_least_delays_of_both_ways():
    there, back = np.array([900, 100, 500]) * 1000, np.array([300, 700, 140]) * 1000
    seen = delays([0.0, 0.1, 0.2], 4_000_000, there_ns=there, back_ns=back)
    # the clock of rank 1 is 4,000 us ahead; bounds are 4,100 and 3,860
    assert line(seen) == pytest.approx((3_980, 0, 120))


def test_long_delays_elsewhere_change_nothing():
    rng = np.random.default_rng(1)
    there, back = (100_000 + rng.exponential(2e6, 400).astype(np.int64) for _ in range(2))
    times = np.sort(rng.uniform(0, 1, 400))
    offset, _, half = line(delays(times, -3_000_000, there_ns=there, back_ns=back))
    assert abs(offset + 3_000) <= half
    assert half < 120


@pytest.mark.parametrize("drift_ppm", [-50.0, 0.0, 50.0, 400.0])
def test_drift_shows_in_long_recordings(drift_ppm):
    rng = np.random.default_rng(2)
    there, back = (80_000 + rng.exponential(1e6, 500).astype(np.int64) for _ in range(2))
    times = np.sort(rng.uniform(-10, 10, 500))
    seen = delays(times, 2_000_000, drift_ppm, there_ns=there, back_ns=back)
    offset, drift, _ = line(seen)
    for time_s in (-10, 10):
        middle = (times[0] + times[-1]) / 2
        told = offset + drift * (time_s - middle)
        assert told == pytest.approx(2_000 + drift_ppm * time_s, abs=50)


def test_short_recordings_show_none():
    there, back = np.array([100, 110, 130]) * 1000, np.array([120, 100, 100]) * 1000
    assert line(delays([0.0, 0.02, 0.05], 0, there_ns=there, back_ns=back))[1] == 0


@pytest.mark.parametrize("wrong_us", [-5_000, -50_000])
def test_a_wrong_record_among_many_is_left_out(wrong_us):
    n = 40
    there, back = np.full(n, 100_000), np.full(n, 100_000)
    there[7] = wrong_us * 1000  # arrived long before it was sent
    seen = delays(np.linspace(0, 1, n), 1_000_000, there_ns=there, back_ns=back)
    assert line(seen) == pytest.approx((1_000, 0, 100))


def test_pairs_are_told_apart():
    first = delays([0.0, 1.0], 5_000, there_ns=1_000, back_ns=1_000)
    second = delays([0.0, 1.0], 9_000, there_ns=1_000, back_ns=1_000)
    both = Sightings(
        *(
            np.concatenate([getattr(first, name), getattr(second, name) + (name == "high")])
            if name in {"low", "high"}
            else np.concatenate([getattr(first, name), getattr(second, name)])
            for name in Sightings.__slots__
        )
    )
    found = fit_bands(both)
    assert found.high.tolist() == [1, 2]
    assert found.offset_ns.tolist() == [5_000, 9_000]


def test_delays_of_one_way_bound_from_one_side_and_are_left_out():
    seen = delays([0.0, 1.0], 0, there_ns=1_000, back_ns=1_000)
    there = Sightings(*(getattr(seen, name)[seen.direction > 0] for name in Sightings.__slots__))
    assert two_way(there).low.size == 0
    assert two_way(seen).low.size == 4
