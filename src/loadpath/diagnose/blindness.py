"""What ordinary dashboards would have concluded from the same data."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.couple.kernels import group_by_key
from loadpath.diagnose import group_kernels
from loadpath.diagnose.labels import compact, joint_code
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
    n_step = max(1, job.step_number.size)
    devices = job.lane.filter(pl.col("kind") != "host").height > 0
    shown = job.op["mechanism"].is_in(["device", "unknown", "communication"]).to_numpy()
    op = np.flatnonzero(shown | (not devices))
    ranks, rank = compact(job.op["rank"].to_numpy()[op])
    duration = _rows(job.duration_ns).sum(axis=0)[op]
    communicates = (job.op["kind"] == "communicate").to_numpy()[op]
    sums = (
        _busy_ns(job, op, rank),
        np.bincount(rank, np.where(communicates, 0, duration), ranks.size),
        np.bincount(rank, np.where(communicates, duration, 0), ranks.size),
    )
    names = ("busy", "work", "communication")
    seconds = {name: total / n_step / 1e9 for name, total in zip(names, sums, strict=True)}
    return pl.DataFrame({"rank": ranks} | seconds)


def _busy_ns(job: CoupledJob, op: NDArray[np.intp], rank: NDArray[np.int32]) -> NDArray[np.float64]:
    """Time of each rank with some of its ops running, over all steps; each step by itself."""
    found, group = compact(joint_code(rank, job.op["step"].to_numpy()[op]))
    of_group = np.empty(found.size, np.int64)
    of_group[group] = rank
    by_group = group_by_key(group, found.size)
    busy = np.zeros((1, found.size), np.int64)
    group_kernels.cover(*by_group, op, _rows(job.start_ns), _rows(job.duration_ns), busy)
    return np.bincount(of_group, busy[0]).astype(np.float64)


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
    op, instance = (job.membership[name].to_numpy() for name in ("op", "instance"))
    found, number = compact(instance)
    start, member = group_by_key(number, found.size)
    rank = job.op["rank"].to_numpy()[op[member]]
    counts = np.zeros(int(rank.max(initial=-1)) + 1, np.int64)
    n_tie = int(
        group_kernels.count_last(start, op[member], rank, _rows(job.arrive_ns), residual, counts)
    )
    n_met = int(counts.sum()) + n_tie
    if not n_met:
        return "last arriver", None, "no communication between ranks"
    text = f"of {n_met} communications {n_tie} are ties within {format_seconds(residual / 1e9)}"
    if not counts.any():
        return "last arriver", None, text
    last = int(counts.argmax())
    return "last arriver", last, f"last in {counts[last]}; {text}"


def _rows(times_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.atleast_2d(times_ns)


def _throughput(measured_s: FloatArray) -> View:
    if measured_s.size < 2:
        return "throughput over time", None, "one step recorded"
    variation = float(measured_s.std() / measured_s.mean())
    return "throughput over time", None, f"steps vary by {format_ratio(variation)}"
