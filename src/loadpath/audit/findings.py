"""Diagnose a coupled job: fidelity first, then causes, attribution, root causes and tables."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.audit.limits import NO_LIMITS, limit_tables, waiting_tables
from loadpath.audit.settings import Settings
from loadpath.audit.sources import Progress
from loadpath.audit.stability import measure_stability, weigh_interaction, without_stability
from loadpath.couple import CoupledJob
from loadpath.couple.steps import as_steps, lay_out
from loadpath.diagnose.attribution import attribute
from loadpath.diagnose.blindness import blindness_report, usual_views
from loadpath.diagnose.candidate import lay_out_candidate
from loadpath.diagnose.candidates import find_candidates
from loadpath.diagnose.critical import longest_step, path_table, unexplained_ratio
from loadpath.diagnose.effects import Effects, lay_out_effects, nest_effects
from loadpath.diagnose.exposure import Exposure, exposed
from loadpath.diagnose.fidelity import Fidelity, measure_fidelity, measured_step_ns, work_waits
from loadpath.diagnose.gains import mean_step_s, step_times_s
from loadpath.diagnose.levels import BASELINES, Baseline, FloatArray, ideal_work_ns
from loadpath.diagnose.published import published_slowdown
from loadpath.diagnose.rank_bars import timeline_table
from loadpath.diagnose.rank_time import rank_step, rank_time
from loadpath.diagnose.root_cause import Roots, walk_back
from loadpath.diagnose.step_bound import step_bounds
from loadpath.diagnose.verdict import POLICY_RATIO, Judgement, judge
from loadpath.replay import Mixture, Timeline, replay, replay_runs
from loadpath.tables import caveat_table
from loadpath.tables.results import CAUSE, STEP_TIME

__all__ = ["diagnose", "unexplained_caveat", "why_refused"]


class _LaidOut(NamedTuple):
    """All steps in one graph, their replay, and what ranks do at each moment of it."""

    job: CoupledJob
    timeline: Timeline
    exposure: Exposure


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
    "ends_unknown",
    "overlapping_calls",
)
"""Caveats that rule out conclusions across ranks."""
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
        views = pool.submit(lambda: usual_views(job, measured_step_ns(job) / 1e9))
        unexplained = pool.submit(unexplained_ratio, job)
        laid_out = pool.submit(_lay_out, job)
        fidelity = measure_fidelity(job)
        refusal = why_refused(job, fidelity, settings)
        effects = nest_effects(job)
        ideal = _ideal(job, effects, settings)
        progress("weighing causes and attributing waits")
        beside = pool.submit(_causeless, job, effects, ideal, laid_out)
        baselines = pool.submit(_baselines, job, ideal, settings)
        slowdown = pool.submit(_slowdown, job, fidelity, baselines, settings)
        limits = pool.submit(_limits, job, refusal, (ideal, settings), (laid_out, beside))
        all_steps = laid_out.result().job
        stable = pool.submit(
            measure_stability,
            as_steps(job),
            all_steps,
            lay_out_effects(effects, job.n_run),
            (fidelity, refusal, settings),
            progress=progress,
            drawn=drawn,
        )
        refusal, judgement = _judgement(job, effects, refusal, settings)
        tables = beside.result()[0] | _cause_tables(job, fidelity, ideal, judgement)
    tables |= limits.result() if judgement else _without_limits()
    tables |= stable.result() if judgement else without_stability(fidelity, settings)
    tables["interaction"] = weigh_interaction(
        all_steps,
        lay_out_effects(effects, job.n_run),
        _laid_out_causes(job, judgement),
        settings,
    )
    tables["blindness"] = blindness_report(
        job, _culprits(judgement), fidelity.measured_s, views=views.result()
    )
    tables["caveat"] = pl.concat([job.caveat, unexplained_caveat(unexplained.result(), judgement)])
    if drawn:
        tables |= _drawn_tables(job, ideal, laid_out.result(), judgement=judgement)
    return {
        "fidelity": fidelity,
        "judgement": judgement,
        "refusal": refusal,
        "slowdown": _sound(slowdown.result(), assessed=judgement is not None),
        "gain_by_baseline": _gain_by_baseline(job, baselines.result(), judgement),
        "tables": tables,
        "unexplained_ratio": unexplained.result(),
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


def _lay_out(runs: CoupledJob) -> _LaidOut:
    """Replay all steps in one graph, and look at every moment of every rank."""
    job = lay_out(runs)
    actual = replay(job.graph, job.work_ns)
    return _LaidOut(job, actual, exposed(job, actual, job.work_ns))


def _laid_out_causes(runs: CoupledJob, judgement: Judgement | None) -> Judgement | None:
    """Place causes on the ops of every run, as `lay_out` numbers them."""
    if judgement is None or runs.runs is None:
        return judgement
    causes = tuple(
        replace(j, candidate=lay_out_candidate(j.candidate, runs.n_run, runs.n_op))
        for j in judgement.causes
    )
    return replace(judgement, causes=causes)


def _causeless(
    runs: CoupledJob, effects: Effects, ideal: FloatArray, laid_out: Future[_LaidOut]
) -> tuple[dict[str, pl.DataFrame], Roots]:
    """Compute the tables of what ranks and ops cost, whatever the cause."""
    job, actual, exposure = laid_out.result()
    ideal_ns = np.tile(np.rint(ideal).astype(np.int64), runs.n_run)
    best = replay(job.graph, ideal_ns)
    ideal_exposure = exposed(job, best, ideal_ns, places=exposure.occupancy.places)
    roots = walk_back(job, actual, job.work_ns, ideal_ns, exposures=(exposure, ideal_exposure))
    tables = {
        "step_bound": step_bounds(runs),
        "rank_time": rank_time(job, actual, exposure, ideal_exposure),
        "attribution": attribute(runs, effects.work_ns, ideal),
        "sink": roots.sink,
        "coupling": roots.coupling,
    }
    return tables, roots


def _limits(
    runs: CoupledJob,
    refusal: str,
    chosen: tuple[FloatArray, Settings],
    known: tuple[Future[_LaidOut], Future[tuple[dict[str, pl.DataFrame], Roots]]],
) -> dict[str, pl.DataFrame]:
    """Compute what limits the job and how its ranks are coupled, once waits are walked back."""
    if refusal:
        return _without_limits()
    (job, _, exposure), (_, roots) = known[0].result(), known[1].result()
    ideal, settings = np.tile(chosen[0], runs.n_run), chosen[1]
    places = exposure.occupancy.places
    tables = limit_tables(job, as_steps(runs), ideal, settings, places=places)
    return tables | waiting_tables(job, roots, settings)


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
    if (job.caveat["code"] == "clocks_by_name").any():
        doubt_s = _adding_up_s(job, residual_ns)
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
    return residual_ns, _adding_up_s(job, residual_ns)


def _adding_up_s(job: CoupledJob, residual_ns: int) -> float:
    """Add up over a step what clocks leave open at the end of each communication of a rank."""
    members = job.op["rank"].to_numpy()[job.membership["op"].to_numpy()]
    most = int(np.bincount(members).max(initial=0)) / max(1, job.graph.step.size)
    return float(residual_ns / 1e9 * most**0.5)


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
    mixture = Mixture(np.ones(job.n_op, np.bool_))
    mixture.measured[cause.candidate.op] = False
    work = np.atleast_2d(job.work_ns).astype(np.float64)
    return {
        baseline: judgement.step_s
        - float(replay_runs(job.graph, work, ideal, [mixture]).mean()) / 1e9
        for baseline, ideal in baselines.items()
    }


def _slowdown(
    job: CoupledJob,
    fidelity: Fidelity,
    baselines: Future[dict[Baseline, FloatArray]],
    settings: Settings,
) -> dict[str, Any]:
    """Give the slowdown by the published method where it applies, and under every baseline."""
    replayed, measured = float(fidelity.replayed_s.mean()), float(fidelity.measured_s.mean())
    best = {b: mean_step_s(job, ideal) for b, ideal in baselines.result().items()}
    chosen = best[settings.baseline]
    by_baseline = {b: replayed / v if v > 0 else None for b, v in best.items()}
    is_table = job.source == "op_table"
    published, m_w, m_s = published_slowdown(as_steps(job)) if is_table else (None, None, None)
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


def _cause_tables(
    job: CoupledJob, fidelity: Fidelity, ideal: FloatArray, judgement: Judgement | None
) -> dict[str, pl.DataFrame]:
    """Compute the tables that show the verdict beside what there is."""
    ideal_s = step_times_s(job, np.rint(ideal).astype(np.int64))
    seconds = {
        "measured_s": fidelity.measured_s,
        "replayed_s": fidelity.replayed_s,
        "ideal_s": np.broadcast_to(ideal_s, job.step_number.shape),
        "without_cause_s": step_times_s(job, _work_without(job, judgement)),
    }
    return {
        "step_time": STEP_TIME.build({"step": job.step_number, **seconds}),
        "cause": judgement.table() if judgement else CAUSE.empty(),
    }


def _work_without(job: CoupledJob, judgement: Judgement | None) -> NDArray[np.int64]:
    return np.rint(judgement.without_ns).astype(np.int64) if judgement else job.work_ns


def _drawn_tables(
    runs: CoupledJob, ideal: FloatArray, laid_out: _LaidOut, *, judgement: Judgement | None
) -> dict[str, pl.DataFrame]:
    """Draw path and bars of the longest step with and without the cause, and all ranks and steps."""
    job, actual, exposure = laid_out
    ideal_ns = np.tile(np.rint(ideal).astype(np.int64), runs.n_run)
    named = judgement is not None and judgement.cause is not None
    work = _work_without(runs, judgement).ravel()
    without = replay(job.graph, work)
    step = longest_step(job, actual)
    path = path_table(
        job, (actual, job.work_ns), (without, work) if named else None, ideal_ns=ideal_ns, step=step
    )
    places = exposure.occupancy.places
    cleared = (without, exposed(job, without, work, places=places)) if named else None
    return {
        "path": path,
        "timeline": timeline_table(job, (actual, exposure), cleared, path=path, step=step),
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
