"""Diagnose a coupled job: fidelity first, then causes, attribution, root causes and tables."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from loadpath.audit.limits import NO_LIMITS, limit_tables, waiting_tables
from loadpath.audit.refusal import unexplained_caveat, why_doubted, why_refused
from loadpath.audit.settings import Progress, Settings
from loadpath.audit.slowdown import (
    Baselines,
    gain_by_baseline,
    measure_slowdown,
    other_baselines,
    sound_slowdown,
)
from loadpath.audit.stability import (
    measure_stability,
    weigh_interaction,
    weigh_policies,
    without_stability,
)
from loadpath.couple import CoupledJob
from loadpath.couple.steps import keep_runs, lay_out
from loadpath.diagnose.attribution import attribute
from loadpath.diagnose.blindness import blindness_report, usual_views
from loadpath.diagnose.candidates import find_candidates
from loadpath.diagnose.critical import path_table, unexplained_ratio
from loadpath.diagnose.effects import Effects, nest_effects
from loadpath.diagnose.exposure import exposed
from loadpath.diagnose.fidelity import Fidelity, measure_fidelity, measured_step_ns
from loadpath.diagnose.gains import step_times_s, steps_without_s
from loadpath.diagnose.judgement import Judgement
from loadpath.diagnose.levels import FloatArray, ideal_work_ns
from loadpath.diagnose.moments import Moments, look_at_moments
from loadpath.diagnose.rank_bars import timeline_table
from loadpath.diagnose.step_bound import step_bounds
from loadpath.diagnose.step_sample import StepSample, sample_steps, sampled_caveat
from loadpath.diagnose.verdict import judge
from loadpath.replay import replay
from loadpath.replay.timeline import TimeArray
from loadpath.tables.results import CAUSE, STEP_TIME

__all__ = ["diagnose"]


VICTIM_RATIO = 0.005
"""A rank is a victim if it waits this share of the step because of the cause."""


def diagnose(
    job: CoupledJob,
    settings: Settings,
    progress: Progress,
    *,
    drawn: bool = True,
) -> dict[str, Any]:
    """Compute everything that an audit says of a job.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    settings : Settings
        Options of the audit.
    progress : callable of str
        Told what is being done.
    drawn : bool
        Whether the tables that only pictures need (path, timeline, rank_step) are wanted.

    Returns
    -------
    dict
        What `build_document` needs: fidelity, judgement or refusal, tables, slowdown.
    """
    progress("replaying")
    with ThreadPoolExecutor(2) as pool:
        fit = pool.submit(measure_fidelity, job)
        views = pool.submit(lambda: usual_views(job, measured_step_ns(job) / 1e9))
        unexplained = pool.submit(unexplained_ratio, job)
        others = pool.submit(other_baselines, job, settings)
        effects = nest_effects(job)
        fidelity = fit.result()
        refusal = why_refused(job, fidelity, settings)
        ideal = _ideal(job, effects, settings)
        sample = sample_steps(job)
        progress("weighing causes and attributing waits")
        moments = pool.submit(look_at_moments, job, ideal, by_step=drawn)
        causeless = pool.submit(_causeless, job, effects, ideal)
        limits = pool.submit(_limits, (job, sample), refusal, (ideal, settings), moments)
        stable = pool.submit(
            measure_stability,
            sample,
            effects,
            (fidelity, refusal, settings),
            progress=progress,
            drawn=drawn,
        )
        refusal, judgement = _judgement(job, effects, refusal, settings)
        tables = causeless.result() | _cause_tables(job, fidelity, ideal, judgement)
    tables |= {name: getattr(moments.result(), name) for name in ("rank_time", "sink", "coupling")}
    tables |= limits.result() if judgement else _without_limits()
    tables |= stable.result().tables if judgement else without_stability(fidelity, settings)
    if judgement:
        progress("weighing policies")
        tables["policy"] = weigh_policies(stable.result().footing, _culprits(judgement))
    tables["interaction"] = weigh_interaction(sample, judgement, settings)
    tables["blindness"] = blindness_report(
        job, _culprits(judgement), fidelity.measured_s, views=views.result()
    )
    tables["caveat"] = _caveats((job, sample), unexplained.result(), judgement)
    if drawn:
        tables |= _drawn_tables(job, ideal, int(fidelity.replayed_s.argmax()), judgement=judgement)
        tables["rank_step"] = moments.result().rank_step
    return {
        "fidelity": fidelity,
        "judgement": judgement,
        "refusal": refusal,
        **_slowdowns(
            (job, fidelity), others.result().plus(settings.baseline, ideal), judgement, settings
        ),
        "tables": tables,
        "unexplained_ratio": unexplained.result(),
        "victims": _victims(tables["coupling"], judgement, job),
        "distance": _distance(tables["sink"], judgement),
    }


def _slowdowns(
    known: tuple[CoupledJob, Fidelity],
    baselines: Baselines,
    judgement: Judgement | None,
    settings: Settings,
) -> dict[str, Any]:
    """Say how much slower the job is than ideal, and what the cause returns by each baseline."""
    slowdown = measure_slowdown(*known, baselines, settings)
    return {
        "slowdown": sound_slowdown(slowdown, assessed=judgement is not None),
        "gain_by_baseline": gain_by_baseline(known[0], baselines.ideals, judgement),
    }


def _caveats(
    jobs: tuple[CoupledJob, StepSample], unexplained: float, judgement: Judgement | None
) -> pl.DataFrame:
    """Doubts of the recording, and what the audit itself leaves open."""
    job, sample = jobs
    doubts = [job.caveat, unexplained_caveat(unexplained, judgement)]
    if judgement:  # without conclusions nothing is estimated
        doubts.append(sampled_caveat(sample))
    return pl.concat(doubts)


def _ideal(job: CoupledJob, effects: Effects, settings: Settings) -> FloatArray:
    """Give ideal work under the chosen baseline; the median is that of the effects."""
    if settings.baseline == "median":
        return effects.ideal_ns
    return ideal_work_ns(job, settings.baseline)


def _judgement(
    job: CoupledJob, effects: Effects, refusal: str, settings: Settings
) -> tuple[str, Judgement | None]:
    """Judge the candidates, unless that is refused before or by what they return."""
    if refusal:
        return refusal, None
    rng = np.random.default_rng(settings.seed)
    judgement = judge(job, effects, find_candidates(job, effects, rng), rng)
    doubt = why_doubted(job, judgement, settings)
    return (doubt, None) if doubt else ("", judgement)


def _causeless(job: CoupledJob, effects: Effects, ideal: FloatArray) -> dict[str, pl.DataFrame]:
    """Compute the tables of what ranks and ops cost, whatever the cause."""
    return {
        "step_bound": step_bounds(job),
        "attribution": attribute(job, effects.work_ns, ideal),
    }


def _limits(
    jobs: tuple[CoupledJob, StepSample],
    refusal: str,
    chosen: tuple[FloatArray, Settings],
    moments: Future[Moments],
) -> dict[str, pl.DataFrame]:
    """Compute what limits the job and how its ranks are coupled, once waits are walked back."""
    if refusal:
        return _without_limits()
    (job, sample), (ideal, settings) = jobs, chosen
    tables = limit_tables(job, sample, ideal, settings)
    return tables | waiting_tables(job, moments.result(), settings)


def _without_limits() -> dict[str, pl.DataFrame]:
    return {schema.name: schema.empty() for schema in NO_LIMITS}


def _cause_tables(
    job: CoupledJob, fidelity: Fidelity, ideal: FloatArray, judgement: Judgement | None
) -> dict[str, pl.DataFrame]:
    """Compute the tables that show the verdict beside what there is."""
    ideal_s = step_times_s(job, np.rint(ideal).astype(np.int64))
    seconds = {
        "measured_s": fidelity.measured_s,
        "replayed_s": fidelity.replayed_s,
        "ideal_s": np.broadcast_to(ideal_s, job.step_number.shape),
        "without_cause_s": _without_cause_s(job, judgement),
    }
    return {
        "step_time": STEP_TIME.build({"step": job.step_number, **seconds}),
        "cause": judgement.table() if judgement else CAUSE.empty(),
    }


def _without_cause_s(job: CoupledJob, judgement: Judgement | None) -> FloatArray:
    """Time steps without the cause; ops work whole ns."""
    cause = judgement.removed if judgement else None
    if judgement is None or cause is None:
        return step_times_s(job, _work_without(job, judgement))
    mine = judgement.work_ns[..., cause.op]
    whole = replace(cause, change_ns=np.rint(mine + cause.change_ns) - mine)
    return steps_without_s(job, judgement.work_ns, whole)


def _work_without(job: CoupledJob, judgement: Judgement | None) -> TimeArray:
    return np.rint(judgement.without_ns) if judgement else job.work_ns


def _drawn_tables(
    runs: CoupledJob, ideal: FloatArray, longest: int, *, judgement: Judgement | None
) -> dict[str, pl.DataFrame]:
    """Draw path and bars of the longest step, of all steps the entry `longest`."""
    step, run = int(runs.step_number[longest]), longest if runs.runs else 0
    job = lay_out(keep_runs(runs, slice(run, run + 1)))
    ideal_ns = np.rint(ideal).astype(np.int64)
    named = judgement is not None and judgement.cause is not None
    work = np.atleast_2d(_work_without(runs, judgement))[run].astype(np.int64)
    actual, without = replay(job.graph, job.work_ns), replay(job.graph, work)
    path = path_table(
        job, (actual, job.work_ns), (without, work) if named else None, ideal_ns=ideal_ns, step=step
    )
    exposure = exposed(job, actual, job.work_ns)
    places = exposure.occupancy.places
    cleared = (without, exposed(job, without, work, places=places)) if named else None
    timeline = timeline_table(job, (actual, exposure), cleared, path=path, step=step)
    return {"path": path, "timeline": timeline}


def _culprits(judgement: Judgement | None) -> list[int]:
    """Ranks that the proof names: none where it names nobody or everybody."""
    cause = judgement.cause if judgement else None
    if cause is None or cause.candidate.place == "all" or cause.state == "absorbed":
        return []
    return list(cause.candidate.ranks)


def _victims(coupling: pl.DataFrame, judgement: Judgement | None, job: CoupledJob) -> list[int]:
    """Ranks that wait because of the cause."""
    culprits = _culprits(judgement)
    if not culprits or judgement is None:
        return []
    least = VICTIM_RATIO * judgement.step_s * max(1, job.step_number.size)
    waits = (
        coupling.filter(pl.col("cause").is_in(culprits) & ~pl.col("waiter").is_in(culprits))
        .group_by("waiter")
        .agg(pl.col("transitive_s").sum())
        .filter(pl.col("transitive_s") >= least)
    )
    return sorted(waits["waiter"].to_list())


def _distance(sink: pl.DataFrame, judgement: Judgement | None) -> Mapping[str, Any] | None:
    """How far from the cause its victims feel it."""
    cause = judgement.cause if judgement else None
    if cause is None or not cause.candidate.ranks or cause.candidate.place == "all":
        return None
    mine = sink.filter(
        pl.col("rank").is_in(list(cause.candidate.ranks))
        & pl.col("sink").is_in(["excess", "transfer_excess"])
    )
    seconds = float(mine["wait_s"].sum())
    if seconds <= 0:
        return None
    hops = float((mine["hops_mean"] * mine["wait_s"]).sum()) / seconds
    return {"hops_mean": hops, "wait_s": seconds, "n_waits": int(mine["n_waits"].sum())}
