"""Time of collectives: on the links of a design, or by NCCL's choice."""

from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loadpath.errors import UsageError
from loadpath.forecast.fabric import Collective, Fabric, collective_parts_s
from loadpath.forecast.nccl_fabric import NcclFabric
from loadpath.forecast.nccl_model import ALGORITHMS, PROTOCOLS, algorithm_time_s

__all__ = ["collective_time_s", "nccl_choice"]

PAIRWISE = ("all_to_all", "send_recv")
LAUNCH_S = 8.4e-6
"""Base latency of NCCL's Simple protocol, taken for sends and receives too."""


def collective_time_s(  # noqa: PLR0917 - the order in which one says it
    kind: str,
    size_bytes: ArrayLike,
    group_size: ArrayLike,
    ranks_per_node: ArrayLike,
    fabric: Fabric | NcclFabric,
) -> NDArray[np.float64]:
    """Time of one collective by itself.

    Parameters
    ----------
    kind : str
        ``all_reduce``, ``all_gather``, ``reduce_scatter``, ``broadcast``, ``reduce``,
        ``all_to_all`` or ``send_recv``.
    size_bytes : array_like
        Larger of what one rank gives and takes (of an all-gather: the gathered whole); of
        ``send_recv`` what is sent.
    group_size, ranks_per_node : array_like
        Ranks in the group, and how many of them share a node; of ``send_recv`` 1 per node means
        that the peer is on another node.
    fabric : Fabric or NcclFabric
        Links as a design has them, or as NCCL sees them.

    Returns
    -------
    ndarray of float
        Seconds; 0 for a group of one rank or nothing to send.

    Raises
    ------
    UsageError
        If the collective is unknown, or a size or a group is not possible.

    Examples
    --------
    >>> node = NcclFabric(320e9, 40e9)
    >>> t = collective_time_s("all_reduce", [1 << 10, 1 << 30], [64, 1024], 8, node)
    >>> [round(us, 1) for us in (t * 1e6).tolist()]
    [45.3, 7554.8]

    On ideal links a ring over 8 ranks moves 2 * 7 / 8 of the bytes over each:

    >>> links = Fabric(link=100e9, network=10e9, link_latency=0, network_latency=0, start=0)
    >>> float(collective_time_s("all_reduce", 8e9, 8, 8, links))
    0.14
    """
    if kind not in ALGORITHMS and kind not in PAIRWISE:
        known = ", ".join((*ALGORITHMS, *PAIRWISE))
        raise UsageError(f"collective {kind!r} is unknown. Give one of {known}.")
    size, ranks, per_node = np.broadcast_arrays(
        *(np.asarray(value, dtype=float) for value in (size_bytes, group_size, ranks_per_node))
    )
    if not (np.all(size >= 0) and np.all(ranks >= 1) and np.all(per_node >= 1)):
        raise UsageError("collective: sizes start at 0 bytes, groups and nodes at 1 rank.")
    if isinstance(fabric, Fabric):
        return _on_links(kind, size, ranks, per_node, fabric=fabric)
    times = (
        _pairwise(kind, size, ranks, per_node, fabric=fabric)
        if kind in PAIRWISE
        else nccl_choice(kind, size, ranks, per_node, fabric)[0]
    )
    return np.where((ranks > 1) & (size > 0), times, 0.0)


def nccl_choice(  # noqa: PLR0917 - as above
    kind: str,
    size_bytes: ArrayLike,
    group_size: ArrayLike,
    ranks_per_node: ArrayLike,
    fabric: NcclFabric,
) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Time of the algorithm and protocol that NCCL's model prefers, and its name.

    Parameters
    ----------
    kind : str
        A key of `ALGORITHMS`.
    size_bytes, group_size, ranks_per_node : array_like
        As in `collective_time_s`; groups of two ranks and more.
    fabric : NcclFabric
        Links.

    Returns
    -------
    ndarray of float
        Seconds.
    ndarray of str
        Such as ``tree/ll128``.

    Examples
    --------
    >>> node = NcclFabric(320e9, 40e9)
    >>> nccl_choice("all_reduce", [1 << 10, 1 << 20, 1 << 30], 64, 8, node)[1].tolist()
    ['tree/ll', 'tree/ll128', 'ring/simple']
    """
    protocols = PROTOCOLS if fabric.is_nvlink else ("ll", "simple")
    ways = [f"{algorithm}/{p}" for algorithm in ALGORITHMS[kind] for p in protocols]
    ranks = np.maximum(np.asarray(group_size), 2)
    times = np.stack(
        [
            algorithm_time_s(kind, size_bytes, ranks, ranks_per_node, fabric=fabric, way=way)
            for way in ways
        ]
    )
    return times.min(axis=0), np.array(ways)[times.argmin(axis=0)]


def _on_links(
    kind: str,
    size: NDArray[np.float64],
    ranks: NDArray[np.float64],
    per_node: NDArray[np.float64],
    *,
    fabric: Fabric,
) -> NDArray[np.float64]:
    """Add up what bytes and hops take on the links of a design, group by group."""
    kinds: dict[str, Collective] = {name: name for name in get_args(Collective)}
    if kind not in kinds:
        raise UsageError(
            f"collective {kind!r} is none of a design. Give one of {', '.join(kinds)}."
        )
    times = np.zeros(size.shape)
    for place in np.ndindex(size.shape):
        group = int(ranks[place]), int(min(per_node[place], ranks[place]))
        moved, latency, _ = collective_parts_s(kinds[kind], size[place], *group, fabric)
        times[place] = float(moved + latency)
    return np.where((ranks > 1) & (size > 0), times, 0.0)


def _pairwise(
    kind: str,
    size: NDArray[np.float64],
    ranks: NDArray[np.float64],
    per_node: NDArray[np.float64],
    *,
    fabric: NcclFabric,
) -> NDArray[np.float64]:
    """Take the slower of what stays in the node and what leaves it."""
    per_node = np.minimum(per_node, ranks)
    nodes = np.ceil(ranks / per_node)
    leaves = (ranks - per_node) / ranks if kind == "all_to_all" else (nodes > 1).astype(float)
    stays = (per_node - 1) / ranks if kind == "all_to_all" else 1 - leaves
    inter = fabric.inter_bytes_per_s / fabric.oversubscription
    hops = LAUNCH_S + np.where(nodes > 1, fabric.net_latency_s, 0.0)
    slower = np.maximum(size * stays / fabric.intra_bytes_per_s, size * leaves / inter)
    return np.asarray(hops + slower, dtype=np.float64)
