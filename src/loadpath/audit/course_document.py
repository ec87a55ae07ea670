"""How a cause lies over the steps, as audit.json says it and in words."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from loadpath.couple import CoupledJob
from loadpath.diagnose.common_steps import course_name
from loadpath.diagnose.verdict import Judged
from loadpath.units import format_ratio, format_seconds

__all__ = ["course_section", "course_words"]

MOST_STEPS = 16
"""Slow steps that are listed by number; ``n_steps`` counts all."""


def course_section(job: CoupledJob, cause: Judged | None) -> dict[str, Any] | None:
    """Say which steps a cause sits in, how they follow each other, and which op carries it.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    cause : Judged or None
        The cause.

    Returns
    -------
    dict or None
        Fields of ``verdict.course``; None where the excess is steady or follows no course.
    """
    course = cause.candidate.course if cause else None
    if cause is None or course is None:
        return None
    slow = job.step_number[course.slow]
    name, ratio = _carrier(job, cause)
    is_drift = course.name == "drift"
    return {
        "name": course.name,
        "words": course_name(course, job.step_number),
        "steps": slow[:MOST_STEPS].tolist(),
        "n_steps": int(slow.size),
        "n_steps_recorded": int(job.step_number.size),
        "period_n_steps": course.period or None,
        "slope_s_per_step": course.slope if is_drift else None,
        "excess_s": None if is_drift else cause.gain_s * job.step_number.size / max(1, slow.size),
        "op_name": name,
        "op_ratio": ratio,
    }


def course_words(section: Mapping[str, Any]) -> str:
    """Say a course in words.

    Parameters
    ----------
    section : mapping
        ``verdict.course`` of audit.json.

    Returns
    -------
    str
        Such as ``4 of 20 steps take 200 ms longer, all of it in forward-compute``.
    """
    share = section["op_ratio"]
    carrier = f", {format_ratio(share)} of it in {section['op_name']}" if share else ""
    if section["name"] == "drift":
        slope = section["slope_s_per_step"]
        more = "more" if slope > 0 else "less"
        return f"each step takes {format_seconds(abs(slope))} {more} than the one before{carrier}"
    n, recorded = section["n_steps"], section["n_steps_recorded"]
    longer = format_seconds(section["excess_s"])
    takes = "takes" if n == 1 else "take"
    return f"{n:,} of {recorded:,} steps {takes} {longer} longer{carrier}"


def _carrier(job: CoupledJob, cause: Judged) -> tuple[str, float | None]:
    """Name of the ops that hold most of what the cause adds, and their share of it."""
    c = cause.candidate
    name = job.op["name"].cast(pl.String).gather(c.op)
    change = np.maximum(np.atleast_2d(-c.change_ns), 0.0).sum(axis=0)
    held = (
        pl.DataFrame({"name": name, "change": change})
        .group_by("name")
        .sum()
        .sort(["change", "name"], descending=[True, False])
    )
    total = float(held["change"].sum())
    if total <= 0:
        return "", None
    return str(held["name"][0]), float(held["change"][0]) / total
