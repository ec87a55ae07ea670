"""The verdict of audit.json: fields, and the sentence that says them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from loadpath.audit.course_document import course_section, course_words
from loadpath.brief.names import cause_name
from loadpath.brief.visible import visible
from loadpath.couple import CoupledJob
from loadpath.diagnose.candidate import Candidate
from loadpath.diagnose.course import COURSES
from loadpath.diagnose.fidelity import Fidelity
from loadpath.diagnose.judgement import Judged, Judgement
from loadpath.diagnose.resampling import FEWEST_DRAWN
from loadpath.diagnose.thread_shares import where_most
from loadpath.diagnose.verdict import N_RESAMPLE, POLICY_RATIO
from loadpath.units import format_ratio, format_seconds

__all__ = ["verdict_document", "verdict_sentence"]

MECHANISM_TEXT = {
    "device": "slow device work",
    "host": "slow or paused host work",
    "input": "waiting for data",
    "communication": "slow transfers",
    "workload": "uneven work",
    "noise": "no one place, but noise",
    **dict.fromkeys(COURSES, "slow for all alike, so aligning ranks returns nothing"),
    "unknown": "slow work (device or host: the record cannot tell)",
}

WAITING_TEXT = {
    "input": "waiting for input",
    "checkpoint": "saving or loading a checkpoint",
    "storage": "reading or writing files",
}


SET_ASIDE = {
    "within_noise": "differs no more from its peers than chance or design explains",
    "present": "all other variation costs over five times as much",
}
"""Why a cause that returns more than the policy asks is nobody's verdict."""


def verdict_document(
    job: CoupledJob, judgement: Judgement | None, findings: Mapping[str, Any]
) -> dict[str, Any]:
    """Put the verdict into its fields.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    judgement : Judgement or None
        What was decided; None where nothing is concluded.
    findings : mapping
        ``fidelity``, ``refusal``, ``gain_by_baseline``, ``victims``, ``distance``.

    Returns
    -------
    dict
        Fields of ``verdict`` in audit.json.
    """
    if judgement is None:
        return _refused(findings["refusal"], findings["fidelity"])
    cause = judgement.cause
    named = cause.candidate if cause else None
    shares = cause if cause and _is_resolved(cause) else None
    waits_for = _waits_for(job, named)
    course = course_section(job, cause)
    within = _within(job, named)
    return {
        "kind": judgement.kind,
        "place": judgement.place,
        "mechanism": judgement.mechanism,
        "waits_for": waits_for,
        "ranks": list(named.ranks) if named and named.kind in {"rank", "host", "link"} else [],
        "culprit_ranks": list(named.ranks) if named and named.place != "all" else [],
        "hosts": list(named.hosts) if named else [],
        "stage": named.stage if named and named.stage >= 0 else None,
        "link": list(named.ranks) if named and named.link else None,
        "link_name": named.link if named and named.link else None,
        "share_removal_ratio": shares.removal_ratio if shares else None,
        "share_addition_ratio": shares.addition_ratio if shares else None,
        "step_s": judgement.step_s,
        "step_s_without": judgement.step_without_s,
        "gain_s": judgement.step_s - judgement.step_without_s if cause else None,
        "confidence": judgement.confidence,
        "n_resamples": N_RESAMPLE if judgement.n_drawn >= FEWEST_DRAWN else None,
        "confidence_method": _confidence_method(job, judgement),
        "policy_ratio": POLICY_RATIO,
        "within": within,
        "intermittent": bool(named and named.intermittent),
        "course": course,
        "indistinguishable_from": list(judgement.indistinguishable_from),
        "gain_by_baseline": findings["gain_by_baseline"],
        "victims": findings["victims"],
        "distance": findings["distance"],
        "causes": [
            _cause(j) for j in judgement.causes if j.state in {"verdict", "present", "absorbed"}
        ],
        "runner_up": _cause(judgement.runner_up) if judgement.runner_up else None,
        "summary": verdict_sentence(judgement, waits_for, course, within),
    }


def _confidence_method(job: CoupledJob, judgement: Judgement) -> str:
    """Say what was drawn again, or why nothing was."""
    what = "steps" if job.step_number.size > 1 else "communications"
    if judgement.n_drawn < FEWEST_DRAWN:
        return f"not assessed: {FEWEST_DRAWN} {what} are needed, the record has {judgement.n_drawn}"
    return f"share of {N_RESAMPLE:,} resamples of {what} with this verdict"


def _refused(reason: str, fidelity: Fidelity) -> dict[str, Any]:
    nothing = dict.fromkeys(
        ("course", "waits_for", "within", "stage", "link", "link_name", "share_removal_ratio", "share_addition_ratio", "step_s_without",
         "gain_s", "n_resamples", "confidence", "confidence_method", "gain_by_baseline", "runner_up", "distance")
    )  # fmt: skip
    empty: dict[str, list[Any]] = {
        name: []
        for name in (
            "ranks",
            "culprit_ranks",
            "hosts",
            "indistinguishable_from",
            "victims",
            "causes",
        )
    }
    return {
        **nothing,
        **empty,
        "kind": "not_assessable",
        "place": "nobody",
        "mechanism": "unknown",
        "policy_ratio": POLICY_RATIO,
        "intermittent": False,
        "step_s": float(fidelity.measured_s.mean()) if fidelity.measured_s.size else None,
        "summary": f"No conclusion is drawn: {reason}",
    }


def _cause(judged: Judged) -> dict[str, Any]:
    c = judged.candidate
    return {
        "kind": c.kind,
        "place": c.place,
        "key": c.key,
        "mechanism": c.mechanism,
        "ranks": list(c.ranks),
        "gain_s": judged.gain_s,
        "gain_low_s": judged.low_s,
        "gain_high_s": judged.high_s,
        "removal_ratio": judged.removal_ratio,
        "addition_ratio": judged.addition_ratio,
        "state": judged.state,
        "intermittent": c.intermittent,
        "basis": "replayed",
    }


def _waits_for(job: CoupledJob, cause: Candidate | None) -> str | None:
    """Say which kind of data most of the excess waits for."""
    if cause is None or cause.mechanism != "input":
        return None
    kind = job.op["kind"].cast(pl.String).gather(cause.op)
    change = np.atleast_2d(cause.change_ns).sum(axis=0)
    excess = pl.DataFrame({"kind": kind, "change": change}).group_by("kind").sum()
    return str(excess.sort("change", "kind")["kind"][0])


def _within(job: CoupledJob, cause: Candidate | None) -> dict[str, Any] | None:
    """Say on which thread, and in which region, most of a cause's excess lies."""
    if cause is None or job.source != "otf2" or cause.kind not in {"rank", "host", "threads"}:
        return None
    op, excess = cause.op, -np.atleast_2d(cause.change_ns).mean(axis=0)
    lanes = job.lane.filter(pl.col("rank").is_in(cause.ranks))
    several = lanes["lane"].n_unique() > 1
    thread = where_most(job, op, excess, "lane") if several else None
    if thread:
        here = job.op["lane"].to_numpy()[op] == thread[0]
        op, excess = op[here], excess[here]
    region = where_most(job, op, excess, "name")
    names = lanes.filter(lane=thread[0])["name"].to_list() if thread else []
    return {
        "thread": thread[0] if thread else None,
        "thread_name": names[0] if names else None,
        "thread_ratio": thread[1] if thread else None,
        "region": region[0] if region else None,
        "region_ratio": region[1] if region else None,
    }


def _within_words(within: Mapping[str, Any] | None) -> str:
    """Say thread and region of a cause, as far as they are known."""
    told = within or {}
    thread, region = told.get("thread"), told.get("region")
    if thread is None and region is None:
        return ""
    ratio = (told["thread_ratio"] or 1.0) * (told["region_ratio"] or 1.0)
    on = "" if thread is None else f" on thread {thread}"
    inside = f" in {visible(region, limit=80)}" if region else ""
    return f"; {format_ratio(ratio)} of it{on}{inside}"


def _is_resolved(cause: Judged) -> bool:
    """Whether the interval of the gain leaves out 0; a share inside its own interval is not said."""
    return not cause.low_s <= 0 <= cause.high_s


def verdict_sentence(
    judgement: Judgement,
    waits_for: str | None = None,
    course: Mapping[str, Any] | None = None,
    within: Mapping[str, Any] | None = None,
) -> str:
    """Say a verdict in one sentence: who, what, and what a step would take without it.

    Parameters
    ----------
    judgement : Judgement
        What was decided.
    waits_for : str, optional
        Kind of data that the cause waits for, of an input fault.
    course : mapping, optional
        How the excess lies over steps: ``verdict.course``.
    within : mapping, optional
        Thread and region that hold most of the excess: ``verdict.within``.

    Returns
    -------
    str
        The ``summary`` of a verdict.
    """
    cause = judgement.cause
    if cause is None:
        return _blameless(judgement)
    mechanism = WAITING_TEXT.get(waits_for or "", MECHANISM_TEXT[cause.candidate.mechanism])
    what = f"{cause_name(_cause(cause))}: {mechanism}"
    if judgement.place != "all":
        what += _within_words(within)
    if course:
        what += f"; {course_words(course)}"
    if judgement.kind == "absorbed":
        returns = _returns(cause.gain_s, judgement.step_s, "returns only")
        return f"{what}; slack absorbs it: removing it {returns}, and nothing else costs time."
    without, step = format_seconds(judgement.step_without_s), format_seconds(judgement.step_s)
    text = f"{what}; without it a step takes {without} instead of {step}{_change(judgement)}"
    if judgement.mechanism == "noise":
        text += ": an upper bound, for no job runs without noise"
    if _is_resolved(cause):
        return f"{text}."
    low, high = format_seconds(cause.low_s), format_seconds(cause.high_s)
    return f"{text}; the 95 % interval of the gain, {low} to {high}, holds 0, so no share is given."


def _blameless(judgement: Judgement) -> str:
    step = judgement.step_s
    if step <= 0:
        return "Nobody is to blame: the recorded steps take no time."
    noise = f"removing all noise {_returns(judgement.noise_gain_s, step)}."
    best = judgement.runner_up
    if best is None:
        least = f"no cause returns 0.5 % of the {format_seconds(step)} step"
        return f"Nobody is to blame: {least}, and {noise}"
    place = cause_name(_cause(best))
    what = f"{place} would return {format_ratio(best.gain_s / step)} of the {format_seconds(step)} step"
    return f"Nobody is to blame: {what}, but {SET_ASIDE[best.state]}; {noise}"


def _change(judgement: Judgement) -> str:
    """Write what the two step times of the sentence differ by, as a share of the first."""
    cause, step = judgement.cause, judgement.step_s
    if step <= 0 or cause is None or not _is_resolved(cause):
        return ""
    ratio = (step - judgement.step_without_s) / step
    return f" ({format_ratio(abs(ratio))} {'less' if ratio >= 0 else 'more'})"


def _returns(gain_s: float, step_s: float, verb: str = "returns") -> str:
    if step_s <= 0:
        return f"{verb} {format_seconds(gain_s)}"
    share = format_ratio(abs(gain_s) / step_s)
    whole = f" of the {format_seconds(step_s)} step" if verb != "returns" else ""
    if gain_s < 0 and share != format_ratio(0):
        return f"lengthens it by {share}{whole}"
    return f"{verb} {share}{whole}"
