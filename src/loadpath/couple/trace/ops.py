"""Graph ops of a trace: host segments and launched ops in one table."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from loadpath.couple.job import BETWEEN_CALLS, COUPLED_OP
from loadpath.couple.trace.collectives import Facts
from loadpath.couple.trace.launches import DeviceWork
from loadpath.couple.trace.rows import Int32Array, Int64Array, Rows
from loadpath.couple.trace.segments import GAP, MARKS, WAITS_FOR_DATA, Segments, occurrences
from loadpath.couple.trace.waits import WAITS_INSIDE

__all__ = ["GraphOps", "graph_ops"]


@dataclass(frozen=True, slots=True)
class GraphOps:
    """Ops of the coupled graph.

    Attributes
    ----------
    table : polars.DataFrame
        Table `COUPLED_OP`, ordered by rank, lane and start.
    of_segment : (n_segment,) array of int32
        Op of each segment, -1 for empty ones that nothing hangs on.
    of_work : (n_work,) array of int32
        Op of each launched op.
    label : (n_work,) array of int64
        What each launched op is: code of its name and collective.
    """

    table: pl.DataFrame
    of_segment: Int32Array
    of_work: Int32Array
    label: Int64Array


def graph_ops(rows: Rows, segments: Segments, work: DeviceWork, facts: Facts) -> GraphOps:
    """Choose the ops of the graph and describe them.

    Parameters
    ----------
    rows : Rows
        Recorded ops.
    segments : Segments
        Parts of host threads.
    work : DeviceWork
        What hosts launched.
    facts : Facts
        What is known of communication ops.

    Returns
    -------
    GraphOps
        Ops, and where segments and launched ops are among them.
    """
    is_call = np.zeros(rows.rank.size + 1, np.bool_)
    is_call[work.call[work.call >= 0]] = True
    is_call[:-1] |= rows.synchronises
    is_anchor = is_call[segments.call] & (segments.before < 0)
    kept = np.flatnonzero((segments.end > segments.start) | is_anchor).astype(np.int32)
    host = _computing(_host(rows, segments, kept), rows)
    frame = pl.concat([host, _launched(rows, work, facts)])
    origin = int(frame["start_ns"].min() or 0)  # type: ignore[arg-type]
    order = np.lexsort(
        (
            np.arange(frame.height),
            frame["start_ns"].to_numpy(),
            frame["lane"].to_numpy(),
            frame["rank"].to_numpy(),
        )
    )
    number = np.empty(frame.height, np.int32)
    number[order] = np.arange(frame.height)
    of_segment = np.full(segments.rank.size, -1, np.int32)
    of_segment[kept] = number[: kept.size]
    label = rows.name[work.row].astype(np.int64)
    one, first = np.unique(facts.work, return_index=True)
    label[one] += facts.collective[first].astype(np.int64) * len(rows.names)
    table = frame[order].with_columns(
        pl.col("start_ns") - origin,
        position=pl.col("position").rank("dense").cast(pl.Int32) - 1,
    )
    return GraphOps(
        table=COUPLED_OP.build(table),
        of_segment=of_segment,
        of_work=number[kept.size :],
        label=label,
    )


def _host(rows: Rows, segments: Segments, kept: Int32Array) -> pl.DataFrame:
    names = pl.Series([*rows.names, GAP], dtype=pl.String)
    mark = segments.mark[kept]
    name = names.gather(segments.name[kept])
    call = segments.call[kept]
    between = pl.Series((call < 0) | (rows.kind[call] == "marker"))
    return pl.DataFrame(
        {
            "rank": segments.rank[kept],
            "lane": segments.lane[kept],
            "step": segments.step[kept],
            "kind": pl.Series(np.array(["host", *MARKS], object)[mark], dtype=pl.String),
            "name": name,
            "start_ns": segments.start[kept],
            "duration_ns": segments.end[kept] - segments.start[kept],
            "bytes": np.full(kept.size, -1),
            "correlation": np.where(
                segments.call[kept] >= 0, rows.correlation[segments.call[kept]], -1
            ),
            "collective": pl.Series([""]).new_from_index(0, kept.size),
            "communicator": np.full(kept.size, -1, np.int32),
            "sequence": np.full(kept.size, -1),
            "peer": np.full(kept.size, -1, np.int32),
            "op_class": pl.select(
                pl.when(between)
                .then(pl.lit(BETWEEN_CALLS) + name)
                .otherwise(pl.lit("host ") + name)
            ).to_series(),
            "position": segments.position[kept],
            "mechanism": pl.Series(
                np.where(np.isin(mark, WAITS_FOR_DATA), "input", "host"), dtype=pl.String
            ),
            "stage": np.zeros(kept.size, np.int32),
            "replica": np.zeros(kept.size, np.int32),
        }
    )


def _computing(host: pl.DataFrame, rows: Rows) -> pl.DataFrame:
    """Ranks without a device compute in their calls; only time between calls is host work there."""
    with_device = np.unique(rows.rank[rows.on_device])
    if np.isin(rows.rank, with_device).all():
        return host
    talks = [name for name in rows.names if WAITS_INSIDE.search(name[:200])]
    computes = (
        ~pl.col("rank").is_in(with_device.tolist())
        & pl.col("kind").is_in(["host", "optimise"])
        & ~pl.col("op_class").str.starts_with(BETWEEN_CALLS)
        & ~pl.col("name").is_in(talks)
    )
    plain = computes & (pl.col("kind") == "host")
    return host.with_columns(
        kind=pl.when(plain).then(pl.lit("compute")).otherwise("kind"),
        mechanism=pl.when(computes).then(pl.lit("device")).otherwise("mechanism"),
    )


def _launched(rows: Rows, work: DeviceWork, facts: Facts) -> pl.DataFrame:
    row = work.row
    name = pl.Series(rows.names, dtype=pl.String).gather(rows.name[row])
    talks = rows.kind[row] == "communicate"
    said = {
        name: getattr(rows, name)[row].copy()
        for name in ("bytes", "collective", "communicator", "sequence", "peer")
    }
    one, first = np.unique(facts.work, return_index=True)  # of a batch its first call
    for field, values in said.items():
        values[one] = getattr(facts, field)[first]
    sized = pl.Series(said["bytes"] >= 0)
    frame = pl.DataFrame(
        {
            "rank": rows.rank[row],
            "lane": rows.lane[row],
            "step": rows.step[row],
            "kind": pl.Series(rows.kind[row], dtype=pl.String),
            "name": name,
            "start_ns": rows.start[row],
            "duration_ns": rows.end[row] - rows.start[row],
            "bytes": said["bytes"],
            "correlation": rows.correlation[row],
            "collective": pl.Series(rows.collectives, dtype=pl.String).gather(said["collective"]),
            "communicator": said["communicator"],
            "sequence": said["sequence"],
            "peer": said["peer"],
            "mechanism": pl.Series(
                np.where(talks, "communication", "device").astype(object), dtype=pl.String
            ),
            "stage": np.zeros(row.size, np.int32),
            "replica": np.zeros(row.size, np.int32),
        }
    ).with_columns(
        op_class=pl.when(sized)
        .then(pl.col("kind") + " " + pl.col("name") + " " + pl.col("bytes").cast(pl.String) + " B")
        .otherwise(pl.col("kind") + " " + pl.col("name"))
    )
    lane = np.where(talks, -1, rows.lane[row])
    position = occurrences(
        [rows.rank[row], lane, rows.step[row], rows.name[row], said["bytes"]], rows.start[row]
    )
    return frame.with_columns(position=pl.Series(position)).select(
        "rank", "lane", "step", "kind", "name", "start_ns", "duration_ns", "bytes", "correlation",
        "collective", "communicator", "sequence", "peer", "op_class", "position", "mechanism", "stage",
        "replica",
    )  # fmt: skip
