"""Damaged files of an OTF2 trace: tables with caveats or one error that names a file of it."""

import time
from collections import Counter

import pytest
from tests.ingest.otf2.written import stencil, task_solver, team_solver
from tests.soak.hostile import MOST_SECONDS, mutant, places

from loadpath.audit.pipeline import couple_recording
from loadpath.errors import LoadpathError
from loadpath.ingest.otf2 import read_otf2

FILES = ("traces.otf2", "traces.def", "traces/1.def", "traces/1.evt")
NAMED = ("traces.otf2", ".def", ".evt", "coupled graph")


def survive(anchor, path, content):
    """Read and couple a trace with one damaged file; returns "tables" or the type of the error."""
    path.write_bytes(content)
    begin = time.process_time()
    try:
        couple_recording(read_otf2(anchor))
    except LoadpathError as error:
        said = str(error)
        assert any(name in said for name in NAMED), said
        assert len(said) < 4000, said[:200]
        return type(error).__name__
    finally:
        assert time.process_time() - begin < MOST_SECONDS
    return "tables"


@pytest.fixture(params=["ranks", "threads", "tasks"])
def trace(tmp_path, request):
    def work(rank, lane, turn):
        return 1000 + (37 * turn + 11 * rank + 5 * lane) % 23

    made = {
        "ranks": lambda: stencil(n_turn=4),
        "threads": lambda: team_solver(work, n_turn=4),
        "tasks": lambda: task_solver(lambda _, turn: (100 + turn, 300, 500), n_rank=1, mpi=False),
    }[request.param]()
    anchor = made.write(tmp_path)
    couple_recording(read_otf2(anchor))
    return anchor


def survey(anchor, name, damage):
    path = anchor.parent / name
    sound = path.read_bytes()
    answers = Counter(survive(anchor, path, content) for content in damage(sound))
    assert set(answers) <= {"tables", "InputError", "StructureError"}
    path.write_bytes(sound)
    return answers


@pytest.mark.parametrize("name", FILES)
def test_some_mutants_are_survived(name, trace):
    answers = survey(trace, name, lambda sound: (mutant(sound, seed) for seed in range(40)))
    assert answers.total() == 40


@pytest.mark.parametrize("name", FILES)
def test_some_cuts_are_survived(name, trace):
    survey(trace, name, lambda sound: (sound[:place] for place in places(sound, 20)))


@pytest.mark.soak
@pytest.mark.parametrize("name", FILES)
def test_thousands_of_mutants_are_survived(name, trace):
    answers = survey(trace, name, lambda sound: (mutant(sound, seed) for seed in range(5000)))
    assert answers["tables"] + answers["InputError"] + answers["StructureError"] == 5000


@pytest.mark.soak
@pytest.mark.parametrize("name", FILES)
def test_each_cut_is_survived(name, trace):
    survey(trace, name, lambda sound: (sound[:place] for place in range(len(sound))))
