"""Links of a design, and what a collective spends on them: latency by hops, bytes by the slowest tier.

The functional form of NCCL's cost model: a ring moves ``2 (n - 1) / n`` times the bytes of an
all-reduce over each link in ``2 (n - 1)`` hops, a tree twice the bytes in ``2 log2`` of the nodes
hops, and the faster one is taken.
"""

from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

__all__ = ["Collective", "Fabric", "collective_parts_s"]

Collective = Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv"]
FloatArray = NDArray[np.float64]


class Fabric(Struct, frozen=True, kw_only=True):
    """What a collective can use of the links of one accelerator.

    Attributes
    ----------
    link, network : float
        Bandwidth in one direction that large messages reach inside the domain and between domains,
        in B/s.
    link_latency, network_latency : float
        One hop, in s.
    start : float
        Start of a collective, in s.
    axes : int
        Of a torus, those along which the ranks of a domain lie; 0 where a switch joins them.
    """

    link: float
    network: float
    link_latency: float
    network_latency: float
    start: float
    axes: int = 0


def collective_parts_s(  # noqa: PLR0917 - what every collective has
    kind: Collective, nbytes: ArrayLike, size: int, local: int, fabric: Fabric
) -> tuple[FloatArray, FloatArray, bool]:
    """Split the time of a collective into bytes and latency.

    Parameters
    ----------
    kind : str
        Which collective.
    nbytes : array of float
        Bytes of the whole: the reduced or gathered buffer, for an all-to-all and a send those of
        one rank.
    size, local : int
        Ranks of the group, and those of them that share the fast link.
    fabric : Fabric
        Links.

    Returns
    -------
    transfer_s, latency_s : arrays of float
        Time that bytes take, and the rest.
    outside : bool
        Whether the network between domains is what its bytes take longest on.

    References
    ----------
    .. [1] R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of collective communication
       operations in MPICH", IJHPCA 19(1), 2005.
    .. [2] P. Sack, W. Gropp, "Collective algorithms for multiported torus networks", ACM TOPC 1(2),
       2015.
    """
    volume = np.asarray(nbytes, np.float64)
    if size <= 1:
        return np.zeros_like(volume), np.zeros_like(volume), False
    nodes = -(-size // local)
    if kind == "send_recv":
        return _sent(volume, nodes, fabric)
    if kind == "all_to_all":
        return _exchanged(volume, (size, local), fabric)
    rate = fabric.link if nodes == 1 else min(fabric.link, local * fabric.network)
    outside = nodes > 1 and local * fabric.network < fabric.link
    rounds = 2 if kind == "all_reduce" else 1
    ring = rounds * (size - 1) / size * volume / rate
    near = _near_hops(local, fabric)
    inside = size - nodes if not fabric.axes else nodes * near
    hops = rounds * inside * fabric.link_latency + rounds * (nodes - 1) * (
        fabric.network_latency if nodes > 1 else 0.0
    )
    ring_latency = np.full_like(volume, fabric.start + hops)
    steps = rounds * (np.log2(nodes) * fabric.network_latency + near * fabric.link_latency)
    tree_latency = np.full_like(volume, fabric.start + steps)
    tree = ring / _TREE_RATIO
    better = tree + tree_latency < ring + ring_latency
    return np.where(better, tree, ring), np.where(better, tree_latency, ring_latency), outside


_TREE_RATIO = 0.85
"""NCCL takes trees, and their logarithmic kin of gathers, to reach 0.85 of the ring's bandwidth."""


def _near_hops(ranks: int, fabric: Fabric) -> float:
    """Count the hops of a ring over ranks of one domain: on a torus both ways round on each axis."""
    if not fabric.axes:
        return ranks - 1
    return float(fabric.axes * ranks ** (1 / fabric.axes) / 2)


def _sent(volume: FloatArray, nodes: int, fabric: Fabric) -> tuple[FloatArray, FloatArray, bool]:
    outside = nodes > 1
    rate = fabric.network if outside else fabric.link
    hop = fabric.network_latency if outside else fabric.link_latency
    return volume / rate, np.full_like(volume, fabric.start + hop), outside


def _exchanged(
    volume: FloatArray, group: tuple[int, int], fabric: Fabric
) -> tuple[FloatArray, FloatArray, bool]:
    """Each rank sends the n-th part of its bytes to each other one, near and far at once."""
    size, local = group
    # On a torus each byte takes the links of all hops to its end, half of a ring's farthest on average.
    crossed = max(_near_hops(local, fabric) / 2, 1.0) if fabric.axes else 1.0
    near = crossed * volume * (local - 1) / size / fabric.link
    far = volume * (size - local) / size / fabric.network
    hop = fabric.network_latency if size > local else fabric.link_latency
    latency = np.full_like(volume, fabric.start + hop)
    return np.maximum(near, far), latency, bool(np.any(far > near))
