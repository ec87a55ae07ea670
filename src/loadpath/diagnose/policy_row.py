"""Rows of the table of policies: what a policy returns, what it takes, and what that rests on."""

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.diagnose.footing import Footing
from loadpath.diagnose.labels import compact
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.resampling import mean_estimate
from loadpath.replay import Scenarios, replay_scenarios
from loadpath.tables.results import POLICY

__all__ = [
    "FREE",
    "Cost",
    "Row",
    "changed_steps_s",
    "goes_with_rank",
    "policy_row",
    "policy_rows",
    "unassessed",
]

Row = dict[str, Any]


class Cost(NamedTuple):
    """What a policy takes.

    Attributes
    ----------
    words : str
        In words.
    machines_ratio : float
        Machines with it, of those without.
    work_ratio : float
        Work that a step does with it, of what it does without.
    """

    words: str
    machines_ratio: float = 1.0
    work_ratio: float = 1.0


FREE = Cost("no machine and no work")


def policy_row(
    footing: Footing, policy: str, target: str, with_it_s: FloatArray, *, basis: str, cost: Cost
) -> Row:
    """Say what a policy returns.

    Parameters
    ----------
    footing : Footing
        The job without it.
    policy, target : str
        Which, and what it is applied to.
    with_it_s : (n_step,) array of float64
        Steps with it, in s.
    basis : str
        How they were got.
    cost : Cost
        What it takes.

    Returns
    -------
    dict
        Row of table `POLICY`.
    """
    before = footing.loaded.step_s
    gain = mean_estimate(before - with_it_s, footing.weights)
    mean, known = float(before.mean()), bool(np.isfinite(gain.low))
    taken = cost.machines_ratio / cost.work_ratio
    return {
        "policy": policy,
        "target": target,
        "step_s": float(with_it_s.mean()),
        "gain_s": gain.value,
        "gain_low_s": gain.low if known else None,
        "gain_high_s": gain.high if known else None,
        "gain_ratio": gain.value / mean if mean > 0 else None,
        "machines_ratio": cost.machines_ratio,
        "work_ratio": cost.work_ratio,
        "saving_ratio": 1 - float(with_it_s.mean()) / mean * taken if mean > 0 else None,
        "cost": cost.words,
        "basis": basis if known else f"{basis}; one step gives no interval",
        "missing": "",
    }


def unassessed(policy: str, target: str, missing: str) -> Row:
    """Say what is missing to assess a policy.

    Parameters
    ----------
    policy, target : str
        Which, and what it would be applied to.
    missing : str
        Input without which it is not assessed.

    Returns
    -------
    dict
        Row of table `POLICY`.
    """
    basis = f"not assessed: needs {missing}"
    words = {"policy": policy, "target": target, "cost": "", "basis": basis, "missing": missing}
    return dict.fromkeys(POLICY.schema) | words


def policy_rows(rows: list[Row]) -> pl.DataFrame:
    """Make a table of rows.

    Parameters
    ----------
    rows : list of dict
        Rows.

    Returns
    -------
    polars.DataFrame
        Table `POLICY`.
    """
    return POLICY.build(pl.DataFrame(rows, schema=POLICY.schema))


def goes_with_rank(footing: Footing) -> NDArray[np.bool_]:
    """Say which work goes where a rank goes: its own, but for writes that somebody must do.

    Parameters
    ----------
    footing : Footing
        The job.

    Returns
    -------
    (n_op,) array of bool
        True for own work other than checkpoints and files: a spare would write them as well.
    """
    stays = footing.job.op["kind"].is_in(["checkpoint", "storage"]).to_numpy()
    return np.asarray(footing.own & ~stays)


def changed_steps_s(
    footing: Footing, delta: FloatArray, group: NDArray[np.int64], scale: FloatArray
) -> FloatArray:
    """Replay counterfactuals of the recorded job side by side.

    Parameters
    ----------
    footing : Footing
        The job.
    delta : (n_op,) array of float64
        Change of the work of each op, in ns.
    group : (n_op,) array of int64
        Group of each op.
    scale : (n_group, n_scenario) array of float64
        How much of its change each group takes.

    Returns
    -------
    (n_step, n_scenario) array of float64
        Steps, in s.
    """
    used, number = compact(group)
    scenarios = Scenarios(delta, number, scale[used])
    loaded = footing.loaded
    timed = replay_scenarios(footing.job.graph, loaded.timeline, scenarios, layout=loaded.layout)
    return timed / 1e9
