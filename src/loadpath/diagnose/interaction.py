r"""Causes that interact: what each contributes to what removing all of them returns.

Where removal (fix one in the measured job) and addition (put one into the ideal job) disagree, neither
is a fair share. The Shapley value is the mean of what a cause returns over all orders of removal;
the shares sum to what removing all returns.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import factorial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.couple.steps import windows
from loadpath.diagnose.judgement import Judged, Judgement
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.step_sample import StepSample
from loadpath.replay import Scenarios, replay, replay_scenarios, step_time_ns
from loadpath.tables.results import INTERACTION

__all__ = ["interaction_table", "shapley_values"]

Returns = Callable[[NDArray[np.bool_]], FloatArray]

MOST_EXACT = 6
"""Causes of which all sets are replayed: 64 sets, two blocks of scenarios."""
MOST_CAUSES = 12
"""Causes that are weighed against each other, the largest first."""
N_ORDER = 64
"""Orders drawn where there are more causes than `MOST_EXACT`."""


def interaction_table(
    sample: StepSample, judgement: Judgement | None, rng: np.random.Generator
) -> pl.DataFrame:
    """Share out what removing the top causes returns, where they interact.

    Parameters
    ----------
    sample : StepSample
        Steps that are replayed.
    judgement : Judgement or None
        Causes with their removals and additions.
    rng : numpy.random.Generator
        Source of the orders, where not all are taken.

    Returns
    -------
    polars.DataFrame
        Table `INTERACTION`; no rows where fewer than two causes are present, or removal and
        addition agree within the interval of the gain for all of them.
    """
    causes = _apart(judgement) if judgement else []
    if judgement is None or len(causes) < 2 or not any(_disagrees(c, judgement) for c in causes):
        return INTERACTION.empty()
    returned = _returned(sample, causes)
    exact = len(causes) <= MOST_EXACT
    values, errors = (
        shapley_values(len(causes), returned) if exact else _sampled(len(causes), returned, rng)
    )
    method = "exact" if exact else f"{N_ORDER} sampled orders"
    if sample.kept.size < sample.n_step:
        values, errors = _over_steps(values, errors)
        method += f", {sample.kept.size} of {sample.n_step:,} steps"
    waste = judgement.step_s - judgement.ideal_s
    return INTERACTION.build(
        {
            "key": [c.candidate.key for c in causes],
            "removal_s": [c.gain_s for c in causes],
            "addition_s": [c.addition_ratio * waste for c in causes],
            "shapley_s": values,
            "error_s": errors,
            "method": [method] * len(causes),
        }
    )


def _returned(sample: StepSample, causes: Sequence[Judged]) -> Returns:
    """Say how to replay sets of causes; of a large job, each of the steps that are looked at."""
    whole = sample.kept.size == sample.n_step
    changes = [_of_sample(sample, cause) for cause in causes]

    def returned(removed: NDArray[np.bool_]) -> FloatArray:
        scale = np.vstack([removed.T, np.zeros(len(removed))]).astype(np.float64)
        saved = np.concatenate(
            [_saved_ns(few, changes, scale, part) for part, few in windows(sample.job)]
        )
        return np.asarray(saved.mean(axis=0) if whole else saved.T) / 1e9

    return returned


def _of_sample(sample: StepSample, cause: Judged) -> tuple[NDArray[np.integer], FloatArray]:
    """Ops of a cause among those of the sample, and what removing it changes: a row for each run."""
    op, rows = cause.candidate.op, np.atleast_2d(cause.candidate.change_ns)
    place = np.minimum(np.searchsorted(sample.op, op), sample.op.size - 1)
    here = sample.op[place] == op
    return place[here], (rows[sample.kept] if len(rows) > 1 else rows)[:, here]


def _saved_ns(
    job: CoupledJob,
    changes: Sequence[tuple[NDArray[np.integer], FloatArray]],
    scale: FloatArray,
    part: slice,
) -> FloatArray:
    """By how much each step is shorter in each scenario, of some runs: (n_step, n_scenario)."""
    n_run = part.stop - part.start
    group = np.full((n_run, job.n_op // n_run), len(changes), np.int64)
    delta = np.zeros(group.shape)
    for number, (op, by_ns) in enumerate(changes):
        group[:, op] = number
        delta[:, op] = by_ns[part] if len(by_ns) > 1 else by_ns
    base = replay(job.graph, job.work_ns.astype(np.float64))
    scenarios = Scenarios(delta.ravel(), group.ravel(), scale)
    before = step_time_ns(job.graph, base)[:, None]
    saved: FloatArray = before - replay_scenarios(job.graph, base, scenarios)
    return saved


def _over_steps(by_step: FloatArray, errors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean of shares over steps, and its standard error with that of the orders."""
    error = by_step.std(axis=1, ddof=1) / np.sqrt(by_step.shape[1])
    return by_step.mean(axis=1), np.hypot(error, errors)


def _apart(judgement: Judgement) -> list[Judged]:
    """Causes that are present and sit on different ops, the largest first; of a set its members."""
    present = [c for c in judgement.causes if c.state in {"verdict", "present"}]
    inside = {key for c in present for key in c.candidate.members}
    present = [c for c in present if not c.candidate.members]
    held = {id(c) for c in present}  # causes hold arrays, which cannot be compared as one
    present += [c for c in judgement.causes if c.candidate.key in inside and id(c) not in held]
    n_op = max((int(c.candidate.op.max(initial=-1)) for c in present), default=-1) + 1
    taken = np.zeros(n_op, np.bool_)
    chosen = []
    for cause in sorted(present, key=lambda c: (-c.gain_s, c.candidate.key)):
        if np.isfinite(cause.addition_ratio) and not taken[cause.candidate.op].any():
            taken[cause.candidate.op] = True
            chosen.append(cause)
    return chosen[:MOST_CAUSES]


def _disagrees(cause: Judged, judgement: Judgement) -> bool:
    """Whether removal and addition differ by more than the gain's interval is wide to a side."""
    waste = judgement.step_s - judgement.ideal_s
    return abs(cause.gain_s - cause.addition_ratio * waste) > (cause.high_s - cause.low_s) / 2


def shapley_values(n: int, returned: Returns) -> tuple[FloatArray, FloatArray]:
    r"""Share out a total over all sets of n players.

    .. math:: \phi_i = \sum_{S \not\ni i} \frac{|S|! (n - |S| - 1)!}{n!} (v(S \cup i) - v(S))

    Parameters
    ----------
    n : int
        Players.
    returned : callable
        Value of each set: takes (n_set, n) bools, gives (n_set,) numbers, or (n_set, n_step).

    Returns
    -------
    values : (n,) or (n, n_step) array of float64
        Shares, which sum to the value of all.
    errors : (n,) array of float64
        Zeros.

    References
    ----------
    .. [1] L. S. Shapley, "A value for n-person games", Contributions to the Theory of Games II,
       1953.

    Examples
    --------
    Two causes either of which alone costs the whole second:

    >>> shapley_values(2, lambda sets: sets.all(axis=1).astype(float))[0].tolist()
    [0.5, 0.5]
    """
    sets = (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1
    value = returned(sets)
    size = sets.sum(axis=1)
    weight = np.array([factorial(k) * factorial(max(0, n - k - 1)) for k in range(n + 1)])
    share = weight / factorial(n)
    values = np.zeros((n, *value.shape[1:]))
    for i in range(n):
        without = np.flatnonzero(~sets[:, i])
        gain = value[without + 2**i] - value[without]
        values[i] = (share[size[without]] * gain.T).sum(axis=-1)
    return values, np.zeros(n)


def _sampled(n: int, returned: Returns, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Mean of what each cause returns over orders drawn at random, and its standard error."""
    orders = np.array([rng.permutation(n) for _ in range(N_ORDER)])
    sets = np.zeros((N_ORDER, n + 1, n), np.bool_)
    for step in range(n):
        sets[:, step + 1] = sets[:, step]
        sets[np.arange(N_ORDER), step + 1, orders[:, step]] = True
    found, place = np.unique(sets.reshape(-1, n), axis=0, return_inverse=True)
    value = returned(found)[place.reshape(N_ORDER, n + 1)]
    gain = np.empty((N_ORDER, n, *value.shape[2:]))
    for step, (before, after) in enumerate(pairwise(range(n + 1))):
        gain[np.arange(N_ORDER), orders[:, step]] = value[:, after] - value[:, before]
    by_order = gain.reshape(N_ORDER, n, -1).mean(axis=2)
    return gain.mean(axis=0), by_order.std(axis=0, ddof=1) / np.sqrt(N_ORDER)
