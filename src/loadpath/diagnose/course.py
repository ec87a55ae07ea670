"""Courses: how an excess lies over the steps of a job, told from the noise of the other steps."""

from dataclasses import dataclass
from math import lgamma, log
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.significance import ALPHA
from loadpath.diagnose.tails import beyond_student, student_tail, tail_limit

__all__ = ["COURSES", "Course", "find_courses", "main_course"]

COURSES = ("rare", "periodic", "drift", "shift", "irregular")
RARE_RATIO = 0.1
"""Events in more than this share of the steps (and more than one) are not rare; a stated policy."""
FEWEST = 8
"""Fewer steps show no course; a stated policy, as for everything that needs a law of noise."""
MOST_PERIOD = 1024
"""Longer periods are not looked for; a stated policy."""
N_SHUFFLE, FIRST_SHUFFLES = 999, 99
"""Shuffles that a period must stand out from, for the steps' law need not be normal; after 99 it may be given up."""
TAIL_SHAPES = (0.25, 1.0)
"""Shapes of tails between which that of steps is taken to lie; few steps tell no tail lighter than an
exponential one; a policy."""
MOST_FREEDOM = 200
"""With more degrees of freedom Student's law is the normal one."""
HALF = 0.5


@dataclass(frozen=True, slots=True)
class Course:
    """How an excess lies over steps.

    Attributes
    ----------
    name : {"rare", "periodic", "drift", "shift", "irregular"}
        Single steps; every so many steps; a little more in each step; all steps before or after one;
        many single steps.
    slow : (n_step,) array of bool
        Steps that hold it; all of a drift, none where the others are but faster.
    period : int
        Steps from one slow step to the next; 0 where it is not periodic.
    slope : float
        What a drift adds from one step to the next, in the unit of the series; 0 for other courses.
    part : (n_step,) array of float64
        What of the series is in the course, about its median.
    """

    name: str
    slow: NDArray[np.bool_]
    part: FloatArray
    period: int = 0
    slope: float = 0.0


def find_courses(
    value: FloatArray, step: NDArray[np.int64], *, alpha: float = ALPHA
) -> tuple[Course, ...]:
    """Find in what courses a series has steps that differ from the others beyond chance.

    Rare events are found first and left out of the rest, then a trend, then a period.

    Parameters
    ----------
    value : (n_step,) array of float64
        The series.
    step : (n_step,) array of int64
        Numbers of the steps, ascending; unless they are evenly spaced there is no period.
    alpha : float
        Probability with which noise may show a trend, or a period.

    Returns
    -------
    tuple of Course
        Courses; none under `FEWEST` steps.

    Examples
    --------
    >>> steps = np.arange(40)
    >>> noise = np.random.default_rng(1).normal(size=40)
    >>> [c.name for c in find_courses(noise + 50 * (steps == 5), steps)]
    ['rare']
    >>> [(c.name, c.period) for c in find_courses(noise + 20 * (steps % 5 == 0), steps)]
    [('periodic', 5)]
    >>> [(c.name, round(c.slope)) for c in find_courses(noise + 2.0 * steps, steps)]
    [('drift', 2)]
    >>> find_courses(noise, steps)
    ()
    """
    if value.size < FEWEST:
        return ()
    off = value - float(np.median(value))
    event = _events(off)
    few = bool(event.sum() <= max(1, RARE_RATIO * off.size))
    # events at equal distances may be a period, of which they are a part
    for kept in (event & few & (not _is_regular(event)), event & few):
        found = _rare(off, kept, "rare") + _smooth(np.where(kept, 0.0, off), step, alpha)
        if found:
            return found
    return _rare(off, event, "irregular")


def main_course(value: FloatArray, step: NDArray[np.int64]) -> Course | None:
    """Find the course that holds most of an excess.

    Parameters
    ----------
    value : (n_step,) array of float64
        The excess in each step.
    step : (n_step,) array of int64
        Numbers of the steps, ascending.

    Returns
    -------
    Course or None
        The course; None where no step differs from the others beyond chance, or where an excess is in
        all steps, and only its size follows a course.
    """
    found = [course for course in find_courses(value, step) if _holds(value, course)]
    return max(found, key=lambda course: float((course.part**2).sum()), default=None)


def _holds(value: FloatArray, course: Course) -> bool:
    """Say whether steps outside a course have less than half of the excess of those in it."""
    if course.name == "drift":
        return bool(np.ptp(course.part) >= abs(value.mean()))
    slow = course.slow
    return bool(slow.any() and value[~slow].mean() < HALF * value[slow].mean())


def _rare(off: FloatArray, event: NDArray[np.bool_], name: str) -> tuple[Course, ...]:
    """Course of single steps, some of which may be faster than the others."""
    return (Course(name, event & (off > 0), np.where(event, off, 0.0)),) if event.any() else ()


def _smooth(rest: FloatArray, step: NDArray[np.int64], alpha: float) -> tuple[Course, ...]:
    """Trend and period of what is no rare event."""
    trend = _trend(rest, step, alpha)
    line = trend[0].part if trend else np.zeros(rest.size)
    even = np.unique(np.diff(step)).size == 1
    period = _period(rest - line, alpha) if even else 0
    if not period:
        return trend
    phase = np.arange(rest.size) % period
    mean = (np.bincount(phase, rest - line) / np.bincount(phase))[phase]
    return (*trend, Course("periodic", _stands_out(mean), mean - mean.mean(), period=period))


def _events(off: FloatArray) -> NDArray[np.bool_]:
    """Find steps beyond what the largest of as many would be by chance.

    Chance is Student's law of the spread of all steps (the median absolute deviation tells it half as
    well as a variance would), and the tail of the other steps, a stretched exponential through their
    80th and 90th percentiles: both must rule them out.
    """  # noqa: DOC201
    least = 1e-9 * float(np.abs(off).max(initial=0.0))
    t = np.abs(off) / max(1.4826 * float(np.median(np.abs(off))), least, 1e-300)
    beyond = t > NormalDist().inv_cdf(1 - ALPHA / (2 * off.size))
    freedom = min(off.size // 2, MOST_FREEDOM)
    beyond[beyond] = beyond_student(t[beyond], freedom, ALPHA / (2 * off.size))
    for side in (off, -off):  # laws of steps are seldom symmetric
        others = np.maximum(side[~beyond & (side >= 0)], least)
        chance = ALPHA * others.size / off.size
        beyond &= (side < 0) | (side > tail_limit(others, chance, TAIL_SHAPES))
    return beyond


def _is_regular(event: NDArray[np.bool_]) -> bool:
    """Say whether three events or more come at equal distances, with none missing at the ends."""
    at = np.flatnonzero(event)
    if at.size < 3 or np.unique(np.diff(at)).size > 1:
        return False
    period = int(at[1] - at[0])
    return bool(at[0] < period and event.size - at[-1] <= period)


def _trend(value: FloatArray, step: NDArray[np.int64], alpha: float) -> tuple[Course, ...]:
    """Find a drift, or a shift from one step on, whichever fits a series better.

    It is beyond chance by Student's law (0.5 %; of a shift over all places that it may have), with no
    more independent steps than the correlation of the rest leaves.

    References
    ----------
    .. [1] G. V. Bayley, J. M. Hammersley, "The 'effective' number of independent observations in an
       autocorrelated time series", Supplement to the Journal of the Royal Statistical Society 8, 1946.
    """  # noqa: DOC201
    if np.ptp(value) <= 0:
        return ()
    off, at = value - value.mean(), step - step.mean()
    slope = float((at * off).sum() / (at * at).sum())
    line, levels = slope * at, _two_levels(off)
    is_line = ((off - line) ** 2).sum() < ((off - levels) ** 2).sum()
    fit, n_place = (line, 1) if is_line else (levels, value.size)
    if _chance_of(off, fit) * n_place >= alpha:
        return ()
    if is_line:
        return (Course("drift", np.ones(value.size, np.bool_), fit, slope=slope),)
    return (Course("shift", fit > 0, fit),)


def _two_levels(off: FloatArray) -> FloatArray:
    """Fit one mean before and one after the place that leaves least of a series of mean 0."""
    n = np.arange(1, off.size)
    before = np.cumsum(off)[:-1]
    gain = before**2 / n + before**2 / (off.size - n)
    cut = int(gain.argmax()) + 1
    levels = np.where(np.arange(off.size) < cut, off[:cut].mean(), off[cut:].mean())
    return np.asarray(levels)


def _chance_of(off: FloatArray, fit: FloatArray) -> float:
    """Probability that noise alone is fitted so well, its neighbours being correlated."""
    rest = off - fit
    left, taken = float((rest**2).sum()), float((fit**2).sum())
    rho = _correlation(rest)
    freedom = int(off.size * (1 - rho) / (1 + rho)) - 2
    if freedom < 1:
        return 1.0
    t = float(np.sqrt(freedom * taken / left)) if left > 1e-12 * taken else 1e6
    return 2 * student_tail(min(t, 1e6), freedom)


def _period(rest: FloatArray, alpha: float) -> int:
    r"""Find the whole number of steps in which a series repeats itself.

    Folded at a period of P steps, white noise of n steps keeps a share of its variance in the means
    of the phases that follows a beta law of (P - 1)/2 and (n - P)/2. The least probable share over
    all periods is held against that of the shuffled series. What neighbours have in common is taken
    out first.

    References
    ----------
    .. [1] R. A. Fisher, "Tests of significance in harmonic analysis", Proceedings of the Royal
       Society A 125, 1929; folding: C. H. D. Buys-Ballot, 1847.
    """  # noqa: DOC201
    off = rest - rest.mean()
    white = off.copy()
    white[1:] -= _correlation(off) * off[:-1]
    tried = np.arange(2, min(rest.size // 2, MOST_PERIOD) + 1)
    if not tried.size or np.ptp(rest) <= 1e-9 * np.abs(rest).max():
        return 0
    found = _improbability(white[None], tried)[:, 0]
    # a normal law is asked first: it takes a thousandth of the time
    if found.max() < log(tried.size / alpha) or not _beats_shuffles(
        white, tried, float(found.max())
    ):
        return 0
    # multiples of a period hold all that it holds; of equals the shortest is meant
    return int(tried[found >= found.max() - 1e-9].min())


def _correlation(off: FloatArray) -> float:
    """Correlation of neighbours, none below 0."""
    total = float((off**2).sum())
    rho = float((off[1:] * off[:-1]).sum()) / total if total > 0 else 0.0
    return min(max(rho, 0.0), 0.95)


def _improbability(rows: FloatArray, tried: NDArray[np.int64]) -> FloatArray:
    """Negative log of the chance (first term of its tail) of each row's share at each period."""
    found = np.empty((tried.size, len(rows)))
    for place, period in enumerate(tried.tolist()):
        n = rows.shape[1] - rows.shape[1] % period
        a, b = (period - 1) / 2, (n - period) / 2
        share = np.clip(_folded_share(rows[:, :n], period), 1e-12, 1 - 1e-12)
        law = lgamma(a) + lgamma(b) - lgamma(a + b) + log(b)
        found[place] = law - b * np.log1p(-share) - (a - 1) * np.log(share)
        found[place, share <= a / (a + b)] = 0.0
    return found


def _folded_share(rows: FloatArray, period: int) -> FloatArray:
    """Share of each row's variance that the means of its phases have."""
    total = rows.var(axis=1)
    folded = rows.reshape(len(rows), -1, period).mean(axis=1).var(axis=1)
    share = np.divide(folded, total, out=np.zeros(len(rows)), where=total > 0)
    return np.asarray(share)


def _beats_shuffles(white: FloatArray, tried: NDArray[np.int64], found: float) -> bool:
    """Say whether no period of a shuffled series is as improbable."""
    rng = np.random.default_rng(0)  # the answer may not depend on who asks
    n_reach = n_done = 0
    for n in (FIRST_SHUFFLES, N_SHUFFLE - FIRST_SHUFFLES):
        rows = rng.permuted(np.broadcast_to(white, (n, white.size)), axis=1)
        n_reach += int((_improbability(rows, tried).max(axis=0) >= found - 1e-9).sum())
        n_done += n
        if (1 + n_reach) / (1 + N_SHUFFLE) >= ALPHA:
            return False
    return (1 + n_reach) / (1 + n_done) < ALPHA


def _stands_out(mean: FloatArray) -> NDArray[np.bool_]:
    """Find steps of the phases that stand out by more than half of what the highest does."""
    above = mean - np.quantile(mean, HALF, method="lower")
    return np.asarray(above > HALF * above.max())
