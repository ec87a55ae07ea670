"""Numbers that no trace has cost the trace, the event or the field, and are said."""

import os

import pytest

from loadpath.errors import InputError
from loadpath.ingest.kineto import read_kineto


def caveats(recording):
    return dict(zip(recording.caveat["code"], recording.caveat["n"], strict=True))


def info(rank, size=1):
    return {"rank": rank, "world_size": size}


@pytest.mark.parametrize("rank", [1 << 20, 2_000_000_000, 2**40, 2**63 - 1, "9" * 30])
def test_rank_that_no_job_has_is_refused(write, event, rank):
    path = write("a.json", [event("f", "cpu_op", 0, 5)], distributedInfo=info(rank))
    with pytest.raises(InputError, match=r"is beyond 1048576"):
        read_kineto([path])


def test_rank_of_another_alphabet_is_no_rank(write, event):
    path = write("a.json", [event("f", "cpu_op", 0, 5)], distributedInfo=info("²"))
    with pytest.raises(InputError, match=r"no rank"):
        read_kineto([path])


@pytest.mark.parametrize("size", [10**12, 2**62, "9" * 5000])
def test_world_size_that_no_job_has_is_ignored_and_said(write, event, size):
    path = write("a.json", [event("f", "cpu_op", 0, 5)], distributedInfo=info(0, size))
    found = caveats(read_kineto([path]))
    assert found["bad_world_size"] == 1
    assert "missing_ranks" not in found


@pytest.mark.parametrize("base", [-1, 2**61, 2**63 - 1, 10**30])
def test_epoch_that_would_overflow_is_ignored_and_said(write, event, base):
    path = write("rank0.json", [event("f", "cpu_op", 3, 5)], baseTimeNanoseconds=base)
    recording = read_kineto([path])
    assert recording.op["start_ns"].to_list() == [3000]
    assert caveats(recording)["bad_epoch"] == 1


def test_span_of_centuries_costs_its_event(write, event):
    spans = [event("f", "cpu_op", 0, 5), event("g", "cpu_op", 1, 9e15)]
    recording = read_kineto([write("rank0.json", spans, baseTimeNanoseconds=2**60)])
    assert recording.op["name"].to_list() == ["f"]
    assert caveats(recording)["bad_times"] == 1


def test_step_mark_with_thirty_digits_is_no_step_and_said(write, event):
    marks = [event(f"ProfilerStep#{n}", "user_annotation", 0, 9) for n in ("9" * 30, "²")]
    recording = read_kineto([write("rank0.json", [*marks, event("f", "cpu_op", 1, 5)])])
    assert recording.step["step"].to_list() == [0]
    assert caveats(recording)["odd_step_marks"] == 2


@pytest.mark.parametrize(
    "said",
    [
        {"Process Group Ranks": "[0, 99999999999]"},
        {"Process Group Ranks": [0, -1]},
        {"Group size": 2**40},
        {"Src Rank": 2**40},
        {"In msg nelems": 2**61, "dtype": "float"},
    ],
)
def test_group_that_no_job_has_is_ignored_and_said(write, event, said):
    facts = {"Collective name": "allreduce", "Process Group Name": "0", **said}
    call = event("record_param_comms", "cpu_op", 0, 5, **facts)
    recording = read_kineto([write("rank0.json", [call])])
    assert caveats(recording)["impossible_group"] == 1
    assert recording.op["bytes"].to_list() == [-1]


@pytest.mark.parametrize("stream", ["²", "--5", "9" * 5000])
def test_stream_with_an_odd_name_is_a_lane(write, event, stream):
    spans = [event("k", "kernel", 0, 5, stream=s, device=0) for s in (7, stream)]
    assert read_kineto([write("rank0.json", spans)]).lane.height == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are of POSIX")
def test_pipe_in_a_folder_of_traces_is_refused(write, event, tmp_path):
    write("rank0.json", [event("f", "cpu_op", 0, 5)])
    os.mkfifo(tmp_path / "rank1.json")
    with pytest.raises(InputError, match=r"rank1\.json: is a pipe or a device"):
        read_kineto([tmp_path])
