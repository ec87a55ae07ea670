"""The slowdown of a job: by the published method, and against each ideal."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from loadpath.audit.settings import Settings
from loadpath.couple import CoupledJob
from loadpath.couple.steps import as_steps
from loadpath.diagnose.fidelity import Fidelity
from loadpath.diagnose.gains import mean_step_s
from loadpath.diagnose.judgement import Judgement
from loadpath.diagnose.levels import BASELINES, Baseline, FloatArray, ideal_work_ns
from loadpath.diagnose.published import published_slowdown
from loadpath.replay import Mixture, replay_runs

__all__ = [
    "Baselines",
    "gain_by_baseline",
    "measure_slowdown",
    "other_baselines",
    "sound_slowdown",
]


Published = tuple[float | None, float | None, float | None]


class Baselines(NamedTuple):
    """What the slowdown is measured by.

    Attributes
    ----------
    ideals : dict of Baseline to array of float64
        Ideal work (n_op,) in ns.
    published : tuple of float or None
        Result of `published_slowdown`; None for other records than op tables.
    """

    ideals: dict[Baseline, FloatArray]
    published: Published

    def plus(self, baseline: Baseline, ideal: FloatArray) -> "Baselines":
        """Add a baseline.

        Parameters
        ----------
        baseline : Baseline
            Its name.
        ideal : (n_op,) array of float64
            Ideal work in ns.

        Returns
        -------
        Baselines
            With it.
        """
        return Baselines(self.ideals | {baseline: ideal}, self.published)


def other_baselines(job: CoupledJob, settings: Settings) -> Baselines:
    """Find ideal work under every baseline but the chosen one, and the published figures.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    settings : Settings
        Options of the audit.

    Returns
    -------
    Baselines
        What can be known before effects are.
    """
    ideals = {b: ideal_work_ns(job, b) for b in BASELINES if b != settings.baseline}
    is_table = job.source == "op_table"
    return Baselines(ideals, published_slowdown(as_steps(job)) if is_table else (None, None, None))


def gain_by_baseline(
    job: CoupledJob, ideals: Mapping[Baseline, FloatArray], judgement: Judgement | None
) -> dict[str, float] | None:
    """Say what the cause's ops return if they are set to each ideal: how the verdict moves.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    ideals : mapping of Baseline to array of float64
        Ideal work in ns under every baseline.
    judgement : Judgement or None
        What was decided; None where nothing is concluded.

    Returns
    -------
    dict of str to float, or None
        Seconds a step by baseline; None where no cause is named.
    """
    cause = judgement.cause if judgement else None
    if judgement is None or cause is None:
        return None
    mixture = Mixture(np.ones(job.n_op, np.bool_))
    mixture.measured[cause.candidate.op] = False
    work = np.atleast_2d(job.work_ns)
    return {
        baseline: judgement.step_s
        - float(replay_runs(job.graph, work, ideal, [mixture]).mean()) / 1e9
        for baseline, ideal in ideals.items()
    }


def measure_slowdown(
    job: CoupledJob,
    fidelity: Fidelity,
    baselines: Baselines,
    settings: Settings,
) -> dict[str, Any]:
    """Give the slowdown by the published method where it applies, and under every baseline.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    fidelity : Fidelity
        Its steps as measured and as replayed.
    baselines : Baselines
        Ideal work under every baseline.
    settings : Settings
        Options of the audit.

    Returns
    -------
    dict
        Fields of ``slowdown`` in audit.json.
    """
    baseline, (published, m_w, m_s) = settings.baseline, baselines.published
    replayed, measured = float(fidelity.replayed_s.mean()), float(fidelity.measured_s.mean())
    best = {b: mean_step_s(job, ideal) for b, ideal in baselines.ideals.items()}
    by_baseline = {b: replayed / v if v > 0 else None for b, v in best.items()}
    return {
        "ratio": published if published is not None else by_baseline[baseline],
        "method": "published (mean of computation, median of communication)"
        if published is not None
        else f"{baseline} of peers",
        "waste_ratio": 1 - best[baseline] / replayed if replayed > 0 else None,
        "launch_ratio": measured / replayed if replayed > 0 else None,
        "baseline": baseline,
        "by_baseline": by_baseline,
        "m_w": m_w,
        "m_s": m_s,
    }


def sound_slowdown(slowdown: dict[str, Any], *, assessed: bool) -> dict[str, Any]:
    """Leave out what peers say where nothing across ranks is concluded; the published method stays.

    Parameters
    ----------
    slowdown : dict
        Fields of ``slowdown``.
    assessed : bool
        Whether anything across ranks is concluded.

    Returns
    -------
    dict
        The fields that stand; the others are None.
    """
    if assessed:
        return slowdown
    kept = {} if slowdown["method"].startswith("published") else {"ratio": None}
    by_baseline = dict.fromkeys(slowdown["by_baseline"])
    return slowdown | kept | {"waste_ratio": None, "by_baseline": by_baseline}
