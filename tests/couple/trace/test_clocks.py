import numpy as np
import pytest

from loadpath.couple.trace.clock_estimate import estimate_clocks
from loadpath.couple.trace.clock_lines import Sightings
from loadpath.couple.trace.clock_network import coarse_offsets, components
from loadpath.couple.trace.clocks import only, set_clocks

DAY_NS = 86_400 * 10**9
LENGTH_S = 5.0


def true_clocks(rng, n, share=1.0, skew_ns=5e6, drift_ppb=50_000):
    """Errors of n clocks, `share` of which are off."""
    off = rng.permutation(n) < round(share * n)
    offset = np.where(off, rng.uniform(-skew_ns, skew_ns, n), 0.0)
    drift = np.where(off, rng.uniform(-drift_ppb, drift_ppb, n), 0.0)
    return np.rint(offset).astype(np.int64), drift


def read(clock, rank, time_ns):
    """What a rank's clock shows; whole numbers stay exact."""
    offset, drift = clock
    return time_ns + offset[rank] + np.rint(drift[rank] * 1e-9 * time_ns).astype(np.int64)


def collectives(rng, clock, groups, n=40, spread_ns=20_000):
    """Ends of collectives of groups, spread as they are on one clock."""
    rows = []
    for members in groups:
        times = np.sort(rng.uniform(0, LENGTH_S * 1e9, n)).astype(np.int64)
        ends = [read(clock, r, times + rng.normal(0, spread_ns, n).astype(int)) for r in members]
        rows += [
            (np.full(n, members[0]), np.full(n, r), ends[0], end - ends[0])
            for r, end in zip(members[1:], ends[1:], strict=True)
        ]
    low, high, time, value = (np.concatenate(column) for column in zip(*rows, strict=True))
    return Sightings(low, high, time, value, np.zeros(low.size, np.int32), low < 0)


def messages(rng, clock, pairs, n=40, least_ns=200_000):
    """Passages from one rank to another, each with a delay of its own."""
    rows = []
    for source, target in pairs:
        sent = np.sort(rng.uniform(0, LENGTH_S * 1e9, n)).astype(np.int64)
        got = sent + least_ns + rng.exponential(3e6, n).astype(np.int64)
        begun, ended = read(clock, source, sent), read(clock, target, got)
        up = source < target
        value, time = (ended - begun, begun) if up else (begun - ended, ended)
        rows.append((np.full(n, min(source, target)), np.full(n, max(source, target)), time, value,
                     np.full(n, 1 if up else -1), np.ones(n, np.bool_)))  # fmt: skip
    return Sightings(*(np.concatenate(column) for column in zip(*rows, strict=True)))


def join(*parts):
    return Sightings(
        *(np.concatenate([getattr(p, name) for p in parts]) for name in Sightings.__slots__)
    )


def worst_error_ns(clocks, clock):
    """Largest disagreement of two clocks, at any time of the recording, after they were set."""
    n = clocks.rank.size
    shown = []
    for time in (0, int(LENGTH_S * 1e9)):
        recorded = read(clock, np.arange(n), np.full(n, time))
        right = set_clocks(clocks, clocks.rank, recorded)
        shown.append(np.ptp(right))
    return max(shown)


def ranks(n):
    return np.arange(n, dtype=np.int32)


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_clocks_of_any_subset_of_ranks_are_recovered(seed, share):
    rng = np.random.default_rng(seed)
    clock = true_clocks(rng, 8, share)
    clocks = estimate_clocks(ranks(8), collectives(rng, clock, [range(8)]))
    assert worst_error_ns(only(clocks, clocks.is_off), clock) < 50_000


def test_clocks_that_are_fine_stay_as_recorded():
    # a systematic order of ends, as of a ring, is no error of clocks while others spread as much
    rng = np.random.default_rng(1)
    ring = np.arange(8) * 2_000, np.zeros(8)
    clocks = estimate_clocks(ranks(8), collectives(rng, ring, [range(8)]))
    assert not clocks.is_off.any()


def test_one_wrong_clock_is_set_and_the_others_are_left():
    rng = np.random.default_rng(2)
    clock = np.array([0, 0, 3_000_000, 0]), np.zeros(4)
    clocks = estimate_clocks(ranks(4), collectives(rng, clock, [range(4)]))
    assert clocks.is_off.tolist() == [False, False, True, False]
    assert clocks.offset_ns[2] == pytest.approx(3_000_000, abs=20_000)


def test_ranks_that_no_collective_spans_are_chained_through_communicators():
    rng = np.random.default_rng(3)
    clock = true_clocks(rng, 16)
    chain = [range(4 * k, 4 * k + 4) for k in range(4)] + [(3, 4), (7, 8), (11, 12)]
    clocks = estimate_clocks(ranks(16), collectives(rng, clock, chain, n=80))
    assert np.unique(clocks.part).size == 1
    assert worst_error_ns(clocks, clock) < 50_000


def test_least_delays_of_both_ways_tell_the_clocks_of_a_pipeline():
    rng = np.random.default_rng(4)
    clock = true_clocks(rng, 4, drift_ppb=0)
    there = messages(rng, clock, [(0, 1), (1, 2), (2, 3)], n=2_000)
    back = messages(rng, clock, [(1, 0), (2, 1), (3, 2)], n=2_000)
    assert worst_error_ns(estimate_clocks(ranks(4), join(there, back)), clock) < 50_000


def test_delays_of_one_way_tell_no_clock():
    rng = np.random.default_rng(5)
    clock = np.array([0, 4_000_000]), np.zeros(2)
    clocks = estimate_clocks(ranks(2), messages(rng, clock, [(0, 1)]))
    assert clocks.part.tolist() == [0, 1]
    assert not clocks.are_moved.any()


def test_late_marks_of_a_busy_host_do_not_move_its_clock():
    # 40 % of the ends of rank 1 are marked up to 5 ms late: the thread had lost its processor
    rng = np.random.default_rng(6)
    clock = np.zeros(4, np.int64), np.zeros(4)
    seen = collectives(rng, clock, [range(4)])
    late = (seen.high == 1) & (rng.random(seen.high.size) < 0.4)
    seen.value[late] += rng.exponential(5e6, late.sum()).astype(np.int64)
    clocks = estimate_clocks(ranks(4), seen)
    assert not clocks.is_off.any()
    assert abs(clocks.offset_ns[1]) < 50_000


@pytest.mark.parametrize("offset", [DAY_NS, -DAY_NS, 3_600 * 10**9, 1_790_857_026_000_000_000])
def test_epochs_that_differ_are_brought_together(offset):
    # a day, an hour of daylight saving, or a trace without base time
    rng = np.random.default_rng(7)
    clock = np.array([0, offset, 0, 0]), np.array([0.0, 30_000.0, 0.0, 0.0])
    clocks = estimate_clocks(ranks(4), collectives(rng, clock, [range(4)]))
    # the drift counts from the true begin, so that of a far epoch is part of the offset
    assert clocks.is_off.tolist() == [False, True, False, False]
    assert worst_error_ns(only(clocks, clocks.is_off), clock) < 50_000


def test_few_sightings_give_no_drift():
    # two ends 1 ms apart that spread by 30 us would make 3 % of drift
    seen = Sightings(
        np.zeros(2, np.int32), np.ones(2, np.int32), np.array([0, 10**6]), np.array([0, 30_000]),
        np.zeros(2, np.int32), np.zeros(2, np.bool_),
    )  # fmt: skip
    assert abs(estimate_clocks(ranks(2), seen).drift_ppb).max() < 1_000


def test_setting_clocks_keeps_the_order_of_a_rank():
    rng = np.random.default_rng(8)
    clock = true_clocks(rng, 4)
    clocks = estimate_clocks(ranks(4), collectives(rng, clock, [range(4)]))
    time = np.cumsum(rng.integers(0, 3, 10_000))
    for rank in range(4):
        moved = set_clocks(clocks, np.full(time.size, rank, np.int32), time)
        assert (np.diff(moved) >= 0).all()


def test_coarse_offsets_follow_the_pairs():
    seen = Sightings(
        np.array([0, 2]), np.array([1, 3]), np.zeros(2, int), np.array([5 * DAY_NS, -7]),
        np.zeros(2, int), np.zeros(2, bool),
    )  # fmt: skip
    assert components(4, seen.low, seen.high).tolist() == [0, 0, 2, 2]
    assert coarse_offsets(4, seen).tolist() == [0, 5 * DAY_NS, 0, -7]
