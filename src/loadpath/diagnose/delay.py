r"""What becomes of a one-off delay: how much reaches the end, makes others wait, or is absorbed.

An op that is late by :math:`\delta` moves the end of its step by :math:`\max(0, \delta - s)`, with
:math:`s` its slack: the longest path through it grows by :math:`\delta`, all others stay. So the
share that reaches the end, :math:`\max(0, 1 - s/\delta)`, needs no further replay. What happens to
each *rank* does: delays are struck into recorded ops and replayed side by side.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob, CouplingGraph
from loadpath.diagnose.labels import compact, sum_by
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.places import rank_index
from loadpath.replay import (
    ScenarioLayout,
    Scenarios,
    Timeline,
    lay_out_scenarios,
    replay_scenarios,
    replay_weights,
    slack_ns,
    step_time_ns,
)
from loadpath.replay.timeline import TimeArray

__all__ = ["DELAY_RATIO", "Fate", "Loaded", "load_job", "own_work", "reaching", "strike"]

DELAY_RATIO = 0.01
"""Size of the delay that gains are stated for, as a share of the step; a stated policy."""
N_STRIKE = 64
"""Delays struck into every step, each in a replay of its own: two blocks of scenarios."""

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A job under some load, replayed.

    Attributes
    ----------
    job : CoupledJob
        The job.
    timeline : Timeline
        Its replay under the load.
    layout : ScenarioLayout
        For further scenarios.
    slack_ns : (n_op,) array of float64
        How much later each op may end without moving the end of a step.
    step_s : (n_step,) array of float64
        Step times.
    """

    job: CoupledJob
    timeline: Timeline
    layout: ScenarioLayout
    slack_ns: FloatArray
    step_s: FloatArray


@dataclass(frozen=True, slots=True)
class Fate:
    """What delays became of, summed over those struck into each step, in s.

    Attributes
    ----------
    struck_s : (n_step,) array of float64
        What was struck.
    own_s : (n_step,) array of float64
        By how much the struck ranks' own steps grew.
    others_s : (n_step,) array of float64
        By how much the steps of all other ranks grew: what they wait for.
    """

    struck_s: FloatArray
    own_s: FloatArray
    others_s: FloatArray


def load_job(job: CoupledJob, weight_ns: TimeArray) -> Loaded:
    """Replay a job under a load.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    weight_ns : (n_node + 1,) array
        Weights of its nodes under the load; they are kept.

    Returns
    -------
    Loaded
        Times, slack and layout.
    """
    timeline = replay_weights(job.graph, weight_ns, np.empty_like(weight_ns))
    return Loaded(
        job,
        timeline,
        lay_out_scenarios(job.graph, timeline),
        slack_ns(job.graph, timeline)[job.graph.end_node].astype(np.float64),
        np.asarray(step_time_ns(job.graph, timeline) / 1e9, np.float64),
    )


def own_work(job: CoupledJob, is_transfer: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say which ops are a rank's own work: neither transfers, nor markers, nor outside all steps.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    is_transfer : (n_op,) array of bool
        Members of communications.

    Returns
    -------
    (n_op,) array of bool
        Ops that a delay may strike.
    """
    works = (~job.op["kind"].is_in(["communicate", "marker"])).to_numpy() & ~is_transfer
    inside = np.isin(job.op["step"].to_numpy(), job.graph.step)
    return np.asarray(works & inside & (job.work_ns > 0))


def reaching(slack: FloatArray, delay_ns: float) -> FloatArray:
    """Share of a delay of each op that reaches the end of a step.

    Parameters
    ----------
    slack : (n_op,) array of float64
        Slack in ns.
    delay_ns : float
        Size of the delay; 0 for the limit of small ones.

    Returns
    -------
    (n_op,) array of float64
        In [0, 1].

    Examples
    --------
    >>> reaching(np.array([0.0, 5.0, 20.0]), 10.0).tolist()
    [1.0, 0.5, 0.0]
    """
    if delay_ns <= 0:
        return (slack <= 0).astype(np.float64)
    return np.clip(1 - slack / delay_ns, 0.0, 1.0)


def strike(
    loaded: Loaded, own: NDArray[np.bool_], step: IntArray, rng: np.random.Generator
) -> Fate:
    """Strike delays into every step, and see what becomes of them rank by rank.

    The op that is struck is drawn in proportion to its work: a delay hits whoever works.

    Parameters
    ----------
    loaded : Loaded
        Job under some load.
    own : (n_op,) array of bool
        Ops that may be struck.
    step : (n_op,) array of int64
        Entry of the graph's steps of each op.
    rng : numpy.random.Generator
        Source of the draws.

    Returns
    -------
    Fate
        Sums per step.

    References
    ----------
    .. [1] A. Afzal, G. Hager, G. Wellein, "Propagation and decay of injected one-off delays on
       clusters: a case study", IEEE CLUSTER 2019.
    """
    job, n_step = loaded.job, loaded.job.graph.step.size
    delay_ns = DELAY_RATIO * float(loaded.step_s.mean()) * 1e9
    op, scenario, weight = _draw(job, own, step, rng)
    by_rank, pair, pair_step = _by_rank(job)
    grown = _grown_s(loaded, by_rank, (op, scenario), delay_ns)
    of_step = np.zeros((n_step, grown.shape[1]))
    np.add.at(of_step, pair_step, grown)
    own_pair = pair[rank_index(job)[op] * n_step + step[op]]
    mine = sum_by(step[op], weight * grown[own_pair, scenario], n_step)
    everyone = sum_by(step[op], weight * of_step[step[op], scenario], n_step)
    struck = sum_by(step[op], weight * delay_ns / 1e9, n_step)
    return Fate(struck, mine, everyone - mine)


def _grown_s(
    loaded: Loaded,
    by_rank: CouplingGraph,
    struck: tuple[NDArray[np.intp], IntArray],
    delay_ns: float,
) -> FloatArray:
    """By how much the step of each rank grows in each scenario: (n_pair, n_scenario), in s."""
    op, scenario = struck
    n_scenario = int(scenario.max(initial=-1)) + 1
    group = np.zeros(loaded.job.n_op, np.int64)
    group[op] = scenario + 1
    delta = np.zeros(loaded.job.n_op)
    delta[op] = delay_ns
    scenarios = Scenarios(delta, group, np.eye(n_scenario + 1, n_scenario, -1))
    layout = replace(loaded.layout, stops=lay_out_scenarios(by_rank, loaded.timeline).stops)
    timed = replay_scenarios(by_rank, loaded.timeline, scenarios, layout=layout)
    before = step_time_ns(by_rank, loaded.timeline)
    return np.asarray((timed - before[:, None]) / 1e9)


def _draw(
    job: CoupledJob, own: NDArray[np.bool_], step: IntArray, rng: np.random.Generator
) -> tuple[NDArray[np.intp], IntArray, FloatArray]:
    """Draw ops of each step in proportion to their work: ops, their scenarios and their weights.

    All ops of a step where they are few, by their share of its work; else a systematic sample, in
    which a long op may be drawn more than once. Weights of a step sum to 1.
    """  # noqa: DOC201
    op = np.flatnonzero(own & (job.work_ns > 0))
    op = op[np.argsort(step[op], kind="stable")]
    work = job.work_ns[op].astype(np.float64)
    first = np.flatnonzero(np.diff(step[op], prepend=-1))
    size = np.diff(np.append(first, op.size))
    if not op.size:
        return op, np.zeros(0, np.int64), work
    whole = work / np.repeat(np.add.reduceat(work, first), size)
    few = np.repeat(size <= N_STRIKE, size)
    weight = np.where(few, whole, _hits(whole, first, size, rng) / N_STRIKE)
    chosen = np.flatnonzero(weight > 0)
    begins = np.flatnonzero(np.diff(step[op[chosen]], prepend=-1))
    place = np.arange(chosen.size) - np.repeat(begins, np.diff(np.append(begins, chosen.size)))
    return op[chosen], place, weight[chosen]


def _hits(
    share: FloatArray, first: IntArray, size: IntArray, rng: np.random.Generator
) -> NDArray[np.intp]:
    """How often a systematic sample of each long step hits each op, by its share of the step."""
    many = np.flatnonzero(size > N_STRIKE)
    reached = np.cumsum(share)  # a step ends at its number plus one, for its shares sum to 1
    point = many[:, None] + (np.arange(N_STRIKE) + rng.random((many.size, 1))) / N_STRIKE
    least, most = (np.repeat(end[many], N_STRIKE) for end in (first, first + size - 1))
    hit = np.clip(np.searchsorted(reached, point.ravel(), side="right"), least, most)
    return np.bincount(hit, minlength=share.size)


def _by_rank(job: CoupledJob) -> tuple[CouplingGraph, IntArray, IntArray]:
    """Make every step of every rank a step of its own.

    Returns the graph with the number of each pair ``rank * n_step + step`` and the step of each number.
    """  # noqa: DOC201
    graph, n_step = job.graph, job.graph.step.size
    rank = rank_index(job).astype(np.int64)
    begin = rank[graph.op[graph.begin_node]] * n_step + graph.begin_step
    end = rank[graph.op[graph.end_step_node]] * n_step + graph.end_step
    found = compact(np.concatenate([begin, end]))[0]
    number = np.zeros(job.rank.height * n_step, np.int64)
    number[found] = np.arange(found.size)
    by_rank = replace(
        graph,
        begin_step=number[begin].astype(np.int32),
        end_step=number[end].astype(np.int32),
        step=np.arange(found.size),
    )
    return by_rank, number, found % n_step
