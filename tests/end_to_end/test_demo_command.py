"""The commands that record: what they need, and what they say without it."""

import json
import sys
from types import SimpleNamespace

import pytest
from tests.end_to_end.commands import call, run

from loadpath.audit.demo import Demonstration, agrees, shipped_recording


def test_the_demonstration_needs_no_pytorch(tmp_path):
    done = run("demo", folder=tmp_path)
    assert done.code == 0, done.err
    assert "RANK - Rank 1" in done.out
    assert (tmp_path / "demo-audit" / "briefing.html").is_file()
    assert len(done.out.splitlines()) <= 25


def test_the_recording_that_ships_is_that_of_the_examples():
    assert sorted(path.name for path in shipped_recording().glob("rank*")) == [
        f"rank{rank}.json.gz" for rank in range(4)
    ]


def test_the_demonstration_as_json_has_no_truth_without_a_fault(tmp_path):
    told = json.loads(call("demo", "--json", folder=tmp_path).out)
    assert (told["verdict"]["ranks"], told["truth"], told["agrees"]) == ([1], {}, None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--fault", "fire"), "unknown fault 'fire'"),
        (("--fault", "link", "--ranks", "2"), "2 ranks: give 3 to 64"),
        (("--fault", "rank", "--place", "4"), "place 4 is no rank of 4"),
        (("--fault", "rank", "--python", "no-such-python"), "cannot be run with no-such-python"),
    ],
)
def test_what_cannot_be_run_is_a_wrong_call(words, said, tmp_path):
    done = call("demo", *words, folder=tmp_path)
    assert done.code == 2
    assert said in done.err


def test_a_job_without_pytorch_says_what_it_needs(tmp_path):
    pytest.importorskip("numpy")
    if call_finds_torch():
        pytest.skip("PyTorch is here")
    done = call("demo", "--fault", "none", "--python", sys.executable, folder=tmp_path)
    assert done.code == 2
    assert "It needs PyTorch" in done.err
    assert "Traceback" not in done.err


def call_finds_torch():
    from importlib.util import find_spec  # noqa: PLC0415 - only this test asks

    return find_spec("torch") is not None


def shown(kind, truth, **verdict):
    told = {"kind": kind, "ranks": [], "link": None, "gain_s": None} | verdict
    return Demonstration(SimpleNamespace(verdict=told), truth)  # type: ignore[arg-type]


RANK = {"fault": "rank", "ranks": [1], "lost_s": 0.1}
LINK = {"fault": "link", "ranks": [0, 3], "lost_s": 0.1}


@pytest.mark.parametrize(
    ("demonstration", "agreed"),
    [
        (shown("rank", RANK, ranks=[1], gain_s=0.109), True),
        (shown("rank", RANK, ranks=[1], gain_s=0.111), False),
        (shown("rank", RANK, ranks=[2], gain_s=0.1), False),
        (shown("host", RANK, ranks=[1], gain_s=0.1), False),
        (shown("link", LINK, ranks=[], link=[3, 0], gain_s=0.1), True),
        (shown("not_assessable", RANK), False),
        (shown("jitter", {"fault": "none"}), True),
        (shown("rank", {"fault": "none"}, ranks=[1]), False),
    ],
)
def test_a_demonstration_agrees_where_kind_place_and_milliseconds_do(demonstration, agreed):
    assert agrees(demonstration) is agreed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give either --pids or --slurm-job"),
        (("--pids", "1", "--slurm-job", "2"), "give either --pids or --slurm-job"),
        (("--pids", "one"), "'one' is no process"),
        (("--pids", "1", "--duration", "0"), "duration is above 0"),
        (("--pids", "1,1"), "a process stands twice"),
        (("--pids", "999999999"), "no process 999999999 runs on this host"),
        (("--pids", "1", "--steps", "-3"), "are not negative"),
        (("--slurm-job", "-2"), "are not negative"),
    ],
)
def test_a_capture_of_nothing_is_a_wrong_call(words, said, tmp_path):
    done = call("capture", "out", *words, folder=tmp_path)
    assert done.code == 2
    assert said in done.err


def test_recording_without_pytorch_or_with_wrong_options_is_a_wrong_call(tmp_path):
    import loadpath  # noqa: PLC0415 - beside the commands, the same door from Python

    with pytest.raises(loadpath.UsageError, match=r"level 'all' .*3 active steps do not fit"):
        loadpath.record(tmp_path / "out", level="all", every=4)
    if not call_finds_torch():
        with pytest.raises(loadpath.UsageError, match="PyTorch cannot be imported"):
            loadpath.record(tmp_path / "out")
    assert not (tmp_path / "out").exists()
