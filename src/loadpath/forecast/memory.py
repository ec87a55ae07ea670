"""Memory that one accelerator needs: weights, gradients, optimiser, activations in flight."""

from msgspec import Struct

from loadpath.forecast.design import Design, Transformer
from loadpath.forecast.layout import Layout
from loadpath.forecast.transformer import (
    adapter_parameters,
    batch_of,
    dense_parameters,
    embedding_parameters,
    expert_parameters,
    feed_forward,
    head_width,
    kv_heads,
    model_of,
)

__all__ = ["Memory", "Weights", "memory_of", "trained_of", "weights_of"]

OPTIMISER_BYTES = 12
"""A master copy and two moments of each weight at 32 bit (Adam)."""


class Weights(Struct, frozen=True):
    """Weights that the fullest rank holds before data-parallel sharding.

    Attributes
    ----------
    dense, experts : float
        Of parts that every token meets, and of experts.
    """

    dense: float
    experts: float


class Memory(Struct, frozen=True, kw_only=True):
    """Bytes on the fullest accelerator.

    Attributes
    ----------
    weights, gradients, optimiser, activations : float
        What they take.
    """

    weights: float
    gradients: float
    optimiser: float
    activations: float

    @property
    def total(self) -> float:
        """Sum of all parts, in B."""
        return self.weights + self.gradients + self.optimiser + self.activations


def weights_of(design: Design, model: Transformer) -> Weights:
    """Count the weights of the rank that holds most: one of the first stage.

    Parameters
    ----------
    design : Design
        Its parallelism.
    model : Transformer
        Its dimensions.

    Returns
    -------
    Weights
        Per rank.
    """
    p = design.parallelism
    layers = model.layers / p.pipeline
    mixed_ratio = 0.0
    if model.experts is not None:
        mixed_ratio = 1 - model.experts.dense_layers / model.layers
    plain = dense_parameters(model, with_experts=False) * (1 - mixed_ratio)
    each = plain + dense_parameters(model, with_experts=True) * mixed_ratio
    embedding = max(embedding_parameters(model))
    return Weights(
        (layers * each + embedding) / p.tensor,
        layers * mixed_ratio * expert_parameters(model) / p.expert,
    )


def trained_of(design: Design, model: Transformer, held: Weights) -> Weights:
    """Count those weights of the fullest rank that have gradients.

    Parameters
    ----------
    design : Design
        Its parallelism.
    model : Transformer
        Its dimensions.
    held : Weights
        Result of `weights_of`.

    Returns
    -------
    Weights
        All, or the adapters alone.
    """
    if model.adapter_rank is None:
        return held
    p = design.parallelism
    return Weights(adapter_parameters(model) * model.layers / p.pipeline / p.tensor, 0.0)


def memory_of(design: Design, layout: Layout) -> Memory:
    """Add up what the fullest accelerator holds.

    Parameters
    ----------
    design : Design
        A transformer design.
    layout : Layout
        Its groups.

    Returns
    -------
    Memory
        In B, without fragmentation and buffers of libraries.

    References
    ----------
    .. [1] S. Rajbhandari et al., "ZeRO: memory optimizations toward training trillion parameter
       models", SC 2020.
    .. [2] V. Korthikanti et al., "Reducing activation recomputation in large transformer models",
       MLSys 2023.
    """
    model, p = model_of(design), design.parallelism
    held = weights_of(design, model)
    if design.serving is not None:
        weights = design.software.parameter_bytes * (held.dense + held.experts)
        return Memory(weights=weights, gradients=0, optimiser=0, activations=_cache(design, model))
    level = ("none", "optimizer", "gradients", "full").index(p.sharding)
    parts, trained = [], trained_of(design, model, held)
    for needed, nbytes, which in (
        (3, design.software.parameter_bytes, held),
        (2, design.software.gradient_bytes, trained),
        (1, OPTIMISER_BYTES, trained),
    ):
        dense, experts = which.dense, which.experts
        if level >= needed:
            over = layout.shard.size if needed == 3 else layout.gradient.size
            dense, experts = dense / over, experts / layout.expert_gradient.size
        parts.append(nbytes * (dense + experts))
    activations = _activations(design, layout, model)
    return Memory(weights=parts[0], gradients=parts[1], optimiser=parts[2], activations=activations)


def _cache(design: Design, model: Transformer) -> float:
    if design.serving is None:
        return 0.0
    width = (
        model.latent_width or 2 * kv_heads(model) * head_width(model) / design.parallelism.tensor
    )
    layers = model.layers / design.parallelism.pipeline
    return 2 * layers * width * design.serving.concurrent * design.serving.context


def _activations(design: Design, layout: Layout, model: Transformer) -> float:
    """Activations of the first stage, which holds most microbatches in flight."""
    p = design.parallelism
    micro = batch_of(design).microbatch
    tokens = micro * model.sequence / p.context
    between = p.tensor if p.sequence_parallel else 1
    chunk_layers = model.layers / (p.pipeline * p.chunks)
    flight = p.pipeline if p.chunks == 1 else 2 * (p.pipeline - 1) + (p.chunks - 1) * p.pipeline + 1
    flight = min(flight, layout.microbatches * p.chunks)
    if p.recompute == "alternate":
        chunk_layers /= 2
    if p.recompute == "full":
        whole = _layer_bytes(design, model, tokens)
        return 2 * tokens * model.hidden / between * chunk_layers * flight + whole
    logits = 4 * tokens * model.vocabulary / p.tensor if p.pipeline == 1 else 0.0
    return _layer_bytes(design, model, tokens) * chunk_layers * flight + logits


def _layer_bytes(design: Design, model: Transformer, tokens: float) -> float:
    p, hidden = design.parallelism, model.hidden
    between = p.tensor if p.sequence_parallel else 1
    outside = (10 if model.dropout else 8) * hidden / between
    attention = (2 * model.heads * head_width(model) + 2 * kv_heads(model) * head_width(model)) * 2
    inner, fan = feed_forward(model), 3 if model.gated else 2
    if model.experts is not None:
        inner = model.experts.chosen * model.experts.feed_forward
        inner += model.experts.shared_feed_forward
    scores = 0.0
    if design.software.attention == "unfused" and p.recompute == "none":
        scores = 5 * model.heads * model.sequence
    return tokens * (outside + (attention + 2 * fan * inner + scores) / p.tensor)
