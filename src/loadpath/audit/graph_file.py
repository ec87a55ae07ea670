"""The coupled graph as a file: arrays told by differences, which are small and alike, and deflated.

Predecessors lie a few nodes back, nodes of ops follow one another, and few nodes have a fixed time; so a
graph takes a tenth to a twentieth of its memory, and is written and read as fast as plain arrays.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from loadpath.audit.soundness import field_type
from loadpath.couple import CouplingGraph

__all__ = ["read_graph", "write_graph"]

FIELDS = tuple(CouplingGraph.__dataclass_fields__)
BACK = ("first", "second")
"""By how many nodes a predecessor lies before its node; 0 for none."""
STEPS = ("op", "start_node", "end_node")
"""By how much each is more than the one before."""
FIXED = "fixed_node"
"""Nodes that have a `fixed_ns`, ascending; those of others are not written."""
N_THREAD = 2
LEVEL, EXPANSION = 1, 64
"""Of zlib; and how much larger a buffer is at first, for one that grows is copied each time."""
Array = NDArray[np.integer]


def write_graph(path: Path, graph: CouplingGraph) -> None:
    """Write a graph.

    Parameters
    ----------
    path : Path
        Of the form of `numpy.savez`: of each array the bytes of a zlib stream.
    graph : CouplingGraph
        Any.
    """
    arrays: dict[str, Array] = {name: getattr(graph, name) for name in FIELDS}
    node = np.arange(1, graph.n_node + 1, dtype=np.int32)
    arrays |= {name: np.where(arrays[name] > 0, node - arrays[name], 0) for name in BACK}
    arrays |= {name: np.diff(arrays[name], prepend=np.int32(0)) for name in STEPS}
    arrays[FIXED] = np.flatnonzero(graph.fixed_ns).astype(np.int32)
    arrays["fixed_ns"] = graph.fixed_ns[arrays[FIXED]]
    streams: dict[str, Any] = {name: _deflated(array, name) for name, array in arrays.items()}
    np.savez(path, **streams)


def read_graph(path: Path) -> CouplingGraph:
    """Read a graph, also one whose arrays are plain, as they were written before they were deflated.

    Parameters
    ----------
    path : Path
        As `write_graph` wrote it, perhaps damaged since.

    Returns
    -------
    CouplingGraph
        What is in it, sound or not.

    Raises
    ------
    ValueError, KeyError, OSError, EOFError, IndexError, zlib.error, isal.isal_zlib.error, zipfile.BadZipFile
        If it holds no such arrays.
    """
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as held:
        if FIXED not in held:
            return CouplingGraph(**{name: held[name] for name in FIELDS})
        names = (*FIELDS, FIXED)
        with ThreadPoolExecutor(N_THREAD) as pool:
            arrays = pool.map(_inflated, [held[name] for name in names], names)
            return _joined(dict(zip(names, arrays, strict=True)))


def _joined(arrays: Mapping[str, Array]) -> CouplingGraph:
    if arrays[FIXED].size != arrays["fixed_ns"].size:
        raise ValueError("graph arrays fixed_node and fixed_ns differ in length")
    n_node = arrays["first"].size
    node = np.arange(1, n_node + 1, dtype=np.int32)
    fixed_ns = np.zeros(n_node, np.int64)
    fixed_ns[arrays[FIXED]] = arrays["fixed_ns"]
    plain: dict[str, Any] = {name: arrays[name] for name in FIELDS}
    plain |= {name: (node - arrays[name]) * (arrays[name] > 0) for name in BACK}
    plain |= {name: np.cumsum(arrays[name], dtype=np.int32) for name in STEPS}
    return CouplingGraph(**plain | {"fixed_ns": fixed_ns})


def _deflated(array: Array, name: str) -> NDArray[np.uint8]:
    told = np.ascontiguousarray(array, _type(name))
    return np.frombuffer(isal_zlib.compress(told, LEVEL), np.uint8)


def _inflated(packed: Array, name: str) -> Array:
    plain = isal_zlib.decompress(packed.tobytes(), bufsize=EXPANSION * (packed.size + 1))
    # what is computed on is a copy as it is; kernels want all others writable too
    held = plain if name in {*BACK, *STEPS} else bytearray(plain)
    return np.frombuffer(held, _type(name))


def _type(name: str) -> np.dtype[np.integer]:
    """Type of a field, the lowest byte first whatever the machine."""
    return np.dtype(field_type(name)).newbyteorder("<")
