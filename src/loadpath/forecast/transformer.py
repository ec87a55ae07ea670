"""Parameters and floating-point operations of a transformer: exact counts, no times."""

from loadpath.errors import UsageError
from loadpath.forecast.design import Batch, Design, Transformer

__all__ = [
    "ADAPTED",
    "adapter_parameters",
    "attended_tokens",
    "attention_parameters",
    "batch_of",
    "dense_parameters",
    "embedding_parameters",
    "expert_parameters",
    "feed_forward",
    "flop_per_token",
    "head_width",
    "kv_heads",
    "model_of",
    "parameters",
]


ADAPTED = {
    "qkv": ("qkv",),
    "attention": ("qkv", "projection"),
    "all": ("qkv", "projection", "up", "down"),
}
"""Matrix products that adapters stand beside."""


def model_of(design: Design) -> Transformer:
    """Give the transformer of a design that has one.

    Parameters
    ----------
    design : Design
        Any.

    Returns
    -------
    Transformer
        Its model.

    Raises
    ------
    UsageError
        If it has none.
    """
    if design.model is None:
        raise UsageError(f"Design {design.name!r} has no model. Describe a transformer there.")
    return design.model


def batch_of(design: Design) -> Batch:
    """Give the batch of a design: one token of each sequence where it serves.

    Parameters
    ----------
    design : Design
        Any.

    Returns
    -------
    Batch
        As given.

    Raises
    ------
    UsageError
        If it trains and has none.
    """
    if design.serving is not None:
        return Batch(sequences=design.serving.concurrent, microbatch=design.serving.concurrent)
    if design.batch is None:
        raise UsageError(f"Design {design.name!r} has no batch. Say how many sequences a step has.")
    return design.batch


def head_width(model: Transformer) -> int:
    """Give the width of one attention head.

    Parameters
    ----------
    model : Transformer
        Any.

    Returns
    -------
    int
        As given, else ``hidden / heads``.
    """
    return model.head_width or model.hidden // model.heads


def kv_heads(model: Transformer) -> int:
    """Give the number of heads of keys and values.

    Parameters
    ----------
    model : Transformer
        Any.

    Returns
    -------
    int
        As given, else the number of query heads.
    """
    return model.kv_heads or model.heads


def feed_forward(model: Transformer) -> int:
    """Give the inner width of the dense feed-forward part.

    Parameters
    ----------
    model : Transformer
        Any.

    Returns
    -------
    int
        As given, else four times the width of the model.
    """
    return model.feed_forward or 4 * model.hidden


def attention_parameters(model: Transformer) -> int:
    """Count the weights of the matrices of one attention part.

    Parameters
    ----------
    model : Transformer
        Any.

    Returns
    -------
    int
        Weights of one layer, biases and norms apart.
    """
    width, heads = head_width(model), model.heads
    query = model.hidden * heads * width
    if model.query_latent_width:
        query = model.query_latent_width * (model.hidden + heads * width)
    if model.latent_width:
        keys = model.latent_width * (model.hidden + 2 * heads * width)
    else:
        keys = 2 * model.hidden * kv_heads(model) * width
    return query + keys + heads * width * model.hidden


def _feed_forward_parameters(model: Transformer, inner: int) -> int:
    return (3 if model.gated else 2) * model.hidden * inner


def dense_parameters(model: Transformer, *, with_experts: bool) -> int:
    """Count the weights of one layer that every token meets.

    Parameters
    ----------
    model : Transformer
        Any.
    with_experts : bool
        Whether the layer has experts instead of the dense feed-forward part.

    Returns
    -------
    int
        Attention, norms and biases, and the dense or shared feed-forward part.
    """
    small = (2 if model.gated else 13) * model.hidden
    if not with_experts or model.experts is None:
        return (
            attention_parameters(model)
            + small
            + _feed_forward_parameters(model, feed_forward(model))
        )
    router = model.hidden * model.experts.count
    shared = _feed_forward_parameters(model, model.experts.shared_feed_forward)
    return attention_parameters(model) + small + router + shared


def adapter_parameters(model: Transformer) -> int:
    """Count the weights of the adapters of one layer.

    Parameters
    ----------
    model : Transformer
        Any.

    Returns
    -------
    int
        Two narrow matrices beside each one that has an adapter; 0 for a model without.

    References
    ----------
    .. [1] E. J. Hu et al., "LoRA: low-rank adaptation of large language models", ICLR 2022.
    """
    if model.adapter_rank is None:
        return 0
    width, inner = model.heads * head_width(model), feed_forward(model)
    keys = 2 * kv_heads(model) * head_width(model)
    fan = 2 if model.gated else 1
    sides = {
        "qkv": model.hidden + width + keys,
        "projection": width + model.hidden,
        "up": model.hidden + fan * inner,
        "down": inner + model.hidden,
    }
    return model.adapter_rank * sum(sides[name] for name in ADAPTED[model.adapted])


def expert_parameters(model: Transformer) -> int:
    """Count the weights of the experts of one layer.

    Parameters
    ----------
    model : Transformer
        Any.

    Returns
    -------
    int
        Of all its experts; 0 for a dense model.
    """
    if model.experts is None:
        return 0
    return model.experts.count * _feed_forward_parameters(model, model.experts.feed_forward)


def embedding_parameters(model: Transformer) -> tuple[int, int]:
    """Count the weights before the first layer and after the last.

    Parameters
    ----------
    model : Transformer
        Any.

    Returns
    -------
    first, last : int
        The last is 0 where both embeddings are one matrix.
    """
    words = model.vocabulary * model.hidden
    first = words + (0 if model.rotary else model.sequence * model.hidden)
    return first, 0 if model.tied_embeddings else words


def parameters(model: Transformer) -> int:
    """Count the weights of a model.

    Parameters
    ----------
    model : Transformer
        Any.

    Returns
    -------
    int
        All of them, experts included.

    Examples
    --------
    GPT-3 has ``layers * (12 * hidden ** 2 + 13 * hidden)`` in its layers, the rest in embeddings:

    >>> gpt3 = Transformer(layers=96, hidden=12288, heads=96, sequence=2048, vocabulary=51200)
    >>> round(parameters(gpt3) / 1e9, 1)
    174.6
    """
    n_expert_layers = 0 if model.experts is None else model.layers - model.experts.dense_layers
    plain = (model.layers - n_expert_layers) * dense_parameters(model, with_experts=False)
    mixed = dense_parameters(model, with_experts=True) + expert_parameters(model)
    return plain + n_expert_layers * mixed + sum(embedding_parameters(model)) + 2 * model.hidden


def flop_per_token(model: Transformer) -> float:
    """Count the operations that training needs for one token, without recomputation.

    The convention of published model FLOPs: six for each weight of a matrix product that the token
    meets (four where it is not trained), and all scores of attention, causal or not.

    Parameters
    ----------
    model : Transformer
        Any.

    Returns
    -------
    float
        Forward and backward passes.

    References
    ----------
    .. [1] D. Narayanan et al., "Efficient large-scale language model training on GPU clusters
       using Megatron-LM", SC 2021, equation 3.

    Examples
    --------
    >>> gpt3 = Transformer(layers=96, hidden=12288, heads=96, sequence=2048, vocabulary=51200)
    >>> h, s, v = 12288, 2048, 51200
    >>> published = 72 * 96 * h**2 * (1 + s / (6 * h) + v / (12 * 96 * h))
    >>> round(flop_per_token(gpt3) / published, 9)
    1.0
    """
    n_expert_layers = 0 if model.experts is None else model.layers - model.experts.dense_layers
    weights = model.layers * attention_parameters(model) + model.vocabulary * model.hidden
    dense = _feed_forward_parameters(model, feed_forward(model))
    weights += (model.layers - n_expert_layers) * dense
    if model.experts is not None:
        visited = model.experts.chosen * model.experts.feed_forward
        inner = visited + model.experts.shared_feed_forward
        weights += n_expert_layers * _feed_forward_parameters(model, inner)
    scores = 12 * head_width(model) * model.heads * attended_tokens(model) * model.layers
    adapters = model.layers * adapter_parameters(model)
    each = 6 if model.adapter_rank is None else 4
    return float(each * weights + 6 * adapters + scores)


def attended_tokens(model: Transformer) -> float:
    """Give the tokens that attention looks at for one token, on average over the layers.

    Parameters
    ----------
    model : Transformer
        Any.

    Returns
    -------
    float
        The sequence, or its mean with the window of the layers that have one; causality not counted.
    """
    if model.window is None:
        return float(model.sequence)
    share = 0.5 if model.windowed_layers is None else model.windowed_layers / model.layers
    return (1 - share) * model.sequence + share * min(2 * model.window, model.sequence)
