import json
from pathlib import Path

from tests.end_to_end.commands import call

EXAMPLE = Path(__file__).parents[2] / "examples" / "tp-host"


def test_a_recording_is_compressed_and_audited_by_two_commands(tmp_path):
    made = call("compress", EXAMPLE, "--out", "job.lpz", folder=tmp_path)
    assert (made.code, made.err) == (0, "")
    assert "for each of 4 ranks and 6 steps" in made.out
    assert "nothing merged" in made.out
    assert max(map(len, made.out.splitlines())) <= 80
    told = call("audit", "job.lpz", "--json", folder=tmp_path)
    whole = call("audit", EXAMPLE, "--json", folder=tmp_path)
    found, wanted = (json.loads(answer.out)["verdict"] for answer in (told, whole))
    assert (found["kind"], found["ranks"]) == (wanted["kind"], wanted["ranks"]) == ("host", [3])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.lpz"]


def test_a_small_budget_merges_and_says_so(tmp_path):
    made = call(
        "compress", EXAMPLE, "--out", "job.lpz", "--budget", 0.36, "--json", folder=tmp_path
    )
    told = json.loads(made.out)
    assert told["level"] != "whole"
    assert told["bytes_per_rank_step"] <= 0.36 * 1024
    assert told["n_op"] < told["n_recorded"]
    made = call("compress", EXAMPLE, "--out", "b.lpz", "--budget", 0.36, folder=tmp_path)
    assert f"{told['n_op']:,} stand for the {told['n_recorded']:,}" in made.out


def test_a_file_that_is_there_a_budget_of_nothing_and_no_records_are_refused(tmp_path):
    (tmp_path / "job.lpz").write_text("mine")
    there = call("compress", EXAMPLE, "--out", "job.lpz", folder=tmp_path)
    assert (there.code, (tmp_path / "job.lpz").read_text()) == (2, "mine")
    assert "--force" in there.err
    nothing = call("compress", EXAMPLE, "--out", "a.lpz", "--budget", 0, folder=tmp_path)
    assert nothing.code == 2
    absent = call("compress", "absent", "--out", "a.lpz", folder=tmp_path)
    assert absent.code == 4
    nowhere = call("compress", EXAMPLE, "--out", "job.lpz/a.lpz", folder=tmp_path)
    assert (nowhere.code, nowhere.err.count("\n")) == (2, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["job.lpz"]
