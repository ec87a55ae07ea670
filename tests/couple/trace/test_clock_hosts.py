"""Two or four ranks of one host, and what they saw of common moments; times in us."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from loadpath.couple.trace.clock_hosts import middle_shifts, shared_clocks
from loadpath.couple.trace.clock_lines import Sightings

N = 24
EMPTY: Any = np.empty(0, np.int64)
NONE = Sightings(EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY > 0)


def ranks(*hosts):
    return pl.DataFrame({"rank": np.arange(len(hosts), dtype=np.int32), "host": hosts})


def meetings(ends, starts=None, *, threaded=True):
    """All-reduces every 10 ms: ends[k][rank] after the moment, each member there from starts on."""
    ends = np.asarray(ends)
    starts = np.full(ends.shape, -400) if starts is None else np.asarray(starts)
    n, size = ends.shape
    at = (np.arange(n) * 10_000)[:, None]
    return pl.DataFrame(
        {
            "instance": np.repeat(np.arange(n), size),
            "rank": np.tile(np.arange(size, dtype=np.int32), n),
            "start": ((at + starts) * 1000).astype(np.int64).ravel(),
            "end": ((at + ends) * 1000).astype(np.int64).ravel(),
            "one_moment": np.ones(ends.size, np.bool_),
            "waits": np.ones(ends.size, np.bool_),
            "threaded": np.full(ends.size, threaded),
        }
    )


def late(rng, size, share=0.4, most=5_000):
    """Marks of threads: 20 us late, some of them by ms, for they had lost their processor."""
    prompt = rng.exponential(20, (N, size))
    return np.where(rng.random((N, size)) < share, rng.uniform(0, most, (N, size)), prompt)


@pytest.mark.parametrize("seed", range(20))
def test_marks_of_a_busy_host_that_come_late_part_no_clocks(seed):
    ends = late(np.random.default_rng(seed), 4)
    found = shared_clocks(ranks(*["a"] * 4), meetings(ends), NONE)
    assert found.clock.tolist() == [0, 0, 0, 0]
    assert found.parted == ()


@pytest.mark.parametrize("skew_us", [-5_000, -600, 600, 5_000])
@pytest.mark.parametrize("seed", range(5))
def test_a_clock_that_is_off_under_the_same_name_breaks_causality(seed, skew_us):
    # every rank comes last in a quarter of the meetings, 300 us before they end
    rng = np.random.default_rng(seed)
    ends, starts = late(rng, 4), np.full((N, 4), -2_000)
    starts[np.arange(N), np.arange(N) % 4] = -300
    ends[:, 2] += skew_us
    starts[:, 2] += skew_us
    found = shared_clocks(ranks(*["a"] * 4), meetings(ends, starts), NONE)
    assert found.clock.tolist() == [0, 1, 2, 3]
    assert found.parted == ("a",)


@pytest.mark.parametrize("skew_us", [-5_000, -60, 60, 5_000])
def test_ends_of_devices_that_are_shifted_together_are_on_another_clock(skew_us):
    rng = np.random.default_rng(1)
    ends = rng.normal((0, skew_us), 8, (N, 2))
    starts = np.full((N, 2), -100_000)
    found = shared_clocks(ranks("a", "a"), meetings(ends, starts, threaded=False), NONE)
    assert found.clock.tolist() == [0, 1]


def test_ends_of_devices_spread_by_tens_of_us_on_one_clock():
    # as recorded on eight devices of one host: 8 us apart in the middle, 40 at most
    rng = np.random.default_rng(2)
    ends = rng.normal((0, 10), 15, (N, 2))
    found = shared_clocks(ranks("a", "a"), meetings(ends, threaded=False), NONE)
    assert found.clock.tolist() == [0, 0]


def test_a_drift_of_one_clock_parts_the_ranks_of_a_host():
    ends = np.zeros((200, 2))
    ends[:, 1] = np.linspace(-300, 300, 200)
    starts = np.full((200, 2), -100_000)
    found = shared_clocks(ranks("a", "a"), meetings(ends, starts), NONE)
    assert found.parted == ("a",)


def test_a_clock_that_jumps_by_itself_is_not_that_of_its_host():
    ends = np.random.default_rng(3).normal(0, 10, (N, 2))
    ends[N // 2 :, 1] += 900
    starts = np.full((N, 2), -100_000)
    found = shared_clocks(ranks("a", "a"), meetings(ends, starts), NONE)
    assert found.parted == ("a",)


def test_a_message_that_arrived_before_it_was_sent_parts_ranks():
    seen = Sightings(
        np.zeros(4, np.int32), np.ones(4, np.int32), np.arange(4) * 1_000_000,
        np.array([50_000, -50_000, -200_000, 90_000]), np.array([1, -1, 1, 1]), np.ones(4, np.bool_),
    )  # fmt: skip
    none = meetings(np.zeros((0, 2)))
    assert shared_clocks(ranks("a", "a"), none, seen).parted == ("a",)
    sound = Sightings(*(getattr(seen, name)[[0, 1, 3]] for name in Sightings.__slots__))
    assert shared_clocks(ranks("a", "a"), none, sound).clock.tolist() == [0, 0]
    assert shared_clocks(ranks("a", "b"), none, seen).clock.tolist() == [0, 1]


def test_only_the_host_that_is_denied_is_parted():
    ends = np.zeros((N, 4))
    ends[:, 3] += 5_000
    found = shared_clocks(ranks("a", "a", "b", "b"), meetings(ends), NONE)
    assert found.clock.tolist() == [0, 0, 2, 3]
    assert found.parted == ("b",)


def test_ranks_without_host_have_a_clock_each():
    found = shared_clocks(ranks("", "a", "", "a"), meetings(np.zeros((N, 4))), NONE)
    assert found.clock.tolist() == [0, 1, 2, 1]


def test_localhost_names_no_machine():
    found = shared_clocks(ranks("localhost", "localhost"), meetings(np.zeros((N, 2))), NONE)
    assert found.clock.tolist() == [0, 1]
    assert found.parted == ()


@pytest.mark.parametrize("skew_us", [-4_000, -1_000, 1_000, 4_000])
def test_ends_of_threads_that_lie_apart_in_the_middle_leave_that_much_open(skew_us):
    ends = late(np.random.default_rng(5), 4, most=2_000)
    ends[:, 2] += skew_us
    found = middle_shifts(meetings(ends), dict.fromkeys(range(4), 0))
    assert found[2] == pytest.approx(abs(skew_us) * 1_000, abs=200_000)


@pytest.mark.parametrize("seed", range(20))
def test_marks_of_a_busy_host_leave_nothing_open(seed):
    ends = late(np.random.default_rng(seed), 4, share=0.3)
    assert middle_shifts(meetings(ends), dict.fromkeys(range(4), 0)) == {}


def test_ranks_of_clocks_of_their_own_are_not_compared_by_name():
    ends = np.zeros((N, 2))
    ends[:, 1] += 5_000
    assert middle_shifts(meetings(ends), {0: 0, 1: 1}) == {}
