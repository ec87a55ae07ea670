"""From what the user points at to one recording."""

import os
import shutil

import polars as pl
import pytest

from loadpath.audit import Settings, load_recording
from loadpath.audit.files import files_behind
from loadpath.errors import InputError
from loadpath.testing import make_job, write_kineto


def with_hosts(table, tmp_path, text):
    path = tmp_path / "hosts.csv"
    path.write_text(text, encoding="utf-8")
    return load_recording([table], Settings(hosts=path))


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    job = make_job(1, recorder="kineto", pp=1, dp=2, steps=2, microbatches=1, layers=1)
    return write_kineto(job, tmp_path_factory.mktemp("record"))


def test_folder_with_one_op_table_is_that_table(table):
    assert load_recording([table.parent]).op.equals(load_recording([table]).op)


def test_folder_of_traces_is_one_job(traces):
    said: list[str] = []
    recording = load_recording([traces], None, said.append)
    assert recording.source == "kineto"
    assert recording.rank.height == 2
    assert said[0] == "reading 2 traces"


def test_file_given_twice_is_read_once(table):
    assert load_recording([table, table]).op.height == load_recording([table]).op.height


def test_reading_is_told(table):
    said: list[str] = []
    load_recording([table], None, said.append)
    assert said == [f"reading {table.name}"]


def test_sources_that_are_not_there_are_all_named(tmp_path):
    with pytest.raises(InputError, match=r"one\.parquet.*two\.parquet: does not exist"):
        load_recording([tmp_path / "one.parquet", tmp_path / "two.parquet"])


def test_no_source_is_refused():
    with pytest.raises(InputError, match=r"sources: does not exist"):
        load_recording([])


def test_two_op_tables_are_two_jobs(table, tmp_path):
    other = shutil.copy(table, tmp_path / "other.parquet")
    with pytest.raises(InputError, match=r"2 op tables \(trace-rank-3.parquet, other.parquet\)"):
        load_recording([table, other])


def test_op_table_and_trace_are_two_jobs(table, traces):
    trace = next(iter(sorted(traces.iterdir())))
    with pytest.raises(InputError, match=r"an op table and traces. Give the records of one job"):
        load_recording([table, trace])


def test_other_json_beside_an_op_table_is_no_trace_and_said_to_be_unread(table, tmp_path):
    shutil.copy(table, tmp_path)
    assert "unread_files" not in load_recording([tmp_path]).caveat["code"]
    (tmp_path / "notes.json").write_text("{}", encoding="utf-8")
    recording = load_recording([tmp_path])
    assert recording.source == "op_table"
    code, text, count = recording.caveat.row(-1)
    assert (code, count) == ("unread_files", 1)
    assert text.endswith("not read: notes.json")


def test_empty_folder_says_what_it_should_hold(tmp_path):
    with pytest.raises(
        InputError, match=r"no op table .* no trace .* no flight-recorder dump, no Inspector log"
    ) as refused:
        load_recording([tmp_path])
    assert refused.value.exit_code == 4


def test_hosts_file_names_hosts_racks_and_switches(table, tmp_path):
    rows = "".join(f"{r},node-{r // 4},rack-1,leaf-{r // 2}\n" for r in range(8))
    recording = with_hosts(table, tmp_path, "Rank, host,rack,switch\n" + rows)
    assert recording.rank["host"].to_list() == ["node-0"] * 4 + ["node-1"] * 4
    assert recording.rank["switch"].to_list() == [f"leaf-{r // 2}" for r in range(8)]
    assert recording.inputs[-1][0] == "hosts.csv"
    assert "host_unknown" not in recording.caveat["code"]


def test_ranks_without_a_line_are_a_caveat(table, tmp_path):
    recording = with_hosts(table, tmp_path, "rank,host\n0,a\n99,b\n")
    assert recording.rank["host"].to_list() == ["a"] + [""] * 7
    doubt = recording.caveat.filter(recording.caveat["code"] == "host_unknown")
    assert doubt["n"].to_list() == [7]


def test_problems_of_a_hosts_file_are_named_at_once(table, tmp_path):
    with pytest.raises(InputError) as refused:
        with_hosts(table, tmp_path, "rank,host\nx,a\n1,a\n1,b\n")
    assert refused.value.problems == ["rank 'x' is no number", "rank 1 stands twice"]


def test_hosts_file_without_its_columns_names_them(table, tmp_path):
    with pytest.raises(InputError) as refused:
        with_hosts(table, tmp_path, "node\na\n")
    assert refused.value.problems == ["missing column 'rank'", "missing column 'host'"]


@pytest.mark.parametrize("content", [b"", b"rank,host\n1,a,b,c,d\n", b"\xff\xfe\x00"])
def test_hosts_file_that_cannot_be_read_is_one_clear_error(table, tmp_path, content):
    path = tmp_path / "hosts.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"hosts\.csv"):
        load_recording([table], Settings(hosts=path))


def test_missing_hosts_file_is_one_clear_error(table, tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: hosts file cannot be read \(No such file"):
        load_recording([table], Settings(hosts=tmp_path / "none.csv"))


def test_op_table_and_folder_of_traces_are_two_jobs(table, traces):
    with pytest.raises(InputError, match=r"an op table and traces. Give the records of one job"):
        load_recording([table, traces])


@pytest.mark.parametrize("rank", ["99999999999", "-1", "9" * 5000])
def test_rank_that_no_job_has_in_a_hosts_file_is_refused(table, tmp_path, rank):
    with pytest.raises(
        InputError, match=r"hosts\.csv: rank '?-?9*1?'? is (out of range|no number)"
    ):
        with_hosts(table, tmp_path, f"rank,host\n{rank},a\n")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are of POSIX")
def test_pipe_is_refused_as_hosts_file_and_as_source(table, tmp_path):
    for name in ("hosts.csv", "a.parquet", "b.json"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=r"hosts\.csv: hosts file is a pipe"):
        load_recording([table], Settings(hosts=tmp_path / "hosts.csv"))
    for name in ("a.parquet", "b.json"):
        with pytest.raises(InputError, match=r"is a pipe or a device"):
            load_recording([tmp_path / name])


def test_folder_named_like_a_hosts_file_is_refused(table, tmp_path):
    with pytest.raises(InputError, match=r"hosts file is a folder"):
        load_recording([table], Settings(hosts=tmp_path))


def test_traces_with_endings_in_capitals_are_read(traces, tmp_path):
    for path in traces.iterdir():
        if path.name.endswith((".json", ".json.gz")):
            shutil.copy(path, tmp_path / path.name.replace(".json", ".JSON"))
    assert load_recording([tmp_path]).rank.height == 2


def test_file_of_ranks_is_an_input_of_the_audit(traces, tmp_path):
    path = tmp_path / "told.csv"
    path.write_text(f"file,rank\n{first_of(traces)},0\n")
    recording = load_recording([traces], Settings(ranks=(str(path),)))
    assert recording.inputs[-1][0] == "told.csv"
    assert recording.inputs[-1][2] == path.stat().st_size


def first_of(folder):
    return min(path.name for path in folder.iterdir() if path.name.endswith(".json.gz"))


def beside(table, folder, **files):
    shutil.copy(table, folder)
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return load_recording([folder])


def doubts_of(recording, code):
    return recording.caveat.filter(recording.caveat["code"] == code)["text"].to_list()


def test_a_hosts_file_beside_the_records_is_used_and_said_to_be(table, tmp_path):
    recording = beside(table, tmp_path, hosts="rank,host\n0,a\n1,b\n")
    assert recording.rank["host"].to_list()[:3] == ["a", "b", ""]
    assert doubts_of(recording, "hosts_beside") == [
        "hosts are those of hosts.csv beside the records"
    ]
    assert recording.inputs[-1][0] == "hosts.csv"
    alone = load_recording([tmp_path / table.name])
    assert alone.rank.equals(recording.rank)


def test_a_hosts_file_that_is_given_outdoes_the_one_beside_the_records(table, tmp_path):
    given = tmp_path / "given"
    given.mkdir()
    (given / "nodes.csv").write_text("rank,host\n0,other\n", encoding="utf-8")
    beside(table, tmp_path, hosts="rank,host\n0,a\n")
    recording = load_recording([tmp_path], Settings(hosts=given / "nodes.csv"))
    assert recording.rank["host"][0] == "other"
    assert doubts_of(recording, "hosts_beside") == []


def test_a_hosts_file_beside_the_records_that_is_of_no_use_is_a_caveat(table, tmp_path):
    recording = beside(table, tmp_path, hosts="node\na\n")
    (text,) = doubts_of(recording, "hosts_unread")
    assert text.startswith("hosts.csv beside the records is not read: missing column 'rank'")
    assert set(recording.rank["host"]) == {""}


def test_of_several_hosts_files_beside_the_records_none_is_taken(table, tmp_path):
    recording = beside(table, tmp_path, hosts="rank,host\n0,a\n", hosts_old="rank,host\n0,b\n")
    (text,) = doubts_of(recording, "hosts_unread")
    assert text.endswith("(hosts.csv, hosts_old.csv): name one with --hosts")
    assert set(recording.rank["host"]) == {""}


def test_a_hosts_file_beside_windows_is_among_the_files_on_which_an_answer_depends(
    traces, tmp_path
):
    window = tmp_path / "window-000000010"
    shutil.copytree(traces, window)
    hosts = tmp_path / "hosts.csv"
    hosts.write_text("rank,host\n0,a\n", encoding="utf-8")
    assert hosts in files_behind([tmp_path], Settings())[0]
    assert load_recording([tmp_path]).rank["host"][0] == "a"


def test_a_folder_of_folders_says_which_to_give(tmp_path):
    for host in ("host-a", "host-b"):
        (tmp_path / host).mkdir()
        (tmp_path / host / "rank0.json").write_text("{}")
    with pytest.raises(InputError, match=r"no records in it, but folders \(host-a, host-b\)"):
        load_recording([tmp_path])


def test_a_recording_counts_itself_in_a_line(table):
    rows = pl.read_parquet(table)
    counts = f"{rows['rank'].n_unique()} ranks, {rows.height:,} ops; caveats: 1"
    assert repr(load_recording(table)) == f"Recording(op_table: {counts})"
