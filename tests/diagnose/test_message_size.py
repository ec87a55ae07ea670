import numpy as np
from tests.diagnose.peer_jobs import coupled
from tests.diagnose.small_jobs import communicate

from loadpath.diagnose.message_size import half_rate_bytes, is_latency_like

LATENCY, RATE = 10_000, 0.5


def sized(sizes):
    """Two ranks that exchange messages of `sizes` bytes one after another."""
    ops = [communicate(rank, round(LATENCY + size / RATE)) for rank in range(2) for size in sizes]
    meetings = [(k, k + len(sizes)) for k in range(len(sizes))]
    columns = {"bytes": [*sizes, *sizes], "collective": ["all_reduce"] * 2 * len(sizes)}
    return coupled(ops, meetings, op=columns)


def small_ones(sizes):
    job = sized(sizes)
    op = np.arange(job.n_op)
    return is_latency_like(job, op, np.zeros(job.n_op, np.int32))[: len(sizes)].tolist()


def test_messages_below_the_size_of_half_the_rate_are_bound_by_latency():
    # latency 10 us at half a byte a ns: half of the rate at 5,000 bytes
    assert small_ones([100, 4_000, 6_000, 1_000_000]) == [True, True, False, False]


def test_one_size_does_not_tell_latency_from_rate():
    assert small_ones([100, 100, 100]) == [False] * 3


def test_messages_of_unknown_size_are_transfers():
    assert small_ones([-1, -1]) == [False, False]


def test_longer_messages_that_are_not_slower_give_no_limit():
    assert half_rate_bytes(np.array([10.0, 1000.0]), np.array([100.0, 50.0])) == -1.0


def test_without_latency_no_message_is_too_small():
    assert half_rate_bytes(np.array([10.0, 1000.0]), np.array([10.0, 1000.0])) < 1
