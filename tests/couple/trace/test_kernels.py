"""Compiled loops of traces, against plain ones."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from loadpath.couple.order import lane_order
from loadpath.couple.trace import kernels

law = settings(max_examples=150, deadline=None, derandomize=True)
few = st.integers(0, 5)


def columns(rows, n):
    table = np.array(rows, np.int64).reshape(-1, n)
    return [np.ascontiguousarray(table[:, k]) for k in range(n)]


@law
@given(st.lists(st.tuples(few, few)), st.lists(st.tuples(few, few)))
def test_the_first_equal_pair_is_found(known, asked):
    (rank, number), (asked_rank, asked_number) = columns(known, 2), columns(asked, 2)
    ranks = rank.astype(np.int32), asked_rank.astype(np.int32)
    scattered = number * 2**40 - 7, asked_number * 2**40 - 7
    found = kernels.first_equal(ranks[0], scattered[0], ranks[1], scattered[1])
    assert found.tolist() == [known.index(pair) if pair in known else -1 for pair in asked]


@law
@given(st.lists(st.tuples(few, few, few, few)))
def test_lanes_are_ordered_as_by_sorting_all_keys(rows):
    rank, lane, start, longest = columns(rows, 4)
    found = lane_order(rank.astype(np.int32), lane.astype(np.int32), start, longest)
    assert found.tolist() == np.lexsort((longest, start, lane, rank)).tolist()


@law
@given(st.lists(st.tuples(few, few)))
def test_extremes_of_groups_are_the_first_least_and_the_last_largest(rows):
    group, value = columns(rows, 2)
    groups = sorted({g for g, _ in rows})
    of = {g: [i for i, (other, _) in enumerate(rows) if other == g] for g in groups}
    least = [min(of[g], key=lambda i: (rows[i][1], i)) for g in groups]
    largest = [max(of[g], key=lambda i: (rows[i][1], i)) for g in groups]
    assert kernels.first_least(group, value).tolist() == least
    assert kernels.last_largest(group, value).tolist() == largest


@law
@given(st.lists(few), st.lists(st.tuples(few, few, few)))
def test_places_between_bounds_are_those_of_a_binary_search(values, asked):
    value = np.sort(np.array(values, np.int64))
    low, high, wanted = columns(asked, 3)
    low, high = (np.minimum(np.sort([low, high], axis=0)[k], value.size) for k in (0, 1))
    found = kernels.place_between(value, *(np.ascontiguousarray(b) for b in (low, high)), wanted)
    expected = [
        a + int(np.searchsorted(value[a:b], t)) for a, b, t in zip(low, high, wanted, strict=True)
    ]
    assert found.tolist() == expected


def waits_one_by_one(waits, launched, lane, most):
    """What waits hold out for, in order of when they were asked for."""
    open_waits: dict[int, list[tuple[int, dict[int, int]]]] = {}
    pairs: list[tuple[int, int]] = []
    for w in sorted(range(len(waits)), key=lambda w: waits[w][2]):
        mine, awaited, asked, until, last = waits[w]
        since = launched[last] if last >= 0 else -1
        ops = {lane[last]: last} if last >= 0 else {}
        for before, others in open_waits.get(awaited, []):
            for at, op in others.items() if since < before <= until else ():
                if at not in ops or launched[op] > launched[ops[at]]:
                    ops[at] = op
        pairs += [(w, op) for op in ops.values()]
        if mine >= 0 and ops:
            open_waits[mine] = [*open_waits.get(mine, []), (asked, ops)][-most:]
    return pairs


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data())
def test_a_wait_holds_out_for_what_its_stream_still_waits_for(data):
    n = data.draw(st.integers(1, 8))
    lane = data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    launched = sorted(data.draw(st.lists(st.integers(0, 20), min_size=n, max_size=n)))
    stream = st.integers(-1, 3)
    time = st.integers(0, 25)
    one = st.tuples(stream, stream, time, time, st.integers(-1, n - 1))
    waits = data.draw(st.lists(one, max_size=30))
    most = data.draw(st.integers(1, 4))
    mine, awaited, asked, until, source = columns(waits, 5)
    entry, held = kernels.open_waits(
        np.argsort(asked, kind="stable"),
        *(mine, awaited, asked, until, source.astype(np.int32)),
        *(np.array(launched), np.array(lane, np.int32), 4, most),
    )
    found = list(zip(entry.tolist(), held.tolist(), strict=True))
    assert found == waits_one_by_one(waits, launched, lane, most)
