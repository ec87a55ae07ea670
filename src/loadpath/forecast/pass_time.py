"""Durations of the passes of a pipeline stage: kernels, and the transfers inside a layer."""

from dataclasses import dataclass

import numpy as np

from loadpath.forecast.design import Design, Transformer
from loadpath.forecast.durations import expected_maximum
from loadpath.forecast.fabric import Collective, Fabric, collective_parts_s
from loadpath.forecast.layer_work import (
    ACTIVATION_BYTES,
    Kernel,
    KernelKind,
    Shard,
    backward,
    forward,
    head_kernels,
    shard_of,
)
from loadpath.forecast.layout import Group, Layout
from loadpath.forecast.machine import Machine
from loadpath.forecast.rates import COMPONENTS, FloatArray, Rates, kernel_times_s
from loadpath.forecast.transformer import head_width, kv_heads, model_of

__all__ = ["PassTimes", "layers_of_chunks", "pass_times", "transfer"]


SCALE_BYTES = 48
"""Of the largest values of a layer: four products of three operands, at 32 bit."""

WAITING = COMPONENTS.index("waiting")


@dataclass(frozen=True, slots=True)
class PassTimes:
    """Seconds of each pass, by component (`COMPONENTS`).

    Attributes
    ----------
    forward, backward : (stages, chunks, 7) arrays
        One microbatch through one chunk of a stage.
    """

    forward: FloatArray
    backward: FloatArray


def transfer(kind: Collective, nbytes: float, group: Group, fabric: Fabric) -> FloatArray:
    """Time one collective by component.

    Parameters
    ----------
    kind : str
        Which collective.
    nbytes : float
        Bytes of the whole.
    group : Group
        Ranks.
    fabric : Fabric
        Links.

    Returns
    -------
    (7,) array
        Seconds.
    """
    moved, latency, outside = collective_parts_s(kind, nbytes, group.size, group.local, fabric)
    parts = np.zeros(len(COMPONENTS))
    parts[3 if outside else 2] = moved
    parts[4] = latency
    return parts


def pass_times(design: Design, layout: Layout, machine: Machine, eager_ratio: float) -> PassTimes:
    """Time the passes of every stage and chunk.

    Parameters
    ----------
    design : Design
        A transformer design that the checks passed.
    layout : Layout
        Its groups.
    machine : Machine
        What it runs on.
    eager_ratio : float
        Memory traffic of element-wise operations that are not fused.

    Returns
    -------
    PassTimes
        Embedding and loss are in the first and the last of them.
    """
    model, p = model_of(design), design.parallelism
    shard = shard_of(design, eager_ratio)
    layers = layers_of_chunks(model, p.pipeline * p.chunks, apart=p.embedding_apart)
    by_kind = [_layer_times(design, layout, machine, shard, mixed=mixed) for mixed in (False, True)]
    ahead = layers @ np.stack([kind[0] for kind in by_kind])
    back = layers @ np.stack([kind[1] for kind in by_kind])
    embed = Kernel("embedding", KernelKind.VECTOR, 0.0, 4.0 * shard.tokens * model.hidden)
    ahead[0] += _busy([embed], machine.rates)
    back[0] += _busy([embed], machine.rates)
    head = head_kernels(model, shard)
    ahead[-1] += _busy(head, machine.rates)
    back[-1] += _busy(backward(head, shard), machine.rates)
    if design.software.scaling == "delayed":
        ahead += _scales_met(design, layout, machine, ahead)
        back += _scales_met(design, layout, machine, back)
    shape = (p.chunks, p.pipeline, len(COMPONENTS))
    return PassTimes(
        np.ascontiguousarray(ahead.reshape(shape).swapaxes(0, 1)),
        np.ascontiguousarray(back.reshape(shape).swapaxes(0, 1)),
    )


def _scales_met(design: Design, layout: Layout, machine: Machine, passes: FloatArray) -> FloatArray:
    """Time the reduction of scales that follows passes, and the wait for the latest replica."""
    # Each reduction takes the scales of all chunks of a rank. Delays of a pass add up as independent
    # ones do, so that the variance of its time is in proportion to it.
    p = design.parallelism
    nbytes = SCALE_BYTES * model_of(design).layers / p.pipeline
    met = np.zeros_like(passes)
    met += transfer("all_reduce", nbytes, layout.scales, machine.fabrics["gradient"])
    deviation = np.sqrt(machine.rates.pass_variance_s * passes.sum(axis=-1))
    met[:, WAITING] = deviation * expected_maximum(layout.scales.size // p.tensor)
    return met


def layers_of_chunks(model: Transformer, n_chunk: int, *, apart: bool) -> FloatArray:
    """Count the layers of each chunk of a pipeline, from the first to the last of the model.

    Parameters
    ----------
    model : Transformer
        Its layers.
    n_chunk : int
        Stages times chunks of a stage.
    apart : bool
        Whether the first and the last chunk have one layer less.

    Returns
    -------
    (n_chunk, 2) array
        Layers without and with experts.
    """
    each = np.full(n_chunk, (model.layers + 2 * apart) / n_chunk)
    if apart:
        each[0] -= 1
        each[-1] -= 1
    end = np.cumsum(each)
    dense_until = model.layers if model.experts is None else model.experts.dense_layers
    dense = np.clip(dense_until - (end - each), 0, each)
    return np.stack([dense, each - dense], axis=1)


def _busy(kernels: list[Kernel], rates: Rates) -> FloatArray:
    return _in_a_row(kernels, kernel_times_s(kernels, rates), rates)


def _in_a_row(kernels: list[Kernel], times: FloatArray, rates: Rates) -> FloatArray:
    """Add up kernels that follow each other; the host adds what its launches take beyond them."""
    parts: FloatArray = times.sum(axis=0)
    launches = sum(kernel.launches for kernel in kernels)
    parts[5] = max(rates.launch_s * launches - parts.sum(), 0.0)
    return parts


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer on one rank: what it runs on, how long each kernel and all of a pass take, in s."""

    design: Design
    layout: Layout
    machine: Machine
    shard: Shard
    busy: dict[str, float]
    mean_pass: float

    def beside(self, parts: FloatArray, name: str, pieces: int) -> FloatArray:
        """Give what a transfer adds to the kernel beside it."""
        # Weights that are not trained have no gradient to hide anything under.
        busy = self.busy.get(name, 0.0)
        return _hidden(parts, busy, pieces, self.machine.rates.contention)


def _layer_times(
    design: Design, layout: Layout, machine: Machine, shard: Shard, *, mixed: bool
) -> tuple[FloatArray, FloatArray]:
    """Time one layer, forward and backward."""
    model = model_of(design)
    if mixed and model.experts is None:
        return np.zeros(len(COMPONENTS)), np.zeros(len(COMPONENTS))
    unfused = design.software.attention == "unfused"
    kernels = forward(model, shard, unfused=unfused, mixed=mixed)
    derived = backward(kernels, shard)
    times = kernel_times_s([*kernels, *derived], machine.rates)
    busy = {k.name: t for k, t in zip((*kernels, *derived), times.sum(axis=1), strict=True)}
    layer = _Layer(design, layout, machine, shard, busy, float(times.sum()) / 2)
    forth, home = _transfers(layer, mixed=mixed)
    ahead = _in_a_row(kernels, times[: len(kernels)], machine.rates) + forth
    back = _in_a_row(derived, times[len(kernels) :], machine.rates) + home
    back = back + _busy(_repeated(design, kernels), machine.rates)
    again = {"alternate": 0.5, "full": 1.0}.get(design.parallelism.recompute, 0.0)
    return ahead, back + again * ahead


def _repeated(design: Design, kernels: list[Kernel]) -> list[Kernel]:
    """Choose the kernels of the forward pass that the backward pass does again, one by one."""
    what = design.parallelism.recompute
    if what == "selective" and design.software.attention == "unfused":
        return [k for k in kernels if k.core]
    if what == "latent" and model_of(design).latent_width is not None:
        return [k for k in kernels if k.name in _LATENT]
    return []


def _transfers(layer: _Layer, *, mixed: bool) -> tuple[FloatArray, FloatArray]:
    """Time what transfers inside a layer add to its kernels, forward and backward."""
    p, model = layer.design.parallelism, model_of(layer.design)
    pairs = []
    if p.tensor > 1:
        fed = not mixed or (model.experts is not None and model.experts.shared_feed_forward > 0)
        # Parts that are added together share one transfer before them and one after.
        if not (fed and model.parallel_block):
            pairs.append(_tensor_transfers(layer, "qkv", "projection"))
        if fed:
            pairs.append(_tensor_transfers(layer, "up", "down"))
    if mixed and p.expert > 1:
        pairs.append(_expert_transfers(layer))
    if p.context > 1:
        pairs.append(_context_transfers(layer))
    zero = np.zeros(len(COMPONENTS))
    return sum((a for a, _ in pairs), zero), sum((b for _, b in pairs), zero)


def _tensor_transfers(layer: _Layer, first: str, last: str) -> tuple[FloatArray, FloatArray]:
    """Time the transfers around a pair of matrix products, less what computation hides."""
    p, group = layer.design.parallelism, layer.layout.tensor
    nbytes = ACTIVATION_BYTES * layer.shard.tokens * model_of(layer.design).hidden
    fabric = layer.machine.fabrics["tensor"]
    pieces = p.tensor if p.tensor_overlap == "pipelined" else 0
    under = 1 if p.tensor_overlap != "none" else 0
    if not p.sequence_parallel:
        whole = transfer("all_reduce", nbytes, group, fabric)
        return whole, layer.beside(whole, f"{first}:weight", under)
    gather = transfer("all_gather", nbytes, group, fabric)
    scatter = transfer("reduce_scatter", nbytes, group, fabric)
    forth = layer.beside(gather, first, pieces) + layer.beside(scatter, last, pieces)
    home = layer.beside(gather, f"{last}:data", pieces)
    home = home + layer.beside(gather, f"{first}:data", under)
    return forth, home + layer.beside(scatter, f"{first}:weight", under)


def _hidden(parts: FloatArray, busy: float, pieces: int, contention: float) -> FloatArray:
    """Give what a transfer adds to the computation beside it, which is cut in `pieces` like it."""
    # Each piece of one runs beside the next of the other, and one stands alone at the end; 1 is a
    # transfer that needs nothing of what runs beside it, 0 one with nothing beside it.
    total = float(parts.sum())
    if pieces == 0 or total == 0:
        return parts
    beside = min(total, busy)
    alone = beside / pieces if pieces > 1 else 0.0
    added = max(total - busy, 0.0) + alone
    slowed = parts * (added / total)
    slowed[0] += contention * (beside - alone)
    return slowed


def _expert_transfers(layer: _Layer) -> tuple[FloatArray, FloatArray]:
    """Time tokens on their way to experts and back."""
    model, group = model_of(layer.design), layer.layout.expert
    chosen = 0 if model.experts is None else model.experts.chosen
    rows = layer.shard.tokens / layer.shard.tensor * chosen
    nbytes = ACTIVATION_BYTES * rows * model.hidden
    both = 2 * _dispatched(layer, nbytes, group, chosen)
    if not layer.design.parallelism.expert_overlap:
        return both, both
    # The pass of another microbatch beside it: forward under backward work, and the other way round.
    hidden = _hidden(both, layer.mean_pass, 1, layer.machine.rates.contention)
    return hidden, hidden


def _dispatched(layer: _Layer, nbytes: float, group: Group, chosen: int) -> FloatArray:
    """Time tokens one way: for each expert by itself, or once to each node and on by the fast link."""
    fabric = layer.machine.fabrics["expert"]
    direct = transfer("all_to_all", nbytes, group, fabric)
    if layer.design.software.expert_dispatch == "each_expert" or group.local >= group.size:
        return direct
    # Experts of a token are anywhere: so many other nodes hold one or more of them.
    nodes = group.size / group.local
    met = (nodes - 1) * (1 - (1 - 1 / nodes) ** chosen)
    copies = chosen * (nodes - 1) / nodes
    far = transfer("all_to_all", nbytes * met / copies, group, fabric)
    near = transfer("all_to_all", nbytes, Group(group.local, group.local), fabric)
    return far if far.sum() >= near.sum() else near


_LATENT = ("query", "qkv")
"""Products that make queries, keys and values of their latent form."""

_FLASH = ("attention", "attention:data")


def _context_transfers(layer: _Layer) -> tuple[FloatArray, FloatArray]:
    """Time a ring of keys and values beside attention: each piece travels under the one before."""
    model, group = model_of(layer.design), layer.layout.context
    width = 2 * kv_heads(model) * head_width(model) / layer.shard.tensor
    piece = ACTIVATION_BYTES * layer.shard.tokens * width
    neighbours = Group(2, 2 if group.local >= group.size else 1)
    once = transfer("send_recv", piece, neighbours, layer.machine.fabrics["context"])
    ring = once * (group.size - 1)
    ahead, back = ("scores", "scores:data") if "scores" in layer.busy else _FLASH
    return layer.beside(ring, ahead, 1), layer.beside(2 * ring, back, 1)
