"""Monte Carlo over noise: recorded residuals, drawn again in blocks and replayed side by side."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadpath.couple.graph import CouplingGraph
from loadpath.errors import UsageError
from loadpath.replay import kernels, noise_kernels
from loadpath.replay.scenarios import ScenarioLayout, lay_out_scenarios
from loadpath.replay.threads import in_threads, threads_used
from loadpath.replay.timeline import TimeArray, Timeline, begin_apart

__all__ = ["Noise", "Quiet", "block_noise", "draw_noise_ns", "replay_noise"]

FloatArray = NDArray[np.float64]
Int32Array = NDArray[np.int32]
IntArray = NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Noise:
    """Residuals of ops, in series that are drawn from in blocks.

    Attributes
    ----------
    residual_ns : (n_value,) array of float32
        A zero, then series after series, each followed by its own beginning: blocks run in circles.
    place : (n_op,) array of int32
        Where the series of an op begins in `residual_ns`, plus the op's place in its block; 0 for
        an op without noise.
    block : (n_op,) array of int32
        Block of each op; all ops of a block move to the same place of their series.
    length : (n_block,) array of int32
        Values of the series that a block is drawn from.
    """

    residual_ns: NDArray[np.float32]
    place: Int32Array
    block: Int32Array
    length: Int32Array


@dataclass(frozen=True, slots=True)
class Quiet:
    """A job without noise: what noise is added to.

    Attributes
    ----------
    graph : CouplingGraph
        Graph of the job.
    timeline : Timeline
        Its exact replay, with whatever load.
    work_ns : (n_op,) array
        Work of each op, in ns: noise takes none below 0.
    """

    graph: CouplingGraph
    timeline: Timeline
    work_ns: TimeArray


def block_noise(
    residual_ns: FloatArray,
    series: IntArray,
    turn: IntArray,
    *,
    share: IntArray,
    block_length: int,
) -> Noise:
    r"""Lay residuals out for a circular block bootstrap.

    The residuals of a series are a circle in the order of their turns. A block is
    :math:`\ell` consecutive turns; it is replaced by :math:`\ell` consecutive residuals from
    anywhere on the circle, so that what follows each other within a block keeps its correlation.
    Series of one share (ops of a rank that are drawn step by step, members of a communication)
    move together, and keep what they have in common.

    Parameters
    ----------
    residual_ns : (n_op,) array of float64
        What an op takes beyond its expected work, in ns.
    series : (n_op,) array of int
        Which residuals may stand in for each other, from 0.
    turn : (n_op,) array of int
        Place in the series, from 0 and without gaps.
    share : (n_op,) array of int
        Which series are drawn together, from 0.
    block_length : int
        Turns of a block, at least 1.

    Returns
    -------
    Noise
        What `replay_noise` draws from.

    Raises
    ------
    UsageError
        If lengths differ, a turn is missing, or the block is empty.

    References
    ----------
    .. [1] H. R. Kuensch, "The jackknife and the bootstrap for general stationary observations",
       Annals of Statistics 17, 1989.
    .. [2] D. N. Politis, J. P. Romano, "A circular block-resampling procedure for stationary
       data", in "Exploring the Limits of Bootstrap", Wiley, 1992.

    Examples
    --------
    One op in four steps, in blocks of two steps:

    >>> one = np.zeros(4, int)
    >>> noise = block_noise(np.array([1.0, 2, 3, 4]), one, np.arange(4), share=one, block_length=2)
    >>> noise.residual_ns.tolist(), noise.place.tolist(), noise.block.tolist()
    ([0.0, 1.0, 2.0, 3.0, 4.0, 1.0], [1, 2, 1, 2], [0, 0, 1, 1])
    """
    n_op = residual_ns.size
    _check(n_op, (series, turn, share), block_length)
    length = np.bincount(series)
    begin = 1 + np.cumsum(length + block_length - 1) - (length + block_length - 1)
    values = np.zeros(int(length.sum() + length.size * (block_length - 1)) + 1, np.float32)
    values[begin[series] + turn] = residual_ns
    for ahead in range(block_length - 1):  # the circle closes: the beginning again after the end
        values[begin + length + ahead] = values[begin + ahead % np.maximum(length, 1)]
    which, offset = np.divmod(turn, block_length)
    code = share.astype(np.int64) * (int(which.max(initial=0)) + 1) + which
    found, block = np.unique(code, return_inverse=True)
    least = np.full(found.size, np.iinfo(np.int32).max, np.int32)
    np.minimum.at(least, block, length[series].astype(np.int32))
    place = begin[series] + offset
    return Noise(values, place.astype(np.int32), block.astype(np.int32), least)


def replay_noise(
    quiet: Quiet,
    noise: Noise,
    rng: np.random.Generator,
    *,
    n_scenario: int,
    n_thread: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> FloatArray:
    """Time every step under noise drawn again and again.

    Parameters
    ----------
    quiet : Quiet
        The job without noise.
    noise : Noise
        Residuals.
    rng : numpy.random.Generator
        Source of the draws; each block of 32 scenarios has a child of its own, so that threads do
        not change the result.
    n_scenario : int
        Scenarios.
    n_thread : int, optional
        Threads that share the blocks of 32 scenarios; the processors there are if left out.
    progress : callable of str
        Told after every block how many scenarios are done.

    Returns
    -------
    (n_step, n_scenario) array of float64
        Step times in ns.
    """
    graph = quiet.graph
    layout = lay_out_scenarios(graph, quiet.timeline)
    place, block = np.zeros((2, graph.n_node), np.int32)
    least = np.zeros(graph.n_node, np.float32)
    place[graph.end_node], block[graph.end_node] = noise.place, noise.block
    least[graph.end_node] = -np.asarray(quiet.work_ns)
    n_block = -(-n_scenario // kernels.BLOCK)

    def sweep(child: np.random.Generator) -> FloatArray:
        start = _starts(noise, child, kernels.BLOCK)
        change = (place, block, least, noise.residual_ns, start)
        return _sweep(graph, layout, change)

    done = []
    n_work = graph.n_node * n_scenario
    n_core = min(n_block, threads_used(n_work, n_thread))
    cores = f"{n_core} core" + "s" * (n_core > 1)
    for step_ns in in_threads(sweep, rng.spawn(n_block), n_work, n_thread):
        done.append(step_ns)
        n_done = min(n_scenario, len(done) * kernels.BLOCK)
        progress(f"replaying noise: {n_done:,} of {n_scenario:,} scenarios on {cores}")
    return np.hstack([np.empty((graph.step.size, 0)), *done])[:, :n_scenario]


def draw_noise_ns(noise: Noise, rng: np.random.Generator, n_scenario: int) -> NDArray[np.float32]:
    """Draw residuals for every op, as `replay_noise` does inside its sweep.

    Parameters
    ----------
    noise : Noise
        Residuals.
    rng : numpy.random.Generator
        Source of the draws.
    n_scenario : int
        Scenarios.

    Returns
    -------
    (n_op, n_scenario) array of float32
        What each op takes beyond its expected work, in ns.
    """
    start = _starts(noise, rng, n_scenario)
    moved = noise.place[:, None] + start[noise.block]
    drawn: NDArray[np.float32] = np.where(noise.place[:, None] > 0, noise.residual_ns[moved], 0)
    return drawn


def _starts(noise: Noise, rng: np.random.Generator, n_scenario: int) -> Int32Array:
    """Where on its circle each block begins in each scenario: (n_block, n_scenario)."""
    share = rng.random((noise.length.size, n_scenario), np.float32)
    start = np.empty(share.shape, np.int32)
    noise_kernels.place_starts(share, noise.length, start)
    return start


def _sweep(
    graph: CouplingGraph,
    layout: ScenarioLayout,
    change: tuple[Int32Array, Int32Array, NDArray[np.float32], NDArray[np.float32], Int32Array],
) -> FloatArray:
    """Step times of one block of scenarios: (n_step, BLOCK)."""
    begin = np.full((graph.step.size, kernels.BLOCK), np.inf)
    end = np.full((graph.step.size, kernels.BLOCK), -np.inf)
    stops = layout.stops
    noise_kernels.sweep_noise(
        *(layout.row, layout.first_row, layout.second_row, layout.overflow_row),
        *(layout.first_slack, layout.second_slack, layout.overflow_slack),
        *(stops.node, stops.start, stops.begin, stops.end, stops.rebase),
        *change,
        layout.time_ns,
        np.zeros((layout.n_row, kernels.BLOCK), np.float32),
        *(begin, end),
    )
    step: FloatArray = np.subtract(end, begin_apart(graph, begin, end))
    return step


def _check(n_op: int, orders: tuple[IntArray, IntArray, IntArray], block_length: int) -> None:
    series, turn, share = orders
    if not series.shape == turn.shape == share.shape == (n_op,):
        raise UsageError(
            f"series, turn and share have shapes {series.shape}, {turn.shape} and {share.shape}, "
            f"but there are {n_op} residuals. Pass one value for each of them."
        )
    if block_length < 1:
        raise UsageError(f"blocks of {block_length} turns hold nothing. Pass 1 or more.")
    last = np.zeros(int(series.max(initial=-1)) + 1, np.int64)
    np.maximum.at(last, series, turn + 1)
    if (last != np.bincount(series, minlength=last.size)).any():
        raise UsageError("turns of a series leave one out. Number them from 0 without gaps.")
