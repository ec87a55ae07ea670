"""One decoding step of a served transformer: a token for each concurrent sequence.

The stages of a replica follow each other: a token is not known before the last of them is done.
"""

import numpy as np

from loadpath.couple.graph import EdgeKind
from loadpath.forecast.design import Design
from loadpath.forecast.durations import Durations, expected_maximum
from loadpath.forecast.layer_work import ACTIVATION_BYTES, Kernel, KernelKind, shard_of
from loadpath.forecast.layout import Layout
from loadpath.forecast.machine import Machine
from loadpath.forecast.pass_time import pass_times, transfer
from loadpath.forecast.priors import Prior
from loadpath.forecast.rates import COMPONENTS, kernel_times_s
from loadpath.forecast.skeleton import OpKind, small_skeleton
from loadpath.forecast.transformer import head_width, kv_heads, model_of

__all__ = ["serving_durations"]


def serving_durations(
    design: Design, layout: Layout, machine: Machine, priors: dict[str, Prior]
) -> Durations:
    """Time one decoding step.

    Parameters
    ----------
    design : Design
        A transformer design with `Serving`.
    layout : Layout
        Its groups.
    machine : Machine
        What it runs on.
    priors : dict of str to Prior
        Result of `assume`.

    Returns
    -------
    Durations
        A chain of stages and sends.
    """
    p, model = design.parallelism, model_of(design)
    passes = pass_times(design, layout, machine, priors["eager_ratio"].value)
    table = np.zeros((len(OpKind), p.pipeline, 1, len(COMPONENTS)))
    table[OpKind.FORWARD] = passes.forward
    cached = kernel_times_s([_cache_read(design)], machine.rates).sum(axis=0)
    table[OpKind.FORWARD, :, 0] += cached * model.layers / p.pipeline
    moved = ACTIVATION_BYTES * shard_of(design, 1.0).tokens * model.hidden / p.tensor
    table[OpKind.SEND] = transfer("send_recv", moved, layout.stages, machine.fabrics["stages"])
    kind, stage = [], []
    for place in range(p.pipeline):
        kind += [OpKind.FORWARD, OpKind.SEND]
        stage += [place, place]
    edges = [(op, op + 1, EdgeKind.DATA) for op in range(len(kind) - 2)]
    frame = small_skeleton(kind[:-1], stage[:-1], edges)
    slowest = 1 + priors["device_spread"].value * expected_maximum(p.tensor)
    return Durations(frame, table, slowest)


def _cache_read(design: Design) -> Kernel:
    """Describe reading the keys and values of all concurrent sequences in one layer."""
    model, serving = model_of(design), design.serving
    context = 0 if serving is None else serving.context
    width = (
        2 * kv_heads(model) * head_width(model) / min(design.parallelism.tensor, kv_heads(model))
    )
    tokens = shard_of(design, 1.0).tokens * context
    width = float(model.latent_width or width)
    return Kernel("cache", KernelKind.VECTOR, 0.0, ACTIVATION_BYTES * tokens * width)
