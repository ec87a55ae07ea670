"""What is kept of a parsed trace is the trace; in doubt it is parsed again."""

import os
from dataclasses import fields

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from loadpath.ingest.kineto import parsed, read_kineto
from loadpath.tables import Recording
from loadpath.testing import make_job, write_kineto


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    job = make_job(3, recorder="kineto", dp=4, steps=2)
    return write_kineto(job, tmp_path_factory.mktemp("job"))


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    monkeypatch.setattr(parsed, "LEAST_KEPT_BYTES", 0)
    return tmp_path / "shelf"


def assert_same(one, other):
    for item in fields(Recording):
        left, right = getattr(one, item.name), getattr(other, item.name)
        if isinstance(left, pl.DataFrame):
            assert_frame_equal(left, right)
        else:
            assert left == right


def test_second_reading_equals_the_first_and_one_without_shelf(traces, shelf):
    first, second = read_kineto([traces], shelf=shelf), read_kineto([traces], shelf=shelf)
    assert len(list(shelf.iterdir())) == first.rank.height
    assert_same(first, second)
    assert_same(first, read_kineto([traces]))


def test_second_reading_parses_nothing(traces, shelf, monkeypatch):
    read_kineto([traces], shelf=shelf)
    monkeypatch.setattr(parsed, "read_trace", None)
    assert read_kineto([traces], shelf=shelf).rank.height > 1


def test_damaged_shelf_is_made_again(traces, shelf):
    first = read_kineto([traces], shelf=shelf)
    for i, path in enumerate(sorted(shelf.iterdir())):
        content = bytearray(path.read_bytes())
        content[i % 5 * len(content) // 5] ^= 255
        path.write_bytes(content[: len(content) - 7 * (i % 3)])
    assert_same(first, read_kineto([traces], shelf=shelf))
    assert_same(first, read_kineto([traces], shelf=shelf))


def test_changed_file_is_parsed_again(write, event, shelf):
    path = write("rank0.json", [event("f", "cpu_op", 0, 5)])
    read_kineto([path], shelf=shelf)
    write("rank0.json", [event("g", "cpu_op", 0, 5)])
    assert read_kineto([path], shelf=shelf).op["name"].to_list() == ["g"]


def test_changed_reader_parses_again(write, event, shelf, monkeypatch):
    path = write("rank0.json", [event("f", "cpu_op", 0, 5)])
    read_kineto([path], shelf=shelf)
    monkeypatch.setattr(parsed, "version", lambda: "another")
    read_kineto([path], shelf=shelf)
    assert len(list(shelf.iterdir())) == 2


def test_same_content_under_another_name_has_the_rank_and_the_caveats_of_that_name(
    write, event, shelf, tmp_path
):
    bad = [event("f", "cpu_op", 0, 5), event("g", "cpu_op", 0, -5)]
    read_kineto([write("rank0.json", bad)], shelf=shelf)
    (tmp_path / "rank0.json").rename(tmp_path / "rank5.json")
    recording = read_kineto([tmp_path / "rank5.json"], shelf=shelf)
    assert recording.rank["rank"].to_list() == [5]
    of_files = recording.caveat.filter(pl.col("text").str.starts_with("rank"))
    assert of_files["text"].to_list() == ["rank5.json: events dropped, they end too early"]


def test_small_files_are_not_kept(traces, tmp_path):
    read_kineto([traces], shelf=tmp_path / "shelf")
    assert not (tmp_path / "shelf").exists()


def test_any_number_of_threads_gives_the_same_recording(traces, monkeypatch):
    recordings = []
    for n in (1, 2, 7):
        monkeypatch.setattr(os, "cpu_count", lambda n=n: n)
        recordings.append(read_kineto([traces]))
    for other in recordings[1:]:
        assert_same(recordings[0], other)


def test_kept_arrays_are_read_only(traces, shelf):
    read_kineto([traces], shelf=shelf)
    path = min(traces.iterdir())
    ops = parsed.parse_file(path, shelf).ops
    assert ops is not None
    with pytest.raises(ValueError, match="read-only"):
        ops.start_ns[0] = 1
    assert ops.start_ns.dtype == np.int64
