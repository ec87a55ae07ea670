"""Questions to an audited job: what the step would take if some ops were different."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.audit.refusal import why_refused
from loadpath.audit.settings import Settings
from loadpath.couple import CoupledJob
from loadpath.diagnose.effects import Effects, nest_effects
from loadpath.diagnose.fidelity import measure_fidelity
from loadpath.errors import UsageError
from loadpath.replay import replay, step_time_ns

__all__ = ["WhatIf", "answer_what_if"]

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

LARGEST_FACTOR = 1e6
SHOWN = 8
"""Names listed to one who asked for a name that the job does not have."""
PATTERN = re.compile(r"(?P<by>\w+)=(?P<key>.+):(?P<value>ideal|[0-9.eE+-]+)")
HELP = (
    "Write BY=KEY:VALUE, such as rank=0:ideal, class=backward-compute:0.9 or stage=last:ideal; "
    "BY is rank, class, stage, replica, host, link, mechanism, kind or step, VALUE is ideal or a "
    "factor."
)


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Answer to a what-if.

    Attributes
    ----------
    changes : tuple of str
        What was asked.
    step_s, step_s_without : float
        Mean replayed step, as measured and as asked, in s.
    saved_s, saved_ratio : float
        What the change returns, a step and as a share of it.
    n_op : int
        Ops that the change touches.
    doubt : str
        Why the replay is no ground for conclusions across ranks; empty if it is.
    basis : str
        Always ``replayed``.
    """

    changes: tuple[str, ...]
    step_s: float
    step_s_without: float
    saved_s: float
    saved_ratio: float
    n_op: int
    doubt: str = ""
    basis: str = "replayed"


def answer_what_if(
    job: CoupledJob, changes: Sequence[str], settings: Settings | None = None
) -> WhatIf:
    """Replay a job with changed work.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    changes : sequence of str
        ``BY=KEY:VALUE`` each; all apply together, later ones after earlier ones.
    settings : Settings, optional
        Gate of the replay error; the default where left out.

    Returns
    -------
    WhatIf
        Step times and savings.

    Raises
    ------
    UsageError
        If a change cannot be read or matches nothing; all such are named at once.
    """
    effects = nest_effects(job)
    changed = effects.work_ns.copy()
    touched = np.zeros(job.n_op, np.bool_)
    problems = []
    for change in changes:
        try:
            rows, changed = _apply(change, job, effects, changed)
        except UsageError as error:
            problems.append(f"{change!r} {error}")
        else:
            touched |= rows
    if problems or not changes:
        raise UsageError(f"{'; '.join(problems) or 'no change given'}. {HELP}")
    before = float(step_time_ns(job.graph, replay(job.graph, effects.work_ns)).mean()) / 1e9
    after = float(step_time_ns(job.graph, replay(job.graph, changed)).mean()) / 1e9
    return WhatIf(
        changes=tuple(changes),
        step_s=before,
        step_s_without=after,
        saved_s=before - after,
        saved_ratio=(before - after) / before if before > 0 else 0.0,
        n_op=int(touched.sum()),
        doubt=why_refused(job, measure_fidelity(job), settings or Settings()),
    )


def _apply(
    change: str, job: CoupledJob, effects: Effects, work_ns: FloatArray
) -> tuple[BoolArray, FloatArray]:
    """Say which ops a change is about, and what all ops work after it."""
    match = PATTERN.fullmatch(change.strip())
    names = _names(job, match["by"]) if match else []
    if match is None or not names:
        raise UsageError("is no change")
    key = match["key"]
    if match["by"] == "stage" and key == "last":
        key = str(job.op["stage"].max())
    rows = np.logical_or.reduce([series.eq_missing(key).to_numpy() for series in names])
    if not rows.any():
        raise UsageError(_nothing_matches(names))
    if match["value"] == "ideal":
        asked = effects.ideal_ns if match["by"] == "stage" else effects.level_ns
    else:
        asked = work_ns * _factor(match["value"])
    return rows, np.where(rows, asked, work_ns)


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = -1.0
    if not 0 <= factor <= LARGEST_FACTOR:
        raise UsageError(f"has no factor of 0 or more, up to {LARGEST_FACTOR:,.0f}")
    return factor


def _names(job: CoupledJob, by: str) -> list[pl.Series]:
    """Give the names, one an op, that a selector goes by; none for an unknown selector."""
    op = job.op
    if by == "class":
        return [op["name"].cast(pl.String), op["op_class"].cast(pl.String)]
    if by in {"rank", "stage", "replica", "step", "mechanism", "kind"}:
        return [op[by].cast(pl.String)]
    if by == "host":
        return [op["rank"].replace_strict(job.rank["rank"], job.rank["host"], default=None)]
    if by == "link":
        known = job.communicator
        return [
            op["communicator"].replace_strict(known["communicator"], known["name"], default=None)
        ]
    return []


def _nothing_matches(names: Sequence[pl.Series]) -> str:
    """Say what could have been named, the first few of it."""
    choices = pl.concat([series.unique(maintain_order=True) for series in names]).drop_nulls()
    known = [name for name in dict.fromkeys(choices.to_list()) if name]
    if not known:
        return "matches nothing (this job has no such names)"
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return f"matches nothing (there are {', '.join(known[:SHOWN])}{more})"
