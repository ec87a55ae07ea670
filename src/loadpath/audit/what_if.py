"""Questions to an audited job: what the step would take if some ops were different."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.effects import nest_effects
from loadpath.errors import UsageError
from loadpath.replay import replay, step_time_ns

__all__ = ["WhatIf", "answer_what_if"]

LARGEST_FACTOR = 1e6
PATTERN = re.compile(r"(?P<by>\w+)=(?P<key>.+):(?P<value>ideal|[0-9.eE+-]+)")
HELP = (
    "Write BY=KEY:VALUE, such as rank=0:ideal, class=backward-compute:0.9 or stage=last:ideal; "
    "BY is rank, class, stage, replica, host, link, mechanism or step, VALUE is ideal or a factor."
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
    basis : str
        Always ``replayed``.
    """

    changes: tuple[str, ...]
    step_s: float
    step_s_without: float
    saved_s: float
    saved_ratio: float
    n_op: int
    basis: str = "replayed"


def answer_what_if(job: CoupledJob, changes: Sequence[str]) -> WhatIf:
    """Replay a job with changed work.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    changes : sequence of str
        ``BY=KEY:VALUE`` each; all apply together, later ones after earlier ones.

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
        match = PATTERN.fullmatch(change.strip())
        rows = _rows(job, match["by"], match["key"]) if match else None
        if match is None or rows is None or not rows.any():
            problems.append(
                f"{change!r} {'matches nothing' if rows is not None else 'is no change'}"
            )
            continue
        if match["value"] == "ideal":
            ideal = effects.ideal_ns if match["by"] == "stage" else effects.level_ns
            changed[rows] = ideal[rows]
        else:
            try:
                factor = float(match["value"])
            except ValueError:
                factor = -1.0
            if not 0 <= factor <= LARGEST_FACTOR:
                problems.append(
                    f"{change!r} has no factor of 0 or more, up to {LARGEST_FACTOR:,.0f}"
                )
                continue
            changed[rows] *= factor
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
    )


def _rows(job: CoupledJob, by: str, key: str) -> NDArray[np.bool_] | None:
    """Ops that a selector names; None for an unknown selector."""
    op = job.op
    selectors: dict[str, Callable[[], pl.Series]] = {
        "rank": lambda: op["rank"].cast(pl.String) == key,
        "class": lambda: (
            (op["name"].cast(pl.String) == key) | (op["op_class"].cast(pl.String) == key)
        ),
        "stage": lambda: (
            op["stage"] == op["stage"].max()
            if key == "last"
            else op["stage"].cast(pl.String) == key
        ),
        "replica": lambda: op["replica"].cast(pl.String) == key,
        "step": lambda: op["step"].cast(pl.String) == key,
        "mechanism": lambda: op["mechanism"].cast(pl.String) == key,
        "kind": lambda: op["kind"].cast(pl.String) == key,
        "host": lambda: op["rank"].is_in(job.rank.filter(pl.col("host") == key)["rank"].to_list()),
        "link": lambda: op["communicator"].is_in(
            job.communicator.filter(pl.col("name") == key)["communicator"].to_list()
        ),
    }
    return selectors[by]().to_numpy() if by in selectors else None
