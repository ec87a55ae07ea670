"""Values that no job has end in one clear error, not in an overflow or a full memory."""

import os

import numpy as np
import polars as pl
import pytest
from tests.ingest.op_rows import read, table, worker, write

from loadpath.errors import InputError
from loadpath.ingest.op_table import is_op_table, read_layout, read_op_table

START, DURATION = pl.col("start_ts"), pl.col("duration")


def two_workers():
    return table(
        worker(0, forward_compute=[(0, 10)], backward_compute=[(10, 30)], forward_send=[(10, 12)]),
        worker(1, stage=1, forward_recv=[(0, 12)], forward_compute=[(12, 22)]),
    )


@pytest.mark.parametrize("column", ["rank", "stage", "dp_rank"])
@pytest.mark.parametrize("value", [-5, 1 << 20, 2_000_000_000, 2**40])
def test_ranks_stages_and_replicas_that_no_job_has_are_refused(tmp_path, column, value):
    changed = pl.when(pl.col("rank") == 1).then(value).otherwise(pl.col(column)).alias(column)
    with pytest.raises(InputError, match=column):
        read(tmp_path, two_workers().with_columns(changed))


@pytest.mark.parametrize("value", [-2, 1 << 12, 2**31 - 1])
def test_model_chunks_that_no_job_has_are_refused(tmp_path, value):
    with pytest.raises(InputError, match="mc reaches"):
        read(tmp_path, two_workers().with_columns(mc=pl.lit(value)))


def test_ranks_numbered_with_gaps_that_fill_the_memory_are_refused(tmp_path):
    frame = two_workers().with_columns(pl.col("stage") * 1_000_000, dp_rank=pl.col("rank") * 1000)
    with pytest.raises(InputError, match="5 ops are spread over"):
        read(tmp_path, frame)


@pytest.mark.parametrize("column", ["mc", "mb_id"])
def test_empty_chunks_and_microbatches_are_unknown_ones(tmp_path, column):
    op = read(tmp_path, two_workers().with_columns(pl.lit(None).alias(column))).op
    assert set(op[{"mc": "chunk", "mb_id": "microbatch"}[column]]) == {-1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (DURATION * 1e12, "lasts"),
        (DURATION * 1e300, "lasts"),
        (pl.when(pl.col("rank") == 0).then(-1e300).otherwise(START).alias("start_ts"), "lasts"),
        (START + 1e15, "resolution of 0.125 s"),
        ((START + 1.7e9).cast(pl.Float32), "resolution of 128 s"),
        (pl.struct("mc", "mb_id").alias("duration"), "'duration' is Struct"),
        (pl.concat_list("rank"), "'rank' is List"),
        (pl.lit(b"x").alias("seq_id"), "'seq_id' is Binary"),
        (pl.date(2026, 1, 1).alias("start_ts"), "'start_ts' is Date"),
        (pl.datetime(2026, 1, 1).alias("duration"), "'duration' is Datetime"),
    ],
)
def test_times_and_types_that_cannot_be_used_are_refused(tmp_path, change, reason):
    with pytest.raises(InputError, match=reason):
        read(tmp_path, two_workers().with_columns(change))


@pytest.mark.parametrize("unit", [0.0, 1e-9])
def test_table_in_which_no_time_passes_is_refused(tmp_path, unit):
    with pytest.raises(InputError, match="no time passes"):
        read(tmp_path, two_workers().with_columns(START * unit, DURATION * unit))


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_dates_and_durations_are_read_in_their_unit(tmp_path, unit):
    per_s = {"ms": 1e3, "us": 1e6, "ns": 1e9}[unit]
    epoch = ((START + 1.7e9) * per_s).round().cast(pl.Int64).cast(pl.Datetime(unit))
    length = (DURATION * per_s).round().cast(pl.Int64).cast(pl.Duration(unit))
    seconds = read(tmp_path, two_workers()).op
    dated = read(tmp_path, two_workers().with_columns(epoch, length)).op
    assert dated["duration_ns"].equals(seconds["duration_ns"])
    assert (dated["start_ns"] - seconds["start_ns"]).abs().max() < 1000


@pytest.mark.parametrize("name", ["JOB.PARQUET", "job.CSV"])
def test_endings_in_capitals_are_op_tables(tmp_path, name):
    path = tmp_path / name
    frame = two_workers()
    frame.write_csv(path) if name.endswith("CSV") else frame.write_parquet(path)
    assert is_op_table(path)
    assert read_op_table(path).op.height == frame.height


@pytest.mark.parametrize("value", ["²", "9" * 20, "9" * 5000, "1048577", "-1", "0", "1.5"])
def test_layout_sizes_that_no_job_has_are_refused(tmp_path, value):
    path = tmp_path / "meta.yaml"
    path.write_text(f"dp_size: {value}\n", encoding="utf-8")
    with pytest.raises(InputError, match="dp_size"):
        read_layout(path)


@pytest.mark.parametrize("value", ["²", "9" * 5000])
def test_run_id_that_is_no_number_is_left_out(tmp_path, value):
    path = tmp_path / "meta.yaml"
    path.write_text(f"run_id: {value}\ndp_size: 2\n", encoding="utf-8")
    assert read_layout(path) == {"dp_size": 2}


def test_sizes_whose_product_no_job_has_are_refused(tmp_path):
    with pytest.raises(InputError, match="ranks"):
        read(tmp_path, two_workers(), dp_size=1048576, pp_size=1048576)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are of POSIX")
@pytest.mark.parametrize("name", ["trace-pipe.parquet", "trace-pipe.csv", "meta-job.yaml"])
def test_pipe_is_refused_before_it_is_opened(tmp_path, name):
    path = write(tmp_path, two_workers())
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="is a pipe or a device"):
        read_op_table(path if name.startswith("meta") else tmp_path / name)


def test_parquet_with_one_byte_changed_is_read_or_refused(tmp_path):
    path = write(tmp_path, two_workers())
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    n_refused = 0
    for _ in range(1_000):
        damaged = bytearray(whole)
        place = int(rng.integers(len(whole)))
        damaged[place] = int(rng.integers(256))
        path.write_bytes(damaged)
        try:
            read_op_table(path)
        except InputError:
            n_refused += 1
    assert n_refused > 100


@pytest.mark.parametrize("value", [1e50, -1e50, 1e300])
def test_times_beyond_any_job_are_refused_in_steps_that_hold_the_same_ops_too(tmp_path, value):
    steps = [two_workers().with_columns(pl.lit(step).alias("step")) for step in (0, 1, 2)]
    frame = pl.concat(steps).with_row_index()
    wild = pl.when(pl.col("index") == 1).then(value).otherwise(START).alias("start_ts")
    with pytest.raises(InputError, match="Give start_ts"):
        read(tmp_path, frame.with_columns(wild).drop("index"))
