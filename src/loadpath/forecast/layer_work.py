"""Kernels of one transformer layer: operations and bytes of each, forward and backward."""

import math
from dataclasses import dataclass, replace
from enum import IntEnum

from loadpath.forecast.design import Design, Experts, Transformer
from loadpath.forecast.transformer import (
    ADAPTED,
    attended_tokens,
    batch_of,
    feed_forward,
    head_width,
    kv_heads,
    model_of,
)

__all__ = ["Kernel", "KernelKind", "Shard", "backward", "forward", "head_kernels", "shard_of"]


class KernelKind(IntEnum):
    """What limits a kernel."""

    MATRIX = 0
    """Matrix product at the precision of the design."""
    MATRIX16 = 1
    """Matrix product that stays at 16 bit."""
    ATTENTION = 2
    """Attention whose scores stay on the chip, forward."""
    ATTENTION_BACKWARD = 3
    """The same, backward."""
    VECTOR = 4
    """Element-wise: bytes alone."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel.

    Attributes
    ----------
    name : str
        Its place in the layer.
    kind : KernelKind
        What limits it.
    flop, nbytes : float
        Its operations, and the bytes it moves through memory.
    tiles : float
        Tiles of a matrix product's result, not rounded; 0 where it has none.
    rounded : float
        The same with each side rounded up to whole tiles.
    core : bool
        Whether it belongs to the attention core, which selective recomputation repeats.
    launches : float
        Kernels that it really is, each launched for itself.
    ramps : float
        Of these, how many fill and drain the device one after the other.
    shape : tuple of 3 floats or None
        Rows, columns and inner width of a single matrix product.
    frozen : bool
        Whether its weights are not trained: it has no product for their gradient.
    """

    name: str
    kind: KernelKind
    flop: float
    nbytes: float
    tiles: float = 0.0
    rounded: float = 0.0
    core: bool = False
    launches: float = 1.0
    ramps: float = 1.0
    shape: tuple[float, float, float] | None = None
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class Shard:
    """What one rank holds of a layer and of a microbatch.

    Attributes
    ----------
    tokens : float
        Tokens that its matrix products see.
    own_tokens : float
        Tokens that its element-wise operations between them see.
    tensor : int
        Ranks that share the matrices.
    experts : int
        Ranks that share the experts.
    element : int
        Bytes of an operand of a matrix product.
    traffic : float
        Passes over memory of element-wise operations, to those of fused ones.
    gradient_bytes : int
        Bytes of one gradient.
    apart : bool
        Whether each expert's products are kernels of their own.
    """

    tokens: float
    own_tokens: float
    tensor: int
    experts: int
    element: float
    traffic: float
    gradient_bytes: int
    apart: bool = False


_ELEMENT = {
    "fp32": 4.0,
    "tf32": 4.0,
    "fp16": 2.0,
    "bf16": 2.0,
    "fp8": 1.0,
    "mxfp8": 1.0,
    "int8": 1.0,
    "fp4": 0.5,
}
ACTIVATION_BYTES = 2

STREAMS = 4
"""Streams over which kernels of single experts are spread, as Transformer Engine spreads them."""

TILE = 128
"""Side of the tile of a result that one processor of a device computes at a time."""


def shard_of(design: Design, eager_ratio: float) -> Shard:
    """Say what one rank holds.

    Parameters
    ----------
    design : Design
        A transformer design.
    eager_ratio : float
        Memory traffic of element-wise operations that are not fused.

    Returns
    -------
    Shard
        Of one microbatch; of one token for each sequence where the design serves.
    """
    p, model = design.parallelism, model_of(design)
    each = 1 if design.serving is not None else model.sequence / p.context
    tokens = float(batch_of(design).microbatch * each)
    return Shard(
        tokens=tokens,
        own_tokens=tokens / p.tensor if p.sequence_parallel else tokens,
        tensor=p.tensor,
        experts=p.expert,
        element=_ELEMENT[design.software.precision],
        traffic=eager_ratio if design.software.fusion == "eager" else 1.0,
        gradient_bytes=design.software.gradient_bytes,
        apart=design.software.expert_kernels == "apart",
    )


def forward(model: Transformer, shard: Shard, *, unfused: bool, mixed: bool) -> list[Kernel]:
    """List the kernels of one layer, forward.

    Parameters
    ----------
    model : Transformer
        Its dimensions.
    shard : Shard
        What the rank holds.
    unfused : bool
        Whether attention writes its scores to memory.
    mixed : bool
        Whether the layer has experts.

    Returns
    -------
    list of Kernel
        In order.
    """
    kernels = [_vector("norm", 4 * shard.own_tokens * model.hidden, shard)]
    kernels += _projections(model, shard)
    kernels += _scores(model, shard) if unfused else [_flash(model, shard)]
    width = model.heads * head_width(model) / shard.tensor
    kernels.append(_matrix("projection", (shard.tokens, model.hidden, width), shard))
    if not model.parallel_block:
        kernels.append(_vector("residual", _residual_bytes(model) * shard.own_tokens, shard))
        kernels.append(_vector("norm", 4 * shard.own_tokens * model.hidden, shard))
    if mixed and model.experts is not None:
        kernels += _routed(model, model.experts, shard)
    else:
        kernels += _dense(model, shard, feed_forward(model))
    kernels.append(_vector("residual", _residual_bytes(model) * shard.own_tokens, shard))
    return [part for kernel in kernels for part in _adapted(kernel, model)]


def backward(kernels: list[Kernel], shard: Shard) -> list[Kernel]:
    """Derive the kernels of the backward pass from those of the forward pass.

    Parameters
    ----------
    kernels : list of Kernel
        Result of `forward` or `head_kernels`.
    shard : Shard
        What the rank holds.

    Returns
    -------
    list of Kernel
        Two matrix products for each one, attention at 2.5 times the operations (it computes its
        scores again), twice the bytes of element-wise operations.
    """
    derived = []
    for kernel in reversed(kernels):
        if kernel.kind in {KernelKind.MATRIX, KernelKind.MATRIX16}:
            if shard.element < ACTIVATION_BYTES and kernel.kind == KernelKind.MATRIX:
                derived.append(_cast(kernel, shard))
            derived.append(_renamed(kernel, f"{kernel.name}:data"))
            if not kernel.frozen:
                derived.append(_renamed(kernel, f"{kernel.name}:weight"))
        elif kernel.kind == KernelKind.ATTENTION:
            kind = KernelKind.ATTENTION_BACKWARD
            derived.append(Kernel("attention:data", kind, 2.5 * kernel.flop, 2.5 * kernel.nbytes))
        elif kernel.name != "cast":
            derived.append(replace(kernel, nbytes=2 * kernel.nbytes))
    return derived


def head_kernels(model: Transformer, shard: Shard) -> list[Kernel]:
    """List the kernels after the last layer: logits and loss.

    Parameters
    ----------
    model : Transformer
        Its dimensions.
    shard : Shard
        What the rank holds.

    Returns
    -------
    list of Kernel
        Forward.
    """
    words = model.vocabulary / shard.tensor
    moved = ACTIVATION_BYTES * (shard.tokens * (words + model.hidden) + words * model.hidden)
    logits = _product("logits", KernelKind.MATRIX16, (shard.tokens, words, model.hidden), moved)
    return [
        _vector("norm", 4 * shard.own_tokens * model.hidden, shard),
        replace(logits, frozen=model.adapter_rank is not None),
        _vector("loss", 10 * shard.tokens * words, shard),
    ]


def _matrix(name: str, shape: tuple[float, float, float], shard: Shard) -> Kernel:
    rows, columns, inner = shape
    moved = shard.element * (rows * inner + inner * columns) + ACTIVATION_BYTES * rows * columns
    kind = KernelKind.MATRIX if shard.element < ACTIVATION_BYTES else KernelKind.MATRIX16
    return _product(name, kind, shape, moved)


def _product(
    name: str,
    kind: KernelKind,
    shape: tuple[float, float, float],
    moved: float,
    *,
    times: float = 1.0,
    core: bool = False,
) -> Kernel:
    """Describe `times` equal matrix products of rows x columns x inner, done together."""
    rows, columns, inner = shape
    whole = math.ceil(rows / TILE) * math.ceil(columns / TILE)
    return Kernel(
        name,
        kind,
        2 * times * rows * columns * inner,
        moved,
        times * rows * columns / TILE**2,
        times * whole,
        core,
        shape=shape if times == 1 else None,
    )


def _vector(name: str, nbytes: float, shard: Shard) -> Kernel:
    return Kernel(name, KernelKind.VECTOR, 0.0, nbytes * shard.traffic)


def _cast(kernel: Kernel, shard: Shard) -> Kernel:
    # An incoming gradient is read at 16 bit and written twice at low precision, once transposed.
    rows = kernel.nbytes / (ACTIVATION_BYTES + 2 * shard.element)
    moved = (ACTIVATION_BYTES + 2 * shard.element) * rows / 2
    return Kernel("cast", KernelKind.VECTOR, 0.0, moved, launches=kernel.launches)


def _adapted(kernel: Kernel, model: Transformer) -> list[Kernel]:
    """Freeze a matrix product and put the two of its adapter behind it, which stay at 16 bit."""
    rank = model.adapter_rank
    if rank is None or kernel.core:
        return [kernel]
    frozen = replace(kernel, frozen=True)
    if kernel.shape is None or kernel.name not in ADAPTED[model.adapted]:
        return [frozen]
    rows, columns, inner = kernel.shape
    both = []
    for name, shape in (("in", (rows, rank, inner)), ("out", (rows, columns, rank))):
        moved = ACTIVATION_BYTES * (shape[0] * shape[2] + shape[2] * shape[1] + shape[0] * shape[1])
        both.append(_product(f"{kernel.name}:{name}", KernelKind.MATRIX16, shape, moved))
    return [frozen, *both]


def _renamed(kernel: Kernel, name: str) -> Kernel:
    return replace(kernel, name=name)


def _residual_bytes(model: Transformer) -> float:
    return (7 if model.dropout else 6) * model.hidden


def _projections(model: Transformer, shard: Shard) -> list[Kernel]:
    width, heads = head_width(model), model.heads
    out = (heads + 2 * kv_heads(model)) * width / shard.tensor
    kernels = []
    if model.latent_width:
        down = model.latent_width + (model.query_latent_width or 0)
        kernels.append(_matrix("latent", (shard.tokens / shard.tensor, down, model.hidden), shard))
        query = model.query_latent_width or model.hidden
        shape = (shard.tokens, heads * width / shard.tensor, float(query))
        kernels.append(_matrix("query", shape, shard))
        shape = (shard.tokens, 2 * heads * width / shard.tensor, float(model.latent_width))
        kernels.append(_matrix("qkv", shape, shard))
    else:
        kernels.append(_matrix("qkv", (shard.tokens, out, float(model.hidden)), shard))
    if model.rotary:
        turned = (heads + kv_heads(model)) * width / shard.tensor
        kernels.append(_vector("rotary", 4 * shard.tokens * turned, shard))
    return kernels


def _flash(model: Transformer, shard: Shard) -> Kernel:
    # Causal: half of the scores are computed.
    width = model.heads * head_width(model) / shard.tensor
    flop = 2 * shard.tokens * attended_tokens(model) * width
    keys = 2 * kv_heads(model) * head_width(model) / shard.tensor
    moved = ACTIVATION_BYTES * shard.tokens * (2 * width + keys)
    return Kernel("attention", KernelKind.ATTENTION, flop, moved, core=True)


def _scores(model: Transformer, shard: Shard) -> list[Kernel]:
    heads, width = model.heads / shard.tensor, head_width(model)
    scores = shard.tokens * model.sequence * heads
    operands = ACTIVATION_BYTES * 2 * shard.tokens * heads * width
    shape = (float(model.sequence), float(model.sequence), float(width))
    product = _product(
        "scores",
        KernelKind.MATRIX16,
        shape,
        2 * scores + operands,
        times=shard.tokens / model.sequence * heads,
        core=True,
    )
    softmax = Kernel("softmax", KernelKind.VECTOR, 0.0, 4 * scores * shard.traffic, core=True)
    dropped = Kernel("dropout", KernelKind.VECTOR, 0.0, 5 * scores * shard.traffic, core=True)
    return [product, softmax, *([dropped] if model.dropout else []), product]


def _dense(model: Transformer, shard: Shard, inner: int) -> list[Kernel]:
    width = inner / shard.tensor
    fan = 2 if model.gated else 1
    up = _matrix("up", (shard.tokens, fan * width, float(model.hidden)), shard)
    act = _vector("activation", 2 * (fan + 1) * shard.tokens * width, shard)
    down = _matrix("down", (shard.tokens, float(model.hidden), width), shard)
    return [up, act, down]


def _routed(model: Transformer, experts: Experts, shard: Shard) -> list[Kernel]:
    own = shard.tokens / shard.tensor
    rows = own * experts.chosen
    fan = 2 if model.gated else 1
    held = experts.count / shard.experts
    shape = (own, float(experts.count), float(model.hidden))
    moved_in = ACTIVATION_BYTES * own * (model.hidden + experts.count)
    router = _product("router", KernelKind.MATRIX16, shape, moved_in)
    moved = _vector("permute", 4 * rows * model.hidden, shard)
    inner = experts.feed_forward
    up = _grouped("expert_up", (rows, fan * inner, model.hidden), held, shard)
    act = _vector("activation", 2 * (fan + 1) * rows * inner, shard)
    down = _grouped("expert_down", (rows, model.hidden, inner), held, shard)
    shared: list[Kernel] = []
    if experts.shared_feed_forward:
        shared = _dense(model, shard, experts.shared_feed_forward)
    casts: list[list[Kernel]] = [[], []]
    if shard.apart and shard.element < ACTIVATION_BYTES:
        # Read at 16 bit and written at low precision twice, once transposed.
        each = (ACTIVATION_BYTES + 2 * shard.element) * rows
        casts = [[_vector("cast", each * width, shard)] for width in (model.hidden, inner)]
        casts = [[replace(cast, launches=held) for cast in one] for one in casts]
    return [router, moved, *casts[0], up, act, *casts[1], down, moved, *shared]


def _grouped(name: str, shape: tuple[float, float, float], held: float, shard: Shard) -> Kernel:
    rows, columns, inner = shape
    weights = held * columns * inner
    moved = shard.element * (rows * inner + weights) + ACTIVATION_BYTES * rows * columns
    kind = KernelKind.MATRIX if shard.element < ACTIVATION_BYTES else KernelKind.MATRIX16
    product = _product(name, kind, (rows / held, columns, inner), moved, times=held)
    if not shard.apart:
        return product
    return replace(product, launches=held, ramps=max(1.0, held / STREAMS))
