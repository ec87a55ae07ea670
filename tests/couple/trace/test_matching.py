"""Which communications of different ranks are one, and who waits for whom in them."""

import itertools

import polars as pl
import pytest

from loadpath.audit.refusal import why_refused
from loadpath.audit.settings import Settings
from loadpath.diagnose.fidelity import measure_fidelity
from loadpath.errors import InputError
from loadpath.ingest.kineto import read_kineto

SEND_RECV = "ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t(ncclDevComm*, unsigned long, ncclWork*)"
ALL_REDUCE = "ncclKernel_AllReduce_RING_LL_Sum_float(ncclDevComm*, unsigned long, ncclWork*)"
TABLES = ("all_to_all",) * 5 + ("all_reduce",) * 3
"""Collectives of a step of a recommendation model: embeddings are exchanged, gradients summed."""


def recommender(make, rank, work, transfer=200):
    """One rank of a step: before each collective it computes `work[i][rank]` us; no ids recorded.

    Meetings are those of a job whose ranks all run the same program on one clock.
    """
    events = [make["span"]("ProfilerStep#1", "user_annotation", 0, 100_000)]
    free = [0.0] * len(work[0])
    for i, (collective, need) in enumerate(zip(TABLES, work, strict=True)):
        asked = 50 + 150 * i
        computed = [max(free[r], asked + 20) + need[r] for r in range(len(need))]
        met = max(computed) + transfer
        begin, correlation = max(free[rank], asked + 20), 10 * i + 1
        name = SEND_RECV if collective == "all_to_all" else ALL_REDUCE
        call = "c10d::alltoall_base_" if collective == "all_to_all" else "c10d::allreduce_"
        events += [
            make["span"]("aten::mm", "cpu_op", asked, 30),
            make["launch"](asked + 10, 5, correlation),
            make["kernel"]("gemm", begin, need[rank], 7, correlation),
            make["span"](call, "cpu_op", asked + 40, 60),
            make["span"]("record_param_comms", "cpu_op", asked + 45, 50),
            make["span"](f"nccl:{collective}", "user_annotation", asked + 50, 40),
            make["launch"](asked + 60, 10, correlation + 1),
            make["kernel"](name, computed[rank], met - computed[rank], 20, correlation + 1),
            make["launch"](asked + 110, 2, 1000 + i, "cudaStreamWaitEvent"),
        ]
        free = [met] * len(need)
    return [*events, make["launch"](1300, max(free[rank] - 1300, 5), 9999, "cudaDeviceSynchronize")]


def test_exchanges_of_eight_ranks_match_by_order_and_replay_as_measured(couple, make):
    work = [[400 + 37 * ((3 * rank + 5 * i) % 8) for rank in range(8)] for i in range(8)]
    job = couple(*[recommender(make, rank, work) for rank in range(8)])
    collectives = job.instance["collective"].cast(pl.String).to_list()
    assert job.instance["matched"].to_list() == [True] * 8
    assert sorted(collectives) == sorted(TABLES)
    assert measure_fidelity(job).error_ratio_median < 0.03


def gloo(make, name, start, wait, *, peer=None, tag=0):
    """A blocking gloo call of 10 us, and its mark until `wait` us after it."""
    call = {"send": "c10d::send", "recv": "c10d::recv_"}[name]
    inputs = ["", "", str(peer), str(tag)]
    return [
        make["span"](call, "cpu_op", start, 10, **{"Concrete Inputs": inputs}),
        make["span"](f"gloo:{name}", "user_annotation", start + 5, 5 + wait),
    ]


def step(make, *parts, end=1000):
    return [make["span"]("ProfilerStep#1", "user_annotation", 0, end), *itertools.chain(*parts)]


def pairs(job):
    """Sender and receiver of each matched communication."""
    part = job.membership.with_columns(rank=job.op["rank"].gather(job.membership["op"]))
    role = pl.col("role").cast(pl.String)
    found = part.group_by("instance").agg(
        pl.col("rank").filter(role == "sender").first().alias("source"),
        pl.col("rank").filter(role == "receiver").first().alias("target"),
    )
    return sorted(found.select("source", "target").rows())


def test_receive_waits_for_the_send_and_the_thread_for_the_receive(couple, make):
    # rank 0 sends at 500; rank 1 asks at 100 and goes on at 530
    job = couple(
        step(make, gloo(make, "send", 500, 5, peer=1)),
        step(make, gloo(make, "recv", 100, 420, peer=0)),
    )
    name = job.op["name"].cast(pl.String).to_list()
    received = max(i for i, text in enumerate(name) if text == "gloo:recv")
    assert job.wait_ns[received] == 390_000
    assert job.work_ns[name.index("wait for gloo:recv")] == 0


def test_sends_meet_receives_of_their_tag_whatever_the_order(couple, make):
    # the second message is awaited first
    job = couple(
        step(make, gloo(make, "send", 100, 5, peer=1, tag=7), gloo(make, "send", 300, 5, peer=1, tag=8)),
        step(make, gloo(make, "recv", 50, 265, peer=0, tag=8), gloo(make, "recv", 400, 5, peer=0, tag=7)),
    )  # fmt: skip
    start = job.op["start_ns"].gather(job.membership["op"])
    met = job.membership.with_columns(start=start, rank=job.op["rank"].gather(job.membership["op"]))
    first = met.filter(rank=0).group_by("instance").agg(pl.col("start").min()).sort("start")
    then = met.filter(rank=1).group_by("instance").agg(pl.col("start").min()).sort("start")
    assert first["instance"].to_list() == then["instance"].to_list()[::-1]


def test_peers_that_count_within_equally_spaced_groups_are_found(couple, make):
    # pipelines 0 -> 2 and 1 -> 3; each knows the other as 1 and 0
    first = step(make, gloo(make, "send", 100, 5, peer=1))
    second = step(make, gloo(make, "recv", 50, 70, peer=0))
    assert pairs(couple(first, first, second, second)) == [(0, 2), (1, 3)]


def test_peers_that_count_within_neighbours_are_found(couple, make):
    first = step(make, gloo(make, "send", 100, 5, peer=1))
    second = step(make, gloo(make, "recv", 50, 70, peer=0))
    assert pairs(couple(first, second, first, second)) == [(0, 1), (2, 3)]


def test_users_of_a_process_local_name_are_not_taken_for_its_members(couple, make):
    # pipelines 0 -> 2 and 1 -> 3 with peers by rank; each stage's pointers look like one group of two
    def rank(number, numbers, name, *, peer, start, wait):
        inputs = ["", "", str(93_000 + number), str(number), "", "", "", "2"]
        records = [
            make["span"]("record_param_comms", "cpu_op", start + 1 + i, 1,
                         **{"Concrete Inputs": [inputs[0], str(k), *inputs[2:]]})
            for i, k in enumerate(numbers)
        ]  # fmt: skip
        return step(make, gloo(make, name, start, wait, peer=peer), records)

    job = couple(
        rank(0, (1, 2), "send", peer=2, start=100, wait=5),
        rank(1, (1, 2), "send", peer=3, start=100, wait=5),
        rank(2, (1, 3), "recv", peer=0, start=50, wait=70),
        rank(3, (1, 3), "recv", peer=1, start=50, wait=70),
    )
    assert pairs(job) == [(0, 2), (1, 3)]


def test_data_that_lay_ready_is_no_transfer(couple, make):
    # posted at 100, sent at 150, awaited only at 600 after other work
    receive = [
        make["span"]("c10d::recv_", "cpu_op", 100, 10, **{"Concrete Inputs": ["", "", "0", "0"]}),
        make["span"]("gloo:recv", "user_annotation", 105, 500),
        make["span"]("aten::mm", "cpu_op", 120, 480),
    ]
    job = couple(step(make, gloo(make, "send", 150, 5, peer=1)), step(make, receive))
    end = job.op["name"].cast(pl.String) == "gloo:recv"
    assert job.work_ns[end.to_numpy()].max() <= 5_000


def rooted(make, start, wait, collective="broadcast", root=0):
    """A gloo collective with a root: call, execution on a thread of its own, wait."""
    place = {"broadcast": 2, "gather": 3}[collective]
    inputs = ["", "", *[""] * (place - 2), str(root)]
    return step(
        make,
        [
            make["span"](
                f"c10d::{collective}_", "cpu_op", start, 10, **{"Concrete Inputs": inputs}
            ),
            make["span"](f"gloo:{collective}", "user_annotation", start + 5, wait, tid=2),
        ],
    )


def roles(job):
    part = job.membership.with_columns(rank=job.op["rank"].gather(job.membership["op"]))
    return {row[0]: row[1:] for row in part.select("rank", "contributes", "waits").rows()}


def test_receivers_of_a_broadcast_wait_for_its_root_alone(couple, make):
    # root 0 is done at 215 although rank 2 comes only at 400
    job = couple(*[rooted(make, 200 * rank + 200, 10) for rank in range(3)])
    assert roles(job) == {0: (True, False), 1: (False, True), 2: (False, True)}


def test_root_of_a_gather_waits_for_all_and_the_others_for_nobody(couple, make):
    waits = (500, 10, 10)
    job = couple(*[rooted(make, 200 * rank + 100, waits[rank], "gather") for rank in range(3)])
    assert roles(job) == {0: (False, True), 1: (True, False), 2: (True, False)}
    assert job.instance["matched"].all()


def test_files_whose_names_hold_each_others_ranks_are_refused(tmp_path):
    for name, rank in ((0, 1), (1, 0)):
        text = f'{{"distributedInfo": {{"rank": {rank}}}, "traceEvents": [{{"ph": "X", "cat": "cpu_op", "name": "a", "ts": 1, "dur": 1}}]}}'
        (tmp_path / f"rank{name}.json").write_text(text)
    with pytest.raises(InputError, match=r"rank0.json holds rank 1"):
        read_kineto([tmp_path])


def numbered_elsewhere(make, rank, first, *, steps=3, size=4):
    """A rank of one group, named by a pointer, whose calls are numbered from `first`."""
    events = []
    for i in range(steps):
        begin, correlation = 1000 * i, 10 * i + 1
        inputs = ["", str(first + i), f"{9000 + rank}", "0", "", "[]", "[]", str(size)]
        events += [
            make["span"](f"ProfilerStep#{i}", "user_annotation", begin, 900),
            make["span"](
                "record_param_comms", "cpu_op", begin + 10, 60, **{"Concrete Inputs": inputs}
            ),
            make["launch"](begin + 20, 10, correlation),
            make["kernel"](ALL_REDUCE, begin + 50 + 5 * rank, 700 - 5 * rank, 20, correlation),
            make["launch"](begin + 780, 50, 5000 + i, "cudaDeviceSynchronize"),
        ]
    return events


def doubts(job):
    return dict(job.caveat.select("code", "n").rows())


def test_members_that_are_recorded_but_not_found_refuse_the_recording(couple, make):
    ranks = [numbered_elsewhere(make, rank, 1 if rank < 2 else 100) for rank in range(4)]
    job = couple(*ranks)
    assert doubts(job)["groups_unmatched"] == 6
    assert "which ranks a group holds could not be told" in why_refused(
        job, measure_fidelity(job), Settings()
    )


def test_members_of_larger_groups_may_be_unrecorded(couple, make):
    ranks = [numbered_elsewhere(make, rank, 1, size=8) for rank in range(4)]
    job = couple(*ranks)
    assert doubts(job)["incomplete_instances"] == 3
    assert "groups_unmatched" not in doubts(job)


def test_groups_named_by_pointers_meet_although_windows_began_elsewhere(couple, make):
    # ranks 2 and 3 recorded one communication later: step 0 of theirs is step 1 of the others
    ranks = [numbered_elsewhere(make, rank, 7 + rank // 2) for rank in range(4)]
    job = couple(*ranks)
    assert job.instance.filter("matched").height > 0
    assert not {"groups_unmatched", "incomplete_instances"} & set(doubts(job))


# Pairs (0, 1) and (2, 3) sum 1 kB, one of them a millisecond later in turn; then all four sum 1 MB.
def sums_of_two_sizes(make, rank, n_step=20):
    events = []
    for k in range(n_step):
        begin, late = 10_000 * k, 1000 * ((rank // 2 + k) % 2)
        events.append(make["span"](f"ProfilerStep#{k}", "user_annotation", begin, 9_000))
        for i, (size, start, end) in enumerate(
            ((256, 100 + late, 400 + late), (262144, 3000, 4000))
        ):
            asked, correlation = begin + 40 + 100 * i, 10 * k + i + 1
            said = {"Input Dims": [[[size]]], "Input type": ["TensorList"]}
            events += [
                make["span"]("c10d::allreduce_", "cpu_op", asked, 50, **said),
                make["span"]("record_param_comms", "cpu_op", asked + 5, 40),
                make["launch"](asked + 20, 10, correlation),
                make["kernel"](ALL_REDUCE, begin + start, end - start, 20 + i, correlation),
            ]
    return events


def test_payload_told_by_the_call_alone_keeps_groups_without_names_apart(couple, make):
    job = couple(*[sums_of_two_sizes(make, rank) for rank in range(4)])
    met = job.membership.with_columns(rank=job.op["rank"].gather(job.membership["op"]))
    groups = met.group_by("instance").agg(pl.col("rank").sort())["rank"].to_list()
    assert sorted(groups) == [*[[0, 1]] * 20, *[[0, 1, 2, 3]] * 20, *[[2, 3]] * 20]
