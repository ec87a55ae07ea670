"""Which options of a forecast each kind of source has an answer to; what it has none to is refused."""

from collections.abc import Collection, Mapping
from typing import Literal

from loadpath.audit.forecast_settings import ForecastSettings
from loadpath.errors import UsageError

__all__ = ["EVERYWHERE", "HONOURED", "SourceKind", "refuse_others"]

SourceKind = Literal["design", "op table", "audit of an op table", "traces", "record", "runs"]
"""What a forecast knows a job by; `record` is any of the three before it was read."""

EVERYWHERE = frozenset({"sizes", "points", "goal", "seed", "worlds", "value", "budget", "as_of"})
"""Options that every source has an answer to."""
OF_RECORDS = frozenset({"rate", "currency", "tensor", "pipeline"})
HONOURED: Mapping[SourceKind, frozenset[str]] = {
    "design": frozenset(
        {
            "calibrate", "collectives", "tensor", "pipeline", "search", "objective", "within", "requests",
            "iterations", "ttft", "tpot",
        }
    ),
    "op table": OF_RECORDS | {"layout"},
    "audit of an op table": OF_RECORDS,
    "traces": OF_RECORDS | {"data_parallel", "samples"},
    "record": OF_RECORDS | {"layout", "data_parallel", "samples"},
    "runs": frozenset({"rate", "currency"}),
}  # fmt: skip
"""Options that a kind of source has an answer to besides those."""
CALLED: Mapping[SourceKind, str] = {
    "design": "a design",
    "op table": "an op table",
    "audit of an op table": "an audit of an op table",
    "traces": "a record of traces",
    "record": "an audit or a recording",
    "runs": "runs alone",
}
OWNERS = {
    "rate": "it is for records and runs, a design has [prices]",
    "layout": "it is for op tables, and an audit knows its own",
    "data_parallel": "it is for traces",
    "samples": "it is for traces",
    "tensor": "it is for designs and records",
    "pipeline": "it is for designs and records",
}
OF_A_DESIGN = "it is for designs"


def refuse_others(
    settings: ForecastSettings, kind: SourceKind, *, also: Collection[str] = ()
) -> None:
    """Refuse options that a source has no answer to, so that none is passed over in silence.

    Parameters
    ----------
    settings : ForecastSettings
        Options.
    kind : str
        The source.
    also : collection of str
        Further options that it has an answer to here.

    Raises
    ------
    UsageError
        If any other is given; all of them are named.

    Examples
    --------
    >>> refuse_others(ForecastSettings(tensor=2), "runs")
    Traceback (most recent call last):
        ...
    loadpath.errors.UsageError: --tensor: runs alone cannot answer that; it is for designs and records.
    """
    known = EVERYWHERE | HONOURED[kind] | set(also)
    given = [name for name in settings.given() if name not in known]
    if given:
        words = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(
            f"{words}: {CALLED[kind]} cannot answer that; {OWNERS.get(given[0], OF_A_DESIGN)}."
        )
