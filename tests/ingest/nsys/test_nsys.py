import gzip
import os
import sqlite3
from pathlib import Path

import polars as pl
import pytest
from tests.ingest.nsys.written import trace_events, write_export

import loadpath as lp
from loadpath.errors import InputError
from loadpath.ingest.nsys import is_nsys, read_nsys
from loadpath.testing import Cause, make_job, write_kineto


def shared(name):
    """Path of a recording that is read but not shipped."""
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    path = Path(root) / name
    assert path.exists(), f"LOADPATH_DATA has no {name}"
    return path


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    """One trace per rank of a job whose rank 2 is slow."""
    job = make_job(3, recorder="kineto", pp=1, dp=4, steps=8, microbatches=2,
                   cause=Cause("rank", 0.2, ranks=(2,)))  # fmt: skip
    return Path(write_kineto(job, tmp_path_factory.mktemp("traces")))


def exports(traces, folder, **how):
    """Exports of the same spans; every other one is of the old schema."""
    folder.mkdir(exist_ok=True)
    for i, path in enumerate(sorted(traces.glob("*.json*"))):
        target = folder / f"report_rank{i}.sqlite"
        write_export(target, trace_events(path), pid=100 + i, old=i % 2 == 0, **how)
    return folder


@pytest.mark.parametrize("mark", ["ProfilerStep#", "step ", "train_iteration: "])
def test_exports_of_a_job_are_judged_as_its_traces_are(mark, traces, tmp_path):
    found = lp.run_audit(exports(traces, tmp_path / "nsys", mark=mark), brief=False)
    same = lp.run_audit(traces, brief=False, cache=False)
    for name in ("kind", "ranks", "mechanism"):
        assert found.verdict[name] == same.verdict[name]
    for name in ("step_s", "step_s_without", "share_removal_ratio"):
        assert found.verdict[name] == pytest.approx(same.verdict[name], rel=1e-3)
    assert found.document["job"]["instances_matched"] == same.document["job"]["instances_matched"]
    for name in ("error_ratio_max", "unexplained_ratio"):
        assert found.document["replay"][name] == pytest.approx(
            same.document["replay"][name], abs=1e-3
        )


def test_steps_are_found_where_no_range_marks_them(traces, tmp_path):
    found = lp.run_audit(exports(traces, tmp_path / "nsys", mark="phase "), brief=False)
    assert found.verdict["ranks"] == [2]
    assert "steps_from_pattern" in {caveat["code"] for caveat in found.document["caveats"]}
    assert found.document["job"]["steps"] > 4


def test_gzipped_export_holds_the_same(traces, tmp_path):
    folder = exports(traces, tmp_path)
    path = folder / "report_rank1.sqlite"
    packed = tmp_path / "report_rank1.sqlite.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert is_nsys(packed)
    assert read_nsys([packed]).op.equals(read_nsys([path]).op)


def test_rank_of_mpi_comes_before_the_name(traces, tmp_path):
    events = trace_events(min(traces.glob("*.json*")))
    write_export(tmp_path / "a7.sqlite", events, rank=3)
    write_export(tmp_path / "b7.sqlite", events)
    assert read_nsys([tmp_path / "a7.sqlite"]).rank["rank"].to_list() == [3]
    assert read_nsys([tmp_path / "b7.sqlite"]).rank["rank"].to_list() == [7]
    told = read_nsys([tmp_path / "b7.sqlite"], {"b7.sqlite": 1})
    assert told.rank["rank"].to_list() == [1]


def test_two_exports_of_one_rank_are_refused(traces, tmp_path):
    events = trace_events(min(traces.glob("*.json*")))
    for name in ("a.1.sqlite", "b.1.sqlite"):
        write_export(tmp_path / name, events)
    with pytest.raises(InputError, match=r"rank 1 is in a.1.sqlite and in b.1.sqlite"):
        read_nsys(sorted(tmp_path.iterdir()))


def test_several_processes_of_one_export_are_ranks(traces, tmp_path):
    whole = exports(traces, tmp_path / "apart")
    target = tmp_path / "node.sqlite"
    target.write_bytes((whole / "report_rank1.sqlite").read_bytes())
    with sqlite3.connect(target) as connection:
        shift = 1 << 30
        for table, column in (("CUPTI_ACTIVITY_KIND_RUNTIME", "globalTid"),
                              ("NVTX_EVENTS", "globalTid"),
                              ("CUPTI_ACTIVITY_KIND_KERNEL", "globalPid")):  # fmt: skip
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            taken = ", ".join(f"{n} + {shift}" if n == column else n for n in names)
            connection.execute(f"INSERT INTO {table} SELECT {taken} FROM {table}")  # noqa: S608
    found = read_nsys([target])
    assert found.rank["rank"].to_list() == [0, 1]
    assert "ranks_numbered" in found.caveat["code"].to_list()


@pytest.mark.parametrize(
    "place",
    [
        "VIRTUAL TABLE NVTX_EVENTS USING fts5(start, end, eventType, globalTid, text)",
        "VIEW NVTX_EVENTS AS SELECT 1 AS start, 2 AS end, 59 AS eventType, 3 AS globalTid, 'a' AS text",
    ],
)
def test_what_stands_in_the_place_of_a_table_is_not_run(place, tmp_path):
    path = tmp_path / "rank0.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE {place}")
        if place.startswith("VIRTUAL"):
            connection.execute("INSERT INTO NVTX_EVENTS VALUES (1, 2, 59, 3, 'a')")
    connection.close()
    with pytest.raises(InputError, match="no calls, kernels or ranges"):
        read_nsys([path])


def test_names_are_told_as_they_stand_whatever_they_say(traces, tmp_path):
    name = "'); DROP TABLE StringIds; --\x00 {{7*7}} <script>"
    path = exports(traces, tmp_path) / "report_rank1.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE StringIds SET value = ? WHERE id = 1", (name,))
    connection.close()
    before = path.read_bytes()
    assert name in read_nsys([path]).op["name"].cast(str).to_list()
    assert path.read_bytes() == before


def test_file_that_is_no_export_is_refused(tmp_path):
    path = tmp_path / "rank0.sqlite"
    sqlite3.connect(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE other (a)")
    with pytest.raises(InputError, match="no calls, kernels or ranges"):
        read_nsys([path])


@pytest.mark.parametrize(
    ("name", "n_call", "n_kernel", "n_copy"),
    [
        ("perlmutter-cloverleaf-cuda", 3048, 1312, 279),
        ("saxpy-mpi-cuda_nsys_perlmutter0", 57, 5, 15),
    ],
)
def test_recorded_exports_of_both_ages_hold_what_their_tables_hold(
    name, n_call, n_kernel, n_copy, tmp_path
):
    path = shared(f"data/nsys-otf2/{name}.sqlite.gz")
    found = read_nsys([path])
    plain = tmp_path / "plain.sqlite"
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    with sqlite3.connect(plain) as connection:
        for kind, table in (("compute", "KERNEL"), ("copy", "MEMCPY")):
            total = connection.execute(
                f"SELECT count(*), sum(end - start) FROM CUPTI_ACTIVITY_KIND_{table}"  # noqa: S608
            ).fetchone()
            mine = found.op.filter(found.op["kind"] == kind)["duration_ns"]
            assert (mine.len(), mine.sum()) == total
    linked = found.op.filter((found.op["kind"] == "host") & (found.op["correlation"] >= 0))
    assert linked.height == n_call
    assert (found.op["kind"] == "compute").sum() == n_kernel
    assert (found.op["kind"] == "copy").sum() == n_copy


def test_recorded_hpc_job_of_one_rank_replays():
    path = shared("data/nsys-otf2/perlmutter-cloverleaf-cuda.sqlite.gz")
    found = lp.run_audit(path, brief=False)
    assert found.document["replay"]["error_ratio_max"] < 0.01
    assert "one rank" in found.verdict["summary"]


def test_processes_without_sound_times_are_left_out_and_none_at_all_is_refused(traces, tmp_path):
    paths = sorted(exports(traces, tmp_path / "exports").iterdir())
    _turn_round(paths[1])
    recording = read_nsys(paths)
    assert recording.rank["rank"].to_list() == [0, 2, 3]
    assert "no_sound_times" in recording.caveat["code"].to_list()
    with pytest.raises(InputError, match=r"report_rank1\.sqlite: no event has sound times"):
        read_nsys(paths[1:2])


def _turn_round(path):
    """Let every event of an export end before it begins."""
    with sqlite3.connect(path) as connection:
        for table in ("CUPTI_ACTIVITY_KIND_RUNTIME", "CUPTI_ACTIVITY_KIND_KERNEL",
                      "CUPTI_ACTIVITY_KIND_MEMCPY", "NVTX_EVENTS"):  # fmt: skip
            connection.execute(f"UPDATE {table} SET end = start - 1")  # noqa: S608
    connection.close()


def changed(folder, *statements):
    for path in folder.iterdir():
        connection = sqlite3.connect(path)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()
    return folder


def test_tables_that_an_export_lacks_are_named(traces, tmp_path):
    folder = changed(exports(traces, tmp_path / "nsys"), "DROP TABLE CUPTI_ACTIVITY_KIND_KERNEL")
    found = lp.run_audit(folder, brief=False)
    told = [c["text"] for c in found.document["caveats"] if c["code"] == "tables_absent"]
    assert found.verdict["kind"] == "not_assessable"
    assert len(told) == 4
    assert "CUPTI_ACTIVITY_KIND_KERNEL" in told[0]


def test_events_whose_times_are_no_numbers_are_counted(traces, tmp_path):
    bad = "UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET start = 'abc' WHERE rowid = 7"
    folder = changed(exports(traces, tmp_path / "nsys"), bad)
    caveat = read_nsys(sorted(folder.iterdir())).caveat
    assert caveat.filter(pl.col("code") == "bad_times")["n"].to_list() == [1] * 4


def test_a_graph_that_was_traced_as_a_whole_is_work_of_its_device(traces, tmp_path):
    folder = changed(
        exports(traces, tmp_path / "nsys"),
        "CREATE TABLE CUPTI_ACTIVITY_KIND_GRAPH_TRACE AS SELECT start, end, deviceId, streamId,"
        " correlationId, globalPid, 5 AS graphId FROM CUPTI_ACTIVITY_KIND_KERNEL WHERE rowid < 4",
        "DELETE FROM CUPTI_ACTIVITY_KIND_KERNEL WHERE rowid < 4",
    )
    op = read_nsys(sorted(folder.iterdir())).op
    graphs = op.filter(pl.col("name").cast(pl.String) == "CUDA graph 5")
    assert graphs.group_by("rank").len()["len"].to_list() == [3] * 4
    assert graphs["kind"].unique().to_list() == ["compute"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET correlationId = 0",
        "UPDATE CUPTI_ACTIVITY_KIND_RUNTIME SET correlationId = NULL",
        "ALTER TABLE CUPTI_ACTIVITY_KIND_KERNEL DROP COLUMN correlationId",
        "DROP TABLE CUPTI_ACTIVITY_KIND_RUNTIME",
    ],
)
def test_launches_that_nothing_links_are_refused_by_name(change, traces, tmp_path):
    found = lp.run_audit(changed(exports(traces, tmp_path / "nsys"), change), brief=False)
    assert found.verdict["kind"] == "not_assessable"
    assert "correlationId of CUPTI_ACTIVITY_KIND_RUNTIME" in found.verdict["summary"]
