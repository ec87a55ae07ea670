import json

import polars as pl
import pytest
from tests.end_to_end.commands import call, run

REQUIRED = {
    "schema": (),
    "job": (
        "ranks",
        "steps",
        "ops",
        "instances",
        "instances_matched",
        "duration_s",
        "transfer_s",
        "wait_s",
        "compute_s",
    ),
    "replay": (
        "error_ratio_median",
        "error_ratio_max",
        "unexplained_ratio",
        "negative_lag_s",
        "gate",
    ),
    "slowdown": ("ratio", "waste_ratio", "launch_ratio", "baseline", "by_baseline"),
    "verdict": (
        "kind",
        "place",
        "mechanism",
        "ranks",
        "hosts",
        "stage",
        "link",
        "share_removal_ratio",
        "share_addition_ratio",
        "step_s",
        "step_s_without",
        "confidence",
        "indistinguishable_from",
        "causes",
        "runner_up",
        "summary",
    ),
    "waits": ("exposed_s", "by_sink"),
    "attribution": (),
    "blindness": (),
    "caveats": (),
    "inputs": (),
    "versions": (),
    "command": (),
}


@pytest.fixture(scope="module")
def document(audited):
    folder, _ = audited
    return json.loads((folder / "job" / "audit.json").read_text(encoding="utf-8"))


def test_audit_succeeds_and_stays_silent_on_stderr(audited):
    _, answer = audited
    assert (answer.code, answer.err) == (0, "")


def test_summary_fits_a_small_terminal(audited):
    _, answer = audited
    lines = answer.out.splitlines()
    assert 3 <= len(lines) <= 25
    assert max(map(len, lines)) <= 80


def test_summary_names_the_slow_rank_and_the_briefing(audited):
    _, answer = audited
    assert "rank 2" in answer.out
    assert "job/briefing.html" in answer.out


def test_audit_folder_holds_document_briefing_graph_and_tables(audited):
    folder, _ = audited
    names = {path.name for path in (folder / "job").iterdir()}
    assert {"audit.json", "briefing.html", "graph.npz", "coupled_op.parquet"} <= names
    assert {path.name for path in folder.iterdir()} == {"job"}


def test_document_has_every_promised_field(document):
    for part, fields in REQUIRED.items():
        assert set(fields) <= set(document[part] if fields else ()), part
    assert document["schema"] == "loadpath.audit/1"


def test_document_names_the_planted_rank(document):
    verdict = document["verdict"]
    assert (verdict["kind"], verdict["place"], verdict["ranks"]) == ("rank", "rank", [2])
    assert 0 <= verdict["confidence"] <= 1
    assert verdict["step_s_without"] < verdict["step_s"]


def test_document_knows_its_inputs_and_its_command(document, table):
    named = {item["path_name"]: item for item in document["inputs"]}
    assert named[table.name]["bytes"] == table.stat().st_size
    assert len(named[table.name]["sha256"]) == 64
    assert table.name in document["command"]


def test_sinks_add_up_to_the_exposed_waiting(document):
    waits = document["waits"]
    assert sum(waits["by_sink"].values()) == pytest.approx(waits["exposed_s"], rel=1e-9)


def test_every_table_of_the_audit_can_be_read(audited):
    folder, _ = audited
    paths = sorted((folder / "job").glob("*.parquet"))
    assert len(paths) > 10
    assert all(pl.read_parquet(path).width for path in paths)


def test_json_prints_the_document_and_writes_nothing(table, audited, tmp_path):
    answer = run("audit", table, "--json", folder=tmp_path)
    folder, _ = audited
    assert answer.out == (folder / "job" / "audit.json").read_text(encoding="utf-8")
    assert (answer.code, answer.err, list(tmp_path.iterdir())) == (0, "", [])


def test_keys_of_the_document_are_sorted(audited):
    text = (audited[0] / "job" / "audit.json").read_text(encoding="utf-8")
    document = json.loads(text)
    assert json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False) + "\n" == text


def test_without_a_target_the_audit_lies_beside_the_caller(table, tmp_path):
    answer = call("audit", table, folder=tmp_path)
    (made,) = tmp_path.iterdir()
    assert answer.code == 0
    assert made.name == f"{table.name.split('.')[0]}-audit"


def test_folder_with_one_op_table_is_a_source(table, tmp_path):
    answer = call("audit", table.parent, "--json", folder=tmp_path)
    assert answer.code == 0
    assert json.loads(answer.out)["verdict"]["ranks"] == [2]


def test_folder_of_traces_is_a_source(traces, tmp_path):
    answer = call("audit", traces, "--json", folder=tmp_path)
    verdict = json.loads(answer.out)["verdict"]
    assert (answer.code, verdict["kind"], verdict["ranks"]) == (0, "host", [1])


def test_hosts_are_named_where_they_are_known(table, tmp_path):
    hosts = tmp_path / "hosts.csv"
    hosts.write_text("rank,host\n" + "".join(f"{r},node-{r}\n" for r in range(6)), encoding="utf-8")
    answer = call("audit", table, "--hosts", hosts, "--json", folder=tmp_path)
    document = json.loads(answer.out)
    assert document["verdict"]["hosts"] == ["node-2"]
    assert "hosts.csv" in {item["path_name"] for item in document["inputs"]}


def test_ranks_without_a_host_are_a_caveat(table, tmp_path):
    hosts = tmp_path / "hosts.csv"
    hosts.write_text("rank,host\n0,node-0\n", encoding="utf-8")
    answer = call("audit", table, "--hosts", hosts, "--json", folder=tmp_path)
    found = {item["code"]: item["count"] for item in json.loads(answer.out)["caveats"]}
    assert found["host_unknown"] == 5


def test_above_the_gate_no_conclusion_is_drawn_and_the_audit_succeeds(table, tmp_path):
    answer = call("audit", table, "--gate", "0.00001", "--json", folder=tmp_path)
    document = json.loads(answer.out)
    assert answer.code == 0
    assert document["verdict"]["kind"] == "not_assessable"
    assert document["verdict"]["ranks"] == []


def test_summary_above_the_gate_names_no_culprit_and_calls_nobody_wrong(table, tmp_path):
    answer = call("audit", table, "--gate", "0.00001", "--out", "a", folder=tmp_path)
    verdict, views = answer.out.split("Dashboards")
    assert "rank 2" not in verdict
    assert "wrong:" not in views
    assert len(answer.out.splitlines()) <= 25


def test_price_and_work_are_written_down(table, tmp_path):
    words = (
        "--rate",
        "2.5",
        "--currency",
        "EUR",
        "--work-per-step",
        "4e6",
        "--as-of",
        "2026-01-02",
    )
    answer = call("audit", table, *words, "--json", folder=tmp_path)
    assert all(word in answer.out for word in ("EUR", "2026-01-02", "--rate 2.5"))


@pytest.mark.parametrize("baseline", ["median", "mean", "best"])
def test_every_baseline_can_be_chosen(table, tmp_path, baseline):
    answer = call("audit", table, "--baseline", baseline, "--json", folder=tmp_path)
    assert json.loads(answer.out)["slowdown"]["baseline"] == baseline


def test_audit_that_is_there_is_kept_without_force(audited, table):
    folder, _ = audited
    before = {path: path.stat().st_mtime_ns for path in (folder / "job").iterdir()}
    answer = call("audit", table, "--out", "job", folder=folder)
    assert answer.code == 2
    assert "--force" in answer.err
    assert {path: path.stat().st_mtime_ns for path in (folder / "job").iterdir()} == before


def test_force_replaces_an_audit(table, tmp_path):
    assert call("audit", table, "--out", "a", folder=tmp_path).code == 0
    stale = tmp_path / "a" / "stale.parquet"
    stale.touch()
    assert call("audit", table, "--out", "a", "--force", folder=tmp_path).code == 0
    assert not stale.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"a"}


def test_force_never_replaces_what_is_no_audit(table, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work", encoding="utf-8")
    answer = call("audit", table, "--out", "thesis", "--force", folder=tmp_path)
    assert answer.code == 2
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.tex"]


def test_help_names_the_commands(tmp_path):
    answer = run("--help", folder=tmp_path)
    assert answer.code == 0
    assert {"audit", "whatif"} <= set(answer.out.split())


@pytest.mark.parametrize("command", ["audit", "whatif"])
def test_help_of_a_command_explains_its_options(tmp_path, command):
    answer = call(command, "--help", folder=tmp_path)
    assert answer.code == 0
    assert "--layout" in answer.out
