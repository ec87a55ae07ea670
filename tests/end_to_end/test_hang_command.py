"""Audits of flight-recorder dumps: real hangs of jobs, published and recorded here."""

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
from tests.end_to_end.commands import call, run

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def published():
    if "LOADPATH_DATA" not in os.environ:
        pytest.skip("LOADPATH_DATA names no folder")
    return Path(os.environ["LOADPATH_DATA"]) / "data"


def audit(source, folder, *options):
    answer = call("audit", source, "--json", *options, folder=folder)
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


@pytest.mark.parametrize("name", ["gpu_error_2nd", "lock_gil_1st"])
def test_published_hangs_are_told_as_published(name, published, tmp_path):
    folder = published / "flight-recorder" / name
    verdict = audit(folder, tmp_path)["verdict"]
    row = (folder / "reference.txt").read_text().splitlines()[1].split("|")
    group, what, call_name, size, kind, missing = (part.strip() for part in row)
    first = verdict["communicators"][0]
    assert verdict["kind"] == "hang"
    assert verdict["ranks"] == [int(rank) for rank in missing.split(",")]
    assert (first["id"], first["description"]) == (group, what.split(",")[0])
    assert call_name.endswith(first["collective"])
    assert (first["size"].split("->")[0], first["data_type"]) == (size, kind)


def test_dumps_of_a_healthy_job_show_no_hang(published, tmp_path):
    for path in (published / "gloo-ddp-4-healthy").glob("fr_*"):
        shutil.copy(path, tmp_path)
    verdict = audit(tmp_path, tmp_path.parent)["verdict"]
    assert (verdict["kind"], verdict["ranks"], verdict["communicators"]) == (
        "not_assessable",
        [],
        [],
    )


@pytest.mark.parametrize(
    ("name", "reason"), [("hang-stopped", "missing"), ("hang-order", "different_collective")]
)
def test_recorded_hangs_name_rank_collective_and_reason(name, reason, tmp_path):
    verdict = audit(EXAMPLES / name, tmp_path)["verdict"]
    (stop,) = verdict["communicators"]
    assert (verdict["kind"], verdict["ranks"], verdict["reason"]) == ("hang", [2], reason)
    assert (stop["collective"], stop["sequence"], stop["id"]) == ("all_reduce", 6, "0")
    assert stop["waiting_ranks"] == [0, 1, 3]


def test_the_briefing_of_a_hang_can_be_read_again(tmp_path):
    done = run("audit", EXAMPLES / "hang-stopped", "--out", "job", folder=tmp_path)
    page = (tmp_path / "job" / "briefing.html").read_text(encoding="utf-8")
    assert "HANG" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    assert len(done.out.splitlines()) <= 25
    assert "it waits for rank 2" in page
    question = call("whatif", "job", "--set", "rank=0:ideal", folder=tmp_path)
    assert question.code == 2
    assert "Traceback" not in question.err


def test_hosts_of_the_missing_are_named(tmp_path):
    hosts = tmp_path / "hosts.csv"
    hosts.write_text("rank,host\n0,a\n1,a\n2,node-b\n3,b\n")
    verdict = audit(EXAMPLES / "hang-stopped", tmp_path, "--hosts", hosts)["verdict"]
    assert verdict["hosts"] == ["node-b"]


def test_damaged_and_doubled_dumps_are_said(tmp_path):
    folder = tmp_path / "dumps"
    shutil.copytree(EXAMPLES / "hang-order", folder)
    (folder / "_dump_1").write_bytes((folder / "_dump_1").read_bytes()[:900])
    (folder / "again_2.pkl").write_bytes(pickle.dumps({"pg_config": {}, "entries": []}, protocol=2))
    document = audit(folder, tmp_path)
    texts = " ".join(caveat["text"] for caveat in document["caveats"])
    assert "_dump_1: not a pickle of plain values" in texts
    assert "again_2.pkl: left out" in texts or "_dump_2: left out" in texts
