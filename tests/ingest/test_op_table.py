import math

import polars as pl
import pytest
from tests.ingest.op_rows import read, table, worker, write

from loadpath.errors import InputError
from loadpath.ingest.op_table import is_op_table, read_layout, read_op_table, trial_name
from loadpath.ingest.op_table.reading import read_steps
from loadpath.tables import LANE, OP, RANK, STEP

NS_PER_MS = 1_000_000


# rank 0 |forward 0-10|backward 10-30|  send 10-12
# rank 1      recv 0-12 |forward 12-22|
def two_workers():
    return table(
        worker(0, forward_compute=[(0, 10)], backward_compute=[(10, 30)], forward_send=[(10, 12)]),
        worker(1, stage=1, forward_recv=[(0, 12)], forward_compute=[(12, 22)]),
    )


def caveats(recording):
    return dict(zip(recording.caveat["code"], recording.caveat["n"], strict=True))


def with_value(frame, row, column, value):
    values = frame[column].to_list()
    values[row] = value
    return frame.with_columns(pl.Series(column, values, dtype=frame.schema[column]))


@pytest.mark.parametrize("odd", [False, True])
def test_pieces_of_a_file_that_end_within_steps_change_nothing(tmp_path, odd):
    spans = [(0, 10), (10, 20), (20, 31)]
    rows = [worker(r, dp=r, step=k, forward_compute=spans) for k in range(5) for r in (0, 1)]
    frame = table(*rows)
    if odd:  # one op of a later step is another one
        frame[20, "seq_id"] = 7
    path = write(tmp_path, frame, dp_size=2, pp_size=1)
    whole = read_steps(path)
    frame.write_parquet(path, row_group_size=4)
    pieces = read_steps(path)
    assert (whole.alike is None) == (pieces.alike is None) == odd
    assert pieces.op.equals(whole.op)


def test_parquet_and_csv_files_may_be_op_tables(tmp_path):
    assert is_op_table(tmp_path / "a.parquet")
    assert is_op_table(tmp_path / "a.csv")
    assert not is_op_table(tmp_path / "a.json")


def test_every_row_becomes_one_op_in_whole_nanoseconds(tmp_path):
    op = read(tmp_path, two_workers()).op
    first = op.row(0, named=True)
    assert op.height == 5
    assert (first["name"], first["start_ns"], first["duration_ns"]) == (
        "forward-compute",
        0,
        10 * NS_PER_MS,
    )


def test_tables_of_the_recording_hold_to_their_declarations(tmp_path):
    recording = read(tmp_path, two_workers())
    for schema, frame in (
        (OP, recording.op),
        (LANE, recording.lane),
        (RANK, recording.rank),
        (STEP, recording.step),
    ):
        assert schema.validate(frame).height > 0


def test_computations_and_communications_run_on_lanes_of_their_own(tmp_path):
    op = read(tmp_path, two_workers()).op
    lanes = dict(zip(op["name"].cast(pl.String), op["lane"], strict=True))
    assert lanes["forward-compute"] != lanes["forward-send"]


def test_kind_and_collective_follow_from_the_op_type(tmp_path):
    frame = table(
        worker(
            0,
            params_all_gather=[(0, 1)],
            forward_compute=[(1, 2)],
            gc=[(2, 3)],
            grads_reduce_scatter=[(3, 4)],
            optimizer_clip_main_grad=[(4, 5)],
            optimizer=[(5, 6)],
        )
    )
    op = read(tmp_path, frame).op
    found = list(zip(op["kind"].to_list(), op["collective"].to_list(), strict=True))
    assert found == [
        ("communicate", "all_gather"),
        ("compute", ""),
        ("compute", ""),
        ("communicate", "reduce_scatter"),
        ("communicate", "all_reduce"),
        ("optimise", ""),
    ]


def test_steps_span_the_ops_of_each_rank(tmp_path):
    step = read(tmp_path, two_workers()).step
    assert step.select("rank", "start_ns", "end_ns").rows() == [
        (0, 0, 30 * NS_PER_MS),
        (1, 0, 22 * NS_PER_MS),
    ]


def test_times_count_from_the_start_of_each_step(tmp_path):
    frame = table(
        worker(0, step=3, forward_compute=[(5000, 5010)]),
        worker(0, step=7, forward_compute=[(9000, 9020)]),
    )
    op = read(tmp_path, frame).op
    assert op["start_ns"].to_list() == [0, 0]
    assert op["duration_ns"].to_list() == [10 * NS_PER_MS, 20 * NS_PER_MS]


def test_ranks_of_one_step_keep_their_distance_when_times_do_not_start_at_zero(tmp_path):
    frame = table(
        worker(0, forward_compute=[(5000, 5010)]),
        worker(1, stage=1, forward_compute=[(5004, 5010)]),
    )
    assert read(tmp_path, frame).op["start_ns"].to_list() == [0, 4 * NS_PER_MS]


def test_single_precision_times_state_their_resolution_as_clock_residual(tmp_path):
    frame = table(worker(0, forward_compute=[(0, 10), (40_000, 40_010)]))
    single = frame.with_columns(pl.col("start_ts", "duration").cast(pl.Float32))
    assert read(tmp_path, single).rank["clock_residual_ns"].to_list() == [3815]


def test_double_precision_times_are_exact(tmp_path):
    frame = table(worker(0, forward_compute=[(0, 10), (40_000, 40_010)]))
    assert read(tmp_path, frame).rank["clock_residual_ns"].to_list() == [0]


def test_csv_and_parquet_give_the_same_ops(tmp_path):
    frame = two_workers()
    frame.write_csv(tmp_path / "job.csv")
    from_csv = read_op_table(tmp_path / "job.csv")
    assert from_csv.op.equals(read(tmp_path, frame).op)


def test_order_of_rows_does_not_matter(tmp_path):
    frame = two_workers()
    assert read(tmp_path, frame.reverse()).op.equals(read(tmp_path, frame).op)


def test_chunk_and_microbatch_may_be_left_out(tmp_path):
    op = read(tmp_path, two_workers().drop("mc", "mb_id")).op
    assert set(op["chunk"]) == {-1}
    assert set(op["microbatch"]) == {-1}


def test_only_computations_carry_a_microbatch(tmp_path):
    op = read(tmp_path, two_workers()).op
    of_name = dict(zip(op["name"].cast(pl.String), op["microbatch"], strict=True))
    assert of_name["forward-compute"] == 0
    assert of_name["forward-send"] == -1


def test_all_missing_columns_are_named_at_once(tmp_path):
    with pytest.raises(InputError) as caught:
        read(tmp_path, two_workers().drop("dp_rank", "start_ts", "seq_id"))
    for name in ("dp_rank", "start_ts", "seq_id"):
        assert f"'{name}'" in str(caught.value)
    assert len(caught.value.problems) == 3


def test_truncated_parquet_is_refused_with_the_file_named(tmp_path):
    path = write(tmp_path, two_workers())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"trace-job\.parquet.*damaged"):
        read_op_table(path)


def test_text_in_place_of_parquet_is_refused(tmp_path):
    path = tmp_path / "trace-job.parquet"
    path.write_text("not a table", encoding="utf-8")
    with pytest.raises(InputError, match="damaged"):
        read_op_table(path)


def test_empty_csv_is_refused(tmp_path):
    path = tmp_path / "job.csv"
    path.write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="damaged"):
        read_op_table(path)


def test_binary_csv_is_refused(tmp_path):
    path = tmp_path / "job.csv"
    path.write_bytes(b"rank,step\n\xff\xfe\x00\x81,1\n")
    with pytest.raises(InputError, match=r"job\.csv"):
        read_op_table(path)


def test_table_without_rows_is_refused(tmp_path):
    with pytest.raises(InputError, match="no rows"):
        read(tmp_path, two_workers().clear())


def test_words_in_place_of_numbers_are_refused(tmp_path):
    frame = two_workers().with_columns(pl.lit("first").alias("step"))
    with pytest.raises(InputError, match="wrong type"):
        read(tmp_path, frame)


def test_fractions_in_place_of_whole_numbers_are_refused(tmp_path):
    frame = two_workers().with_columns(pl.col("rank") + 0.5, pl.col("step") + 0.25)
    with pytest.raises(InputError, match=r"'rank' has fractions.*'step' has fractions"):
        read(tmp_path, frame)


def test_whole_numbers_may_come_as_floats_with_nan_for_empty(tmp_path):
    frame = two_workers().with_columns(pl.col("rank").cast(pl.Float64))
    recording = read(tmp_path, with_value(frame, 1, "rank", math.nan))
    assert set(recording.op["rank"]) == {0, 1}
    assert caveats(recording) == {"layout_assumed": 1, "unreadable_row": 1}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
@pytest.mark.parametrize("column", ["start_ts", "duration"])
def test_rows_with_unusable_times_are_left_out_and_counted(tmp_path, column, value):
    recording = read(tmp_path, with_value(two_workers(), 1, column, value))
    assert recording.op.height == 4
    assert caveats(recording)["unreadable_row"] == 1


def test_rows_with_empty_places_are_left_out_and_counted(tmp_path):
    recording = read(tmp_path, with_value(two_workers(), 1, "rank", None))
    assert recording.op.height == 4
    assert caveats(recording)["unreadable_row"] == 1


def test_rows_without_an_op_type_are_left_out_and_counted(tmp_path):
    recording = read(tmp_path, with_value(two_workers(), 1, "optype", None))
    assert recording.op.height == 4
    assert caveats(recording)["unreadable_row"] == 1


def test_table_without_a_usable_row_is_refused(tmp_path):
    with pytest.raises(InputError, match="no usable row"):
        read(tmp_path, two_workers().with_columns(pl.lit(math.nan).alias("duration")))


def test_negative_durations_count_as_zero_and_are_a_caveat(tmp_path):
    recording = read(tmp_path, with_value(two_workers(), 2, "duration", -0.001))
    assert caveats(recording)["negative_duration"] == 1
    assert recording.op["duration_ns"].min() == 0


def test_ops_of_unknown_type_are_left_out_and_named(tmp_path):
    frame = with_value(two_workers(), 2, "optype", "expert-all-to-all")
    recording = read(tmp_path, frame)
    assert recording.op.height == 4
    assert caveats(recording)["unknown_op_type"] == 1
    assert "expert-all-to-all" in recording.caveat["text"].str.join(" ").item()


def test_op_recorded_twice_is_refused_and_named(tmp_path):
    frame = two_workers()
    with pytest.raises(InputError, match=r"1 ops are recorded twice.*forward-recv 0 of rank 1"):
        read(tmp_path, pl.concat([frame, frame.filter(pl.col("optype") == "forward-recv")]))


def test_rank_at_two_places_is_refused(tmp_path):
    frame = table(
        worker(0, forward_compute=[(0, 10)]), worker(0, stage=1, step=1, forward_compute=[(0, 10)])
    )
    with pytest.raises(InputError, match="rank 0 stands at more than one place"):
        read(tmp_path, frame)


def test_two_ranks_at_one_place_are_refused(tmp_path):
    frame = table(worker(0, forward_compute=[(0, 10)]), worker(1, forward_compute=[(0, 10)]))
    with pytest.raises(InputError, match="replica 0, stage 0 is held by more than one rank"):
        read(tmp_path, frame)


def test_worker_without_a_record_is_a_caveat(tmp_path):
    recording = read(tmp_path, two_workers(), dp_size=2, pp_size=2)
    assert caveats(recording)["missing_rank"] == 2


def test_worker_that_lacks_a_step_is_a_caveat(tmp_path):
    frame = pl.concat([two_workers(), table(worker(0, step=1, forward_compute=[(0, 10)]))])
    assert caveats(read(tmp_path, frame))["missing_step"] == 1


def test_complete_table_with_a_layout_has_no_caveat(tmp_path):
    assert caveats(read(tmp_path, two_workers(), dp_size=1, pp_size=2)) == {}


def test_layout_is_found_beside_the_table_by_its_name(tmp_path):
    (tmp_path / "meta-other.yaml").write_text("dp_size: 9\n", encoding="utf-8")
    recording = read(tmp_path, two_workers(), dp_size=1, pp_size=2, tp_size=8)
    assert recording.layout["tp_size"] == 8
    assert recording.rank["n_represented"].to_list() == [8, 8]


def test_only_layout_beside_the_table_is_taken_whatever_its_name(tmp_path):
    (tmp_path / "meta.yml").write_text("tp_size: 4\n", encoding="utf-8")
    assert read(tmp_path, two_workers()).layout["tp_size"] == 4


def test_among_several_foreign_layouts_none_is_taken(tmp_path):
    for name in ("meta-a.yaml", "meta-b.yaml"):
        (tmp_path / name).write_text("tp_size: 4\n", encoding="utf-8")
    assert caveats(read(tmp_path, two_workers()))["layout_assumed"] == 1


def test_given_layout_comes_before_the_one_beside_the_table(tmp_path):
    path = write(tmp_path, two_workers(), tp_size=2)
    other = tmp_path / "sizes.txt"
    other.write_text("tp_size: 16\n", encoding="utf-8")
    recording = read_op_table(path, other)
    assert recording.layout["tp_size"] == 16
    assert [name for name, _, _ in recording.inputs] == ["trace-job.parquet", "sizes.txt"]


def test_sizes_are_taken_from_the_table_where_no_layout_is(tmp_path):
    recording = read(tmp_path, two_workers())
    assert recording.layout["pp_size"] == 2
    assert recording.layout["world_size"] == 2


def test_layout_smaller_than_the_table_is_refused_with_all_sizes_named(tmp_path):
    frame = table(worker(5, stage=3, dp=2, forward_compute=[(0, 10)]))
    with pytest.raises(InputError, match=r"dp_size 1.*reaches 3.*pp_size 2.*reaches 4"):
        read(tmp_path, frame, dp_size=1, pp_size=2)


def test_all_wrong_sizes_of_a_layout_are_named_at_once(tmp_path):
    path = tmp_path / "meta.yaml"
    path.write_text("dp_size: many\npp_size: 0\ntp_size: 2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"dp_size: 'many'.*pp_size: '0'"):
        read_layout(path)


def test_layout_without_any_size_is_refused(tmp_path):
    path = tmp_path / "meta.yaml"
    path.write_text("name: job\n", encoding="utf-8")
    with pytest.raises(InputError, match="no layout sizes"):
        read_layout(path)


def test_layout_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "meta.yaml"
    path.write_bytes(b"dp_size: \xff\xfe")
    with pytest.raises(InputError, match="cannot be read"):
        read_layout(path)


def test_missing_layout_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_layout(tmp_path / "none.yaml")


def test_layout_may_hold_comments_quotes_and_other_keys(tmp_path):
    path = tmp_path / "meta.yaml"
    path.write_text(
        "# sizes\ndp_size: '4' # replicas\ntrial_name: AR\nrun_id: 7\n\n", encoding="utf-8"
    )
    assert read_layout(path) == {"dp_size": 4, "run_id": 7}


def test_hash_of_every_file_read_is_kept(tmp_path):
    recording = read(tmp_path, two_workers(), pp_size=2)
    names = [name for name, _, _ in recording.inputs]
    assert names == ["trace-job.parquet", "meta-job.yaml"]
    assert all(len(digest) == 64 for _, digest, _ in recording.inputs)


def test_trial_is_named_by_its_layout_and_else_by_its_table(tmp_path):
    table = tmp_path / "trace-run7.parquet"
    assert trial_name(table) == "run7"
    (tmp_path / "meta-run7.yaml").write_text("trial_name: night\ndp_size: 2\n")
    assert trial_name(table) == "night"
