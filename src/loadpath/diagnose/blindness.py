"""What ordinary dashboards would have concluded from the same data."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from loadpath.couple import CoupledJob
from loadpath.diagnose.levels import FloatArray
from loadpath.tables.results import BLINDNESS
from loadpath.units import format_ratio, format_seconds

__all__ = ["View", "blindness_report", "usual_views"]

View = tuple[str, int | None, str]
"""Name, accused rank and evidence."""

TELLING_RATIO = 0.05
"""A ranking accuses its first only if it stands out from the median by this share."""


def blindness_report(
    job: CoupledJob,
    culprits: Sequence[int] | None,
    measured_s: FloatArray,
    *,
    views: Sequence[View] | None = None,
) -> pl.DataFrame:
    """Ask the usual views whom they accuse.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    culprits : sequence of int or None
        Ranks that the proof names; empty where it names nobody, or everybody; None where nothing
        could be proved.
    measured_s : (n_step,) array of float64
        Measured step times.
    views : sequence of View, optional
        Result of `usual_views`, where it is at hand.

    Returns
    -------
    polars.DataFrame
        Table `BLINDNESS`: utilisation, busy time, communication time, last arriver, throughput.
    """
    rows = [
        {
            "view": view,
            "accuses": "nobody" if rank is None else f"rank {rank}",
            "evidence": evidence,
            "right": None if culprits is None else rank in culprits if culprits else rank is None,
        }
        for view, rank, evidence in views or usual_views(job, measured_s)
    ]
    return BLINDNESS.build(pl.DataFrame(rows, schema=BLINDNESS.schema))


def usual_views(job: CoupledJob, measured_s: FloatArray) -> list[View]:
    """Look at a job as ordinary dashboards do; no proof is needed for that.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    measured_s : (n_step,) array of float64
        Measured step times.

    Returns
    -------
    list of View
        Name of each view, the rank that it accuses (None for nobody), and its evidence.
    """
    per_rank = _per_rank(job)
    return [
        _ranking("utilisation (any op running)", per_rank, "busy", highest=False),
        _ranking("computation time", per_rank, "work", highest=True),
        _ranking("communication time", per_rank, "communication", highest=True),
        _last_arriver(job),
        _throughput(measured_s),
    ]


def _per_rank(job: CoupledJob) -> pl.DataFrame:
    """Seconds a step of each rank with an op running, computing, and in communication."""
    n_step = max(1, job.graph.step.size)
    devices = job.lane.filter(pl.col("kind") != "host").height > 0
    shown = pl.col("mechanism").is_in(["device", "unknown", "communication"])
    frame = job.op.select("rank", "step", "kind", "mechanism", "start_ns", "duration_ns").filter(
        shown if devices else pl.lit(value=True)
    )
    communicates = pl.col("kind") == "communicate"
    until = (pl.col("start_ns") + pl.col("duration_ns")).cum_max().shift(1).over("rank", "step")
    covered = (
        pl.col("start_ns") + pl.col("duration_ns") - pl.max_horizontal("start_ns", until)
    ).clip(lower_bound=0)
    return (
        frame.sort("rank", "step", "start_ns", maintain_order=True)
        .with_columns(covered.alias("covered"))
        .group_by("rank")
        .agg(
            (pl.col("covered").sum() / n_step / 1e9).alias("busy"),
            (pl.col("duration_ns").filter(~communicates).sum() / n_step / 1e9).alias("work"),
            (pl.col("duration_ns").filter(communicates).sum() / n_step / 1e9).alias(
                "communication"
            ),
        )
        .sort("rank")
    )


def _ranking(view: str, per_rank: pl.DataFrame, column: str, *, highest: bool) -> View:
    value = per_rank[column].to_numpy()
    place = int(value.argmax() if highest else value.argmin())
    middle = float(np.median(value))
    stands_out = abs(float(value[place]) - middle) > TELLING_RATIO * max(middle, 1e-12)
    text = f"{format_seconds(float(value[place]))} a step, median {format_seconds(middle)}"
    return view, int(per_rank["rank"][place]) if stands_out else None, text


def _last_arriver(job: CoupledJob) -> View:
    """Find who most often arrives last; arrivals that two clocks cannot order are ties."""
    residual = 2 * max(0, int(job.rank["clock_residual_ns"].max() or 0))  # type: ignore[arg-type]
    arrivals = job.membership.select("op", "instance").with_columns(
        pl.Series("arrive", job.arrive_ns[job.membership["op"].to_numpy()]),
        job.op["rank"].gather(job.membership["op"]).alias("rank"),
    )
    last = (
        arrivals.sort("instance", "arrive", "rank", descending=[False, True, False])
        .group_by("instance", maintain_order=True)
        .agg(
            pl.col("rank").first(),
            pl.len().alias("n"),
            (pl.col("arrive").first() - pl.col("arrive").get(1, null_on_oob=True)).alias("lead"),
        )
        .filter(pl.col("n") > 1)
    )
    if not last.height:
        return "last arriver", None, "no communication between ranks"
    clear = last.filter(pl.col("lead") > residual)
    ties = last.height - clear.height
    counts = clear.group_by("rank").len().sort(["len", "rank"], descending=[True, False])
    text = (
        f"of {last.height} communications {ties} are ties within {format_seconds(residual / 1e9)}"
    )
    if not counts.height:
        return "last arriver", None, text
    rank, n = counts.row(0)
    return "last arriver", int(rank), f"last in {n}; {text}"


def _throughput(measured_s: FloatArray) -> View:
    if measured_s.size < 2:
        return "throughput over time", None, "one step recorded"
    variation = float(measured_s.std() / measured_s.mean())
    return "throughput over time", None, f"steps vary by {format_ratio(variation)}"
