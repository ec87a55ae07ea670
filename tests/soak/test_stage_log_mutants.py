"""Damaged stage logs: a job with caveats or one typed error; never a traceback, never a hang."""

import os
import time
from collections import Counter

import pytest
from tests.audit.stage_logs import stage_log
from tests.soak.hostile import MOST_SECONDS, mutant, places

from loadpath.audit.pipeline import couple_recording
from loadpath.errors import LoadpathError
from loadpath.ingest.stage_log import is_stage_log, read_stage_logs

LOG = stage_log("forward", steps=6)
RECORDS = {"stages.csv": LOG.write_csv().encode(), "stages.jsonl": LOG.write_ndjson().encode()}


def survive(path, content):
    """Read and couple a damaged log; returns "tables" or the type of the error."""
    path.write_bytes(content)
    begin = time.process_time()
    try:
        is_stage_log(path)
        job = couple_recording(read_stage_logs([path])).job
        assert (job.work_ns >= 0).all()
    except LoadpathError as error:
        said = str(error)
        assert path.name in said or "stage log" in said, said
        assert len(said) < 4000
        return type(error).__name__
    finally:
        assert time.process_time() - begin < MOST_SECONDS
    return "tables"


@pytest.mark.parametrize("name", RECORDS)
def test_some_mutants_and_cuts_of_stage_logs_are_survived(name, tmp_path):
    survive(tmp_path / name, RECORDS[name])  # kernels are compiled here
    answers = Counter(survive(tmp_path / name, mutant(RECORDS[name], seed)) for seed in range(60))
    assert answers["tables"] > 0
    for place in places(RECORDS[name], 40):
        survive(tmp_path / name, RECORDS[name][:place])


@pytest.mark.soak
@pytest.mark.parametrize("name", RECORDS)
def test_five_thousand_mutants_of_stage_logs_are_survived(name, tmp_path):
    survive(tmp_path / name, RECORDS[name])
    first = int(os.environ.get("LOADPATH_SOAK_SEED", "0"))
    answers = Counter(
        survive(tmp_path / name, mutant(RECORDS[name], seed)) for seed in range(first, first + 5000)
    )
    assert answers.total() == 5000
    for place in places(RECORDS[name], 200):
        survive(tmp_path / name, RECORDS[name][:place])
