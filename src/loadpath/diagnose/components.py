r"""What is persistent in the work of ranks and links, and what is noise: shrunken estimates.

Work = what peers take on the mean + deviation of the rank or link + workload + what all ranks take longer
in the same steps + noise.
A mean over K steps is itself noisy; taken at face value, every rank would deviate from its peers. A
deviation beyond chance is believed whole, the others are shrunk towards their mean by what chance
makes of them (James and Stein).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.alike import alike
from loadpath.diagnose.effects import Effects
from loadpath.diagnose.labels import compact, joint_code, place_in_group, sum_by
from loadpath.diagnose.levels import WAITS_FOR_DATA, FloatArray
from loadpath.diagnose.lone_events import smooth_courses, stands_out
from loadpath.diagnose.medians import medians
from loadpath.diagnose.places import rank_index
from loadpath.diagnose.significance import ALPHA
from loadpath.diagnose.tails import student_tail

__all__ = [
    "FEWEST_STEPS",
    "Components",
    "Peers",
    "find_peers",
    "split_components",
]

FEWEST_STEPS = 8
"""Fewer steps cannot tell a persistent deviation from noise; a stated policy."""

LEAST_T = 2.8
"""Deviations of fewer standard errors are never beyond chance; saves computing their tails."""

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Components:
    """Parts of every op's work, in ns; they sum to it.

    Attributes
    ----------
    mean_ns : (n_op,) array of float64
        Mean of the op's peers, what is persistent in them left out.
    persistent_ns : (n_op,) array of float64
        Persistent deviation of its rank, or of its link, and its rank's events (single steps far beyond
        the noise of others); 0 under `FEWEST_STEPS` steps.
    data_ns : (n_op,) array of float64
        Part that all ops of a microbatch share.
    noise_ns : (n_op,) array of float64
        The rest.
    common_ns : (n_op,) array of float64
        What all ranks take longer in the same steps.
    """

    mean_ns: FloatArray
    persistent_ns: FloatArray
    data_ns: FloatArray
    noise_ns: FloatArray
    common_ns: FloatArray


class Peers(NamedTuple):
    """Who is compared with whom.

    Attributes
    ----------
    unit : (n_op,) array of int64
        Rank of own work, communicator of transfers, numbered together.
    turn : (n_op,) array of int64
        How many ops of the same class the same rank ran before in the same step.
    cell : (n_op,) array of int64
        Ops that should take the same: class, stage and turn; of transfers class and turn.
    family : (n_op,) array of int64
        Ops whose deviations are pooled: class and stage; of transfers the class.
    step : (n_op,) array of int64
        Entry of the graph's steps, their number for ops outside all.
    """

    unit: IntArray
    turn: IntArray
    cell: IntArray
    family: IntArray
    step: IntArray


def find_peers(job: CoupledJob, is_transfer: NDArray[np.bool_]) -> Peers:
    """Say which ops may be compared with which.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    is_transfer : (n_op,) array of bool
        Members of communications.

    Returns
    -------
    Peers
        Codes per op.
    """
    rank = rank_index(job).astype(np.int64)
    like = compact(alike(job))[1]
    communicator = job.op["communicator"].to_numpy().astype(np.int64)
    unit = np.where(is_transfer, rank.max(initial=0) + 2 + communicator, rank)
    stage = np.where(is_transfer, -1, job.op["stage"].to_numpy())
    step = job.op["step"].to_numpy()
    turn = place_in_group(joint_code(rank, like, step), job.op["start_ns"].to_numpy())
    family = compact(joint_code(like, stage))[1]
    cell = compact(joint_code(family, turn))[1]
    known = job.graph.step
    place = np.searchsorted(known, step)
    outside = np.append(known, known.max(initial=0) + 1)[place] != step
    place[outside] = known.size
    return Peers(unit, turn, cell.astype(np.int64), family.astype(np.int64), place)


def split_components(job: CoupledJob, effects: Effects, peers: Peers) -> Components:
    r"""Split every op's work into the mean of its peers, persistent deviation, data and noise.

    The relative deviation of unit u in a family of ops, its mean over K steps :math:`d_u`, has the
    standard error :math:`e` that steps show (with their correlation from one to the next). Beyond
    chance (Student, family-wise 0.5 %) it is believed. The others are taken for :math:`\bar d + B (d_u - \bar d)` with
    :math:`B = \max(0, 1 - (m - 3) e^2 / \sum_u (d_u - \bar d)^2)`. What single turns of a unit
    deviate beyond that is shrunk alike, over all turns of the family at once.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    effects : Effects
        Its nested effects.
    peers : Peers
        Result of `find_peers`.

    Returns
    -------
    Components
        Parts in ns.

    References
    ----------
    .. [1] B. Efron, C. Morris, "Data analysis using Stein's estimator and its generalizations",
       Journal of the American Statistical Association 70, 1975.
    .. [2] B. Efron, C. Morris, "Limiting the risk of Bayes and empirical Bayes estimators, part
       II", Journal of the American Statistical Association 67, 1972.
    """
    events = _rank_events(job, effects, peers)
    work = effects.usual_ns - effects.data_ns - events
    pairs = _pair_up(joint_code(peers.cell, peers.unit), work)
    cell = peers.cell[pairs.first]
    persistent = np.zeros(cell.size)
    if job.graph.step.size >= FEWEST_STEPS:
        persistent = _persistent(work, pairs, peers)
        alone = _waits_alone(job, effects)[pairs.first]
        persistent[alone] = pairs.mean[alone]
    size = np.bincount(cell)
    typical = sum_by(cell, pairs.mean - persistent, size.size) / size
    mean_ns, persistent_ns = typical[peers.cell], persistent[pairs.number]
    noise_ns = work - mean_ns - persistent_ns
    common_ns = effects.work_ns - effects.usual_ns
    return Components(mean_ns, persistent_ns + events, effects.data_ns, noise_ns, common_ns)


def _rank_events(job: CoupledJob, effects: Effects, peers: Peers) -> FloatArray:
    """Give ops what they have of their rank's events (all of the residual), its drift or period."""
    rank, n_step = rank_index(job).astype(np.int64), job.graph.step.size
    apart = effects.is_transfer | _waits_alone(job, effects)  # those are its own whole
    own = np.where(apart, 0.0, effects.residual_ns)
    cell = rank * (n_step + 1) + peers.step
    by_step = sum_by(cell, own / 1e9, job.rank.height * (n_step + 1)).reshape(-1, n_step + 1)
    event, course = np.zeros(by_step.shape, np.bool_), np.zeros(by_step.shape)
    event[:, :n_step] = stands_out(by_step[:, :n_step])
    course[:, :n_step] = smooth_courses(by_step[:, :n_step], event[:, :n_step], job.graph.step)
    level = np.where(apart, 0.0, effects.level_ns)
    whole = sum_by(cell, level, by_step.size)[cell]
    share = np.divide(level, whole, out=np.zeros(level.size), where=whole > 0)
    return np.where(event.ravel()[cell], own, share * course.ravel()[cell] * 1e9)


def _waits_alone(job: CoupledJob, effects: Effects) -> NDArray[np.bool_]:
    """Say which ops wait for data that most ranks do not wait for: there the peers take nothing."""
    waits = job.op["kind"].is_in(WAITS_FOR_DATA).to_numpy() & ~effects.is_transfer
    return np.asarray(waits & (effects.level_ns <= 0))


class _Pairs(NamedTuple):
    """A cell of one unit: where it is, its ops, and their mean."""

    number: NDArray[np.int32]
    first: IntArray
    n: IntArray
    mean: FloatArray


def _pair_up(code: IntArray, value: FloatArray) -> _Pairs:
    found, number = compact(code)
    first = np.empty(found.size, np.int64)
    first[number] = np.arange(number.size)
    n = np.bincount(number)
    return _Pairs(number, first, n, sum_by(number, value, n.size) / n)


def _persistent(work: FloatArray, pairs: _Pairs, peers: Peers) -> FloatArray:
    """Give each pair what its unit deviates persistently, and what its turn deviates beyond."""
    cell, family = peers.cell[pairs.first], peers.family[pairs.first]
    level, _ = medians(cell.astype(np.int32), pairs.mean, int(cell.max()) + 1, lower=True)
    own = _own_share(work, level[peers.cell], peers)[pairs.first]
    rest = pairs.mean - level[cell] * (1 + own)
    square = sum_by(pairs.number, work * work, pairs.n.size) / pairs.n
    error = (square - pairs.mean**2) / np.maximum(pairs.n - 1, 1)
    error[pairs.n < FEWEST_STEPS] = np.inf
    return own * level[cell] + _shrunken_rest(rest, error, cell, family)


def _own_share(work: FloatArray, level: FloatArray, peers: Peers) -> FloatArray:
    """Share by which each op's unit persistently deviates from the others of its family."""
    units = _pair_up(joint_code(peers.family, peers.unit), work)
    family = peers.family[units.first]
    beyond, mean, n = _step_shares(work - level, level, units.number, peers.step)
    n_unit = np.bincount(family)[family]
    error = (beyond**2).sum(axis=1) / np.maximum(n * (n - 1), 1) * _persistence(beyond)
    error *= n_unit / np.maximum(n_unit - 1, 1)  # the others' mean is as uncertain as they are
    judged = (n >= FEWEST_STEPS) & (n_unit > 1)
    return np.where(judged, _shrunken(mean, error, n, family), 0.0)[units.number]


def _step_shares(
    over: FloatArray, under: FloatArray, number: NDArray[np.int32], step: IntArray
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Quotients of sums by unit and step less their mean over steps, that mean, and the steps."""
    n_step = int(step.max(initial=0)) + 1
    code = number.astype(np.int64) * n_step + step
    shape = (int(number.max(initial=-1)) + 1, n_step)
    above, below = (
        sum_by(code, value, shape[0] * n_step).reshape(shape) for value in (over, under)
    )
    known = below > 0
    share = np.divide(above, below, out=np.zeros(shape), where=known)
    n = known.sum(axis=1)
    mean = share.sum(axis=1) / np.maximum(n, 1)
    return np.where(known, share - mean[:, None], 0.0), mean, n


def _persistence(beyond: FloatArray) -> float:
    """By how much correlation from step to step inflates the variance of a mean."""
    before, after = beyond[:, :-1], beyond[:, 1:]
    total = float((beyond**2).sum())
    rho = min(max(float((before * after).sum()) / total, 0.0), 0.9) if total > 0 else 0.0
    return (1 + rho) / (1 - rho)


def _shrunken(mean: FloatArray, error: FloatArray, n: IntArray, family: IntArray) -> FloatArray:
    """Believe deviations beyond chance; shrink the others towards their mean."""
    t = np.abs(mean) / np.sqrt(np.maximum(error, np.finfo(float).tiny))
    n_unit = np.bincount(family)[family]
    beyond = np.zeros(mean.size, np.bool_)
    for i in np.flatnonzero((t > LEAST_T) & (n >= FEWEST_STEPS)):
        tail = student_tail(min(float(t[i]), 1e6), int(n[i]) - 1)
        beyond[i] = 2 * n_unit[i] * tail < ALPHA
    n_family = int(family.max()) + 1
    rest = sum_by(family, ~beyond, n_family)
    middle = sum_by(family, np.where(beyond, 0.0, mean), n_family) / np.maximum(rest, 1)
    off = mean - middle[family]
    squares, errors = (
        sum_by(family, np.where(beyond, 0.0, value), n_family) for value in (off**2, error)
    )
    chance = np.maximum(rest - 3, 0) / np.maximum(rest, 1) * errors
    factor = 1 - np.divide(chance, squares, out=np.ones(n_family), where=squares > 0)
    factor = np.where(rest > 3, np.maximum(factor, 0.0), 0.0)
    return np.where(beyond, off, factor[family] * off)


def _shrunken_rest(
    rest: FloatArray, error: FloatArray, cell: IntArray, family: IntArray
) -> FloatArray:
    """Shrink what single turns deviate by what chance makes of it, pooled over their family."""
    size = np.bincount(cell)
    off = rest - medians(cell.astype(np.int32), rest, size.size)[0][cell]
    judged = (size[cell] > 1) & np.isfinite(error)
    expected = np.where(judged, error, 0.0) * (1 - 1 / size[cell])
    n_family = int(family.max()) + 1
    squares = sum_by(family, np.where(judged, off**2, 0.0), n_family)
    chance = sum_by(family, expected, n_family)
    factor = 1 - np.divide(chance, squares, out=np.ones(squares.size), where=squares > 0)
    return np.where(judged, np.maximum(factor, 0.0)[family] * off, 0.0)
