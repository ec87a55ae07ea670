import os
from pathlib import Path

import numpy as np
import pytest

import loadpath as lp
from loadpath.couple.trace import kernels
from loadpath.couple.trace.executions import number_shift


def reached(stream, edges, pairs):
    """Whether chains join pairs of ops that were launched in this order."""
    stream = np.array(stream, np.int32)
    previous = np.array(
        [max((j for j in range(i) if stream[j] == s), default=-1) for i, s in enumerate(stream)],
        np.int32,
    )
    edges = sorted(edges, key=lambda edge: edge[1])
    source, target = (np.array([e[k] for e in edges], np.int32) for k in (0, 1))
    begin, end = (np.array([p[k] for p in pairs], np.int32) for k in (0, 1))
    return kernels.reached(stream, previous, source, target, begin, end).tolist()


def test_a_chain_over_two_streams_joins_what_it_passes():
    # streams 0, 1, 2: op 1 (stream 1) waits for op 0, op 3 (stream 2) for op 2 (stream 1)
    stream, edges = [0, 1, 1, 2, 2, 0], [(0, 1), (2, 3)]
    joined = reached(stream, edges, [(0, 1), (0, 3), (0, 4), (1, 4), (3, 5), (4, 5)])
    assert joined == [True, True, True, True, False, False]


def test_an_earlier_op_of_a_stream_is_joined_with_the_later_one():
    assert reached([0, 0, 1], [(1, 2)], [(0, 2), (1, 2)]) == [True, True]
    assert reached([0, 0, 1], [(0, 2)], [(1, 2)]) == [False]


def test_numbers_are_shifted_to_where_names_agree():
    nodes = {1: "a", 2: "b", 3: "a", 4: "c"}
    names = np.array(["a", "b", "a", "c"], object)
    assert number_shift(np.array([3, 4, 5, 6]), names, nodes) == 2
    others = np.array(["d", "b", "e", "f"], object)
    assert number_shift(np.array([3, 4, 5, 6]), others, nodes) is None


def recording():
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    return Path(root) / "data" / "kineto-megatron-tp8"


def test_recorded_dependencies_between_streams_follow_from_inferred_couplings():
    found = lp.run_audit(recording(), brief=False)
    told = {caveat["code"]: caveat for caveat in found.document["caveats"]}
    assert told["execution_traces"]["count"] > 1000
    assert "0 are added" in told["execution_traces"]["text"]
    assert "execution_contradicted" not in told
    assert "not_kineto" not in told


def test_dependencies_stand_in_where_waits_between_streams_are_not_known(monkeypatch):
    from loadpath.couple.trace import job  # noqa: PLC0415

    none = np.empty(0, np.int32)
    monkeypatch.setattr(job, "known_crossings", lambda *_: (none, none))
    found = lp.run_audit(recording(), brief=False)
    told = {caveat["code"]: caveat for caveat in found.document["caveats"]}
    assert "0 are added" not in told["execution_traces"]["text"]
    assert told["execution_traces"]["text"].startswith("dependencies between streams")
