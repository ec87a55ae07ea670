"""Records beside flight-recorder dumps: none is left out in silence."""

import shutil
from pathlib import Path

import pytest
from tests.audit.stage_logs import stage_log
from tests.couple.logged.written import play, write_dumps, write_inspector

import loadpath as lp
from loadpath.errors import InputError

HANG = Path(__file__).parents[2] / "examples" / "hang-stopped"


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
