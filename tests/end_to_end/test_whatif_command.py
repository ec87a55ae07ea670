import json

import polars as pl
import pytest
from tests.end_to_end.commands import call, run

import loadpath


@pytest.fixture(scope="module")
def ask(audited):
    folder, _ = audited

    def answer(*changes):
        words = [word for change in changes for word in ("--set", change)]
        done = call("whatif", "job", *words, "--format", "json", folder=folder)
        assert (done.code, done.err) == (0, "")
        return json.loads(done.out)

    return answer


def test_answer_is_printed_for_people(audited):
    folder, _ = audited
    answer = run("whatif", "job", "--set", "rank=2:ideal", folder=folder)
    assert (answer.code, answer.err) == (0, "")
    assert len(answer.out.splitlines()) == 3
    assert "saved" in answer.out


def test_making_the_slow_rank_ideal_saves_what_the_verdict_promises(audited, ask):
    folder, _ = audited
    verdict = json.loads((folder / "job" / "audit.json").read_text())["verdict"]
    answer = ask("rank=2:ideal")
    assert answer["step_s"] == pytest.approx(verdict["step_s"])
    assert answer["step_s_without"] == pytest.approx(verdict["step_s_without"], rel=0.01)


@pytest.mark.parametrize(
    "change",
    [
        "rank=0:ideal",
        "class=backward-compute:0.9",
        "class=forward-send:0",
        "stage=1:ideal",
        "stage=last:ideal",
        "replica=1:ideal",
        "mechanism=communication:0.5",
        "kind=compute:0.5",
        "link=point to point 0,2:ideal",
    ],
)
def test_every_selector_finds_ops(ask, change):
    assert ask(change)["n_op"] > 0


def test_one_step_can_be_selected(ask, audited):
    op = pl.read_parquet(audited[0] / "job" / "coupled_op.parquet")
    step = op["step"][0]
    assert ask(f"step={step}:ideal")["n_op"] == op.filter(pl.col("step") == step).height


def test_a_host_can_be_selected(table, tmp_path):
    hosts = tmp_path / "hosts.csv"
    hosts.write_text("rank,host\n2,node-2\n", encoding="utf-8")
    assert call("audit", table, "--hosts", hosts, "--out", "a", folder=tmp_path).code == 0
    answer = call("whatif", "a", "--set", "host=node-2:ideal", "--format", "json", folder=tmp_path)
    by_rank = call("whatif", "a", "--set", "rank=2:ideal", "--format", "json", folder=tmp_path)
    assert json.loads(answer.out)["saved_s"] == json.loads(by_rank.out)["saved_s"]


def test_factor_of_one_changes_nothing(ask):
    assert ask("kind=compute:1")["saved_s"] == 0


def test_halving_everything_halves_the_step(ask):
    answer = ask("kind=compute:0.5", "kind=communicate:0.5", "kind=optimise:0.5")
    assert answer["step_s_without"] == pytest.approx(answer["step_s"] / 2)


def test_slower_ops_cost_time(ask):
    assert ask("class=backward-compute:1.5")["saved_s"] < 0


def test_changes_apply_together(ask):
    one, two = ask("rank=2:ideal"), ask("rank=2:ideal", "stage=last:0.5")
    assert two["step_s_without"] < one["step_s_without"]
    assert two["changes"] == ["rank=2:ideal", "stage=last:0.5"]


def test_opened_audit_answers_as_the_records_do(table, audited, ask):
    folder, _ = audited
    words = ("--set", "rank=2:ideal", "--set", "class=backward-compute:0.9", "--format", "json")
    from_records = call("whatif", table, *words, folder=folder)
    assert json.loads(from_records.out) == ask("rank=2:ideal", "class=backward-compute:0.9")


def test_opened_audit_has_the_graph_and_tables_it_was_written_with(table, audited):
    opened, fresh = loadpath.open_audit(audited[0] / "job"), loadpath.run_audit(table)
    for name in type(fresh.job.graph).__dataclass_fields__:
        assert (getattr(opened.job.graph, name) == getattr(fresh.job.graph, name)).all(), name
    assert opened.document == fresh.document
    assert opened.table("attribution").equals(fresh.table("attribution"))
    assert opened.what_if("rank=2:ideal") == fresh.what_if("rank=2:ideal")


def test_published_fields_are_printed_from_records_and_from_an_audit(table, audited):
    folder, _ = audited
    from_records = call("whatif", table, "--format", "osdi25", folder=folder)
    from_audit = call("whatif", "job", "--format", "osdi25", folder=folder)
    ours, again = json.loads(from_records.out), json.loads(from_audit.out)
    assert set(ours) == {"result", "ms", "mw"}
    ours["result"].pop("job_meta")
    again["result"].pop("job_meta")
    assert ours == again


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("rank=99:ideal", "matches nothing"),
        ("colour=red:ideal", "is no change"),
        ("rank=0", "is no change"),
        ("rank=0:-1", "no factor"),
        ("rank=0:1e", "no factor"),
        ("rank=0:1e999", "no factor"),
    ],
)
def test_change_that_cannot_be_made_is_a_wrong_call(audited, change, reason):
    folder, _ = audited
    answer = call("whatif", "job", "--set", change, folder=folder)
    assert (answer.code, answer.out) == (2, "")
    assert reason in answer.err
    assert len(answer.err.splitlines()) == 1


def test_all_impossible_changes_are_named_at_once(audited):
    folder, _ = audited
    answer = call("whatif", "job", "--set", "rank=99:ideal", "--set", "x=1", folder=folder)
    assert "'rank=99:ideal'" in answer.err
    assert "'x=1'" in answer.err


def test_question_without_a_change_is_a_wrong_call(audited):
    answer = call("whatif", "job", folder=audited[0])
    assert answer.code == 2
    assert "no change given" in answer.err


def test_unknown_format_is_a_wrong_call(audited):
    answer = call("whatif", "job", "--format", "xml", folder=audited[0])
    assert answer.code == 2
    assert "xml" in answer.err


def test_published_fields_beside_changes_are_a_wrong_call(table, tmp_path):
    answer = run(*("whatif", table, "--format", "osdi25", "--set", "rank=0:ideal"), folder=tmp_path)
    assert answer.code == 2
    assert "reads no --set" in answer.err


def test_published_fields_of_traces_are_a_wrong_call(traces, tmp_path):
    answer = call("whatif", traces, "--format", "osdi25", folder=tmp_path)
    assert answer.code == 2
    assert "op table" in answer.err
