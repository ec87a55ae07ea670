"""Kernels on arrays written out by hand; they must also pass with NUMBA_DISABLE_JIT=1."""

import numpy as np
import pytest

from loadpath.replay import kernels

# Nodes 0, 1, 2 have no predecessors; 3 waits for all of them; 4 for 3 and 0.
EDGES = (
    np.array([0, 0, 0, 1, 4], np.uint32),
    np.array([0, 0, 0, 2, 1], np.uint32),
    np.array([3], np.int32),
    np.array([0, 1], np.int64),
    np.array([3], np.uint32),
)
TIME = np.array([0, 5, 7, 9, 10, 12])


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_sweep_turns_weights_into_times(dtype):
    entries = np.array([[0, 5, 7, 9, 1, 2], [0, 9, 9, 9, 1, 2]], dtype)
    kernels.sweep(*EDGES, entries)
    assert entries.tolist() == [TIME.tolist(), [0, 9, 9, 9, 10, 12]]


def test_weigh_adds_lag_to_the_start_and_work_to_the_end_of_an_op():
    entry = np.array([[0, 0, 0, 100]])
    start, end = np.array([0, 1], np.int32), np.array([0, 2], np.int32)
    kernels.weigh(start, end, np.array([[1, 2]]), np.array([[10, 20]]), entry)
    assert entry.tolist() == [[0, 11, 2, 120]]
    kernels.weigh(start, end, np.empty((1, 0), int), np.array([[10, 20]]), entry)
    assert entry.tolist() == [[0, 21, 2, 140]]


def test_bind_finds_the_last_predecessor_even_in_the_overflow():
    binding = np.empty(5, np.int32)
    kernels.bind(*EDGES, TIME, binding)
    assert binding.tolist() == [0, 0, 0, 3, 4]


def test_bind_prefers_the_lowest_of_equals_to_the_root():
    binding = np.empty(5, np.int32)
    kernels.bind(*EDGES, np.zeros(6, int), binding)
    assert binding.tolist() == [0, 0, 0, 1, 1]


def test_slack_spreads_from_ends_to_begins():
    slack = np.full(6, 100)
    slack[5] = 3
    kernels.spread_slack(*EDGES, TIME, slack)
    assert slack[1:].tolist() == [3 + 4, 3 + 2, 3, 3, 3]


def test_layout_frees_a_row_after_the_last_successor():
    n_row, row, first_row, second_row, overflow_row, *slacks = kernels.lay_out(EDGES, TIME * 1.0)
    # 0, 1, 2 take rows 1, 2, 3, node 3 row 4; then 1 and 2 are done and node 4 takes one of theirs
    assert (n_row, row[:5].tolist()) == (5, [0, 1, 2, 3, 4])
    assert row[5] in {2, 3}
    assert (first_row[3:].tolist(), second_row[3:].tolist()) == ([1, 4], [2, 1])
    assert overflow_row.tolist() == [3]
    assert [slack.tolist()[-2:] for slack in slacks] == [[4, 0], [2, 5], [0]]


def test_block_of_scenarios_deviates_as_exact_sweeps_do():
    n_row, *layout = kernels.lay_out(EDGES, TIME * 1.0)
    stop = np.array([0, 3, 4, 5], np.int32)
    start = np.array([0, 0, 1, 1, 1])
    begin = np.array([0, -1, -1, -1], np.int32)
    end = np.array([-1, -1, 0, -1], np.int32)
    rebase = np.array([False, True, False, False])
    # node 2 shrinks by 4 x scale: then node 1 (7) is the last to arrive
    delta, group = np.array([0, 0, -4, 0, 0], np.float32), np.zeros(5, np.int32)
    scale = np.linspace(0, 1, kernels.BLOCK, dtype=np.float32)[None, :]
    state = np.zeros((n_row, kernels.BLOCK), np.float32)
    begin_ns, end_ns = np.full((1, kernels.BLOCK), np.inf), np.full((1, kernels.BLOCK), -np.inf)
    kernels.sweep_block(
        *layout,
        stop,
        start,
        begin,
        end,
        rebase,
        delta,
        group,
        scale,
        TIME * 1.0,
        state,
        begin_ns,
        end_ns,
    )
    assert np.all(begin_ns == 5)
    assert end_ns[0] == pytest.approx(np.maximum(12 - 4 * scale[0], 10), rel=1e-6)
