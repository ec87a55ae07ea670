import polars as pl
import pytest

from loadpath.couple.graph import EdgeKind
from loadpath.couple.trace import couple_trace
from loadpath.ingest.kineto import read_kineto
from loadpath.replay import replay, step_time_ns
from loadpath.testing import make_job, write_kineto


def names(job):
    return job.op["name"].cast(pl.String).to_list()


def edges(job, kind):
    """Pairs of op names that an edge of this kind joins."""
    graph, name = job.graph, names(job)
    found = set()
    for pred, kinds in ((graph.first, graph.first_kind), (graph.second, graph.second_kind)):
        for node in ((kinds == kind) & (pred > 0)).nonzero()[0]:
            found.add((name[graph.op[pred[node] - 1]], name[graph.op[node]]))
    return found


def step_time(job):
    return step_time_ns(job.graph, replay(job.graph, job.work_ns))


def program(make, *events, end=1000):
    return [make["span"]("ProfilerStep#1", "user_annotation", 0, end), *events]


def test_one_call_that_launches_a_graph_launches_its_first_op_only(couple, make):
    job = couple(
        program(
            make,
            make["launch"](10, 5, 1, "cudaGraphLaunch"),
            *[make["kernel"](f"k{i}", 20 + 100 * i, 100, 7, 1) for i in range(3)],
        )
    )
    assert edges(job, EdgeKind.STREAM) == {("k0", "k1"), ("k1", "k2")}
    assert job.lag_ns.sum() == 0


def test_ops_that_overlap_on_one_stream_follow_the_last_that_ended(couple, make):
    # k0 [20..220]
    # k1    [100..150]
    # k2              [230..240]
    job = couple(
        program(
            make,
            *[make["launch"](10 + i, 1, i) for i in range(1, 4)],
            make["kernel"]("k0", 20, 200, 7, 1),
            make["kernel"]("k1", 100, 50, 7, 2),
            make["kernel"]("k2", 230, 10, 7, 3),
        )
    )
    assert edges(job, EdgeKind.STREAM) == {("k0", "k2")}
    assert not job.negative_lag_ns.any()


def test_copy_to_pageable_memory_holds_its_call(couple, make):
    copy = make["span"]("Memcpy DtoH (Device -> Pageable)", "gpu_memcpy", 30, 300, 7,
                        correlation=1, stream=7, device=0, bytes=64)  # fmt: skip
    job = couple(program(make, make["launch"](10, 325, 1, "cudaMemcpyAsync"), copy))
    call = names(job).index("cudaMemcpyAsync")
    assert job.work_ns[call] == 5_000


def test_copy_from_pinned_memory_does_not_hold_its_call(couple, make):
    copy = make["span"]("Memcpy HtoD (Pinned -> Device)", "gpu_memcpy", 30, 300, 7,
                        correlation=1, stream=7, device=0, bytes=64)  # fmt: skip
    job = couple(program(make, make["launch"](10, 5, 1, "cudaMemcpyAsync"), copy))
    assert not edges(job, EdgeKind.HOST_WAIT)


def test_stream_that_is_still_busy_was_not_waited_for(couple, make):
    # stream 7  k0 [20..120]; stream 9  k1 [30..800]; synchronise [50..125] cannot have waited for k1
    job = couple(
        program(
            make,
            make["launch"](10, 2, 1),
            make["launch"](14, 2, 2),
            make["kernel"]("k0", 20, 100, 7, 1),
            make["kernel"]("k1", 30, 770, 9, 2),
            make["launch"](50, 75, 3, "cudaStreamSynchronize"),
        )
    )
    assert edges(job, EdgeKind.HOST_WAIT) == {("k0", "cudaStreamSynchronize")}


def test_polling_calls_belong_to_the_call_around_them(couple, make):
    job = couple(
        program(
            make,
            make["span"]("aten::empty", "cpu_op", 10, 50),
            *[make["launch"](12 + 5 * i, 4, 90 + i, "cudaEventQuery") for i in range(5)],
        )
    )
    (i,) = [k for k, name in enumerate(names(job)) if name == "aten::empty"]
    assert job.work_ns[i] == 50_000


def test_stream_that_was_busy_before_the_recording_begins_as_recorded(couple, make):
    job = couple(
        program(make, make["launch"](10, 5, 1), make["kernel"]("k", 9_000, 10, 7, 1), end=100)
    )
    assert step_time(job).tolist() == [9_010_000]


def test_op_without_a_recorded_launch_is_said(couple, make):
    job = couple(program(make, make["kernel"]("k", 50, 10, 7, 77)))
    assert "unknown_launch" in job.caveat["code"].to_list()


def test_equal_pointer_groups_of_other_ranks_are_split_by_their_times(couple, make):
    def rank(start):
        inputs = ["", "7", "9382", "0", "", "[]", "[]", "2"]
        said = {"Concrete Inputs": inputs, "Input Dims": [[8]], "Input type": ["float"]}
        return program(
            make,
            make["span"]("record_param_comms", "cpu_op", start, 40, **said),
            make["launch"](start + 10, 10, 2, "cudaLaunchKernelExC"),
            make["kernel"]("ncclDevKernel_AllReduce_Sum_f32", start + 30, 100, 9, 2),
        )

    neighbours = couple(*[rank(start) for start in (10, 10, 500, 500)])
    assert neighbours.instance["n_members"].to_list() == [2, 2]
    assert neighbours.instance["matched"].all()
    spaced = couple(*[rank(start) for start in (10, 500, 10, 500)])
    assert spaced.instance["matched"].all()


@pytest.mark.parametrize("ahead", [0, 5_000])
def test_equal_pointer_groups_are_split_alike_whatever_the_clocks(couple, make, ahead):
    # two pairs of neighbours, each with its own pace; the clock of rank 1 is ahead
    first = [1_000 * k for k in range(1, 9)]
    second = [t + 137 * (k * k % 5) for k, t in enumerate(first)]

    def rank(starts):
        events = []
        for k, start in enumerate(starts):
            said = {"Concrete Inputs": ["", str(k), "9382", "0", "", "[]", "[]", "2"]}
            events += [
                make["span"]("record_param_comms", "cpu_op", start, 40, **said),
                make["launch"](start + 10, 10, 2 + k, "cudaLaunchKernelExC"),
                make["kernel"]("ncclDevKernel_AllReduce_Sum_f32", start + 30, 50, 9, 2 + k),
            ]
        return events

    moved = [t + ahead for t in first]
    job = couple(rank(first), rank(moved), rank(second), rank(second))
    met = job.membership.with_columns(rank=job.op["rank"].gather(job.membership["op"]))
    pairs = met.group_by("instance").agg(pl.col("rank").sort())["rank"].to_list()
    assert sorted(pairs) == [[0, 1]] * 8 + [[2, 3]] * 8
    assert job.instance["matched"].all()


def test_pipeline_with_tensor_and_data_parallel_ranks_replays_as_measured(tmp_path):
    made = make_job(
        3, recorder="kineto", pp=2, tp=2, dp=2, microbatches=4, steps=2, calibrate=False
    )
    job = couple_trace(read_kineto([write_kineto(made, tmp_path)]))
    assert job.instance["matched"].all()
    assert set(job.instance["n_members"]) == {2, 8}
    end = pl.col("start_ns") + pl.col("duration_ns")
    spans = job.op.group_by("step").agg((end.max() - pl.col("start_ns").min()).alias("ns"))
    measured = spans.sort("step")["ns"].to_numpy()
    assert abs(step_time(job) / measured - 1).max() < 0.01


def test_coupling_is_the_same_for_any_order_of_files(tmp_path):
    made = make_job(3, recorder="kineto", pp=1, tp=1, dp=2, microbatches=2, steps=2)
    files = sorted(write_kineto(made, tmp_path).iterdir())
    one, other = (couple_trace(read_kineto(order)) for order in (files, files[::-1]))
    assert one.op.equals(other.op)
    assert (one.graph.first == other.graph.first).all()
