"""NCCL's own cost model: what it expects each algorithm and protocol to take."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loadpath.forecast.nccl_constants import (
    BASE_US,
    INTRA_US,
    LL_MAX,
    NET_OVERHEAD_US,
    NET_US,
    NVLS_EFFICIENCY,
    PER_CHANNEL,
    TREE_CORRECTION,
)
from loadpath.forecast.nccl_fabric import GENERATIONS, NcclFabric

__all__ = ["ALGORITHMS", "PROTOCOLS", "algorithm_time_s"]

Array = NDArray[np.float64]
PROTOCOLS = ("ll", "ll128", "simple")
ALGORITHMS = {
    "all_reduce": ("ring", "tree", "nvls", "nvls_tree"),
    "reduce_scatter": ("ring", "pat", "nvls"),
    "all_gather": ("ring", "pat", "nvls"),
    "broadcast": ("ring",),
    "reduce": ("ring",),
}
"""Algorithms by collective; NVLS is SHARP in the switch of a node, NVLS tree joins nodes by a tree."""
PAT_SHARE = 0.75
US = 1e-6
GB = 1e9
LL, LL128, SIMPLE = range(3)


def algorithm_time_s(
    kind: str,
    size_bytes: ArrayLike,
    n_rank: ArrayLike,
    n_rank_per_node: ArrayLike,
    *,
    fabric: NcclFabric,
    way: str,
) -> Array:
    """Time NCCL's cost model gives one algorithm and protocol; infinite where it does not apply.

    Parameters
    ----------
    kind : str
        A key of `ALGORITHMS`.
    size_bytes, n_rank, n_rank_per_node : array_like
        Size of the collective (the larger of what goes in and out), ranks, ranks on each node;
        broadcast against each other.
    fabric : NcclFabric
        Links.
    way : str
        Algorithm of the collective and one of `PROTOCOLS`, such as ``tree/ll128``.

    Returns
    -------
    ndarray of float
        Seconds.

    References
    ----------
    .. [1] NVIDIA NCCL 2.30.7, ``src/graph/tuning.cc``: facts of the formulas and constants.

    Examples
    --------
    1 KiB on 8 GPUs of one node, ring, LL:

    >>> node = NcclFabric(320e9, 40e9)
    >>> t = algorithm_time_s("all_reduce", 1024, 8, 8, fabric=node, way="ring/ll")
    >>> round(float(t) * 1e6, 1)
    15.0
    """
    size, ranks, per_node = np.broadcast_arrays(
        *(np.asarray(value, dtype=float) for value in (size_bytes, n_rank, n_rank_per_node))
    )
    per_node = np.minimum(per_node, ranks)
    nodes = np.ceil(ranks / per_node)
    algorithm, _, protocol = way.partition("/")
    p = PROTOCOLS.index(protocol)
    shape = Shape(ranks, per_node, nodes)
    rate = _bus(kind, shape, fabric, (algorithm, p)) * _algorithm_share(kind, ranks, algorithm)
    if algorithm == "tree":
        rate *= _tree_correction(size, p)
    latency = _latency_us(kind, shape, fabric, (algorithm, p))
    if kind == "all_reduce" and algorithm == "ring" and p == SIMPLE:
        is_long = (nodes > 1) & (size / (fabric.n_channel * ranks) >= 64)
        latency *= np.where(is_long, 1.4 if GENERATIONS.index(fabric.generation) else 1.9, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(rate > 0, latency * US + size / (GB * rate), np.inf)


class Shape(NamedTuple):
    """Groups: ranks, ranks on each node, nodes."""

    ranks: Array
    per_node: Array
    nodes: Array


def _bus(kind: str, shape: Shape, fabric: NcclFabric, way: tuple[str, int]) -> Array:
    """Bandwidth of all channels in GB/s, 0 where the way does not apply."""
    algorithm, p = way
    if algorithm.startswith("nvls"):
        return _nvls_bus(kind, shape, fabric, algorithm) * (p == SIMPLE)
    intra, inter = fabric.intra_bytes_per_s / GB, _inter(shape.per_node, fabric)
    bus = np.where(shape.nodes > 1, np.minimum(intra, inter), intra)
    if algorithm == "ring":
        return _ring_bus(bus, shape.nodes, fabric, p)
    if algorithm == "tree":
        return _tree_bus(bus, shape.nodes, fabric, p)
    applies = (shape.per_node == 1) & (shape.nodes > 1) & (p == SIMPLE)
    return np.where(applies, PAT_SHARE * bus, 0.0)


def _algorithm_share(kind: str, ranks: Array, algorithm: str) -> Array:
    """Bandwidth that a caller sees over that of the channels."""
    if algorithm == "tree":
        return np.full_like(ranks, 0.5)
    if kind in {"broadcast", "reduce"}:
        return np.ones_like(ranks)
    return ranks / (ranks - 1) / (2 if kind == "all_reduce" else 1)


def _tree_correction(size: Array, p: int) -> Array:
    bin_ = np.floor(np.log2(np.maximum(size / 64, 1))).astype(int)
    last = TREE_CORRECTION.shape[1]
    return np.where(bin_ < last, TREE_CORRECTION[p][np.minimum(bin_, last - 1)], 1.0)


def _inter(per_node: Array, fabric: NcclFabric) -> Array:
    """Bandwidth of a node's ranks together between nodes, GB/s."""
    return fabric.inter_bytes_per_s / GB * per_node / fabric.oversubscription


def _columns(nodes: Array) -> NDArray[np.int64]:
    return np.clip(nodes, 1, 3).astype(int) - 1


def _ll_max(nodes: Array, fabric: NcclFabric) -> Array:
    row = np.where(nodes == 1, GENERATIONS.index(fabric.generation), int(fabric.is_amd_host))
    return np.asarray(LL_MAX[row, _columns(nodes)], dtype=np.float64)


def _cap(table: str, nodes: Array, fabric: NcclFabric) -> Array:
    """Most that all channels carry."""
    row = PER_CHANNEL[table][GENERATIONS.index(fabric.generation)]
    return np.asarray(fabric.n_channel * row[_columns(nodes)], dtype=np.float64)


def _ring_bus(bus: Array, nodes: Array, fabric: NcclFabric, p: int) -> Array:
    if p == LL:
        return np.minimum(_ll_max(nodes, fabric), bus / 2)
    if p == LL128:
        return np.minimum(0.92 * bus, _cap("ring_ll128", nodes, fabric))
    return bus


def _tree_bus(bus: Array, nodes: Array, fabric: NcclFabric, p: int) -> Array:
    bus = np.minimum(0.92 * bus, _cap("tree", nodes, fabric))
    if p == LL:
        return np.minimum(bus / 3.8, _ll_max(nodes, fabric))
    if p == LL128:
        share = np.where(nodes == 1, 7 / 9, 120 / 128)
        return np.minimum(bus * share, _cap("tree_ll128", nodes, fabric))
    return bus


def _nvls_bus(kind: str, shape: Shape, fabric: NcclFabric, algorithm: str) -> Array:
    _, per_node, nodes = shape
    efficiency = NVLS_EFFICIENCY[GENERATIONS.index(fabric.generation)] * fabric.has_nvls
    used = (fabric.n_channel - 1) / fabric.n_channel
    gain = 2.0 if kind == "all_reduce" else (per_node - 1) / per_node
    intra = fabric.intra_bytes_per_s / GB * efficiency * used * gain
    if algorithm == "nvls":
        return np.where((nodes == 1) & (fabric.n_channel >= 2), intra, 0.0)
    inter = _inter(per_node, fabric) * np.where(nodes <= 2, 2.0, 1.0)
    bus = np.minimum(np.minimum(intra, inter), _cap("nvls_tree", nodes, fabric))
    return np.where((nodes > 1) & (per_node > 1) & (fabric.n_channel >= 2), bus, 0.0)


def _latency_us(kind: str, shape: Shape, fabric: NcclFabric, way: tuple[str, int]) -> Array:
    ranks, per_node, nodes = shape
    algorithm, p = way
    intra = INTRA_US[fabric.is_nvlink][algorithm][p]
    net = fabric.net_latency_s / US * (2 if p == SIMPLE else 1)
    inter = np.where(per_node == 1, NET_US["tree"][p], NET_US[algorithm][p]) + net
    depth = np.log2(np.maximum(nodes, 1))
    base = BASE_US[algorithm][p]
    if algorithm == "tree":
        return base + 2 * ((per_node - 1) * intra + np.floor(depth) * inter)
    if algorithm == "nvls":
        return base + intra + 0 * nodes
    if algorithm == "nvls_tree":
        return base + intra + 2 * depth * inter
    if algorithm == "pat":
        return base + depth * inter / 3.5 + 2.8 * ranks
    if kind in {"broadcast", "reduce"}:
        return base + np.where(nodes > 1, inter, intra)
    overhead = NET_OVERHEAD_US[fabric.is_amd_host] * (3 if p == SIMPLE else 1)
    n_inter = np.where(nodes > 1, nodes - 1, 0) * (2 if kind == "all_reduce" else 1)
    n_step = (ranks - 1) * (2 if kind == "all_reduce" else 1)
    hop = np.where(nodes > 1, np.maximum(intra, overhead), intra)
    return np.asarray(base + (n_step - n_inter) * hop + n_inter * inter, dtype=np.float64)
