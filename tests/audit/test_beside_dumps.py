"""Records beside flight-recorder dumps: none is left out in silence."""

import json
import shutil
from pathlib import Path

import pytest
from tests.audit.stage_logs import stage_log
from tests.couple.logged.written import play, write_dumps, write_inspector

import loadpath as lp
from loadpath.errors import InputError

EXAMPLES = Path(__file__).parents[2] / "examples"
HANG = EXAMPLES / "hang-stopped"


def unread(audit):
    told = [c["text"] for c in audit.document["caveats"] if c["code"] == "unread_files"]
    return told[0] if told else None


def test_stage_logs_beside_dumps_without_durations_are_audited(tmp_path):
    stage_log("input").write_csv(tmp_path / "stages.csv")
    write_dumps(play(slow=3), tmp_path, timed=False)
    found = lp.run_audit(tmp_path, brief=False)
    assert (found.verdict["kind"], found.verdict["ranks"]) == ("host", [2])
    assert len(found.document["inputs"]) == 9


def test_stage_logs_beside_timed_dumps_are_said_to_be_unread(tmp_path):
    stage_log("input").write_csv(tmp_path / "stages.csv")
    write_dumps(play(slow=3), tmp_path)
    found = lp.run_audit(tmp_path, brief=False)
    assert (found.verdict["kind"], found.verdict["ranks"]) == ("rank", [3])
    assert unread(found).endswith(": stages.csv")


def test_a_hang_says_which_records_beside_the_dumps_are_unread(tmp_path):
    for path in HANG.glob("*"):
        shutil.copy(path, tmp_path)
    assert unread(lp.run_audit(tmp_path, brief=False)) is None
    stage_log("input").write_csv(tmp_path / "stages.csv")
    write_inspector(play(slow=3), tmp_path)
    found = lp.run_audit(tmp_path, brief=False)
    assert found.verdict["kind"] == "hang"
    assert "stages.csv" in unread(found)
    assert ".log" in unread(found)


def test_dumps_beside_a_record_that_stands_alone_are_refused(tmp_path):
    write_dumps(play(slow=3), tmp_path, timed=False)
    (tmp_path / "tiny.goal").write_text("num_ranks 1\nrank 0 {\nl1: calc 5\n}\n")
    with pytest.raises(InputError, match="a schedule and other records"):
        lp.run_audit(tmp_path, brief=False)


def test_dumps_of_a_hang_after_the_traced_steps_are_told_beside_the_traces(tmp_path):
    for path in (*(EXAMPLES / "ddp-rank").glob("rank*"), *HANG.glob("*")):
        shutil.copy(path, tmp_path)
    found = lp.run_audit(tmp_path, brief=False)
    told = [c["text"] for c in found.document["caveats"] if c["code"] == "dumps_hang"]
    assert found.verdict["ranks"] == [1]
    assert len(told) == 1
    assert "Rank 2 never asked for all_reduce 6" in told[0]


def test_dumps_made_while_a_traced_job_goes_on_show_no_hang():
    found = lp.run_audit(EXAMPLES / "ddp-rank", brief=False)
    assert "dumps_hang" not in {c["code"] for c in found.document["caveats"]}


def test_calls_that_all_asked_for_and_that_did_not_end_are_said(tmp_path):
    for rank in range(2):
        entry = {
            "process_group": ["0", "default_pg"], "pg_id": 0, "collective_seq_id": 9, "p2p_seq_id": 0,
            "profiling_name": "nccl:all_reduce", "time_created_ns": 10**18, "is_p2p": False,
            "state": "started" if rank else "scheduled",
        }  # fmt: skip
        config = {"0": {"name": "0", "desc": "default_pg", "ranks": "[0, 1]"}}
        dump = {"version": "2.10", "pg_config": config, "pg_status": {}, "entries": [entry]}
        (tmp_path / f"fr_rank{rank}.json").write_text(json.dumps(dump))
    verdict = lp.run_audit(tmp_path, brief=False).verdict
    assert verdict["kind"] == "not_assessable"
    assert "all_reduce 9 of group 0, default_pg had not ended" in verdict["summary"]
    assert "what the device of rank 0 does" in verdict["summary"]


def test_settings_beside_dumps_are_no_traces(tmp_path):
    for path in HANG.glob("*"):
        shutil.copy(path, tmp_path)
    (tmp_path / "config.json").write_text('{"lr": 0.1}')
    found = lp.run_audit(tmp_path, brief=False)
    assert (found.verdict["kind"], found.verdict["ranks"]) == ("hang", [2])
    assert unread(found).endswith(": config.json")


def test_settings_beside_timed_dumps_are_no_traces(tmp_path):
    write_dumps(play(slow=3), tmp_path)
    (tmp_path / "config.json").write_text('{"lr": 0.1}')
    found = lp.run_audit(tmp_path, brief=False)
    assert (found.verdict["kind"], found.verdict["ranks"]) == ("rank", [3])
    assert unread(found).endswith(": config.json")
