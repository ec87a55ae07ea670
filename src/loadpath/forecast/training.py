"""Durations of a training step: passes, gradients, parameters, optimiser."""

import numpy as np
from msgspec.structs import replace

from loadpath.forecast.design import Design
from loadpath.forecast.durations import Durations, expected_maximum
from loadpath.forecast.fabric import Collective
from loadpath.forecast.layer_work import ACTIVATION_BYTES
from loadpath.forecast.layout import Layout, place
from loadpath.forecast.machine import Machine
from loadpath.forecast.memory import Weights, trained_of, weights_of
from loadpath.forecast.pass_time import pass_times, transfer
from loadpath.forecast.pipeline import Form, skeleton
from loadpath.forecast.priors import Prior
from loadpath.forecast.rates import COMPONENTS, FloatArray
from loadpath.forecast.skeleton import OpKind
from loadpath.forecast.transformer import batch_of, model_of

__all__ = ["training_durations"]

SEGMENTS, MOST_SEGMENTS = 8, 512
"""Buckets of a chunk, at most one for each of its layers; the second where sharding is "full"."""

MOST_PASSES = 200_000
"""Forward passes of one pipeline whose ops are all replayed."""

FILL = 4
"""Microbatches for each stage after which a pipeline repeats itself."""

UPDATE_BYTES = 30
"""Bytes that Adam moves for one weight: master copy, moments, gradient, and the weight itself."""


def training_durations(
    design: Design,
    layout: Layout,
    machine: Machine,
    priors: dict[str, Prior],
    *,
    condensed: bool = False,
    replicas: int = 1,
) -> Durations:
    """Time every op of a training step.

    Parameters
    ----------
    design : Design
        A transformer design with a batch.
    layout : Layout
        Its groups.
    machine : Machine
        What it runs on.
    priors : dict of str to Prior
        Result of `assume`.
    condensed : bool
        Whether the repeating middle of a long pipeline is replayed once for all its repetitions;
        always of more than `MOST_PASSES`.
    replicas : int
        Pipelines that are laid out one by one, for noise that tells them apart; 1 stands for all.

    Returns
    -------
    Durations
        Of its graph.
    """
    p = design.parallelism
    passes = pass_times(design, layout, machine, priors["eager_ratio"].value)
    form = replace(_form(design, layout), replicas=replicas)
    table = np.zeros((len(OpKind), p.pipeline, p.chunks, len(COMPONENTS)))
    table[OpKind.OVERHEAD, :, 0, 5] = priors["step_overhead"].value
    table[OpKind.FORWARD], table[OpKind.BACKWARD] = passes.forward, passes.backward
    table[OpKind.BACKWARD, ..., 1] += _accumulation_s(design, machine)
    table[OpKind.SEND] = _send(design, layout, machine)
    _time_buckets(design, layout, machine, table)
    for op, how in ((OpKind.REDUCE, form.reduce), (OpKind.GATHER, form.gather)):
        if how == "beside":
            # Each segment starts collectives of its own.
            table[op, ..., 4] *= form.segments
    _time_end(design, layout, machine, table)
    _slow_beside(form, machine.rates.contention, table)
    slowest = 1 + priors["device_spread"].value * expected_maximum(design.cluster.accelerators)
    fill = FILL * form.stages
    condensed |= form.stages * form.chunks * form.microbatches > MOST_PASSES
    if not condensed or form.microbatches <= fill + form.stages:
        return Durations(skeleton(form), table, slowest)
    frames = [replace(form, microbatches=fill - less) for less in (0, form.stages)]
    periods = (form.microbatches - fill) / form.stages
    return Durations(skeleton(frames[0]), table, slowest, skeleton(frames[1]), periods)


def _trained(design: Design) -> Weights:
    model = model_of(design)
    return trained_of(design, model, weights_of(design, model))


def _form(design: Design, layout: Layout) -> Form:
    model, p = model_of(design), design.parallelism
    many = layout.gradient.size > 1
    beside = "beside" if p.data_overlap else "after"
    every = p.sharding == "full" and many
    layers = max(1, int(model.layers / (p.pipeline * p.chunks)))
    overlap = p.chunks > 1 if p.stage_overlap is None else p.stage_overlap
    return Form(
        stages=p.pipeline,
        chunks=p.chunks,
        microbatches=layout.microbatches,
        segments=min(layers, MOST_SEGMENTS if every else SEGMENTS),
        stage_overlap=overlap,
        reduce=("beside" if every else beside) if many else "none",
        gather=("beside" if every else beside) if many and p.sharding != "none" else "none",
        every_pass=every,
        tied=model.tied_embeddings and model.adapter_rank is None,
    )


def _accumulation_s(design: Design, machine: Machine) -> float:
    """Time a pass over the gradients of a chunk: read the new ones, read and write the sum."""
    if design.software.accumulation == "fused":
        return 0.0
    held = _trained(design)
    each = (held.dense + held.experts) / design.parallelism.chunks
    moved = ACTIVATION_BYTES + 2 * design.software.gradient_bytes
    return moved * each / machine.rates.memory


def _time_buckets(design: Design, layout: Layout, machine: Machine, table: FloatArray) -> None:
    """Time gradients and parameters of a chunk on their way between replicas."""
    p, fabrics = design.parallelism, machine.fabrics
    gradient_bytes = design.software.gradient_bytes
    parameter_bytes = design.software.parameter_bytes
    trained = _trained(design)
    same, near = layout.gradient, fabrics["gradient"]
    if p.sharding == "full":
        same, near = layout.shard, fabrics["shard"]
    kind: Collective = "all_reduce" if p.sharding == "none" else "reduce_scatter"
    apart = layout.expert_gradient, fabrics["gradient"]
    for weights, group, fabric in ((trained.dense, same, near), (trained.experts, *apart)):
        if weights:
            nbytes = gradient_bytes * weights / p.chunks
            table[OpKind.REDUCE] += transfer(kind, nbytes, group, fabric)
    # Replicas that share out all gather the whole model, others what was updated.
    held = weights_of(design, model_of(design)) if p.sharding == "full" else trained
    for weights, group, fabric in ((held.dense, same, near), (held.experts, *apart)):
        if weights:
            nbytes = parameter_bytes * weights / p.chunks
            table[OpKind.GATHER] += transfer("all_gather", nbytes, group, fabric)
    if same.size < layout.gradient.size:
        part = gradient_bytes * trained.dense / p.chunks / same.size
        copies = place(layout.gradient.size // same.size, p.tensor * same.size, layout.domain)
        table[OpKind.REDUCE] += transfer("all_reduce", part, copies, fabrics["gradient"])


def _time_end(design: Design, layout: Layout, machine: Machine, table: FloatArray) -> None:
    """Time what ends a step: shared embedding, norm of the gradients, optimiser."""
    model, p = model_of(design), design.parallelism
    words = design.software.gradient_bytes * model.vocabulary * model.hidden / p.tensor
    table[OpKind.TIE] = transfer("all_reduce", words, layout.stages, machine.fabrics["stages"])
    held = _trained(design)
    owned = held.dense + held.experts
    if p.sharding != "none":
        owned = held.dense / layout.gradient.size + held.experts / layout.expert_gradient.size
    table[OpKind.CLIP, :, 0, 1] = 4 * owned / machine.rates.memory
    norm = transfer("all_reduce", 4.0, layout.gradient, machine.fabrics["gradient"])
    table[OpKind.CLIP, :, 0] += norm
    table[OpKind.UPDATE, :, 0, 1] = UPDATE_BYTES * owned / machine.rates.memory


def _send(design: Design, layout: Layout, machine: Machine) -> FloatArray:
    """Time activations on their way to the next stage: each tensor-parallel rank sends its part."""
    model, p = model_of(design), design.parallelism
    whole = (
        ACTIVATION_BYTES * batch_of(design).microbatch * model.sequence / p.context * model.hidden
    )
    sent = transfer("send_recv", whole / p.tensor, layout.stages, machine.fabrics["stages"])
    if p.tensor > 1 and not p.sequence_parallel:
        sent += transfer("all_gather", whole, layout.tensor, machine.fabrics["tensor"])
    return sent


def _slow_beside(form: Form, contention: float, table: FloatArray) -> None:
    """Slow passes down while gradients or parameters travel beside them."""
    if not form.every_pass:
        return
    for kind, others in (
        (OpKind.FORWARD, (OpKind.GATHER,)),
        (OpKind.BACKWARD, (OpKind.GATHER, OpKind.REDUCE)),
    ):
        busy = table[kind].sum(axis=-1)
        beside = sum(table[other].sum(axis=-1) for other in others)
        table[kind, :, :, 0] += contention * np.minimum(busy, beside)
