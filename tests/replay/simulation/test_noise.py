import numpy as np
import pytest

from loadpath.couple.loggops import LogGOPS
from loadpath.errors import UsageError
from loadpath.ingest.goal.text import read_text
from loadpath.replay.simulation import Noise, drawn_noise, simulate_schedule, trace_noise
from loadpath.testing.schedules import stencil


def calcs(*lengths):
    lines = [f"l{i}: calc {n}\n" for i, n in enumerate(lengths)]
    lines += [f"l{i} requires l{i - 1}\n" for i in range(1, len(lengths))]
    return read_text("a", f"num_ranks 1\nrank 0 {{\n{''.join(lines)}}}\n".encode())


def at(offset, *events):
    """A trace of (start, length), in which the one rank begins at `offset`."""
    start, length = (np.array(column, np.int64) for column in zip(*events, strict=True))
    total = np.append(0, np.cumsum(length))
    return Noise(
        np.empty(0, np.int64), start, total, int(start[-1] + length[-1]), np.array([offset])
    )


def end(schedule, noise):
    return simulate_schedule(schedule, None, noise).makespan_ns


def test_an_event_that_begins_in_the_window_adds_its_whole_length():
    trace = at(0, (100, 7), (990, 10))
    assert end(calcs(100), trace) == 100  # [0, 100) ends before it
    assert end(calcs(101), trace) == 108
    assert end(calcs(100, 5), trace) == 100 + 5 + 7  # begins with the second


def test_an_event_that_is_under_way_adds_nothing():
    assert end(calcs(50), at(102, (100, 7), (990, 10))) == 50


def test_a_trace_repeats():
    trace = at(0, (100, 7), (990, 10))
    assert trace.period_ns == 1000
    assert end(calcs(2000), trace) == 2000 + 2 * 17
    assert end(calcs(150), at(950, (100, 7), (990, 10))) == 150 + 10
    assert end(calcs(151), at(950, (100, 7), (990, 10))) == 151 + 10 + 7


def test_ranks_begin_a_trace_at_places_of_their_own_or_together():
    start, length = np.array([0, 500]), np.array([5, 5])
    apart = trace_noise(start, length, 64, rng=np.random.default_rng(1))
    same = trace_noise(start, length, 64, rng=np.random.default_rng(1), together=True)
    assert (np.unique(apart.offset_ns).size > 1, np.unique(same.offset_ns).size) == (True, 1)


@pytest.mark.parametrize(("start", "length"), [([], []), ([5, 3], [1, 1]), ([1], [-1])])
def test_a_trace_that_is_none_is_refused(start, length):
    with pytest.raises(UsageError, match="noise events"):
        trace_noise(
            np.array(start, np.int64), np.array(length, np.int64), 1, rng=np.random.default_rng(1)
        )


def test_drawn_noise_has_the_mean_that_was_asked_for():
    schedule = read_text("a", stencil(32, 200, 10_000).encode())
    noise = drawn_noise(schedule, LogGOPS(), 300.0, period_ns=5000.0, rng=np.random.default_rng(3))
    calc = np.flatnonzero(schedule.kind == 3)
    # two events a computation; their sum has a standard deviation of 300 * sqrt(2 * 2)
    assert abs(noise.extra_ns[calc].mean() - 600) < 5 * 600 / np.sqrt(calc.size)
    assert not noise.extra_ns[: schedule.n_op][schedule.kind == 2].any()


def test_drawn_lengths_are_those_given():
    schedule = calcs(*[1000] * 500)
    draw = np.random.default_rng(3)
    noise = drawn_noise(schedule, LogGOPS(), np.array([7.0]), period_ns=1000.0, rng=draw)
    assert (noise.extra_ns % 7 == 0).all()
    assert noise.extra_ns.any()


def test_the_same_seed_draws_the_same_noise():
    schedule = read_text("a", stencil(4, 20, 10_000).encode())

    def draw(seed):
        rng = np.random.default_rng(seed)
        return drawn_noise(schedule, LogGOPS(), 300.0, period_ns=500.0, rng=rng).extra_ns

    assert np.array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))


@pytest.mark.parametrize(
    ("length", "period"), [(5.0, 0.0), (-1.0, 5.0), (np.inf, 5.0), (5.0, 1e-9)]
)
def test_noise_that_cannot_be_drawn_is_refused(length, period):
    schedule = calcs(10**9)
    with pytest.raises(UsageError):
        drawn_noise(schedule, LogGOPS(), length, period_ns=period, rng=np.random.default_rng(1))
