"""Graph ops of a trace: host segments and launched ops in one table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from loadpath.couple.job import BETWEEN_CALLS, COUPLED_OP, MECHANISMS
from loadpath.couple.order import lane_order
from loadpath.couple.trace import kernels
from loadpath.couple.trace.collectives import Facts
from loadpath.couple.trace.launches import DeviceWork
from loadpath.couple.trace.rows import KIND, BoolArray, Int32Array, Int64Array, Rows
from loadpath.couple.trace.segments import GAP, MARKS, WAITS_FOR_DATA, Segments, occurrences
from loadpath.couple.trace.threads import Handover
from loadpath.couple.trace.waits import WAITS_INSIDE
from loadpath.tables import OP_KINDS

__all__ = ["GraphOps", "graph_ops"]

_Names = tuple[Sequence[str], pl.DataType]
"""What codes stand for, and as what."""
DEVICE, HOST, INPUT, COMMUNICATION = (
    np.uint8(MECHANISMS.index(name)) for name in ("device", "host", "input", "communication")
)


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


def graph_ops(rows: Rows, threads: Handover, work: DeviceWork, facts: Facts) -> GraphOps:
    """Choose the ops of the graph and describe them.

    Parameters
    ----------
    rows : Rows
        Recorded ops.
    threads : Handover
        Parts of host threads, and what threads hand to each other.
    work : DeviceWork
        What hosts launched.
    facts : Facts
        What is known of communication ops.

    Returns
    -------
    GraphOps
        Ops, and where segments and launched ops are among them.
    """
    segments = threads.segments
    kept = _kept(rows, threads, work)
    column, names = _columns(rows, (segments, kept), (work, facts))
    order = lane_order(column["rank"], column["lane"], column["start_ns"])
    number = np.empty(order.size, np.int32)
    number[order] = np.arange(order.size)
    of_segment = np.full(segments.rank.size, -1, np.int32)
    of_segment[kept] = number[: kept.size]
    label = rows.name[work.row].astype(np.int64)
    one, first = np.unique(facts.work, return_index=True)
    label[one] += facts.collective[first].astype(np.int64) * len(rows.names)
    return GraphOps(
        table=_table(column, order, names),
        of_segment=of_segment,
        of_work=number[kept.size :],
        label=label,
    )


def _kept(rows: Rows, threads: Handover, work: DeviceWork) -> Int32Array:
    """Segments that take time, or that something hangs on."""
    segments = threads.segments
    is_call = np.zeros(rows.rank.size + 1, np.bool_)
    is_call[work.call[work.call >= 0]] = True
    is_call[:-1] |= rows.synchronises
    is_anchor = is_call[segments.call] & (segments.before < 0)
    is_anchor[threads.source] = is_anchor[threads.target] = True
    return np.flatnonzero((segments.end > segments.start) | is_anchor).astype(np.int32)


def _columns(
    rows: Rows, hosts: tuple[Segments, Int32Array], launches: tuple[DeviceWork, Facts]
) -> tuple[dict[str, Any], dict[str, _Names]]:
    """Columns of host segments, then of launched ops; and what the codes in some of them stand for."""
    host, launched = _host(rows, *hosts), _launched(rows, *launches)
    (of_host, some), (of_launched, others) = (
        _host_classes(rows, *hosts),
        _launched_classes(rows, launched),
    )
    # each part goes when both are joined: columns of all ops at once would take twice their room
    column = {name: np.concatenate([host.pop(name), launched.pop(name)]) for name in list(host)}
    column["op_class"] = np.concatenate([of_host, of_launched + len(some)])
    return column, {
        "kind": (OP_KINDS, pl.Enum(OP_KINDS)),
        "mechanism": (MECHANISMS, pl.Enum(MECHANISMS)),
        "name": ((*rows.names, GAP), pl.Categorical()),
        "collective": ((*rows.collectives, ""), pl.Categorical()),
        "op_class": ((*some, *others), pl.Categorical()),
    }


def _table(column: dict[str, Any], order: Int64Array, names: Mapping[str, _Names]) -> pl.DataFrame:
    """Make the table; times count from the first start, places from 0 without hole."""
    series = {name: column.pop(name)[order] for name in list(column)}
    series |= {name: _named(series.pop(name), *said) for name, said in names.items()}
    series["position"] = _dense(series["position"])
    series["start_ns"] -= series["start_ns"].min() if order.size else 0
    nowhere = {name: pl.lit(0, pl.Int32) for name in ("stage", "replica")}
    return COUPLED_OP.build(pl.DataFrame(series).with_columns(**nowhere))


def _dense(value: Int64Array) -> Int32Array:
    """Place of each value among the different ones, in their order."""
    found = np.unique(value)
    nowhere = np.zeros(value.size, np.int32)
    return np.asarray(kernels.first_equal(nowhere[: found.size], found, nowhere, value), np.int32)


def _named(code: Any, values: Sequence[str], dtype: pl.DataType) -> pl.Series:
    """Turn codes into what they stand for; what no code stands for is not made."""
    seen = np.bincount(code, minlength=len(values)) > 0
    place = np.cumsum(seen, dtype=np.uint32) - np.uint32(1)
    found = [value for value, is_seen in zip(values, seen.tolist(), strict=True) if is_seen]
    return pl.Series(found, dtype=dtype).gather(place[code])


def _host(rows: Rows, segments: Segments, kept: Int32Array) -> dict[str, Any]:
    """Columns of host segments; names as codes."""
    call, mark = segments.call[kept], segments.mark[kept]
    computes = _computing(rows, segments, kept)
    kinds = np.array([KIND["host"], *(KIND[name] for name in MARKS)], np.uint8)
    kind = np.where(computes & (mark == 0), np.uint8(KIND["compute"]), kinds[mark])
    mechanism = np.where(np.isin(mark, WAITS_FOR_DATA), INPUT, HOST)
    none = np.full(kept.size, -1, np.int32)
    return {
        "rank": segments.rank[kept],
        "lane": segments.lane[kept],
        "step": segments.step[kept],
        "kind": kind,
        "name": segments.name[kept],
        "start_ns": segments.start[kept],
        "duration_ns": segments.end[kept] - segments.start[kept],
        "bytes": none.astype(np.int64),
        "correlation": np.where(call >= 0, rows.correlation[call], -1),
        "collective": np.full(kept.size, len(rows.collectives), np.int32),
        "communicator": none,
        "sequence": none.astype(np.int64),
        "peer": none,
        "position": segments.position[kept],
        "mechanism": np.where(computes, DEVICE, mechanism),
    }


def _between(rows: Rows, segments: Segments, kept: Int32Array) -> BoolArray:
    """Segments that are time between calls."""
    call = segments.call[kept]
    return np.asarray((call < 0) | (rows.kind[call] == KIND["marker"]))


def _computing(rows: Rows, segments: Segments, kept: Int32Array) -> BoolArray:
    """Ranks without a device compute in their calls; only time between calls is host work there."""
    with_device = np.zeros(int(rows.rank.max(initial=-1)) + 1, np.bool_)
    with_device[rows.rank[rows.on_device]] = True
    alone = ~with_device[segments.rank[kept]]
    if not alone.any():
        return alone
    talks = [*(bool(WAITS_INSIDE.search(name[:200])) for name in rows.names), False]
    alone &= np.isin(segments.mark[kept], (0, MARKS["optimise"]))
    alone &= ~_between(rows, segments, kept) & ~np.array(talks, np.bool_)[segments.name[kept]]
    return alone


def _host_classes(rows: Rows, segments: Segments, kept: Int32Array) -> tuple[Int32Array, list[str]]:
    """Classes of host segments: codes, and names."""
    names = [*rows.names, GAP]
    own = np.where(_between(rows, segments, kept), np.int32(0), np.int32(len(names)))
    return segments.name[kept] + own, [
        prefix + name for prefix in (BETWEEN_CALLS, "host ") for name in names
    ]


def _launched(rows: Rows, work: DeviceWork, facts: Facts) -> dict[str, Any]:
    """Columns of launched ops; names as codes."""
    row = work.row
    said = {
        name: getattr(rows, name)[row].copy()
        for name in ("bytes", "collective", "communicator", "sequence", "peer")
    }
    one, first = np.unique(facts.work, return_index=True)  # of a batch its first call
    for field, values in said.items():
        values[one] = getattr(facts, field)[first]
    talks = rows.kind[row] == KIND["communicate"]
    lane = np.where(talks, -1, rows.lane[row])
    position = occurrences(
        [rows.rank[row], lane, rows.step[row], rows.name[row], said["bytes"]], rows.start[row]
    )
    return said | {
        "rank": rows.rank[row],
        "lane": rows.lane[row],
        "step": rows.step[row],
        "kind": rows.kind[row],
        "name": rows.name[row],
        "start_ns": rows.start[row],
        "duration_ns": rows.end[row] - rows.start[row],
        "correlation": rows.correlation[row],
        "position": position,
        "mechanism": np.where(talks, COMMUNICATION, DEVICE),
    }


def _launched_classes(rows: Rows, column: Mapping[str, Any]) -> tuple[Int32Array, list[str]]:
    """Classes of launched ops: codes, and names."""
    sizes, size = np.unique(np.maximum(column["bytes"], -1), return_inverse=True)
    joint = column["kind"].astype(np.int64) * len(rows.names) + column["name"]
    found, number = np.unique(joint * sizes.size + size, return_inverse=True)
    kind, name = np.divmod(found // max(1, sizes.size), len(rows.names))
    payload = sizes[found % max(1, sizes.size)]
    return number.astype(np.int32), [
        f"{OP_KINDS[k]} {rows.names[n]}" + (f" {b} B" if b >= 0 else "")
        for k, n, b in zip(kind.tolist(), name.tolist(), payload.tolist(), strict=True)
    ]
