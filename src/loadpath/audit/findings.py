"""Diagnose a coupled job: fidelity first, then causes, attribution, root causes and tables."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.audit.limits import NO_LIMITS, limit_tables, waiting_tables
from loadpath.audit.settings import Settings
from loadpath.audit.sources import Progress
from loadpath.audit.stability import measure_stability, weigh_interaction, without_stability
from loadpath.couple import CoupledJob
from loadpath.couple.steps import CoupledSteps, as_steps
from loadpath.diagnose.attribution import attribute
from loadpath.diagnose.blindness import View, blindness_report, usual_views
from loadpath.diagnose.candidates import find_candidates
from loadpath.diagnose.critical import longest_step, path_table, unexplained_ratio
from loadpath.diagnose.effects import Effects, nest_effects
from loadpath.diagnose.exposure import Exposure, exposed, find_places
from loadpath.diagnose.fidelity import Fidelity, measure_fidelity, measured_step_ns, work_waits
from loadpath.diagnose.levels import BASELINES, Baseline, FloatArray, ideal_work_ns
from loadpath.diagnose.published import published_slowdown
from loadpath.diagnose.rank_bars import timeline_table
from loadpath.diagnose.rank_time import rank_step, rank_time
from loadpath.diagnose.root_cause import Roots, walk_back
from loadpath.diagnose.step_bound import step_bounds
from loadpath.diagnose.verdict import POLICY_RATIO, Judgement, judge
from loadpath.replay import Timeline, replay, step_time_ns
from loadpath.tables import caveat_table
from loadpath.tables.results import CAUSE, STEP_TIME

__all__ = ["diagnose", "unexplained_caveat", "why_refused"]

_Shown = tuple[Timeline, Exposure]


class _Recorded(NamedTuple):
    """The replay of what was measured, what nothing explains in it, and what dashboards see."""

    actual: _Shown
    unexplained_ratio: float
    views: list[View]


MISSING_CODES = ("missing_rank", "missing_ranks")
"""Caveats that say who was not recorded."""
REFUSING_CODES = (
    "different_jobs",
    "other_run",
    "wrong_ranks",
    "bad_clocks",
    "contradicting_times",
    "cut_off",
    "not_causal",
)
"""Caveats that rule out conclusions across ranks."""
VICTIM_RATIO = 0.005
"""A rank is a victim if it waits this share of the step because of the cause."""


def diagnose(
    job: CoupledJob,
    settings: Settings,
    progress: Progress,
    *,
    steps: CoupledSteps | None = None,
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
    steps : CoupledSteps, optional
        The same job, where it is known that its steps are coupled alike.
    drawn : bool
        Whether the tables that only pictures need (path, timeline, rank_step) are wanted.

    Returns
    -------
    dict
        What `build_document` needs: fidelity, judgement or refusal, tables, slowdown.
    """
    steps = steps or as_steps(job)
    progress("replaying")
    with ThreadPoolExecutor(2) as pool:
        recorded = pool.submit(_recorded, job)
        fidelity = measure_fidelity(job)
        refusal = why_refused(job, fidelity, settings)
        effects = nest_effects(job)
        ideal = _ideal(job, effects, settings)
        progress("weighing causes and attributing waits")
        beside = pool.submit(_causeless, job, effects, ideal, recorded)
        baselines = pool.submit(_baselines, job, ideal, settings)
        slowdown = pool.submit(_slowdown, job, steps, baselines, settings)
        limits = pool.submit(_limits, (job, steps), refusal, (ideal, settings), (recorded, beside))
        stable = pool.submit(
            measure_stability,
            steps,
            job,
            effects,
            (fidelity, refusal, settings),
            progress=progress,
            drawn=drawn,
        )
        refusal, judgement = _judgement(job, effects, refusal, settings)
        tables = beside.result()[0] | _cause_tables(job, fidelity, ideal, judgement)
    seen = recorded.result()
    tables |= limits.result() if judgement else _without_limits()
    tables |= stable.result() if judgement else without_stability(fidelity, settings)
    tables["interaction"] = weigh_interaction(job, effects, judgement, settings)
    tables["blindness"] = blindness_report(
        job, _culprits(judgement), fidelity.measured_s, views=seen.views
    )
    tables["caveat"] = pl.concat(
        [job.caveat, unexplained_caveat(seen.unexplained_ratio, judgement)]
    )
    if drawn:
        tables |= _drawn_tables(job, ideal, seen.actual, judgement=judgement)
    return {
        "fidelity": fidelity,
        "judgement": judgement,
        "refusal": refusal,
        "slowdown": _sound(slowdown.result(), assessed=judgement is not None),
        "gain_by_baseline": _gain_by_baseline(job, baselines.result(), judgement),
        "tables": tables,
        "unexplained_ratio": seen.unexplained_ratio,
        "victims": _victims(tables["coupling"], judgement, job),
        "distance": _distance(tables["sink"], judgement),
    }


def unexplained_caveat(ratio: float, judgement: Judgement | None) -> pl.DataFrame:
    """Doubt a judgement that names less of the step than what nothing explains.

    Parameters
    ----------
    ratio : float
        Share of the critical path that is lag or host time without a recorded call.
    judgement : Judgement or None
        What was decided, if anything.

    Returns
    -------
    polars.DataFrame
        Table `CAVEAT` of one row, or none.
    """
    if judgement is None or judgement.step_s <= 0:
        return caveat_table([])
    named = 1 - judgement.step_without_s / judgement.step_s
    text = (
        f"{100 * ratio:.0f} % of the critical path is lag or host time without a recorded call, more "
        f"of a step than the verdict accounts for ({100 * named:.1f} %); what all ranks do alike has "
        "no peer to be compared with"
    )
    doubted = ratio > max(POLICY_RATIO, named)
    return caveat_table([("unexplained_path", text, int(doubted))])


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
    doubt = judgement.contradiction or _cannot_clear(job, judgement, settings)
    doubt = doubt or _below_clocks(job, judgement)
    return (doubt, None) if doubt else ("", judgement)


def _recorded(job: CoupledJob) -> _Recorded:
    """Compute what depends on the recording alone."""
    places = find_places(job)
    actual = replay(job.graph, job.work_ns)
    return _Recorded(
        actual=(actual, exposed(job, actual, job.work_ns, places=places)),
        unexplained_ratio=unexplained_ratio(job, places=places),
        views=usual_views(job, measured_step_ns(job) / 1e9),
    )


def _causeless(
    job: CoupledJob, effects: Effects, ideal: FloatArray, recorded: Future[_Recorded]
) -> tuple[dict[str, pl.DataFrame], Roots]:
    """Compute the tables of what ranks and ops cost, whatever the cause."""
    actual, exposure = recorded.result().actual
    ideal_ns = np.rint(ideal).astype(np.int64)
    best = replay(job.graph, ideal_ns)
    ideal_exposure = exposed(job, best, ideal_ns, places=exposure.occupancy.places)
    roots = walk_back(job, actual, job.work_ns, ideal_ns, exposures=(exposure, ideal_exposure))
    tables = {
        "step_bound": step_bounds(job),
        "rank_time": rank_time(job, actual, exposure, ideal_exposure),
        "attribution": attribute(job, effects.work_ns, ideal),
        "sink": roots.sink,
        "coupling": roots.coupling,
    }
    return tables, roots


def _limits(
    jobs: tuple[CoupledJob, CoupledSteps],
    refusal: str,
    chosen: tuple[FloatArray, Settings],
    known: tuple[Future[_Recorded], Future[tuple[dict[str, pl.DataFrame], Roots]]],
) -> dict[str, pl.DataFrame]:
    """Compute what limits the job and how its ranks are coupled, once waits are walked back."""
    if refusal:
        return _without_limits()
    (_, exposure), (_, roots) = known[0].result().actual, known[1].result()
    tables = limit_tables(*jobs, *chosen, places=exposure.occupancy.places)
    return tables | waiting_tables(jobs[0], roots, chosen[1])


def _without_limits() -> dict[str, pl.DataFrame]:
    return {schema.name: schema.empty() for schema in NO_LIMITS}


def why_refused(job: CoupledJob, fidelity: Fidelity, settings: Settings) -> str:
    """Say why no causal conclusion may be drawn.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    fidelity : Fidelity
        Its replay error.
    settings : Settings
        Gate of the audit.

    Returns
    -------
    str
        Reason and remedy; empty if conclusions may be drawn.
    """
    missing = "; ".join(job.caveat.filter(pl.col("code").is_in(MISSING_CODES))["text"])
    if job.rank.height < 2:
        wanted = f" ({missing})" if missing else ""
        return (
            f"one rank is recorded{wanted}; a cause is found by comparing ranks. Record all ranks."
        )
    refused = job.caveat.filter(pl.col("code").is_in(REFUSING_CODES))
    if refused.height:
        return f"{refused['text'][0]}."
    if not job.instance.height:
        return "no communication between the ranks could be matched, so nothing couples them."
    # a schedule says itself what waits for what, and may hold communication alone
    if job.source != "goal" and not work_waits(job):
        return (
            "ranks communicate, but no work was found to wait for any communication; the coupled "
            "graph lacks waits of this job."
        )
    if fidelity.error_ratio_median > settings.gate:
        return (
            f"the replay misses the measured steps by {100 * fidelity.error_ratio_median:.1f} % "
            f"(median), more than the gate of {100 * settings.gate:.1f} %; the coupled graph does "
            "not explain this recording."
        )
    return ""


def _cannot_clear(job: CoupledJob, judgement: Judgement, settings: Settings) -> str:
    """Why nobody may be cleared although no place was found; empty if all may."""
    if judgement.kind not in {"none", "jitter", "absorbed"}:
        return ""
    lacking = job.instance.filter(~pl.col("matched")).height
    missing = job.caveat.filter(pl.col("code").is_in(MISSING_CODES))
    if lacking or missing.height:
        what = missing["text"][0] if missing.height else f"{lacking} communications lack members"
        return f"no recorded rank is to blame, but {what}; record all ranks to clear anybody."
    residual_ns, doubt_s = _clock_doubt(job)
    if doubt_s > settings.gate * judgement.step_s:
        return (
            f"the clocks of the ranks disagree by up to {residual_ns / 1e3:.0f} us at the end of a "
            f"communication; over a step that is {100 * doubt_s / judgement.step_s:.0f} % of it, "
            "more than the gate: who was late cannot be told, and nobody can be cleared."
        )
    return ""


def _below_clocks(job: CoupledJob, judgement: Judgement) -> str:
    """Why no one place may be blamed for less than the clocks leave open; empty if it may."""
    cause = judgement.cause
    if cause is None or cause.candidate.place == "all":
        return ""
    residual_ns, doubt_s = _clock_doubt(job)
    if cause.gain_s >= doubt_s:
        return ""
    return (
        f"the clocks of the ranks disagree by up to {residual_ns / 1e3:.0f} us at the end of a "
        f"communication, {doubt_s * 1e3:.3g} ms over a step; the best cause returns "
        f"{cause.gain_s * 1e3:.3g} ms, which may be theirs."
    )


def _clock_doubt(job: CoupledJob) -> tuple[int, float]:
    """Give the residual of the clocks in ns, and what it may add up to over a step in s.

    Clocks are set, so what they leave open differs from one communication to the next and adds up
    in squares; communications of other ranks do not blur a rank's waits. Hosts end communications
    when they are scheduled, not when the data is there: without device lanes nothing is claimed.
    """  # noqa: DOC201
    residual_ns = max(0, int(job.rank["clock_residual_ns"].max() or 0))  # type: ignore[arg-type]
    if not (job.lane["kind"] == "device").any():
        return residual_ns, 0.0
    members = job.op["rank"].to_numpy()[job.membership["op"].to_numpy()]
    most = int(np.bincount(members).max(initial=0)) / max(1, job.graph.step.size)
    return residual_ns, residual_ns / 1e9 * most**0.5


def _baselines(
    job: CoupledJob, ideal: FloatArray, settings: Settings
) -> dict[Baseline, FloatArray]:
    """Give ideal work under every baseline; `ideal` is that of the chosen one."""
    return {b: ideal if b == settings.baseline else ideal_work_ns(job, b) for b in BASELINES}


def _gain_by_baseline(
    job: CoupledJob, baselines: Mapping[Baseline, FloatArray], judgement: Judgement | None
) -> dict[str, float] | None:
    """Say what the cause's ops return if they are set to each ideal: how the verdict moves."""
    cause = judgement.cause if judgement else None
    if judgement is None or cause is None:
        return None
    op = cause.candidate.op
    work = job.work_ns.astype(np.float64)
    gains: dict[str, float] = {}
    for baseline, ideal in baselines.items():
        changed = work.copy()
        changed[op] = ideal[op]
        gains[baseline] = judgement.step_s - _mean_step_s(job, changed)
    return gains


def _slowdown(
    job: CoupledJob,
    steps: CoupledSteps,
    baselines: Future[dict[Baseline, FloatArray]],
    settings: Settings,
) -> dict[str, Any]:
    """Give the slowdown by the published method where it applies, and under every baseline."""
    replayed = float((step_time_ns(job.graph, replay(job.graph, job.work_ns)) / 1e9).mean())
    measured = float((measured_step_ns(job) / 1e9).mean())
    best = {b: _mean_step_s(job, ideal) for b, ideal in baselines.result().items()}
    chosen = best[settings.baseline]
    by_baseline = {b: replayed / v if v > 0 else None for b, v in best.items()}
    is_table = job.source == "op_table"
    published, m_w, m_s = published_slowdown(steps) if is_table else (None, None, None)
    return {
        "ratio": published if published is not None else by_baseline[settings.baseline],
        "method": "published (mean of computation, median of communication)"
        if published is not None
        else f"{settings.baseline} of peers",
        "waste_ratio": 1 - chosen / replayed if replayed > 0 else None,
        "launch_ratio": measured / replayed if replayed > 0 else None,
        "baseline": settings.baseline,
        "by_baseline": by_baseline,
        "m_w": m_w,
        "m_s": m_s,
    }


def _sound(slowdown: dict[str, Any], *, assessed: bool) -> dict[str, Any]:
    """Leave out what peers say where nothing across ranks is concluded; the published method stays."""
    if assessed:
        return slowdown
    kept = {} if slowdown["method"].startswith("published") else {"ratio": None}
    by_baseline = dict.fromkeys(slowdown["by_baseline"])
    return slowdown | kept | {"waste_ratio": None, "by_baseline": by_baseline}


def _mean_step_s(job: CoupledJob, work_ns: FloatArray) -> float:
    return float(step_time_ns(job.graph, replay(job.graph, work_ns)).mean()) / 1e9


def _cause_tables(
    job: CoupledJob, fidelity: Fidelity, ideal: FloatArray, judgement: Judgement | None
) -> dict[str, pl.DataFrame]:
    """Compute the tables that show the verdict beside what there is."""
    best = replay(job.graph, np.rint(ideal).astype(np.int64))
    without = replay(job.graph, _work_without(job, judgement))
    seconds = {
        "measured_s": fidelity.measured_s,
        "replayed_s": fidelity.replayed_s,
        "ideal_s": step_time_ns(job.graph, best) / 1e9,
        "without_cause_s": step_time_ns(job.graph, without) / 1e9,
    }
    return {
        "step_time": STEP_TIME.build({"step": job.graph.step, **seconds}),
        "cause": judgement.table() if judgement else CAUSE.empty(),
    }


def _work_without(job: CoupledJob, judgement: Judgement | None) -> NDArray[np.int64]:
    return np.rint(judgement.without_ns).astype(np.int64) if judgement else job.work_ns


def _drawn_tables(
    job: CoupledJob, ideal: FloatArray, shown: _Shown, *, judgement: Judgement | None
) -> dict[str, pl.DataFrame]:
    """Draw path and bars of the longest step with and without the cause, and all ranks and steps."""
    actual, exposure = shown
    ideal_ns = np.rint(ideal).astype(np.int64)
    named = judgement is not None and judgement.cause is not None
    work = _work_without(job, judgement)
    without = replay(job.graph, work)
    step = longest_step(job, actual)
    path = path_table(
        job, (actual, job.work_ns), (without, work) if named else None, ideal_ns=ideal_ns, step=step
    )
    places = exposure.occupancy.places
    cleared = (without, exposed(job, without, work, places=places)) if named else None
    return {
        "path": path,
        "timeline": timeline_table(job, shown, cleared, path=path, step=step),
        "rank_step": rank_step(job, ideal_ns, exposure),
    }


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
    least = VICTIM_RATIO * judgement.step_s * max(1, job.graph.step.size)
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
