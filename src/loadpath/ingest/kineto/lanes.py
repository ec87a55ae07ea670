"""Lanes of one trace: host threads and device streams, numbered and named."""

import re

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.ingest.kineto.trace import Trace

__all__ = ["BACKEND", "is_nccl", "number_lanes"]

Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

WHOLE = re.compile(r"-?[0-9]{1,18}")
BACKEND = ("gloo:", "mpi:", "ucc:")
"""Annotations of backends that communicate on threads of the host."""


def number_lanes(
    trace: Trace, category: NDArray[np.object_], is_mark: BoolArray
) -> tuple[Int64Array, pl.DataFrame]:
    """Give numbers to host threads (the one with step marks first), then to device streams.

    Parameters
    ----------
    trace : Trace
        Spans as recorded.
    category : (n,) array of object
        What each span is read as.
    is_mark : (n,) array of bool
        Whether it marks a step.

    Returns
    -------
    lane : (n,) array of int64
        Lane of each span.
    table : polars.DataFrame
        Table `LANE`; a stream that runs communication kernels only and a thread that runs a
        backend's collectives are of kind communication.
    """
    columns = trace.columns
    keys = [(on_device, str(a), str(b)) for on_device, a, b in trace.lanes]
    first_of = {key: i for i, key in reversed(list(enumerate(keys)))}
    lane_of = np.array([first_of[key] for key in keys], np.int64)[columns.lane]
    n = len(keys)
    has_mark = np.bincount(lane_of[is_mark], minlength=n) > 0
    first = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(first, lane_of, columns.start_ns)
    used = np.flatnonzero(np.bincount(lane_of, minlength=n))
    order = sorted(
        used.tolist(),
        key=lambda k: (
            keys[k][0],
            not has_mark[k],
            (_natural(keys[k][1]), _natural(keys[k][2])) if keys[k][0] else ((0, int(first[k])),),
        ),
    )
    number = np.full(n, -1, np.int64)
    number[order] = np.arange(len(order))
    talks = np.isin(columns.name, _starting(trace.names, BACKEND)) & (category == "annotation")
    n_talk = np.bincount(lane_of[talks], minlength=n)
    silent = _communicating_streams(trace, category, lane_of, n)
    table = pl.DataFrame(
        {
            "rank": [trace.rank] * len(order),
            "lane": list(range(len(order))),
            "kind": [
                ("communication" if silent[k] else "device")
                if keys[k][0]
                else ("communication" if n_talk[k] and not has_mark[k] else "host")
                for k in order
            ],
            "name": [_lane_name(trace, keys[k]) for k in order],
        }
    )
    return number[lane_of], table


def _communicating_streams(
    trace: Trace, category: NDArray[np.object_], lane_of: Int64Array, n: int
) -> BoolArray:
    """Streams that run nothing but communication kernels."""
    talks = is_nccl(trace.names)[trace.columns.name] & (category == "kernel")
    n_talk = np.bincount(lane_of[talks], minlength=n)
    return np.asarray(np.bincount(lane_of, minlength=n) == n_talk)


def _natural(text: str) -> tuple[int, int | str]:
    return (0, int(text)) if WHOLE.fullmatch(text) else (1, text)


def _lane_name(trace: Trace, key: tuple[bool, str, str]) -> str:
    on_device, parent, child = key
    if on_device:
        return f"device {parent} stream {child.removeprefix('stream ')}"
    return trace.threads.get((parent, child)) or f"thread {child}"


def _starting(names: tuple[str, ...], prefixes: tuple[str, ...]) -> Int64Array:
    return np.array([i for i, name in enumerate(names) if name.startswith(prefixes)], np.int64)


def is_nccl(names: tuple[str, ...]) -> BoolArray:
    """Tell which names are those of NCCL's or RCCL's kernels.

    Parameters
    ----------
    names : tuple of str
        Names of kernels.

    Returns
    -------
    (n_name,) array of bool
        True for kernels that communicate.
    """
    return np.array(["nccl" in name[:80].lower() for name in names], np.bool_)
