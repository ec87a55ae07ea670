"""Sends and receives that one kernel runs: ``batch_isend_irecv`` and other groups of NCCL calls."""

import polars as pl
import pytest

from loadpath.replay import replay, step_time_ns

RANKS = [0, 1, 2]
SEND_RECV = "ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<4096ul>)"
ALL_GATHER = "ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<4096ul>)"


def asked(make, ts, collective, peer=None, n=8):
    """One call of a group: it launches nothing."""
    end = {"send": "Dst Rank", "recv": "Src Rank"}.get(collective)
    said = {"Collective name": collective, "Process Group Name": "5", "Group size": 3,
            "Process Group Ranks": str(RANKS), "In msg nelems": n, "dtype": "Float"}  # fmt: skip
    call = {"send": "c10d::send", "recv": "c10d::recv_"}.get(collective, "c10d::_allgather_base_")
    inputs = {"Concrete Inputs": ["", "", str(peer), "0"]} if end else {}
    return [
        make["span"](call, "cpu_op", ts, 10, **inputs),
        make["span"](
            "record_param_comms", "cpu_op", ts + 2, 6, **said, **({end: peer} if end else {})
        ),
    ]


def batch(make, ts, calls, *, began, ended, correlation, name=SEND_RECV):
    """Calls 10 us apart, the end of their group, and the kernel that runs them."""
    events = [e for k, call in enumerate(calls) for e in asked(make, ts + 12 * k, *call)]
    at = ts + 12 * len(calls)
    return [
        *events,
        make["span"]("nccl:coalesced", "user_annotation", at, 10),
        make["launch"](at + 2, 4, correlation, "cudaLaunchKernelExC"),
        make["kernel"](name, began, ended - began, 24, correlation),
    ]


def work(make, ts, dur, correlation):
    return [make["launch"](ts, 4, correlation), make["kernel"]("gemm", ts + 6, dur, 7, correlation)]


def step(make, *parts):
    events = [make["span"]("ProfilerStep#1", "user_annotation", 0, 190)]
    return [*events, *(event for part in parts for event in part)]


def met(job):
    """Collective and ranks of each communication, with ops that take part."""
    part = job.membership.with_columns(rank=job.op["rank"].gather(job.membership["op"]))
    role = pl.col("role").cast(pl.String)
    found = part.group_by("instance").agg(
        pl.col("rank").filter(role == "sender").first().alias("source"),
        pl.col("rank").filter(role == "receiver").first().alias("target"),
    )
    return sorted(found.select("source", "target").rows())


@pytest.fixture
def chain(make):
    """Ranks 0, 1 and 2: rank 1 takes from 0, gives to 2 and takes from it in one kernel.

    ::

        rank 0    gemm .......... 416  440 [send 1] 490
        rank 1         150 [recv 0, send 2, recv 2] 490
        rank 2       138 [recv 1, send 1] 260
    """
    given = (
        work(make, 10, 400, 1),
        batch(make, 100, [("send", 1)], began=440, ended=490, correlation=2),
    )
    middle = [("recv", 0), ("send", 2), ("recv", 2)]
    return [
        step(make, *given),
        step(make, batch(make, 100, middle, began=150, ended=490, correlation=2)),
        step(
            make, batch(make, 100, [("recv", 1), ("send", 1)], began=138, ended=260, correlation=2)
        ),
    ]


def test_every_call_of_a_batch_meets_its_partner(couple, chain):
    job = couple(*chain)
    assert met(job) == [(0, 1), (1, 2), (2, 1)]
    assert job.instance["matched"].to_list() == [True] * 3


def test_a_kernel_of_a_batch_is_one_op_in_several_communications(couple, chain):
    job = couple(*chain)
    kernels = job.op.filter(pl.col("name").cast(pl.String) == SEND_RECV)
    assert kernels.height == 3
    parts = job.membership.group_by("op").len().sort("len")["len"].to_list()
    assert parts == [1, 2, 3]


def test_a_batch_waits_for_the_last_of_its_partners(couple, chain):
    job = couple(*chain)
    kernel = job.op["name"].cast(pl.String) == SEND_RECV
    taken = (kernel & (job.op["rank"] == 1)).arg_true()[0]
    assert job.wait_ns[taken] == (440 - 150) * 1_000
    assert job.work_ns[taken] == 50_000


def test_without_the_late_rank_the_others_are_faster_by_what_they_waited(couple, chain):
    job = couple(*chain)
    gemm = (job.op["name"].cast(pl.String) == "gemm").arg_true()[0]
    shorter = job.work_ns.copy()
    shorter[gemm] -= 200_000
    times = [step_time_ns(job.graph, replay(job.graph, w)).sum() for w in (job.work_ns, shorter)]
    assert times[0] - times[1] == 200_000


def test_messages_of_one_batch_to_one_rank_are_told_by_their_order(couple, make):
    two = [("send", 1, 8), ("send", 1, 16)]
    taken = [("recv", 0, 8), ("recv", 0, 16)]
    job = couple(
        step(make, batch(make, 100, two, began=150, ended=200, correlation=2)),
        step(make, batch(make, 100, taken, began=140, ended=200, correlation=2)),
    )
    assert met(job) == [(0, 1), (0, 1)]
    assert sorted(job.instance["bytes"].to_list()) == [32, 64]


def test_collectives_of_one_group_of_calls_are_matched_each(couple, make):
    calls = [("all_gather", None, 8), ("all_gather", None, 32)]
    ranks = [
        step(
            make,
            batch(make, 100, calls, began=150 + 20 * r, ended=300, correlation=2, name=ALL_GATHER),
        )
        for r in range(3)
    ]
    job = couple(*ranks)
    assert job.instance["n_members"].to_list() == [3, 3]
    assert job.instance["matched"].to_list() == [True, True]


def test_a_second_kernel_of_a_batch_is_no_communication_of_its_own(couple, make):
    def rank(calls, began):
        first = batch(make, 100, calls, began=began, ended=300, correlation=2)
        rest = [make["launch"](140, 4, 3), make["kernel"](SEND_RECV, 300, 80, 24, 3)]
        return step(make, first, rest)

    job = couple(rank([("send", 1)], 200), rank([("recv", 0)], 150))
    assert met(job) == [(0, 1)]
    assert job.membership["op"].n_unique() == 2


def test_calls_that_launched_their_kernel_belong_to_no_batch(couple, make):
    def rank(correlation):
        call = asked(make, 60, "all_gather", None)
        own = [
            make["launch"](63, 3, correlation, "cudaLaunchKernelExC"),
            make["kernel"](ALL_GATHER, 80, 40, 20, correlation),
        ]
        return [*call, *own]

    job = couple(
        step(make, rank(7), batch(make, 100, [("send", 1)], began=200, ended=300, correlation=2)),
        step(make, rank(7), batch(make, 100, [("recv", 0)], began=150, ended=300, correlation=2)),
    )
    assert job.membership.group_by("op").len()["len"].to_list() == [1] * 4
