"""Damaged exports of Nsight Systems: tables or one typed error; never a traceback, never a hang."""

import os
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.ingest.nsys.written import trace_events, write_export
from tests.soak.hostile import MOST_SECONDS, mutant, places

from loadpath.errors import LoadpathError
from loadpath.ingest.nsys import read_nsys
from loadpath.testing import make_job, write_kineto


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    traces = Path(write_kineto(make_job(1, recorder="kineto", dp=2, steps=2), folder / "traces"))
    write_export(folder / "a_rank0.sqlite", trace_events(min(traces.glob("*.json*"))))
    read_nsys([folder / "a_rank0.sqlite"])
    return (folder / "a_rank0.sqlite").read_bytes()


def survive(path, content):
    """Read a damaged export; returns "tables" or the type of the error."""
    path.write_bytes(content)
    begin = time.process_time()
    try:
        read_nsys([path])
    except LoadpathError as error:
        said = str(error)
        assert path.name in said, said
        assert len(said) < 4000
        return type(error).__name__
    finally:
        assert time.process_time() - begin < MOST_SECONDS
    return "tables"


def test_some_mutants_and_cuts_of_exports_are_survived(sound, tmp_path):
    path = tmp_path / "a_rank0.sqlite"
    answers = Counter(survive(path, mutant(sound, seed)) for seed in range(60))
    assert answers["tables"] > 0
    for place in places(sound, 40):
        survive(path, sound[:place])


@pytest.mark.soak
def test_five_thousand_mutants_of_exports_are_survived(sound, tmp_path):
    first = int(os.environ.get("LOADPATH_SOAK_SEED", "0"))
    path = tmp_path / "a_rank0.sqlite"
    answers = Counter(survive(path, mutant(sound, seed)) for seed in range(first, first + 5000))
    assert answers.total() == 5000
