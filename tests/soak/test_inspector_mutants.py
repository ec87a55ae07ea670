"""Damaged Inspector logs: a job with caveats or one typed error; never a traceback, never a hang."""

import os
import time
from collections import Counter

import pytest
from tests.couple.logged.written import inspector_lines, play
from tests.soak.hostile import MOST_SECONDS, mutant, places

from loadpath.audit.pipeline import couple_sources
from loadpath.audit.settings import Settings
from loadpath.errors import LoadpathError

JOB = play(n=4, steps=4, slow=1)
RECORDS = {
    age: "\n".join(
        line for rank in range(4) for line in inspector_lines(JOB, rank, age=age)
    ).encode()
    for age in ("4.0", "4.3", "plain")
}


def survive(path, content):
    """Read and couple a log of all processes; returns "tables" or the type of the error."""
    path.write_bytes(content)
    begin = time.process_time()
    try:
        couple_sources([path], Settings(), lambda _: None)
    except LoadpathError as error:
        said = str(error)
        assert path.name in said or "coupled graph" in said, said
        assert len(said) < 4000
        return type(error).__name__
    finally:
        assert time.process_time() - begin < MOST_SECONDS
    return "tables"


@pytest.mark.parametrize("age", RECORDS)
def test_some_mutants_and_cuts_of_logs_are_survived(age, tmp_path):
    survive(tmp_path / "a.log", RECORDS[age])  # kernels are compiled here
    answers = Counter(survive(tmp_path / "a.log", mutant(RECORDS[age], seed)) for seed in range(40))
    assert answers["tables"] > 0
    for place in places(RECORDS[age], 30):
        survive(tmp_path / "a.log", RECORDS[age][:place])


@pytest.mark.soak
@pytest.mark.parametrize("age", RECORDS)
def test_five_thousand_mutants_of_logs_are_survived(age, tmp_path):
    survive(tmp_path / "a.log", RECORDS[age])
    first = int(os.environ.get("LOADPATH_SOAK_SEED", "0"))
    answers = Counter(
        survive(tmp_path / "a.log", mutant(RECORDS[age], seed))
        for seed in range(first, first + 5000)
    )
    assert answers.total() == 5000
