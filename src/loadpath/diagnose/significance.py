"""Tests against the job's own noise: whether an excess lies where it does by chance."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose import group_kernels
from loadpath.diagnose.labels import compact, joint_code, numbered
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.medians import medians, medians_by_run, reduced
from loadpath.diagnose.tails import poisson_tail

__all__ = [
    "ALPHA",
    "Cells",
    "cells_by_unit",
    "exchange_p_values",
    "is_intermittent",
    "shares_workload",
    "worth_judging",
]

ALPHA = 0.005
"""Family-wise error rate of each test; a stated policy, checked on null jobs."""
SHOWN = 3
"""Units that are kept for the record although they lie within the noise."""
MOST_UNITS = 64
"""Significant units judged one by one."""

BLOCKS_WANTED = 32
"""A job of few steps is cut into about this many blocks; one block is one draw of the noise."""
WORKLOAD_Z = 5.0
"""Standard deviations beyond which unequal microbatches are no chance."""
WORKLOAD_P = 0.001
"""Probability below which outliers that meet are no chance."""
OUTLIER = 6.0
"""An outlier exceeds its class by this many median absolute deviations."""
N_DRAW, FIRST_DRAWS = 399, 99
"""Shuffles of one test, the fewest that can reach `ALPHA` twice over; after 99 it may be given up."""
GIVE_UP = 0.05
"""A test whose p-value is above this is ended; the units left are within the noise too."""
MOST_BLOCKS = 512
"""More blocks than these are shuffled in runs of neighbours: the cost stays flat."""
CELLS_AT_ONCE = 250_000
"""Random numbers that are held at one time."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Excess of units (ranks or communicators) in blocks of the job.

    Attributes
    ----------
    unit : (n_unit,) array of int
        Unit numbers, ascending.
    excess_s : (n_unit, n_block) array of float64
        Seconds of work beyond the peers' level.
    step : (n_block,) array of int
        Step that each block is part of, counted from 0.
    """

    unit: NDArray[np.int64]
    excess_s: FloatArray
    step: NDArray[np.int64]


def cells_by_unit(job: CoupledJob, unit: NDArray[np.int32], residual_ns: FloatArray) -> Cells:
    """Sum residuals over units and blocks.

    A block is a step, or a part of one (by order of a unit's ops) where steps are few.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    unit : (n_op,) array of int32
        Unit of each op, negative for none.
    residual_ns : (n_op,) or (n_run, n_op) array of float64
        Work less level, in ns.

    Returns
    -------
    Cells
        Sums; 0 where a unit has no op in a block.
    """
    n_part = -(-BLOCKS_WANTED // max(1, job.step_number.size))
    mine = np.flatnonzero(unit >= 0)
    units, row = compact(unit[mine])
    residual = np.take(residual_ns, mine, axis=-1)
    if n_part == 1 and job.runs is not None and mine.size:
        total = reduced(np.add, row, residual, units.size).T / 1e9
        return Cells(units, np.ascontiguousarray(total), np.arange(job.n_run))
    row = np.tile(row.astype(np.int64), job.n_run)
    steps, column = compact(_step_of_each(job)[..., mine].ravel())
    column = column.astype(np.int64)
    if n_part > 1:
        start = job.start_ns[..., mine].ravel()
        column = column * n_part + _parts(row * steps.size + column, start, n_part)
    blocks, block = compact(column)
    cell = row * blocks.size + block
    n_block = max(blocks.size, 1)
    total = np.bincount(cell, residual.ravel() / 1e9, minlength=units.size * n_block)
    excess = total.astype(np.float64).reshape(units.size, n_block)
    return Cells(units, excess, (blocks if blocks.size else np.zeros(1, np.int64)) // n_part)


def _step_of_each(job: CoupledJob) -> NDArray[np.int64]:
    """Step number of every op, of each run."""
    if job.runs is None:
        return job.op["step"].to_numpy()
    return np.broadcast_to(job.step_number[:, None], job.start_ns.shape)


def _parts(group: NDArray[np.int64], start: NDArray[np.int64], n_part: int) -> NDArray[np.int64]:
    """Cut each group, in the order of starts, into parts of as many members."""
    order = np.lexsort((start, group))
    first = np.flatnonzero(np.diff(group[order], prepend=-1))
    size = np.diff(np.append(first, group.size))
    place = np.arange(group.size) - np.repeat(first, size)
    part = np.empty(group.size, np.int64)
    part[order] = place * n_part // np.repeat(size, size)
    return part


def exchange_p_values(
    excess: FloatArray,
    rng: np.random.Generator,
    *,
    peers: NDArray[np.int64] | None = None,
    inflation: float = 1.0,
) -> FloatArray:
    """Probability that chance alone gives some unit as large a total excess.

    If no unit is special, its cells could as well belong to any other unit of the same block. The
    largest total over units is compared with the largest after shuffling units within each block;
    units found special are set aside and the others tested again, so that one culprit does not
    hide another. Units go by their peers that are left: held against a culprit they would lie far
    below all others, and make these look slow.

    Parameters
    ----------
    excess : (n_unit, n_block) array of float64
        Excess of each unit in each block, in comparable units.
    rng : numpy.random.Generator
        Source of the shuffles.
    peers : (n_unit,) array of int64, optional
        Group of units that do the same work: the error of a group's level is common to its units
        and must not make all of them look slow. All do if left out.
    inflation : float
        Variance of a sum of blocks over that of independent ones (`design_effect`).

    Returns
    -------
    (n_unit,) array of float64
        Family-wise p-values; 1 for a lone unit, which has no peer.

    References
    ----------
    .. [1] P. H. Westfall, S. S. Young, "Resampling-Based Multiple Testing", Wiley, 1993.
    .. [2] J. Besag, P. Clifford, "Sequential Monte Carlo p-values", Biometrika 78, 1991: a test that
       is ended early only where it cannot be significant keeps its level.

    Examples
    --------
    >>> excess = np.zeros((4, 20))
    >>> excess[2] = 1.0
    >>> p = exchange_p_values(excess, np.random.default_rng(0))
    >>> int(p.argmin()), bool(p[2] < 0.01), bool(p[0] > 0.5)
    (2, True, True)
    """
    excess = _in_runs(excess)
    n_unit, n_block = excess.shape
    group = compact(np.zeros(n_unit, np.int64) if peers is None else peers)[1]
    has_peer = np.bincount(group)[group] > 1
    p = np.ones(n_unit)
    left = np.arange(n_unit)
    reached = 0.0
    while left.size > 1 and n_block:
        rest = _within(excess[left], group[left], has_peer[left])
        best = int(rest.sum(axis=1).argmax())
        reached = max(reached, _largest_by_chance(rest, rng, inflation))
        p[left[best]] = reached
        if reached > GIVE_UP:
            break
        left = np.delete(left, best)
    return p


def _within(
    excess: FloatArray, peers: NDArray[np.int32], has_peer: NDArray[np.bool_]
) -> FloatArray:
    """Give each unit's excess over the mean of its peers.

    A lone unit has none to go by; one whose peers are all set aside goes by the mean of all that
    are left.
    """  # noqa: DOC201
    within = excess.copy()
    for group in np.unique(peers):
        mine = peers == group
        if mine.sum() > 1:
            within[mine] -= excess[mine].mean(axis=0)
        elif has_peer[mine].all():
            within[mine] -= excess.mean(axis=0)
    return within - np.median(within, axis=0)


def _in_runs(excess: FloatArray) -> FloatArray:
    """Sum neighbouring blocks, where there are very many: what spans blocks stays together."""
    n_block = excess.shape[1]
    if n_block <= MOST_BLOCKS:
        return excess
    first = np.arange(MOST_BLOCKS) * n_block // MOST_BLOCKS
    return np.asarray(np.add.reduceat(excess, first, axis=1))


def _largest_by_chance(cells: FloatArray, rng: np.random.Generator, inflation: float) -> float:
    """Estimate how often the largest total of shuffled units reaches the largest there is.

    Most units are far within the noise: a few draws tell, and only the others get all of them.
    """  # noqa: DOC201
    tolerance = 1e-9 * np.abs(cells).sum(axis=1).max()
    limit = cells.sum(axis=1).max() / inflation**0.5 - tolerance
    by_block = np.ascontiguousarray(cells.T)
    n_reach = n_done = 0
    for n in (FIRST_DRAWS, N_DRAW - FIRST_DRAWS):
        for uniform in _uniforms(by_block.size, n, rng):
            n_reach += int(group_kernels.count_reaching(by_block, uniform, limit))
        n_done += n
        if (1 + n_reach) / (1 + n_done) > GIVE_UP:
            break
    return (1 + n_reach) / (1 + n_done)


def _uniforms(n_cell: int, n_draw: int, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Draw uniform numbers for shuffles, a few shuffles at a time so that memory stays small."""
    at_once = min(n_draw, max(1, CELLS_AT_ONCE // n_cell))
    room = np.empty((at_once, n_cell))
    for first in range(0, n_draw, at_once):
        yield rng.random(out=room[: min(at_once, n_draw - first)])


def shares_workload(job: CoupledJob, relative: FloatArray) -> bool:
    """Say whether ops that share a microbatch are slow together, beyond chance.

    Relative residuals of one microbatch are compared between neighbouring stages (between forward
    and backward where there is one stage), in two ways. Many microbatches a little unequal: the
    products of neighbours are symmetric about 0 without a common cause, so their sum over its root
    sum of squares is a standard normal variable. Few that are very unequal: outliers of one stage
    meet outliers of the next as often as a Poisson variable of their independent rate.

    Parameters
    ----------
    job : CoupledJob
        Coupled job with microbatches.
    relative : (n_op,) or (n_run, n_op) array of float64
        Residual over level of each computation, 0 elsewhere.

    Returns
    -------
    bool
        True if either is beyond chance.
    """
    cells = _microbatch_cells(job, relative)
    even, out = _oddness(cells)
    order = np.argsort(cells.key, kind="stable")
    follows = np.flatnonzero(cells.key[order[1:]] == cells.key[order[:-1]])
    later, before = order[follows + 1], order[follows]
    if not later.size:
        return False
    product = even[..., later] * even[..., before]
    spread = float(np.sqrt((product**2).sum()))
    if spread > 0 and float(product.sum()) / spread > WORKLOAD_Z:
        return True
    met = int((out[..., later] & out[..., before]).sum())
    rate = float(out[..., later].sum()) * float(out[..., before].sum()) / product.size
    return met >= 2 and poisson_tail(met, rate) < WORKLOAD_P


class _MicrobatchCells(NamedTuple):
    """Microbatches on a stage under a name, by step, replica, microbatch, stage and name.

    Attributes
    ----------
    residual : (n_cell,) or (n_run, n_cell) array of float64
        Residual over level.
    beside : (n_cell,) array of int32
        Which cells are other microbatches of the same step on the same worker.
    unit : (n_cell,) array of int32
        Which cells are of one stage and name.
    key : (n_cell,) array of int64
        Neighbours agree in it: stages of one microbatch, or its names where there is one stage.
    """

    residual: FloatArray
    beside: NDArray[np.int32]
    unit: NDArray[np.int32]
    key: NDArray[np.int64]


def _microbatch_cells(job: CoupledJob, relative: FloatArray) -> _MicrobatchCells:
    mine = ((job.op["microbatch"] >= 0) & (job.op["kind"] == "compute")).to_numpy()
    step, replica, microbatch, stage = (
        job.op[name].to_numpy()[mine] for name in ("step", "replica", "microbatch", "stage")
    )
    name = numbered(job.op["name"])[0][mine]
    same, unit = joint_code(step, replica, microbatch), joint_code(stage, name)
    by_stage = stage.size > 0 and stage.min() < stage.max()
    cells, cell = compact(joint_code(same, unit))
    example = np.empty(cells.size, np.intp)
    example[cell[::-1]] = np.arange(cell.size)[::-1]
    return _MicrobatchCells(
        reduced(np.add, cell, np.take(relative, np.flatnonzero(mine), axis=-1), cells.size),
        compact(joint_code(step, replica, unit)[example])[1],
        compact(unit[example])[1],
        (joint_code(same, name) if by_stage else same)[example],
    )


def _oddness(cells: _MicrobatchCells) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Residual of each cell less the mean of its step, and whether it is an outlier of its unit."""
    residual, beside = cells.residual, cells.beside
    n_beside, n_unit = (int(number.max(initial=-1)) + 1 for number in (beside, cells.unit))
    mean = reduced(np.add, beside, residual, n_beside) / np.bincount(beside)
    odd = residual - medians_by_run(beside, residual, n_beside)[..., beside]
    spread = medians(cells.unit, np.abs(odd), n_unit)[0]
    return residual - mean[..., beside], odd > OUTLIER * spread[cells.unit]


def worth_judging(cells: Cells, p: FloatArray) -> list[int]:
    """List significant units, and the few largest others for the record.

    Parameters
    ----------
    cells : Cells
        Excess by unit and block.
    p : (n_unit,) array of float64
        p-values of the units.

    Returns
    -------
    list of int
        Rows of `cells`, significant ones first, each group by falling excess.
    """
    total = cells.excess_s.sum(axis=1)
    by_excess = sorted(range(total.size), key=lambda i: (-total[i], i))
    significant = [i for i in by_excess if p[i] <= ALPHA and total[i] > 0][:MOST_UNITS]
    others = [i for i in by_excess if p[i] > ALPHA and total[i] > 0][:SHOWN]
    return significant + others


def is_intermittent(excess_s: FloatArray) -> bool:
    """Say whether nine tenths of an excess lie in half of the steps.

    Parameters
    ----------
    excess_s : (n_step,) array of float64
        Excess of one unit in each step.

    Returns
    -------
    bool
        False where there are under three steps. (Steady noise alone, were it exponential, would put
        (1 + ln 2) / 2 = 85 % of its sum into half of the steps.)

    Examples
    --------
    >>> (
    ...     is_intermittent(np.array([9.0, 0.0, 9.0, 0.0, 9.0])),
    ...     is_intermittent(np.array([9.0, 5.0, 7.0, 6.0])),
    ... )
    (True, False)
    """
    ordered = np.sort(np.maximum(excess_s, 0.0))[::-1]
    half = (ordered.size + 1) // 2
    return bool(ordered.size >= 3 and ordered[:half].sum() > 0.9 * ordered.sum())
