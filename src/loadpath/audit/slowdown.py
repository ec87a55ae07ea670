"""The slowdown of a job: by the published method, and against each ideal."""

from collections.abc import Mapping
from typing import Any

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
    "gain_by_baseline",
    "measure_slowdown",
    "other_ideals",
    "published_figures",
    "sound_slowdown",
]


def other_ideals(job: CoupledJob, settings: Settings) -> dict[Baseline, FloatArray]:
    """Give ideal work under every baseline but the chosen one.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    settings : Settings
        Options of the audit.

    Returns
    -------
    dict of Baseline to array of float64
        By baseline, in ns.
    """
    return {b: ideal_work_ns(job, b) for b in BASELINES if b != settings.baseline}


def published_figures(job: CoupledJob) -> tuple[float | None, float | None, float | None]:
    """Give the slowdown by the published method, where it applies.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    s, m_w, m_s : float or None
        Result of `published_slowdown`; None for other records than op tables.
    """
    is_table = job.source == "op_table"
    return published_slowdown(as_steps(job)) if is_table else (None, None, None)


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
    ideals: Mapping[Baseline, FloatArray],
    chosen: tuple[Baseline, tuple[float | None, float | None, float | None]],
) -> dict[str, Any]:
    """Give the slowdown by the published method where it applies, and under every baseline.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    fidelity : Fidelity
        Its steps as measured and as replayed.
    ideals : mapping of Baseline to array of float64
        Ideal work in ns under every baseline.
    chosen : (Baseline, tuple)
        Which of them was chosen, and result of `published_figures`.

    Returns
    -------
    dict
        Fields of ``slowdown`` in audit.json.
    """
    baseline, (published, m_w, m_s) = chosen
    replayed, measured = float(fidelity.replayed_s.mean()), float(fidelity.measured_s.mean())
    best = {b: mean_step_s(job, ideal) for b, ideal in ideals.items()}
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
