"""The same run with failures drawn at random, or laid over replayed steps: checks on expectation."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loadpath.errors import UsageError
from loadpath.forecast.reliability import Accounting, Failures, best_interval_s

__all__ = ["draw_runs", "replay_run"]

Array = NDArray[np.float64]
MOST_FAILURES = 1_000_000


def draw_runs(
    work_s: float, mttf_s: float, failures: Failures, rng: np.random.Generator, *, n_run: int = 1000
) -> Accounting:
    """Draw failures of many runs and account for each.

    Parameters
    ----------
    work_s : float
        Productive time that a run needs.
    mttf_s : float
        Mean time between failures, which arrive without memory.
    failures : Failures
        Costs of checkpoints and recovery, which may fail too.
    rng : numpy.random.Generator
        Source of randomness.
    n_run : int
        Runs.

    Returns
    -------
    Accounting
        Arrays of shape (n_run,).

    Raises
    ------
    UsageError
        If runs would hardly ever end: the time between failures is far below that of a checkpoint.
    """
    interval = _interval_s(work_s, mttf_s, failures)
    segment = interval + failures.checkpoint_s
    left = np.full(n_run, work_s)
    blocked, discarded, unavailable, clock = np.zeros((4, n_run))
    while np.any(left > 0):
        runs = np.flatnonzero(left > 0)
        until = rng.exponential(mttf_s, len(runs))
        n_left = left[runs] / interval
        whole = np.minimum(np.floor(until / segment), np.ceil(n_left))
        needed = left[runs] + n_left * failures.checkpoint_s
        ends = until >= needed
        blocked[runs] += np.where(ends, n_left, whole) * failures.checkpoint_s
        discarded[runs] += np.where(ends, 0.0, until - whole * segment)
        left[runs] = np.where(ends, 0.0, left[runs] - whole * interval)
        failed = runs[~ends]
        away = _recoveries(float(failures.recovery_s), mttf_s, rng, len(failed))
        unavailable[failed] += away
        clock[runs] += np.where(ends, needed, until)
        clock[failed] += away
    return Accounting(np.full(n_run, work_s), blocked, discarded, unavailable, clock)


def _interval_s(work_s: float, mttf_s: float, failures: Failures) -> float:
    """Give the work between checkpoints, and refuse runs that would hardly ever end."""
    interval = min(float(failures.interval_s or best_interval_s(mttf_s, failures)), work_s)
    segment = interval + failures.checkpoint_s
    expected = work_s / interval * np.expm1(min(segment / mttf_s, 700.0)) if mttf_s else np.inf
    if expected * np.exp(min(failures.recovery_s / mttf_s, 700.0)) > MOST_FAILURES:
        what = "runs: a failure comes long before a checkpoint is written; no run would end."
        raise UsageError(f"{what} Shorten the checkpoint or make failures rarer.")
    return interval


def _recoveries(recovery_s: float, mttf_s: float, rng: np.random.Generator, n: int) -> Array:
    """Time until a recovery ends that no further failure broke off."""
    times = np.zeros(n)
    open_ = np.arange(n)
    while len(open_):
        until = rng.exponential(mttf_s, len(open_))
        times[open_] += np.minimum(until, recovery_s)
        open_ = open_[until < recovery_s]
    return times


def replay_run(
    step_s: ArrayLike, failure_at_s: ArrayLike, failures: Failures, checkpoint_every: int
) -> Accounting:
    """Lay failures over the steps of a replayed run.

    Parameters
    ----------
    step_s : array_like, shape (n_step,)
        Replayed times of the steps that the run needs.
    failure_at_s : array_like
        When failures happen, since the start of the run; those after its end do not.
    failures : Failures
        Costs of checkpoints and recovery.
    checkpoint_every : int
        Steps between checkpoints; the last step is followed by one too.

    Returns
    -------
    Accounting
        One run: arrays of shape ().

    Examples
    --------
    Ten steps of 1 s, a checkpoint of 0.5 s after every fifth, one failure at 7 s:

    >>> cost = Failures(0, checkpoint_s=0.5, recovery_s=3)
    >>> run = replay_run([1.0] * 10, [7.0], cost, 5)
    >>> [
    ...     float(part)
    ...     for part in (run.productive_s, run.blocked_s, run.discarded_s, run.unavailable_s)
    ... ]
    [10.0, 1.0, 1.5, 3.0]
    """
    steps = np.asarray(step_s, dtype=np.float64)
    starts = range(0, len(steps), checkpoint_every)
    checkpoint = float(failures.checkpoint_s)
    segments = [float(steps[a : a + checkpoint_every].sum()) + checkpoint for a in starts]
    pending = sorted(float(at) for at in np.asarray(failure_at_s, dtype=np.float64).ravel())
    now = discarded = unavailable = 0.0
    recovery = float(failures.recovery_s)
    for segment in segments:
        while pending and pending[0] < now + segment:
            at = pending.pop(0)
            discarded += at - now
            now = back = at + recovery
            while pending and pending[0] < back:
                again = pending.pop(0)
                now = back = again + recovery
            unavailable += now - at
        now += segment
    blocked = len(segments) * failures.checkpoint_s
    parts = (steps.sum(), blocked, discarded, unavailable, now)
    return Accounting(*(np.asarray(part, dtype=np.float64) for part in parts))
