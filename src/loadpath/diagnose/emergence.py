r"""How much of the loss is emergent: there although no rank or link is persistently slow.

The step time is a convex function of the ops' work (a maximum of sums), so by Jensen's inequality
:math:`E[T(w)] \ge T(E[w])`: ranks that are alike on the mean still wait for whoever is slow *this*
time. That gap, once what steps have in common, slow parts and uneven data are taken out, is the emergent
core.
"""

from dataclasses import dataclass

import numpy as np

from loadpath.couple import CoupledJob
from loadpath.diagnose.components import Components
from loadpath.diagnose.effects import Effects
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.resampling import Estimate, mean_estimate, resample, spread
from loadpath.diagnose.sway import mean_work_s, sway
from loadpath.replay import replay, step_time_ns

__all__ = ["Losses", "emergent_share", "measure_losses", "step_s"]


@dataclass(frozen=True, slots=True)
class Losses:
    """Step times as causes are taken out one after the other, in s.

    Attributes
    ----------
    recorded_s : (n_step,) array of float64
        Replay of what was recorded.
    usual_s : (n_step,) array of float64
        Without what all ranks take longer in the same steps.
    alike_s : (n_step,) array of float64
        Nor persistent deviations of ranks and links from their peers, and events of single ranks.
    even_s : (n_step,) array of float64
        Nor uneven data.
    quiet_s : (n_step,) array of float64
        Nor noise: the replay of means, which sways about its mean as all ranks together do.
    level_s : (n_step,) array of float64
        Nor unequal stages; it sways alike.
    """

    recorded_s: FloatArray
    usual_s: FloatArray
    alike_s: FloatArray
    even_s: FloatArray
    quiet_s: FloatArray
    level_s: FloatArray

    @property
    def common_s(self) -> FloatArray:
        """What is slow for all ranks together costs each step, in s."""
        return self.recorded_s - self.usual_s

    @property
    def component_s(self) -> FloatArray:
        """What slow parts cost each step, persistently or by their own events, in s."""
        return self.usual_s - self.alike_s

    @property
    def workload_s(self) -> FloatArray:
        """What uneven data costs each step, in s."""
        return self.alike_s - self.even_s

    @property
    def stage_s(self) -> FloatArray:
        """What unequal stages cost each step, in s: a matter of design, not of a fault."""
        return self.quiet_s - self.level_s

    @property
    def emergent_s(self) -> FloatArray:
        """What noise costs each step of ranks that are alike, in s: the Jensen gap."""
        return self.even_s - self.quiet_s


def step_s(job: CoupledJob, work_ns: FloatArray) -> FloatArray:
    """Replay work and time every step.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    work_ns : (n_op,) array of float64
        Work in ns.

    Returns
    -------
    (n_step,) array of float64
        Seconds.
    """
    timeline = replay(job.graph, np.maximum(work_ns, 0.0))
    return np.asarray(step_time_ns(job.graph, timeline) / 1e9, np.float64)


def measure_losses(job: CoupledJob, effects: Effects, parts: Components) -> Losses:
    """Replay a job with one cause of loss after the other taken out.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    effects : Effects
        Its nested effects: what stages would take if they were equal.
    parts : Components
        What its work consists of.

    Returns
    -------
    Losses
        Step times.
    """
    even = parts.mean_ns + parts.noise_ns
    alike = even + parts.data_ns
    usual = alike + parts.persistent_ns
    recorded = usual + parts.common_ns
    equal = np.divide(
        effects.across_ns, effects.level_ns, out=np.ones(job.n_op), where=effects.level_ns > 0
    )
    level = parts.mean_ns * np.minimum(equal, 1.0)
    works = (recorded, usual, alike, even, parts.mean_ns, level)
    recorded_s, usual_s, alike_s, even_s, quiet_s, level_s = (step_s(job, work) for work in works)
    together = sway(even_s - quiet_s, mean_work_s(job, even))
    return Losses(recorded_s, usual_s, alike_s, even_s, quiet_s + together, level_s + together)


def emergent_share(losses: Losses, weights: FloatArray) -> Estimate:
    r"""Share of the loss that no persistent deviation explains, uneven data set apart.

    Emergent over emergent plus component, each at least 0.

    Parameters
    ----------
    losses : Losses
        Step times.
    weights : (n_resample, n_step) array of float64
        Resampled steps.

    Returns
    -------
    Estimate
        Share and interval; NaN where the interval of the loss holds 0, so that there is nothing to
        share.

    Examples
    --------
    Steps of 10 s, of which 3 s go without the slow rank, and 1 s more without noise:

    >>> steps = np.ones(8)
    >>> losses = Losses(10 * steps, 10 * steps, 7 * steps, 7 * steps, 6 * steps, 6 * steps)
    >>> emergent_share(losses, np.ones((1, 8), int)).value
    0.25
    """
    component, emergent = (
        np.maximum(resample(weights, part), 0.0) for part in (losses.component_s, losses.emergent_s)
    )
    whole = mean_estimate(losses.component_s + losses.emergent_s, weights)
    kept, own = (max(0.0, float(p.sum())) for p in (losses.emergent_s, losses.component_s))
    if not whole.low > 0 or kept + own <= 0:
        return Estimate(*[float("nan")] * 3)
    total = component + emergent
    drawn = np.divide(emergent, total, out=np.full(total.size, np.nan), where=total > 0)
    return Estimate(kept / (kept + own), *spread(drawn))
