"""Options of traces: ranks that the files do not say, and parsed traces that are kept."""

import gzip
import json

import pytest
from tests.end_to_end.commands import call, run

from loadpath.ingest.kineto import parsed


@pytest.fixture
def unnamed(traces, tmp_path):
    """The traces under names without rank, and without distributedInfo."""
    folder = tmp_path / "unnamed"
    folder.mkdir()
    for rank, path in enumerate(sorted(traces.iterdir())):
        document = json.loads(gzip.decompress(path.read_bytes()))
        document.pop("distributedInfo")
        text = json.dumps(document).replace('"Rank"', '"other"')
        (folder / f"worker-{'abc'[rank]}.json").write_text(text, encoding="utf-8")
    return folder


def verdict(answer):
    assert answer.code == 0, answer.err
    document = json.loads(answer.out)
    return document["verdict"]["kind"], document["verdict"]["ranks"]


def test_traces_without_rank_are_refused_with_the_option_that_helps(unnamed, tmp_path):
    answer = call("audit", unnamed, "--json", folder=tmp_path)
    assert answer.code == 4
    assert "--ranks FILE=RANK" in answer.err


def test_ranks_are_told_file_by_file(unnamed, traces, tmp_path):
    told = [word for rank in range(3) for word in ("--ranks", f"worker-{'abc'[rank]}.json={rank}")]
    answer = call("audit", unnamed, *told, "--json", folder=tmp_path)
    assert verdict(answer) == verdict(call("audit", traces, "--json", folder=tmp_path))
    assert "--ranks worker-a.json=0" in json.loads(answer.out)["command"]


def test_ranks_are_told_by_a_table_beside_the_traces(unnamed, traces, tmp_path):
    table = unnamed / "ranks.csv"
    table.write_text("file,rank\nworker-a.json,0\nworker-b.json,1\nworker-c.json,2\n")
    answer = call("audit", unnamed, "--ranks", table, "--json", folder=tmp_path)
    assert verdict(answer) == verdict(call("audit", traces, "--json", folder=tmp_path))


def test_rank_that_is_no_number_is_a_wrong_call(unnamed, tmp_path):
    answer = call("audit", unnamed, "--ranks", "worker-a.json=first", "--json", folder=tmp_path)
    assert answer.code == 2
    assert "rank 'first' of worker-a.json" in answer.err


def test_audit_with_kept_traces_is_the_same_and_no_cache_keeps_none(traces, tmp_path, monkeypatch):
    monkeypatch.setattr(parsed, "LEAST_KEPT_BYTES", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    without = call("audit", traces, "--json", "--no-cache", folder=tmp_path)
    assert not (tmp_path / "cache").exists()
    answers = [call("audit", traces, "--json", folder=tmp_path) for _ in range(2)]
    assert len(list((tmp_path / "cache" / "loadpath").iterdir())) == 3
    assert [answer.out for answer in answers] == [without.out] * 2


def test_audit_without_a_home_keeps_nothing(traces, tmp_path):
    answer = run("audit", traces, "--json", folder=tmp_path, XDG_CACHE_HOME="/dev/null/cache")
    assert answer.code == 0
