r"""The job's own noise, ready to be drawn again.

With eight steps or more a rank's step is replaced by another recorded step of the same rank (a
communicator's by another of its own): all that the ops of one rank have in common in a step is kept.
With fewer, ops are replaced by consecutive ops of the same class on the same rank. Ranks are drawn
independently of each other.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.components import FEWEST_STEPS, Components, Peers
from loadpath.diagnose.labels import compact, joint_code, numbered, place_in_group, sum_by
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.places import rank_index
from loadpath.replay.noise import Noise, block_noise, draw_noise_ns

__all__ = ["NoiseModel", "block_length", "model_noise"]

IntArray = NDArray[np.int64]
N_DRAW = 16
"""Draws that tell a rank's own noise where steps are too few to tell it."""


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """Noise of a job, without what is persistent.

    Attributes
    ----------
    noise : Noise
        What scenarios draw from.
    base_ns : (n_op,) array of float64
        Work without noise: what residuals are added to.
    rank_s : (n_rank, n) array of float64
        Own noise of each rank in each step (or each drawn step), in s.
    method : str
        What is drawn again, in words.
    """

    noise: Noise
    base_ns: FloatArray
    rank_s: FloatArray
    method: str


def model_noise(
    job: CoupledJob, parts: Components, peers: Peers, own: NDArray[np.bool_]
) -> NoiseModel:
    """Make a noise model of a job's residuals.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    parts : Components
        What its work consists of.
    peers : Peers
        Who is compared with whom.
    own : (n_op,) array of bool
        Ops that are a rank's own work.

    Returns
    -------
    NoiseModel
        Residuals in blocks.
    """
    n_step = job.graph.step.size
    in_steps = n_step >= FEWEST_STEPS
    per_step = _rank_steps(job, np.where(own, parts.noise_ns, 0.0), peers.step)[:, :n_step]
    base = parts.mean_ns + parts.data_ns
    if in_steps:
        noise, method = _by_steps(job, parts, peers, per_step)
    else:
        noise, method, base = _by_ops(job, parts.noise_ns, peers, base)
    if not in_steps:
        draws = draw_noise_ns(noise, np.random.default_rng(0), N_DRAW)
        per_step = np.hstack(
            [
                _rank_steps(job, np.where(own, draw, 0.0), peers.step)[:, :n_step]
                for draw in draws.T.astype(np.float64)
            ]
        )
    return NoiseModel(noise, base, per_step, method)


def block_length(series: FloatArray) -> int:
    r"""Choose how many turns belong together, from the correlation of neighbours.

    For a first-order autoregression of coefficient :math:`\rho` and L turns the best blocks for the
    variance of a mean have :math:`(\sqrt 6 \rho / (1 - \rho^2))^{2/3} L^{1/3}` turns.

    Parameters
    ----------
    series : (n_series, n_turn) array of float64
        Series of the same kind; their means are taken out.

    Returns
    -------
    int
        At least 1, at most half of the turns.

    References
    ----------
    .. [1] E. Carlstein, "The use of subseries values for estimating the variance of a general
       statistic from a stationary sequence", Annals of Statistics 14, 1986.

    Examples
    --------
    Independent turns need no blocks; what drifts like a random walk needs long ones:

    >>> steps = np.random.default_rng(1).normal(size=(20, 64))
    >>> block_length(steps), block_length(steps.cumsum(axis=1))
    (1, 23)
    """
    n_turn = series.shape[1]
    off = series - series.mean(axis=1, keepdims=True)
    total = float((off**2).sum())
    if n_turn < 2 or total <= 0:
        return 1
    rho = min(max(float((off[:, 1:] * off[:, :-1]).sum()) / total, 0.0), 0.99)
    best = (6**0.5 * rho / (1 - rho**2)) ** (2 / 3) * n_turn ** (1 / 3)
    return int(min(max(1, np.ceil(best)), max(1, n_turn // 2)))


def _by_steps(
    job: CoupledJob, parts: Components, peers: Peers, rank_s: FloatArray
) -> tuple[Noise, str]:
    rank = rank_index(job)
    op_class = numbered(job.op["op_class"])[0]  # draws must not depend on codes of the process
    series = compact(joint_code(rank, op_class, peers.turn, peers.step == job.graph.step.size))[1]
    turn = place_in_group(series.astype(np.int64), peers.step)
    whole = np.bincount(series)[series] == job.graph.step.size
    share = np.where(whole, peers.unit, peers.unit.max(initial=0) + 1 + series)
    length = block_length(rank_s)
    noise = block_noise(parts.noise_ns, series, turn, share=compact(share)[1], block_length=length)
    steps = "steps" if length == 1 else f"blocks of {length} steps"
    return noise, f"{steps} of a rank drawn again together, ranks apart"


def _by_ops(
    job: CoupledJob, residual_ns: FloatArray, peers: Peers, base_ns: FloatArray
) -> tuple[Noise, str, FloatArray]:
    """Draw ops again; what all ops of a series have in common is no noise but part of the base."""
    rank = rank_index(job)
    op_class = numbered(job.op["op_class"])[0]  # draws must not depend on codes of the process
    series = compact(joint_code(rank, op_class, peers.unit))[1].astype(np.int64)
    order = peers.step * (int(peers.turn.max(initial=0)) + 1) + peers.turn
    turn = place_in_group(series, order)
    share = compact(joint_code(op_class, peers.unit))[1]
    n = np.bincount(series)
    common = (sum_by(series, residual_ns, n.size) / n)[series]
    off = residual_ns - common
    length = _neighbours(off, series, turn)
    noise = block_noise(off, series, turn, share=share, block_length=length)
    many = "ops one by one" if length == 1 else f"blocks of {length} consecutive ops"
    return noise, f"{many} of a class on a rank drawn again", base_ns + common


def _neighbours(residual: FloatArray, series: IntArray, turn: IntArray) -> int:
    """Block length of series of different lengths, each of mean 0: laid end to end, scaled alike."""
    n = np.bincount(series)
    spread = np.sqrt(sum_by(series, residual**2, n.size) / n)
    scaled = np.divide(
        residual,
        spread[series],
        out=np.zeros(residual.size),
        where=spread[series] > 0,
    )
    laid = scaled[np.lexsort((turn, series))]
    return min(block_length(laid[None, :]), max(1, int(np.median(n[n > 0]))))


def _rank_steps(job: CoupledJob, value_ns: FloatArray, step: IntArray) -> FloatArray:
    """Sum over the ops of each rank in each step, in s; a last column for ops outside all."""
    n_step = job.graph.step.size + 1
    code = rank_index(job).astype(np.int64) * n_step + step
    total = sum_by(code, value_ns / 1e9, job.rank.height * n_step)
    return total.reshape(job.rank.height, n_step)
