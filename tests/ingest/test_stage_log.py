"""Stage logs: every form that is read, and what is said of what is not."""

import gzip

import polars as pl
import pytest

from loadpath.errors import InputError
from loadpath.ingest.stage_log import is_stage_log, read_stage_logs
from loadpath.ingest.stage_log.vocabulary import stage_column


def written(folder, text, name="stages.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def durations(recording):
    rows = recording.op.select("rank", "step", pl.col("name").cast(pl.String), "duration_ns")
    return {row[:3]: row[3] for row in rows.iter_rows()}


def codes(recording):
    return dict(recording.caveat.select("code", "n").iter_rows())


WIDE = "rank,step,input_ms,forward_ms,backward_ms\n0,1,1.5,2,3\n1,1,2,2,2.5\n"


def test_each_column_of_a_row_is_a_stage_of_its_step(tmp_path):
    recording = read_stage_logs([written(tmp_path, WIDE)])
    assert durations(recording)[0, 1, "input"] == 1_500_000
    assert durations(recording)[1, 1, "backward"] == 2_500_000
    assert recording.op["start_ns"].to_list()[:3] == [0, 1_500_000, 3_500_000]
    assert recording.step["end_ns"].to_list() == [6_500_000, 6_500_000]
    assert codes(recording) == {}


def test_each_row_may_be_one_stage_and_its_parts_add_up(tmp_path):
    text = "rank,step,stage,duration_us\n0,1,forward,2\n0,1,backward,5\n0,1,forward,3\n"
    recording = read_stage_logs([written(tmp_path, text)])
    assert durations(recording) == {(0, 1, "forward"): 5_000, (0, 1, "backward"): 5_000}


def test_a_line_of_json_may_hold_its_stages_in_an_object(tmp_path):
    text = '{"rank": 0, "step": 4, "stages_ms": {"input": 1, "forward": 2}}\nno object\n'
    path = written(tmp_path, text, "log.jsonl")
    recording = read_stage_logs([path])
    assert is_stage_log(path)
    assert durations(recording) == {(0, 4, "input"): 1_000_000, (0, 4, "forward"): 2_000_000}
    assert codes(recording) == {"unreadable_row": 1}


def test_files_of_single_ranks_are_one_job_and_may_name_the_rank_themselves(tmp_path):
    for rank in (0, 2):
        written(tmp_path, "step,input_ns,forward_ns\n1,5,6\n", f"stages_rank{rank}.csv")
    recording = read_stage_logs(sorted(tmp_path.iterdir()))
    assert recording.rank["rank"].to_list() == [0, 2]
    assert codes(recording) == {"missing_rank": 1}


def test_a_file_without_any_rank_is_refused(tmp_path):
    path = written(tmp_path, "step,input_ns,forward_ns\n1,5,6\n", "log.csv")
    with pytest.raises(InputError, match=r"log\.csv: neither a column nor the name says the rank"):
        read_stage_logs([path])


def test_a_line_that_was_cut_is_left_out(tmp_path):
    recording = read_stage_logs([written(tmp_path, WIDE + "0,2,1.5,2,")])
    assert recording.step["step"].unique().to_list() == [1]
    assert codes(recording) == {"cut_line": 1}


@pytest.mark.parametrize("name", ["stages_rank0.csv.gz", "stages_rank0.csv"])
def test_a_packed_log_is_read_and_what_is_sound_of_a_damaged_one(name, tmp_path):
    text = "step,forward_ms,backward_ms\n" + "".join(f"{i},2.{i},3\n" for i in range(20_000))
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()))
    whole = read_stage_logs([path])
    assert is_stage_log(path)
    assert (whole.rank["rank"].to_list(), whole.step.height, codes(whole)) == ([0], 20_000, {})
    path.write_bytes(path.read_bytes()[:-20_000])
    part = read_stage_logs([path])
    assert 0 < part.step.height < 20_000
    assert codes(part)["cut_line"] >= 1


def test_values_that_cannot_be_cost_their_row_and_stages_without_a_value_are_zero(tmp_path):
    text = WIDE + "0,2,-1,2,3\n0,3,nan,2,3\n0,4,1e300,2,3\nx,5,1,2,3\n"
    found = read_stage_logs([written(tmp_path, text)])
    assert codes(found) == {"unreadable_row": 6, "stage_absent": 3}


def test_a_step_that_ran_again_counts_once_with_its_last_run(tmp_path):
    head, *rows = WIDE.splitlines()
    again = "\n".join([head, *rows, "0,2,1,1,1", head, "0,1,9,9,9", ""])
    recording = read_stage_logs([written(tmp_path, again)])
    assert durations(recording)[0, 1, "input"] == 9_000_000
    assert codes(recording)["repeated_step"] == 1


def test_columns_without_a_unit_count_in_seconds_and_others_are_named(tmp_path):
    text = "rank,step,host,loss,forward,backward,total_ms\n0,1,n1,3,0.1,0.2,300\n"
    recording = read_stage_logs([written(tmp_path, text)])
    assert durations(recording)[0, 1, "forward"] == 100_000_000
    assert recording.rank["host"].to_list() == ["n1"]
    assert codes(recording) == {"unread_columns": 2, "unit_assumed": 1}
    assert (
        "loss, total_ms" in recording.caveat.filter(pl.col("code") == "unread_columns")["text"][0]
    )


@pytest.mark.parametrize(
    "header",
    [
        "rank,step,stage,dp_rank,optype,start_ts,duration,seq_id",
        "rank,host,rack",
        "rank,peer,sent_ns,arrived_ns,returned_ns,received_ns",
        "rank,step,start_ns,end_ns",
        "rank,step,loss",
        "",
    ],
)
def test_other_tables_are_no_stage_logs(header, tmp_path):
    assert not is_stage_log(written(tmp_path, f"{header}\n0,1,2,3,4,5,6,7\n"))


@pytest.mark.parametrize(
    ("header", "name"), [("H2D_us", "h2d"), ("evaluate_ms", "evaluate"), ("step_ms", None)]
)
def test_a_name_with_a_unit_is_a_stage_unless_it_is_a_sum(header, name):
    found = stage_column(header)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    "text", [WIDE[:50], "rank,step,input_ms,forward_ms\n", WIDE[:45] + "x" * 70_000 + "\n"]
)
def test_a_file_without_a_usable_row_is_one_error(text, tmp_path):
    with pytest.raises(InputError, match=r"stages\.csv: "):
        read_stage_logs([written(tmp_path, text)])


def rows_of_cut(path):
    """Rows of a log, or what is said where there is none."""
    try:
        return durations(read_stage_logs([path]))
    except InputError as error:
        return str(error)


def test_a_log_cut_anywhere_is_read_or_refused_in_one_sentence(tmp_path):
    whole = rows_of_cut(written(tmp_path, WIDE))
    for length in range(0, len(WIDE), 3):
        found = rows_of_cut(written(tmp_path, WIDE[:length]))
        if isinstance(found, str):
            assert found.startswith("stages.csv: ")
        else:
            assert set(found) < set(whole)
