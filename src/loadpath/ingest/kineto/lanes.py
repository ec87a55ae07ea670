"""Lanes of one trace: host threads and device streams, numbered and named."""

import re

import numpy as np
from numpy.typing import NDArray

from loadpath.decode.kinds import CATEGORIES
from loadpath.ingest.kineto.trace import Trace

__all__ = ["BACKEND", "is_nccl", "number_lanes"]

Int32Array = NDArray[np.int32]
BoolArray = NDArray[np.bool_]

ANNOTATION, KERNEL, SYNC = (CATEGORIES.index(name) for name in ("annotation", "kernel", "sync"))
WHOLE = re.compile(r"-?[0-9]{1,18}")
BACKEND = ("gloo:", "mpi:", "ucc:")
"""Annotations of backends that communicate on threads of the host."""
CALL = "c10d::"
"""Begins the calls in which a thread asks for a communication; threads that carry it out make none."""


def number_lanes(
    trace: Trace, is_mark: BoolArray
) -> tuple[Int32Array, tuple[tuple[str, str], ...]]:
    """Give numbers to host threads (the one with step marks first), then to device streams.

    Parameters
    ----------
    trace : Trace
        Spans as recorded.
    is_mark : (n,) array of bool
        Whether a span marks a step.

    Returns
    -------
    lane : (n_key,) array of int32
        Lane of each of `trace.lanes`, -1 where no op runs.
    lanes : tuple of (str, str)
        Kind and name of each lane; a stream that runs communication kernels only and a thread that
        runs a backend's collectives, and neither marks steps nor asks for any, are of kind communication.
    """
    columns, keys, n = trace.columns, trace.lanes, len(trace.lanes)
    runs = columns.category != SYNC
    used = np.flatnonzero(np.bincount(columns.lane[runs], minlength=n))
    has_mark = np.bincount(columns.lane[is_mark], minlength=n) > 0
    first = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(first, columns.lane, columns.start_ns)
    order = sorted(
        used.tolist(),
        key=lambda k: (
            keys[k][0],
            not has_mark[k],
            (_natural(keys[k][1]), _natural(keys[k][2])) if keys[k][0] else ((0, int(first[k])),),
        ),
    )
    number = np.full(n, -1, np.int32)
    number[order] = np.arange(len(order))
    talks = _starting(trace.names, BACKEND)[columns.name] & (columns.category == ANNOTATION)
    n_talk = np.bincount(columns.lane[talks], minlength=n)
    asks = np.bincount(columns.lane[_starting(trace.names, (CALL,))[columns.name]], minlength=n) > 0
    silent = _communicating_streams(trace, runs)
    return number, tuple(
        (
            ("communication" if silent[k] else "device")
            if keys[k][0]
            else ("communication" if n_talk[k] and not (has_mark[k] or asks[k]) else "host"),
            _lane_name(trace, keys[k]),
        )
        for k in order
    )


def _communicating_streams(trace: Trace, runs: BoolArray) -> BoolArray:
    """Streams that run nothing but communication kernels."""
    columns, n = trace.columns, len(trace.lanes)
    talks = is_nccl(trace.names)[columns.name] & (columns.category == KERNEL)
    n_talk = np.bincount(columns.lane[talks], minlength=n)
    return np.asarray(np.bincount(columns.lane[runs], minlength=n) == n_talk)


def _natural(text: str) -> tuple[int, int | str]:
    return (0, int(text)) if WHOLE.fullmatch(text) else (1, text)


def _lane_name(trace: Trace, key: tuple[bool, str, str]) -> str:
    on_device, parent, child = key
    if on_device:
        return f"device {parent} stream {child.removeprefix('stream ')}"
    return trace.threads.get((parent, child)) or f"thread {child}"


def _starting(names: tuple[str, ...], prefixes: tuple[str, ...]) -> BoolArray:
    return np.array([name.startswith(prefixes) for name in names], np.bool_)


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
