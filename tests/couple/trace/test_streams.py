"""Waits between streams and of hosts: as recorded, and as inferred where nothing is recorded."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from loadpath import run_audit
from loadpath.couple.graph import EdgeKind
from loadpath.couple.trace import couple_trace
from loadpath.ingest.kineto import read_kineto
from loadpath.testing import Cause, make_job, write_kineto

SHAPES: dict[str, dict[str, Any]] = {
    "overlap": {"pp": 1, "dp": 4, "steps": 6, "microbatches": 2, "overlap": True},
    "tensor": {"pp": 2, "tp": 2, "dp": 2, "steps": 4, "microbatches": 3},
    "pipeline": {"pp": 4, "dp": 1, "steps": 4, "microbatches": 4},
    "launch-bound": {"pp": 2, "dp": 2, "steps": 4, "microbatches": 4, "launch_bound": True},
}


def predecessors(job):
    """Nodes before each node, and the waits between streams as pairs of ops."""
    graph = job.graph
    before: list[set[int]] = [set() for _ in range(graph.n_node)]
    overflow = np.repeat(graph.overflow_node, np.diff(graph.overflow_start))
    crossing = set()
    for pred, node, kind in (
        (graph.first, np.arange(graph.n_node), graph.first_kind),
        (graph.second, np.arange(graph.n_node), graph.second_kind),
        (graph.overflow_pred, overflow, graph.overflow_kind),
    ):
        for p, v, k in zip(pred.tolist(), node.tolist(), kind.tolist(), strict=True):
            if p > 0:
                before[v].add(p - 1)
                if k == EdgeKind.CROSS_STREAM:
                    crossing.add((int(graph.op[p - 1]), int(graph.op[v])))
    return before, crossing


def implied(job, before, source, target):
    """Whether the target's start follows from the source's end."""
    end, todo = int(job.graph.end_node[source]), [int(job.graph.start_node[target])]
    seen = set(todo)
    while todo:
        node = todo.pop()
        if node == end:
            return True
        further = {p for p in before[node] if p >= end} - seen
        seen |= further
        todo += further
    return False


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_inferred_waits_between_streams_are_those_that_were_recorded(tmp_path, shape):
    job = make_job(21, recorder="kineto", **shape)
    both = []
    for sync in (True, False):
        folder = write_kineto(job, tmp_path / str(sync), sync_events=sync)
        coupled = couple_trace(read_kineto([folder]))
        both.append((coupled, *predecessors(coupled)))
    (recorded, before_recorded, known), (inferred, before_inferred, guessed) = both
    assert known
    assert not [pair for pair in guessed - known if not implied(recorded, before_recorded, *pair)]
    assert not [pair for pair in known - guessed if not implied(inferred, before_inferred, *pair)]


@pytest.mark.parametrize(
    ("cause", "shape"),
    [
        (Cause("rank", 0.1), "overlap"),
        (Cause("link", 0.1), "tensor"),
        (Cause("host", 0.1, place="rank"), "launch-bound"),
        (Cause("none"), "tensor"),
    ],
)
def test_verdicts_with_and_without_recorded_waits_agree(tmp_path, cause, shape):
    job = make_job(22, recorder="kineto", cause=cause, **SHAPES[shape])
    said = []
    for sync in (True, False):
        folder = write_kineto(job, tmp_path / str(sync), sync_events=sync)
        verdict = run_audit(folder, brief=False).verdict
        said.append({key: verdict[key] for key in ("kind", "place", "mechanism", "ranks", "stage")})
    assert said[0] == said[1]


def wait(make, kind, ts, correlation, stream, *, source=-1, record=-1):
    return make["span"](kind, "cuda_sync", ts, 1, stream, stream=stream, device=0,
                        correlation=correlation, wait_on_stream=source,
                        wait_on_cuda_event_record_corr_id=record)  # fmt: skip


def two_streams(make, *events):
    """Stream 7 runs k0 [30..530] and k1 [530..560]; stream 9 runs k2 when launched."""
    return [
        make["span"]("ProfilerStep#1", "user_annotation", 0, 2000),
        make["launch"](10, 5, 1),
        make["kernel"]("k0", 30, 500, 7, 1),
        make["launch"](20, 2, 2, "cudaEventRecord"),
        make["launch"](25, 5, 3),
        make["kernel"]("k1", 530, 30, 7, 3),
        *events,
    ]


def names(job):
    return job.op["name"].cast(pl.String).to_list()


def crossing(job):
    return {(names(job)[a], names(job)[b]) for a, b in predecessors(job)[1]}


def test_stream_waits_for_what_was_launched_before_the_event_was_recorded(couple, make):
    job = couple(
        two_streams(
            make,
            make["launch"](40, 2, 4, "cudaStreamWaitEvent"),
            wait(make, "Stream Wait Event", 40, 4, 9, source=7, record=2),
            make["launch"](50, 5, 5),
            make["kernel"]("k2", 535, 100, 9, 5),
        )
    )
    assert crossing(job) == {("k0", "k2")}


def test_host_waits_for_the_event_that_was_recorded_and_no_longer(couple, make):
    job = couple(
        two_streams(
            make,
            make["launch"](60, 475, 6, "cudaEventSynchronize"),
            wait(make, "Event Sync", 60, 6, -1, source=7, record=2),
        )
    )
    assert job.work_ns[names(job).index("cudaEventSynchronize")] == 5_000


def test_event_that_was_recorded_before_the_trace_orders_nothing(couple, make):
    job = couple(
        two_streams(
            make,
            make["launch"](40, 2, 4, "cudaStreamWaitEvent"),
            wait(make, "Stream Wait Event", 40, 4, 9, source=7, record=-1),
            make["launch"](50, 5, 5),
            make["kernel"]("k2", 60, 100, 9, 5),
        )
    )
    assert crossing(job) == set()


def test_a_stream_passes_its_wait_on_to_whoever_waits_for_it(couple, make):
    job = couple(
        two_streams(
            make,
            make["launch"](30, 2, 8),
            make["kernel"]("k9", 35, 5, 9, 8),
            make["launch"](40, 2, 4, "cudaStreamWaitEvent"),
            wait(make, "Stream Wait Event", 40, 4, 9, source=7, record=2),
            make["launch"](45, 2, 5, "cudaEventRecord"),
            make["launch"](50, 2, 6, "cudaStreamWaitEvent"),
            wait(make, "Stream Wait Event", 50, 6, 11, source=9, record=5),
            make["launch"](60, 5, 7),
            make["kernel"]("k2", 535, 100, 11, 7),
        )
    )
    assert ("k0", "k2") in crossing(job)


def test_a_wait_that_began_after_the_event_was_recorded_is_not_passed_on(couple, make):
    job = couple(
        two_streams(
            make,
            make["launch"](35, 2, 5, "cudaEventRecord"),
            make["launch"](40, 2, 4, "cudaStreamWaitEvent"),
            wait(make, "Stream Wait Event", 40, 4, 9, source=7, record=2),
            make["launch"](50, 2, 6, "cudaStreamWaitEvent"),
            wait(make, "Stream Wait Event", 50, 6, 11, source=9, record=5),
            make["launch"](60, 5, 7),
            make["kernel"]("k2", 70, 100, 11, 7),
        )
    )
    assert crossing(job) == set()
