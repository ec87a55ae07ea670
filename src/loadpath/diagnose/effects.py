"""Nested effects: what each op's work consists of.

Stage effect (its level against the other stages'), data effect (what all ops of one microbatch
share), and the residual: what remains of an op against its peers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.labels import compact, joint_code, numbered
from loadpath.diagnose.levels import FloatArray, peer_levels, stage_level_ns
from loadpath.diagnose.medians import medians
from loadpath.diagnose.shared_work import shared_work_ns
from loadpath.diagnose.significance import shares_workload

__all__ = ["Effects", "nest_effects"]

FAR = 6.0
"""A median further off than this many of its standard errors is no chance."""


@dataclass(frozen=True, slots=True)
class Effects:
    """What each op's work consists of.

    Attributes
    ----------
    work_ns : (n_op,) array of float64
        Measured work.
    level_ns : (n_op,) array of float64
        Peers' level within the stage.
    across_ns : (n_op,) array of float64
        Level if the stage did as the others do.
    data_ns : (n_op,) array of float64
        Part shared by all ops of a microbatch; 0 where that is not beyond chance.
    is_transfer : (n_op,) array of bool
        Members of communications.
    paused : (n_op,) array of bool
        Time between calls in which all ranks pause at one place of their program.
    """

    work_ns: FloatArray
    level_ns: FloatArray
    across_ns: FloatArray
    data_ns: FloatArray
    is_transfer: NDArray[np.bool_]
    paused: NDArray[np.bool_]

    @property
    def residual_ns(self) -> FloatArray:
        """Work beyond level and data."""
        return self.work_ns - self.level_ns - self.data_ns

    @property
    def ideal_ns(self) -> FloatArray:
        """Work without any of the effects."""
        return np.asarray(np.minimum(self.level_ns, self.across_ns))


def nest_effects(job: CoupledJob) -> Effects:
    """Split every op's work into level, stage effect, data effect and the rest.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    Effects
        Parts per op, in ns.
    """
    work = job.work_ns.astype(np.float64)
    level, paused = peer_levels(job)
    is_transfer = np.zeros(job.n_op, np.bool_)
    is_transfer[job.membership["op"].to_numpy()] = True
    relative = np.divide(work - level, level, out=np.zeros_like(work), where=level > 0)
    relative[is_transfer] = 0.0
    if job.source == "kineto":
        data = shared_work_ns(job, work, level)
    else:
        shared = shares_workload(job, relative)
        data = _data_effect(job, relative) * level if shared else np.zeros_like(work)
    return Effects(work, level, stage_level_ns(job, level), data, is_transfer, paused)


def _data_effect(job: CoupledJob, relative: FloatArray) -> FloatArray:
    """Relative effect of each microbatch on its ops: what all stages (or directions) agree on."""
    n_stage = job.op["stage"].n_unique()
    mine = ((job.op["microbatch"] >= 0) & (job.op["kind"] == "compute")).to_numpy()
    names = ["step", "replica", "microbatch"]
    same = [job.op[name].to_numpy()[mine] for name in names]
    if n_stage > 1:
        same.append(numbered(job.op["name"])[0][mine])
    found, number = compact(joint_code(*same))
    beyond = _beyond_own(job, relative, n_stage)[mine]
    if n_stage > 2:
        data, _ = medians(number, beyond, found.size)
    else:
        data = _agreed(number, beyond, found.size)
    effect = np.zeros(job.n_op)
    effect[mine] = data[number]
    return effect


def _agreed(number: NDArray[np.int32], value: FloatArray, n_group: int) -> FloatArray:
    """Smallest value of each group, in size, if all have the same sign; 0 otherwise."""
    low, high, least = np.full(n_group, np.inf), np.full(n_group, -np.inf), np.full(n_group, np.inf)
    np.minimum.at(low, number, value)
    np.maximum.at(high, number, value)
    np.minimum.at(least, number, np.abs(value))
    return np.where(low > 0, least, np.where(high < 0, -least, 0.0))


def _beyond_own(job: CoupledJob, relative: FloatArray, n_stage: int) -> FloatArray:
    """Subtract from each op what is its rank's own: the middle of the rank's ops of that name.

    With one stage a rank that is slow in a step looks like a step of long microbatches. It is
    the rank's own if the middle of the step lies further off than the spread of its microbatches
    allows.
    """  # noqa: DOC201
    name, rank = numbered(job.op["name"])[0], job.op["rank"].to_numpy()
    beyond = relative - _middle(relative, joint_code(name, rank))[0]
    if n_stage > 1:
        return np.asarray(beyond)
    like = joint_code(name, rank, job.op["step"].to_numpy())
    middle, n = _middle(beyond, like)
    spread = 1.4826 * _middle(np.abs(beyond - middle), like)[0]
    far = np.abs(middle) > FAR * spread / np.sqrt(n)
    return np.asarray(beyond - np.where(far, middle, 0.0))


def _middle(value: FloatArray, code: NDArray[np.int64]) -> tuple[FloatArray, NDArray[np.int64]]:
    """Median of each row's group, and the size of the group."""
    found, number = compact(code)
    median, size = medians(number, value, found.size)
    return median[number], size[number]
