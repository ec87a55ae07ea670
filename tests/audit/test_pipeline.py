"""An audit from file to folder, and when it draws no conclusion."""

from dataclasses import replace

import polars as pl
import pytest
from tests.diagnose.peer_jobs import coupled, peers
from tests.diagnose.small_jobs import communicate, compute
from tests.diagnose.test_verdict import gated_by_a_fast_op, links

from loadpath.audit import Settings, couple_recording, open_audit, run_audit
from loadpath.audit.findings import diagnose
from loadpath.audit.folder import document_bytes
from loadpath.couple.steps import join_steps
from loadpath.errors import InputError, UsageError
from loadpath.tables import caveat_table
from loadpath.testing import Cause, job, make_job, write_kineto, write_op_table


def refusal(small, **options):
    return diagnose(small, Settings(**options), lambda _: None)["refusal"]


def test_audit_names_the_planted_rank_and_what_it_costs(audited):
    # rank 2 makes the step 20 % longer: a sixth of it is to gain
    assert (audited.verdict["kind"], audited.verdict["ranks"]) == ("rank", [2])
    gain = 1 - audited.verdict["step_s_without"] / audited.verdict["step_s"]
    assert gain == pytest.approx(0.2 / 1.2, rel=0.1)
    assert audited.document["replay"]["error_ratio_median"] < 0.03


def test_nothing_is_written_without_an_audit_folder(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(table.parent.iterdir())
    run_audit(table)
    assert sorted(table.parent.iterdir()) == before
    assert list(tmp_path.iterdir()) == []


def test_audit_folder_holds_document_tables_and_briefing(table, tmp_path):
    said: list[str] = []
    run_audit(table, out=tmp_path / "out", progress=said.append)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"audit.json", "briefing.html", "graph.npz", "attribution.parquet"} <= names
    assert said[:3] == [f"reading {table.name}", "coupling ranks", "replaying"]
    assert said[-1] == "writing the briefing"


def test_briefing_can_be_left_out(written):
    assert not (written / "briefing.html").exists()


def test_audit_that_is_there_is_not_overwritten(table, written):
    with pytest.raises(UsageError, match=r"--force"):
        run_audit(table, out=written, brief=False)


def test_tables_are_returned_by_name(audited):
    assert audited.table("cause")["key"][0] == "rank 2"
    assert audited.table("rank").height == 8


def test_unknown_table_is_refused_with_the_known_ones(audited):
    with pytest.raises(UsageError, match=r"no table 'profit'. There are: attribution, blindness"):
        audited.table("profit")


def test_figures_are_drawn_from_an_opened_audit(written):
    assert "<svg" in open_audit(written).figure("waterfall").svg


def test_unknown_option_is_refused_with_the_known_ones(table):
    with pytest.raises(
        UsageError, match=r"unknown option .*bseline.*Options are layout, hosts, ranks"
    ):
        run_audit(table, bseline="mean")  # type: ignore[call-arg]


@pytest.mark.parametrize("form", ["mapping", "words", "file"])
def test_ranks_are_told_in_any_form(tmp_path, form):
    traces = write_kineto(make_job(1, recorder="kineto", pp=1, dp=2, steps=2), tmp_path / "job")
    told = {path.name: rank for rank, path in enumerate(sorted(traces.glob("*.json.gz")))}
    table = tmp_path / "told.csv"
    table.write_text("file,rank\n" + "".join(f"{name},{rank}\n" for name, rank in told.items()))
    words = [f"{name}={rank}" for name, rank in told.items()]
    ranks = {"mapping": told, "words": words, "file": table}[form]
    document = run_audit(traces, ranks=ranks, brief=False, cache=False).document
    said = ["told.csv"] if form == "file" else words
    assert document["command"] == " ".join(
        ["loadpath audit traces", *(f"--ranks {one}" for one in said)]
    )


def test_unreadable_source_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"does not exist"):
        run_audit(tmp_path / "none.parquet")


def test_same_seed_gives_the_same_document(table, audited):
    again = run_audit(table, rate=2.5, work_per_step=4e6)
    assert document_bytes(again.document) == document_bytes(audited.document)


def test_steps_without_the_cause_are_the_verdicts(audited):
    steps = audited.table("step_time")
    assert steps["without_cause_s"].mean() == pytest.approx(audited.verdict["step_s_without"])
    assert steps["replayed_s"].mean() == pytest.approx(audited.verdict["step_s"])


def test_hosts_of_the_culprit_are_named(table, tmp_path):
    hosts = tmp_path / "hosts.csv"
    hosts.write_text(
        "rank,host\n" + "".join(f"{r},node-{r // 2}\n" for r in range(8)), encoding="utf-8"
    )
    verdict = run_audit(table, hosts=hosts).verdict
    assert verdict["hosts"] == ["node-1"]


def test_layout_can_be_given(table, tmp_path):
    layout = next(table.parent.glob("meta-*.yaml"))
    moved = tmp_path / "layout.yaml"
    moved.write_bytes(layout.read_bytes())
    alone = tmp_path / table.name
    alone.write_bytes(table.read_bytes())
    with_layout = run_audit(alone, layout=str(moved))
    assert with_layout.job.layout["world_size"] == 8
    assert with_layout.document["inputs"][1]["path_name"] == "layout.yaml"


def test_traces_name_the_device(tmp_path):
    cause = Cause("rank", 0.3, ranks=(1,))
    traces = write_kineto(
        make_job(1, cause=cause, recorder="kineto", pp=1, dp=4, steps=4, microbatches=1), tmp_path
    )
    audit = run_audit(traces)
    assert (audit.verdict["kind"], audit.verdict["mechanism"], audit.verdict["ranks"]) == (
        "rank",
        "device",
        [1],
    )
    assert audit.document["slowdown"]["method"] == "median of peers"


def test_small_job_in_one_line_is_audited_by_hand():
    # 12 rounds of 70 or 100, then 20; ns
    small = job(ranks=4)
    for _ in range(12):
        small = small.compute([70_000, 70_000, 70_000, 100_000]).all_reduce(20_000)
    coupled_job = join_steps(couple_recording(small.recording()))
    found = diagnose(coupled_job, Settings(), lambda _: None)
    assert found["judgement"].kind == "rank"
    assert found["judgement"].step_s == pytest.approx(12 * 120e-6)
    assert found["judgement"].step_without_s == pytest.approx(12 * 90e-6)


def test_replay_error_above_the_gate_draws_no_conclusion(table):
    found = run_audit(table, gate=1e-6)
    assert found.verdict["kind"] == "not_assessable"
    assert "more than the gate of 0.0 %" in found.verdict["summary"]
    assert found.table("cause").is_empty()
    assert not found.table("attribution").is_empty()


def test_replay_error_within_the_gate_draws_one(table):
    assert run_audit(table, gate=0.5).verdict["kind"] == "rank"


def test_one_rank_cannot_be_compared(tmp_path):
    alone = write_op_table(make_job(1, pp=1, dp=1, steps=2), tmp_path)
    verdict = run_audit(alone).verdict
    assert verdict["kind"] == "not_assessable"
    assert "one rank is recorded" in verdict["summary"]


def test_ranks_without_communication_are_not_coupled():
    assert "nothing couples them" in refusal(coupled([compute(0, 5), compute(1, 9)], []))


def test_communication_that_no_later_work_waits_for_couples_nothing():
    ops = [op for r in (0, 1) for op in (compute(r, 5), communicate(r, 2, lane=1))]
    ops += [compute(r, 5, lane=2, lag=40) for r in (0, 1)]
    lacking = coupled(ops, [[1, 3]], edges=[(0, 1), (2, 3)])
    assert "no work was found to wait for any communication" in refusal(lacking)


def test_a_job_that_ends_with_its_communication_lacks_no_waits():
    assert not refusal(peers([70, 100], steps=1))


def test_traces_that_violate_causality_are_refused():
    doubt = caveat_table([("not_causal", "clocks disagree by 3 ms", 1)])
    assert refusal(replace(peers([70, 100], steps=3), caveat=doubt)) == "clocks disagree by 3 ms."


def test_wrong_ranks_are_named_before_what_follows_from_them():
    doubts = [("not_causal", "clocks disagree by 3 ms", 1), ("wrong_ranks", "rank 2 is rank 1", 1)]
    small = replace(peers([70, 100], steps=3), caveat=caveat_table(doubts))
    assert refusal(small) == "rank 2 is rank 1."


def test_missing_ranks_are_named_where_the_replay_misses():
    doubt = caveat_table([("missing_ranks", "of 4 ranks no trace of: 3", 1)])
    lanes = [(r, make) for r in (0, 1) for make in (compute, communicate)]
    ops = [make(r, 50, lane=1, lag=40 * (make is communicate)) for r, make in lanes]
    small = replace(coupled(ops, [[1, 3]], edges=[(0, 1), (2, 3)]), caveat=doubt)
    assert "of 4 ranks no trace of: 3; record all ranks" in refusal(small)


def test_judgement_that_contradicts_the_graph_is_refused():
    found = diagnose(gated_by_a_fast_op(), Settings(), lambda _: None)
    assert "waiting was recorded as work" in found["refusal"]
    assert found["judgement"] is None


def test_tables_that_only_pictures_need_can_be_left_out():
    small = peers([70, 70, 70, 100], steps=3)
    drawn = diagnose(small, Settings(), lambda _: None)["tables"]
    plain = diagnose(small, Settings(), lambda _: None, drawn=False)["tables"]
    assert set(drawn) - set(plain) == {"path", "timeline", "rank_step"}


def test_sound_job_is_not_refused():
    assert refusal(peers([70, 100], steps=3)) == ""


def test_cause_that_nobody_waits_for_has_no_distance():
    # one all-reduce of rank 3 alone with itself: nobody waits
    small = peers([70, 70, 70, 70], seed=1, noise=0.1)
    found = diagnose(small, Settings(), lambda _: None)
    assert found["judgement"].kind == "jitter"
    assert found["distance"] is None
    assert found["victims"] == []


def test_link_without_waiting_victims_has_no_distance():
    # both ranks of the slow link arrive together: its excess is transfer, no wait
    found = diagnose(links([20, 20, 50]), Settings(), lambda _: None)
    assert found["judgement"].kind == "link"
    assert found["distance"] is None


def test_gate_is_compared_with_the_median_error(table):
    audit = run_audit(table)
    error = audit.document["replay"]["error_ratio_median"]
    assert run_audit(table, gate=error * 1.001).verdict["kind"] == "rank"
    assert run_audit(table, gate=error * 0.999).verdict["kind"] == "not_assessable"
    assert isinstance(audit.table("caveat"), pl.DataFrame)
