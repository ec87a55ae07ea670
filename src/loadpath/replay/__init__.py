"""Replay: a coupled graph and durations give a timeline, and counterfactual durations another.

`timeline` runs a graph once and exactly, `scenarios` runs many counterfactuals side by side, `runs`
the steps of a job whose steps are coupled alike,
`slack` says what may be late without harm, and which path may not. All compiled loops are in
`kernels`.
"""

from loadpath.replay.runs import Change, Mixture, replay_changes, replay_runs
from loadpath.replay.scenarios import (
    ScenarioLayout,
    Scenarios,
    lay_out_scenarios,
    replay_scenarios,
)
from loadpath.replay.slack import critical_path, last_predecessor, slack_ns
from loadpath.replay.timeline import (
    Timeline,
    begin_apart,
    node_weights_ns,
    op_end_ns,
    op_ready_ns,
    op_start_ns,
    replay,
    replay_weights,
    step_bounds_ns,
    step_time_ns,
)

__all__ = [
    "Change",
    "Mixture",
    "ScenarioLayout",
    "Scenarios",
    "Timeline",
    "begin_apart",
    "critical_path",
    "last_predecessor",
    "lay_out_scenarios",
    "node_weights_ns",
    "op_end_ns",
    "op_ready_ns",
    "op_start_ns",
    "replay",
    "replay_changes",
    "replay_runs",
    "replay_scenarios",
    "replay_weights",
    "slack_ns",
    "step_bounds_ns",
    "step_time_ns",
]
