"""Column names of stage logs: which are stages, what those do, and in what unit they count."""

import re
from typing import NamedTuple

__all__ = ["KEYS", "LONG_DURATION", "StageColumn", "stage_column", "stage_kind"]

KEYS = {
    "rank": ("rank", "global_rank"),
    "step": ("step", "iteration", "iter"),
    "host": ("host", "hostname", "node"),
    "stage": ("stage",),
}
"""Names under which a column that is no duration goes."""
NS_PER = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9, "sec": 1e9, "seconds": 1e9}
SUFFIX = re.compile(rf"(?P<name>.+?)_(?P<unit>{'|'.join(NS_PER)})")
LONG_DURATION = ("duration", "time", "elapsed", "seconds")
"""Names of the one column of durations where each row is one stage."""
WHOLE = {"total", "step", "step_time", "iteration", "time", "timestamp", "start", "end", "elapsed",
         "duration", "wall", "epoch", "start_time", "end_time", "date", "sent", "received",
         "arrived", "returned"}  # fmt: skip
"""What is measured in units of time and is no stage: sums and moments."""
KINDS = {
    "input": {"input", "data", "dataload", "dataloader", "data_loading", "loader", "load", "fetch"},
    "copy": {"copy", "h2d", "to_device", "host_to_device"},
    "forward": {"forward", "fwd"},
    "backward": {"backward", "bwd"},
    "wait": {"wait", "sync", "synchronise", "synchronize", "grad_sync", "all_reduce", "allreduce",
             "comm", "communication", "barrier"},
    "optimizer": {"optimizer", "optimiser", "optim", "update", "optimizer_step"},
    "other": {"other", "rest", "misc", "idle"},
}  # fmt: skip


class StageColumn(NamedTuple):
    """A column that holds how long a stage took.

    Attributes
    ----------
    name : str
        Stage.
    ns : float
        Nanoseconds in its unit.
    has_unit : bool
        Whether the name says the unit.
    """

    name: str
    ns: float
    has_unit: bool


def stage_kind(name: str) -> str:
    """Say what a stage does, by its name.

    Parameters
    ----------
    name : str
        As recorded, without unit.

    Returns
    -------
    str
        ``input, copy, forward, backward, wait, optimizer`` or ``other``.

    Examples
    --------
    >>> stage_kind("fwd"), stage_kind("evaluate")
    ('forward', 'other')
    """
    return next((kind for kind, names in KINDS.items() if name.lower() in names), "other")


def stage_column(header: str) -> StageColumn | None:
    """Read the name of a column as stage and unit.

    Parameters
    ----------
    header : str
        Name of the column.

    Returns
    -------
    StageColumn or None
        None where it is no duration of a stage. A known stage without a unit counts in seconds.

    Examples
    --------
    >>> stage_column("forward_ms"), stage_column("total_ms"), stage_column("loss")
    (StageColumn(name='forward', ns=1000000.0, has_unit=True), None, None)
    """
    found = SUFFIX.fullmatch(header.lower())
    name = found["name"] if found else header.lower()
    if name in WHOLE:
        return None
    if found:
        return StageColumn(name, NS_PER[found["unit"]], has_unit=True)
    known = any(name in names for names in KINDS.values())
    return StageColumn(name, NS_PER["s"], has_unit=False) if known else None
