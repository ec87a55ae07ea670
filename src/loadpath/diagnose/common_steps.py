"""Steps that are slow for all ranks together: what ranks have in common, no peer can show."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.candidate import Candidate
from loadpath.diagnose.course import Course, find_courses
from loadpath.diagnose.labels import compact, joint_code, place_in_group, sum_by
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.medians import medians_by_run

__all__ = ["CommonPart", "common_candidates", "common_parts", "course_name"]

TOGETHER_RATIO = 0.25
"""What all but this share of the ranks take longer counts as common; a stated policy."""
FOLLOWS = 0.5
FLOOR_S = 1e-6
"""Steps that differ by less than the resolution of clocks are alike."""


@dataclass(frozen=True, slots=True)
class CommonPart:
    """What ops of all ranks take longer in some steps.

    Attributes
    ----------
    course : Course
        Which steps, and how they follow each other.
    part_ns : (n_op,) or (n_run, n_op) array of float64
        Time of each op beyond what it takes in the other steps, as its peers do in the same step.
    """

    course: Course
    part_ns: FloatArray


@dataclass(frozen=True, slots=True)
class _Series:
    """Ops that every step has, one row for each step.

    Attributes
    ----------
    op : (n_series,) array of int64
        One op of each series; all ops in their order where each run has the same ones.
    at : (n_step, n_series) array of int64, or None
        Ops of the series; None where each run has the same ones.
    cell : (n_series,) array of int32
        Series of all ranks that do the same thing.
    rank : (n_series,) array of int32
        Rank of each, from 0.
    """

    op: NDArray[np.int64]
    at: NDArray[np.int64] | None
    cell: NDArray[np.int32]
    rank: NDArray[np.int32]

    def rows(self, work_ns: FloatArray) -> FloatArray:
        """Work of each series in each step."""
        return work_ns if self.at is None else work_ns[self.at]

    def spread(self, rows: FloatArray, like: FloatArray) -> FloatArray:
        """Give each op what its series has in its step; 0 to ops of no series."""
        part = np.zeros_like(like)
        part[(slice(None), self.op) if self.at is None else self.at] = rows
        return part


def common_parts(job: CoupledJob, work_ns: FloatArray) -> tuple[CommonPart, ...]:
    """Find steps in which all ranks take longer than in the others, and what each op has of it.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    work_ns : (n_op,) or (n_run, n_op) array of float64
        Its work.

    Returns
    -------
    tuple of CommonPart
        One for each course that is beyond chance; none where one rank is recorded.
    """
    series = _series(job)
    if not series.op.size or job.rank.height < 2:
        return ()
    rows = series.rows(work_ns)
    off = _off_s(series, rows)
    together = np.quantile(off, TOGETHER_RATIO, axis=1, method="lower")
    if np.ptp(together) < FLOOR_S:
        return ()
    parts: list[CommonPart] = []
    for course in find_courses(together, job.step_number):
        # where some steps are faster nobody loses
        if not course.slow.any() or not _is_shared(course, off):
            continue
        mine = _part_of(course, series, rows, job.step_number)
        rows = rows - mine
        part = np.minimum(series.spread(mine, work_ns), work_ns)
        parts.append(CommonPart(course, part))
    return tuple(parts)


def common_candidates(job: CoupledJob, parts: tuple[CommonPart, ...]) -> list[Candidate]:
    """Make candidates of what is common to all ranks in some steps.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    parts : tuple of CommonPart
        Result of `common_parts`.

    Returns
    -------
    list of Candidate
        Place all; the mechanism is the course.
    """
    found = []
    for part in parts:
        has = part.part_ns.any(axis=0) if part.part_ns.ndim > 1 else part.part_ns != 0
        op = np.flatnonzero(has).astype(np.int32)
        found.append(
            Candidate(
                kind="jitter",
                place="all",
                mechanism=part.course.name,
                key=f"all ranks together, {course_name(part.course, job.step_number)}",
                op=op,
                change_ns=-part.part_ns[..., op],
                significant=True,
                specificity=3,
                ranks=tuple(job.rank["rank"].to_list()),
                course=part.course,
            )
        )
    return found


def course_name(course: Course, step: NDArray[np.int64]) -> str:
    """Say in words which steps a course has.

    Parameters
    ----------
    course : Course
        The course.
    step : (n_step,) array of int64
        Numbers of the steps.

    Returns
    -------
    str
        Such as ``every 5th step``.

    Examples
    --------
    >>> steps = np.arange(100, 110)
    >>> course_name(Course("rare", steps == 103, 9.0 * (steps == 103)), steps)
    'step 103'
    >>> course_name(Course("shift", steps >= 103, 9.0 * (steps >= 103)), steps)
    'steps 103 to 109'
    """
    slow = step[course.slow].tolist()
    if course.name == "drift":
        return f"more in each step from {slow[0]} to {slow[-1]}"
    if course.name == "shift":
        return f"steps {slow[0]} to {slow[-1]}" if len(slow) > 1 else f"step {slow[0]}"
    if course.name == "periodic":
        n = int(np.count_nonzero(course.slow[: course.period]))
        every = f"every {_ordinal(course.period)} step"
        return every if n == 1 else f"{n} steps of every {course.period}"
    if len(slow) == 1:
        return f"step {slow[0]}"
    return f"steps {', '.join(map(str, slow[:3]))}" + (
        f" and {len(slow) - 3} more" if len(slow) > 3 else ""
    )


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in {11, 12, 13} else ending}"


def _series(job: CoupledJob) -> _Series:
    """Follow ops from step to step: those of a class of a rank, by their order in the step."""
    rank = compact(job.op["rank"].to_numpy())[1]
    op_class = compact(job.op["op_class"].to_physical().to_numpy())[1]
    stage = np.where(job.op["communicator"].to_numpy() >= 0, -1, job.op["stage"].to_numpy())
    step = job.op["step"].to_numpy()
    step = np.zeros_like(step) if job.runs is not None else step
    turn = place_in_group(joint_code(rank, op_class, step), job.op["start_ns"].to_numpy())
    cell = compact(joint_code(op_class, stage, turn))[1]
    if job.runs is not None:
        every = np.arange(job.n_op)
        return _Series(every, None, cell, rank)
    return _across_steps(joint_code(rank, op_class, turn), (cell, rank), (step, job.step_number))


def _across_steps(
    code: NDArray[np.int64],
    labels: tuple[NDArray[np.int32], NDArray[np.int32]],
    steps: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> _Series:
    """Gather the ops of each series in the order of the steps; those that miss a step are left out."""
    step, known = steps
    number = compact(code)[1]
    inside = np.isin(step, known)
    n = np.bincount(number[inside], minlength=int(number.max(initial=-1)) + 1)
    mine = np.flatnonzero(inside & (n[number] == known.size))
    order = mine[np.lexsort((step[mine], number[mine]))]
    at = np.ascontiguousarray(order.reshape(-1, known.size).T) if known.size else order[None, :0]
    first = at[0]
    return _Series(first, at, compact(labels[0][first])[1], compact(labels[1][first])[1])


def _off_s(series: _Series, rows: FloatArray) -> FloatArray:
    """By how much each rank's work deviates from its median over steps: (n_step, n_rank), in s."""
    n_rank = int(series.rank.max()) + 1
    total = np.array([sum_by(series.rank, row, n_rank) for row in rows]) / 1e9
    return np.asarray(total - np.median(total, axis=0))


def _is_shared(course: Course, off_s: FloatArray) -> bool:
    """Say whether all but a quarter of the ranks follow a course by half at least.

    The least that ranks deviate may follow one rank alone: where it is faster than usual.
    """  # noqa: DOC201
    part = course.part - course.part.mean()
    follows = part @ off_s / float((part * part).sum())
    return bool(np.quantile(follows, TOGETHER_RATIO, method="lower") >= FOLLOWS)


def _part_of(
    course: Course, series: _Series, rows: FloatArray, step: NDArray[np.int64]
) -> FloatArray:
    """Give each series what it has of a course: the middle of its peers, one value for equal steps."""
    if course.name == "drift":
        at = step - step.mean()
        slope = at @ rows / float((at * at).sum())
        since = step - (step[0] if course.slope > 0 else step[-1])
        return np.asarray(since[:, None] * _middle(series, slope[None])[0])
    usual = np.median(rows[~course.slow], axis=0)
    part = np.zeros_like(rows)
    for mine in _alike(course):
        beyond = rows[mine] - usual
        if course.name != "rare":
            beyond = beyond.mean(axis=0, keepdims=True)
        part[mine] = _middle(series, beyond)
    return part


def _alike(course: Course) -> list[NDArray[np.intp]]:
    """Slow steps that are alike: those of one phase of a period."""
    slow = np.flatnonzero(course.slow)
    if course.name != "periodic":
        return [slow]
    return [slow[slow % course.period == phase] for phase in np.unique(slow % course.period)]


def _middle(series: _Series, rows: FloatArray) -> FloatArray:
    """Median over the ranks that do the same thing, in each row."""
    n_cell = int(series.cell.max()) + 1
    return np.asarray(medians_by_run(series.cell, rows, n_cell)[:, series.cell])
