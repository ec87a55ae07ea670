"""Dumps of a job that runs: nobody hangs because he was at work when they were made."""

import json
import os
import shutil
from pathlib import Path

import pytest
from tests.end_to_end.commands import call

EXAMPLES = Path(__file__).parents[2] / "examples"
MS = 1_000_000
EPOCH = 1_795_000_000_000_000_000


def entry(number, at, *, ended):
    return {
        "process_group": ["0", "default_pg"],
        "pg_id": 0,
        "profiling_name": "nccl:all_reduce",
        "collective_seq_id": number,
        "time_created_ns": EPOCH + at * MS,
        "state": "completed" if ended else "scheduled",
        "retired": ended,
        "input_sizes": [[8]],
        "output_sizes": [[8]],
        "input_dtypes": ["Float"],
    }


@pytest.fixture
def dumps(tmp_path):
    """Dumps of two ranks that meet every 20 ms; rank 1 has not come to the eighth, whose peer waits."""
    folder = tmp_path / "dumps"
    folder.mkdir()
    for rank, last in ((0, 8), (1, 7)):
        made = [entry(n, 20 * n + rank, ended=n < 8) for n in range(1, last + 1)]
        about = {
            "version": "2.10",
            "pg_config": {"0": {"name": "0", "desc": "default_pg", "ranks": "[0, 1]"}},
        }
        (folder / f"fr_rank{rank}.json").write_text(json.dumps({**about, "entries": made}))
    return folder


def audited(folder, written=None):
    for path in folder.iterdir() if written is not None else ():
        os.utime(path, ns=(0, EPOCH + written * MS))
    answer = call("audit", folder, "--json", "--no-cache", folder=folder.parent)
    assert answer.code == 0, answer.err
    return json.loads(answer.out)["verdict"]


def test_dumps_written_within_the_usual_time_between_calls_show_no_standstill(dumps):
    found = audited(dumps, written=161)
    assert (found["kind"], found["ranks"], found["communicators"]) == ("not_assessable", [], [])
    assert "Not stopped as far as the dumps tell" in found["summary"]
    assert "Dump again" in found["summary"]


@pytest.mark.parametrize("written", [190, 10_000, 100])
def test_dumps_written_later_or_on_another_clock_show_a_hang(written, dumps):
    found = audited(dumps, written)
    assert (found["kind"], found["ranks"]) == ("hang", [1])


@pytest.mark.parametrize("name", ["hang-stopped", "hang-order"])
def test_a_rank_without_a_dump_or_with_another_call_hangs_whenever_it_was_written(name, tmp_path):
    shutil.copytree(EXAMPLES / name, tmp_path / "dumps")
    for path in (tmp_path / "dumps").iterdir():
        os.utime(path, ns=(0, 0))
    assert audited(tmp_path / "dumps")["kind"] == "hang"


@pytest.mark.parametrize("lost", [0, 3, 9])
@pytest.mark.parametrize("damage", [b"\0\0", None])
def test_a_damaged_dump_accuses_nobody(damage, lost, tmp_path):
    if "LOADPATH_DATA" not in os.environ:
        pytest.skip("LOADPATH_DATA names no folder")
    source = Path(os.environ["LOADPATH_DATA"]) / "data/flight-recorder/gpu_error_2nd"
    for path in source.glob("_dump_*"):
        shutil.copy(path, tmp_path)
    path = tmp_path / f"_dump_{lost}"
    path.write_bytes(path.read_bytes()[:300] if damage is None else damage)
    found = audited(tmp_path)
    assert (found["kind"], found["ranks"]) == ("hang", [rank for rank in (9, 14) if rank != lost])
    assert f"how far rank {lost} came cannot be read" in found["summary"]


def test_a_dump_of_json_that_ends_early_accuses_nobody(dumps):
    path = dumps / "fr_rank1.json"
    text = path.read_text()
    path.write_text(text[: text.index('"collective_seq_id": 5')])
    found = audited(dumps)
    assert found["kind"] == "not_assessable"
    assert found["undumped_ranks"] == []
