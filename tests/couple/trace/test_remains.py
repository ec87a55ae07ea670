"""Device work that was launched before the recording began."""

import polars as pl


def names(job):
    return set(job.op["name"].cast(pl.String).to_list())


def codes(job):
    return dict(job.caveat.select("code", "n").iter_rows())


def begun_midway(make, *later):
    # device: old [5..405], old [405..1405] of an earlier step; k1 [1405..1505], launched at 20
    return [
        make["span"]("ProfilerStep#1", "user_annotation", 0, 100),
        make["span"]("ProfilerStep#2", "user_annotation", 100, 1900),
        make["launch"](20, 5, 1),
        make["launch"](120, 5, 2),
        make["kernel"]("old", 5, 400, 7, 900),
        make["kernel"]("old", 405, 1000, 7, 901),
        make["kernel"]("k1", 1405, 100, 7, 1),
        make["kernel"]("k2", 1505, 100, 7, 2),
        *later,
    ]


def test_work_of_an_earlier_step_is_left_out_and_said(couple, make):
    job = couple(begun_midway(make))
    assert "old" not in names(job)
    assert codes(job)["earlier_work"] == 2
    assert "unknown_launch" not in codes(job)


def test_work_queued_behind_earlier_work_begins_when_it_did(couple, make):
    job = couple(begun_midway(make))
    name = job.op["name"].cast(pl.String).to_list()
    assert job.lag_ns[name.index("k1")] == 0
    assert job.lag_ns[name.index("k2")] == 0


def test_ops_without_a_launch_amid_others_stay(couple, make):
    job = couple(begun_midway(make, make["kernel"]("k3", 1605, 50, 7, 950)))
    assert {"old", "k3"} <= names(job)
    assert codes(job)["unknown_launch"] == 3


def test_stream_without_any_launch_stays(couple, make):
    job = couple(begun_midway(make, make["kernel"]("graph", 50, 100, 9, 950)))
    assert "graph" in names(job)
    assert codes(job)["unknown_launch"] == 1


def on_two_streams(make, unlinked):
    # twenty kernels on stream 7, twenty on 9; amid them `unlinked` of each without their launch
    events = [make["span"]("ProfilerStep#1", "user_annotation", 0, 900)]
    for i in range(40):
        events += [make["launch"](10 + 20 * i, 5, 1 + i)]
        linked = 0 if 5 <= i // 2 < 5 + unlinked else 1 + i
        events += [make["kernel"](f"k{i}", 20 + 20 * i, 10, 7 + 2 * (i % 2), linked)]
    return events


def test_number_zero_is_of_no_launch_and_many_such_ops_on_several_streams_refuse(couple, make):
    few = codes(couple(on_two_streams(make, 1)))
    assert few["unknown_launch"] == 2
    assert "launches_unknown" not in few
    many = couple(on_two_streams(make, 3))
    assert codes(many)["launches_unknown"] == 6
    text = dict(many.caveat.select("code", "text").iter_rows())["launches_unknown"]
    assert "args.correlation" in text
    assert "6 of 40" in text


def test_one_stream_needs_no_launches(couple, make):
    events = [make["span"]("ProfilerStep#1", "user_annotation", 0, 900)]
    events += [make["kernel"](f"k{i}", 20 + 20 * i, 10, 7, 0) for i in range(9)]
    found = codes(couple(events))
    assert found["unknown_launch"] == 9
    assert "launches_unknown" not in found
