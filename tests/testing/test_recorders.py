"""Recorded synthetic jobs: op tables and Kineto folders look like those of real jobs."""

import gzip
import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from loadpath.errors import UsageError
from loadpath.testing import Cause, kineto_trace, make_job, op_table, write_kineto, write_op_table


@pytest.fixture
def real():
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    return pl.read_parquet(Path(root) / "data/bytedance-straggler/trace-AR.parquet")


def trace_of(rank=0, **shape):
    job = make_job(7, recorder="kineto", steps=2, microbatches=2, **shape)
    return job, kineto_trace(job, rank)["traceEvents"]


def test_op_table_has_the_columns_and_op_types_of_a_production_table(real):
    table = op_table(make_job(1, pp=4, tp=4, dp=4, steps=1))
    assert table.schema == real.schema
    assert set(table["optype"].unique()) == set(real["optype"].unique())


def test_op_table_counts_ops_as_a_production_table_of_the_same_shape_does(real):
    table = op_table(make_job(1, pp=4, tp=4, dp=4, microbatches=32, steps=1))
    kind = ["dp_rank", "stage", "rank", "optype", "seq_id", "mc", "mb_id", "gmc"]
    first = real.filter(pl.col("step") == 16).select(kind)
    as_text = pl.col("optype").cast(pl.String)
    mine = table.select(kind).with_columns(as_text).sort(kind)
    assert mine.equals(first.with_columns(as_text).sort(kind))


@pytest.mark.parametrize(
    "size", [{"dp": 130, "pp": 1}, {"pp": 130, "dp": 1}, {"microbatches": 130}]
)
def test_op_table_of_a_large_job_holds_its_numbers(size, tmp_path):
    job = make_job(1, **{"steps": 1, "microbatches": 2} | size)
    table = pl.read_parquet(write_op_table(job, tmp_path / "job"))
    greatest = table.select(pl.col("dp_rank", "stage", "mb_id").max()).row(0)
    assert greatest == (job.shape.dp - 1, job.shape.pp - 1, job.shape.microbatches - 1)


def test_written_op_table_reads_back(tmp_path):
    job = make_job(3, pp=2, dp=2, cause=Cause("rank", 0.1))
    path = write_op_table(job, tmp_path / "job")
    table = pl.read_parquet(path)
    assert table.equals(op_table(job))
    assert table.group_by("step").agg(pl.col("start_ts").min())["start_ts"].to_list() == [0.0] * 8
    layout = (path.parent / f"meta-{job.name}.yaml").read_text().splitlines()
    assert "pp_size: 2" in layout
    assert (path.parent / f"hosts-{job.name}.csv").read_text().startswith("rank,host\n0,host-00\n")


def test_longest_step_of_an_op_table_is_that_of_the_truth():
    job = make_job(3, steps=3, cause=Cause("rank", 0.1))
    ends = pl.col("start_ts").cast(pl.Float64) + pl.col("duration")
    steps = op_table(job).group_by("step").agg(ends.max().alias("end"))
    assert steps["end"].mean() == pytest.approx(job.truth.step_s, rel=1e-6)


def test_interleaved_op_table_logs_the_empty_transfers_at_the_ends_of_the_pipeline():
    table = op_table(make_job(3, pp=2, dp=1, vpp=2, steps=1, noise=0.0))
    counts = table.group_by("stage", pl.col("optype").cast(pl.String)).len()
    sends = counts.filter(pl.col("optype") == "forward-send").sort("stage")
    assert sends["len"].to_list() == [16, 16]
    assert table.filter(pl.col("duration") < 1e-9)["optype"].n_unique() >= 3


def test_skewed_clocks_shift_ranks_but_not_durations():
    plain = make_job(3, pp=1, dp=4, steps=2)
    skewed = make_job(3, pp=1, dp=4, steps=2, skewed_ratio=0.5)
    assert (skewed.clock["offset_ns"] != 0).sum() == 2
    lengths = [op_table(job)["duration"].to_numpy() for job in (plain, skewed)]
    assert np.abs(lengths[0] - lengths[1]).max() < 1e-5
    assert not op_table(plain)["start_ts"].equals(op_table(skewed)["start_ts"])


def test_recorders_refuse_jobs_made_for_the_other_one(tmp_path):
    with pytest.raises(UsageError, match="recorder='op_table'"):
        write_op_table(make_job(0, recorder="kineto", steps=1), tmp_path)
    with pytest.raises(UsageError, match="recorder='kineto'"):
        write_kineto(make_job(0, steps=1), tmp_path)


@pytest.mark.parametrize("compress", [True, False])
def test_kineto_folder_has_one_valid_file_per_rank(tmp_path, compress):
    job = make_job(3, pp=2, tp=2, dp=2, recorder="kineto", steps=1, microbatches=2)
    folder = write_kineto(job, tmp_path, compress=compress)
    files = sorted(folder.iterdir())
    assert len(files) == 8
    for path in files:
        text = gzip.decompress(path.read_bytes()) if compress else path.read_bytes()
        info = json.loads(text)["distributedInfo"]
        assert path.name.startswith(f"rank{info['rank']}.")
        assert info["world_size"] == 8
        assert all(info["rank"] in group["ranks"] for group in info["pg_config"])


def test_equal_jobs_give_equal_files(tmp_path):
    shape: dict[str, Any] = {"recorder": "kineto", "steps": 1, "microbatches": 2}
    folders = [write_kineto(make_job(3, **shape), tmp_path / name) for name in "ab"]
    assert all(
        path.read_bytes() == (folders[1] / path.name).read_bytes() for path in folders[0].iterdir()
    )


def test_each_kernel_has_one_launch_that_began_before_it():
    _, events = trace_of(pp=2, tp=2, dp=2)
    calls = {
        event["args"]["correlation"]: event
        for event in events
        if event.get("cat") == "cuda_runtime"
    }
    kernels = [event for event in events if event.get("cat") in {"kernel", "gpu_memcpy"}]
    launches = [event for event in calls.values() if "Launch" in event["name"]]
    copies = [event for event in calls.values() if event["name"] == "cudaMemcpyAsync"]
    assert len(kernels) == len(launches) + len(copies)
    assert len({event["args"]["correlation"] for event in kernels}) == len(kernels)
    assert all(calls[event["args"]["correlation"]]["ts"] <= event["ts"] for event in kernels)


def test_host_calls_nest_and_never_cross():
    _, events = trace_of(pp=2, dp=2)
    on_host = [event for event in events if event["ph"] == "X" and event["pid"] > 0]
    open_ends: list[float] = []
    for event in sorted(on_host, key=lambda event: (event["ts"], -event["dur"])):
        end = event["ts"] + event["dur"]
        while open_ends and open_ends[-1] <= event["ts"] + 1e-3:
            open_ends.pop()
        assert not open_ends or end <= open_ends[-1] + 2e-3
        open_ends.append(end)


def test_device_streams_run_one_kernel_at_a_time():
    _, events = trace_of(pp=2, dp=2)
    kernels = [event for event in events if event.get("cat") in {"kernel", "gpu_memcpy"}]
    for stream in {event["tid"] for event in kernels}:
        mine = sorted((e for e in kernels if e["tid"] == stream), key=lambda e: e["ts"])
        gaps = [b["ts"] - a["ts"] - a["dur"] for a, b in pairwise(mine)]
        assert min(gaps, default=0.0) >= -2e-3


def test_stream_waits_name_an_event_that_was_recorded():
    _, events = trace_of(pp=2, dp=2)
    records = {
        event["args"]["correlation"] for event in events if event["name"] == "cudaEventRecord"
    }
    waits = [event["args"] for event in events if event.get("cat") == "cuda_sync"]
    assert waits
    assert {args["wait_on_cuda_event_record_corr_id"] for args in waits} <= records


def test_collectives_of_all_ranks_agree_on_group_and_sequence():
    job = make_job(7, pp=2, tp=2, dp=2, recorder="kineto", steps=1, microbatches=2)
    seen: dict[tuple[str, int], list[tuple[int, str]]] = {}
    for rank in range(8):
        for event in kineto_trace(job, rank)["traceEvents"]:
            args = event.get("args", {})
            if event.get("cat") == "kernel" and args.get("Collective name") == "allreduce":
                key = (args["Process Group Name"], args["Seq"])
                seen.setdefault(key, []).append((rank, args["Process Group Ranks"]))
    for members in seen.values():
        assert {ranks for _, ranks in members} == {str(sorted(rank for rank, _ in members))}


def test_sends_name_their_receiver_and_receives_their_sender():
    _, events = trace_of(rank=0, pp=2, dp=2)
    p2p = [e["args"] for e in events if e.get("cat") == "kernel" and "SendRecv" in e["name"]]
    assert {args.get("Dst Rank", args.get("Src Rank")) for args in p2p} == {2}
    assert {args["Collective name"] for args in p2p} == {"send", "recv"}


def test_steps_are_marked_on_the_host_thread():
    job, events = trace_of(pp=1, dp=2)
    marks = [event["name"] for event in events if event["name"].startswith("ProfilerStep#")]
    assert marks == ["ProfilerStep#3", "ProfilerStep#4"]
    assert job.truth.kind == "none"


def test_device_waits_can_be_left_out():
    job = make_job(7, recorder="kineto", steps=1, microbatches=2)
    events = kineto_trace(job, 0, sync_events=False)["traceEvents"]
    assert not [event for event in events if event.get("cat") == "cuda_sync"]


def test_a_batch_of_sends_and_receives_is_one_kernel_behind_calls_that_launch_nothing():
    _, events = trace_of(rank=1, pp=3, dp=1, p2p="batched")
    asked = [e for e in events if e["name"] in {"c10d::send", "c10d::recv_"}]
    kernels = [e for e in events if "SendRecv" in e["name"]]
    assert len(asked) == 2 * 2 * 4
    assert len(kernels) < len(asked)
    assert all("Collective name" not in kernel["args"] for kernel in kernels)
    ends = [e["ts"] + e["dur"] for e in kernels]
    assert all(a <= b["ts"] for a, b in zip(ends, kernels[1:], strict=False))
