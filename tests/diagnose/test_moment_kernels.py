from itertools import pairwise

import numpy as np
import pytest

from loadpath.diagnose import kernels, moment_kernels
from loadpath.diagnose.places import COMPUTE, TRANSFER, WAIT


def swept(first, ops, times, part, later):
    n = part.size
    segments = np.empty((2, 4 * n), np.int64)
    of_part, of_op = np.empty(4 * n, np.int8), np.empty(4 * n, np.int32)
    group_segment, sums = np.empty(first.size, np.int64), np.zeros((2, n), np.int64)
    n_segment = moment_kernels.sweep_groups(
        first, ops, *times, part, later, group_segment, *segments, of_part, of_op, *sums
    )
    found = (*segments[:, :n_segment], of_part[:n_segment], of_op[:n_segment])
    return group_segment, list(zip(*(column.tolist() for column in found), strict=True)), sums


# Op 0 waits from 0 to 4 and transfers to 6; op 1 computes from 2 to 5.
def test_a_moment_that_several_claim_is_computation_first_then_transfer_then_wait():
    times = np.array([[0, 2], [4, 2], [6, 5]])
    part, later = np.array([TRANSFER, COMPUTE], np.int8), np.zeros(2, np.int8)
    _, segments, (wait, transfer) = swept(np.array([0, 2]), np.arange(2), times, part, later)
    assert segments == [(0, 2, WAIT, 0), (2, 5, COMPUTE, 1), (5, 6, TRANSFER, 0)]
    assert (wait[0], transfer[0]) == (2, 1)


@pytest.mark.parametrize("seed", range(20))
def test_every_moment_belongs_to_the_claim_that_goes_before_all_others(seed):
    rng = np.random.default_rng(seed)
    n_op, n_group, n_moment = 14, 2, 30
    times = np.sort(rng.integers(0, n_moment, (3, n_op)), axis=0)
    part = rng.choice(np.array([-1, COMPUTE, TRANSFER], np.int8), n_op)
    later = rng.integers(0, 2, n_op).astype(np.int8)
    first, ops = np.array([0, 8, n_op]), rng.permutation(n_op)
    group_segment, segments, sums = swept(first, ops, times, part, later)
    owner = np.full((n_group, n_moment, 2), -1)
    for g in range(n_group):
        mine = segments[group_segment[g] : group_segment[g + 1]]
        for one, other in pairwise(mine):
            assert one[1] <= other[0]
            assert one[1:] != (other[0], *other[2:])
        for begin, end, what, op in mine:
            owner[g, begin:end] = what, op
    expected = np.full_like(owner, -1)
    for g, now in np.ndindex(n_group, n_moment):
        claims = [
            (what, later[i], end, i)
            for i in ops[first[g] : first[g + 1]]
            for begin, end, what in (
                (times[0, i], times[1, i], WAIT),
                (times[1, i], times[2, i], part[i]),
            )
            if begin <= now < end and what >= 0
        ]
        if claims:
            what, _, _, op = min(claims)
            expected[g, now] = what, op
    assert np.array_equal(owner, expected)
    for total, what in zip(sums, (WAIT, TRANSFER), strict=True):
        count = np.bincount(owner[owner[..., 0] == what][:, 1], minlength=n_op)
        assert np.array_equal(total, count)


# Nodes 0 and 1 end step 0 together, node 2 ends step 1; nothing ends step 2.
def test_a_step_ends_at_its_latest_node_and_of_equals_at_the_lowest():
    time, end_node = np.array([0, 7, 7, 9]), np.full(3, -1, np.int32)
    kernels.last_ends(np.array([1, 0, 2]), np.array([0, 0, 1]), time, end_node)
    assert end_node.tolist() == [0, 2, -1]


# Node 4 follows nodes 0 to 3, of which 1 and 3 happen last, at once.
def test_along_a_path_the_lowest_of_the_latest_predecessors_binds():
    first, second = np.array([0, 0, 0, 0, 1], np.uint32), np.array([0, 0, 0, 0, 3], np.uint32)
    further = (np.array([4]), np.array([0, 2]), np.array([4, 2], np.uint32))
    time = np.array([0, 5, 8, 6, 8, 10])
    assert kernels.binds(4, first, second, *further, time) == 2
    assert kernels.binds(1, first, second, *further, time) == 0
    marked = np.zeros(5, np.bool_)
    kernels.mark_path(first, second, *further, time, np.array([4]), np.array([0]), marked)
    assert marked.tolist() == [False, True, False, False, True]
