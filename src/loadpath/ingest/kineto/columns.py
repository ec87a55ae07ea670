"""Spans to columns: exact integer times, codes for names and lanes."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadpath.ingest.kineto.communications import (
    Communication,
    is_communication,
    parse_communication,
)

__all__ = [
    "CATEGORIES",
    "NO_TIME",
    "ON_DEVICE",
    "Category",
    "Codes",
    "Columns",
    "join_columns",
    "to_columns",
]

Int64Array = NDArray[np.int64]

NO_TIME = np.iinfo(np.int64).min
"""Stands for a time that is no number or outside 1970 to 2243."""
LIMIT_US = 2.0**53
Category = str
CATEGORIES: dict[str, Category] = {
    "cpu_op": "cpu_op",
    "operator": "cpu_op",
    "user_annotation": "annotation",
    "cuda_runtime": "runtime",
    "cuda_driver": "runtime",
    "hip_runtime": "runtime",
    "hip_driver": "runtime",
    "xpu_runtime": "runtime",
    "runtime": "runtime",
    "kernel": "kernel",
    "gpu_memcpy": "copy",
    "memcpy": "copy",
    "gpu_memset": "set",
    "memset": "set",
}
"""Kineto's categories (the capitalised ones of 2021 in small letters) that are read, and as what."""

ON_DEVICE = ("kernel", "copy", "set")
"""Categories that run on a device stream."""


class Codes(dict[Any, int]):
    """Numbers keys in order of first use."""

    def __missing__(self, key: Any) -> int:
        code = self[key] = len(self)
        return code


@dataclass(frozen=True, slots=True)
class Columns:
    """Spans of one trace.

    Attributes
    ----------
    start_ns, duration_ns : (n,) arrays of int64
        Times as written, in ns; `NO_TIME` where they are no times.
    name, category, lane : (n,) arrays of int64
        Codes.
    correlation, bytes : (n,) arrays of int64
        As recorded, -1 where not.
    said : dict of int to Communication
        What spans say about communications, by row.
    """

    start_ns: Int64Array
    duration_ns: Int64Array
    name: Int64Array
    category: Int64Array
    lane: Int64Array
    correlation: Int64Array
    bytes: Int64Array
    said: dict[int, Communication]


def to_columns(spans: list[Any], names: Codes, categories: Codes, lanes: Codes) -> Columns:
    """Turn the spans that loadpath uses into columns.

    Parameters
    ----------
    spans : list of Span or ExactSpan
        Spans whose category is in `CATEGORIES` (in any case).
    names, categories, lanes : Codes
        Codes, extended. A lane is ``(False, pid, tid)`` or ``(True, device, stream)``.

    Returns
    -------
    Columns
        One row per span.
    """
    n = len(spans)
    args = [span.args for span in spans]
    return Columns(
        start_ns=to_ns((span.ts for span in spans), n),
        duration_ns=to_ns((span.dur for span in spans), n),
        name=_coded(names, (span.name for span in spans), n),
        category=_coded(categories, (span.cat for span in spans), n),
        lane=_coded(lanes, map(_lane, spans), n),
        correlation=to_whole([arg.correlation for arg in args]),
        bytes=to_whole([arg.bytes for arg in args]),
        said={
            row: parse_communication(span.name, span.args)
            for row, span in enumerate(spans)
            if span.args.collective or is_communication(span.name)
        },
    )


def join_columns(parts: list[Columns]) -> Columns:
    """Put the columns of chunks together.

    Parameters
    ----------
    parts : list of Columns
        Columns of each chunk, in order.

    Returns
    -------
    Columns
        All rows.
    """
    first = np.cumsum([0, *(part.start_ns.size for part in parts)])
    arrays = {
        field: np.concatenate([np.empty(0, np.int64), *(getattr(part, field) for part in parts)])
        for field in ("start_ns", "duration_ns", "name", "category", "lane", "correlation", "bytes")
    }
    said = {
        int(first[i]) + row: fact for i, part in enumerate(parts) for row, fact in part.said.items()
    }
    return Columns(**arrays, said=said)


def to_ns(values: Iterable[Any], n: int) -> Int64Array:
    """Convert us to ns without losing a digit.

    Parameters
    ----------
    values : iterable of float or Decimal
        Times in us; floats below 2**43 or whole.
    n : int
        Number of values.

    Returns
    -------
    (n,) array of int64
        Times in ns, rounded half to even; `NO_TIME` where a value is no time.

    Examples
    --------
    >>> to_ns([4487401684337.484, 0.001], 2).tolist()
    [4487401684337484, 1]
    >>> to_ns([Decimal("1712195495520854.833"), Decimal("NaN")], 2)[0]
    np.int64(1712195495520854833)
    """
    given = list(values)
    if given and isinstance(given[0], Decimal):
        return np.fromiter((_exact_ns(value) for value in given), np.int64, n)
    us = np.fromiter(given, np.float64, n)
    sound = np.abs(us) < LIMIT_US
    us = np.where(sound, us, 0.0)
    whole = np.floor(us)
    ns = whole.astype(np.int64) * 1000 + np.rint((us - whole) * 1000).astype(np.int64)
    return np.where(sound, ns, NO_TIME)


def to_whole(values: list[Any]) -> Int64Array:
    """Convert recorded numbers to int64.

    Parameters
    ----------
    values : list of int, float or str
        Numbers; text is read as decimal.

    Returns
    -------
    (n,) array of int64
        Whole numbers, -1 where a value is none.
    """
    try:
        return np.fromiter(values, np.int64, len(values))
    except (ValueError, OverflowError, TypeError):
        return np.fromiter(map(_whole, values), np.int64, len(values))


def _whole(value: Any) -> int:
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return -1
    return number if -(2**63) <= number < 2**63 else -1


def _exact_ns(value: Decimal) -> int:
    if not value.is_finite() or abs(value) >= LIMIT_US:
        return NO_TIME
    return int((value * 1000).to_integral_value())


def _lane(span: Any) -> tuple[bool, Any, Any]:
    if CATEGORIES[span.cat.lower()] not in ON_DEVICE:
        return False, span.pid, span.tid
    args = span.args
    device = span.pid if args.device == -1 else args.device
    return True, device, span.tid if args.stream == -1 else args.stream


def _coded(codes: Codes, keys: Iterable[Any], n: int) -> Int64Array:
    return np.fromiter(map(codes.__getitem__, keys), np.int64, n)
