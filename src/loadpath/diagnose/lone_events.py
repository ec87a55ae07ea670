"""Events of single ranks: steps in which one rank takes far longer than noise makes any."""

import numpy as np
from numpy.typing import NDArray

from loadpath.diagnose.course import find_courses
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.significance import ALPHA
from loadpath.diagnose.tails import beyond_student, few_quantiles, log_normal_limit, tail_shape

__all__ = ["events_of_units", "exceeds_others", "lone_events", "smooth_courses", "stands_out"]

FEWEST = 8
"""Fewer steps have no law of noise that an event could be beyond; a stated policy."""
LONE_RATIO = 0.8
"""Share of all events that one unit must hold; the share that makes a cause the most specific one."""
FEWEST_TOP, MOST_TOP = 3, 50
"""Largest values that tell the tail of noise: a tenth of all, within these bounds."""
TAIL_SHAPES = (0.25, 1.0)
"""Shapes of tails between which noise is taken to lie; few values tell no tail lighter than an
exponential one; a policy."""
FEWEST_OF_SHAPE = 20
"""Fewer values have less than two beyond their 90th percentile, which tells no shape: an exponential
tail is taken; a policy."""
FLOOR_S = 1e-6
"""Excess below a microsecond a step is not told from none."""


def events_of_units(excess_s: FloatArray) -> NDArray[np.bool_]:
    r"""Find steps of a unit beyond what the noise of the other units has in 0.5 % of jobs.

    The limit is one of maxima, over units and steps. Of an exponential tail the k spacings below the
    largest value, the i-th times i, tell the scale of the gap above it: gap over scale exceeds g with
    the probability :math:`(1 + g/k)^{-k}`. Noise with a heavier tail is first raised to the power that
    makes its tail exponential; and where its upper half spreads farther than its lower, the limit is no
    nearer than that of a log-normal law. A unit noisier than most has its limit in proportion.

    Parameters
    ----------
    excess_s : (n_unit, n_step) array of float64
        Excess of each unit in each step.

    Returns
    -------
    (n_unit, n_step) array of bool
        Events; none under two units or `FEWEST` steps.

    References
    ----------
    .. [1] I. Weissman, "Estimation of parameters and large quantiles based on the k largest
       observations", Journal of the American Statistical Association 73, 1978.

    Examples
    --------
    >>> excess = np.random.default_rng(1).normal(size=(4, 20))
    >>> excess[2, 5] = 40.0
    >>> np.argwhere(events_of_units(excess)).tolist()
    [[2, 5]]
    """
    n_unit, n_step = excess_s.shape
    if n_unit < 2 or n_step < FEWEST:
        return np.zeros(excess_s.shape, np.bool_)
    off = excess_s - np.median(excess_s, axis=1, keepdims=True)
    # below the middle no event disturbs: how noisy a unit is, whatever strikes it
    calm = np.maximum(-np.minimum(off, 0.0).mean(axis=1), FLOOR_S)
    noisier = np.maximum(calm / np.quantile(calm, 0.5, method="lower"), 1.0)
    slow = exceeds_others(excess_s)
    limit = np.full(n_unit, np.inf)
    for unit in range(n_unit):
        others = ~slow
        others[unit] = False
        if others.any():
            limit[unit] = _limit(off[others].ravel()) * noisier[unit]
    return np.asarray(off > limit[:, None])


def exceeds_others(excess_s: FloatArray) -> NDArray[np.bool_]:
    """Say which units exceed the middle ones on the mean over steps (Student, family-wise 0.5 %).

    Parameters
    ----------
    excess_s : (n_unit, n_step) array of float64
        Excess of each unit in each of two steps or more.

    Returns
    -------
    (n_unit,) array of bool
        Units that are slow, if the noise of their steps is independent.
    """
    n_unit, n_step = excess_s.shape
    off = excess_s - np.median(excess_s, axis=0)
    error = np.maximum(off.std(axis=1, ddof=1) / np.sqrt(n_step), FLOOR_S)
    return beyond_student(off.mean(axis=1) / error, n_step - 1, ALPHA / n_unit)


def _limit(noise: FloatArray) -> float:
    """Place the limit that one value more of the same noise passes in 0.5 % of jobs.

    Noise may be heavier than an exponential law: as a stretched exponential one, whose spacings are
    told in the powers that make it exponential, or as a log-normal one. The farther limit holds. Few
    values tell no shape.
    """  # noqa: DOC201
    n_top = min(max(FEWEST_TOP, noise.size // 10), MOST_TOP, noise.size - 1)
    ordered = np.sort(noise)
    at_80, at_90 = few_quantiles(ordered, 0.8, 0.9)
    tells_shape = noise.size >= FEWEST_OF_SHAPE
    shape = tail_shape(at_80, at_90, TAIL_SHAPES) if tells_shape and at_80 > 0 else 1.0
    top = np.maximum(ordered[::-1][: n_top + 1], 0.0) ** shape
    scale = float((np.arange(1, n_top + 1) * -np.diff(top)).mean())
    gap = float(n_top * (ALPHA ** (-1 / n_top) - 1) * scale)
    stretched = float((top[0] + gap) ** (1 / shape))
    log_normal = log_normal_limit(ordered, ALPHA) if tells_shape else FLOOR_S
    return max(stretched, log_normal, float(ordered[-1]) + FLOOR_S, FLOOR_S)


def lone_events(excess_s: FloatArray) -> NDArray[np.bool_]:
    """Keep the events of the one unit that holds nearly all of them.

    Parameters
    ----------
    excess_s : (n_unit, n_step) array of float64
        Excess of each unit in each step.

    Returns
    -------
    (n_unit, n_step) array of bool
        Events of one unit; none where others have more than a fifth.
    """
    events = events_of_units(excess_s)
    held = np.where(events, excess_s, 0.0).sum(axis=1)
    return np.asarray(events & (held >= LONE_RATIO * held.sum())[:, None])


def stands_out(excess_s: FloatArray) -> NDArray[np.bool_]:
    """Keep the events of units that have nearly all of them, or exceed the others on the mean.

    Parameters
    ----------
    excess_s : (n_unit, n_step) array of float64
        Excess of each unit in each step.

    Returns
    -------
    (n_unit, n_step) array of bool
        Events that are faults of parts rather than noise of all.
    """
    events = events_of_units(excess_s)
    if not events.any():
        return events
    lone = lone_events(excess_s)
    return np.asarray(lone | (events & exceeds_others(excess_s)[:, None]))


def smooth_courses(
    excess_s: FloatArray, event: NDArray[np.bool_], step: NDArray[np.int64]
) -> FloatArray:
    """Give what each unit has of a drift, shift or period of its own, at a family-wise 0.5 %.

    Parameters
    ----------
    excess_s : (n_unit, n_step) array of float64
        Excess of each unit in each step over its peers', so that a course is the unit's own.
    event : (n_unit, n_step) array of bool
        Events, which are apart.
    step : (n_step,) array of int64
        Numbers of the steps.

    Returns
    -------
    (n_unit, n_step) array of float64
        Seconds about the unit's mean; 0 for units without such a course.
    """
    part = np.zeros(excess_s.shape)
    for unit, (excess, apart) in enumerate(zip(excess_s, event, strict=True)):
        calm = np.where(apart, np.median(excess), excess)
        for course in find_courses(calm, step, alpha=ALPHA / len(excess_s)):
            if course.name not in {"rare", "irregular"} and course.slow.any():
                part[unit] += course.part
    return part
