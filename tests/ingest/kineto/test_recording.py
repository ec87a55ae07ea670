import gzip
import json
import os
from pathlib import Path

import polars as pl
import pytest

from loadpath.errors import InputError
from loadpath.ingest.kineto import read_kineto

ONE = {"ph": "X", "name": "aten::mm", "cat": "cpu_op", "ts": 1, "dur": 2, "pid": 1, "tid": 1}


def info(rank, size=2):
    return {"distributedInfo": {"rank": rank, "world_size": size, "backend": "nccl"}}


def caveats(recording):
    return dict(recording.caveat.select("code", "n").rows())


def recorded(folder):
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    return read_kineto([Path(root) / "data" / folder])


def test_rank_comes_from_distributed_info_before_the_name(write):
    recording = read_kineto(
        [write("rank7.json", [ONE], **info(0)), write("b.json", [ONE], **info(1))]
    )
    assert recording.rank["rank"].to_list() == [0, 1]


@pytest.mark.parametrize(
    "name", ["rank3.json", "x_rank_3.json", "rank-3.json", "kineto_rank_3.json"]
)
def test_rank_comes_from_the_file_name_where_the_trace_has_none(write, name):
    assert read_kineto([write(name, [ONE])]).rank["rank"].to_list() == [3]


def test_a_trace_without_any_rank_is_refused_with_the_remedy(write):
    with pytest.raises(InputError, match=r"trace\.json: no rank .* Name the file"):
        read_kineto([write("trace.json", [ONE])])


def test_two_files_of_one_rank_are_refused_and_both_named(write):
    paths = [write("a.json", [ONE], **info(0)), write("b.json", [ONE], **info(0))]
    with pytest.raises(InputError, match=r"rank 0 is in a\.json and in b\.json"):
        read_kineto(paths)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no \.json"):
        read_kineto([tmp_path])


def test_json_of_another_kind_alone_is_refused(tmp_path):
    (tmp_path / "steps.json").write_text(json.dumps({"rank": 0, "steps": [[0, 1, 2]]}))
    with pytest.raises(InputError, match="no Kineto trace"):
        read_kineto([tmp_path])


def test_json_of_another_kind_beside_traces_is_skipped_and_said(write, tmp_path):
    write("rank0.json", [ONE])
    (tmp_path / "fr_rank0.json").write_text(json.dumps({"entries": [{"a": 1}]}))
    assert caveats(read_kineto([tmp_path]))["not_kineto"] == 1


def test_missing_ranks_are_said(write):
    recording = read_kineto([write("a.json", [ONE], **info(1, size=4))])
    assert caveats(recording)["missing_ranks"] == 3


def test_traces_that_name_different_world_sizes_are_doubted(write):
    paths = [write("a.json", [ONE], **info(0, 2)), write("b.json", [ONE], **info(1, 4))]
    assert caveats(read_kineto(paths))["different_jobs"] == 1


def test_base_time_makes_one_epoch_of_all_ranks(write):
    paths = [
        write("rank0.json", [ONE], baseTimeNanoseconds=1000),
        write("rank1.json", [ONE], baseTimeNanoseconds=5000),
    ]
    assert read_kineto(paths).op["start_ns"].to_list() == [2000, 6000]


@pytest.mark.parametrize(
    ("ts", "ns"),
    [
        (1706850122846038, 1706850122846038000),
        (4487401684337.484, 4487401684337484),
        ("1712195495520854.833", 1712195495520854833),
        (0.001, 1),
    ],
)
def test_times_are_exact_to_the_nanosecond(write, ts, ns):
    assert read_kineto([write("rank0.json", [{**ONE, "ts": ts}])]).op["start_ns"].to_list() == [ns]


def test_absolute_decimals_beyond_float_are_exact(tmp_path):
    event = json.dumps(ONE).replace('"ts": 1', '"ts": 1712195495520854.833')
    path = tmp_path / "rank0.json"
    path.write_text('{"traceEvents": [' + event + "]}")
    assert read_kineto([path]).op["start_ns"].to_list() == [1712195495520854833]


def test_negative_durations_cost_their_event_and_are_counted(write):
    recording = read_kineto([write("rank0.json", [ONE, {**ONE, "dur": -5}])])
    assert recording.op.height == 1
    assert caveats(recording)["negative_durations"] == 1


@pytest.mark.parametrize("bad", ['{"ph": "X", "ts": NaN}', '{"ph": "X", "ts": {}}', '{"a": "\t"}'])
def test_a_malformed_event_costs_that_event_and_is_counted(tmp_path, bad):
    path = tmp_path / "rank0.json"
    path.write_text(
        '{"traceEvents": [' + json.dumps(ONE) + "," + bad + "," + json.dumps(ONE) + "]}"
    )
    recording = read_kineto([path])
    assert recording.op.height == 2
    assert caveats(recording)["malformed_events"] == 1


def test_a_time_that_is_no_time_costs_its_event(write):
    recording = read_kineto(
        [write("rank0.json", [ONE, {**ONE, "ts": "NaN"}, {**ONE, "ts": 1e300}])]
    )
    assert recording.op.height == 1
    assert caveats(recording)["bad_times"] == 2


def test_a_truncated_trace_keeps_whole_events_and_says_so(write):
    path = write("rank0.json", [ONE] * 50)
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    recording = read_kineto([path])
    assert 20 < recording.op.height < 30
    assert caveats(recording)["truncated"] == 1


def test_truncated_gzip_keeps_whole_events_and_says_so(tmp_path):
    events = [{**ONE, "ts": i * i % 9973, "name": f"op{i * 7919 % 1000}"} for i in range(3000)]
    whole = gzip.compress(json.dumps({"traceEvents": events}).encode())
    (tmp_path / "rank0.json.gz").write_bytes(whole[: len(whole) // 2])
    recording = read_kineto([tmp_path])
    assert 500 < recording.op.height < 2500
    assert caveats(recording)["truncated"] == 1


def test_gzip_cut_before_any_event_is_refused(tmp_path):
    (tmp_path / "rank0.json.gz").write_bytes(gzip.compress(b'{"traceEvents": [')[:12])
    with pytest.raises(InputError, match="gzip data end too early"):
        read_kineto([tmp_path])


def test_a_trace_without_usable_events_is_refused(write):
    with pytest.raises(InputError, match="no usable event"):
        read_kineto([write("rank0.json", [{**ONE, "cat": "python_function"}])])


def test_spans_of_other_categories_are_counted(write):
    recording = read_kineto([write("rank0.json", [ONE, {**ONE, "cat": "python_function"}])])
    assert caveats(recording)["unused_events"] == 1


def test_categories_of_2021_are_read(write):
    events = [
        {**ONE, "cat": "Operator", "tid": "1"},
        {**ONE, "cat": "Runtime", "args": {"correlation": 4}},
        {**ONE, "cat": "Kernel", "tid": "stream 7", "args": {"stream": 7, "correlation": 4}},
    ]
    recording = read_kineto([write("rank0.json", events)])
    assert recording.lane["kind"].to_list() == ["host", "device"]
    assert recording.op["kind"].to_list() == ["host", "host", "compute"]


def test_steps_come_from_marks_and_device_ops_follow_their_launch(write, event):
    events = [
        event("ProfilerStep#4", "user_annotation", 0, 100),
        event("ProfilerStep#5", "user_annotation", 100, 100),
        event("cudaLaunchKernel", "cuda_runtime", 90, 5, correlation=1),
        event("gemm", "kernel", 130, 50, correlation=1, stream=7, device=0),
        event("aten::mm", "cpu_op", 250, 5),
    ]
    recording = read_kineto([write("rank0.json", events)])
    assert recording.step["step"].to_list() == [4, 5]
    steps = dict(recording.op.select(pl.col("name").cast(pl.String), "step").rows())
    assert steps["gemm"] == 4
    assert steps["aten::mm"] == -1


def test_a_trace_without_marks_is_one_step(write):
    assert read_kineto([write("rank0.json", [ONE])]).step["step"].to_list() == [0]


def test_nesting_names_the_innermost_enclosing_op(write, event):
    events = [
        event("outer", "cpu_op", 0, 100),
        event("inner", "cpu_op", 10, 20),
        event("leaf", "cpu_op", 10, 5),
        event("late", "cpu_op", 40, 62),
        event("after", "cpu_op", 200, 5),
    ]
    assert read_kineto([write("rank0.json", events)]).op["parent"].to_list() == [-1, 0, 1, 0, -1]


def test_data_loading_is_input(write, event):
    events = [event("enumerate(DataLoader)#_Iter.__next__", "user_annotation", 0, 9)]
    assert read_kineto([write("rank0.json", events)]).op["kind"].to_list() == ["input"]


def test_progress_counts_files(write):
    seen = []
    read_kineto([write("rank0.json", [ONE]), write("rank1.json", [ONE])], lambda *x: seen.append(x))
    assert seen == [(1, 2), (2, 2)]


def test_process_local_groups_of_all_ranks_are_one_communicator():
    recording = recorded("kineto-megatron-tp8")
    assert recording.communicator.row(0, named=True)["n_members"] == 8
    said = recording.op.filter(pl.col("communicator") == 0).group_by("rank").len()
    assert said["len"].to_list() == [84] * 8


def test_gloo_threads_are_communication_lanes():
    recording = recorded("gloo-ddp-4")
    assert recording.lane["kind"].to_list() == ["host", "communication", "communication"] * 4
    assert recording.step.height == 64
    assert caveats(recording)["not_kineto"] == 9


@pytest.mark.parametrize(("written", "read"), [("17", 17), ("none", -1), (1e30, -1), (3.0, 3)])
def test_correlations_may_be_text_or_nonsense(write, event, written, read):
    events = [event("cudaLaunchKernel", "cuda_runtime", 0, 5, correlation=written)]
    assert read_kineto([write("rank0.json", events)]).op["correlation"].to_list() == [read]


def test_damaged_keys_around_the_events_are_said(tmp_path):
    (tmp_path / "rank0.json").write_text('{"traceEvents": [' + json.dumps(ONE) + '], "base": }')
    assert caveats(read_kineto([tmp_path]))["damaged_head"] == 1


def test_a_trace_in_nanoseconds_is_refused_by_name_and_remedy(write):
    epoch = {"baseTimeNanoseconds": 1_700_000_000_000_000_000}
    with pytest.raises(InputError, match=r"rank0.*1 events dropped.*ts and dur in us"):
        read_kineto([write("rank0.json", [{**ONE, "ts": 9e15}], **epoch)])


def communication(own):
    said = {
        "Collective name": "allreduce",
        "Process Group Ranks": "[4, 5]",
        "Group size": 2,
        "Rank": own,
    }
    return {**ONE, "name": "record_param_comms", "args": said}


def test_a_trace_whose_communications_name_another_rank_is_doubted(write):
    paths = [
        write("a.json", [communication(1)], **info(4, 6)),
        write("b.json", [communication(0)], **info(5, 6)),
    ]
    recording = read_kineto(paths)
    assert caveats(recording)["wrong_ranks"] == 2
    (text,) = recording.caveat.filter(pl.col("code") == "wrong_ranks")["text"]
    assert "a.json: 5, not 4" in text


def test_a_trace_whose_communications_name_its_rank_is_not_doubted(write):
    paths = [
        write("a.json", [communication(0)], **info(4, 6)),
        write("b.json", [communication(1)], **info(5, 6)),
    ]
    assert "wrong_ranks" not in caveats(read_kineto(paths))
