"""Bad input ends in one line that says what is wrong, where, and what to do."""

import gzip
import json
import os
import shutil

import polars as pl
import pytest
from tests.end_to_end.commands import BOUND, call, run


def refused(answer, code=4):
    """Check that a command was refused in one line, and return the line."""
    assert answer.out == ""
    assert "Traceback" not in answer.err
    assert answer.code == code, answer.err
    (line,) = answer.err.splitlines()
    assert line.startswith("loadpath: ")
    return line


@pytest.fixture
def audit(tmp_path):
    def refuse(*words, code=4):
        return refused(call("audit", *words, "--json", folder=tmp_path), code)

    return refuse


@pytest.fixture
def copy(table, tmp_path):
    """Copy of the op table, to be spoilt."""
    return shutil.copy(table, tmp_path / "trace-copy.parquet")


def rewrite(path, change):
    change(pl.read_parquet(path)).write_parquet(path)


def test_fault_of_the_input_is_one_line_on_stderr_of_the_process(tmp_path):
    line = refused(run("audit", tmp_path / "none.parquet", folder=tmp_path))
    assert "none.parquet" in line
    assert "does not exist" in line


def test_wrong_call_is_one_line_on_stderr_of_the_process(table, tmp_path):
    line = refused(run("audit", table, "--gate", "7", folder=tmp_path), code=2)
    assert "gate 7" in line


def test_empty_folder(audit, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no op table" in audit(tmp_path / "empty")


@pytest.mark.parametrize("name", ["job.zip", "Traces.tar.gz"])
def test_archive_is_to_be_unpacked(audit, tmp_path, name):
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / name).write_bytes(b"PK")
    for source in (tmp_path / "packed", tmp_path / "packed" / name):
        line = audit(source)
        assert f"no records but archives ({name})" in line
        assert "Unpack" in line


def test_folder_of_jobs_is_refused_with_the_jobs_that_lie_in_it(audit, tmp_path, table):
    for name in ("job-1", "job-2"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        shutil.copy(table, tmp_path / "runs" / name)
    line = audit("runs", code=4)
    assert "no records in it, but folders (job-1, job-2)" in line
    assert "Give these folders" in line


def test_options_of_a_simulation_are_refused_where_nothing_is_simulated(audit, table):
    line = audit(table, "--loggops", "L=1", "--noise", "exponential:1000,10", code=2)
    assert "--loggops and --noise: only a schedule" in line
    assert "--noise: only" in audit(table, "--noise", "exponential:1000,10", code=2)


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        ("--objective job_s", "--objective is that of a search: give --search"),
        ("--within job_h=720", "--within bounds a search: give --search"),
        ("--ttft 2 --tpot 1", "--ttft is promised to requests: give --requests; --tpot"),
        ("--currency EUR", "--currency is that of a rate: give --rate"),
    ],
)
def test_option_that_says_more_of_another_is_refused_alone(tmp_path, words, needed):
    line = refused(call("forecast", "job.toml", *words.split(), "--json", folder=tmp_path), 2)
    assert needed in line


def test_missing_paths_are_all_named(audit, tmp_path):
    line = audit(tmp_path / "a.json", tmp_path / "b.json")
    assert "a.json" in line
    assert "b.json" in line


def test_json_that_is_no_trace(audit, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"learning_rate": 0.1}), encoding="utf-8")
    assert "config.json" in audit(path)


def test_trace_that_breaks_off(audit, tmp_path):
    path = tmp_path / "rank0.json"
    path.write_text('{"schemaVersion": 1, "traceEvents": [{"ph": "X", "na', encoding="utf-8")
    assert "rank0.json" in audit(path)


def packed_trace(traces):
    source = min(traces.glob("*.json*"))
    data = source.read_bytes()
    return data if source.suffix == ".gz" else gzip.compress(data)


def test_archive_that_breaks_off_before_any_event(audit, traces, tmp_path):
    path = tmp_path / "rank0.json.gz"
    path.write_bytes(packed_trace(traces)[:40])
    assert "rank0.json.gz" in audit(path)


def test_archive_that_breaks_off_later_is_read_so_far_and_a_caveat(traces, tmp_path):
    packed = packed_trace(traces)
    (tmp_path / "rank0.json.gz").write_bytes(packed[: len(packed) // 2])
    answer = call("audit", "rank0.json.gz", "--json", folder=tmp_path)
    assert (answer.code, answer.err) == (0, "")
    assert "truncated" in {item["code"] for item in json.loads(answer.out)["caveats"]}


def test_two_files_of_one_rank(audit, traces, tmp_path):
    for name in ("a", "b"):
        source = min(traces.glob("*.json*"))
        shutil.copy(source, tmp_path / f"{name}{''.join(source.suffixes)}")
    line = audit(*sorted(tmp_path.glob("*.json*")))
    assert "rank" in line


def test_truncated_parquet(audit, copy):
    copy.write_bytes(copy.read_bytes()[:1000])
    assert "trace-copy.parquet" in audit(copy)


def test_two_op_tables(audit, table, copy):
    assert "2 op tables" in audit(table, copy)


def test_op_table_together_with_a_trace(audit, traces, copy):
    assert "an op table and traces" in audit(copy, min(traces.glob("*.json*")))


def test_missing_columns_are_all_named(audit, copy):
    rewrite(copy, lambda frame: frame.drop("stage", "duration"))
    line = audit(copy)
    assert "'stage'" in line
    assert "'duration'" in line


def test_times_that_are_no_numbers(audit, copy):
    rewrite(copy, lambda frame: frame.with_columns(pl.lit(float("nan")).alias("duration")))
    assert "no usable row" in audit(copy)


def test_op_recorded_twice(audit, copy):
    rewrite(copy, lambda frame: pl.concat([frame, frame.head(1)]))
    assert "recorded twice" in audit(copy)


def test_order_that_no_execution_can_have_names_the_cycle(audit, copy):
    def swap(frame):
        backward = pl.col("optype").cast(pl.String).is_in(["backward-compute", "backward-recv"])
        first = (pl.col("rank") == 0) & backward
        early = pl.when(first).then(pl.col("start_ts") - 100).otherwise("start_ts")
        return frame.with_columns(early.cast(pl.Float32).alias("start_ts"))

    rewrite(copy, swap)
    line = audit(copy)
    assert "cycle" in line
    assert "backward-compute #0 (rank 0" in line


def test_layout_of_another_job(audit, table, tmp_path):
    layout = tmp_path / "meta.yaml"
    layout.write_text("dp_size: 1\npp_size: x\n", encoding="utf-8")
    assert "pp_size: 'x'" in audit(table, "--layout", layout)


def test_layout_that_is_missing(audit, table, tmp_path):
    assert "none.yaml" in audit(table, "--layout", tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "cannot be read"),
        ("host\na\n", "'rank'"),
        ("rank\n0\n", "'host'"),
        ("rank,host\nfirst,a\n", "'first'"),
        ("rank,host\n0,a\n0,b\n", "rank 0 stands twice"),
    ],
)
def test_hosts_file_that_cannot_be_used(audit, table, tmp_path, text, reason):
    hosts = tmp_path / "places.csv"
    hosts.write_text(text, encoding="utf-8")
    line = audit(table, "--hosts", hosts)
    assert "places.csv" in line
    assert reason in line


def test_hosts_file_that_is_missing(audit, table, tmp_path):
    assert "none.csv" in audit(table, "--hosts", tmp_path / "none.csv")


@pytest.mark.parametrize(
    "words",
    [("--baseline", "mode"), ("--gate", "0"), ("--rate", "-1"), ("--seed", "-1")],
)
def test_option_that_makes_no_sense_is_a_wrong_call(audit, table, words):
    assert words[1].lstrip("-") in audit(table, *words, code=2)


def test_all_senseless_options_are_named_at_once(audit, table):
    line = audit(table, "--baseline", "mode", "--rate", "0", code=2)
    assert "mode" in line
    assert "rate" in line


@pytest.mark.parametrize("words", [("audit",), ("audit", "a", "--colour", "red"), ("paint",)])
def test_call_that_cannot_be_parsed_is_a_wrong_call(tmp_path, words):
    answer = call(*words, folder=tmp_path)
    assert (answer.code, answer.out) == (2, "")
    assert "Usage" in answer.err


@pytest.mark.parametrize("name", ["audit.json", "graph.npz", "coupled_op.parquet"])
def test_damaged_audit(audited, tmp_path, name):
    shutil.copytree(audited[0] / "job", tmp_path / "job")
    path = tmp_path / "job" / name
    path.write_bytes(path.read_bytes()[:100])
    refused(call("whatif", "job", "--set", "rank=0:ideal", folder=tmp_path))


def test_audit_of_another_schema(audited, tmp_path):
    shutil.copytree(audited[0] / "job", tmp_path / "job")
    path = tmp_path / "job" / "audit.json"
    text = path.read_text(encoding="utf-8").replace("loadpath.audit/1", "loadpath.audit/0")
    path.write_text(text, encoding="utf-8")
    line = refused(call("whatif", "job", "--set", "rank=0:ideal", folder=tmp_path))
    assert "loadpath.audit/0" in line


def test_folder_without_an_audit(tmp_path):
    assert "no op table" in refused(call("whatif", tmp_path, folder=tmp_path))


@pytest.mark.parametrize("factor", ["1e308", "1e7", "-1", "1e"])
def test_factor_that_no_change_has_is_a_wrong_call(table, tmp_path, factor):
    change = f"rank=0:{factor}"
    line = refused(call("whatif", table, "--set", change, folder=tmp_path), code=2)
    assert "no factor of 0 or more, up to 1,000,000" in line


@pytest.mark.parametrize("out", ["file/inside", "x" * 256, "file"])
def test_place_of_the_audit_is_checked_before_anything_is_read(tmp_path, out):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    (tmp_path / "job.csv").write_text("no op table", encoding="utf-8")
    line = refused(call("audit", "job.csv", "--out", out, folder=tmp_path), code=2)
    assert "Give another --out" in line


def test_durations_of_zero_make_no_noise(copy, tmp_path):
    rewrite(copy, lambda frame: frame.with_columns(pl.col("duration") * 0))
    for command in (("audit", "--json"), ("whatif", "--format", "osdi25")):
        answer = run(command[0], copy, *command[1:], folder=tmp_path)
        assert (answer.code, answer.err) == (0, "")
        json.loads(answer.out)


def test_name_with_control_characters_stays_one_line(audit, tmp_path):
    assert "\x1b" not in audit(tmp_path / "a\n\x1b[31m.csv")


bound_by_rights = pytest.mark.skipif(
    os.name != "posix" or shutil.which((*BOUND, "sh")[0]) is None,
    reason="nothing here may not be read",
)


@bound_by_rights
@pytest.mark.parametrize("words", [
    "audit {} --json", "compress {} --out a.lpz", "simulate {}/a.goal", "whatif {} --set rank=0:ideal",
])  # fmt: skip
def test_folder_that_this_user_may_not_read_is_an_unreadable_input(words, tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    line = refused(run(*words.format("closed").split(), folder=tmp_path, before=BOUND))
    assert "closed" in line
    assert "cannot be read (Permission denied)" in line


@bound_by_rights
def test_one_trace_that_this_user_may_not_read_is_named(traces, tmp_path):
    shutil.copytree(traces, tmp_path / "job")
    closed = max((tmp_path / "job").glob("*.json*"))
    closed.chmod(0)
    line = refused(run("audit", "job", "--json", folder=tmp_path, before=BOUND))
    assert f"{closed.name}: cannot be read (Permission denied). Let this user" in line
