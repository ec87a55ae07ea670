"""Phases of a step: forward, backward and update, as far as the record tells them."""

from dataclasses import replace

import pytest
from tests.diagnose.peer_jobs import coupled
from tests.diagnose.small_jobs import communicate, compute

from loadpath.couple.graph import EdgeKind
from loadpath.diagnose.phases import PHASES, op_phases

NODE = "autograd::engine::evaluate_function: MmBackward0"


def traced(backward_lane):
    """Return one rank's trace, each host op with its kernel, and a second rank that meets it."""
    host = [
        ("ProfilerStep", 0),
        ("aten::mm", 0),
        (NODE, backward_lane),
        ("aten::mm", backward_lane),
    ]
    ops = [compute(0, 10, name, lane=lane) for name, lane in host]
    ops.append(compute(0, 10, "Optimizer.step#Adam.step", lane=0, kind="optimise"))
    launched = len(ops)
    ops += [compute(0, 5, f"kernel {k}", lane=2) for k in range(launched)]
    ops += [communicate(0, 5, lane=2), communicate(1, 5, lane=2)]
    mechanism = ["host"] * launched + ["device"] * launched + ["communication"] * 2
    edges = [(k, launched + k, EdgeKind.LAUNCH) for k in range(launched)]
    edges += [(1, 2, EdgeKind.DATA), (3, 4, EdgeKind.DATA)]
    job = coupled(ops, [(2 * launched, 2 * launched + 1)], edges=edges, op={"mechanism": mechanism})
    return replace(job, source="kineto")


def named(job):
    return [PHASES[phase] for phase in op_phases(job)]


def test_what_a_thread_of_autograd_launches_is_backward():
    host = ["forward", "forward", "backward", "backward", "update"]
    assert named(traced(backward_lane=1)) == [*host, *host, "other", "other"]


def test_one_thread_does_not_tell_forward_from_backward():
    host = ["other"] * 4 + ["update"]
    assert named(traced(backward_lane=0)) == [*host, *host, "other", "other"]


@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("forward-recv", "forward"),
        ("params-all-gather", "forward"),
        ("backward-compute", "backward"),
        ("grads-reduce-scatter", "update"),
        ("layernorm-grads-all-reduce", "update"),
        ("optimizer-clip-main-grad", "update"),
        ("gc", "update"),
        ("something", "other"),
    ],
)
def test_op_types_of_a_table_name_their_phase(name, phase):
    job = coupled([compute(0, 1, name), communicate(0, 1), communicate(1, 1)], [(1, 2)])
    assert named(job)[0] == phase
