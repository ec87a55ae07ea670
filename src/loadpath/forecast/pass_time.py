"""Durations of the passes of a pipeline stage: kernels, and the transfers inside a layer."""

from dataclasses import dataclass

import numpy as np

from loadpath.forecast.design import Design, Transformer
from loadpath.forecast.fabric import Collective, Fabric, collective_parts_s
from loadpath.forecast.layer_work import (
    ACTIVATION_BYTES,
    Kernel,
    Shard,
    backward,
    forward,
    head_kernels,
    shard_of,
)
from loadpath.forecast.layout import Group, Layout
from loadpath.forecast.rates import COMPONENTS, FloatArray, Rates, kernel_times_s
from loadpath.forecast.transformer import head_width, kv_heads

__all__ = ["Machine", "PassTimes", "layers_of_chunks", "pass_times", "transfer"]


@dataclass(frozen=True, slots=True)
class Machine:
    """What a design runs on, in SI units.

    Attributes
    ----------
    rates : Rates
        What a device reaches.
    fabrics : dict of str to Fabric
        Links by the name of a group of `Layout`.
    """

    rates: Rates
    fabrics: dict[str, Fabric]


@dataclass(frozen=True, slots=True)
class PassTimes:
    """Seconds of each pass, by component (`COMPONENTS`).

    Attributes
    ----------
    forward, backward : (stages, chunks, 6) arrays
        One microbatch through one chunk of a stage.
    """

    forward: FloatArray
    backward: FloatArray


def transfer(
    kind: Collective, nbytes: float, group: Group, fabric: Fabric
) -> FloatArray:
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
    (6,) array
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
    model, p = design.model, design.parallelism
    if model is None:
        raise TypeError("only a transformer has passes")
    shard = shard_of(design, eager_ratio)
    layers = layers_of_chunks(model, p.pipeline * p.chunks, apart=p.embedding_apart)
    by_kind = [_layer(design, layout, machine, shard, mixed=mixed) for mixed in (False, True)]
    ahead = sum(layers[:, [i]] * by_kind[i][0] for i in (0, 1))
    back = sum(layers[:, [i]] * by_kind[i][1] for i in (0, 1))
    embed = Kernel("embedding", head_kernels(model, shard)[0].kind, 0.0, 4.0 * shard.tokens * model.hidden)
    ahead[0] += _busy([embed], machine.rates)
    back[0] += _busy([embed], machine.rates)
    head = head_kernels(model, shard)
    ahead[-1] += _busy(head, machine.rates)
    back[-1] += _busy(backward(head, shard), machine.rates)
    shape = (p.chunks, p.pipeline, len(COMPONENTS))
    return PassTimes(
        np.ascontiguousarray(ahead.reshape(shape).swapaxes(0, 1)),
        np.ascontiguousarray(back.reshape(shape).swapaxes(0, 1)),
    )


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
    """Time kernels in a row; the host adds what its launches take beyond them."""
    parts: FloatArray = kernel_times_s(kernels, rates).sum(axis=0)
    parts[5] = max(rates.launch_s * len(kernels) - parts.sum(), 0.0)
    return parts


def _layer(
    design: Design, layout: Layout, machine: Machine, shard: Shard, *, mixed: bool
) -> tuple[FloatArray, FloatArray]:
    """Time one layer, forward and backward."""
    model, p = design.model, design.parallelism
    if model is None or (mixed and model.experts is None):
        return np.zeros(len(COMPONENTS)), np.zeros(len(COMPONENTS))
    unfused = design.software.attention == "unfused"
    kernels = forward(model, shard, unfused=unfused, mixed=mixed)
    ahead = _busy(kernels, machine.rates)
    derived = backward(kernels, shard)
    back = _busy(derived, machine.rates)
    forth, home = _layer_transfers(design, layout, machine, shard, (kernels, derived), mixed=mixed)
    if p.recompute == "selective" and unfused:
        back = back + _busy([k for k in kernels if k.core], machine.rates)
    again = {"alternate": 0.5, "full": 1.0}.get(p.recompute, 0.0)
    return ahead + forth, back + home + again * (ahead + forth)


def _layer_transfers(
    design: Design,
    layout: Layout,
    machine: Machine,
    shard: Shard,
    kernels: tuple[list[Kernel], list[Kernel]],
    *,
    mixed: bool,
) -> tuple[FloatArray, FloatArray]:
    """Time what transfers inside a layer add to its kernels."""
    forth, home = np.zeros(len(COMPONENTS)), np.zeros(len(COMPONENTS))
    if design.parallelism.tensor > 1:
        for part in _tensor_parts(design, mixed=mixed):
            ahead, back = _tensor_transfers(design, layout, machine, kernels, part)
            forth, home = forth + ahead, home + back
    if mixed and design.parallelism.expert > 1:
        both = _expert_transfers(design, layout, machine, shard)
        forth, home = forth + both, home + both
    if design.parallelism.context > 1:
        ahead, back = _context_transfers(design, layout, machine, shard, kernels)
        forth, home = forth + ahead, home + back
    return forth, home


def _tensor_parts(design: Design, *, mixed: bool) -> list[tuple[str, str]]:
    """Name the pairs of matrix products between which ranks hold parts of a layer."""
    model = design.model
    shared = model is not None and model.experts is not None and model.experts.shared_feed_forward
    dense = not mixed or shared
    return [("qkv", "projection"), *([("up", "down")] if dense else [])]


def _tensor_transfers(
    design: Design,
    layout: Layout,
    machine: Machine,
    kernels: tuple[list[Kernel], list[Kernel]],
    part: tuple[str, str],
) -> tuple[FloatArray, FloatArray]:
    """Time the transfers around one pair of matrix products, less what computation hides."""
    shard = shard_of(design, 1.0)
    model, p = design.model, design.parallelism
    if model is None:
        raise TypeError("only a transformer has layers")
    nbytes = ACTIVATION_BYTES * shard.tokens * model.hidden
    group, fabric, rates = layout.tensor, machine.fabrics["tensor"], machine.rates
    first, last = part
    kernel = {k.name: k for k in (*kernels[0], *kernels[1])}

    def beside(parts: FloatArray, name: str, pieces: int) -> FloatArray:
        busy = float(kernel_times_s([kernel[name]], rates).sum())
        return _hidden(parts, busy, pieces, rates.contention)

    pieces = p.tensor if p.tensor_overlap == "pipelined" else 0
    under = 1 if p.tensor_overlap != "none" else 0
    if not p.sequence_parallel:
        whole = transfer("all_reduce", nbytes, group, fabric)
        return whole, beside(whole, f"{first}:weight", under) if under else whole
    gather = transfer("all_gather", nbytes, group, fabric)
    scatter = transfer("reduce_scatter", nbytes, group, fabric)
    forth = beside(gather, first, pieces) + beside(scatter, last, pieces)
    home = beside(gather, f"{last}:data", pieces)
    home = home + beside(gather, f"{first}:data", under)
    return forth, home + beside(scatter, f"{first}:weight", under)


def _hidden(parts: FloatArray, busy: float, pieces: int, contention: float) -> FloatArray:
    """Give what a transfer adds to the computation beside it.

    With `pieces` of both, each piece of one runs beside the next of the other, and one piece stands
    alone at the end; 1 is a transfer that needs nothing of what runs beside it, 0 none beside it.
    """
    total = float(parts.sum())
    if pieces == 0 or total == 0:
        return parts
    beside = min(total, busy)
    alone = beside / pieces if pieces > 1 else 0.0
    added = max(total - busy, 0.0) + alone
    slowed = parts * (added / total)
    slowed[0] += contention * (beside - alone)
    return slowed


def _expert_transfers(
    design: Design, layout: Layout, machine: Machine, shard: Shard
) -> FloatArray:
    model = design.model
    if model is None or model.experts is None:
        raise TypeError("only a mixture of experts exchanges tokens")
    rows = shard.tokens / shard.tensor * model.experts.chosen
    nbytes = ACTIVATION_BYTES * rows * model.hidden
    once = transfer("all_to_all", nbytes, layout.expert, machine.fabrics["expert"])
    return 2 * once


def _context_transfers(
    design: Design,
    layout: Layout,
    machine: Machine,
    shard: Shard,
    kernels: tuple[list[Kernel], list[Kernel]],
) -> tuple[FloatArray, FloatArray]:
    """Time a ring of keys and values beside attention: each piece travels under the one before."""

    model = design.model
    if model is None:
        raise TypeError("only a transformer has attention")
    size = layout.context.size
    width = 2 * kv_heads(model) * head_width(model) / shard.tensor
    piece = ACTIVATION_BYTES * shard.tokens * width
    neighbours = Group(2, min(layout.context.local, 2) if layout.context.local >= size else 1)
    once = transfer("send", piece, neighbours, machine.fabrics["context"])
    added = []
    for side, factor in ((kernels[0], 1.0), (kernels[1], 2.0)):
        core = [k for k in side if k.name in {"attention", "scores"}]
        busy = float(kernel_times_s(core, machine.rates).sum())
        hidden = _hidden(factor * once * (size - 1), busy, 1, machine.rates.contention)
        added.append(hidden)
    return added[0], added[1]
