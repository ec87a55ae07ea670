"""Nested effects: what each op's work consists of.

What all ranks take longer in the same steps, stage effect (its level against the other stages'), data
effect (what all ops of one microbatch share), and the residual: what remains of an op against its peers.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.common_steps import CommonPart, common_parts
from loadpath.diagnose.labels import compact, joint_code, numbered
from loadpath.diagnose.levels import FloatArray, peer_levels, stage_level_ns
from loadpath.diagnose.medians import medians, medians_by_run, reduced
from loadpath.diagnose.shared_work import shared_work_ns
from loadpath.diagnose.significance import shares_workload

__all__ = ["Effects", "nest_effects"]

FAR = 6.0
"""A median further off than this many of its standard errors is no chance."""


@dataclass(frozen=True)
class Effects:
    """What each op's work consists of.

    Attributes
    ----------
    work_ns : (n_op,) or (n_run, n_op) array of float64
        Measured work.
    level_ns : (n_op,) array of float64
        Peers' level within the stage.
    across_ns : (n_op,) array of float64
        Level if the stage, or the thread, did as the others do.
    data_ns : (n_op,) array of float64, or of the shape of the work
        Part shared by all ops of a microbatch; 0 where that is not beyond chance.
    is_transfer : (n_op,) array of bool
        Members of communications.
    paused : (n_op,) array of bool
        Time between calls in which all ranks pause at one place of their program.
    common : tuple of CommonPart
        What all ranks take longer in the same steps; neither level nor data holds any of it.
    """

    work_ns: FloatArray
    level_ns: FloatArray
    across_ns: FloatArray
    data_ns: FloatArray
    is_transfer: NDArray[np.bool_]
    paused: NDArray[np.bool_]
    common: tuple[CommonPart, ...] = ()

    @cached_property
    def usual_ns(self) -> FloatArray:
        """Work without what all ranks take longer in the same steps."""
        usual = self.work_ns
        for part in self.common:
            usual = usual - part.part_ns
        return usual

    @cached_property
    def residual_ns(self) -> FloatArray:
        """Usual work beyond level and data."""
        beyond = self.usual_ns - self.level_ns
        beyond -= self.data_ns
        return beyond

    @property
    def ideal_ns(self) -> FloatArray:
        """Work without any of the effects."""
        return np.asarray(np.minimum(self.level_ns, self.across_ns))


def nest_effects(job: CoupledJob) -> Effects:
    """Split every op's work into what steps have in common, level, stage and data effect, and the rest.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    Effects
        Parts per op, in ns.
    """
    recorded = job.work_ns.astype(np.float64)
    common = common_parts(job, recorded)
    job = _without_common(job, common) if common else job
    work = job.work_ns.astype(np.float64) if common else recorded
    level, paused = peer_levels(job)
    is_transfer = np.zeros(job.n_op, np.bool_)
    is_transfer[job.membership["op"].to_numpy()] = True
    compared = (level > 0) & ~is_transfer
    relative = work - level
    relative /= np.where(compared, level, np.inf)
    data: FloatArray = np.zeros(job.n_op)
    if job.source == "kineto":
        data = shared_work_ns(job, work, level)
    elif shares_workload(job, relative):
        data = _data_effect(job, relative)
        data *= level
    across = stage_level_ns(job, level)
    return Effects(recorded, level, across, data, is_transfer, paused, common)


def _without_common(job: CoupledJob, common: tuple[CommonPart, ...]) -> CoupledJob:
    """Give the job as it would be if no step were slow for all ranks together."""
    work = job.work_ns.astype(np.float64) - sum(part.part_ns for part in common)
    return replace(job, work_ns=np.maximum(np.rint(work), 0.0).astype(np.int64))


def _data_effect(job: CoupledJob, relative: FloatArray) -> FloatArray:
    """Relative effect of each microbatch on its ops: what all stages (or directions) agree on."""
    n_stage = job.op["stage"].n_unique()
    mine = ((job.op["microbatch"] >= 0) & (job.op["kind"] == "compute")).to_numpy()
    names = ["step", "replica", "microbatch"]
    same = [job.op[name].to_numpy()[mine] for name in names]
    if n_stage > 1:
        same.append(numbered(job.op["name"])[0][mine])
    found, number = compact(joint_code(*same))
    beyond = _beyond_own(job, relative, mine, n_stage)
    by_group = medians_by_run if n_stage > 2 else _agreed
    effect = np.zeros_like(relative)
    effect[..., mine] = by_group(number, beyond, found.size)[..., number]
    return effect


def _agreed(number: NDArray[np.int32], value: FloatArray, n_group: int) -> FloatArray:
    """Smallest value of each group, in size, if all have the same sign; 0 otherwise."""
    low, high = (reduced(extreme, number, value, n_group) for extreme in (np.minimum, np.maximum))
    return np.where(low > 0, low, np.where(high < 0, high, 0.0))


def _beyond_own(
    job: CoupledJob, relative: FloatArray, mine: NDArray[np.bool_], n_stage: int
) -> FloatArray:
    """Subtract from the ops `mine` what is their rank's own: the middle of its ops of that name."""
    name, rank = numbered(job.op["name"])[0], job.op["rank"].to_numpy()
    own, number = compact(joint_code(name, rank))
    asked = np.flatnonzero(np.bincount(number, mine, own.size)[number])
    middles = medians(number[asked], relative, own.size, column=asked)[0]
    beyond = np.take(relative, asked, axis=-1) - middles[number[asked]]
    if n_stage == 1:
        beyond = _beyond_step(beyond, joint_code(name, rank, job.op["step"].to_numpy())[asked])
    inside = mine[asked]
    return np.asarray(beyond if inside.all() else beyond[..., inside])


def _beyond_step(beyond: FloatArray, code: NDArray[np.int64]) -> FloatArray:
    """Subtract the middle of a rank's step where it is the rank's own.

    With one stage a rank that is slow in a step looks like a step of long microbatches. It is
    the rank's own if the middle of the step lies further off than the spread of its microbatches
    allows.
    """  # noqa: DOC201
    found, like = compact(code)
    middle = medians_by_run(like, beyond, found.size)[..., like]
    spread = 1.4826 * medians_by_run(like, np.abs(beyond - middle), found.size)[..., like]
    far = np.abs(middle) > FAR * spread / np.sqrt(np.bincount(like)[like])
    return np.asarray(beyond - np.where(far, middle, 0.0))
