"""Damaged execution traces: what is sound of them, with caveats; never a traceback, never a hang."""

import json
import os
import time
from collections import Counter

import pytest
from tests.ingest.execution_trace.test_chakra import NODES
from tests.ingest.execution_trace.test_nodes import new, old
from tests.ingest.execution_trace.written import chakra, jsonized
from tests.soak.hostile import MOST_SECONDS, mutant, places

from loadpath.ingest.execution_trace import is_execution_trace, read_execution_traces

MANY = [(number, *node[1:]) for number, node in enumerate(10 * NODES, 1)]
RECORDS = {
    "et_rank_0.json": json.dumps({
        "schema": "1.1.0", "pid": 1, "nodes": [form(*node[:5]) for form in (old, new) for node in MANY],
    }).encode(),
    "job.0.et": chakra(MANY),
    "chakra_rank_0.json": jsonized(MANY),
}  # fmt: skip


def survive(path, content):
    """Read a damaged trace; returns how it was told."""
    path.write_bytes(content)
    begin = time.process_time()
    told = is_execution_trace(path)
    found = read_execution_traces([path])
    assert (found.node["node"] >= 0).all()
    assert all(len(text) < 4000 for text in found.caveat["text"])
    assert time.process_time() - begin < MOST_SECONDS
    return "tables" if found.node.height and told else "caveats"


@pytest.mark.parametrize("name", RECORDS)
def test_some_mutants_and_cuts_of_execution_traces_are_survived(name, tmp_path):
    assert survive(tmp_path / name, RECORDS[name]) == "tables"
    answers = Counter(survive(tmp_path / name, mutant(RECORDS[name], seed)) for seed in range(100))
    assert answers["tables"] > 0
    for place in places(RECORDS[name], 60):
        survive(tmp_path / name, RECORDS[name][:place])


@pytest.mark.soak
@pytest.mark.parametrize("name", RECORDS)
def test_five_thousand_mutants_of_execution_traces_are_survived(name, tmp_path):
    first = int(os.environ.get("LOADPATH_SOAK_SEED", "0"))
    answers = Counter(
        survive(tmp_path / name, mutant(RECORDS[name], seed)) for seed in range(first, first + 5000)
    )
    assert answers.total() == 5000
    for place in places(RECORDS[name], 200):
        survive(tmp_path / name, RECORDS[name][:place])
