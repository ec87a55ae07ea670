"""When nothing is concluded across ranks, and why."""

import numpy as np
import polars as pl

from loadpath.audit.settings import Settings
from loadpath.couple import CoupledJob
from loadpath.diagnose.fidelity import Fidelity, work_waits
from loadpath.diagnose.judgement import Judgement
from loadpath.diagnose.verdict import POLICY_RATIO
from loadpath.tables import caveat_table

__all__ = ["REFUSING_CODES", "unexplained_caveat", "why_doubted", "why_refused"]

MISSING_CODES = ("missing_rank", "missing_ranks", "lost_records", "unrecorded_ranks")
"""Caveats that say who was not recorded."""
REFUSING_CODES = (
    "different_jobs",
    "wrong_ranks",
    "other_run",
    "cut_off",
    "bad_clocks",
    "contradicting_times",
    "not_causal",
    "ends_unknown",
    "overlapping_calls",
    "merged_apart",
    "windows_undecided",
    "groups_unmatched",
    "launches_unknown",
)
"""Caveats that rule out conclusions across ranks; the first that is there is named."""


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
    alone = job.rank.height < 2
    if alone and (missing or not _threads_are_coupled(job)):
        wanted = f" ({missing})" if missing else ""
        return (
            f"one rank is recorded{wanted}; a cause is found by comparing ranks. Record all ranks."
        )
    refused = job.caveat.filter(pl.col("code").is_in(REFUSING_CODES))
    if refused.height:
        told = dict(refused.select("code", "text").iter_rows())
        return f"{next(told[code] for code in REFUSING_CODES if code in told)}."
    if not job.instance.height and not alone:
        return "no communication between the ranks could be matched, so nothing couples them."
    # a schedule says itself what waits for what; a step of a stage log ends where all ranks wait
    if job.source not in {"goal", "stage_log"} and not work_waits(job):
        return (
            "ranks communicate, but no work was found to wait for any communication; the coupled "
            "graph lacks waits of this job."
        )
    if fidelity.error_ratio_median > settings.gate:
        return (
            f"the replay misses the measured steps by {100 * fidelity.error_ratio_median:.1f} % "
            f"(median), more than the gate of {100 * settings.gate:.1f} %; the coupled graph does "
            f"not explain this recording{f': {missing}; record all ranks' if missing else ''}."
        )
    return ""


def _threads_are_coupled(job: CoupledJob) -> bool:
    """Whether threads of a rank can be compared with each other where there are no other ranks."""
    return job.source == "otf2" and job.op["lane"].n_unique() > 1


def why_doubted(job: CoupledJob, judgement: Judgement, settings: Settings) -> str:
    """Say why a judgement that was reached may not stand.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    judgement : Judgement
        What was decided.
    settings : Settings
        Gate of the audit.

    Returns
    -------
    str
        Reason and remedy; empty if it stands.
    """
    doubt = judgement.contradiction or _noise_merged(job, judgement)
    doubt = doubt or _cannot_clear(job, judgement, settings)
    return doubt or _below_clocks(job, judgement)


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


def _cannot_clear(job: CoupledJob, judgement: Judgement, settings: Settings) -> str:
    """Why nobody may be cleared although no place was found; empty if all may."""
    if judgement.kind not in {"none", "jitter", "absorbed"}:
        return ""
    shared = job.caveat.filter(pl.col("code") == "shared_stage")
    if shared.height:
        return f"no rank is late to the stage in which all wait, but {shared['text'][0]}."
    unlogged = job.caveat.filter(pl.col("code") == "unlogged_calls")
    if unlogged.height:
        return f"nobody stands out, but nobody can be cleared: {unlogged['text'][0]}."
    unknown = _unknown_members(job)
    if unknown:
        return f"no recorded rank is to blame, but {unknown} to clear anybody."
    residual_ns, doubt_s = _clock_doubt(job)
    if doubt_s > settings.gate * judgement.step_s:
        return (
            f"the clocks of the ranks disagree by up to {residual_ns / 1e3:.0f} us at the end of a "
            f"communication; over a step that is {100 * doubt_s / judgement.step_s:.0f} % of it, "
            "more than the gate: who was late cannot be told, and nobody can be cleared."
        )
    return ""


def _unknown_members(job: CoupledJob) -> str:
    """Whose waiting is not known, and what would tell it; empty if all of it is."""
    missing = job.caveat.filter(pl.col("code").is_in(MISSING_CODES))["text"].to_list()
    early = job.caveat.filter(pl.col("code") == "instances_not_causal")["n"].sum()
    lacking = job.instance.filter(~pl.col("matched")).height
    if lacking > early:
        missing.append(f"communications lack members ({lacking - early} times)")
    if missing:
        return f"{missing[0]}; record all ranks"
    if lacking:
        times = f"({early} times), so that it is not known who waited there"
        return f"a rank ends a communication before another starts it {times}; set the clocks"
    return ""


def _noise_merged(job: CoupledJob, judgement: Judgement) -> str:
    """Why a compressed recording clears nobody; empty if it may."""
    merged = job.caveat.filter(pl.col("code") == "noise_merged")["text"]
    return f"{merged[0]}." if merged.len() and judgement.kind in {"none", "absorbed"} else ""


def _below_clocks(job: CoupledJob, judgement: Judgement) -> str:
    """Why no one place may be blamed for less than the clocks leave open; empty if it may."""
    cause = judgement.cause
    if cause is None or cause.candidate.place == "all":
        return ""
    residual_ns, doubt_s = _clock_doubt(job)
    if (job.caveat["code"] == "clocks_by_name").any():
        doubt_s = _adding_up_s(job, residual_ns)
    # what is absorbed returns nothing: it is told by its excess
    is_absorbed = judgement.kind == "absorbed"
    found_s = cause.excess_s if is_absorbed else cause.gain_s
    if found_s >= doubt_s:
        return ""
    return (
        f"the clocks of the ranks disagree by up to {residual_ns / 1e3:.0f} us at the end of a "
        f"communication, {doubt_s * 1e3:.3g} ms over a step; the best cause "
        f"{'has an excess of' if is_absorbed else 'returns'} {found_s * 1e3:.3g} ms, which may be theirs."
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
