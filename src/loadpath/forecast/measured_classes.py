"""Rates of a recorded job: what its kernels, transfers and launches took, beside what its design foretells."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from msgspec import Struct

from loadpath.couple import CoupledJob
from loadpath.diagnose.resources import RESOURCES, op_resources
from loadpath.errors import UsageError
from loadpath.forecast.design import Design
from loadpath.forecast.devices import measured_priors, shipped_devices
from loadpath.forecast.priors import assume
from loadpath.forecast.rates import FloatArray
from loadpath.forecast.skeleton import OpKind
from loadpath.forecast.step import refuse_unsound, step_durations
from loadpath.tables.schema import Column, TableSchema
from loadpath.units import NS_PER_S

__all__ = ["CLASS_TIME", "ClassRates", "calibrate_classes", "class_times"]

CLASS_TIME = TableSchema(
    "class_time",
    "time of one class of work on one rank in one step",
    (
        Column("rank", pl.Int32, "rank"),
        Column("step", pl.Int64, "step"),
        Column("resource", pl.String, "what the class of work depends on"),
        Column("time_s", pl.Float64, "work of all its ops: transfers without their waits"),
    ),
)

TOLD = {
    "compute": ("matrix",),
    "memory": ("memory", "copy"),
    "transfer": ("intra_node", "inter_node", "transfer", "latency"),
}
"""Classes of a record that tell of a part of the synthesis."""

RATE = {"compute": "sustained_ratio", "memory": "memory_ratio"}
LAUNCH = r"(?i)^(cuda|hip|cu)launch"


class ClassRates(Struct, frozen=True, kw_only=True):
    """Priors that a record tells.

    Attributes
    ----------
    priors : dict of str to float
        Values for table ``[priors]`` of a design.
    foretold_s, measured_s : dict of str to float
        Time of each part on a rank in a step: by the design as it was, and as recorded.
    untold : tuple of str
        Parts that the record or the design has none of: their priors stay as they are.
    """

    priors: dict[str, float]
    foretold_s: dict[str, float]
    measured_s: dict[str, float]
    untold: tuple[str, ...]


def class_times(job: CoupledJob) -> pl.DataFrame:
    """Add up what each class of work took, by rank and step.

    Parameters
    ----------
    job : CoupledJob
        Of an audit, in one graph.

    Returns
    -------
    polars.DataFrame
        Table `CLASS_TIME`; ``launch`` is the median time of a call that launches a kernel.
    """
    names = pl.Series(list(RESOURCES))
    table = job.op.select(
        "rank", "step", pl.col("name").cast(pl.String),
        names.gather(op_resources(job)).alias("resource"),
        pl.Series(job.work_ns / NS_PER_S).alias("time_s"),
    )  # fmt: skip
    keys = ("rank", "step", "resource")
    times = table.group_by(keys).agg(pl.col("time_s").sum())
    launch = table.filter(pl.col("name").str.contains(LAUNCH)).group_by("rank", "step")
    launches = launch.agg(pl.lit("launch").alias("resource"), pl.col("time_s").median())
    return CLASS_TIME.validate(pl.concat([times, launches.select(times.columns)]).sort(keys))


def calibrate_classes(
    design: Design, times: pl.DataFrame, *, forward_only: bool = False
) -> ClassRates:
    """Set priors so that the design foretells what a record shows for each class of work.

    Products set ``sustained_ratio``, other kernels ``memory_ratio``, transfers ``link_ratio`` (and
    ``network_ratio``, by the same factor, where they cross nodes), launches ``launch``; each by the median
    over ranks and steps. Nothing else can be told from one record.

    Parameters
    ----------
    design : Design
        What was recorded: model, batch, layout, machine.
    times : polars.DataFrame
        Table `CLASS_TIME`.
    forward_only : bool
        Whether the recorded steps have no backward pass.

    Returns
    -------
    ClassRates
        Priors, and the times that they are set by.

    Raises
    ------
    UsageError
        If the design is not sound, trains nothing, or none of its parts was recorded.
    """
    refuse_unsound(design)
    if design.batch is None or design.model is None:
        raise UsageError(f"Design {design.name!r} trains no transformer, whose classes are known.")
    device = shipped_devices()[design.cluster.device]
    priors = assume(design.priors, measured_priors(device))
    parts = _foretold_s(design, forward_only=forward_only)
    measured = _measured_s(times)
    foretold = {"compute": parts[0], "memory": parts[1], "transfer": parts[2:5].sum()}
    told = [name for name in foretold if foretold[name] > 0 and measured.get(name, 0.0) > 0]
    if not told and "launch" not in measured:
        raise UsageError(
            "The record has no kernels, transfers or launches that a design foretells."
        )
    found = {
        RATE[name]: priors[RATE[name]].value * foretold[name] / measured[name]
        for name in told
        if name in RATE
    }
    if "transfer" in told:
        # Latency stays a prior: the bytes take what it leaves, at least a tenth.
        moving = max(measured["transfer"] - parts[4], 0.1 * measured["transfer"])
        factor = (parts[2] + parts[3]) / moving
        links = ("link_ratio",) if parts[3] == 0 else ("link_ratio", "network_ratio")
        found |= {name: priors[name].value * factor for name in links}
    if "launch" in measured:
        found["launch"] = measured["launch"]
    return ClassRates(
        priors={name: float(value) for name, value in found.items()},
        foretold_s={name: float(value) for name, value in foretold.items()},
        measured_s=measured,
        untold=tuple(name for name in (*foretold, "launch") if name not in {*told, *measured}),
    )


def _foretold_s(design: Design, *, forward_only: bool) -> FloatArray:
    """Give the seconds of each component on the mean rank in a step, transfers hidden or not."""
    device = shipped_devices()[design.cluster.device]
    durations = step_durations(design, device, assume(design.priors, measured_priors(device)))
    spent = durations.frame.passed[..., None] * durations.seconds
    if forward_only:
        spent = spent[[OpKind.FORWARD]]
    total: FloatArray = spent.sum(axis=(0, 1, 2)) / durations.seconds.shape[1]
    return total


def _measured_s(times: pl.DataFrame) -> dict[str, float]:
    """Give the median over ranks and steps of each part that was recorded."""
    table = CLASS_TIME.validate(times)
    parts: Mapping[str, tuple[str, ...]] = TOLD | {"launch": ("launch",)}
    found = {}
    for name, classes in parts.items():
        each = table.filter(pl.col("resource").is_in(classes)).group_by("rank", "step")
        values = each.agg(pl.col("time_s").sum())["time_s"].to_numpy()
        if values.size:
            found[name] = float(np.median(values))
    return found
