"""Noise that a whole step shares on a unit: how far it spoils shuffles, and a test against it."""

import numpy as np
from numpy.typing import NDArray

from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.significance import ALPHA
from loadpath.diagnose.tails import student_tail

__all__ = ["by_steps", "design_effect", "step_noise_p_values"]

ASIDE = ALPHA / 4
"""A unit that this test alone shows to be slow, by its share of the error rate (`any_of`)."""


def by_steps(excess: FloatArray, step: NDArray[np.int64]) -> FloatArray:
    """Sum blocks over the step that they are part of.

    Parameters
    ----------
    excess : (n_unit, n_block) array of float64
        Excess of each unit in each block.
    step : (n_block,) array of int64
        Step of each block, ascending from 0.

    Returns
    -------
    (n_unit, n_step) array of float64
        Sums.
    """
    first = np.flatnonzero(np.diff(step, prepend=-1))
    return np.asarray(np.add.reduceat(excess, first, axis=1))


def design_effect(excess: FloatArray, step: NDArray[np.int64]) -> float:
    """Say how much more the sums of steps vary than those of independent blocks would.

    Blocks that are parts of one step may share noise (a clock, a neighbour on the host). Shuffling
    them one by one then makes the noise of a sum look smaller than it is. The effect is that of
    the typical unit, so that a culprit, whose steps may differ, does not hide in its own spread.

    Parameters
    ----------
    excess : (n_unit, n_block) array of float64
        Excess of each unit in each block, in comparable units.
    step : (n_block,) array of int64
        Step of each block, ascending from 0.

    Returns
    -------
    float
        Ratio of variances, at least 1; 1 where blocks are steps, or there is but one step.

    References
    ----------
    .. [1] L. Kish, "Survey Sampling", Wiley, 1965, section 5.4.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> step = np.repeat(np.arange(8), 4)
    >>> shared = np.repeat(rng.normal(size=(6, 8)), 4, axis=1)
    >>> (
    ...     round(design_effect(rng.normal(size=(6, 32)), step), 1),
    ...     round(design_effect(shared, step), 1),
    ... )
    (1.1, 4.4)
    """
    centred = excess - np.median(excess, axis=0)
    sums = by_steps(centred, step)
    n_step, n_block = sums.shape[1], excess.shape[1]
    if n_step < 2 or n_step == n_block:
        return 1.0
    of_blocks = float(np.median(centred.var(axis=1, ddof=1))) * n_block / n_step
    of_steps = float(np.median(sums.var(axis=1, ddof=1)))
    return max(1.0, of_steps / of_blocks) if of_blocks > 0 else 1.0


def step_noise_p_values(
    excess: FloatArray, step: NDArray[np.int64], peers: NDArray[np.int64]
) -> FloatArray:
    """Probability that the noise of whole steps alone gives a unit so large an excess.

    Sums over a step are sums of many ops, so their law is taken as normal; their spread is that of
    the noisiest other unit. A unit is held against the middle of its peers, the lower one of two,
    so that half of them may be slow. Its largest block is left out: one slow op accuses nobody. Units
    found slow are set aside and the others tested again, so that the noise of one culprit, whose steps
    may differ, does not hide another.

    Parameters
    ----------
    excess : (n_unit, n_block) array of float64
        Excess of each unit in each block, in comparable units.
    step : (n_block,) array of int64
        Step of each block, ascending from 0.
    peers : (n_unit,) array of int64
        Group of units that do the same work.

    Returns
    -------
    (n_unit,) array of float64
        Family-wise p-values (Bonferroni); 1 under two steps or three units, and without a peer.

    Examples
    --------
    >>> excess = np.random.default_rng(1).normal(size=(5, 4))
    >>> excess[3] += 20.0
    >>> (step_noise_p_values(excess, np.arange(4), np.zeros(5, int)) < 0.001).tolist()
    [False, False, False, True, False]
    """
    sums = by_steps(excess - np.median(excess, axis=0), step)
    p = np.ones(len(sums))
    beyond = excess.sum(axis=1) - np.maximum(excess.max(axis=1), 0.0) - _middle(excess, peers)
    left = np.arange(p.size)
    while left.size > 2 and sums.shape[1] > 1:
        p[left] = _against_noisiest(beyond[left], sums[left])
        slow = p[left] <= ASIDE
        if not slow.any():
            break
        left = left[~slow]
    return p


def _against_noisiest(beyond: FloatArray, sums: FloatArray) -> FloatArray:
    """Test each unit's excess against the spread of the noisiest other one (Bonferroni)."""
    n_unit, n_step = sums.shape
    spread = sums.std(axis=1, ddof=1)
    noisiest = np.array([np.delete(spread, i).max() for i in range(n_unit)])
    t = beyond / np.maximum(noisiest * np.sqrt(2 * n_step), np.finfo(float).tiny)
    freedom = (n_unit - 2) * (n_step - 1)
    tails = np.array([student_tail(value, freedom) for value in t.tolist()])
    return np.asarray(np.minimum(1.0, n_unit * tails))


def _middle(excess: FloatArray, peers: NDArray[np.int64]) -> FloatArray:
    """Give each unit the lower median of its peers' totals; a lone unit is its own."""
    total = excess.sum(axis=1)
    middle: FloatArray = np.empty_like(total)
    for group in np.unique(peers):
        mine = peers == group
        middle[mine] = np.quantile(total[mine], 0.5, method="lower")
    return middle
