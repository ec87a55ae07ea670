"""Spans of one trace as columns: exact integer times, codes for names and lanes."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadpath.ingest.kineto.communications import Communication
from loadpath.ingest.kineto.synchronisations import Synchronisation

__all__ = ["NO_TIME", "Columns", "join_columns"]

Int64Array = NDArray[np.int64]
Int32Array = NDArray[np.int32]

NO_TIME = np.iinfo(np.int64).min
"""Stands for a time that is no number or beyond 2**53 us."""


@dataclass(slots=True)
class Columns:
    """Spans of one trace, or of a part of it.

    Attributes
    ----------
    start_ns, duration_ns : (n,) arrays of int64
        Times as written, in ns; `NO_TIME` where they are no times.
    name, lane : (n,) arrays of int32
        Codes.
    category : (n,) array of int8
        Place in `kinds.CATEGORIES`.
    correlation, bytes, external : (n,) arrays of int64
        As recorded, -1 where not; the last is the External id.
    said : dict of int to Communication
        What spans say about communications, by row.
    asked : dict of int to Synchronisation
        What spans say about who waits for which stream or event, by row.
    """

    start_ns: Int64Array
    duration_ns: Int64Array
    name: Int32Array
    category: NDArray[np.int8]
    lane: Int32Array
    correlation: Int64Array
    bytes: Int64Array
    external: Int64Array
    said: dict[int, Communication]
    asked: dict[int, Synchronisation]


def join_columns(parts: list[Columns]) -> Columns:
    """Put the columns of chunks together, one column after another: the parts give up theirs.

    Parameters
    ----------
    parts : list of Columns
        Columns of each chunk, in order; empty of content afterwards.

    Returns
    -------
    Columns
        All rows.
    """
    first = np.cumsum([0, *(part.start_ns.size for part in parts)]).tolist()
    joined: dict[str, Any] = {}
    for item in fields(Columns):
        pieces = [getattr(part, item.name) for part in parts]
        for part in parts:
            setattr(part, item.name, None)
        if item.name in {"said", "asked"}:
            numbered = zip(first, pieces, strict=False)
            joined[item.name] = {
                low + row: fact for low, piece in numbered for row, fact in piece.items()
            }
        else:
            joined[item.name] = np.concatenate(pieces) if pieces else np.empty(0, np.int64)
    return Columns(**joined)
